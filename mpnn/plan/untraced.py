"""Work that must not become part of what PyTorch is tracing or differentiating meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from mpnn.borrowed import DISPATCHED, function_modes, with_dispatch, without_function_mode, without_modes


@contextmanager
def untraced() -> Iterator[None]:
    """Run the block as if it stood alone: no tracer sees it, and gradients may be asked for in it.

    While PyTorch traces a function, its modes see every operation; inside an operation it differentiates
    nothing. Neither may hold while a plan is made or its gradient derived.
    """
    with ExitStack() as stack:
        for _ in range(function_modes()):
            stack.enter_context(without_function_mode())
        stack.enter_context(without_modes())
        stack.enter_context(with_dispatch(*DISPATCHED))
        stack.enter_context(torch.no_grad())
        yield
