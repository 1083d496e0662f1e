"""Stacks against PyTorch Geometric's models; norms and jumping knowledge against its modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from mpnn import Graph, models
from tests.compare import assert_close, assert_same
from tests.models.graphs import GRAPHS, NODES, features
from tests.present import present

PLAIN, BATCH = GRAPHS["plain"], GRAPHS["batch"]
STACKS: dict[str, Any] = {"gcn": pyg.GCN, "sage": pyg.GraphSAGE, "gat": pyg.GAT}


@pytest.mark.parametrize("num_layers", [1, 2, 4])
@pytest.mark.parametrize("jk", [None, "last", "cat", "max", "lstm"])
@pytest.mark.parametrize("conv", STACKS)
def test_a_stack_equals_pygs_model(conv: str, jk: str | None, num_layers: int) -> None:
    options: dict[str, Any] = {"heads": 2} if conv == "gat" else {}
    theirs = STACKS[conv](6, 8, num_layers, 4, jk=jk, act="elu", **options).double()
    ours = models.GNN(6, 8, 4, num_layers, conv=conv, jk=jk, act="elu", **options).double()
    ours.load_state_dict(theirs.state_dict())
    assert_same(ours, theirs, [features(NODES), PLAIN.edge_index])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (models.GraphNorm(6), pyg.GraphNorm(6)),
        (models.PairNorm(2.0), pyg.PairNorm(2.0)),
        (models.PairNorm(scale_individually=True), pyg.PairNorm(scale_individually=True)),
        (models.LayerNorm(6, mode="node"), pyg.LayerNorm(6, mode="node")),
        (models.LayerNorm(6, mode="graph"), pyg.LayerNorm(6)),
    ],
    ids=str,
)
def test_a_norm_equals_pygs(ours: nn.Module, theirs: nn.Module) -> None:
    ours, theirs = ours.double(), theirs.double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    by_index = {"batch": BATCH.graph_index}

    def pooled(module: nn.Module, **options: Any) -> nn.Module:
        class Fixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.module = module

            def forward(self, x: Tensor) -> Any:
                return self.module(x, **options)

        return Fixed()

    assert_same(pooled(ours, graph=BATCH), pooled(theirs, **by_index), [features(BATCH.num_nodes)])


def test_batch_norm_of_one_node_uses_the_running_statistics() -> None:
    ours = models.BatchNorm(6, allow_single_element=True).train()
    theirs = pyg.BatchNorm(6, allow_single_element=True).train()
    x, one = features(NODES).float(), Graph(torch.empty(2, 0, dtype=torch.int64), 1)
    for rows, graph in ((NODES, PLAIN), (1, one)):
        assert_close(ours(x[:rows], graph), theirs(x[:rows]), atol=0.0)


def test_the_embedding_is_what_the_last_layer_reads() -> None:
    model = models.GNN(6, 8, 4, 3, conv="sage", norm="layer", residual=True).double()
    x = features(NODES)
    embedding = model.embed(x, PLAIN)
    assert embedding.shape == (NODES, 8)
    assert_close(model.convs[-1](embedding, PLAIN), model(x, PLAIN), atol=0.0)


def test_residual_adds_the_input_of_a_hidden_layer() -> None:
    model = models.GNN(8, 8, 4, residual=True, act="tanh").double()
    x = features(NODES, 8)
    expected = x + torch.tanh(model.convs[0](x, PLAIN))
    assert_close(model.embed(x, PLAIN), expected, atol=0.0)


def test_dropout_is_on_the_input_of_every_layer() -> None:
    model = models.GNN(6, 8, 4, 3, dropout=0.999999, bias=False).train()
    assert_close(model(features(NODES).float(), PLAIN), torch.zeros(NODES, 4), atol=0.0)
    assert model.embed(torch.ones(NODES, 6), PLAIN).shape == (NODES, 8)


def test_attention_drops_with_the_same_probability_unless_told() -> None:
    assert models.GNN(6, 8, 4, conv="gat", dropout=0.6).convs[0].dropout == 0.6
    assert models.GNN(6, 8, 4, conv="gat", dropout=0.6, attention_dropout=0.1).convs[0].dropout == 0.1


def test_heads_share_the_hidden_width_and_the_last_layer_averages_its_own() -> None:
    convs: Any = models.GNN(6, 8, 4, conv="gatv2", heads=4, out_heads=2).convs
    first, last = convs
    assert (first.heads, first.out_channels, first.concat) == (4, 2, True)
    assert (last.heads, last.out_channels, last.concat) == (2, 4, False)


def test_any_class_with_the_two_widths_first_can_be_stacked() -> None:
    class Mean(models.SAGEConv):
        pass

    model = models.GNN(6, 8, 4, conv=Mean)
    assert all(isinstance(conv, Mean) for conv in model.convs)
    by_class, by_name = (
        models.GNN(6, 8, 4, conv=models.GATConv, heads=2),
        models.GNN(6, 8, 4, conv="gat", heads=2),
    )
    assert by_class.state_dict().keys() == by_name.state_dict().keys()


def test_edges_updated_by_one_layer_reach_the_next() -> None:
    model = models.GNN(6, 8, 4, 2, conv="mpnn", edge_dim=3).double()
    x, edge_attr = features(NODES), features(PLAIN.num_edges, 3)
    hidden, edges = model.convs[0](x, PLAIN, edge_attr)
    assert_close(model(x, PLAIN, edge_attr=edge_attr), model.convs[1](hidden.relu(), PLAIN, edges), atol=0.0)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"conv": "gnc"}, ValueError, r"conv is 'gnc', but must be a layer's class or one of gnn, gcn, .*"),
        ({"conv": "rgcn"}, TypeError, r"GNN\(conv='rgcn'\) needs num_relations\."),
        (
            {"conv": "gat", "heads": 3},
            ValueError,
            r"hidden_channels is 8, which 3 heads cannot share evenly\.",
        ),
        (
            {"norm": "bach"},
            ValueError,
            r"norm is 'bach', but must be None or one of batch, layer, graph, pair\.",
        ),
        ({"jk": "sum"}, ValueError, r"jk is 'sum', but must be None or one of last, cat, max, lstm\."),
        ({"act": "rely"}, ValueError, r"act is 'rely', but must be one of .*"),
        ({"num_layers": 0}, ValueError, r"num_layers must be at least 1, got 0\."),
    ],
)
def test_a_misspelt_option_is_named(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=f"^{sentence}$"):
        models.GNN(6, 8, 4, **options)


def test_edge_features_that_no_layer_reads_are_an_error() -> None:
    model = models.GNN(6, 8, 4, conv="sage")
    sentence = r"GNN\(conv='sage'\) got edge_weight, which its layers do not read; gcn, graph, .* do\."
    with pytest.raises(ValueError, match=sentence):
        model(features(NODES).float(), PLAIN, edge_weight=torch.ones(PLAIN.num_edges))


@pytest.mark.parametrize("jk", [None, "cat"])
def test_a_virtual_node_is_that_of_a_loop_over_graphs(jk: str | None) -> None:
    model = models.GNN(6, 8, 4, num_layers=3, jk=jk, virtual_node=True).double()
    virtual = present(model.virtual_node)
    nn.init.normal_(virtual.first)
    x = features(BATCH.num_nodes)

    def one_by_one(x: Tensor, graph: Graph) -> Tensor:
        outs = []
        for part, x_part in zip(graph.unbatch(), x.split([n for n, _ in graph.graph_sizes]), strict=True):
            h, v, states = x_part, virtual.first[0], []
            for k in range(3 if jk else 2):
                h = model.convs[k](h, part).relu()
                if k < 2:
                    v = virtual.networks[k](v + sum(h))
                    h = torch.stack([row + v for row in h])
                states.append(h)
            outs.append(present(model.lin)(torch.cat(states, 1)) if jk else model.convs[2](h, part))
        return torch.cat(outs)

    assert_close(model(x, BATCH), one_by_one(x, BATCH))


def test_a_virtual_node_carries_a_message_across_any_distance() -> None:
    path = Graph(torch.stack([torch.arange(20), torch.arange(1, 21)]))
    x = torch.randn(21, 6, requires_grad=True)
    for virtual in (False, True):
        model = models.GNN(6, 8, 4, virtual_node=virtual)
        (slope,) = torch.autograd.grad(model(x, path)[0].sum(), x)
        assert bool(slope[20].any()) == virtual
    with pytest.raises(ValueError, match="num_layers is 1, but must be at least 2 with virtual_node"):
        models.GNN(6, 8, 4, num_layers=1, virtual_node=True)
