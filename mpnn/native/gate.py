"""The one gate to C, which is told where a tensor's numbers are once they are sure to be there.

PyTorch's tensors need not be numbers in memory: there are fake ones and those of the `meta` device, batches
that look like one of their rows, subclasses that answer operations themselves, negatives that become so when
they are read, sparse ones, and ones whose memory has been freed. C would read whatever is there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import Parameter
from torch.utils._python_dispatch import _disable_current_modes

CPU = torch.device("cpu")


class NotOrdinaryError(RuntimeError):
    """A tensor is not ordinary data in memory: PyTorch's own operations must compute with it."""


class MisfitError(ValueError):
    """A tensor is ordinary, but not what a compiled function reads or writes in its place."""


def _ordinary() -> frozenset[int]:
    """What PyTorch's dispatcher sees in tensors that are plain numbers in memory, and in no others."""
    found = set()
    with _disable_current_modes():  # this file may be imported in one
        for inference in (False, True):
            with torch.inference_mode(inference):
                found.add(_keys(torch.empty(1, device=CPU)).raw_repr())
    return frozenset(found)


_keys = torch._C._dispatch_keys
ORDINARY = _ordinary()


def is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor is plain numbers in memory, of any type and in any order.

    >>> is_ordinary(torch.ones(3)), is_ordinary(torch.ones(3, device="meta"))
    (True, False)
    """
    return _keys(tensor).raw_repr() in ORDINARY


def has_data(tensor: Tensor) -> bool:
    """Whether there are numbers to look at, on whatever device."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def address(tensor: Tensor, dtype: torch.dtype, length: int) -> int:
    """Where a tensor's numbers begin in memory: so many of a type, one behind the other.

    They stay there as long as the caller holds the tensor.

    Raises:
        NotOrdinaryError: it is not ordinary data.
        MisfitError: its type, its length or the order of its numbers differs.

    >>> address(torch.empty(0), torch.float32, 0)
    0
    """
    # Of PyTorch's own kinds the rest of what is not data has no pointer, or none but null.
    kind = type(tensor)
    if (
        (kind is Tensor or kind is Parameter)
        and tensor.is_cpu
        and not tensor.is_neg()
        and not tensor.is_nested
        and tensor.dtype is dtype
        and tensor.numel() == length
    ):
        try:
            place = tensor.data_ptr() if tensor.is_contiguous() else 0
        except RuntimeError:  # a batch, or a tensor under a transform
            place = 0
        if place and not (place & 7 and place % dtype.itemsize):  # a buffer may begin anywhere
            return place
    return _looked_at(tensor, dtype, length)


def _looked_at(tensor: Tensor, dtype: torch.dtype, length: int) -> int:
    """The same of a tensor that is empty, of a subclass, or no data."""
    if not is_ordinary(tensor):
        kind, keys = type(tensor).__name__, _keys(tensor)
        raise NotOrdinaryError(f"a {kind} on {tensor.device} is not ordinary data in memory ({keys})")
    if tensor.dtype is not dtype or tensor.numel() != length or not tensor.is_contiguous():
        order = "one behind the other" if tensor.is_contiguous() else f"with strides {tensor.stride()}"
        raise MisfitError(
            f"A compiled function needs {length} numbers of {dtype}, one behind the other, but got "
            f"{tensor.numel()} of {tensor.dtype}, {order}, in a tensor of shape {list(tensor.shape)}."
        )
    place = tensor.data_ptr()
    if (length and not place) or place % dtype.itemsize:
        shape = list(tensor.shape)
        raise NotOrdinaryError(f"the memory of a tensor of shape {shape} is freed, or begins at an odd place")
    return place


def buffer(length: int, dtype: torch.dtype) -> Tensor:
    """Memory for so many numbers, here, whatever device PyTorch takes by default."""
    return torch.empty(length, dtype=dtype, device=CPU)
