"""PyTorch Geometric told which companions there are.

It looks for them when it is imported, and its modules take what it found from `torch_geometric.typing`: flags
(`WITH_PYG_LIB`) and packages, or what stands for a missing one. So a name is changed in all of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def told(name: str, value: Any) -> Iterator[None]:
    """A context in which `name` means `value` to all modules of PyTorch Geometric that have this name.

    Modules that are imported in the context, too, mean what they did without when it ends.
    """
    before = getattr(importlib.import_module("torch_geometric.typing"), name, None)
    _change(name, before, value)
    try:
        yield
    finally:
        _change(name, value, before)


def _change(name: str, before: Any, after: Any) -> None:
    for module in _loaded():
        if name in vars(module) and vars(module)[name] is before:
            setattr(module, name, after)


def _loaded() -> list[ModuleType]:
    inside = "torch_geometric."
    return [
        one
        for name, one in list(sys.modules.items())
        if name.startswith(inside) and isinstance(one, ModuleType)
    ]
