"""The relational graph convolutional network's layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mpnn import Graph, as_graph, propagate
from mpnn.adjacency import Topology
from mpnn.models.cache import Cache
from mpnn.models.layer import Layer, Widths, pair
from mpnn.models.linear import glorot_, zeros_
from mpnn.typed import grouped_linear

Nodes = (
    Tensor | None
)  # features `[n, channels]`, or numbers `[n]` of nodes without features; None: all of them


class Relations(NamedTuple):
    """Message passing by type, in two rounds over all types: edges to pairs (type, node), pairs to nodes.

    Only the pairs that an edge enters count, ordered by type.
    """

    heard: Graph  # from the nodes to the pairs; or from a table with a row for every type and node
    joined: Graph  # from the pairs to their nodes
    counts: list[int]  # pairs of each type

    @classmethod
    def of(cls, graph: Graph, types: Tensor, num_types: int, forward: bool, table: bool) -> Relations:
        """Those of a graph, whose edges carry messages forward or backward, maybe from a table."""
        (senders, receivers), (num_senders, num_receivers) = (graph.src, graph.dst), graph.size
        if not forward:
            senders, receivers, num_senders, num_receivers = receivers, senders, num_receivers, num_senders
        pair_of_edge = types * num_receivers + receivers
        if torch.compiler.is_compiling():  # how many pairs hear anything only the data will tell: all count
            pairs, counts = (
                torch.arange(num_types * num_receivers, device=types.device),
                [num_receivers] * num_types,
            )
        else:
            pairs, pair_of_edge = torch.unique(pair_of_edge, return_inverse=True)
            counts = torch.bincount(pairs // max(num_receivers, 1), minlength=num_types).tolist()
        num_pairs = pairs.numel()
        if table:
            senders, num_senders = types * num_senders + senders, num_types * num_senders
        if forward:
            heard = Graph(torch.stack([senders, pair_of_edge]), (num_senders, num_pairs))
        else:
            heard = Graph(torch.stack([pair_of_edge, senders]), (num_pairs, num_senders))
        everyone = torch.arange(num_pairs, device=pairs.device)
        return cls(
            heard,
            Graph(torch.stack([everyone, pairs % max(num_receivers, 1)]), (num_pairs, num_receivers)),
            counts,
        )


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

    Shapes: x `[num_nodes, in_channels]`, or node numbers `[num_nodes]`, or None for all nodes in order, or a
    pair of these; edge_type `[num_edges]`, unless the graph has it -> `[num_dst, out_channels]`.

    >>> layer = RGCNConv(3, 2, num_relations=2)
    >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4, edge_type=torch.tensor([0, 1, 0]))
    >>> layer(torch.ones(4, 3), graph).shape
    torch.Size([4, 2])
    """

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
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels, self.num_relations = in_channels, out_channels, num_relations
        self.num_bases, self.num_blocks, self.is_sorted = num_bases, num_blocks, is_sorted
        src_channels, dst_channels = pair(in_channels)
        shape: tuple[int, ...] = (num_bases or num_relations, src_channels, out_channels)
        if num_blocks is not None:
            if num_bases is not None:
                raise ValueError(f"num_bases={num_bases} and num_blocks={num_blocks} exclude each other.")
            if src_channels % num_blocks or out_channels % num_blocks:
                raise ValueError(f"num_blocks={num_blocks} must divide {src_channels} and {out_channels}.")
            shape = (num_relations, num_blocks, src_channels // num_blocks, out_channels // num_blocks)
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
        numbered = not x_src.is_floating_point()
        relations = self._relations(graph, edge_type, numbered)
        weight = self._weights()
        if numbered:
            heard = self.propagate(relations.heard, x=weight[:, x_src].flatten(0, 1))
        else:
            # Aggregating before multiplying takes one small product for each node and relation that hears
            # anything, not one for each edge.
            heard = self._transform(self.propagate(relations.heard, x=x_src), weight, relations.counts)
        out = self._root(x_dst) + _sum(heard, relations.joined)
        return out if self.bias is None else out + self.bias

    def _weights(self) -> Tensor:
        """W_r, or the blocks of each, for every relation."""
        return self.weight if self.comp is None else torch.einsum("rb,bio->rio", self.comp, self.weight)

    def _transform(self, h: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
        if self.num_blocks is None:
            return grouped_linear(h, weight, counts)
        return grouped_linear(
            h.view(h.size(0), self.num_blocks, h.size(1) // self.num_blocks), weight, counts
        ).flatten(1)

    def _root(self, x_dst: Tensor) -> Tensor:
        if self.root is None:
            return self.weight.new_zeros(x_dst.size(0), self.out_channels)
        return x_dst @ self.root if x_dst.is_floating_point() else self.root[x_dst]

    def _relations(self, graph: Graph, edge_type: Tensor | None, table: bool) -> Relations:
        """Who hears by which relation."""
        if edge_type is not None:
            if graph.edge_type is not None:
                raise ValueError("RGCNConv got edge_type twice: as an argument, and in the graph.")
            untyped, size = graph, graph.size if graph.is_bipartite else graph.num_nodes
            graph = self._typed(
                lambda: Graph(untyped.edge_index, size, edge_type, num_edge_types=self.num_relations),
                untyped,
                edge_type,
            )
        types = graph.edge_type
        if types is None:
            raise ValueError("RGCNConv needs edge_type, as an argument or in the graph, but got none.")
        if graph.num_edge_types > self.num_relations:
            raise ValueError(
                f"the graph has {graph.num_edge_types} edge types, but RGCNConv was built with "
                f"num_relations={self.num_relations}."
            )
        forward = self.flow == "source_to_target"
        return graph.memo(
            ("relations", self.num_relations, forward, table),
            lambda: Relations.of(graph, types, self.num_relations, forward, table),
        )

    def _read_nodes_or_numbers(
        self, x: Nodes | tuple[Nodes, Tensor], graph: Topology
    ) -> tuple[Tensor, Tensor, Graph]:
        x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
        if x_src is not None and x_src.is_floating_point() and x_dst is not None:
            _, _, graph = self.read(x_src if x_dst is x_src else (x_src, x_dst), graph)
            return x_src, x_dst, graph
        if self.num_blocks is not None:
            raise ValueError("RGCNConv with num_blocks needs node features, got node numbers.")
        numbers = torch.arange(pair(self.in_channels)[0], device=self.weight.device)
        x_src = numbers if x_src is None else x_src
        x_dst = x_src if x_dst is None else x_dst
        for numbers, count in zip((x_src, x_dst), pair(self.in_channels), strict=True):
            _check_numbers(numbers, count)
        size = (x_src.size(0), x_dst.size(0))
        return x_src, x_dst, as_graph(graph, size if isinstance(x, tuple | list) else size[0])

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, num_relations={self.num_relations}"


def _sum(heard: Tensor, joined: Graph) -> Tensor:
    return propagate(joined, lambda h_j: h_j, "sum", h=heard)


def _check_numbers(numbers: Tensor, count: int) -> None:
    bad = (numbers < 0) | (numbers >= count)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise IndexError(f"x[{first}] is {int(numbers[first])}, but RGCNConv has {count} nodes to know.")
