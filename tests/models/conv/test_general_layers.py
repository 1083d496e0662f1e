"""The layers that PyG does not have, against the textbook's matrices and loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import Graph, models
from tests.compare import assert_same
from tests.models.graphs import EDGE_WIDTH, GRAPHS, NODES, edge_input, features

PLAIN = GRAPHS["plain"]


def adjacency(graph: Graph) -> Tensor:
    """`[num_dst, num_src]`: how many edges lead from j to i."""
    matrix = torch.zeros(graph.num_dst, graph.num_src, dtype=torch.float64)
    return matrix.index_put((graph.dst, graph.src), torch.ones((), dtype=torch.float64), accumulate=True)


def test_the_textbook_layer_is_its_matrix_equation() -> None:
    layer = models.GNNConv(6, 4).double()
    bias = features(1, 4).squeeze(0)
    adjacent = adjacency(PLAIN)
    mean = adjacent / adjacent.sum(dim=1, keepdim=True).clamp(min=1)

    def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.relu(x @ weight.T + mean @ (x @ weight.T) + bias)

    def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"lin.weight": weight, "bias": bias}
        out: Tensor = torch.func.functional_call(layer, parameters, (x, PLAIN))
        return out

    assert_same(ours, dense, [features(NODES), layer.lin.weight, bias])


def test_the_textbook_layer_on_a_bipartite_graph() -> None:
    graph = GRAPHS["bipartite"]
    layer = models.GNNConv(6, 4, act=None, bias=False, aggr="sum").double()
    adjacent, weight = adjacency(graph), layer.lin.weight

    def dense(x_src: Tensor, x_dst: Tensor) -> Tensor:
        return (x_dst + adjacent @ x_src) @ weight.T

    given = [features(graph.num_src), features(graph.num_dst, seed=8)]
    assert_same(lambda x_src, x_dst: layer((x_src, x_dst), graph), dense, given)


class Loops(nn.Module):
    """The general layer, one edge at a time."""

    def __init__(self, layer: models.MPNNConv) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> tuple[Tensor, ...]:
        assert self.layer.f_edge is not None
        pairs = edge_index.T.tolist()
        h_e = [() if edge_attr is None else (edge_attr[e : e + 1],) for e in range(len(pairs))]
        received = [torch.zeros(1, self.layer.out_channels, dtype=x.dtype) for _ in x]
        for e, (j, i) in enumerate(pairs):
            received[i] = received[i] + self.layer.f_message(x[i : i + 1], x[j : j + 1], *h_e[e])
        nodes = [self.layer.f_node(x[i : i + 1], received[i]) for i in range(len(x))]
        edges = [
            self.layer.f_edge(x[i : i + 1], received[i], x[j : j + 1], received[j], *h_e[e])
            for e, (j, i) in enumerate(pairs)
        ]
        return torch.cat(nodes), torch.cat(edges)


class Alone(nn.Module):
    """Our layer under the same name as in `Loops`, so that their parameters can be compared."""

    def __init__(self, layer: models.MPNNConv) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        out: tuple[Tensor, ...] = self.layer(*inputs)
        return out


def test_the_general_layer_is_its_loop_over_edges() -> None:
    layer = models.MPNNConv(6, 4, edge_dim=EDGE_WIDTH, edge_out_channels=2).double()
    given = [features(NODES), PLAIN.edge_index, edge_input("edge_attr", PLAIN.num_edges)]
    assert_same(Alone(layer), Loops(layer), given)


def test_the_general_layer_without_edge_features_but_with_edge_updates() -> None:
    layer = models.MPNNConv(6, 4, edge_out_channels=2).double()
    assert_same(Alone(layer), Loops(layer), [features(NODES), PLAIN.edge_index])


def test_the_general_layer_takes_any_functions() -> None:
    # A GraphConv with both matrices the identity.
    layer = models.MPNNConv(
        6, 6, message=lambda h_i, h_j: h_j, node=lambda h, m: h + m, edge=lambda h_i, m_i, h_j, m_j: m_i - m_j
    )
    adjacent = adjacency(PLAIN)

    def dense(x: Tensor) -> tuple[Tensor, Tensor]:
        m = adjacent @ x
        return x + m, m[PLAIN.dst] - m[PLAIN.src]

    assert_same(lambda x: layer(x, PLAIN), dense, [features(NODES)])
