"""Data as graphs: file format in, `Graph` and tensors out."""

from typing import TYPE_CHECKING

from mpnn.lazy import public_names

if TYPE_CHECKING:
    from mpnn.datasets.public import *
    from mpnn.datasets.public import __all__ as __all__
else:
    __getattr__, __dir__ = public_names(__name__)
