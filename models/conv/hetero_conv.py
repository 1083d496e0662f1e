"""A layer for each relation of a graph with several types of nodes and edges."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import HeteroGraph
from mpnn.graph.hetero import EdgeType
from mpnn.graph.hetero_checks import checked_edge_types, listed
from mpnn.layer.names import also_named
from mpnn.models.conv.hetero import HeteroTopology, as_hetero
from mpnn.models.conv.hetero_steps import attended, attends_alike, is_linear, linear_sums
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.keys import ByKey
from mpnn.models.parts.linear import reset

AGGREGATES = ("sum", "mean", "min", "max", "cat", None)


class HeteroConv(nn.Module):
    """x_i' = aggregate over the relations r into the type of i, of layer_r(x_j → x_i)   (PyG's `HeteroConv`).

    Relations whose layers say the same run as one step: a row for every relation and node, filled by a map
    for each relation, and one loop over all edges. These are `SAGEConv` and `GraphConv` with a sum or a mean,
    where the relations are summed or averaged, and `GATConv` without self loops. Any other layer, also with
    features of edges, runs relation by relation.

    Args:
        convs: the layer of each edge type; widths may be pairs, and -1 to take them from the first input.
        aggr: what becomes of the results of several relations: "sum", "mean", "min", "max", "cat" beside each
            other, or None for `[num_nodes, num_relations, channels]`.

    Raises:
        ValueError: a layer with self loops between two types of nodes, or an unknown `aggr`.

    Shapes: x_dict `[num_nodes, channels]` of each node type, and a `HeteroGraph` or of each edge type
    `[2, num_edges]`; further arguments of the layers as `edge_weight_dict={edge_type: ...}` ->
    `[num_nodes, out_channels]` of each node type that an edge type enters.

    >>> graph = HeteroGraph(
    ...     {"author": 2, "paper": 3},
    ...     {
    ...         ("author", "writes", "paper"): torch.tensor([[0, 1], [2, 0]]),
    ...         ("paper", "rev_writes", "author"): torch.tensor([[2, 0], [0, 1]]),
    ...     },
    ... )
    >>> conv = HeteroConv({edge_type: mpnn.models.SAGEConv((-1, -1), 8) for edge_type in graph.edge_types})
    >>> out = conv({"author": torch.ones(2, 4), "paper": torch.ones(3, 5)}, graph)
    >>> {node_type: x.shape for node_type, x in out.items()}
    {'paper': torch.Size([3, 8]), 'author': torch.Size([2, 8])}
    """

    def __init__(self, convs: Mapping[EdgeType, nn.Module], aggr: str | None = "sum") -> None:
        super().__init__()
        if not isinstance(convs, Mapping):
            raise TypeError(f"convs must give a layer for each edge type, got {type(convs).__name__}.")
        ends = [edge_type[::2] for edge_type in convs if isinstance(edge_type, tuple)]
        edge_types = checked_edge_types(convs, {node_type for pair in ends for node_type in pair})
        if aggr not in AGGREGATES:
            raise ValueError(f"aggr is {aggr!r}, but must be one of {', '.join(map(str, AGGREGATES))}.")
        for edge_type, conv in convs.items():
            if edge_type[0] != edge_type[2] and getattr(conv, "add_self_loops", False):
                raise ValueError(
                    f"the layer of {edge_type!r} adds self loops, but there are none between two types of "
                    "nodes: build it with add_self_loops=False."
                )
        if never := {one[0] for one in edge_types} - {one[2] for one in edge_types}:
            warnings.warn(
                f"no edge type enters {listed(sorted(never))}: the result has no such nodes.", stacklevel=2
            )
        self.convs = ByKey(convs)
        self.aggr = aggr
        self._graphs = Cache()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for conv in self.convs.values():
            reset(conv)

    @also_named(edge_index_dict="graph")
    def forward(
        self,
        x_dict: Mapping[str, Tensor],
        graph: HeteroTopology,
        *args_dict: Mapping[Any, Any],
        **kwargs_dict: Mapping[Any, Any],
    ) -> dict[str, Tensor]:
        for name in kwargs_dict:
            if not name.endswith("_dict"):
                raise ValueError(
                    f"{name} should be a dictionary by edge type, and its name end with '_dict'."
                )
        given_whole = isinstance(graph, HeteroGraph)
        graph = as_hetero(graph, x_dict, self._graphs)
        convs = {edge_type: conv for edge_type, conv in self.convs.items() if edge_type in graph.edge_types}
        if given_whole and len(convs) < len(self.convs):
            lacking = [edge_type for edge_type in self.convs if edge_type not in convs]
            raise ValueError(f"the graph lacks the edge types {listed(lacking)}, which have layers.")
        sums: dict[str, Tensor] = {}
        found: dict[EdgeType, Tensor] = {}
        apart = dict(convs)
        if not args_dict and not kwargs_dict:
            if self.aggr in ("sum", "mean"):
                alike = {one: conv for one, conv in apart.items() if is_linear(one, conv, x_dict)}
                sums = linear_sums(alike, x_dict, graph) if alike else {}
                apart = {one: conv for one, conv in apart.items() if one not in alike}
            for attending in attends_alike(apart, x_dict):
                found |= attended(attending, x_dict, graph)
            apart = {one: conv for one, conv in apart.items() if one not in found}
        for edge_type, conv in apart.items():
            args = [_of(edge_type, values) for values in args_dict]
            kwargs = {name[:-5]: _of(edge_type, values) for name, values in kwargs_dict.items()}
            found[edge_type] = conv(_of(edge_type, x_dict), graph[edge_type], *args, **kwargs)
        entered = dict.fromkeys(edge_type[2] for edge_type in convs)
        return {
            node_type: self._together(
                [found[one] for one in convs if one[2] == node_type and one in found],
                sums.get(node_type),
                sum(one[2] == node_type for one in convs),
            )
            for node_type in entered
        }

    def _together(self, each: list[Tensor], total: Tensor | None, count: int) -> Tensor:
        """The results of the relations into a type of nodes as one; `total` is the sum of others."""
        if self.aggr in ("sum", "mean"):
            for one in each:
                total = one if total is None else total + one
            assert total is not None
            return total / count if self.aggr == "mean" and count > 1 else total
        if self.aggr is None:
            return torch.stack(each, 1)
        if self.aggr == "cat":
            return torch.cat(each, -1)
        stacked = torch.stack(each)
        return stacked.amax(0) if self.aggr == "max" else stacked.amin(0)

    def extra_repr(self) -> str:
        return f"num_relations={len(self.convs)}, aggr={self.aggr!r}"


def _of(edge_type: EdgeType, values: Mapping[Any, Any]) -> Any:
    """What a layer gets of values by edge type, or by node type: of one type, or a pair of two."""
    if edge_type in values:
        return values[edge_type]
    source, _, destination = edge_type
    return values.get(source) if source == destination else (values.get(source), values.get(destination))
