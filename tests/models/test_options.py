"""Options of layers against PyTorch Geometric."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.data import Data

from mpnn import Graph, models
from tests.compare import assert_close, assert_same
from tests.models.graphs import DST, GRAPHS, NODES, RELATIONS, SRC, edge_input, features

PLAIN = GRAPHS["plain"]
ATTENTION = [
    "GATConv(6, 4, heads=2, edge_dim=3)",
    "GATConv(6, 4, heads=2, edge_dim=3, add_self_loops=False)",
    "GATv2Conv(6, 4, heads=2, edge_dim=3)",
    "TransformerConv(6, 4, heads=2, edge_dim=3)",
]


def both(layer: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    ours, theirs = (eval(layer, dict(vars(library))).double() for library in (models, pyg))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def with_options(module: nn.Module, **options: Any) -> nn.Module:
    """The module with some keyword arguments fixed, still a module with its parameters."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> Any:
            return self.module(*inputs, **options)

    return Fixed()


@pytest.mark.parametrize("layer", ATTENTION)
def test_attention_weights_are_returned_with_their_edges(layer: str) -> None:
    ours, theirs = (with_options(one, return_attention_weights=True) for one in both(layer))
    given = (features(NODES), PLAIN.edge_index, edge_input("edge_attr", PLAIN.num_edges))
    assert_same(ours, theirs, given)


def test_attention_weights_come_with_a_graph_if_a_graph_was_given() -> None:
    layer = models.GATConv(6, 4)
    _, (graph, weights) = layer(features(NODES).float(), PLAIN, return_attention_weights=True)
    assert isinstance(graph, Graph)
    assert_close(
        weights.sum(), torch.tensor(float(NODES)), atol=1e-5
    )  # float32: each node's weights sum to 1


@pytest.mark.parametrize("layer", ["SAGEConv(6, 5)", "GraphConv(6, 5)", "GATConv((6, 6), 5)"])
def test_destinations_may_have_no_features(layer: str) -> None:
    graph = GRAPHS["bipartite"]
    options: dict[str, Any] = {"size": (SRC, DST)}
    ours, theirs = (with_options(one, **options) for one in both(layer))
    if layer.startswith("GAT"):  # there the weights of the destinations' scores get no gradient in either
        assert_same(ours, theirs, [(features(SRC), None), graph.edge_index], gradients=False)
    else:
        assert_same(ours, theirs, [(features(SRC), None), graph.edge_index])


@pytest.mark.parametrize(
    "layer",
    [
        "GCNConv(6, 4, node_dim=-2)",
        "SAGEConv(6, 4, 'max', node_dim=-2)",
        "ChebConv(6, 4, 3, node_dim=-2)",
        "APPNP(3, 0.1, node_dim=-2)",
        "GraphConv(6, 4, node_dim=-2)",
    ],
)
def test_several_sets_of_features_on_one_graph(layer: str) -> None:
    x = features(3 * NODES).view(3, NODES, 6)
    assert_same(*both(layer), [x, PLAIN.edge_index])


@pytest.mark.parametrize("aggr", ["'lstm'", "'median'", "['mean', 'median']"])
def test_sage_brings_the_edges_in_the_order_that_an_aggregator_needs(aggr: str) -> None:
    ours, theirs = both(f"SAGEConv(6, 5, {aggr})")
    by_destination = PLAIN.edge_index[:, PLAIN.dst.argsort(stable=True)]
    assert_same(lambda x: ours(x, PLAIN), lambda x: theirs(x, by_destination), [features(NODES)])
    parameters = dict(theirs.named_parameters())
    theirs(features(NODES), by_destination).sum().backward()
    ours(features(NODES), PLAIN).sum().backward()
    for name, parameter in ours.named_parameters():
        ours_grad, theirs_grad = parameter.grad, parameters[name].grad
        assert ours_grad is not None
        assert theirs_grad is not None
        assert_close(ours_grad, theirs_grad, name=name)


@pytest.mark.parametrize("aggr", ["lstm", "median"])
def test_sage_with_such_an_aggregator_works_without_edges(aggr: str) -> None:
    layer = models.SAGEConv(6, 5, aggr)
    x, graph = features(NODES).float(), GRAPHS["no edges"]
    assert_close(layer(x, graph), layer.lin_l(torch.zeros(NODES, 6)) + layer.lin_r(x), atol=1e-6)


@pytest.mark.parametrize("decomposition", ["", ", num_bases=2"])
@pytest.mark.parametrize("numbers", ["all", "some", "pair"])
def test_rgcn_knows_nodes_without_features_by_their_number(decomposition: str, numbers: str) -> None:
    ours, theirs = both(f"RGCNConv({NODES}, 4, {RELATIONS}{decomposition})")
    chosen = torch.randint(NODES, (NODES,), generator=torch.Generator().manual_seed(0))
    x: Any = {"all": None, "some": chosen, "pair": (None, chosen)}[numbers]
    assert_same(ours, theirs, [x, PLAIN.edge_index, edge_input("edge_type", PLAIN.num_edges)])


def test_rgcn_takes_the_types_of_the_graph() -> None:
    ours, theirs = both(f"RGCNConv(6, 4, {RELATIONS})")
    types = edge_input("edge_type", PLAIN.num_edges)
    typed = Graph(PLAIN.edge_index, NODES, types)
    assert_same(lambda x: ours(x, typed), lambda x: theirs(x, PLAIN.edge_index, types), [features(NODES)])


