"""Memory that tensors no longer need: whether it may be written into, and who keeps it for the next ones."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.native import pool

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of malloc.h
MOST_BELOW_MMAP = 1 << 25  # what glibc takes at most
NEVER = -1


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones, instead of giving it back at once.

    By default glibc gives each large tensor's memory back to the system when it is freed, and gets the next
    one's cleared, 4 kB at a time: half the time of PyTorch's own operations on a large graph. What kernels
    here write is spared that in any case. The price: a process keeps as much as it ever needed at once.

    It holds for the whole process, from now on. The command `mpnn` does it by itself.

    Returns:
        Whether the C library took it; only glibc has such a setting.

    >>> kept = mpnn.keep_freed_memory()
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((MMAP_THRESHOLD, MOST_BELOW_MMAP), (MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER))
    taken = bool(min(mallopt(name, value) for name, value in settings) == 1)
    if taken:
        pool.leave_to_malloc()
    return taken


def is_spare(tensors: Sequence[Tensor | None], k: int) -> bool:
    """Whether the k-th tensor and its memory are held by this sequence alone, and may be written into.

    >>> tensors = [torch.ones(2), torch.ones(2)]
    >>> elsewhere = tensors[1][:1]
    >>> is_spare(tensors, 0), is_spare(tensors, 1)
    (True, False)
    """
    tensor = tensors[k]
    if type(tensor) is not Tensor or sys.getrefcount(tensor) > 3 or tensor._use_count() > 1:  # type: ignore[attr-defined]
        return False
    uses = getattr(torch._C, "_storage_Use_Count", None)  # private, so it may be gone one day
    storage = tensor.untyped_storage()
    alone = uses is not None and bool(uses(storage._cdata) == 2)  # the tensor's, and `storage`
    return alone and not tensor.requires_grad and tensor.is_contiguous()
