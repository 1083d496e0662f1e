"""What a node is to each relation, as rows of their own: maps by the type of an edge, once for a node."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.aggregate.reduce import pick_rows
from mpnn.graph.distinct import distinct_rows
from mpnn.graph.graph import Graph
from mpnn.layer.typed import TypedEdges
from mpnn.plan.typed import grouped_linear


class TypedRows(NamedTuple):
    """A row for every pair (relation, node) that an edge of that relation has for an end, by relation."""

    node: Tensor  # `[num_rows]`, which node each row is
    of_edge: Tensor  # `[num_edges]`, the row of each edge
    counts: list[int]  # rows of each relation

    def mapped(self, x: Tensor, weight: Tensor) -> Tensor:
        """W_r x of every row: once for a node and a relation, not once for an edge.

        Args:
            x: `[num_nodes, in]`.
            weight: `[num_types, in, out]`, or in blocks `[num_types, blocks, in / blocks, out / blocks]`.

        Returns:
            `[num_rows, out]`.
        """
        rows = pick_rows(x, 0, self.node)
        if weight.dim() == 4:
            rows = rows.view(rows.size(0), weight.size(1), weight.size(2))
        return grouped_linear(rows, weight, self.counts).flatten(1)


class TypedEnds(NamedTuple):
    """The rows of both ends of all edges, and the edges between rows and nodes, in their order.

    Where messages go backward along edges, so they do in these graphs.
    """

    senders: TypedRows
    receivers: TypedRows
    to_nodes: Graph  # from the rows of the senders to the nodes
    to_rows: Graph  # from the rows of the senders to those of the receivers
    from_rows: Graph  # from the rows of the receivers to their nodes

    @classmethod
    def of(cls, edges: TypedEdges) -> TypedEnds:
        """The rows of a graph whose edges have types; made once for a graph."""
        return edges.graph.memo(("typed ends", edges.num_types, edges.forward), lambda: _ends(edges))


def _ends(edges: TypedEdges) -> TypedEnds:
    graph = edges.graph
    of_src = _rows(edges.types, graph.src, edges.num_types, graph.num_src)
    of_dst = _rows(edges.types, graph.dst, edges.num_types, graph.num_dst)
    senders, receivers = (of_src, of_dst) if edges.forward else (of_dst, of_src)
    num_nodes = graph.size[edges.forward]
    nodes = graph.dst if edges.forward else graph.src
    everyone = torch.arange(receivers.node.numel(), device=graph.device)

    def between(sending: Tensor, receiving: Tensor, sizes: tuple[int, int]) -> Graph:
        ends = (sending, receiving) if edges.forward else (receiving, sending)
        return graph.bipartite_with(torch.stack(ends), sizes if edges.forward else sizes[::-1])

    num_senders, num_receivers = senders.node.numel(), receivers.node.numel()
    return TypedEnds(
        senders,
        receivers,
        to_nodes=between(senders.of_edge, nodes, (num_senders, num_nodes)),
        to_rows=between(senders.of_edge, receivers.of_edge, (num_senders, num_receivers)),
        from_rows=between(everyone, receivers.node, (num_receivers, num_nodes)),
    )


def _rows(types: Tensor, nodes: Tensor, num_types: int, num_nodes: int) -> TypedRows:
    if torch.compiler.is_compiling():  # to a function for any edges: of all nodes
        everyone = torch.arange(num_nodes, device=nodes.device).repeat(num_types)
        return TypedRows(everyone, types * num_nodes + nodes, [num_nodes] * num_types)
    (type_of_row, node), of_edge = distinct_rows((types, nodes), (num_types, num_nodes))
    return TypedRows(node, of_edge, torch.bincount(type_of_row, minlength=num_types).tolist())
