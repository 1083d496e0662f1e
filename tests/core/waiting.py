"""What makes the host wait for a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# On a GPU these need to know what is in a tensor, and wait for it.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive",
    "bincount", "is_nonzero", "equal",
}  # fmt: skip
# These read a tensor on the CPU without an operation, and one on a GPU through a copy.
READING = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__, Tensor.item, Tensor.__iter__}
# These copy numbers of Python's to a device, and wait until they are there.
MAKING = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise where PyTorch would wait for a GPU, also when all of it runs on the CPU."""
    with _Functions(), _Operations():
        yield


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(isinstance(one, Tensor) and one.dtype == torch.bool for one in chosen)
        counted = name == "repeat_interleave" and not kwargs.get("output_size")
        if name in WAITING or by_mask or counted or _goes_elsewhere(name, args, kwargs):
            raise AssertionError(f"{func} waits for the device.")
        return func(*args, **kwargs)


def _goes_elsewhere(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether numbers are copied from device to device, and waited for: always, on their way to the CPU."""
    if name == "_to_copy":
        source, target = args[0].device, torch.device(kwargs.get("device") or args[0].device)
    elif name == "copy_":
        source, target = args[1].device, args[0].device
        kwargs = {"non_blocking": args[2] if len(args) > 2 else False} | kwargs
    else:
        return False
    return source.type != target.type and (target.type == "cpu" or not kwargs.get("non_blocking"))


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        makes = func in MAKING and (device is not None or func is Tensor.new_tensor)
        numbers = args[1:] if func is Tensor.new_tensor else args
        if makes and not any(isinstance(one, Tensor) for one in tree_leaves(numbers)):
            raise AssertionError(f"{func.__name__}({numbers}) on {device} waits for the device.")
        if func in READING:
            raise AssertionError(f"{func.__name__}() waits for the device.")
        return func(*args, **kwargs)


@contextmanager
def never_waits() -> Iterator[None]:
    """The same, and PyTorch's own watch where there is a GPU."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("error")
    try:
        with no_waiting():
            yield
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
