"""Who sends to whom, and what follows from that: rows, degrees, loops, the graphs of a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import Any, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.graph.checks import Size
from mpnn.graph.contents import contents, taken
from mpnn.graph.csr import CSR, compress
from mpnn.graph.facts import Facts, check_restored
from mpnn.graph.lifetime import outliving
from mpnn.native.gate import has_data
from mpnn.native.gpu import sent
from mpnn.native.reach import calls_ours, stands_alone, traced

T = TypeVar("T")


class Incidence:
    """What `Graph` has of its edges; `Graph` adds what makes one graph of another."""

    _parts: Sequence[Incidence] = ()  # what it is a batch of
    _shared: tuple[tuple[str, Tensor, Hashable], ...] = ()  # large tensors of its maker, with what they held

    def __init__(self, edge_index: Tensor | None, facts: Facts) -> None:
        """Args: the edges, None for a subclass that lists them later, and all else that the graph is.

        Every graph is made here, of what is known to be valid.
        """
        self._edge_index = edge_index
        self._facts = facts
        self._memo: dict[Hashable, Any] = {}

    def _taken(self, name: str, index: Tensor) -> Tensor:
        index, held = taken(index)
        if held is not None:
            self._shared = (*self._shared, (name, index, held))
        return index

    def _check_unwritten(self) -> None:
        """Raise RuntimeError if memory that is not the graph's alone was written into."""
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
        return self._edge_index  # type: ignore[return-value]  # None only where `Unlisted` says what there is

    @property
    def edge_type(self) -> Tensor | None:
        """`[num_edges]` int64, the relation of each edge; or None."""
        return self._facts.edges.edge_type

    @property
    def edge_time(self) -> Tensor | None:
        """`[num_edges]` int64 or floating point, when each edge is; or None."""
        return self._facts.edges.edge_time

    @property
    def is_typed(self) -> bool:
        """Whether the edges have types."""
        return self._facts.edges.edge_type is not None

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
        return self._edge_index.device  # type: ignore[union-attr]  # directly: every call asks several times

    @property
    def is_on_cpu(self) -> bool:
        """Whether they live in the host's memory: `device.type == "cpu"`, in an eighth of its time."""
        return self._edge_index.is_cpu  # type: ignore[union-attr]

    def require_one_node_set(self, what: str) -> None:
        """Raise ValueError, which begins with `what`, if sources and destinations are two sets of nodes."""
        if self._facts.bipartite:
            raise ValueError(f"{what} needs one set of nodes, but this graph is bipartite {self.size}.")

    # Derived once, kept with the graph ----------------------------------------------------------------

    def memo(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return `compute()`, computed once per graph and key.

        For what follows from the topology alone. The graph never changes, so nothing invalidates it;
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
        if calls_ours():
            degree: Tensor = torch.ops.mpnn.degree(self.edge_index, *self.size, leaving)
            return degree
        if stands_alone():
            index, count = (self.src, self.num_src) if leaving else (self.dst, self.num_dst)
            return index.new_zeros(count).index_add(0, index, torch.ones_like(index))
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
        self.require_one_node_set("self_loop_mask")
        return self.memo("self_loop_mask", lambda: self.src == self.dst)

    def _num_loops(self) -> int | None:
        """How many self loops a batch has, by its graphs, which learn their numbers from their first batch.

        None on the CPU, where the host waits for no device, and if it is no batch.
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

    # The graphs of a batch ----------------------------------------------------------------------------

    @property
    def graph_sizes(self) -> list[Size]:
        """`(num_src, num_dst)` of each graph of the batch."""
        return self._facts.sizes

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
        return self.memo("node_ptr", lambda: torch.arange(2, device=self.device) * self.num_dst)

    @property
    def graph_index(self) -> Tensor:
        """`[num_nodes]` int64: which graph of the batch each (destination) node belongs to."""
        return self.memo("graph_index", self._owners)

    def _owners(self) -> Tensor:
        if not stands_alone():
            return torch.repeat_interleave(self.node_ptr.diff(), output_size=self.num_dst)
        # ONNX has no such operation: count graphs that have begun; one without nodes may begin at the end.
        begins, places = self.node_ptr[:-1], self.node_ptr.new_zeros(self.num_dst + 1)
        return places.index_add(0, begins, torch.ones_like(begins)).cumsum(0)[:-1] - 1

    # Python's own protocols ---------------------------------------------------------------------------

    def __repr__(self) -> str:
        nodes = f"num_nodes={self.size}" if self._facts.bipartite else f"num_nodes={self._facts.size[0]}"
        parts = [nodes, f"num_edges={self.num_edges}"]
        if self.edge_type is not None:
            parts.append(f"num_edge_types={self.num_edge_types}")
        if self.edge_time is not None:
            parts.append(f"edge_time={self.edge_time.dtype}")
        if self._facts.batch is not None:
            parts.append(f"num_graphs={self.num_graphs}")
        if self.device.type != "cpu":
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
        # A file may be damaged or forged, and kernels trust a graph's indices.
        self.__dict__.update(state)
        check_restored(self._edge_index, self._facts)
