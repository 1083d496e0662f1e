"""What all regular topologies share: a few numbers that define the edges, and no edges."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor

from mpnn.graph.batch import Batch
from mpnn.graph.checks import checked_size
from mpnn.graph.csr import CSR, smallest_type
from mpnn.graph.distinct import INT64_MAX
from mpnn.graph.facts import EdgeFacts, Facts, check_restored
from mpnn.graph.graph import Graph, Size
from mpnn.graph.unlisted import Unlisted

# What a reversed graph may take over from the memo of the graph it was made of, and under which name.
REVERSED_NAMES = {
    "by_dst": "by_src",
    "by_src": "by_dst",
    "in_degree": "out_degree",
    "out_degree": "in_degree",
    "edge_type": "edge_type",
}


class Implicit(Unlisted):
    """A `Graph` whose edges follow from its description, and are enumerated only when they are asked for.

    The description (`kernel_size`, `lengths`, ...) stands in public read-only attributes; a backend that
    knows a kernel for this topology reads them and never sees an edge. `reverse()` keeps the description,
    which is always that of the forward graph, and turns `is_reversed` round.

    A subclass says how to enumerate (`_forward_edges`, `_forward_types`) and how to count without enumerating
    (`_forward_in_degree`, `_forward_out_degree`), all for the forward direction.
    """

    is_reversed: bool  # whether every edge runs against the description
    _is_restored = False  # whether it was unpickled

    # Whether `_forward_edges` come sorted by destination: then the CSR by destination needs no sorting.
    _by_destination: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        num_edges: int,
        /,
        *,
        device: torch.device | str | None,
        bipartite: bool = False,
        sizes: Sequence[Size] | None = None,
        num_edge_types: int | None = None,
        **description: Any,
    ) -> None:
        """Args: `sizes` are those of the graphs of a batch, the rest is about the whole."""
        if max(size) > INT64_MAX:
            raise ValueError(
                f"{type(self).__name__} has {max(size)} nodes, but a graph has at most 2**63 - 1."
            )
        device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0", as a tensor has it
        facts = Facts(
            size,
            bipartite,
            num_edge_types=1 if num_edge_types is None else num_edge_types,
            batch=None if sizes is None or len(sizes) == 1 else Batch.of(sizes, device),
        )
        super().__init__(facts, num_edges, device)
        self.__dict__.update(description, is_reversed=False)
        self._description = tuple(description)
        self._is_typed = num_edge_types is not None

    # What a subclass says -----------------------------------------------------------------------------

    @abstractmethod
    def _forward_edges(self) -> Tensor:
        """`[2, num_edges]`."""

    def _forward_types(self) -> Tensor | None:
        """`[num_edges]`, where edges have types."""
        return None

    @abstractmethod
    def _forward_in_degree(self) -> Tensor:
        """`[num_dst]`: how many edges enter each node."""

    @abstractmethod
    def _forward_out_degree(self) -> Tensor:
        """`[num_src]`: how many edges leave each node."""

    def node_level(self) -> Tensor | None:
        """`[num_nodes]`: edges on the longest path that ends in each node, where a formula knows it."""
        return None

    # What that makes of a Graph -----------------------------------------------------------------------

    @property
    def description(self) -> dict[str, Any]:
        """The attributes that define this topology, by name."""
        return {name: getattr(self, name) for name in self._description}

    @property
    def edge_type(self) -> Tensor | None:
        """`[num_edges]` int64, or None."""
        return self.memo("edge_type", self._forward_types)

    @property
    def is_typed(self) -> bool:
        """Whether the edges have types."""
        return self._is_typed

    @property
    def in_degree(self) -> Tensor:
        """`[num_dst]` int64: how many edges enter each node."""
        count = self._forward_out_degree if self.is_reversed else self._forward_in_degree
        return self.memo("in_degree", count)

    @property
    def out_degree(self) -> Tensor:
        """`[num_src]` int64: how many edges leave each node."""
        count = self._forward_in_degree if self.is_reversed else self._forward_out_degree
        return self.memo("out_degree", count)

    @property
    def by_dst(self) -> CSR:
        """The edges that enter each node: row i lists the sources of i."""
        if self.is_reversed or not self._by_destination:
            return super().by_dst
        return self.memo("by_dst", lambda: _sorted_already(self.in_degree, self.src, self.num_src))

    @property
    def by_src(self) -> CSR:
        """The edges that leave each node: row j lists the destinations of j."""
        if not (self.is_reversed and self._by_destination):
            return super().by_src
        return self.memo("by_src", lambda: _sorted_already(self.out_degree, self.dst, self.num_dst))

    def _enumerate_edges(self) -> Tensor:
        with torch.inference_mode(False):  # the edges outlive the call, and a later one may need gradients
            edges = self._forward_edges()
            edges = edges.flip(0) if self.is_reversed else edges
            if self._is_restored and not edges.is_meta:
                self._check_restored(edges)
            return edges

    def _check_restored(self, edges: Tensor) -> None:
        """A file may say what is not so, and kernels trust what formulas give."""
        checked_size(self.size, edges)
        ends = zip(edges, (self.out_degree, self.in_degree), self.size, strict=True)
        if edges.size(1) != self.num_edges or not all(
            torch.equal(torch.bincount(end, minlength=count), degree) for end, degree, count in ends
        ):
            raise ValueError(f"a saved {type(self).__name__} says what its edges are not: it is damaged.")

    def reverse(self) -> Self:
        """The same topology with every edge turned round; edge e stays edge e."""
        return self.memo("reverse", self._make_reverse)

    def _make_reverse(self) -> Self:
        reverse = self._changed(
            is_reversed=not self.is_reversed,
            _facts=self._facts.reverse(),
            _edge_index=None if self._edge_index is None else self._edge_index.flip(0),
        )
        known = self._memo.items()
        reverse._memo = {REVERSED_NAMES[key]: value for key, value in known if key in REVERSED_NAMES}
        return reverse

    def to(self, device: torch.device | str) -> Self:
        """The same topology on another device; nothing is enumerated for it."""
        target = torch.empty(0, device=device).device
        if target == self.device:
            return self
        placed = {k: v.to(target) for k, v in self.description.items() if isinstance(v, Tensor | Graph)}
        return self._changed(
            **placed,
            _device=target,
            _facts=self._facts.to(target),
            _edge_index=None if self._edge_index is None else self._edge_index.to(target),
        )

    def _known(self) -> Facts:
        return self._facts._replace(edges=EdgeFacts(edge_type=self.edge_type))

    def _changed(self, **attributes: Any) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | attributes | {"_memo": {}})
        return other

    # Python's own protocols ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            self._refuse_to_change(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse_to_change(name)

    def _refuse_to_change(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only: make another graph instead.")

    def _shown(self) -> dict[str, Any]:
        """What repr() tells of the description: what `num_nodes` and `num_graphs` do not say."""
        return {k: v for k, v in self.description.items() if k != "lengths" and not isinstance(v, Tensor)}

    def __repr__(self) -> str:
        shown = self._shown()
        if self.is_reversed:
            shown["is_reversed"] = True
        shown["num_nodes"] = self.size if self.is_bipartite else self.num_nodes
        shown["num_edges"] = self.num_edges
        if self._is_typed:
            shown["num_edge_types"] = self.num_edge_types
        if self.num_graphs != 1:
            shown["num_graphs"] = self.num_graphs
        if self.device.type != "cpu":
            shown["device"] = str(self.device)
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})"

    def __getstate__(self) -> dict[str, Any]:
        # The edges are derived too: a pickled topology is as small as its description.
        return self.__dict__ | {"_memo": {}, "_edge_index": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _is_restored=True)
        check_restored(None, self._facts)


def _offsets(lengths: Tensor) -> Tensor:
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))


def _sorted_already(degree: Tensor, ends: Tensor, num_ends: int) -> CSR:
    num_edges = ends.numel()
    index_type = smallest_type(num_edges, degree.numel(), num_ends)
    edge_ids = torch.arange(num_edges, dtype=index_type, device=ends.device)
    return CSR(_offsets(degree).to(index_type), ends.to(index_type), edge_ids)
