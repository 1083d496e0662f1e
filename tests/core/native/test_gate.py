"""C gets the addresses of ordinary data, and of no other tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import mpnn
from mpnn import models
from mpnn.backends.c.kernel import CKernel
from mpnn.native import gate
from mpnn.native.gate import MisfitError, NotOrdinaryError, address, is_ordinary
from tests.core.graphs import random_graph

F32 = torch.float32


# The gate itself ----------------------------------------------------------------------------------------


class Wrapped(Tensor):
    """A tensor subclass with its own operations."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapped:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("the gate must not compute with it")


def freed() -> Tensor:
    x = torch.ones(6)
    x.untyped_storage().resize_(0)
    return x


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.ones(6)


STRANGE: dict[str, Callable[[], Tensor]] = {
    "meta": lambda: torch.ones(6, device="meta"),
    "fake": fake,
    "freed": freed,
    "wrapped": lambda: Wrapped(torch.ones(6)),
    "sparse": lambda: torch.ones(6).to_sparse(),
    "compressed": lambda: torch.ones(2, 3).to_sparse_csr(),
    "of oneDNN": lambda: torch.ones(6).to_mkldnn(),
    "negative": lambda: torch._neg_view(torch.ones(6)),
    "known to be zero": lambda: torch._efficientzerotensor((6,)),
    "functional": lambda: torch._to_functional_tensor(torch.ones(6)),
    "nested": lambda: torch.nested.as_nested_tensor([torch.ones(6)]),
    "at an odd place": lambda: torch.frombuffer(bytearray(25), dtype=F32, count=6, offset=1),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_ordinary_data_has_no_address(kind: str) -> None:
    with pytest.raises(NotOrdinaryError, match=r"is not ordinary data|is freed, or begins"):
        address(STRANGE[kind](), F32, 6)


def test_batches_and_what_a_transform_follows_have_no_address() -> None:
    def refused(x: Tensor) -> Tensor:
        assert not is_ordinary(x)
        with pytest.raises(NotOrdinaryError):
            address(x, F32, x.numel())
        return x.sum()

    torch.func.vmap(refused)(torch.ones(2, 3))
    torch.func.grad(refused)(torch.ones(3))
    torch.func.functionalize(refused)(torch.ones(3))
    torch._vmap_internals._vmap(refused)(torch.ones(2, 3))  # what is_grads_batched uses


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(6, dtype=torch.float64), "got 6 of torch.float64"),
        (torch.ones(5), "needs 6 contiguous numbers of torch.float32.* got 5"),
        (torch.ones(7), "got 7"),
        (torch.ones(2, 3).t(), "strides"),
        (torch.ones(1).expand(6), "strides"),
    ],
)
def test_another_type_length_or_order_is_a_misfit(tensor: Tensor, words: str) -> None:
    with pytest.raises(MisfitError, match=words):
        address(tensor, F32, 6)


def test_ordinary_data_has_the_address_that_pytorch_says() -> None:
    x = torch.ones(7)
    subclass = x.as_subclass(models.GCNConv(1, 1).lin.weight.__class__)
    for tensor in (x, nn.Parameter(x), x[1:], x.view(7, 1)[:, 0], subclass):
        assert address(tensor, F32, tensor.numel()) == tensor.data_ptr()
        assert is_ordinary(tensor)
    with torch.inference_mode():
        y = torch.ones(2)
    assert address(y, F32, 2) == y.data_ptr()
    assert address(torch.empty(0), F32, 0) == 0
    for flags in (torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.bfloat16)[1:]):
        assert address(flags, flags.dtype, flags.numel()) == flags.data_ptr()


def test_a_buffer_is_in_memory_whatever_device_is_the_default() -> None:
    with torch.device("meta"):
        assert address(gate.buffer(3, torch.int64), torch.int64, 3)


def test_a_kernel_that_is_given_too_little_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: list[CKernel] = []
    run = CKernel.__call__

    def noted(self: CKernel, *args: Any) -> Any:
        kernels.append(self)
        return run(self, *args)

    monkeypatch.setattr(CKernel, "__call__", noted)
    graph, x = random_graph(), torch.randn(9, 4)
    mpnn.propagate(graph, lambda x_i, x_j: x_i * x_j, x=x)
    kernel = kernels[-1]  # those before are of its trial
    rows = [x] * len(kernel.program.inputs)
    for wrong in (x[:8], x[:, :3], x.double()):
        with pytest.raises(MisfitError, match=r"needs 36 contiguous numbers of torch\.float32"):
            kernel(graph, [wrong, *rows[1:]])
