"""The relational graph convolutional network's layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, as_graph
from mpnn.aggregate.aggregators import Mul
from mpnn.aggregate.reduce import pick_rows
from mpnn.functional import linear
from mpnn.graph.adjacency import Topology
from mpnn.graph.contents import OfTensors
from mpnn.layer.typed import TypedEdges, propagate_by_type
from mpnn.models.conv.edge_types import typed_edges, weight_shape
from mpnn.models.conv.layer import Layer, Widths, pair
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import glorot_, zeros_

Nodes = (
    Tensor | None
)  # features `[n, channels]`, or numbers `[n]` of nodes without features; None: all of them


class RGCNConv(Layer):
    """h_i' = W_root h_i + Σ_r mean_{j→i of type r} W_r h_j + b   (Schlichtkrull et al., 2018, eq. 2).

    Many relations would mean many parameters; two ways to fewer:
        basis (eq. 3): W_r = Σ_b c_rb V_b,
        block-diagonal (eq. 4): W_r = diag(Q_r1, ..., Q_rB).

    Args:
        in_channels: width of the input, or a pair for sources and destinations. Nodes without features have
            as many as there are nodes: W_r then holds an embedding of every node.
        out_channels: width of the output.
        num_relations: how many edge types there are.
        num_bases: number of V_b, for the basis decomposition.
        num_blocks: number B of blocks, for the block-diagonal one.
        aggr: what takes the place of the mean.
        root_weight: whether there is W_root.
        is_sorted: a promise that edges come sorted by type; nothing here needs it.
        bias: whether to add b.
        **kwargs: `flow` of `MessagePassing`.

    On a GPU the host does not wait for a graph that holds its types, even if it is made for one step (a
    batch, a sample): a sum is then kept for every pair of a node and a relation, most of them zero. Where
    these take over 2²⁶ numbers (256 MB of float32), and are over two for each edge, the host waits to learn
    which pairs an edge enters. It also waits to check types that are given as `edge_type`.

    Shapes: x `[num_nodes, in_channels]`, or node numbers `[num_nodes]`, or None for all nodes in order, or a
    pair of these; edge_type `[num_edges]`, unless the graph has it -> `[num_dst, out_channels]`.

    >>> layer = RGCNConv(3, 2, num_relations=2)
    >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4, edge_type=torch.tensor([0, 1, 0]))
    >>> layer(torch.ones(4, 3), graph).shape
    torch.Size([4, 2])
    """

    several_sets = False

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        num_relations: int,
        num_bases: int | None = None,
        num_blocks: int | None = None,
        aggr: str = "mean",
        root_weight: bool = True,
        is_sorted: bool = False,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        src_channels, dst_channels = pair(in_channels)
        check_count("in_channels", src_channels, 0)
        check_count("in_channels", dst_channels, 0)
        check_count("out_channels", out_channels, 0)
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels, self.num_relations = in_channels, out_channels, num_relations
        self.num_bases, self.num_blocks, self.is_sorted = num_bases, num_blocks, is_sorted
        shape = weight_shape(src_channels, out_channels, num_relations, num_bases, num_blocks)
        self.weight = nn.Parameter(torch.empty(shape))
        self.comp = None if num_bases is None else nn.Parameter(torch.empty(num_relations, num_bases))
        self.root = nn.Parameter(torch.empty(dst_channels, out_channels)) if root_weight else None
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self._typed = Cache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for parameter in (self.weight, self.comp, self.root):
            glorot_(parameter)
        zeros_(self.bias)

    def forward(
        self, x: Nodes | tuple[Nodes, Tensor], graph: Topology, edge_type: Tensor | None = None
    ) -> Tensor:
        x_src, x_dst, graph = self._read_nodes_or_numbers(x, graph)
        edges = self._typed_edges(graph, edge_type)
        return propagate_by_type(self, edges, x_src, self._weights(), self._root(x_dst))

    def _weights(self) -> Tensor:
        """W_r, or the blocks of each, for every relation."""
        return self.weight if self.comp is None else torch.einsum("rb,bio->rio", self.comp, self.weight)

    def _root(self, x_dst: Tensor) -> Tensor:
        """W_0 h_i and the bias."""
        if self.root is not None and x_dst.is_floating_point():
            return linear(x_dst, self.root.t(), self.bias)
        if self.root is None:
            root = self.weight.new_zeros(x_dst.size(0), self.out_channels)
        else:
            root = pick_rows(self.root, 0, x_dst)
        return root if self.bias is None else root + self.bias

    def _typed_edges(self, graph: Graph, edge_type: Tensor | None) -> TypedEdges:
        """Who sends to whom by which relation."""
        everywhere = isinstance(self.aggr_module, Mul)
        return typed_edges(self, graph, edge_type, self.num_relations, self._typed, everywhere=everywhere)

    def _read_nodes_or_numbers(
        self, x: Nodes | tuple[Nodes, Tensor], graph: Topology
    ) -> tuple[Tensor, Tensor, Graph]:
        x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
        if x_src is not None and x_src.is_floating_point() and x_dst is not None:
            _, _, graph = self.read(x_src if x_dst is x_src else (x_src, x_dst), graph)
            return x_src, x_dst, graph
        if self.num_blocks is not None:
            raise ValueError("RGCNConv with num_blocks needs node features, got node numbers.")
        everyone = torch.arange(pair(self.in_channels)[0], device=self.weight.device)
        x_src = everyone if x_src is None else x_src
        x_dst = x_src if x_dst is None else x_dst
        for numbers, count in zip((x_src, x_dst), pair(self.in_channels), strict=True):
            if numbers is not everyone or len(everyone) > count:
                _check_numbers(numbers, count)
        size = (x_src.size(0), x_dst.size(0))
        return x_src, x_dst, as_graph(graph, size if isinstance(x, tuple | list) else size[0])

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, num_relations={self.num_relations}"


_seen: OfTensors[int] = OfTensors()


def _check_numbers(numbers: Tensor, count: int) -> None:
    if _seen.get(numbers) == count:  # a look has the host wait for a GPU
        return
    bad = (numbers < 0) | (numbers >= count)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise IndexError(f"x[{first}] is {int(numbers[first])}, but RGCNConv has {count} nodes to know.")
    _seen.keep(numbers, count)
