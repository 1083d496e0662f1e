"""A kernel is checked before it is believed.

The first time that a plan's kernels are to run on a machine, they run on a small odd graph, beside PyTorch's
operations: results, and the gradients that were asked for. The verdict stays beside the compiled files. A
plan that fails has no kernel: its steps run without, after one warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from threading import RLock
from typing import Any, cast

import torch
from torch import fx

from mpnn.backends.run.net import What, title
from mpnn.backends.run.plans import Fused
from mpnn.backends.run.record import unseen
from mpnn.native.cache import cache_folder
from mpnn.native.gpu import interprets
from mpnn.plan.hoist import Hoisted
from mpnn.plan.homes import lives_at, shape_of
from mpnn.plan.rows import NotFusableError
from mpnn.strict import is_strict

# Of which of a kernel's inputs a gradient is asked for; None where there is no way back. With "saving" it is
# the forward kernel alone, which saves for a way back; with "chunks" there is no kernel, and the plan runs on
# some edges at a time in PyTorch.
Way = tuple[bool, ...] | tuple[str, tuple[bool, ...]] | None
_EDITION = "2"  # of the trial: verdicts of another are not read


class DistrustedError(NotFusableError):
    """The kernels of a plan give other numbers than PyTorch's operations."""


_on_trial: ContextVar[bool] = ContextVar("mpnn_trial", default=False)
_lock = RLock()


def believe_source(identity: str, what: What, find_fault: Callable[[], str | None]) -> None:
    """The same for a kernel in C that is no plan's; `identity` is all that its numbers follow from.

    Raises:
        DistrustedError: the numbers differ.
    """
    if not _on_trial.get():
        with _lock:
            _try(_Verdict("\n".join([_EDITION, torch.__version__, identity])), what, find_fault)


def believe(fused: Fused, way: Way, what: What, find_fault: Callable[[], str | None]) -> None:
    """Let the kernels of a plan be believed, or not.

    Args:
        fused: the plan and its kernels.
        way: which of them are about to run.
        what: for which they run, to be named where they fail.
        find_fault: how their numbers differ from those of PyTorch's operations, or ""; None if they cannot be
            made.

    Raises:
        DistrustedError: the numbers differ.
    """
    if _on_trial.get() or (fused.language == "Triton" and interprets()):
        return
    with _lock:
        if way in fused.believed:
            return
        kept = fused.language == "C" and (way is None or way[:1] != ("chunks",))
        _try(_Verdict(_described(fused, way) if kept else None), what, find_fault)
        fused.believed.add(way)


def _try(verdict: _Verdict, what: What, find_fault: Callable[[], str | None]) -> None:
    fault = verdict.read()
    if fault is None:
        token = _on_trial.set(True)
        try:
            with unseen():
                fault = find_fault()
        finally:
            _on_trial.reset(token)
        if fault is not None:
            verdict.write(fault)
    if fault:
        raise DistrustedError(_distrusted(what, fault))


def _distrusted(what: What, fault: str) -> str:
    reason = f"the kernel of {title(what)} failed its trial: {fault}"
    if is_strict():
        raise AssertionError(reason)
    warnings.warn(
        f"mpnn goes on without a kernel for {title(what)}, which failed its trial ({fault}): results are "
        "right, and slower. Please report it with the code of the message.",
        RuntimeWarning,
        stacklevel=2,
    )
    return reason


# What is remembered -------------------------------------------------------------------------------------


class _Verdict:
    """What a trial found, beside the compiled files: by the programs, and by what is computed around them."""

    def __init__(self, described: str | None) -> None:
        self._path = None
        folder = cache_folder()
        if folder is not None and described is not None:
            self._path = folder / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.trial"

    def read(self) -> str | None:
        """The fault that was found, "" if none was, None where there was no trial."""
        try:
            return None if self._path is None else self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, fault: str) -> None:
        """Keep it, where that can be done."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                beside = self._path.with_suffix(f".{os.getpid()}")
                beside.write_text(fault)
                beside.replace(self._path)


def _described(fused: Fused, way: Way) -> str:
    """All that the numbers of a plan follow from."""
    plan = fused.plan
    parts = [_EDITION, torch.__version__, repr(plan.reductions), _operations(plan.hoisted)]
    kernels = [fused.forward_kernel(save=way is not None)]
    if way is not None and way[:1] != ("saving",):
        backward = fused.backward(cast(tuple[bool, ...], way))
        parts.append(_operations(backward.hoisted))
        kernels += fused.backward_kernels(backward)
    return "\n".join([*parts, *(cast(Any, kernel).identity() for kernel in kernels)])


def _operations(hoisted: Hoisted) -> str:
    return "\n".join(map(_operation, [*hoisted.moved, *hoisted.core, *hoisted.inputs]))


def _operation(node: fx.Node) -> str:
    return f"{node.name} = {node.target}{node.args}{node.kwargs} {shape_of(node)} {lives_at(node).value}"
