"""Layers and models: PyTorch Geometric's names, arguments and state_dicts on the one message-passing core."""

from typing import TYPE_CHECKING

from mpnn.lazy import public_names

if TYPE_CHECKING:
    from mpnn.models.public import *
    from mpnn.models.public import __all__ as __all__
else:
    __getattr__, __dir__ = public_names(__name__)
