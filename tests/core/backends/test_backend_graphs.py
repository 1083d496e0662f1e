"""Kernels on every kind of graph, aggregator and tensor, against plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import mpnn
from mpnn import Graph
from tests.core.graphs import graphs, random_graph
from tests.core.running import KERNEL, assert_like_eager, ways

DTYPE = torch.float64
generator = torch.Generator().manual_seed(1)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


def bent(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i - x_j).relu() * x_j


def scored(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
    return (x_i * x_j).sum(-1), x_j.tanh()


AGGREGATORS: list[Any] = ["sum", "mean", "max", "min", "mul", "logsumexp", "var", "std", "softmax"]
SEVERAL: list[Any] = [["mean", "max", "std"], ["softmax", "sum"], ["mul", "mean", "logsumexp"]]


@pytest.mark.parametrize("aggr", AGGREGATORS + SEVERAL, ids=str)
def test_every_aggregator_has_a_kernel(aggr: Any) -> None:
    assert_like_eager(random_graph(), bent, aggr, {"x": randn(9, 5)})


@pytest.mark.parametrize(
    "options", [{"t": 0.5}, {"learn": True}, {"learn": True, "channels": 5}, {"semi_grad": True}], ids=str
)
def test_softmax_with_a_temperature(options: dict[str, Any]) -> None:
    aggr = mpnn.aggregate.aggregators.Softmax(**options).to(DTYPE)
    assert_like_eager(random_graph(), bent, aggr, {"x": randn(9, 5)})


def test_scores_weigh_values_of_any_width() -> None:
    assert_like_eager(random_graph(), scored, "softmax", {"x": randn(9, 5)})
    assert_like_eager(random_graph(), scored, "softmax", {"x": randn(9, 2, 3)})


def test_large_scores_do_not_overflow() -> None:
    assert_like_eager(random_graph(), scored, "softmax", {"x": 40 * randn(9, 5)})


NUMBERS = [float("inf"), float("-inf"), float("nan"), 0.0, -0.0, 1e300, 5e-324]


@pytest.mark.parametrize("aggr", ["sum", "max", "min"])
def test_numbers_that_are_none_travel_as_in_pytorch(aggr: str) -> None:
    x = torch.tensor(NUMBERS, dtype=DTYPE).roll(1).repeat(9, 1)[:, :5].contiguous()
    assert_like_eager(random_graph(), lambda x_i, x_j: x_j * 1.0, aggr, {"x": x}, gradients=False)


# Graphs --------------------------------------------------------------------------------------------------

ODD = {
    "no nodes": Graph(torch.empty(2, 0, dtype=torch.int64), 0),
    "no edges": Graph(torch.empty(2, 0, dtype=torch.int64), 4),
    "one edge": Graph(torch.tensor([[1], [0]]), 3),
    "one loop": Graph(torch.tensor([[0], [0]]), 1),
    "loops and repeats": Graph(torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]), 2),
    "isolated nodes": Graph(torch.tensor([[5, 5], [2, 7]]), 9),
    "as many edges as nodes": Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3),
}


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
@pytest.mark.parametrize("name", ODD)
def test_odd_graphs(name: str, aggr: str) -> None:
    graph = ODD[name]
    fields = {"x": randn(graph.num_nodes, 5), "e": randn(graph.num_edges, 1)}
    assert_like_eager(graph, lambda x_i, x_j, e: e * (x_i - x_j).relu(), aggr, fields, way=None)


@settings(max_examples=30)
@given(graphs(), st.sampled_from(["sum", "mean", "max", "softmax"]))
def test_random_graphs(graph: Graph, aggr: str) -> None:
    pair = (randn(graph.num_src, 5), randn(graph.num_dst, 5))
    x = pair if graph.is_bipartite else pair[0]
    assert_like_eager(graph, bent, aggr, {"x": x}, way=None)


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax", "std"])
def test_a_hub_is_shared_out_in_parts(aggr: str) -> None:
    num_edges = 20_000
    edge_index = torch.stack([torch.arange(num_edges) % 500, torch.zeros(num_edges, dtype=torch.int64)])
    edge_index = torch.cat([edge_index, edge_index.flip(0)[:, ::7]], 1)
    assert_like_eager(Graph(edge_index, 500), bent, aggr, {"x": randn(500, 5)}, atol=1e-9)


def test_without_nodes_the_gradient_of_what_is_shared_is_zero() -> None:
    def message(x_i: Tensor, x_j: Tensor, w: Tensor) -> Tensor:
        return ((x_i - x_j) * w).relu()

    weight = randn(4096).requires_grad_()
    out = mpnn.propagate(ODD["no nodes"], message, "sum", x=randn(0, 4096), w=weight)
    used = [torch.full((4096,), float("nan"), dtype=DTYPE) for _ in range(8)]
    del used  # what is allocated next may lie where these were
    out.sum().backward()
    torch.testing.assert_close(weight.grad, torch.zeros(4096, dtype=DTYPE), rtol=0, atol=0)


def test_one_edge_does_not_decide_what_is_shared() -> None:
    graph = ODD["one edge"]
    for weight in (randn(1, 5), randn(5), randn(1)):
        fields = {"x": randn(3, 5), "w": weight}
        assert_like_eager(graph, lambda x_j, w: x_j * w, "sum", fields, way=None)


def test_a_batch_runs_as_one_graph() -> None:
    graph = Graph.batch([random_graph(), ODD["no edges"], random_graph(5, 8)])
    assert_like_eager(graph, bent, "mean", {"x": randn(graph.num_nodes, 5)})


def test_the_flow_turns_the_edges() -> None:
    class Against(mpnn.MessagePassing):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.propagate(random_graph(), x=x)
            return out

        def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
            return bent(x_i, x_j)

    layer = Against("sum", flow="target_to_source")
    x = randn(9, 5)
    with mpnn.backend("eager"):
        expected = layer(x)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


# Tensors -------------------------------------------------------------------------------------------------


def test_tensors_without_data_reach_no_kernel() -> None:
    graph, x = random_graph(), randn(9, 5)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        out = mpnn.propagate(graph, bent, "sum", x=mode.from_tensor(x))
    assert isinstance(out, FakeTensor) and out.shape == (9, 5)


def test_strides_do_not_matter() -> None:
    graph = random_graph()
    wide, turned = randn(9, 10)[:, ::2], randn(5, 9).t()
    edge = randn(1, 5).expand(graph.num_edges, 5)
    assert_like_eager(
        graph, lambda a_i, b_j, e: (a_i - b_j).relu() * e, "sum", {"a": wide, "b": turned, "e": edge}
    )


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 16, 33])
def test_every_width(width: int) -> None:
    assert_like_eager(random_graph(), bent, "sum", {"x": randn(9, width)})


def test_no_features_at_all() -> None:
    assert_like_eager(random_graph(), bent, "sum", {"x": randn(9, 0)}, way=None)


# Sums of a few products of numbers near 1, rounded once more where they are stored: a few units in the last
# place of each type (2^-23, 2^-10, 2^-7).
TOLERANCES = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_every_floating_type_equals_float64(dtype: torch.dtype, aggr: str) -> None:
    x = randn(9, 5).to(dtype)

    def run(x: Tensor) -> list[Tensor]:
        x = x.detach().requires_grad_()
        out = mpnn.propagate(random_graph(), bent, aggr, x=x)
        return [out, *torch.autograd.grad(out.sum(), x)]

    assert ways(lambda: run(x)) == [KERNEL]
    with mpnn.backend("eager"):
        exact = run(x.to(DTYPE))
    for ours, theirs in zip(run(x), exact, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.to(DTYPE), theirs, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_types_that_mix_still_run() -> None:
    fields = {"x": randn(9, 5).float(), "w": randn(5)}
    assert_like_eager(random_graph(), lambda x_j, w: x_j * w, "sum", fields, way=None, atol=1e-6)


def test_whole_numbers_still_run() -> None:
    x = torch.arange(18).reshape(9, 2)
    assert_like_eager(random_graph(), lambda x_i, x_j: x_i * x_j, "sum", {"x": x}, way=None)


def test_node_dim_behind_still_runs() -> None:
    assert_like_eager(random_graph(), bent, "sum", {"x": randn(2, 9, 5)}, way=None, node_dim=-2)


@pytest.mark.parametrize("node_dim", [0, -2])
def test_node_dim_of_matrices_may_be_counted_from_behind(node_dim: int) -> None:
    assert_like_eager(random_graph(), bent, "max", {"x": randn(9, 5)}, way=KERNEL, node_dim=node_dim)


def test_messages_of_another_rank_than_the_fields_do_not_confuse_node_dim() -> None:
    def product(x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_i.unsqueeze(-1) * x_j.unsqueeze(-2)  # [num_edges, 5, 5]: dimension -2 is not that of edges

    with pytest.raises(ValueError, match="messages"):
        mpnn.propagate(random_graph(), product, "sum", x=randn(9, 5), node_dim=-2)
