"""Training: tasks, the loop, run folders, pictures, and the command `mpnn`."""

from typing import TYPE_CHECKING

from mpnn.lazy import public_names

if TYPE_CHECKING:
    from mpnn.train.estimators.public import *
    from mpnn.train.public import *
    from mpnn.train.public import __all__ as __all__
else:
    __getattr__, __dir__ = public_names(__name__, "mpnn.train.estimators")
