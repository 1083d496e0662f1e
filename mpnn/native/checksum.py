"""The compiled sum over all bytes of a tensor."""

from __future__ import annotations

import ctypes
import functools
import zlib
from collections.abc import Callable
from typing import cast

from torch import Tensor

from mpnn.native.library import library
from mpnn.native.threads import threads_for

PARALLEL = 1 << 26  # bytes: below this one thread reads at the memory's bandwidth


@functools.cache
def _summed() -> Callable[[int, int, int], int] | None:
    made = library("checksum")
    if made is None:
        return None
    made.checksum.restype = ctypes.c_uint64
    made.checksum.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return cast(Callable[[int, int, int], int], made.checksum)


def checksum(tensor: Tensor) -> int:
    """A number that changes with the content of a contiguous CPU tensor, except with probability 2⁻³².

    Only checksums of the same process can be compared.
    """
    place, count = tensor.data_ptr(), tensor.nbytes
    compiled = _summed()
    if compiled is None:
        return zlib.crc32((ctypes.c_char * count).from_address(place))
    return compiled(place, count, threads_for(count, PARALLEL))
