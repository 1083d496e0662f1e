"""Layers written for PyG's base class work on ours: PyG's own, with only the import changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch_geometric.nn.conv as conv
from torch import Tensor, nn

import mpnn
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.ported import ported

# Some layers mark overloads for TorchScript, which looks for their source in a file.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to retrieve source for @torch.jit._overload function")

DTYPE = torch.float64
NUM_NODES, NUM_EDGES, IN, OUT, EDGE = 9, 30, 4, 6, 3


@pytest.fixture(autouse=True, params=["eager", "cpu"])
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs on the oracle and on compiled kernels."""
    with mpnn.backend(request.param):
        yield


generator = torch.Generator().manual_seed(3)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


graph = random_graph(NUM_NODES, NUM_EDGES)
edge_index = graph.edge_index
bipartite = random_graph((NUM_NODES, 5), NUM_EDGES).edge_index
incidence = torch.stack([edge_index[0], edge_index[1] % 5])
x, x_dst, pos = randn(NUM_NODES, IN), randn(5, IN), randn(NUM_NODES, 3)
normal = pos / pos.norm(dim=1, keepdim=True)
edge_weight, edge_attr = randn(NUM_EDGES).abs(), randn(NUM_EDGES, EDGE)
edge_type = torch.arange(NUM_EDGES) % 3
node_type = torch.arange(NUM_NODES) % 2
histogram = torch.bincount(graph.in_degree)
weighted, attributed, typed = (
    (x, edge_index, edge_weight),
    (x, edge_index, edge_attr),
    (x, edge_index, edge_type),
)


def mlp(wide: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(wide, out), nn.Tanh())


class Case(NamedTuple):
    name: str
    build: Callable[[type[Any]], nn.Module]
    inputs: tuple[Any, ...]
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.name}{'-' if self.variant else ''}{self.variant}"


PNA = (["mean", "max", "std"], ["identity", "amplification"], histogram)

