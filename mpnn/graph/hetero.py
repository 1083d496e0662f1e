"""A graph with nodes and edges of several types: rows of one `Graph`, type after type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mpnn.graph.checks import check_grouped, checked_kind, checked_positions
from mpnn.graph.facts import EdgeFacts
from mpnn.graph.graph import Graph
from mpnn.graph.hetero_checks import (
    EdgeType,
    checked_edge_times,
    checked_edge_types,
    checked_edges,
    checked_node_types,
    checked_typing,
)
from mpnn.graph.hetero_incidence import HeteroIncidence, numbered

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import HeteroData

__all__ = ["EdgeType", "HeteroGraph", "HeteroPart"]


class HeteroGraph(HeteroIncidence):
    """An immutable directed graph with nodes and edges of several types.

    An edge type, or relation, is `(source, relation, destination)`: its edges go from nodes of one type to
    nodes of another, or of the same. Each type of node numbers its nodes from 0. A layer on it is

        x_i' = aggregate over the relations r into the type of i, of aggregate { message_r(x_i, x_j) : j → i }

    and in memory all nodes are the rows of one `Graph`, `homogeneous`, type after type; its edges, relation
    after relation, carry the number of their relation. So one loop over rows serves all relations.

    Args:
        num_nodes_dict: how many nodes each type has.
        edge_index_dict: of each edge type `[2, num_edges]`, as `edge_index` of `Graph`; copied.
        edge_time_dict: of each edge type `[num_edges]`, when its edges are; of all edge types or none.

    Raises:
        ValueError: an edge type that names an unknown node type, or tensors that do not fit together.
        IndexError: an index that the type of its node has not.
        TypeError: an argument of another kind.

    >>> graph = HeteroGraph(
    ...     {"author": 2, "paper": 3},
    ...     {
    ...         ("author", "writes", "paper"): torch.tensor([[0, 0, 1], [0, 1, 2]]),
    ...         ("paper", "cites", "paper"): torch.tensor([[2], [0]]),
    ...     },
    ... )
    >>> graph["author", "writes", "paper"]
    Graph(num_nodes=(2, 3), num_edges=3)
    >>> graph.homogeneous.edge_index.tolist(), graph.homogeneous.edge_type.tolist()
    ([[0, 0, 1, 4], [2, 3, 4, 2]], [0, 0, 0, 1])
    """

    def __init__(
        self,
        num_nodes_dict: Mapping[str, int],
        edge_index_dict: Mapping[EdgeType, Tensor],
        edge_time_dict: Mapping[EdgeType, Tensor] | None = None,
    ) -> None:
        sizes = checked_node_types(num_nodes_dict)
        edges = checked_edges(edge_index_dict, sizes)
        begin = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        device = next(iter(edges.values())).device if edges else torch.device("cpu")
        shifted = [
            edge_index + torch.tensor([[begin[source]], [begin[destination]]], device=device)
            for (source, _, destination), edge_index in edges.items()
        ]
        counts = [edge_index.size(1) for edge_index in edges.values()]
        graph = Graph(
            torch.cat(shifted, dim=1) if shifted else torch.empty(2, 0, dtype=torch.int64),
            sum(sizes.values()),
            numbered(counts, device),
            num_edge_types=len(counts),
            edge_time=checked_edge_times(edge_time_dict, edges),
        )
        self._set(graph, sizes, list(edges), counts, None)

    # Graphs made from this one ------------------------------------------------------------------------

    @staticmethod
    def from_homogeneous(
        graph: Graph, node_type: Tensor, node_types: Sequence[str], edge_types: Sequence[EdgeType]
    ) -> HeteroPart:
        """The typed graph that a `Graph` with `edge_type` is, when its nodes have types as well.

        Args:
            graph: with one set of nodes; `edge_type` numbers the relation of each edge.
            node_type: integers `[num_nodes]`, which of `node_types` each node is.
            node_types, edge_types: what the numbers stand for.

        Returns:
            The graph, and which node each of its nodes is, and which edge each edge; the order stays that of
            `graph` within each type.

        Raises:
            ValueError: an edge between types that its relation has not.
            IndexError: a number that stands for nothing.
        """
        sizes = checked_node_types(dict.fromkeys(node_types, 0))
        relations = checked_edge_types(edge_types, sizes)
        node_type = checked_typing(graph, node_type, list(sizes), relations)
        return _grouped(graph, node_type, list(sizes), relations)

    def subgraph(self, nodes: Mapping[str, Tensor]) -> HeteroPart:
        """The graph among some nodes, renumbered in the order given.

        Args:
            nodes: of a node type, a bool mask or integer positions of those to keep, each once; a type that
                is not named keeps all. In a batch the positions keep the order of the graphs.

        Raises:
            ValueError, IndexError: an unknown node type, or positions that are none.
        """
        self._check_names("nodes", nodes)
        kept, ptr = {}, {}
        for node_type, own in self._rows.items():
            count = self._num_nodes[node_type]
            chosen = nodes.get(node_type)
            if chosen is None:
                chosen = torch.arange(count, device=self.device)
            else:
                chosen = checked_positions(f"nodes[{node_type!r}]", chosen, count, self.device)
            if self._ptr is not None:
                ptr[node_type] = _kept_ptr(node_type, self._ptr[node_type], chosen)
            kept[node_type] = chosen + own.start
        rows = torch.cat(list(kept.values())) if kept else torch.empty(0, dtype=torch.int64)
        part, edges = self._graph.subgraph(rows)
        return self.part(part, rows, edges, ptr or None)

    def with_edge_types(self, edge_types: Sequence[EdgeType]) -> HeteroGraph:
        """The same nodes with the edges of some relations alone, which are numbered in the order given."""
        chosen = [self.edges(edge_type) for edge_type in edge_types]
        if list(edge_types) == self.edge_types:
            return self
        return self._graph.memo(
            ("edge types", tuple(edge_types)), lambda: self._with_edge_types(edge_types, chosen)
        )

    def _with_edge_types(self, edge_types: Sequence[EdgeType], chosen: Sequence[slice]) -> HeteroGraph:
        checked_edge_types(edge_types, self.node_types)
        counts = [own.stop - own.start for own in chosen]
        edges = [torch.arange(own.start, own.stop, device=self.device) for own in chosen]
        origin = torch.cat([torch.empty(0, dtype=torch.int64, device=self.device), *edges])
        time = self._graph.edge_time
        facts = EdgeFacts(numbered(counts, self.device), None if time is None else time[origin])
        graph = self._graph.derive(origin=origin, edges=facts, num_edge_types=len(counts))
        return _made(graph, self._num_nodes, edge_types, counts, self._ptr)

    def part(
        self, part: Graph, rows: Tensor, edges: Tensor, ptr: Mapping[str, Tensor] | None = None
    ) -> HeteroPart:
        """The typed graph of a part of `homogeneous`: for methods and samplers, nothing is checked.

        Args:
            part: among some rows, renumbered.
            rows: `[num_nodes']`, which row each of its nodes is.
            edges: `[num_edges']`, which edge each of its edges is.
            ptr: where the graphs of a batch begin.
        """
        whole = _grouped(part, self.node_type[rows], self.node_types, self.edge_types, ptr)
        return HeteroPart(
            whole.graph,
            {name: rows[nodes] - self._rows[name].start for name, nodes in whole.nodes.items()},
            {name: edges[own] - self._edges[name].start for name, own in whole.edges.items()},
        )

    def to(self, device: torch.device | str) -> HeteroGraph:
        """The same graph with its indices on another device (this very graph when it is there already)."""
        graph = self._graph.to(device)
        if graph is self._graph:
            return self
        ptr = None if self._ptr is None else {name: one.to(device) for name, one in self._ptr.items()}
        return _made(graph, self._num_nodes, self.edge_types, self._counts(), ptr)

    def _counts(self) -> list[int]:
        return [edges.stop - edges.start for edges in self._edges.values()]

    # Several graphs as one ----------------------------------------------------------------------------

    @staticmethod
    def batch(graphs: Sequence[HeteroGraph]) -> HeteroGraph:
        """Disjoint union: of each type the nodes and edges of graph k come behind those of graph k - 1.

        Raises:
            ValueError: graphs of several kinds of nodes or edges, or on several devices.

        >>> one = HeteroGraph({"a": 1, "b": 2}, {("a", "to", "b"): torch.tensor([[0], [1]])})
        >>> HeteroGraph.batch([one, one]).graph_index("b")
        tensor([0, 0, 1, 1])
        """
        graphs = checked_kind(graphs, HeteroGraph, ("node_types", "edge_types", "device"))
        together = Graph.batch([_as_batch(graph) for graph in graphs])
        types = torch.cat([_in_order_of_graphs(graph, graph.node_type) for graph in graphs])
        return _grouped(together, types, graphs[0].node_types, graphs[0].edge_types).graph

    def as_batch(self, sizes: Mapping[str, Sequence[int]]) -> HeteroGraph:
        """The same graph, known to be a batch: of each type the nodes of several graphs, one after the other.

        Args:
            sizes: of each node type how many nodes each graph has.

        Raises:
            ValueError: sizes that do not add up, or an edge from one graph to another.
        """
        self._check_sizes(sizes)
        ptr = {
            name: torch.tensor([0, *accumulate(sizes[name])], dtype=torch.int64, device=self.device)
            for name in self._rows
        }
        batch = _made(self._graph.derive(), self._num_nodes, self.edge_types, self._counts(), ptr)
        owner = _owners(batch)[self._graph.edge_index]
        wrong = (owner[0] != owner[1]).nonzero()
        if wrong.numel():
            leaves, enters = owner[:, int(wrong[0])].tolist()
            raise ValueError(f"edge {int(wrong[0])} goes from graph {leaves} to graph {enters} of the batch.")
        return batch

    def _check_sizes(self, sizes: Mapping[str, Sequence[int]]) -> None:
        self._check_names("sizes", sizes)
        for name, count in self._num_nodes.items():
            if name not in sizes or sum(sizes[name]) != count or min(sizes[name], default=-1) < 0:
                raise ValueError(f"sizes[{name!r}] must add up to {count}, got {sizes.get(name)}.")
        if len({len(each) for each in sizes.values()}) > 1:
            raise ValueError(f"sizes must tell of equally many graphs for each node type, got {dict(sizes)}.")

    def unbatch(self) -> list[HeteroGraph]:
        """The graphs that `batch` put together."""
        if self._ptr is None:
            return [self]
        types = _in_order_of_graphs(self, self.node_type)
        each = _as_batch(self).unbatch()
        kinds = torch.split(types, [graph.num_nodes for graph in each])
        return [
            _grouped(graph, kind, self.node_types, self.edge_types).graph
            for graph, kind in zip(each, kinds, strict=True)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._graph, self._num_nodes, self.edge_types, self._ptr)

    # Other people's graphs ----------------------------------------------------------------------------

    @staticmethod
    def from_pyg(data: HeteroData) -> HeteroGraph:
        """See `mpnn.graph.hetero_convert.from_pyg`."""
        from mpnn.graph import hetero_convert

        return hetero_convert.from_pyg(data)

    def to_pyg(self) -> HeteroData:
        """See `mpnn.graph.hetero_convert.to_pyg`."""
        from mpnn.graph import hetero_convert

        return hetero_convert.to_pyg(self)

    @staticmethod
    def from_networkx(
        graph: networkx.Graph, node_attr: str = "node_type", edge_attr: str = "relation"
    ) -> HeteroGraph:
        """See `mpnn.graph.hetero_convert.from_networkx`."""
        from mpnn.graph import hetero_convert

        return hetero_convert.from_networkx(graph, node_attr, edge_attr)

    def to_networkx(self, node_attr: str = "node_type", edge_attr: str = "relation") -> networkx.MultiDiGraph:
        """See `mpnn.graph.hetero_convert.to_networkx`."""
        from mpnn.graph import hetero_convert

        return hetero_convert.to_networkx(self, node_attr, edge_attr)


class HeteroPart(NamedTuple):
    """A typed graph that is made of another, and where its nodes and edges are from."""

    graph: HeteroGraph
    nodes: dict[str, Tensor]  # of each type [num_nodes]: which node each is
    edges: dict[EdgeType, Tensor]  # of each relation [num_edges]: which edge each is


def _made(
    graph: Graph,
    num_nodes: Mapping[str, int],
    edge_types: Sequence[EdgeType],
    counts: Sequence[int],
    ptr: Mapping[str, Tensor] | None,
) -> HeteroGraph:
    made = object.__new__(HeteroGraph)
    made._set(graph, num_nodes, edge_types, counts, ptr)
    return made


def _grouped(
    graph: Graph,
    node_type: Tensor,
    node_types: Sequence[str],
    edge_types: Sequence[EdgeType],
    ptr: Mapping[str, Tensor] | None = None,
) -> HeteroPart:
    """The one way to make a typed graph of a `Graph`: nodes by type, edges by relation, each in its order."""
    assert graph.edge_type is not None
    if ptr is None and graph.num_graphs > 1:
        ptr = {
            name: _ptr(graph.graph_index[node_type == k], graph.num_graphs)
            for k, name in enumerate(node_types)
        }
    nodes, sizes = _by_number(node_type, len(node_types))
    edges, counts = _by_number(graph.edge_type, len(edge_types))
    number = torch.empty_like(nodes)
    number[nodes] = torch.arange(nodes.numel(), device=nodes.device)
    edge_index = number[graph.edge_index[:, edges]]
    typed = graph.derive(edge_index, edges, (nodes, nodes), batch=None, num_edge_types=len(edge_types))
    return HeteroPart(
        _made(typed, dict(zip(node_types, sizes, strict=True)), edge_types, counts, ptr or None),
        dict(zip(node_types, torch.split(nodes, sizes), strict=True)),
        dict(zip(edge_types, torch.split(edges, counts), strict=True)),
    )


def _by_number(numbers: Tensor, count: int) -> tuple[Tensor, list[int]]:
    """Positions ordered by the numbers that stand there, and how often each number stands there."""
    counts: list[int] = torch.bincount(numbers, minlength=count).tolist()
    return torch.sort(numbers, stable=True).indices, counts


def _as_batch(graph: HeteroGraph) -> Graph:
    """All nodes and edges as one `Graph`, the nodes graph after graph."""
    if graph.num_graphs == 1:
        return graph.homogeneous
    order = _order_of_graphs(graph)
    number = torch.empty_like(order)
    number[order] = torch.arange(order.numel(), device=order.device)
    sizes = torch.bincount(_owners(graph), minlength=graph.num_graphs).tolist()
    homogeneous = graph.homogeneous
    mixed = homogeneous.derive(number[homogeneous.edge_index], nodes=(order, order))
    return mixed.as_batch([(size, size) for size in sizes])


def _in_order_of_graphs(graph: HeteroGraph, values: Tensor) -> Tensor:
    return values if graph.num_graphs == 1 else values[_order_of_graphs(graph)]


def _order_of_graphs(graph: HeteroGraph) -> Tensor:
    return torch.sort(_owners(graph), stable=True).indices


def _owners(graph: HeteroGraph) -> Tensor:
    """`[num_nodes]`, in which graph of the batch each row is."""
    return torch.cat([graph.graph_index(node_type) for node_type in graph.node_types])


def _ptr(owner: Tensor, num_graphs: int) -> Tensor:
    counts = torch.bincount(owner, minlength=num_graphs)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _kept_ptr(node_type: str, ptr: Tensor, chosen: Tensor) -> Tensor:
    """Where the graphs of a batch begin when only these nodes of a type are kept."""
    owner = torch.bucketize(chosen, ptr[1:], right=True)
    check_grouped(f"nodes[{node_type!r}]", chosen, owner)
    return _ptr(owner, ptr.numel() - 1)


def _restored(
    graph: Graph,
    num_nodes: Mapping[str, int],
    edge_types: Sequence[EdgeType],
    ptr: Mapping[str, Tensor] | None,
) -> HeteroGraph:
    """The graph that a file holds, checked."""
    sizes = checked_node_types(num_nodes)
    relations = checked_edge_types(edge_types, sizes)
    types = numbered(sizes.values(), graph.device)
    if types.numel() != graph.num_nodes:
        raise ValueError(f"a saved graph has {graph.num_nodes} nodes, but its types have {types.numel()}.")
    checked_typing(graph, types, list(sizes), relations)
    assert graph.edge_type is not None
    if bool((graph.edge_type.diff() < 0).any()):
        raise ValueError("the edges of a saved graph are not in the order of their edge types.")
    for name, one in (ptr or {}).items():
        if int(one[0]) != 0 or int(one[-1]) != sizes[name] or bool((one.diff() < 0).any()):
            raise ValueError(f"the graphs of a saved batch should have {sizes[name]} nodes of type {name!r}.")
    counts = torch.bincount(graph.edge_type, minlength=len(relations)).tolist()
    return _made(graph, sizes, relations, counts, ptr)


# `torch.load` takes a graph from a file as it takes a tensor, nothing is run: `_restored` checks it.
torch.serialization.add_safe_globals([_restored])
