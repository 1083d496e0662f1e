"""The one gate to C: it gives the address of a tensor after checking that the tensor's numbers are there.

Not every tensor of PyTorch is numbers in memory. There are fake tensors and those of the `meta` device,
tensors of vmap that stand for a batch, subclasses with their own operations, tensors that are negated when
they are read, sparse tensors, and tensors whose memory has been freed. C would read whatever is at the
address.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from mpnn.borrowed import FakeTensor, dispatch_keys, without_modes

CPU = torch.device("cpu")


class NotOrdinaryError(RuntimeError):
    """The tensor is not ordinary data in memory: only PyTorch's operations can compute with it."""


class MisfitError(ValueError):
    """The tensor is ordinary data, but of another type, length or layout than the compiled function takes."""


def _ordinary() -> frozenset[int]:
    """The dispatch keys of tensors that are plain numbers in memory; no other tensor has these."""
    found = set()
    with without_modes():  # this file may be imported under a mode
        for inference in (False, True):
            with torch.inference_mode(inference):
                found.add(dispatch_keys(torch.empty(1, device=CPU)).raw_repr())
    return frozenset(found)


ORDINARY = _ordinary()


def is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor is plain numbers in memory, of any dtype and any strides.

    >>> is_ordinary(torch.ones(3)), is_ordinary(torch.ones(3, device="meta"))
    (True, False)
    """
    return dispatch_keys(tensor).raw_repr() in ORDINARY


def has_data(tensor: Tensor) -> bool:
    """Whether a tensor has values, on any device: it is neither fake nor on the `meta` device."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def address(tensor: Tensor, dtype: torch.dtype, length: int) -> int:
    """The address of a contiguous tensor of `length` numbers of `dtype`.

    The address is valid as long as the caller holds the tensor.

    Raises:
        NotOrdinaryError: the tensor is not ordinary data.
        MisfitError: its dtype or its length differs, or it is not contiguous.

    >>> address(torch.empty(0), torch.float32, 0)
    0
    """
    # A tensor of these two classes that passes the other tests and has no data has no pointer, or a null
    # pointer.
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
        except RuntimeError:  # a tensor of vmap or of another transform
            place = 0
        if place and not (
            place & 7 and place % dtype.itemsize
        ):  # `torch.frombuffer` may begin at any address
            return place
    return _looked_at(tensor, dtype, length)


def address_of_new(tensor: Tensor) -> int:
    """The address of a tensor that the caller has just made for a kernel to write into.

    Raises:
        NotOrdinaryError: a mode of PyTorch made something else of it.

    >>> address_of_new(torch.empty(0))
    0
    """
    if type(tensor) is not Tensor:
        raise NotOrdinaryError(f"a new tensor is a {type(tensor).__name__}, not ordinary data in memory")
    return tensor.data_ptr()


def _looked_at(tensor: Tensor, dtype: torch.dtype, length: int) -> int:
    """The address of a tensor that is empty or of a subclass; raises for every other."""
    if not is_ordinary(tensor):
        kind, keys = type(tensor).__name__, dispatch_keys(tensor)
        raise NotOrdinaryError(f"a {kind} on {tensor.device} is not ordinary data in memory ({keys})")
    if tensor.dtype is not dtype or tensor.numel() != length or not tensor.is_contiguous():
        order = "one behind the other" if tensor.is_contiguous() else f"with strides {tensor.stride()}"
        raise MisfitError(
            f"A compiled function needs {length} contiguous numbers of {dtype}, but got "
            f"{tensor.numel()} of {tensor.dtype}, {order}, in a tensor of shape {list(tensor.shape)}."
        )
    place = tensor.data_ptr()
    if (length and not place) or place % dtype.itemsize:
        shape = list(tensor.shape)
        raise NotOrdinaryError(f"the memory of a tensor of shape {shape} is freed, or begins at an odd place")
    return place


def buffer(length: int, dtype: torch.dtype) -> Tensor:
    """An empty tensor of this many numbers on the CPU, whatever PyTorch's default device is."""
    return torch.empty(length, dtype=dtype, device=CPU)
