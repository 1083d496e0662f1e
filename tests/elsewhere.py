"""A device that is not the CPU, for tests: mixing its tensors with CPU tensors is an error, as on a GPU.

An operation that a GPU computes by atomics is an error too, since its sums have other bits in each run.

The numbers of its tensors are in the CPU's memory, but the tensors claim to be on `DEVICE`, for which PyTorch
has no kernels: only operations inside `Elsewhere` can compute with these tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from mpnn.backends import triton

DEVICE = torch.device("lazy", 0)
aten = torch.ops.aten
# From here to there is their purpose; and a GPU takes positions from the CPU.
MAY_MIX = {aten._to_copy, aten.copy_, aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
ATOMIC = {aten.index_add, aten.index_add_, aten.scatter_add, aten.scatter_add_}


class Far(Tensor):
    """A tensor on `DEVICE`."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Far:
        """Wrap the numbers."""
        far: Far = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )
        far.here = here
        return far

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation outside of `Elsewhere`'s mode, such as in the backward pass."""
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the device of its tensors; raise if they are on two devices."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [t for t in flat if isinstance(t, Tensor)]
    far = [t for t in tensors if isinstance(t, Far)]
    near = [t for t in tensors if not isinstance(t, Far) and t.dim() > 0]
    packet = func.overloadpacket
    if far and near and packet not in MAY_MIX:
        raise AssertionError(f"{func} mixes tensors on {DEVICE} with tensors on the CPU.")
    if far and packet in ATOMIC and _rounds(far[-1].here):
        raise AssertionError(f"{func} adds up in another order each time.")
    asked = kwargs.get("device")
    goes_far = bool(far) if asked is None else torch.device(asked).type == DEVICE.type
    if packet is aten.copy_:
        goes_far = isinstance(args[0], Far)
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if not goes_far:
        return out
    known = {id(t.here): t for t in far}  # what is changed in place stays what it is
    return tree_map(lambda t: known.get(id(t), Far(t)) if isinstance(t, Tensor) else t, out)


def _rounds(values: Tensor) -> bool:
    """Whether a sum depends on its order: not for integers, such as counts of ties."""
    return values.is_floating_point() and bool((values != values.round()).any())


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Far) else value


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """`torch.tensor` fills memory without an operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if args and isinstance(args[0], Far):
            if func is Tensor.new_tensor:
                return torch.tensor(*args[1:], **kwargs).to(args[0].dtype).to(DEVICE)
            if func is Tensor.tolist:
                return args[0].here.tolist()
            if func in (Tensor.numpy, Tensor.__array__, Tensor.data_ptr):
                raise AssertionError(f"{func.__name__}() of a tensor on {DEVICE}.")
        return func(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The device, inside a `with` block."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with pytest.MonkeyPatch.context() as patch, _Literals(), _Operations():
            patch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # it knows no such device
            patch.setattr(torch, "Generator", _Generator)
            patch.setattr(torch.nn.Module, "load_state_dict", _load_into)
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


class _Generator(torch.Generator):
    """Random numbers for any device, from the CPU."""

    def __new__(cls, *_: Any) -> _Generator:
        return super().__new__(cls)


_load = torch.nn.Module.load_state_dict


def _load_into(module: torch.nn.Module, *args: Any, **options: Any) -> Any:
    """Without putting other tensors in the place of a module's, which `torch.nn.LSTM` does not allow."""
    torch.__future__.set_swap_module_params_on_conversion(False)
    try:
        return _load(module, *args, **options)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(True)


@contextmanager
def by_plan() -> Iterator[None]:
    """Message passing as on a GPU without Triton: per node once, per edge some edges at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton, "make_kernel", lambda: None)
        patch.setattr("mpnn.backends.cpu.run", triton.run_if_it_can)
        yield
