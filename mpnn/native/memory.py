"""What the C library does with memory that a tensor no longer needs."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of malloc.h
MOST_BELOW_MMAP = 1 << 25  # what glibc takes at most
NEVER = -1


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones, instead of giving it back at once.

    By default glibc gives each large tensor's memory back to the system when it is freed, and gets the next
    one's cleared, 4 kB at a time: half the time of a training step on a large graph, in PyTorch's own
    operations as in ours. The price is that a process keeps as much as it ever needed at one time.

    It holds for the whole process, from now on. The command `mpnn` does it by itself.

    Returns:
        Whether the C library took it; only glibc has such a setting.

    >>> kept = mpnn.keep_freed_memory()
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((MMAP_THRESHOLD, MOST_BELOW_MMAP), (MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER))
    return bool(min(mallopt(name, value) for name, value in settings) == 1)
