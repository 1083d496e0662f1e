"""A graph is who sends to whom, and nothing else: features stay plain tensors outside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.graph.batch import Batch, union
from mpnn.graph.checks import (
    Size,
    checked_edge_index,
    checked_edge_type,
    checked_num_edge_types,
    checked_positions,
    checked_size,
)
from mpnn.graph.contents import contents, taken
from mpnn.graph.csr import CSR, compress
from mpnn.graph.edges import breadth_first, coalesced, induced, lasting, outliving, relooped
from mpnn.graph.facts import Facts, check_restored
from mpnn.native.gate import has_data
from mpnn.native.gpu import sent
from mpnn.native.reach import traced

if TYPE_CHECKING:
    import networkx
    import scipy.sparse
    from torch_geometric.data import Data, HeteroData

T = TypeVar("T")
__all__ = ["Graph", "Size"]


class Graph:
    """An immutable directed graph; edge e goes from node `edge_index[0, e]` to node `edge_index[1, e]`.

    Args:
        edge_index: integer tensor `[2, num_edges]`; row 0 is the source j, row 1 the destination i. It is
            copied, but not beyond 16 MB (a million edges): do not write into a larger one afterwards. If
            somebody does, whatever is then derived from the graph raises RuntimeError.
        num_nodes: how many nodes there are; `(num_src, num_dst)` makes the graph bipartite. By default one
            more than the largest index.
        edge_type: integer tensor `[num_edges]`, the relation of each edge.
        num_edge_types: how many relations there are; by default one more than the largest type.

    Raises:
        TypeError: an index that is not an integer tensor.
        ValueError: a wrong shape, or a device that differs.
        IndexError: an index out of range; the message names the first bad edge.

    >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
    >>> graph
    Graph(num_nodes=3, num_edges=3)
    >>> graph.in_degree
    tensor([1, 1, 1])
    """

    _facts: Facts
    _parts: Sequence[Graph] = ()  # what it is a batch of
    _shared: tuple[tuple[str, Tensor, Hashable], ...] = ()  # large tensors of its maker, with what they held

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int | Size | None = None,
        edge_type: Tensor | None = None,
        *,
        num_edge_types: int | None = None,
    ) -> None:
        edge_index = checked_edge_index(edge_index)
        size = checked_size(num_nodes, edge_index)
        edge_type = checked_edge_type(edge_type, edge_index)
        num_edge_types = checked_num_edge_types(num_edge_types, edge_type)
        self._edge_index: Tensor | None = self._taken("edge_index", edge_index)
        edge_type = None if edge_type is None else self._taken("edge_type", edge_type)
        self._facts = Facts(size, isinstance(num_nodes, tuple), edge_type, num_edge_types)
        self._memo: dict[Hashable, Any] = {}

    def _taken(self, name: str, index: Tensor) -> Tensor:
        index, held = taken(index)
        if held is not None:
            self._shared = (*self._shared, (name, index, held))
        return index

    def _check_unwritten(self) -> None:
        """Raise RuntimeError if somebody wrote into memory that is not only the graph's."""
        for name, index, held in self._shared:
            if contents(index) != held:
                raise RuntimeError(
                    f"{name} was written into after a Graph of {index.size(-1)} edges was made of it, which "
                    "shares its memory: make another Graph of what it holds now, or write into a copy."
                )

    # What there is ------------------------------------------------------------------------------------

    @property
    def edge_index(self) -> Tensor:
        """`[2, num_edges]` int64: sources in row 0, destinations in row 1."""
        if self._edge_index is None:
            self._edge_index = self._enumerate_edges()
        return self._edge_index

    def _enumerate_edges(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has implicit edges and does not enumerate them")

    @property
    def edge_type(self) -> Tensor | None:
        """`[num_edges]` int64, or None."""
        return self._facts.edge_type

    @property
    def is_typed(self) -> bool:
        """Whether the edges have types."""
        return self._facts.edge_type is not None

    @property
    def num_edge_types(self) -> int:
        """How many relations there are; 1 for a graph without edge types."""
        return self._facts.num_edge_types

    @property
    def src(self) -> Tensor:
        """`[num_edges]`: the node that each edge leaves."""
        return self.memo("src", lambda: self.edge_index[0])

    @property
    def dst(self) -> Tensor:
        """`[num_edges]`: the node that each edge enters."""
        return self.memo("dst", lambda: self.edge_index[1])

    @property
    def size(self) -> Size:
        """`(num_src, num_dst)`."""
        return self._facts.size

    @property
    def num_src(self) -> int:
        """How many nodes can send."""
        return self._facts.size[0]

    @property
    def num_dst(self) -> int:
        """How many nodes can receive."""
        return self._facts.size[1]

    @property
    def num_nodes(self) -> int:
        """How many nodes there are; a bipartite graph has two such numbers, see `size`."""
        if self._facts.bipartite:
            raise ValueError(
                f"num_nodes of a bipartite graph is two numbers: use num_src ({self.num_src}) or "
                f"num_dst ({self.num_dst})."
            )
        return self._facts.size[0]

    @property
    def num_edges(self) -> int:
        """How many edges there are."""
        return self.edge_index.size(1)

    @property
    def is_bipartite(self) -> bool:
        """Whether sources and destinations are two separate sets of nodes."""
        return self._facts.bipartite

    @property
    def is_fleeting(self) -> bool:
        """Whether it is made for one step, as a batch or a sample is: not worth waiting for a look at it."""
        return self._facts.fleeting

    @property
    def device(self) -> torch.device:
        """Where the indices live."""
        known = self._edge_index  # directly: every call asks several times
        return (self.edge_index if known is None else known).device

    # Derived once, kept with the graph ----------------------------------------------------------------

    def memo(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once per graph and key.

        For whatever follows from the topology alone. The graph never changes, so nothing invalidates it;
        `to`, `reverse` and the like return a new graph with a memo of its own. All threads get one value.
        What is made while a tracer looks on belongs to that trace, and is not kept.
        """
        if torch.compiler.is_compiling():
            return compute()  # what is kept must be data, and these come when the compiled function runs
        try:
            return cast(T, self._memo[key])
        except KeyError:
            pass
        if self._shared:
            self._check_unwritten()
        with outliving(self._edge_index):
            value = compute()
            if traced():
                return value
        return cast(T, self._memo.setdefault(key, value))

    @property
    def by_dst(self) -> CSR:
        """The edges that enter each node: row i lists the sources of i."""
        return self.memo("by_dst", lambda: compress(self.dst, self.src, self.num_dst, self.num_src))

    @property
    def by_src(self) -> CSR:
        """The edges that leave each node: row j lists the destinations of j."""
        return self.memo("by_src", lambda: compress(self.src, self.dst, self.num_src, self.num_dst))

    @property
    def in_degree(self) -> Tensor:
        """`[num_dst]` int64: how many edges enter each node."""
        return self.memo("in_degree", lambda: self._degree(leaving=False))

    @property
    def out_degree(self) -> Tensor:
        """`[num_src]` int64: how many edges leave each node."""
        return self.memo("out_degree", lambda: self._degree(leaving=True))

    def _degree(self, leaving: bool) -> Tensor:
        if torch.compiler.is_compiling():
            degree: Tensor = torch.ops.mpnn.degree(self.edge_index, *self.size, leaving)
            return degree
        rows = "by_src" if leaving else "by_dst"
        waits = self.device.type != "cpu"  # to count has the host wait for a GPU
        if rows in self._memo or waits or not has_data(self.edge_index):
            return cast(CSR, getattr(self, rows)).indptr.diff().long()
        if leaving:
            return torch.bincount(self.src, minlength=self.num_src)
        return torch.bincount(self.dst, minlength=self.num_dst)

    @property
    def self_loop_mask(self) -> Tensor:
        """`[num_edges]` bool: which edges go from a node to itself."""
        self._require_one_node_set("self_loop_mask")
        return self.memo("self_loop_mask", lambda: self.src == self.dst)

    # Graphs made from this one ------------------------------------------------------------------------

    def reverse(self) -> Graph:
        """Every edge turned round; edge e stays edge e, and the two CSR structures change places."""
        return self.memo("reverse", self._make_reverse)

    def _make_reverse(self) -> Graph:
        if torch.compiler.is_compiling():
            edge_index = torch.ops.mpnn.reverse(self.edge_index, *self.size)
        else:
            edge_index = self.edge_index.flip(0)
        batch, loopless = self._facts.batch, self._facts.loopless
        reverse = self._with(
            edge_index,
            size=(self.num_dst, self.num_src),
            batch=None if batch is None else batch.reverse(),
            loopless=None if loopless is None else loopless.flip(0),
        )
        for mine, its in (("by_dst", "by_src"), ("by_src", "by_dst")):
            if mine in self._memo:
                reverse._memo[its] = self._memo[mine]
        return reverse

    def with_self_loops(self) -> Graph:
        """One more edge i -> i for every node, behind the existing edges, in node order.

        Typed graphs cannot say which type a loop has, and raise ValueError.
        """
        self._require_one_node_set("with_self_loops")
        return self.relooped("more")[0]

    def with_remaining_self_loops(self) -> Graph:
        """Exactly one edge i -> i for every node: existing loops are dropped, then one is appended each."""
        self._require_one_node_set("with_remaining_self_loops")
        return self.relooped("one")[0]

    def without_self_loops(self) -> Graph:
        """Every edge but those from a node to itself."""
        self._require_one_node_set("without_self_loops")
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

        >>> graph, origin = Graph(torch.tensor([[0, 1], [0, 0]])).relooped("one")
        >>> graph.edge_index.tolist(), origin.tolist()
        ([[1, 0, 1], [0, 0, 1]], [1, 2, 3])
        """
        if loops != "none" and self.edge_type is not None:
            raise ValueError(
                "adding self loops to a graph with edge_type: no type is known for the new edges."
            )
        return self.memo(("relooped", loops), lambda: self._reloop(loops))

    def _reloop(self, loops: str) -> tuple[Graph, Tensor]:
        if torch.compiler.is_compiling():
            edge_index, origin = torch.ops.mpnn.relooped(self.edge_index, *self.size, loops)
        else:
            known = self._num_loops() if loops != "more" else None
            edge_index, origin = relooped(self.edge_index, self.size, loops, self._facts.loopless, known)
        edge_index = lasting(edge_index)
        looped = self._with(edge_index, origin, loopless=edge_index if loops == "none" else None)
        return looped, origin

    def _num_loops(self) -> int | None:
        """How many self loops a batch has, as its graphs tell, which learn it from their first batch.

        None on the CPU, where nobody waits, and if it is no batch.
        """
        if "number of loops" in self._memo:
            return int(self._memo["number of loops"])
        if self.device.type == "cpu" or not self._parts:
            return None
        if any("number of loops" not in part._memo for part in self._parts):
            ends = sent([0, *accumulate(part.num_edges for part in self._parts)], self.device)
            before = F.pad((self.src == self.dst).cumsum(0), (1, 0))
            for part, number in zip(self._parts, before[ends].diff().tolist(), strict=True):
                part._memo["number of loops"] = number
        numbers: list[int] = [part._memo["number of loops"] for part in self._parts]
        return sum(numbers)

    def edge_subgraph(self, edges: Tensor) -> Graph:
        """The same nodes with only these edges.

        Args:
            edges: bool mask `[num_edges]`, or integer positions `[num_kept]` (which also set the order).
        """
        edges = checked_positions("edges", edges, self.num_edges, self.device)
        return self._with(self.edge_index[:, edges], edges)

    def subgraph(self, nodes: Tensor | tuple[Tensor, Tensor]) -> tuple[Graph, Tensor]:
        """The graph among some nodes, renumbered in the order given, and which edges it kept.

        Args:
            nodes: bool mask or integer positions of the nodes to keep, each once; a pair of them when
                bipartite. In a batch, whose graphs stay apart, the positions keep the order of the graphs.

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
        kept = [
            checked_positions("nodes", n, size, self.device) for n, size in zip(pair, self.size, strict=True)
        ]
        edge_index, edge_ids = induced(self.edge_index, (kept[0], kept[1]), self.size)
        batch = self._facts.batch
        part = self._with(
            edge_index,
            edge_ids,
            size=(kept[0].numel(), kept[1].numel()),
            batch=None if batch is None else batch.keep(kept[0], kept[1]),
            loopless=None,  # its nodes have other numbers, and the padding may be gone
        )
        return part, edge_ids

    def coalesce(self) -> tuple[Graph, Tensor]:
        """Merge repeated edges (same ends, same type) and sort by destination, then source.

        Returns:
            The graph, and `[num_edges]`: which new edge each old edge became. With it edge features follow:
            `mpnn.scatter(edge_attr, merged, graph.num_edges)`.
        """
        first, merged = coalesced(self.edge_index, self.size, self.edge_type, self.num_edge_types)
        return self._with(self.edge_index[:, first], first), merged

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
        self._require_one_node_set("reordered")
        if self._facts.batch is not None:
            raise ValueError("reordered() would mix the graphs of this batch: reorder each, then batch them.")
        if by == "degree":
            order = torch.argsort(self.out_degree, descending=True, stable=True)
        elif by == "neighbours":
            order = breadth_first(self.edge_index, self.num_nodes)
        else:
            raise ValueError(f"by is {by!r}, but must be 'neighbours' or 'degree'.")
        number = torch.empty_like(order)
        number[order] = torch.arange(order.numel(), device=order.device)
        loopless = self._facts.loopless
        return (
            self._with(number[self.edge_index], loopless=None if loopless is None else number[loopless]),
            order,
        )

    def to(self, device: torch.device | str) -> Graph:
        """The same graph with its indices on another device (this very graph when it is there already)."""
        target = torch.device(device)
        if target == self.device or (target.type == self.device.type and target.index is None):
            return self
        away = target.type != "cpu"  # what comes from there must have come before the host reads it
        facts = self._facts
        edge_type, loopless = (
            None if part is None else part.to(target, non_blocking=away)
            for part in (self.edge_type, facts.loopless)
        )
        moved = self._with(
            self.edge_index.to(target, non_blocking=away),
            edge_type=edge_type,
            batch=None if facts.batch is None else facts.batch.to(target),
            loopless=loopless,
        )
        if facts.fleeting and away and self.device.type == "cpu":  # where no GPU is waited for
            moved._memo["number of loops"] = int((self.src == self.dst).sum())
        return moved

    def _with(self, edges: Tensor | None = None, origin: Tensor | None = None, **facts: Any) -> Graph:
        """Another graph, of indices that are known to be valid; all that is not said stays as it is here.

        Args:
            edges: its `edge_index`; None for the same edges.
            origin: `[num_edges']`, which of these edges each is, so that what edges carry follows; None for
                the same in the same order. Those that are new, from `num_edges` on, may carry nothing.
            facts: what is to be different of `Facts`.
        """
        self._check_unwritten()
        return self._made(edges, origin, facts)

    def _made(self, edges: Tensor | None, origin: Tensor | None, facts: dict[str, Any]) -> Graph:
        known = self._facts._replace(edge_type=self.edge_type)
        if origin is not None:
            known = known.of_edges(origin, facts)
        graph = Graph.__new__(Graph)
        graph._edge_index = self.edge_index if edges is None else lasting(edges)
        graph._facts = known._replace(**facts)
        graph._memo = {}
        its_own = (graph._edge_index, graph._facts.edge_type)
        if self._shared:
            graph._shared = tuple(part for part in self._shared if any(part[1] is one for one in its_own))
        return graph

    def _typed_by(self, edge_type: Tensor, num_edge_types: int) -> Graph:
        """The same edges with types, which are checked."""
        edge_type = lasting(cast(Tensor, checked_edge_type(edge_type, self.edge_index)))
        return self._with(
            edge_type=edge_type, num_edge_types=checked_num_edge_types(num_edge_types, edge_type)
        )

    def _bipartite_with(self, edge_index: Tensor, size: Size) -> Graph:
        """A bipartite graph without types, from indices that are known to be valid, for use with this one."""
        return self._with(
            edge_index,
            size=size,
            bipartite=True,
            edge_type=None,
            num_edge_types=1,
            batch=None,
            loopless=None,
        )

    def _require_one_node_set(self, what: str) -> None:
        if self.is_bipartite:
            raise ValueError(f"{what} needs one set of nodes, but this graph is bipartite {self.size}.")

    # Several graphs as one ----------------------------------------------------------------------------

    @staticmethod
    def batch(graphs: Sequence[Graph]) -> Graph:
        """Disjoint union: the nodes and edges of graph k come behind those of graph k - 1.

        All graphs must be of one kind: all bipartite or none, all typed or none, all on one device. A batch
        among them counts as the graphs that it was made of.

        >>> pair = Graph(torch.tensor([[0], [1]]))
        >>> both = Graph.batch([pair, pair])
        >>> both
        Graph(num_nodes=4, num_edges=2, num_graphs=2)
        >>> both.graph_index
        tensor([0, 0, 1, 1])
        """
        if not isinstance(graphs, Iterable):
            raise TypeError(f"graphs must be a sequence of graphs, got {type(graphs).__name__}.")
        graphs = list(graphs)
        if not graphs:
            raise ValueError("graphs is empty: a batch needs at least one graph.")
        for k, graph in enumerate(graphs):
            if not isinstance(graph, Graph):
                raise TypeError(f"graphs[{k}] must be a Graph, got {type(graph).__name__}.")
        for kind in ("is_bipartite", "device"):
            if len({getattr(g, kind) for g in graphs}) > 1:
                raise ValueError(f"graphs differ in {kind}: a batch needs graphs of one kind.")
        types = [g.edge_type for g in graphs if g.edge_type is not None]
        if types and len(types) != len(graphs):
            raise ValueError("some graphs have edge_type and others do not: a batch needs all or none.")
        for g in graphs:
            g._check_unwritten()
        sizes = [g.size for g in graphs]
        together = graphs[0]._with(
            union([g.edge_index for g in graphs], sizes),
            size=(sum(num_src for num_src, _ in sizes), sum(num_dst for _, num_dst in sizes)),
            edge_type=lasting(torch.cat(types)) if types else None,
            num_edge_types=max(g.num_edge_types for g in graphs),
            batch=Batch.of([size for g in graphs for size in g.graph_sizes], graphs[0].device),
            fleeting=True,
            loopless=None,
        )
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
        return self._with(batch=Batch.around(self.edge_index, sizes))

    @property
    def graph_sizes(self) -> list[Size]:
        """`(num_src, num_dst)` of each graph of the batch."""
        batch = self._facts.batch
        return [self.size] if batch is None else batch.sizes

    def unbatch(self) -> list[Graph]:
        """The graphs that `batch` put together, each with its own edges in their order in this graph."""
        batch = self._facts.batch
        if batch is None:
            return [self]
        self._check_unwritten()  # once, not for each of them
        starts, edges_of_graphs = torch.stack(batch, dim=1), batch.edges_of_graphs(self.dst)
        facts = {"batch": None, "loopless": None}
        return [
            self._made(self.edge_index[:, ids] - start[:, None], ids, {"size": size, **facts})
            for start, size, ids in zip(starts, batch.sizes, edges_of_graphs, strict=False)
        ]

    @property
    def num_graphs(self) -> int:
        """How many graphs `batch` put together; 1 for a single graph."""
        batch = self._facts.batch
        return 1 if batch is None else batch.dst_ptr.numel() - 1

    @property
    def node_ptr(self) -> Tensor:
        """`[num_graphs + 1]` int64: the nodes of graph k are `node_ptr[k] .. node_ptr[k + 1]`.

        For a bipartite graph these are the destination nodes.
        """
        if self._facts.batch is not None:
            return self._facts.batch.dst_ptr
        return self.memo("node_ptr", lambda: torch.tensor([0, self.num_dst], device=self.device))

    @property
    def graph_index(self) -> Tensor:
        """`[num_nodes]` int64: which graph of the batch each (destination) node belongs to."""
        return self.memo(
            "graph_index",
            lambda: torch.repeat_interleave(self.node_ptr.diff(), output_size=self.num_dst),
        )

    # Other people's graphs ----------------------------------------------------------------------------

    @staticmethod
    def from_networkx(graph: networkx.Graph) -> Graph:
        """See `mpnn.graph.convert.from_networkx`."""
        from mpnn.graph import convert

        return convert.from_networkx(graph)

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

    # Python's own protocols ---------------------------------------------------------------------------

    def __repr__(self) -> str:
        nodes = f"num_nodes={self.size}" if self._facts.bipartite else f"num_nodes={self._facts.size[0]}"
        parts = [nodes, f"num_edges={self.num_edges}"]
        if self.edge_type is not None:
            parts.append(f"num_edge_types={self.num_edge_types}")
        if self._facts.batch is not None:
            parts.append(f"num_graphs={self.num_graphs}")
        if self._edge_index is not None and self.device.type != "cpu":
            parts.append(f"device={self.device}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        # Derived, often larger than the graph, cheap to derive again.
        self._check_unwritten()
        return self.__dict__ | {"_memo": {}, "_parts": (), "_shared": ()}

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__getstate__(), _shared=self._shared)
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        # It may be of a file that is damaged or of somebody else, and kernels trust a graph's indices.
        self.__dict__.update(state)
        check_restored(self._edge_index, self._facts)


# `torch.load` takes a graph from a file as it takes a tensor, nothing is run: `__setstate__` checks it.
torch.serialization.add_safe_globals([Graph, Facts, Batch])
