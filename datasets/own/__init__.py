"""Your own graph, from files that other programs write."""

from typing import TYPE_CHECKING

from mpnn.lazy import public_names

if TYPE_CHECKING:
    from mpnn.datasets.own.public import *
    from mpnn.datasets.own.public import __all__ as __all__
else:
    __getattr__, __dir__ = public_names(__name__)
