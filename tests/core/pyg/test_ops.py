"""The plain operators of `pyg_lib.ops` against one matrix, row or segment after the other, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn.pyg import ops
from tests.compare import assert_close, assert_same


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_each_segment_is_multiplied_by_its_matrix(kind: torch.dtype) -> None:
    ptr = torch.tensor([0, 3, 3, 7])
    given = {"inputs": randn(7, 4), "other": randn(3, 4, 2), "bias": randn(3, 2)}
    segment = torch.repeat_interleave(ptr.diff())
    assert_same(
        lambda inputs, other, bias: ops.segment_matmul(inputs, ptr.to(kind), other, bias),
        lambda inputs, other, bias: torch.einsum("ni,nio->no", inputs, other[segment]) + bias[segment],
        given,
        atol=1e-10,
    )
    none = ops.segment_matmul(randn(0, 4), torch.tensor([0, 0]), randn(1, 4, 2))
    assert none.shape == (0, 2)


def test_pairs_of_matrices_are_multiplied() -> None:
    inputs, others, biases = [randn(3, 4), randn(0, 5)], [randn(4, 2), randn(5, 3)], [randn(2), randn(3)]
    for made, a, b, c in zip(ops.grouped_matmul(inputs, others, biases), inputs, others, biases, strict=True):
        assert_close(made, a @ b + c, atol=1e-10)
    assert len(ops.grouped_matmul(inputs, others)) == 2


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("indexed", [(True, True), (True, False), (False, True), (False, False)])
def test_rows_are_chosen_before_arithmetic(name: str, indexed: tuple[bool, bool]) -> None:
    index = torch.tensor([4, 0, 0, 2, 1])
    left, right = (index if one else None for one in indexed)
    assert_same(
        lambda a, b: getattr(ops, f"sampled_{name}")(a, b, left, right),
        lambda a, b: getattr(torch, name)(a if left is None else a[left], b if right is None else b[right]),
        {"a": randn(5, 3), "b": randn(5, 3).exp()},
        atol=1e-10,
    )


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_sorting_keeps_the_order_of_equal_numbers(kind: torch.dtype) -> None:
    numbers = torch.randint(10, (100,), dtype=kind)
    values, order = ops.index_sort(numbers, max_value=10)
    assert order.tolist() == sorted(range(100), key=lambda k: int(numbers[k]))
    assert torch.equal(values, numbers[order])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_softmax_of_segments_is_that_of_each(dim: int) -> None:
    src, ptr = 5 * randn(6, 6), torch.tensor([1, 1, 3, 6])

    def each(src: Tensor) -> Tensor:
        first = src.narrow(dim, 0, 1) * 0
        return torch.cat([first, src.narrow(dim, 1, 2).softmax(dim), src.narrow(dim, 3, 3).softmax(dim)], dim)

    assert_same(lambda src: ops.softmax_csr(src, ptr, dim), each, {"src": src}, atol=1e-10)
    assert_close(ops.softmax_csr(src, torch.tensor([0, 6]), dim), src.softmax(dim), atol=1e-12)


def test_edges_are_drawn_from_their_nodes() -> None:
    rowptr = torch.tensor([0, 4, 4, 10])
    edges = ops.edge_sample(torch.tensor([2, 0, 1]), rowptr, count=3)
    assert len(edges.unique()) == 6
    assert bool((edges[:3] >= 4).all())
    assert bool((edges[3:] < 4).all())
    part = ops.edge_sample(torch.tensor([2, 0]), rowptr, factor=0.5)
    assert bool((part[:3] >= 4).all())
    assert bool((part[3:] < 4).all())
    assert len(part.unique()) == 5
    assert ops.edge_sample(torch.tensor([1]), rowptr, count=2).tolist() == []


def test_layers_of_pytorch_geometric_multiply_by_segments() -> None:
    from torch_geometric.nn import HeteroLinear, RGCNConv
    from torch_geometric.utils import softmax

    x, kind = torch.randn(20, 4), torch.randint(3, (20,)).sort()[0]
    layer, conv = HeteroLinear(4, 5, 3, is_sorted=True), RGCNConv(4, 5, 3)
    edges = torch.randint(20, (2, 20))
    ptr = torch.tensor([0, 5, 20])
    plain = [layer(x, kind), conv(x, edges, kind), softmax(x, ptr=ptr)]
    with mpnn.pyg.enabled():
        layer.use_segment_matmul, conv.use_segment_matmul = True, True
        ours = [layer(x, kind), conv(x, edges, kind), softmax(x, ptr=ptr)]
    for a, b in zip(plain, ours, strict=True):
        assert_close(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.segment_matmul(torch.ones(3, 1), torch.tensor([0, 2]), torch.ones(1, 1, 1)),
            "from 0 to 3",
        ),
        (lambda: ops.grouped_matmul([torch.ones(1, 1)], []), "must be as many, got 1, 0"),
    ],
)
def test_a_bad_argument_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_only_vectors_are_sorted() -> None:
    with pytest.raises(RuntimeError, match="one dimension"):
        ops.index_sort(torch.ones(2, 2))
