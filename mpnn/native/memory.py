"""Memory that tensors no longer need: whether it may be overwritten, and whether malloc keeps it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

from torch import Tensor

from mpnn.borrowed import address_of_storage, storage_use_count, use_count
from mpnn.native import pool

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of malloc.h
MOST_BELOW_MMAP = 1 << 25  # the largest value that glibc accepts
NEVER = -1


def keep_freed_memory() -> bool:
    """Make malloc keep the memory of freed tensors for later ones, instead of returning it to the system.

    By default glibc returns the memory of each large tensor to the system when it is freed, and the system
    clears the memory of the next one, 4 kB at a time: half the time of PyTorch's own operations on a large
    graph. The outputs of mpnn's kernels avoid that in any case. The price: the process keeps as much memory
    as it ever held at once. The setting holds for the whole process; the command `mpnn` makes it by default.

    Returns:
        Whether the C library accepted the setting; only glibc has it.

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
    """Whether only this sequence holds the k-th tensor and its memory, so that it may be overwritten.

    >>> tensors = [torch.ones(2), torch.ones(2)]
    >>> elsewhere = tensors[1][:1]
    >>> is_spare(tensors, 0), is_spare(tensors, 1)
    (True, False)
    """
    tensor = tensors[k]
    if type(tensor) is not Tensor or sys.getrefcount(tensor) > 3 or use_count(tensor) > 1:
        return False
    uses = storage_use_count
    storage = tensor.untyped_storage()
    alone = uses is not None and bool(uses(address_of_storage(storage)) == 2)  # the tensor's, and `storage`
    return alone and not tensor.requires_grad and tensor.is_contiguous()
