"""Work that must not become part of what PyTorch is tracing or differentiating meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes

# What PyTorch's dispatcher heeds outside of any operation and of any trace.
_INCLUDED = torch._C._dispatch_tls_local_include_set()
_EXCLUDED = torch._C._dispatch_tls_local_exclude_set()


@contextmanager
def apart() -> Iterator[None]:
    """Run the block as if it stood alone: no tracer sees it, and gradients may be asked for in it.

    While PyTorch traces a function, modes see every operation; inside an operation nothing is differentiated.
    A plan is made, and its way back derived, apart from both.
    """
    with ExitStack() as stack:
        for _ in range(torch._C._len_torch_function_stack()):
            stack.enter_context(_pop_mode_temporarily())
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch._C._ForceDispatchKeyGuard(_INCLUDED, _EXCLUDED))
        stack.enter_context(torch.no_grad())
        yield
