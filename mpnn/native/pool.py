"""Memory of large tensors, kept for later tensors when it is freed.

The C library returns the memory of a large tensor to the system as soon as it is freed, and the system clears
the memory of the next one, 4 kB at a time, which can take longer than the kernel that fills it. The outputs
of kernels therefore reuse the memory of earlier outputs.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

CPU = torch.device("cpu")
LARGE = 1 << 25  # bytes: from this size on glibc takes new memory from the system for each tensor
SHARE = 8  # at most an eighth of the machine's memory is kept
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# By size. Another thread may free a tensor at any time, so each operation on this dict is atomic.
_free: dict[int, list[mmap.mmap]] = {}
_left_to_malloc = False


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device = CPU) -> Tensor:
    """`torch.empty`; a large CPU tensor gets the memory of one that has been freed.

    >>> empty((2, 3), torch.float64).shape
    torch.Size([2, 3])
    """
    size = prod(shape) * dtype.itemsize
    if size < LARGE or device.type != "cpu" or _left_to_malloc or not hasattr(mmap, "MAP_ANONYMOUS"):
        return torch.empty(shape, dtype=dtype, device=device)
    try:
        region = _take(_rounded(size))
    except (OSError, MemoryError):
        release_kept_memory()
        return torch.empty(
            shape, dtype=dtype, device=CPU
        )  # raises the error of PyTorch if there still is no memory
    lent = memoryview(region)[:size]  # lives as long as the tensor's storage
    weakref.finalize(lent, _give_back, region).atexit = False
    # Autograd adds gradients in place only into a tensor that is no view and alone holds its storage.
    return torch.frombuffer(lent, dtype=dtype).resize_(tuple(shape))


def leave_to_malloc() -> None:
    """Stop keeping memory here: from now on the C library keeps freed memory, for all tensors."""
    global _left_to_malloc
    _left_to_malloc = True
    _free.clear()


def release_kept_memory() -> None:
    """Return the memory that is kept for later tensors to the system.

    It is at most an eighth of the memory of the machine or of the process's limit. For a GPU, see
    `torch.cuda.empty_cache`.

    >>> mpnn.release_kept_memory()
    """
    _free.clear()


def _rounded(size: int) -> int:
    """A size rounded up by at most an eighth: similar sizes share memory, and untouched pages take none."""
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _take(size: int) -> mmap.mmap:
    with contextlib.suppress(KeyError, IndexError):
        return _free[size].pop()
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _give_back(region: mmap.mmap) -> None:
    if _left_to_malloc:
        return
    size = len(region)
    kept = sum(k * len(regions) for k, regions in list(_free.items()))
    for other, regions in list(_free.items()):  # the oldest sizes first
        while kept + size > _most() and other != size and regions:
            with contextlib.suppress(IndexError):
                regions.pop()
                kept -= other
    if kept + size <= _most():
        _free.setdefault(size, []).append(region)


@functools.cache
def _most() -> int:
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it says "max"
            limits.append(int(Path(path).read_text()))
    return min(limits) // SHARE
