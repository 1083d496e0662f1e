"""For GPUs: whether Triton is there, and how numbers are sent to a GPU without waiting."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.borrowed import known_while_compiling

_found = importlib.util.find_spec("triton") is not None


def has_triton() -> bool:
    """Whether Triton is installed; it comes with PyTorch for CUDA."""
    return _found


def sent(numbers: Sequence[Any], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """A tensor of Python numbers on a device; the CPU does not wait for the copy to a GPU.

    >>> sent([1, 2], torch.device("cpu"))
    tensor([1, 2])
    """
    pinned = device.type == "cuda" and torch.cuda.is_available()
    # Memory of NumPy is on the CPU, whatever PyTorch's default device is.
    here = torch.from_numpy(np.asarray(numbers)).to(dtype)
    return (here.pin_memory() if pinned else here).to(device, non_blocking=True)


@known_while_compiling
def interprets() -> bool:
    """Whether Triton runs its kernels in Python, on any device: for tests, and very slow.

    Triton reads `TRITON_INTERPRET` only when it is imported.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not has_triton():
        return False
    import triton
    import triton.language

    return not isinstance(triton.language.sum, triton.JITFunction)
