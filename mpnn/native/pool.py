"""Memory for large tensors that is kept when they are freed.

The C library gives the memory of a large tensor back to the system as soon as it is freed, and the system
clears the next one's, 4 kB at a time, which can take longer than the kernel that fills it. What kernels
write is therefore taken from memory that earlier tensors of theirs have left.
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
LARGE = 1 << 25  # bytes from which glibc asks the system each time, whatever was freed before
SHARE = 8  # at most an eighth of the machine's memory is kept for tensors to come
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# By size. A thread may free a tensor at any time, so each step is one that nothing comes between.
_free: dict[int, list[mmap.mmap]] = {}
_left_to_malloc = False


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device = CPU) -> Tensor:
    """`torch.empty`, where a large tensor on the CPU gets the memory of one that has been freed.

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
        return torch.empty(shape, dtype=dtype, device=CPU)  # which says so if there still is no memory
    lent = memoryview(region)[:size]  # lives as long as the tensor's storage
    weakref.finalize(lent, _give_back, region).atexit = False
    # Not a view, and nobody else holds its storage: autograd adds gradients in place only then.
    return torch.frombuffer(lent, dtype=dtype).resize_(tuple(shape))


def leave_to_malloc() -> None:
    """From now on the C library keeps what is freed, for everybody's tensors."""
    global _left_to_malloc
    _left_to_malloc = True
    _free.clear()


def release_kept_memory() -> None:
    """Give the memory of freed tensors, which is kept for the next ones, back to the system.

    It is at most an eighth of what the machine has, or of what the process may take. A GPU's is
    `torch.cuda.empty_cache`'s.

    >>> mpnn.release_kept_memory()
    """
    _free.clear()


def _rounded(size: int) -> int:
    """A size that similar ones share, at most an eighth more; what is not touched takes no memory."""
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
    for other, regions in list(_free.items()):  # the sizes that came first go first
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
