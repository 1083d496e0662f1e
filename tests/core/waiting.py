"""Detects operations that make the CPU wait for a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
def no_waiting(*, on_cpu: bool = True) -> Iterator[None]:
    """Raise where PyTorch would wait for a GPU, also when all of it runs on the CPU.

    Args:
        on_cpu: whether tensors on the CPU stand for some on a GPU, and are not to be waited for either.
    """
    with _Functions(on_cpu), _Operations(on_cpu):
        yield


@contextmanager
def never_waits() -> Iterator[None]:
    """The same, with PyTorch's own check where there is a GPU."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("error")
    try:
        with no_waiting():
            yield
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")


class _Operations(TorchDispatchMode):
    def __init__(self, on_cpu: bool) -> None:
        super().__init__()
        self._on_cpu = on_cpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if self._on_cpu or any(one.device.type != "cpu" for one in tensors):
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
    def __init__(self, on_cpu: bool) -> None:
        super().__init__()
        self._on_cpu = on_cpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.new_tensor:
            device, numbers = args[0].device, args[1:]
        elif func in MAKING:
            device, numbers = kwargs.get("device"), args
        elif func in READING:
            device, numbers = args[0].device, ()
        else:
            return func(*args, **kwargs)
        waits = device is not None and (self._on_cpu or torch.device(device).type != "cpu")
        if waits and not any(isinstance(one, Tensor) for one in tree_leaves(numbers)):
            raise AssertionError(f"{func.__name__}() of or to {device} waits for the device.")
        return func(*args, **kwargs)


def warmed_up(step: Callable[[], Any]) -> None:
    """Run a step some times beside the current stream, as is asked for before a CUDA graph captures it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
