"""A graph is who sends to whom, and nothing else: features stay plain tensors outside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import torch
from torch import Tensor

from mpnn.graph.batch import Batch, union
from mpnn.graph.checks import (
    Size,
    checked_edge_index,
    checked_kind,
    checked_num_edge_types,
    checked_positions,
    checked_size,
)
from mpnn.graph.edges import coalesced, induced, relooped, reordering
from mpnn.graph.facts import NO_EDGE_FACTS, EdgeFacts, Facts, checked_edge_facts
from mpnn.graph.incidence import Incidence
from mpnn.graph.lifetime import lasting
from mpnn.native.reach import calls_ours

if TYPE_CHECKING:
    import networkx
    import scipy.sparse
    from torch_geometric.data import Data, HeteroData

    from mpnn.graph.convert import Attributed

__all__ = ["Graph", "Size"]

# Under this key a graph of `relooped` keeps which edges it was made of; see `Graph.origin_of`.
_ORIGINS = "origins"


class Graph(Incidence):
    """An immutable directed graph; edge e goes from node `edge_index[0, e]` to node `edge_index[1, e]`.

    Args:
        edge_index: integer tensor `[2, num_edges]`; row 0 is the source j, row 1 the destination i. It is
            copied, but not beyond 16 MB (a million edges): do not write into a larger one afterwards. After
            such a write, what is derived from the graph raises RuntimeError.
        num_nodes: how many nodes there are; `(num_src, num_dst)` makes the graph bipartite. By default one
            more than the largest index.
        edge_type: integer tensor `[num_edges]`, the relation of each edge.
        num_edge_types: how many relations there are; by default one more than the largest type.
        edge_time: tensor `[num_edges]` of integers, kept as int64, or of floating-point numbers: when each
            edge is, in any unit.

    Raises:
        TypeError: an index that is not an integer tensor, a time that is not a tensor of numbers.
        ValueError: a wrong shape, a device that differs, or a time that is NaN.
        IndexError: an index out of range; the message names the first bad edge.

    >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
    >>> graph
    Graph(num_nodes=3, num_edges=3)
    >>> graph.in_degree
    tensor([1, 1, 1])
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: SupportsIndex | Size | None = None,
        edge_type: Tensor | None = None,
        *,
        num_edge_types: int | None = None,
        edge_time: Tensor | None = None,
    ) -> None:
        edge_index = checked_edge_index(edge_index)
        size, edges, count = checked_size(num_nodes, edge_index), NO_EDGE_FACTS, 1
        if edge_type is not None or edge_time is not None or num_edge_types is not None:
            edges = checked_edge_facts(edge_index, EdgeFacts(edge_type, edge_time), self._taken)
            count = checked_num_edge_types(num_edge_types, edges.edge_type)
        taken = self._taken("edge_index", edge_index)
        super().__init__(taken, Facts(size, isinstance(num_nodes, tuple), edges, count))

    # One way to make another --------------------------------------------------------------------------

    def derive(
        self,
        edge_index: Tensor | None = None,
        origin: Tensor | None = None,
        nodes: tuple[Tensor, Tensor] | None = None,
        **said: Any,
    ) -> Graph:
        """A graph that is made of this one and takes over all that is known of it: for methods and samplers.

        Nothing is checked: indices must be valid, int64 and on the graph's device. Of other edges it is not
        known which of them are padding.

        Args:
            edge_index: its edges; None for those of `origin`, with the same nodes.
            origin: `[num_edges']`, which of these edges each is, so that what edges carry follows; None for
                the same edges in the same order.
            nodes: `[num_src']` and `[num_dst']`, which of these nodes each is; None for the same nodes.
            said: what is to be different of `Facts`.
        """
        self._check_unwritten()
        if edge_index is None:
            edge_index = self.edge_index if origin is None else self.edge_index[:, origin]
        else:
            said.setdefault("loopless", None)
        return self._made(edge_index, self._known().carried(origin, nodes, said)._replace(**said))

    def _made(self, edge_index: Tensor, facts: Facts) -> Graph:
        graph = object.__new__(Graph)
        Incidence.__init__(graph, lasting(edge_index), facts)
        if self._shared:
            its_own = (graph._edge_index, *facts.edges)
            graph._shared = tuple(part for part in self._shared if any(part[1] is one for one in its_own))
        return graph

    def _known(self) -> Facts:
        """All facts; a subclass may know some by a formula."""
        return self._facts

    def carrying(self, *, num_edge_types: int | None = None, **values: Tensor | None) -> Graph:
        """The same edges that carry something else; None for no such thing. Errors are those of `Graph`.

        Args:
            num_edge_types: how many relations there are, as in `Graph`.
            values: `edge_type` or `edge_time`, `[num_edges]`; what is not named stays as it is.

        >>> graph = Graph(torch.tensor([[0, 1], [1, 0]]), edge_type=torch.tensor([0, 1]))
        >>> graph.carrying(edge_type=None, edge_time=torch.tensor([20, 10]))
        Graph(num_nodes=2, num_edges=2, edge_time=torch.int64)
        """
        self._check_unwritten()
        for name in values:
            if name not in EdgeFacts._fields:
                raise TypeError(f"edges carry no {name}, but may carry {' and '.join(EdgeFacts._fields)}.")
        made, facts = self._made(self.edge_index, self._known()), self._known()
        given = checked_edge_facts(self.edge_index, EdgeFacts(**values), made._taken)
        edges = facts.edges._replace(**{name: getattr(given, name) for name in values})
        if num_edge_types is None and "edge_type" not in values:
            count = facts.num_edge_types
        else:
            count = checked_num_edge_types(num_edge_types, edges.edge_type)
        made._facts = facts._replace(edges=edges, num_edge_types=count)
        return made

    def bipartite_with(self, edge_index: Tensor, size: Size) -> Graph:
        """A bipartite graph for use beside this one, made for one step if this one is; nothing is checked.

        Args:
            edge_index: its edges `[2, num_edges']`, int64 and below `size`; they carry nothing.
            size: `(num_src, num_dst)`.
        """
        self._check_unwritten()
        return self._made(edge_index, Facts(size, bipartite=True, fleeting=self.is_fleeting))

    # Graphs made from this one ------------------------------------------------------------------------

    def reverse(self) -> Graph:
        """Every edge turned round; edge e stays edge e, and the two CSR structures change places."""
        return self.memo("reverse", self._make_reverse)

    def _make_reverse(self) -> Graph:
        if calls_ours():
            edge_index = torch.ops.mpnn.reverse(self.edge_index, *self.size)
        else:
            edge_index = self.edge_index.flip(0)
        reverse = self._made(edge_index, self._known().reverse())
        for mine, its in (("by_dst", "by_src"), ("by_src", "by_dst")):
            if mine in self._memo:
                reverse._memo[its] = self._memo[mine]
        return reverse

    def with_self_loops(self) -> Graph:
        """One more edge i -> i for every node, behind the existing edges, in node order."""
        self.require_one_node_set("with_self_loops")
        return self.relooped("more")[0]

    def with_remaining_self_loops(self) -> Graph:
        """Exactly one edge i -> i for every node: existing loops are dropped, then one is appended each."""
        self.require_one_node_set("with_remaining_self_loops")
        return self.relooped("one")[0]

    def without_self_loops(self) -> Graph:
        """Every edge but those from a node to itself."""
        self.require_one_node_set("without_self_loops")
        return self.relooped("none")[0]

    def relooped(self, loops: str) -> tuple[Graph, Tensor]:
        """The graph with other self loops, and where each of its edges is from.

        Args:
            loops: "none" drops them; "one" does and then appends one edge i -> i for every node, in a
                bipartite graph for as many nodes as both sides have; "more" only appends.

        Returns:
            The graph, and `[num_edges']`: edge e of it was edge `origin[e]` of this one, or from `num_edges`
            on is the new loop at node `origin[e] - num_edges`. So what edges carry follows with
            `torch.cat([of_edges, of_loops])[origin]`.

        Raises:
            ValueError: edges to be added where edges have types or times, which are not known for new ones.

        >>> graph, origin = Graph(torch.tensor([[0, 1], [0, 0]])).relooped("one")
        >>> graph.edge_index.tolist(), origin.tolist()
        ([[1, 0, 1], [0, 0, 1]], [1, 2, 3])
        """
        return self.memo(("relooped", loops), lambda: self._reloop(loops))

    def _reloop(self, loops: str) -> tuple[Graph, Tensor]:
        if loops != "none":
            self._known().edges.check_nothing("adding self loops to a graph")
        if calls_ours():
            edge_index, origin = torch.ops.mpnn.relooped(self.edge_index, *self.size, loops)
        else:
            known = self._num_loops() if loops != "more" else None
            edge_index, origin = relooped(self.edge_index, self.size, loops, self._facts.loopless, known)
        edge_index = lasting(edge_index)
        if loops == "none":
            looped = self.derive(edge_index, origin, loopless=edge_index)
        else:
            looped = self.derive(edge_index)  # with loops, for which there is nothing that edges carry
        looped.memo(_ORIGINS, lambda: self._origins(origin))
        return looped, origin

    def origin_of(self, num_edges: int) -> Tensor | None:
        """Where each edge is from, if `relooped` made this graph of one with `num_edges`, else None."""
        known: tuple[tuple[Tensor, int], ...] = self.memo(_ORIGINS, lambda: ())
        return next((origin for origin, count in known if count == num_edges), None)

    def _origins(self, origin: Tensor) -> tuple[tuple[Tensor, int], ...]:
        """`origin` as of this graph and of those that `relooped` made it of, and how many edges each has."""
        found = [(origin, self.num_edges)]
        known: tuple[tuple[Tensor, int], ...] = self.memo(_ORIGINS, lambda: ())
        for before, count in known:
            new = torch.arange(count, count + min(self.size), device=origin.device)
            found.append((torch.cat([before, new])[origin], count))
        return tuple(found)

    def edge_subgraph(self, edges: Tensor) -> Graph:
        """The same nodes with only these edges.

        Args:
            edges: bool mask `[num_edges]`, or integer positions `[num_kept]` (which also set the order).
        """
        return self.derive(origin=checked_positions("edges", edges, self.num_edges, self.device))

    def subgraph(self, nodes: Tensor | tuple[Tensor, Tensor]) -> tuple[Graph, Tensor]:
        """The graph among some nodes, renumbered in the order given, and which edges it kept.

        Args:
            nodes: bool mask or integer positions of the nodes to keep, each once; a pair of them when
                bipartite. In a batch, which stays one, the positions keep the order of the graphs.

        Returns:
            The graph, and the positions `[num_kept_edges]` of its edges, with which to index edge features.

        >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
        >>> part, edges = graph.subgraph(torch.tensor([1, 2]))
        >>> part.edge_index.tolist(), edges.tolist()
        ([[0], [1]], [1])
        """
        if self._facts.bipartite != isinstance(nodes, tuple):
            wanted = "a pair (sources, destinations)" if self._facts.bipartite else "one tensor"
            raise TypeError(f"nodes must be {wanted} for this graph, got {type(nodes).__name__}.")
        pair = nodes if isinstance(nodes, tuple) else (nodes, nodes)
        sources, destinations = (
            checked_positions("nodes", n, size, self.device) for n, size in zip(pair, self.size, strict=True)
        )
        edge_index, edges = induced(self.edge_index, (sources, destinations), self.size)
        return self.derive(edge_index, edges, (sources, destinations)), edges

    def coalesce(self) -> tuple[Graph, Tensor]:
        """Merge repeated edges (same ends, same type, same time) and sort by destination, then source.

        Returns:
            The graph, and `[num_edges]`: which new edge each old edge became. With it edge features follow:
            `mpnn.scatter(edge_attr, merged, graph.num_edges)`.
        """
        known = {"edge_type": self.num_edge_types}  # how many values there may be; of others only an order
        carried = [(values, known.get(name)) for name, values in self._known().edges.named().items()]
        first, merged = coalesced(self.edge_index, self.size, *carried)
        return self.derive(origin=first), merged

    def reordered(self, by: str = "neighbours") -> tuple[Graph, Tensor]:
        """The same graph with its nodes renumbered so that what is used together lies together.

        Message passing reads the features of a node's neighbours; with close numbers they are close in
        memory, and often still in the cache.

        Args:
            by: "neighbours" numbers along a breadth-first walk (reverse Cuthill-McKee, 1969); "degree" puts
                nodes with many outgoing edges, whose features are read most, first.

        Returns:
            The graph, and `[num_nodes]`: which old node each new one is, so features follow with
            `x[order]`, and results come back with `out[order] = new_out`. Edges keep their order.

        >>> graph, order = Graph(torch.tensor([[0, 3], [3, 1]]), num_nodes=4).reordered()
        >>> bool((order[graph.edge_index] == torch.tensor([[0, 3], [3, 1]])).all())
        True
        """
        self.require_one_node_set("reordered")
        if self._facts.batch is not None:
            raise ValueError("reordered() would mix the graphs of this batch: reorder each, then batch them.")
        order, number = reordering(self.edge_index, self.out_degree, by)
        loopless = None if self._facts.loopless is None else number[self._facts.loopless]
        return self.derive(number[self.edge_index], nodes=(order, order), loopless=loopless), order

    def to(self, device: torch.device | str) -> Graph:
        """The same graph with its indices on another device (this very graph when it is there already)."""
        target = torch.device(device)
        if target == self.device or (target.type == self.device.type and target.index is None):
            return self
        self._check_unwritten()
        away = target.type != "cpu"
        moved = self._made(self.edge_index.to(target, non_blocking=away), self._known().to(target))
        if self.is_fleeting and away and self.device.type == "cpu":  # where no GPU is waited for
            moved._memo["number of loops"] = int((self.src == self.dst).sum())
        return moved

    # Several graphs as one ----------------------------------------------------------------------------

    @staticmethod
    def batch(graphs: Sequence[Graph]) -> Graph:
        """Disjoint union: the nodes and edges of graph k come behind those of graph k - 1.

        All graphs must be of one kind: all bipartite or none, all typed or none, all with times or none, all
        on one device. A batch among them counts as the graphs that it was made of.

        >>> pair = Graph(torch.tensor([[0], [1]]))
        >>> both = Graph.batch([pair, pair])
        >>> both
        Graph(num_nodes=4, num_edges=2, num_graphs=2)
        >>> both.graph_index
        tensor([0, 0, 1, 1])
        """
        graphs = checked_kind(graphs, Graph)
        for g in graphs:
            g._check_unwritten()
        facts = Facts.joined([g._known() for g in graphs], graphs[0].device)
        together = graphs[0]._made(union([g.edge_index for g in graphs], [g.size for g in graphs]), facts)
        together._parts = graphs
        return together

    def as_batch(self, sizes: Sequence[Size]) -> Graph:
        """The same graph, known to be a batch: its nodes are those of several graphs, one after the other.

        Args:
            sizes: `(num_src, num_dst)` of each graph.

        Raises:
            ValueError: sizes that do not add up, or an edge from one graph to another.

        >>> graph = Graph(torch.tensor([[0, 2], [1, 3]]))
        >>> graph.as_batch([(2, 2), (2, 2)]).unbatch()
        [Graph(num_nodes=2, num_edges=1), Graph(num_nodes=2, num_edges=1)]
        """
        total = (sum(num_src for num_src, _ in sizes), sum(num_dst for _, num_dst in sizes))
        if total != self.size or min((n for size in sizes for n in size), default=-1) < 0:
            raise ValueError(f"sizes must add up to {self.size}, got {list(sizes)}.")
        return self.derive(batch=Batch.around(self.edge_index, sizes))

    def unbatch(self) -> list[Graph]:
        """The graphs that `batch` put together, each with its own edges in their order in this graph."""
        batch = self._facts.batch
        if batch is None:
            return [self]
        self._check_unwritten()  # once, not for each of them
        starts, edges_of_graphs = torch.stack(batch, dim=1), batch.edges_of_graphs(self.dst)
        facts = self._known()._replace(batch=None, loopless=None)
        return [
            self._made(self.edge_index[:, ids] - start[:, None], facts.carried(ids, None)._replace(size=size))
            for start, size, ids in zip(starts, batch.sizes, edges_of_graphs, strict=False)
        ]

    # Other people's graphs ----------------------------------------------------------------------------

    @overload
    @staticmethod
    def from_networkx(graph: networkx.Graph) -> Graph: ...

    @overload
    @staticmethod
    def from_networkx(
        graph: networkx.Graph,
        node_attrs: str | Sequence[str] | None = None,
        edge_attrs: str | Sequence[str] | None = None,
    ) -> Attributed: ...

    @staticmethod
    def from_networkx(
        graph: networkx.Graph,
        node_attrs: str | Sequence[str] | None = None,
        edge_attrs: str | Sequence[str] | None = None,
    ) -> Graph | Attributed:
        """See `mpnn.graph.convert.from_networkx`."""
        from mpnn.graph import convert

        return convert.from_networkx(graph, node_attrs, edge_attrs)

    def to_networkx(self) -> networkx.DiGraph | networkx.MultiDiGraph:
        """See `mpnn.graph.convert.to_networkx`."""
        from mpnn.graph import convert

        return convert.to_networkx(self)

    @staticmethod
    def from_scipy(matrix: scipy.sparse.sparray) -> tuple[Graph, Tensor]:
        """See `mpnn.graph.convert.from_scipy`."""
        from mpnn.graph import convert

        return convert.from_scipy(matrix)

    def to_scipy(self, values: Tensor | None = None) -> scipy.sparse.coo_array:
        """See `mpnn.graph.convert.to_scipy`."""
        from mpnn.graph import convert

        return convert.to_scipy(self, values)

    @staticmethod
    def from_pyg(data: Data | HeteroData) -> Graph:
        """See `mpnn.graph.convert.from_pyg`."""
        from mpnn.graph import convert

        return convert.from_pyg(data)

    def to_pyg(self) -> Data | HeteroData:
        """See `mpnn.graph.convert.to_pyg`."""
        from mpnn.graph import convert

        return convert.to_pyg(self)


# `torch.load` takes a graph from a file as it takes a tensor, nothing is run: `__setstate__` checks it.
torch.serialization.add_safe_globals([Graph, Facts, EdgeFacts, Batch])
