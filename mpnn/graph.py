"""A graph is who sends to whom, and nothing else: features stay plain tensors outside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from mpnn.csr import CSR, compress

if TYPE_CHECKING:
    import networkx
    import scipy.sparse
    from torch_geometric.data import Data, HeteroData

T = TypeVar("T")
Size = tuple[int, int]

INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class Graph:
    """An immutable directed graph; edge e goes from node `edge_index[0, e]` to node `edge_index[1, e]`.

    Args:
        edge_index: integer tensor `[2, num_edges]`; row 0 is the source j, row 1 the destination i. It is
            not copied: do not write into it afterwards.
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

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int | Size | None = None,
        edge_type: Tensor | None = None,
        *,
        num_edge_types: int | None = None,
    ) -> None:
        edge_index = _checked_edge_index(edge_index)
        size = _checked_size(num_nodes, edge_index)
        self._edge_index: Tensor | None = edge_index
        self._size = size
        self._bipartite = isinstance(num_nodes, tuple)
        self._edge_type = _checked_edge_type(edge_type, edge_index)
        self._num_edge_types = _checked_num_edge_types(num_edge_types, self._edge_type)
        self._memo: dict[Hashable, Any] = {}
        self._batch: _Batch | None = None

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
        return self._edge_type

    @property
    def num_edge_types(self) -> int:
        """How many relations there are; 1 for a graph without edge types."""
        return self._num_edge_types

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
        return self._size

    @property
    def num_src(self) -> int:
        """How many nodes can send."""
        return self._size[0]

    @property
    def num_dst(self) -> int:
        """How many nodes can receive."""
        return self._size[1]

    @property
    def num_nodes(self) -> int:
        """How many nodes there are; a bipartite graph has two such numbers, see `size`."""
        if self._bipartite:
            raise ValueError(
                f"num_nodes of a bipartite graph is two numbers: use num_src ({self.num_src}) or "
                f"num_dst ({self.num_dst})."
            )
        return self._size[0]

    @property
    def num_edges(self) -> int:
        """How many edges there are."""
        return self.edge_index.size(1)

    @property
    def is_bipartite(self) -> bool:
        """Whether sources and destinations are two separate sets of nodes."""
        return self._bipartite

    @property
    def device(self) -> torch.device:
        """Where the indices live."""
        return self.edge_index.device

    # Derived once, kept with the graph ----------------------------------------------------------------

    def memo(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once per graph and key.

        For whatever follows from the topology alone. The graph never changes, so nothing invalidates it;
        `to`, `reverse` and the like return a new graph with a memo of its own.
        """
        try:
            return cast(T, self._memo[key])
        except KeyError:
            return cast(T, self._memo.setdefault(key, compute()))

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
        return self.memo("in_degree", lambda: torch.bincount(self.dst, minlength=self.num_dst))

    @property
    def out_degree(self) -> Tensor:
        """`[num_src]` int64: how many edges leave each node."""
        return self.memo("out_degree", lambda: torch.bincount(self.src, minlength=self.num_src))

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
        reverse = self._derive(self.edge_index.flip(0), size=(self.num_dst, self.num_src))
        reverse._batch = None if self._batch is None else self._batch.reverse()
        for mine, its in (("by_dst", "by_src"), ("by_src", "by_dst")):
            if mine in self._memo:
                reverse._memo[its] = self._memo[mine]
        return reverse

    def with_self_loops(self) -> Graph:
        """One more edge i -> i for every node, behind the existing edges, in node order.

        Typed graphs cannot say which type a loop has, and raise ValueError.
        """
        self._require_one_node_set("with_self_loops")
        return self.memo("with_self_loops", lambda: self._append_loops(self.edge_index))

    def with_remaining_self_loops(self) -> Graph:
        """Exactly one edge i -> i for every node: existing loops are dropped, then one is appended each."""
        self._require_one_node_set("with_remaining_self_loops")
        return self.memo(
            "with_remaining_self_loops",
            lambda: self._append_loops(self.edge_index[:, ~self.self_loop_mask]),
        )

    def _append_loops(self, edge_index: Tensor) -> Graph:
        if self.edge_type is not None:
            raise ValueError(
                "adding self loops to a graph with edge_type: no type is known for the new edges."
            )
        loops = torch.arange(self.num_nodes, device=self.device)
        looped = self._derive(torch.cat([edge_index, loops.expand(2, -1)], dim=1))
        if self._batch is not None:
            # Loops stand behind all edges, so the edges of one graph are no longer one contiguous range.
            looped._batch = self._batch.without_edge_ranges()
        return looped

    def without_self_loops(self) -> Graph:
        """Every edge but those from a node to itself."""
        return self.memo("without_self_loops", lambda: self.edge_subgraph(~self.self_loop_mask))

    def edge_subgraph(self, edges: Tensor) -> Graph:
        """The same nodes with only these edges.

        Args:
            edges: bool mask `[num_edges]`, or integer positions `[num_kept]` (which also set the order).
        """
        edges = _as_positions("edges", edges, self.num_edges)
        edge_type = None if self.edge_type is None else self.edge_type[edges]
        kept = self._derive(self.edge_index[:, edges], edge_type=edge_type)
        if self._batch is not None:
            kept._batch = self._batch.without_edge_ranges()
        return kept

    def subgraph(self, nodes: Tensor | tuple[Tensor, Tensor]) -> tuple[Graph, Tensor]:
        """The graph among some nodes, renumbered in the order given, and which edges it kept.

        Args:
            nodes: bool mask or integer positions of the nodes to keep; a pair of them when bipartite.

        Returns:
            The graph, and the positions `[num_kept_edges]` of its edges, with which to index edge features.

        >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
        >>> part, edges = graph.subgraph(torch.tensor([1, 2]))
        >>> part.edge_index.tolist(), edges.tolist()
        ([[0], [1]], [1])
        """
        if self._bipartite != isinstance(nodes, tuple):
            wanted = "a pair (sources, destinations)" if self._bipartite else "one tensor"
            raise TypeError(f"nodes must be {wanted} for this graph.")
        pair = nodes if isinstance(nodes, tuple) else (nodes, nodes)
        kept_nodes = [_as_positions("nodes", n, size) for n, size in zip(pair, self._size, strict=True)]
        rows = []
        for row, kept, size in zip(self.edge_index, kept_nodes, self._size, strict=True):
            new_number = torch.full((size,), -1, dtype=torch.int64, device=self.device)
            new_number[kept] = torch.arange(kept.numel(), device=self.device)
            rows.append(new_number[row])
        edges = ((rows[0] >= 0) & (rows[1] >= 0)).nonzero().squeeze(1)
        edge_type = None if self.edge_type is None else self.edge_type[edges]
        edge_index = torch.stack([rows[0][edges], rows[1][edges]])
        return self._derive(edge_index, (kept_nodes[0].numel(), kept_nodes[1].numel()), edge_type), edges

    def coalesce(self) -> tuple[Graph, Tensor]:
        """Merge repeated edges (same ends, same type) and sort by destination, then source.

        Returns:
            The graph, and `[num_edges]`: which new edge each old edge became. With it edge features follow:
            `mpnn.scatter(edge_attr, merged, graph.num_edges)`.
        """
        keys = [self.dst, self.src] + ([] if self.edge_type is None else [self.edge_type])
        unique, merged = torch.unique(torch.stack(keys), dim=1, return_inverse=True)
        edge_type = None if self.edge_type is None else unique[2]
        graph = self._derive(unique[:2].flip(0), edge_type=edge_type)
        if self._batch is not None:
            graph._batch = self._batch.without_edge_ranges()
        return graph, merged

    def to(self, device: torch.device | str) -> Graph:
        """The same graph with its indices on another device (this very graph when it is there already)."""
        target = torch.device(device)
        if target == self.device or (target.type == self.device.type and target.index is None):
            return self
        edge_type = None if self.edge_type is None else self.edge_type.to(target)
        moved = self._derive(self.edge_index.to(target), edge_type=edge_type)
        moved._batch = None if self._batch is None else self._batch.to(target)
        return moved

    def _derive(self, edge_index: Tensor, size: Size | None = None, edge_type: Tensor | None = None) -> Graph:
        """A graph from indices that are known to be valid, of the same kind as this one."""
        graph = Graph.__new__(Graph)
        graph._edge_index = edge_index
        graph._size = self._size if size is None else size
        graph._bipartite = self._bipartite
        graph._edge_type = self.edge_type if edge_type is None else edge_type
        graph._num_edge_types = self._num_edge_types
        graph._memo = {}
        graph._batch = None
        return graph

    def _require_one_node_set(self, what: str) -> None:
        if self._bipartite:
            raise ValueError(f"{what} needs one set of nodes, but this graph is bipartite {self._size}.")

    # Several graphs as one ----------------------------------------------------------------------------

    @staticmethod
    def batch(graphs: Sequence[Graph]) -> Graph:
        """Disjoint union: the nodes and edges of graph k come behind those of graph k - 1.

        All graphs must be of one kind: all bipartite or none, all typed or none, all on one device.

        >>> pair = Graph(torch.tensor([[0], [1]]))
        >>> both = Graph.batch([pair, pair])
        >>> both
        Graph(num_nodes=4, num_edges=2, num_graphs=2)
        >>> both.graph_index
        tensor([0, 0, 1, 1])
        """
        graphs = list(graphs)
        if not graphs:
            raise ValueError("graphs is empty: a batch needs at least one graph.")
        for kind in ("is_bipartite", "device"):
            if len({getattr(g, kind) for g in graphs}) > 1:
                raise ValueError(f"graphs differ in {kind}: a batch needs graphs of one kind.")
        types = [g.edge_type for g in graphs if g.edge_type is not None]
        if types and len(types) != len(graphs):
            raise ValueError("some graphs have edge_type and others do not: a batch needs all or none.")
        device = graphs[0].device
        src_ptr, dst_ptr, edge_ptr = (
            torch.tensor([0, *sizes]).cumsum(0)
            for sizes in zip(*((g.num_src, g.num_dst, g.num_edges) for g in graphs), strict=True)
        )
        offsets = torch.stack([src_ptr[:-1], dst_ptr[:-1]]).to(device)
        batched = graphs[0]._derive(
            torch.cat([g.edge_index + offsets[:, k : k + 1] for k, g in enumerate(graphs)], dim=1),
            (int(src_ptr[-1]), int(dst_ptr[-1])),
            torch.cat(types) if types else None,
        )
        batched._num_edge_types = max(g.num_edge_types for g in graphs)
        batched._batch = _Batch(src_ptr.to(device), dst_ptr.to(device), edge_ptr.to(device))
        return batched

    def unbatch(self) -> list[Graph]:
        """The graphs that `batch` put together, each with its own edges in their order in this graph."""
        if self._batch is None:
            return [self]
        src_ptr, dst_ptr = self._batch.src_ptr.tolist(), self._batch.dst_ptr.tolist()
        if self._batch.edge_ptr is not None:
            edges = list(
                torch.split(torch.arange(self.num_edges, device=self.device), self._batch.edge_counts())
            )
        else:
            owner = torch.bucketize(self.dst, self._batch.dst_ptr[1:], right=True)
            edges = [(owner == k).nonzero().squeeze(1) for k in range(self.num_graphs)]
        parts = []
        for k, kept in enumerate(edges):
            start = torch.tensor([[src_ptr[k]], [dst_ptr[k]]], device=self.device)
            size = (src_ptr[k + 1] - src_ptr[k], dst_ptr[k + 1] - dst_ptr[k])
            edge_type = None if self.edge_type is None else self.edge_type[kept]
            parts.append(self._derive(self.edge_index[:, kept] - start, size, edge_type))
        return parts

    @property
    def num_graphs(self) -> int:
        """How many graphs `batch` put together; 1 for a single graph."""
        return 1 if self._batch is None else self._batch.dst_ptr.numel() - 1

    @property
    def node_ptr(self) -> Tensor:
        """`[num_graphs + 1]` int64: the nodes of graph k are `node_ptr[k] .. node_ptr[k + 1]`.

        For a bipartite graph these are the destination nodes.
        """
        if self._batch is not None:
            return self._batch.dst_ptr
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
        """See `mpnn.convert.from_networkx`."""
        from mpnn import convert

        return convert.from_networkx(graph)

    def to_networkx(self) -> networkx.DiGraph | networkx.MultiDiGraph:
        """See `mpnn.convert.to_networkx`."""
        from mpnn import convert

        return convert.to_networkx(self)

    @staticmethod
    def from_scipy(matrix: scipy.sparse.sparray) -> tuple[Graph, Tensor]:
        """See `mpnn.convert.from_scipy`."""
        from mpnn import convert

        return convert.from_scipy(matrix)

    def to_scipy(self, values: Tensor | None = None) -> scipy.sparse.coo_array:
        """See `mpnn.convert.to_scipy`."""
        from mpnn import convert

        return convert.to_scipy(self, values)

    @staticmethod
    def from_pyg(data: Data | HeteroData) -> Graph:
        """See `mpnn.convert.from_pyg`."""
        from mpnn import convert

        return convert.from_pyg(data)

    def to_pyg(self) -> Data | HeteroData:
        """See `mpnn.convert.to_pyg`."""
        from mpnn import convert

        return convert.to_pyg(self)

    # Python's own protocols ---------------------------------------------------------------------------

    def __repr__(self) -> str:
        nodes = f"num_nodes={self._size}" if self._bipartite else f"num_nodes={self._size[0]}"
        parts = [nodes, f"num_edges={self.num_edges}"]
        if self.edge_type is not None:
            parts.append(f"num_edge_types={self._num_edge_types}")
        if self._batch is not None:
            parts.append(f"num_graphs={self.num_graphs}")
        if self._edge_index is not None and self.device.type != "cpu":
            parts.append(f"device={self.device}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_memo": {}}  # derived, often larger than the graph, cheap to derive again


class _Batch:
    """Where each graph of a batch begins and ends. `edge_ptr` is None once edges are out of that order."""

    def __init__(self, src_ptr: Tensor, dst_ptr: Tensor, edge_ptr: Tensor | None) -> None:
        self.src_ptr, self.dst_ptr, self.edge_ptr = src_ptr, dst_ptr, edge_ptr

    def edge_counts(self) -> list[int]:
        assert self.edge_ptr is not None
        return cast(list[int], self.edge_ptr.diff().tolist())

    def reverse(self) -> _Batch:
        return _Batch(self.dst_ptr, self.src_ptr, self.edge_ptr)

    def without_edge_ranges(self) -> _Batch:
        return _Batch(self.src_ptr, self.dst_ptr, None)

    def to(self, device: torch.device) -> _Batch:
        edge_ptr = None if self.edge_ptr is None else self.edge_ptr.to(device)
        return _Batch(self.src_ptr.to(device), self.dst_ptr.to(device), edge_ptr)


# Checks: one sentence each -----------------------------------------------------------------------------


def _checked_edge_index(edge_index: Tensor) -> Tensor:
    if not isinstance(edge_index, Tensor):
        raise TypeError(f"edge_index must be a tensor [2, num_edges], got {type(edge_index).__name__}.")
    if edge_index.layout != torch.strided:
        raise TypeError(
            f"edge_index must be a dense tensor [2, num_edges], got a tensor of layout {edge_index.layout}: "
            "convert a sparse matrix with Graph.from_scipy."
        )
    if edge_index.dtype not in INTEGER_TYPES:
        raise TypeError(f"edge_index must hold integers (int64), got {edge_index.dtype}.")
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"edge_index must have shape [2, num_edges], got {list(edge_index.shape)}.")
    return edge_index.to(torch.int64)


def _checked_size(num_nodes: int | Size | None, edge_index: Tensor) -> Size:
    if num_nodes is not None:
        size = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
        if len(size) != 2 or not all(isinstance(n, int) and n >= 0 for n in size):
            raise ValueError(f"num_nodes must be one count or a pair (num_src, num_dst), got {num_nodes!r}.")
    if edge_index.numel() == 0:
        return (0, 0) if num_nodes is None else size
    # One reduction and one transfer, also on a GPU, where an unchecked index would end in an assert.
    lowest, highest = torch.aminmax(edge_index, dim=1)
    bounds = torch.stack([lowest, highest]).tolist()
    if num_nodes is None:
        size = (max(bounds[1]) + 1,) * 2
    for row, kind in ((0, "source"), (1, "destination")):
        if bounds[0][row] < 0 or bounds[1][row] >= size[row]:
            bad = ((edge_index[row] < 0) | (edge_index[row] >= size[row])).nonzero()[0].item()
            valid = f"(0..{size[row] - 1})" if size[row] else "(none)"
            raise IndexError(
                f"edge_index[{row}, {bad}] is {edge_index[row, int(bad)].item()}, but the graph has "
                f"{size[row]} {kind} nodes {valid}."
            )
    return size


def _checked_edge_type(edge_type: Tensor | None, edge_index: Tensor) -> Tensor | None:
    if edge_type is None:
        return None
    if not isinstance(edge_type, Tensor) or edge_type.dtype not in INTEGER_TYPES:
        got = edge_type.dtype if isinstance(edge_type, Tensor) else type(edge_type).__name__
        raise TypeError(f"edge_type must be a tensor of integers [num_edges], got {got}.")
    if edge_type.shape != (edge_index.size(1),):
        raise ValueError(
            f"edge_type must have shape [{edge_index.size(1)}], one entry per edge, "
            f"got {list(edge_type.shape)}."
        )
    if edge_type.device != edge_index.device:
        raise ValueError(f"edge_type is on {edge_type.device}, but edge_index is on {edge_index.device}.")
    return edge_type.to(torch.int64)


def _checked_num_edge_types(num_edge_types: int | None, edge_type: Tensor | None) -> int:
    if edge_type is None:
        if num_edge_types is not None:
            raise ValueError(f"num_edge_types is {num_edge_types}, but no edge_type was given.")
        return 1
    if edge_type.numel() == 0:
        return num_edge_types or 0
    lowest, highest = (int(bound) for bound in torch.stack(torch.aminmax(edge_type)).tolist())
    count = highest + 1 if num_edge_types is None else num_edge_types
    if lowest < 0 or highest >= count:
        bad = int(((edge_type < 0) | (edge_type >= count)).nonzero()[0].item())
        raise IndexError(
            f"edge_type[{bad}] is {edge_type[bad].item()}, but there are {count} types (0..{count - 1})."
        )
    return count


def _as_positions(name: str, chosen: Tensor, size: int) -> Tensor:
    if chosen.dim() != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {list(chosen.shape)}.")
    if chosen.dtype == torch.bool:
        if chosen.numel() != size:
            raise ValueError(
                f"{name} is a mask of {chosen.numel()} entries, but there are {size} to choose from."
            )
        return chosen.nonzero().squeeze(1)
    if chosen.dtype not in INTEGER_TYPES:
        raise TypeError(f"{name} must be a bool mask or integer positions, got {chosen.dtype}.")
    if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= size):
        bad = int(((chosen < 0) | (chosen >= size)).nonzero()[0].item())
        raise IndexError(f"{name}[{bad}] is {chosen[bad].item()}, but there are only {size} to choose from.")
    return chosen.to(torch.int64)
