"""R-GAT's options with features of edges, its weights, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg

from mpnn import Graph, models
from tests.compare import assert_close, assert_same
from tests.models.graphs import GRAPHS, edge_input, features

OPTIONS: list[dict[str, Any]] = [
    {},
    {"attention_mechanism": "within-relation", "heads": 2},
    {"attention_mode": "multiplicative-self-attention", "dim": 2, "heads": 2, "concat": False},
    {"attention_mode": "multiplicative-self-attention", "attention_mechanism": "within-relation", "dim": 3},
    {"attention_mode": "multiplicative-self-attention", "dim": 2, "mod": "scaled", "heads": 2},
    {"attention_mode": "multiplicative-self-attention", "dim": 2, "mod": "additive", "heads": 2},
    {"num_bases": 2, "heads": 2, "flow": "target_to_source", "mod": "f-scaled"},
]


def both(**options: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    ours, theirs = (library.RGATConv(6, 4, 3, edge_dim=3, **options).double() for library in (models, pyg))
    for parameter in theirs.parameters():  # biases start at zero, and PyG leaves l2 as memory was
        parameter.data.copy_(torch.randn_like(parameter))
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def given(graph: Graph) -> dict[str, Any]:
    return {
        "x": features(graph.num_nodes),
        "edge_index": graph.edge_index,
        "edge_type": edge_input("edge_type", graph.num_edges),
        "edge_attr": edge_input("edge_attr", graph.num_edges),
    }


@pytest.mark.parametrize("kind", ["plain", "no edges"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_with_edge_features_it_equals_pyg(options: dict[str, Any], kind: str) -> None:
    ours, theirs = both(**options)
    assert_same(ours, theirs, given(GRAPHS[kind]))


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_its_attention_weights_are_pygs(options: dict[str, Any]) -> None:
    ours, theirs = both(**options)
    inputs = given(GRAPHS["plain"])
    out, (edge_index, weights) = ours(*inputs.values(), return_attention_weights=True)
    theirs_out, (theirs_edges, theirs_weights) = theirs(*inputs.values(), return_attention_weights=True)
    assert torch.equal(edge_index, theirs_edges)
    assert_close(weights, theirs_weights)
    assert_close(out, theirs_out)


def test_types_of_the_graph_are_those_of_an_argument() -> None:
    ours, _ = both(heads=2)
    inputs = given(GRAPHS["plain"])
    typed = GRAPHS["plain"].carrying(edge_type=inputs["edge_type"], num_edge_types=3)
    expected = ours(*inputs.values())
    assert torch.equal(ours(inputs["x"], typed, edge_attr=inputs["edge_attr"]), expected)


def test_dropout_forgets_whole_heads_of_an_edge_in_the_mean_as_much_as_it_keeps() -> None:
    torch.manual_seed(0)
    layer = models.RGATConv(6, 4, 2, heads=2, dropout=0.5).double()
    graph = Graph(torch.tensor([[0], [1]]), 2, torch.tensor([1]))
    x = features(2)
    kept = layer.eval()(x, graph)[1]
    layer.train()
    outs = torch.stack([layer(x, graph)[1] for _ in range(400)]).view(400, 2, 4)
    dropped = (outs == 0).all(-1)
    assert ((outs == 0).any(-1) == dropped).all()  # a head as a whole
    assert_close(outs[~dropped], (2 * kept).view(1, 2, 4).expand(400, 2, 4)[~dropped])
    assert abs(float(dropped.double().mean()) - 0.5) < 0.09  # five standard deviations of 800 draws


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mod": "half"}, "mod is 'half', but must be one of None, additive, scaled"),
        (
            {"attention_mechanism": "none"},
            "attention_mechanism is 'none', but must be one of across-relation",
        ),
        ({"attention_mode": "dot"}, "attention_mode is 'dot', but must be one of additive-self-attention"),
        ({"dim": 2}, "dim is 2, but additive-self-attention has one score a head"),
        ({"mod": "scaled", "dropout": 0.5}, "got mod='scaled' with dropout=0.5: choose one of them"),
        ({"num_bases": 2, "num_blocks": 2}, "num_bases=2 and num_blocks=2 exclude each other"),
        ({"num_blocks": 5}, "num_blocks=5 must divide 6 and 4"),
    ],
)
def test_bad_options_get_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        models.RGATConv(6, 4, 3, **options)


def test_edges_without_types_get_one_sentence() -> None:
    layer = models.RGATConv(6, 4, 3)
    x = features(2).float()
    with pytest.raises(ValueError, match="RGATConv needs edge_type, as an argument or in the graph"):
        layer(x, torch.tensor([[0], [1]]))
    with pytest.raises(
        ValueError, match="the graph has 4 edge types, but RGATConv was built with num_relations=3"
    ):
        layer(x, Graph(torch.tensor([[0], [1]]), 2, torch.tensor([3])))
