"""Whether there is Triton, with which kernels are written for a GPU."""

from __future__ import annotations

import importlib.util
import os

_found = importlib.util.find_spec("triton") is not None


def has_triton() -> bool:
    """Whether Triton is installed; it comes with PyTorch for CUDA."""
    return _found


def interprets() -> bool:
    """Whether Triton runs its kernels in Python, on any device: for tests, and very slow.

    Triton looks at `TRITON_INTERPRET` when it is imported, and never again.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not has_triton():
        return False
    import triton
    import triton.language

    return not isinstance(triton.language.sum, triton.JITFunction)


interprets._dynamo_marked_constant = True  # type: ignore[attr-defined]  # known while a function is compiled
