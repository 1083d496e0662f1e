"""Layers on typed graphs give what PyG's give: outputs and all gradients, with PyG's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from mpnn import HeteroGraph, models
from tests.compare import assert_close, assert_same
from tests.core.graph.hetero_graphs import RELATIONS, TYPES, hetero_graph
from tests.models.graphs import features

GRAPH = hetero_graph(num_edges=30)
EMPTY = HeteroGraph(
    GRAPH.num_nodes_dict, {edge_type: torch.empty(2, 0, dtype=torch.int64) for edge_type in RELATIONS}
)
WIDTHS = {"author": 6, "paper": 3, "venue": 5}
EQUAL = dict.fromkeys(TYPES, 6)  # wider than the results: maps come before the sums
NARROW = dict.fromkeys(TYPES, 4)  # no wider: maps come after the sums

Make = Callable[[Any, tuple[int, int]], nn.Module]

CONVS: dict[str, Make] = {
    "SAGE": lambda library, widths: library.SAGEConv(widths, 4),
    "SAGE, sum, no root": lambda library, widths: library.SAGEConv(widths, 4, aggr="sum", root_weight=False),
    "SAGE, no bias": lambda library, widths: library.SAGEConv(widths, 4, bias=False),
    "SAGE, max": lambda library, widths: library.SAGEConv(widths, 4, aggr="max"),
    "SAGE, normalised": lambda library, widths: library.SAGEConv(widths, 4, normalize=True),
    "Graph": lambda library, widths: library.GraphConv(widths, 4),
    "Graph, mean": lambda library, widths: library.GraphConv(widths, 4, aggr="mean", bias=False),
    "GAT": lambda library, widths: library.GATConv(widths, 2, heads=2, add_self_loops=False),
    "GAT, mean of heads": lambda library, widths: library.GATConv(
        widths, 4, heads=3, concat=False, add_self_loops=False, residual=True
    ),
    "GATv2": lambda library, widths: library.GATv2Conv(widths, 2, heads=2, add_self_loops=False),
    "Transformer": lambda library, widths: library.TransformerConv(widths, 2, heads=2),
}


def x_dict(widths: dict[str, int]) -> dict[str, Tensor]:
    return {
        name: features(GRAPH.num_nodes_dict[name], width, seed=k)
        for k, (name, width) in enumerate(widths.items())
    }


class Joined(nn.Module):
    """A layer whose arguments are tensors, one for each type, in the order of `TYPES`."""

    def __init__(self, layer: nn.Module, edges: Any) -> None:
        super().__init__()
        self.layer, self.edges = layer, edges

    def forward(self, *xs: Tensor, **further: Any) -> dict[str, Tensor]:
        out: dict[str, Tensor] = self.layer(dict(zip(TYPES, xs, strict=True)), self.edges)
        return out


def hetero_conv(library: Any, make: Callable[[Any, Any], nn.Module], aggr: str | None = "sum") -> nn.Module:
    torch.manual_seed(0)
    layer = library.HeteroConv({edge_type: make(library, edge_type) for edge_type in RELATIONS}, aggr)
    return layer.double()


def same_as_pyg(ours: nn.Module, theirs: nn.Module, widths: dict[str, int], graph: HeteroGraph) -> None:
    for parameter in theirs.parameters():  # biases start at zero, which would hide them
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    xs = list(x_dict(widths).values())
    for edges in (graph, graph.edge_index_dict):
        assert_same(Joined(ours, edges), Joined(theirs, graph.edge_index_dict), xs)


def of_widths(make: Make, widths: dict[str, int]) -> Callable[[Any, Any], nn.Module]:
    return lambda library, edge_type: make(library, (widths[edge_type[0]], widths[edge_type[2]]))


@pytest.mark.parametrize("graph", [GRAPH, EMPTY], ids=["seven relations", "no edges"])
@pytest.mark.parametrize("widths", [WIDTHS, EQUAL, NARROW], ids=["three widths", "wide", "narrow"])
@pytest.mark.parametrize("conv", CONVS)
def test_a_layer_for_each_relation_equals_pyg(conv: str, widths: dict[str, int], graph: HeteroGraph) -> None:
    make = of_widths(CONVS[conv], widths)
    same_as_pyg(hetero_conv(models, make), hetero_conv(pyg, make), widths, graph)


@pytest.mark.parametrize("conv", ["SAGE", "GAT", "GATv2"])
@pytest.mark.parametrize("aggr", ["mean", "max", "min", "cat", None])
def test_results_of_several_relations_come_together_as_pygs(conv: str, aggr: str | None) -> None:
    make = of_widths(CONVS[conv], WIDTHS)
    same_as_pyg(hetero_conv(models, make, aggr), hetero_conv(pyg, make, aggr), WIDTHS, GRAPH)
    make = of_widths(CONVS[conv], NARROW)
    same_as_pyg(hetero_conv(models, make, aggr), hetero_conv(pyg, make, aggr), NARROW, GRAPH)


@pytest.mark.parametrize("aggr", ["sum", "mean"])
def test_layers_of_several_kinds_equal_pyg(aggr: str) -> None:
    kinds = list(CONVS.values())
    made = {r: kinds[(3 * k) % len(kinds)] for k, r in enumerate(RELATIONS)}

    def make(library: Any, edge_type: Any) -> nn.Module:
        return made[edge_type](library, (WIDTHS[edge_type[0]], WIDTHS[edge_type[2]]))

    same_as_pyg(hetero_conv(models, make, aggr), hetero_conv(pyg, make, aggr), WIDTHS, GRAPH)


@pytest.mark.parametrize("conv", ["SAGE", "GAT", "Graph"])
def test_widths_are_taken_from_the_first_input_as_pygs(conv: str) -> None:
    def make(library: Any, edge_type: Any) -> nn.Module:
        return CONVS[conv](library, (-1, -1))

    ours, theirs = hetero_conv(models, make), hetero_conv(pyg, make)
    theirs(x_dict(WIDTHS), GRAPH.edge_index_dict)
    same_as_pyg(ours, theirs, WIDTHS, GRAPH)
    again = hetero_conv(models, make)
    again(x_dict(WIDTHS), GRAPH)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_features_of_edges_reach_the_layer_of_their_relation() -> None:
    def make(library: Any, edge_type: Any) -> nn.Module:
        return library.GraphConv((6, 6), 4)

    ours, theirs = hetero_conv(models, make), hetero_conv(pyg, make)
    ours.load_state_dict(theirs.state_dict())
    weights = {r: torch.rand(GRAPH[r].num_edges, dtype=torch.float64) for r in RELATIONS}
    out = ours(x_dict(EQUAL), GRAPH, edge_weight_dict=weights)
    expected = theirs(x_dict(EQUAL), GRAPH.edge_index_dict, edge_weight_dict=weights)
    for name in TYPES:
        assert_close(out[name], expected[name])


def test_relations_without_edges_in_a_dictionary_are_passed_over_as_pyg_does() -> None:
    make = of_widths(CONVS["SAGE"], EQUAL)
    ours, theirs = hetero_conv(models, make), hetero_conv(pyg, make)
    ours.load_state_dict(theirs.state_dict())
    some = {r: GRAPH[r].edge_index for r in RELATIONS[:3]}
    out, expected = (layer(x_dict(EQUAL), some) for layer in (ours, theirs))
    assert out.keys() == expected.keys()
    for name in out:
        assert_close(out[name], expected[name])


@pytest.mark.parametrize("conv", ["SAGE", "SAGE, sum, no root", "GAT"])
def test_a_hook_on_a_layer_is_called(conv: str) -> None:
    layer = hetero_conv(models, of_widths(CONVS[conv], EQUAL))
    expected = layer(x_dict(EQUAL), GRAPH)
    seen: list[Tensor] = []
    layer.convs[RELATIONS[2]].register_forward_hook(lambda module, given, out: seen.append(out))  # type: ignore[index, union-attr]
    out = layer(x_dict(EQUAL), GRAPH)
    assert len(seen) == 1
    for name in TYPES:
        assert_close(out[name], expected[name])


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("widths", [WIDTHS, dict.fromkeys(TYPES, 4)], ids=["three widths", "one width"])
@pytest.mark.parametrize("graph", [GRAPH, EMPTY], ids=["seven relations", "no edges"])
def test_a_heterogeneous_graph_transformer_equals_pyg(
    widths: dict[str, int], heads: int, graph: HeteroGraph
) -> None:
    torch.manual_seed(0)
    ours, theirs = (library.HGTConv(widths, 4, GRAPH.metadata(), heads).double() for library in (models, pyg))
    same_as_pyg(ours, theirs, widths, graph)


def test_a_transformer_of_unknown_widths_equals_pyg() -> None:
    ours, theirs = (library.HGTConv(-1, 4, GRAPH.metadata(), 2).double() for library in (models, pyg))
    theirs(x_dict(WIDTHS), GRAPH.edge_index_dict)
    same_as_pyg(ours, theirs, WIDTHS, GRAPH)


def test_names_that_a_container_has_itself_are_pygs_in_a_state_dict() -> None:
    metadata = (["b", "a"], [("b", "items", "a"), ("a", "v1.0", "b")])
    ours, theirs = (library.HGTConv(4, 4, metadata) for library in (models, pyg))
    assert set(ours.state_dict()) == set(theirs.state_dict())
    metadata = (["keys", "a.b"], [("keys", "items", "a.b"), ("a.b", "v1.0", "keys")])
    models.HGTConv(4, 4, metadata)  # PyG's refuses these names
    convs = [
        library.HeteroConv({r: library.SAGEConv(4, 4) for r in metadata[1]}) for library in (models, pyg)
    ]
    assert set(convs[0].state_dict()) == set(convs[1].state_dict())
    assert list(convs[0].convs.keys()) == metadata[1]


def test_a_sample_gives_the_seeds_what_the_whole_graph_gives() -> None:
    import mpnn

    torch.manual_seed(0)
    layer = models.HGTConv(WIDTHS, 4, GRAPH.metadata(), 2).double()
    seeds = {"paper": torch.tensor([3, 0])}
    sample = mpnn.sample_neighbors(GRAPH, seeds, [-1])
    x = x_dict(WIDTHS)
    part = layer({name: x[name][sample.nodes[name]] for name in TYPES}, sample.graph)
    assert_close(part["paper"][:2], layer(x, GRAPH)["paper"][[3, 0]])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: models.HeteroConv([]), TypeError, "convs must give a layer for each edge type, got list"),  # type: ignore[arg-type]
        (
            lambda: models.HeteroConv({("a", "to", "a"): models.SAGEConv(1, 1)}, aggr="median"),
            ValueError,
            "aggr is 'median', but must be one of sum, mean, min, max, cat, None",
        ),
        (
            lambda: models.HeteroConv(
                {("a", "to", "b"): models.GATConv((1, 1), 1), ("b", "to", "a"): models.SAGEConv(1, 1)}
            ),
            ValueError,
            r"the layer of \('a', 'to', 'b'\) adds self loops, but there are none between two types",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(x_dict(EQUAL), [1]),
            TypeError,
            "graph must be a HeteroGraph, or a dictionary of edge_index by edge type, got list",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(torch.ones(2, 6), GRAPH),
            TypeError,
            "x_dict must be a dictionary by node type, got Tensor",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(
                x_dict(EQUAL) | {"reader": torch.ones(2, 6)}, GRAPH
            ),
            ValueError,
            "x_dict names 'reader', which is no node type: these are 'author', 'paper', 'venue'",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(
                x_dict(EQUAL), GRAPH.with_edge_types(RELATIONS[:6])
            ),
            ValueError,
            r"the graph lacks the edge types \('author', 'reviews', 'paper'\), which have layers",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(x_dict(WIDTHS), GRAPH),
            ValueError,
            "SAGEConv got x.* of width",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["GAT"], EQUAL))(x_dict(WIDTHS), GRAPH),
            ValueError,
            "GATConv got x.* of width",
        ),
        (
            lambda: hetero_conv(models, of_widths(CONVS["SAGE"], EQUAL))(
                x_dict(EQUAL), GRAPH, edge_weight={}
            ),
            ValueError,
            "edge_weight should be a dictionary by edge type, and its name end with '_dict'",
        ),
        (
            lambda: models.HGTConv(4, 4, (["a"], [("a", "to", "b")])),
            ValueError,
            r"the edge type \('a', 'to', 'b'\) names the node type 'b', but the node types are 'a'\.",
        ),
        (
            lambda: models.HGTConv(4, 6, GRAPH.metadata(), heads=4),
            ValueError,
            "out_channels is 6, which 4 heads cannot share evenly",
        ),
        (
            lambda: models.HGTConv({"author": 4}, 4, GRAPH.metadata()),
            ValueError,
            "in_channels has widths of 'author', but the node types are 'author', 'paper', 'venue'",
        ),
        (
            lambda: models.HGTConv(4, 4, GRAPH.metadata(), flow="target_to_source"),
            ValueError,
            "flow is 'target_to_source', but the edge types of HGTConv say where messages go",
        ),
        (
            lambda: models.HGTConv(4, 4, (TYPES, RELATIONS[:6])).double()(x_dict(EQUAL), GRAPH),
            ValueError,
            r"the graph has the edge type \('author', 'reviews', 'paper'\), but HGTConv was built with",
        ),
        (
            lambda: models.HGTConv(4, 4, GRAPH.metadata()).double()(x_dict(EQUAL), GRAPH),
            ValueError,
            r"HGTConv got x_dict\['author'\] of width 6 but was built with in_channels=4",
        ),
        (
            lambda: models.HGTConv(6, 4, GRAPH.metadata()).double()({"author": features(7)}, GRAPH),
            ValueError,
            "x_dict lacks the node type 'paper', which the graph has",
        ),
    ],
)
def test_bad_input_gets_one_sentence(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_node_types_that_no_relation_enters_are_said() -> None:
    with pytest.warns(UserWarning, match="no edge type enters 'a': the result has no such nodes"):
        models.HeteroConv({("a", "to", "b"): models.SAGEConv(1, 1)})
