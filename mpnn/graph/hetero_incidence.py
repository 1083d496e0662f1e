"""Which nodes and edges of several types there are, and what follows from that: rows, relations, batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from mpnn.graph.batch import Batch
from mpnn.graph.facts import EdgeFacts
from mpnn.graph.graph import Graph
from mpnn.graph.hetero_checks import EdgeType, listed


class HeteroIncidence:
    """What `HeteroGraph` has of its nodes and edges; `HeteroGraph` adds what makes one graph of another."""

    def _set(
        self,
        graph: Graph,
        num_nodes: Mapping[str, int],
        edge_types: Sequence[EdgeType],
        counts: Sequence[int],
        ptr: Mapping[str, Tensor] | None,
    ) -> None:
        self._graph, self._num_nodes, self._ptr = graph, dict(num_nodes), ptr
        self._rows = dict(zip(self._num_nodes, slices(self._num_nodes.values()), strict=True))
        self._edges = dict(zip(edge_types, slices(counts), strict=True))

    # What there is ------------------------------------------------------------------------------------

    @property
    def homogeneous(self) -> Graph:
        """All nodes and edges as one `Graph`: rows by node type, edges by relation, with `edge_type`."""
        return self._graph

    @property
    def node_types(self) -> list[str]:
        """The types of nodes, in the order of their rows."""
        return list(self._rows)

    @property
    def edge_types(self) -> list[EdgeType]:
        """The relations `(source, relation, destination)`, in the order of their numbers."""
        return list(self._edges)

    def metadata(self) -> tuple[list[str], list[EdgeType]]:
        """Both, as PyG's layers take them."""
        return self.node_types, self.edge_types

    @property
    def num_nodes_dict(self) -> dict[str, int]:
        """How many nodes each type has."""
        return dict(self._num_nodes)

    @property
    def num_nodes(self) -> int:
        """How many nodes there are of all types."""
        return self._graph.num_nodes

    @property
    def num_edges(self) -> int:
        """How many edges there are of all types."""
        return self._graph.num_edges

    @property
    def edge_index_dict(self) -> dict[EdgeType, Tensor]:
        """Of each edge type `[2, num_edges]`."""
        return {edge_type: self[edge_type].edge_index for edge_type in self._edges}

    @property
    def device(self) -> torch.device:
        """Where the edges are."""
        return self._graph.device

    def nodes(self, node_type: str) -> slice:
        """The rows of a type in `homogeneous`."""
        if node_type not in self._rows:
            raise KeyError(f"{node_type!r} is no node type: these are {listed(self._rows)}.")
        return self._rows[node_type]

    def edges(self, edge_type: EdgeType) -> slice:
        """The edges of a relation in `homogeneous`."""
        if edge_type not in self._edges:
            raise KeyError(f"{edge_type!r} is no edge type: these are {listed(self._edges)}.")
        return self._edges[edge_type]

    @property
    def node_type(self) -> Tensor:
        """`[num_nodes]`, the number of the type of each row."""
        return self._graph.memo("node type", lambda: numbered(self._num_nodes.values(), self.device))

    def __getitem__(self, edge_type: EdgeType) -> Graph:
        """One relation: bipartite, unless it goes from a type to itself."""
        edges = self.edges(edge_type)
        return self._graph.memo(("relation", edge_type), lambda: self._relation(edge_type, edges))

    def _relation(self, edge_type: EdgeType, edges: slice) -> Graph:
        ends = (self._rows[edge_type[0]], self._rows[edge_type[2]])
        edge_index = torch.stack(
            [row[edges] - rows.start for row, rows in zip(self._graph.edge_index, ends, strict=True)]
        )
        time = self._graph.edge_time
        return self._graph.derive(
            edge_index,
            size=(self._num_nodes[edge_type[0]], self._num_nodes[edge_type[2]]),
            bipartite=edge_type[0] != edge_type[2],
            edges=EdgeFacts(edge_time=None if time is None else time[edges].clone()),
            num_edge_types=1,
            batch=None if self._ptr is None else Batch(self._ptr[edge_type[0]], self._ptr[edge_type[2]]),
        )

    def __repr__(self) -> str:
        counts = {edge_type: edges.stop - edges.start for edge_type, edges in self._edges.items()}
        graphs = "" if self._ptr is None else f", num_graphs={self.num_graphs}"
        return f"HeteroGraph(num_nodes={self._num_nodes}, num_edges={counts}{graphs})"

    # Values of all nodes ------------------------------------------------------------------------------

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """Rows of all nodes `[num_nodes, ...]`, from those of each type, which are equally wide.

        >>> graph = mpnn.HeteroGraph({"author": 1, "paper": 2}, {})
        >>> graph.join({"paper": torch.ones(2, 3), "author": torch.zeros(1, 3)})[:, 0]
        tensor([0., 1., 1.])
        """
        self.check_nodes(values)
        for node_type in self._rows:
            if node_type not in values:
                raise ValueError(f"there are no values of node type {node_type!r}, only of {listed(values)}.")
        return torch.cat([values[node_type] for node_type in self._rows])

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """The rows of each type, out of those of all nodes `[num_nodes, ...]`."""
        if rows.size(0) != self.num_nodes:
            raise ValueError(f"rows has {rows.size(0)} rows, but the graph has {self.num_nodes} nodes.")
        return {node_type: rows[own] for node_type, own in self._rows.items()}

    def check_nodes(self, values: Mapping[str, Tensor], argument: str = "values") -> None:
        """Raise ValueError for values of an unknown node type, or of another number of nodes."""
        self._check_names(argument, values)
        for node_type, value in values.items():
            count = self._num_nodes[node_type]
            if value.size(0) != count:
                raise ValueError(
                    f"{argument}[{node_type!r}] has {value.size(0)} rows, but there are {count} nodes of "
                    "that type."
                )

    def _check_names(self, argument: str, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping):
            raise TypeError(f"{argument} must be a dictionary by node type, got {type(given).__name__}.")
        for name in given:
            if name not in self._rows:
                raise ValueError(
                    f"{argument} names {name!r}, which is no node type: these are {listed(self._rows)}."
                )

    # Rows by relation ---------------------------------------------------------------------------------

    @property
    def source_rows(self) -> dict[EdgeType, slice]:
        """Of each relation the rows of its sources, where all relations are side by side."""
        return self._side_by_side(0)

    @property
    def destination_rows(self) -> dict[EdgeType, slice]:
        """Of each relation the rows of its destinations, where all relations are side by side."""
        return self._side_by_side(2)

    def _side_by_side(self, end: int) -> dict[EdgeType, slice]:
        counts = [self._num_nodes[edge_type[end]] for edge_type in self._edges]
        return dict(zip(self._edges, slices(counts), strict=True))

    def by_relation(self, *, sources: bool = False, destinations: bool = False) -> Graph:
        """All edges between rows (relation, node): a node has a row for each relation with its type there.

        What a node sends along a relation, a map by relation for one, is a row of its own then, and so is
        what it receives; one loop aggregates all of them. The edges keep their order.

        Args:
            sources: whether edges leave rows, which `source_rows` finds, else the nodes of `homogeneous`.
            destinations: whether they enter rows, which `destination_rows` finds.

        Returns:
            A bipartite graph.

        >>> edge = torch.tensor([[0], [1]])
        >>> graph = mpnn.HeteroGraph({"a": 2}, {("a", "to", "a"): edge, ("a", "of", "a"): edge})
        >>> graph.by_relation(sources=True).edge_index.tolist()
        [[0, 2], [1, 1]]
        >>> graph.by_relation(sources=True, destinations=True).edge_index.tolist()
        [[0, 2], [1, 3]]
        """
        ends = (sources, destinations)
        return self._graph.memo(("by relation", ends), lambda: self._by_relation(ends))

    def _by_relation(self, ends: tuple[bool, bool]) -> Graph:
        types = self._graph.edge_type
        assert types is not None
        edge_index, size = list(self._graph.edge_index), [self.num_nodes, self.num_nodes]
        for k, rows in enumerate((self.source_rows, self.destination_rows)):
            if ends[k]:
                begin = [own.start - self._rows[edge_type[2 * k]].start for edge_type, own in rows.items()]
                edge_index[k] = edge_index[k] + torch.tensor(begin, device=self.device).long()[types]
                size[k] = sum(own.stop - own.start for own in rows.values())
        return self._graph.bipartite_with(torch.stack(edge_index), (size[0], size[1]))

    def relations_into(self, node_type: str) -> list[EdgeType]:
        """The relations that end at a type of nodes, in their order."""
        return [edge_type for edge_type in self._edges if edge_type[2] == node_type]

    def by_receiver(self) -> Graph:
        """All edges from the nodes of `homogeneous` to rows (node, relation): a node's rows lie together.

        So the rows of a type of nodes are `[num_nodes, relations_into(node_type), ...]`, type after type, and
        one product maps what all relations bring and sums it. The edges keep their order.

        >>> edge = torch.tensor([[0], [1]])
        >>> graph = mpnn.HeteroGraph({"a": 2}, {("a", "to", "a"): edge, ("a", "of", "a"): edge})
        >>> graph.by_receiver().edge_index.tolist()
        [[0, 0], [2, 3]]
        """
        return self._graph.memo("by receiver", self._by_receiver)

    def _by_receiver(self) -> Graph:
        types = self._graph.edge_type
        assert types is not None
        each = {node_type: self.relations_into(node_type) for node_type in self._rows}
        first = dict(
            zip(
                each,
                accumulate((self._num_nodes[name] * len(found) for name, found in each.items()), initial=0),
                strict=False,
            )
        )
        lines = [  # a row is count * node + begin
            (
                len(each[edge_type[2]]),
                first[edge_type[2]]
                + each[edge_type[2]].index(edge_type)
                - len(each[edge_type[2]]) * self._rows[edge_type[2]].start,
            )
            for edge_type in self._edges
        ]
        count, begin = torch.tensor(lines, device=self.device, dtype=torch.int64).reshape(-1, 2)[types].t()
        rows = self._graph.dst * count + begin
        num_rows = sum(self._num_nodes[edge_type[2]] for edge_type in self._edges)
        return self._graph.bipartite_with(torch.stack([self._graph.src, rows]), (self.num_nodes, num_rows))

    # A batch ------------------------------------------------------------------------------------------

    @property
    def num_graphs(self) -> int:
        """How many graphs this one is a batch of."""
        return 1 if self._ptr is None else next(iter(self._ptr.values())).numel() - 1

    def graph_index(self, node_type: str) -> Tensor:
        """`[num_nodes]`, in which graph of the batch each node of a type is."""
        own = self.nodes(node_type)
        if self._ptr is None:
            return torch.zeros(own.stop - own.start, dtype=torch.int64, device=self.device)
        return owner_of(self._ptr[node_type], own.stop - own.start)


def owner_of(ptr: Tensor, count: int) -> Tensor:
    graphs = torch.arange(ptr.numel() - 1, device=ptr.device)
    return graphs.repeat_interleave(ptr.diff(), output_size=count)


def numbered(counts: Iterable[int], device: torch.device) -> Tensor:
    """0 as often as the first count says, then 1, and so on."""
    each = torch.tensor(list(counts), dtype=torch.int64, device=device)
    return torch.arange(each.numel(), device=device).repeat_interleave(each)


def slices(counts: Iterable[int]) -> list[slice]:
    """Ranges of these lengths, one behind the other."""
    return [slice(begin, end) for begin, end in pairwise(accumulate(counts, initial=0))]
