"""An explainer's mask weighs the edges of our layers as it weighs those of PyTorch Geometric's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from mpnn import Graph, MessagePassing, backend, iterate, models
from mpnn.models.networks.gnn import GNN
from tests.compare import assert_same
from tests.core.running import KERNEL, assert_runs
from tests.models.conv.test_equals_pyg import CASES, Case, both, inputs
from tests.models.graphs import NODES, features, plain

# PyTorch Geometric's own RGCNConv fails with a mask: it sends messages along some of the edges at a time.
MASKED = [case for case in CASES if not case.apart and not case.layer.startswith("RGCNConv")]
# Some nodes with loops, in the middle of the edges, and some without.
GRAPH = Graph(plain()[:, torch.randperm(plain().size(1), generator=torch.Generator().manual_seed(1))], NODES)


def mask_of(num_edges: int, seed: int = 5) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(num_edges, generator=generator, dtype=torch.float64))


def first_of_each_layer(cases: list[Case]) -> list[Case]:
    return list({case.layer.partition("(")[0]: case for case in reversed(cases)}.values())


def check(case: Case) -> None:
    ours, theirs = both(case)
    for layer in (ours, theirs):
        set_masks(layer, mask_of(GRAPH.num_edges), GRAPH.edge_index)
    assert_same(ours, theirs, inputs(case, GRAPH))
    if "cached" not in case.layer:  # theirs would go on with what it has kept
        for layer in (ours, theirs):
            clear_masks(layer)
        assert_same(ours, theirs, inputs(case, GRAPH))


@pytest.mark.parametrize("case", MASKED, ids=str)
def test_a_mask_gives_what_it_gives_in_pyg(case: Case) -> None:
    with backend("eager"):
        check(case)


KERNELS = first_of_each_layer([case for case in MASKED if not case.training])


@pytest.mark.parametrize("case", KERNELS, ids=str)
def test_kernels_give_it_too(case: Case) -> None:
    check(case)


def test_a_masked_message_is_a_kernel_of_its_own() -> None:
    layer = models.GATConv(6, 4, heads=2).double()
    set_masks(layer, mask_of(GRAPH.num_edges), GRAPH.edge_index)
    assert_runs(KERNEL, lambda: layer(features(NODES), GRAPH))


def test_a_mask_of_relations_weighs_each_message() -> None:
    """A mask of zeros and ones is the graph of the edges with a one, but for the means' counts."""
    types = torch.arange(GRAPH.num_edges) % 3
    layer = models.RGCNConv(6, 4, 3, aggr="sum").double()
    kept = torch.arange(GRAPH.num_edges) % 2 == 0
    part = layer(features(NODES), GRAPH.edge_subgraph(kept), types[kept])
    set_masks(layer, kept.double(), GRAPH.edge_index, apply_sigmoid=False)
    torch.testing.assert_close(layer(features(NODES), GRAPH, types), part, rtol=0, atol=1e-10)


def test_a_mask_is_of_the_edges_that_the_model_is_given_whatever_loops_its_layers_make() -> None:
    """Where every node has a loop, but not in the order of the nodes, theirs weighs other edges."""
    loops = torch.arange(NODES).flip(0).expand(2, -1)
    graph = Graph(torch.cat([loops, GRAPH.edge_index[:, :9]], dim=1), NODES).without_self_loops()
    looped = Graph(torch.cat([loops, graph.edge_index], dim=1), NODES)
    mask = mask_of(looped.num_edges).detach()
    layer = models.GCNConv(6, 4).double()
    set_masks(layer, mask, looped.edge_index)
    masked = layer(features(NODES), looped)
    set_masks(layer, mask[NODES:], graph.edge_index)
    torch.testing.assert_close(masked, layer(features(NODES), graph), rtol=0, atol=1e-10)


class Lambda(MessagePassing):
    def __init__(self) -> None:
        super().__init__("sum")
        self.message = lambda x_j: x_j.relu()  # type: ignore[method-assign]

    def forward(self, x: Tensor, graph: Graph) -> Any:
        return self.propagate(graph, x=x)


class Writing(MessagePassing):
    def message(self, x_j: Tensor) -> Tensor:
        self.seen = x_j
        return x_j.relu()

    def forward(self, x: Tensor, graph: Graph) -> Any:
        return self.propagate(graph, x=x)


class OwnAggregate(MessagePassing):
    def message(self, x_j: Tensor) -> Tensor:
        return x_j.relu()

    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int) -> Tensor:
        return inputs.new_zeros(dim_size, inputs.size(1)).index_add(0, index, inputs)

    def forward(self, x: Tensor, graph: Graph) -> Any:
        return self.propagate(graph, x=x)


@pytest.mark.parametrize(
    "layer", [Lambda(), Writing(), OwnAggregate()], ids=lambda layer: type(layer).__name__
)
def test_a_message_without_a_kernel_is_weighed_too(layer: MessagePassing) -> None:
    mask = mask_of(GRAPH.num_edges)
    set_masks(layer, mask, GRAPH.edge_index)
    sent = features(NODES).relu()[GRAPH.src] * mask.sigmoid()[:, None]
    expected = torch.zeros(NODES, 6, dtype=torch.float64).index_add(0, GRAPH.dst, sent)
    torch.testing.assert_close(layer(features(NODES), GRAPH), expected, rtol=0, atol=1e-10)


class Deep(MessagePassing):
    def __init__(self) -> None:
        super().__init__("sum", node_dim=-2)

    def forward(self, x: Tensor, graph: Graph) -> Any:
        return self.propagate(graph, x=x)


def test_edges_may_lie_in_another_dimension() -> None:
    layer, mask = Deep(), mask_of(GRAPH.num_edges)
    set_masks(layer, mask, GRAPH.edge_index)
    both_at_once = torch.stack([features(NODES), features(NODES, seed=8)])
    each = torch.stack([layer(x, GRAPH) for x in both_at_once])
    torch.testing.assert_close(layer(both_at_once, GRAPH), each, rtol=0, atol=1e-10)


def test_a_mask_of_other_edges_is_refused() -> None:
    layer = models.SAGEConv(6, 4).double()
    set_masks(layer, mask_of(5), torch.zeros(2, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="the mask is of 5 edges, but SAGEConv sends messages along 30"):
        layer(features(NODES), GRAPH)


def test_a_schedule_refuses_a_mask() -> None:
    layer = Deep()
    set_masks(layer, mask_of(GRAPH.num_edges), GRAPH.edge_index)
    with pytest.raises(TypeError, match="Deep has an explainer's mask"):
        iterate(layer, GRAPH, {"x": features(NODES)}, steps=1)


def test_a_readout_and_neurons_have_no_mask() -> None:
    model = nn.ModuleList([models.GlobalPool(), models.Linear(3, 2), GNN(6, 8, 2, virtual_node=True)])
    set_masks(model, mask_of(3), torch.zeros(2, 3, dtype=torch.int64))
    masked = {
        name
        for name, layer in model.named_modules()
        if "_edge_mask" in dict(layer.named_parameters(recurse=False))
    }
    assert masked == {"2.convs.0", "2.convs.1"}
