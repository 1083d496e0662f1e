"""PyG's own layers on our base class: their source, with only the import of `MessagePassing` changed."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import torch_geometric.nn.conv as conv

IMPORT = re.compile(
    r"from torch_geometric\.nn\.conv(\.message_passing)? import MessagePassing$", re.MULTILINE
)


def ported(name: str) -> type[Any]:
    """The class of that name from the changed source of its module."""
    origin = inspect.getmodule(getattr(conv, name))
    assert origin is not None
    source, changes = IMPORT.subn("from mpnn import MessagePassing", inspect.getsource(origin))
    if changes != 1:
        raise AssertionError(f"the source of {name} imports MessagePassing in {changes} places.")
    module = types.ModuleType(f"ported_{name}")
    exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)
    found: type[Any] = module.__dict__[name]
    return found
