"""Companions put into the running process, and taken out again."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version

import torch

from mpnn.pyg.companion import Companion
from mpnn.pyg.tell import told

NAMES = ("pyg_lib", "torch_scatter", "torch_sparse", "torch_cluster", "torch_spline_conv")

# What takes out the companions that are in place, by their names.
_in_place: dict[str, ExitStack] = {}


def enable(prefer: bool = False) -> None:
    """Put PyTorch Geometric's companions in place: for this process, where the real ones are not installed.

    The packages can then be imported (`import torch_scatter`), their operators be called
    (`torch.ops.pyg.knn`), and PyTorch Geometric uses them, whichever was imported first. Only a name that a
    program has already taken from it (`from torch_geometric.typing import WITH_PYG_LIB`) stays what it was:
    call `enable()` before such lines. A second call changes nothing.

    Args:
        prefer: whether to take ours where the real package is installed too.

    Raises:
        RuntimeError: a real package is to be replaced that was imported already.
    """
    from mpnn.pyg.faces import COMPANIONS

    chosen = [
        one for one in COMPANIONS if one.name not in _in_place and (prefer or not _is_installed(one.name))
    ]
    for companion in chosen:
        if companion.name in sys.modules:
            raise RuntimeError(
                f"{companion.name} is imported already: call mpnn.pyg.enable(prefer=True) before it is."
            )
    # PyTorch Geometric looks for the packages when it is imported, and warns of some that it finds: it is
    # imported without them and then told, so that the order of imports makes no difference.
    importlib.import_module("torch_geometric")
    for companion in chosen:
        _in_place[companion.name] = _put(companion)


def disable() -> None:
    """Take out what `enable()` has put in place."""
    for stack in _in_place.values():
        stack.close()
    _in_place.clear()


@contextmanager
def enabled(prefer: bool = False) -> Iterator[None]:
    """A context with the companions in place, which leaves nothing behind: see `enable`.

    Companions that were in place before stay there.
    """
    before = set(_in_place)
    enable(prefer)
    try:
        yield
    finally:
        for name in set(_in_place) - before:
            _in_place.pop(name).close()


def companions() -> dict[str, str]:
    """For each companion whether it is ours, installed or missing, in words.

    >>> with mpnn.pyg.enabled():
    ...     print(companions()["torch_scatter"])
    ours, as 2.1.2
    """
    return {name: _state(name) for name in NAMES}


def _state(name: str) -> str:
    from mpnn.pyg.faces import COMPANIONS

    ours = {one.name: one for one in COMPANIONS}
    if name in _in_place:
        return f"ours, as {ours[name].version}{ours[name].remark and '; '}{ours[name].remark}"
    if _is_installed(name):
        try:
            return f"installed, {version(name)}"
        except PackageNotFoundError:
            return "installed"
    return "not installed; mpnn.pyg.enable() puts ours in place" if name in ours else "not installed"


def _is_installed(name: str) -> bool:
    return name not in _in_place and (name in sys.modules or importlib.util.find_spec(name) is not None)


def _put(companion: Companion) -> ExitStack:
    """Put one companion in place; closing what is returned takes it out."""
    undo = ExitStack()
    for name, module in companion.build().items():
        sys.modules[name] = module
        undo.callback(sys.modules.pop, name, None)
    for root, entries in ((torch.ops, companion.operators), (torch.classes, companion.classes)):
        for path, value in entries.items():
            namespace, name = path.split(".")
            target = getattr(root, namespace)
            setattr(target, name, value)
            undo.callback(delattr, target, name)
    package = sys.modules[companion.name]
    for name, value in {companion.name: package, **companion.told}.items():
        undo.enter_context(told(name, value))
    return undo