@pytest.mark.parametrize("normalization", [None, "sym", "rw"])
@pytest.mark.parametrize("lambda_max", [3.0, torch.tensor(2.5), torch.tensor([1.5, 3.0, 2.5])])
def test_cheb_takes_the_largest_eigenvalue_of_each_graph(
    normalization: str | None, lambda_max: float | Tensor
) -> None:
    graph = GRAPHS["batch"]
    ours, theirs = both(f"ChebConv(6, 4, 3, normalization={normalization!r})")
    given = {
        "x": features(graph.num_nodes),
        "edge_index": graph.edge_index,
        "edge_weight": edge_input("edge_weight", graph.num_edges),
    }
    several = isinstance(lambda_max, Tensor) and lambda_max.numel() > 1
    options = {"lambda_max": lambda_max} | ({"batch": graph.graph_index} if several else {})
    ours, theirs = with_options(ours, **options), with_options(theirs, **options)
    assert_same(ours, theirs, given)


def test_improved_adds_two_loops_with_and_without_edge_weights() -> None:
    # PyG ignores improved=True without edge weights, so that it is given weights of one.
    ours, theirs = both("GCNConv(6, 4, improved=True)")
    ones = torch.ones(PLAIN.num_edges, dtype=torch.float64)
    x = features(NODES)
    assert_same(lambda x: ours(x, PLAIN), lambda x: theirs(x, PLAIN.edge_index, ones), [x])


def test_the_last_of_several_weighted_loops_counts_and_alone_gets_a_gradient() -> None:
    # PyG's outputs are the same, but it gives a gradient to the weights that it overwrote.
    edge_index = torch.tensor([[0, 1, 1, 1, 2], [1, 1, 0, 1, 2]])
    ours, theirs = both("GCNConv(6, 4)")
    x, weight = features(3), edge_input("edge_weight", 5)
    assert_same(ours, theirs, [x, edge_index, weight], gradients=False)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: ours(x, edge_index, w), weight)


@pytest.mark.parametrize(
    "layer", ["GCNConv(6, 4, cached=True)", "SGConv(6, 4, cached=True)", "APPNP(3, 0.1, cached=True)"]
)
def test_a_cache_serves_the_same_input_and_no_other(layer: str) -> None:
    cached, plain = eval(layer, dict(vars(models))), eval(layer.replace("True", "False"), dict(vars(models)))
    plain.load_state_dict(cached.state_dict())
    x, weight = features(NODES).float(), edge_input("edge_weight", PLAIN.num_edges).float()
    other = Graph(PLAIN.edge_index.flip(0), NODES)
    for graph in (PLAIN, PLAIN, other, PLAIN):
        assert_close(cached(x, graph, weight), plain(x, graph, weight), atol=0.0)
    weight.mul_(2)
    x.add_(1)
    assert_close(cached(x, PLAIN, weight), plain(x, PLAIN, weight), atol=0.0)


def test_gcn_norm_is_computed_once_per_graph() -> None:
    graph = Graph(PLAIN.edge_index, NODES)
    assert models.gcn_norm(graph)[1] is models.gcn_norm(graph)[1]
    assert models.gcn_norm(graph)[1] is not models.gcn_norm(graph, dtype=torch.float64)[1]


def test_half_precision_counts_many_neighbours() -> None:
    hub = Graph(torch.stack([torch.arange(4000), torch.zeros(4000, dtype=torch.int64)]), 4000)
    _, weight = models.gcn_norm(hub, dtype=torch.float16)
    _, expected = models.gcn_norm(hub, dtype=torch.float64)
    assert_close(weight.double(), expected, atol=1e-3)  # float16 has 11 bits


def test_the_degree_histogram_of_several_graphs_is_pygs() -> None:
    graphs = [GRAPHS["plain"], GRAPHS["no edges"], GRAPHS["batch"]]
    data = [Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes) for graph in graphs]
    expected = pyg.PNAConv.get_degree_histogram(data)
    assert_close(models.PNAConv.get_degree_histogram(graphs), expected)
    assert_close(models.PNAConv.get_degree_histogram(data), expected)


def test_reset_parameters_draws_what_construction_drew() -> None:
    layers: dict[str, Any] = {
        "GCNConv": models.GCNConv(6, 4),
        "GATv2Conv": models.GATv2Conv(6, 4, edge_dim=3),
        "PNAConv": models.PNAConv(6, 4, ["mean"], ["linear"], torch.tensor([1, 2])),
        "RGCNConv": models.RGCNConv(6, 4, 3, num_bases=2),
        "GatedGraphConv": models.GatedGraphConv(6, 2),
        "GNN": models.GNN(6, 8, 4, conv="gin", norm="graph", jk="lstm"),
    }
    for name, layer in layers.items():
        before = {key: value.clone() for key, value in layer.state_dict().items()}
        layer.reset_parameters()
        for key, value in layer.state_dict().items():
            if before[key].numel() > 1 and before[key].std() > 0:  # neither a constant nor a single number
                assert not torch.equal(before[key], value), f"{key} of {name} was not drawn anew"
            assert value.abs().max() < 10 * before[key].abs().max() + 1e-6, f"{key} of {name}"
