"""Which nodes are updated when: a schedule is a rank per node and a number of sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.topology.levels import topological_levels

Rank = Tensor | Callable[[Graph], Tensor]
Until = float | Callable[[Any, Any], bool]
MOST_SWEEPS = 1000  # where the schedule ends when nothing changes any more, and no number is given


class Rest(TypedDict, total=False):
    """What a schedule has besides its ranks."""

    sweeps: int | None
    until: Until | None
    clamped: Tensor | None


@dataclass(frozen=True, eq=False)
class Schedule:
    """When each node of a graph is updated, and how often.

    In a sweep every node is updated once. Along the edge j -> i it reads the new state of j if
    `rank[j] < rank[i]`, else the state that j had before the sweep.

    Args:
        rank: `[num_nodes]` integers or real numbers, or a function that computes them from a graph.
        sweeps: how many; with `until` the largest number. By default 1, with `until` 1000.
        until: the sweeps end as soon as no entry of the state changes by more than this number; or a function
            of the states before and after a sweep, which says whether to end.
        clamped: the nodes that keep their state, a bool mask `[num_nodes]` or integer positions.
        name: by which lowering rules know the schedule.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    >>> Schedule.alternating(torch.tensor([0, 1, 0, 1]), sweeps=5)
    Schedule(alternating, sweeps=5)
    """

    rank: Rank
    sweeps: int | None = None
    until: Until | None = None
    clamped: Tensor | None = None
    name: str = "ranked"

    def __post_init__(self) -> None:
        for name in ("rank", "clamped"):  # copies, so that the schedule stays what it is
            value = getattr(self, name)
            if isinstance(value, Tensor):
                object.__setattr__(self, name, value.detach().clone())
        if not callable(self.rank):
            _check_rank(self.rank)
        if self.sweeps is not None and (isinstance(self.sweeps, bool) or not isinstance(self.sweeps, int)):
            raise TypeError(f"sweeps must be a number of sweeps, got {self.sweeps!r}.")
        if self.sweeps is not None and self.sweeps < 0:
            raise ValueError(f"sweeps is {self.sweeps}, but must be at least 0.")
        if self.until is not None and not callable(self.until):
            _check_change(self.until)

    # The schedules with a name ------------------------------------------------------------------------

    @classmethod
    def parallel(cls, **rest: Unpack[Rest]) -> Schedule:
        """All nodes at once, each from the states before the sweep: Jacobi's iteration."""
        return cls(_nothing_first, name="parallel", **rest)

    @classmethod
    def topological(cls, graph: Graph | None = None, **rest: Unpack[Rest]) -> Schedule:
        """Every node after all its sources, in a directed acyclic graph; one sweep reaches the fixed point.

        Without `graph` the order is that of the graph that the schedule is used on.

        Raises:
            ValueError: the graph has a cycle, which the message shows.
        """
        return cls(_depth if graph is None else _depth(graph), name="topological", **rest)

    @classmethod
    def alternating(cls, colours: Tensor, **rest: Unpack[Rest]) -> Schedule:
        """The nodes of colour 0, then those of colour 1, and so on.

        Args:
            colours: `[num_nodes]`. Neighbours of one colour read each other's state before the sweep.
            **rest: `sweeps`, `until`, `clamped`.
        """
        return cls(colours, name="alternating", **rest)

    @classmethod
    def asynchronous(cls, permutation: Tensor, **rest: Unpack[Rest]) -> Schedule:
        """One node after the other: Gauss and Seidel's iteration.

        Args:
            permutation: `[num_nodes]`, the nodes in the order in which they are updated.
            **rest: `sweeps`, `until`, `clamped`.

        Raises:
            ValueError: a node is missing or stands there twice.
        """
        _check_rank(permutation, "permutation")
        rank = places_in(permutation)
        if rank is None:
            raise ValueError(
                f"permutation must name each of the {permutation.numel()} nodes 0.."
                f"{permutation.numel() - 1} once."
            )
        return cls(rank, name="asynchronous", **rest)

    # What follows from it -----------------------------------------------------------------------------

    def reverse(self) -> Schedule:
        """The same nodes from the last to the first, for `graph.reverse()`: the order of backpropagation.

        >>> Schedule.alternating(torch.tensor([0, 1, 2])).reverse().rank
        tensor([ 0, -1, -2])
        """
        return self._reverse

    @cached_property
    def _reverse(self) -> Schedule:
        if self.rank is _nothing_first or self.rank is _depth:  # the depth on the reversed graph does as well
            return self
        forward = self.rank
        if callable(forward):
            rank: Rank = lambda graph: _negated(forward(graph.reverse()))  # noqa: E731
        else:
            rank = _negated(forward)
        return replace(self, rank=rank, name=f"reversed {self.name}")

    @property
    def most_sweeps(self) -> int:
        """After how many sweeps the schedule ends at the latest."""
        if self.sweeps is not None:
            return self.sweeps
        return 1 if self.until is None else MOST_SWEEPS

    def ending(self, sweeps: int | None, until: Until | None) -> Schedule:
        """The same ranks with another end, as far as one is given."""
        if sweeps is None and until is None:
            return self
        sweeps, until = self.sweeps if sweeps is None else sweeps, self.until if until is None else until
        return replace(self, sweeps=sweeps, until=until)

    def rank_of(self, graph: Graph) -> Tensor:
        """`[num_nodes]`, the rank of each node of a graph.

        Raises:
            ValueError: the graph is bipartite, or the ranks are those of another number of nodes.
        """
        if graph.is_bipartite:
            raise ValueError(f"the graph is bipartite {graph.size}, but a schedule ranks one set of nodes.")
        if not callable(self.rank):
            rank = self.rank
        else:
            rank = self.rank(graph)
            _check_rank(rank)
        if rank.numel() != graph.num_nodes:
            raise ValueError(f"rank has {rank.numel()} entries, but the graph has {graph.num_nodes} nodes.")
        return rank

    def __repr__(self) -> str:
        said = [self.name]
        said += [f"{k}={v}" for k, v in (("sweeps", self.sweeps), ("until", self.until)) if v is not None]
        if self.clamped is not None:
            said.append("clamped")
        return f"Schedule({', '.join(said)})"


