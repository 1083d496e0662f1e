"""PyTorch Geometric's tools take our layers for its own: explainers, `to_hetero`, hooks on messages.

These tools look for instances of its class `MessagePassing`. So where it is imported, our layers get one more
base, a subclass of it in which nothing of its constructor is left: our own methods come first. Layers whose
edges are not a caller's graph (`has_own_edges`), such as `Linear`, get none. PyTorch Geometric takes long to
import, so `import mpnn` waits until the program does it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from torch import nn

from mpnn.layer.message_passing import NEW_LAYERS, MessagePassing
from mpnn.layer.watched import register_message_forward_hook

THEIRS = "torch_geometric.nn.conv.message_passing"


def watch() -> None:
    """Join our layers to PyTorch Geometric's, now or when its layers are imported."""
    if THEIRS in sys.modules:
        _join(sys.modules[THEIRS])
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds nothing itself, but is told when PyTorch Geometric's layers are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_join(module: ModuleType) -> None:
                execute(module)
                _join(module)

            spec.loader.exec_module = execute_and_join  # type: ignore[method-assign]
        return spec


def _join(theirs: ModuleType) -> None:
    base = _base(theirs.MessagePassing)

    def join(kind: type[Any]) -> None:
        if kind.has_own_edges or issubclass(kind, theirs.MessagePassing):
            return
        # In front of `nn.Module`, where a class names it, since it comes behind all of its subclasses.
        before = [one for one in kind.__bases__ if one is not nn.Module]
        kind.__bases__ = (*before, base, *kind.__bases__[len(before) :])

    NEW_LAYERS.append(join)
    for kind in MessagePassing.__subclasses__():
        join(kind)


def _base(theirs: type[nn.Module]) -> type[nn.Module]:
    """A subclass of PyTorch Geometric's class that adds to our layers what its tools read and call."""
    own: dict[str, Any] = {
        "__doc__": "What PyTorch Geometric's tools read of a layer.",
        "__module__": __name__,
        "explain": None,
        "decomposed_layers": 1,
        "register_message_forward_hook": register_message_forward_hook,
    }
    for name in dir(theirs):
        if name.startswith("register_") and not hasattr(nn.Module, name) and name not in own:
            own[name] = _refused(name)
    for name in ("__init__", "__repr__", "__setstate__"):
        own[name] = getattr(nn.Module, name)
    return type("PyGLayer", (theirs,), own)


def _refused(name: str) -> Callable[..., Any]:
    def refuse(self: Any, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"{name}() is not for {type(self).__name__}, whose kernels run no such hook: take "
            "register_message_forward_hook(), or register_forward_hook() for the whole layer."
        )

    return refuse
