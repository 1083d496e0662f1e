"""On how many threads a C function runs."""

from __future__ import annotations

import os

import torch

_several = False  # whether a function has run on several threads in this process


def threads_for(amount: int, least: int) -> int:
    """The number of threads of `torch.get_num_threads()`; one for less work than `least`.

    >>> threads_for(10, 1000)
    1
    """
    global _several
    if amount < least:
        return 1
    number = torch.get_num_threads()
    _several = _several or number > 1
    return number


def _after_fork() -> None:
    # OpenMP's threads do not follow a process into `os.fork`, and the child would wait for them for ever.
    if _several:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_after_fork)