def _check_rank(rank: Any, name: str = "rank") -> None:
    if not isinstance(rank, Tensor):
        raise TypeError(f"{name} must be a tensor [num_nodes], got {type(rank).__name__}.")
    if rank.dim() != 1:
        raise ValueError(f"{name} must be a tensor [num_nodes], got shape {list(rank.shape)}.")
    if rank.is_complex() or (rank.is_floating_point() and bool(rank.isnan().any())):
        raise ValueError(f"{name} has entries that cannot be ordered, complex numbers or NaN.")


def _check_change(until: Any) -> None:
    if not isinstance(until, int | float):
        raise TypeError(f"until must be a number or a function of two states, got {until!r}.")
    if not until >= 0:
        raise ValueError(f"until is {until}, but the largest change must be at least 0.")


def places_in(permutation: Tensor) -> Tensor | None:
    """Where each of the numbers 0, 1, ... stands in a permutation of them, int64; None if it is none.

    >>> places_in(torch.tensor([2, 0, 1])), places_in(torch.tensor([1, 0, 1]))
    (tensor([1, 2, 0]), None)
    """
    whole = permutation.long()
    number = whole.numel()
    if not number:
        return whole
    lowest, highest = torch.stack(torch.aminmax(whole)).tolist()
    if (
        lowest != 0
        or highest != number - 1
        or (permutation.is_floating_point() and bool((whole != permutation).any()))
    ):
        return None
    places = whole.new_full((number,), -1).scatter_(0, whole, torch.arange(number, device=whole.device))
    return None if bool((places < 0).any()) else places


def _nothing_first(graph: Graph) -> Tensor:
    return torch.zeros(graph.num_nodes, dtype=torch.int64, device=graph.device)


def _negated(rank: Tensor) -> Tensor:
    """The places of ranks in their order, as negative numbers; some ranks have no negative."""
    place: Tensor = torch.unique(rank, return_inverse=True)[1]
    return -place


def _depth(graph: Graph) -> Tensor:
    return topological_levels(graph).level


PARALLEL = Schedule.parallel()
TOPOLOGICAL = Schedule.topological()