CASES = [
    Case("AGNNConv", lambda c: c(), (x, edge_index)),
    Case("APPNP", lambda c: c(3, 0.1), weighted),
    Case("ARMAConv", lambda c: c(IN, OUT, num_stacks=2, num_layers=2, node_dim=-2), weighted),
    Case("CGConv", lambda c: c(IN, EDGE), attributed),
    Case("ChebConv", lambda c: c(IN, OUT, 3), (x, edge_index)),
    Case("ClusterGCNConv", lambda c: c(IN, OUT), (x, edge_index)),
    Case("DNAConv", lambda c: c(IN, 2, 2), (randn(NUM_NODES, 3, IN), edge_index)),
    Case("EdgeConv", lambda c: c(mlp(2 * IN, OUT)), (x, edge_index)),
    Case("EGConv", lambda c: c(IN, 8, aggregators=["sum", "max", "std", "symnorm"]), (x, edge_index)),
    Case("FAConv", lambda c: c(IN), (x, x, edge_index)),
    Case("FeaStConv", lambda c: c(IN, OUT, 2), (x, edge_index)),
    Case("FiLMConv", lambda c: c(IN, OUT, 3), typed),
    Case("GATConv", lambda c: c(IN, OUT, 2, edge_dim=EDGE), attributed),
    Case(
        "GATConv", lambda c: c((IN, IN), OUT, 2, add_self_loops=False), ((x, x_dst), bipartite), "bipartite"
    ),
    Case(
        "GATConv",
        lambda c: c((IN, IN), OUT, add_self_loops=False),
        ((x, None), bipartite, None, (9, 5)),
        "half",
    ),
    Case("GATConv", lambda c: c(IN, OUT, 2, flow="target_to_source"), (x, edge_index), "against the edges"),
    Case("GATv2Conv", lambda c: c(IN, OUT, 2, edge_dim=EDGE), attributed),
    Case("GatedGraphConv", lambda c: c(OUT, 2), weighted),
    Case("GCN2Conv", lambda c: c(IN, 0.1), (x, x, edge_index, edge_weight)),
    Case("GCNConv", lambda c: c(IN, OUT), weighted),
    Case("GCNConv", lambda c: c(IN, OUT, flow="target_to_source"), weighted, "against the edges"),
    Case("GENConv", lambda c: c(IN, OUT, aggr="softmax", edge_dim=EDGE, learn_t=True), attributed),
    Case("GeneralConv", lambda c: c(IN, OUT, EDGE, attention=True, heads=2), attributed),
    Case("GINConv", lambda c: c(mlp(IN, OUT), train_eps=True), (x, edge_index)),
    Case("GINEConv", lambda c: c(mlp(IN, OUT), edge_dim=EDGE), attributed),
    Case("GMMConv", lambda c: c(IN, OUT, EDGE, 2), attributed),
    Case("GraphConv", lambda c: c(IN, OUT, aggr="mean"), weighted),
    Case("GraphConv", lambda c: c((IN, IN), OUT, aggr="max"), ((x, x_dst), bipartite), "bipartite"),
    Case(
        "HEATConv", lambda c: c(IN, OUT, 2, 3, 2, EDGE, 2), (x, edge_index, node_type, edge_type, edge_attr)
    ),
    Case("HypergraphConv", lambda c: c(IN, OUT), (x, incidence)),
    Case("LEConv", lambda c: c(IN, OUT), weighted),
    Case("LGConv", lambda c: c(), weighted),
    Case("MFConv", lambda c: c(IN, OUT), (x, edge_index)),
    Case("MixHopConv", lambda c: c(IN, OUT, [0, 1, 2]), weighted),
    Case("NNConv", lambda c: c(IN, OUT, nn.Linear(EDGE, IN * OUT)), attributed),
    Case("PDNConv", lambda c: c(IN, OUT, EDGE, 7), attributed),
    Case("PNAConv", lambda c: c(IN, OUT, *PNA, towers=2, divide_input=True), (x, edge_index)),
    Case("PointGNNConv", lambda c: c(mlp(IN, 3), mlp(3 + IN, OUT), mlp(OUT, IN)), (x, pos, edge_index)),
    Case("PointNetConv", lambda c: c(mlp(IN + 3, OUT)), (x, pos, edge_index)),
    Case("PointTransformerConv", lambda c: c(IN, OUT), (x, pos, edge_index)),
    Case("PPFConv", lambda c: c(mlp(IN + 4, OUT)), (x, pos, normal, edge_index)),
    Case("ResGatedGraphConv", lambda c: c(IN, OUT, edge_dim=EDGE), attributed),
    Case("RGATConv", lambda c: c(IN, OUT, 3, heads=2), typed),
    Case("RGCNConv", lambda c: c(IN, OUT, 3, num_bases=2), typed),
    Case("SAGEConv", lambda c: c(IN, OUT, aggr="max", project=True), (x, edge_index)),
    Case("SAGEConv", lambda c: c((IN, IN), OUT), ((x, x_dst), bipartite), "bipartite"),
    Case("SGConv", lambda c: c(IN, OUT, 2), weighted),
    Case("SignedConv", lambda c: c(IN, OUT, True), (x, edge_index, edge_index.flip(0))),
    Case("SimpleConv", lambda c: c("mean", combine_root="sum"), (x, edge_index)),
    Case("SSGConv", lambda c: c(IN, OUT, 0.1, 2), weighted),
    Case("SuperGATConv", lambda c: c(IN, OUT, 2), (x, edge_index)),
    Case("TAGConv", lambda c: c(IN, OUT, 2), weighted),
    Case("TransformerConv", lambda c: c(IN, OUT, 2, edge_dim=EDGE, beta=True), attributed),
    Case("WLConvContinuous", lambda c: c(), weighted),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_of_pyg_works_on_our_base_class(case: Case) -> None:
    torch.manual_seed(1)
    theirs = case.build(getattr(conv, case.name)).double()
    torch.manual_seed(1)
    ours = case.build(ported(case.name)).double()
    ours.load_state_dict(theirs.state_dict())
    assert_same(ours, theirs, case.inputs)
