"""mpnn: one message / aggregate / update core, from the perceptron to the Transformer."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from mpnn.lazy import public_names

__version__ = "0.1.0"

# `import mpnn` makes its operations known to PyTorch, which saved programs need. Only the command `mpnn`,
# which answers `--help` at once, imports the core when it is first used.
if TYPE_CHECKING or "mpnn_command" not in sys.modules:
    from mpnn.public import *
    from mpnn.public import __all__ as __all__

_core, __dir__ = public_names(__name__)


def __getattr__(name: str) -> Any:
    # `import mpnn` is fast: the modules above the core, the laws, `load` and `export` are imported when they
    # are first used.
    if name in ("models", "datasets", "pyg", "testing", "train"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("load", "export"):
        return getattr(importlib.import_module(f"{__name__}.train"), name)
    return _core(name)
