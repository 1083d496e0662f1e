"""One hop of a sampled neighbourhood, and the numbers of the nodes that hops lead to.

What is compiled and what PyTorch computes without a compiler draw the same entries, unless there are
weights, where the last digit of a logarithm may decide.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.native import neighbors as compiled
from mpnn.native.neighbors import BadRowError, Planned
from mpnn.sampling.splitmix import GOLDEN, mix, mix_int, shift, signed


class Rows(NamedTuple):
    """A relation's entries by row, on the CPU, of which neighbours are drawn."""

    indptr: Tensor  # [num_rows + 1]
    indices: Tensor  # [num_entries], int32 or int64 as indptr
    weights: Tensor | None = None  # float64 [num_entries]: an entry's chance
    time: Tensor | None = None  # int64, ascending in each row
    time_of_edges: bool = False  # [num_entries]; else [num_nodes], of the entries' other ends


class Frontier(NamedTuple):
    """The nodes whose neighbours are drawn."""

    nodes: Tensor  # int64 [num_nodes]
    first: int  # the number of the first; the others follow
    example: Tensor | None = None  # int64 [num_nodes], which of the disjoint samples a node belongs to
    limit: Tensor | None = None  # int64 [num_nodes]: no later entry is drawn


class Drawn(NamedTuple):
    """Entries, in the order of the frontier."""

    slots: Tensor  # their places in `indices`
    rows: Tensor  # the number of the node in the frontier
    ends: Tensor  # the node at the other end, as the key `example * stride + node`


def draw_hop(
    rows: Rows, frontier: Frontier, count: int, *, replace: bool, last: bool, stride: int, seed: int
) -> Drawn:
    """Draw `count` entries of the row of each node in the frontier, all for -1.

    Args:
        rows: of which entries are drawn.
        frontier: for which nodes.
        count: how many; without `replace` a shorter row gives all its entries.
        replace: whether an entry may be drawn more than once.
        last: whether the latest entries are taken; else all sets of them are alike.
        stride: above every node, for keys of disjoint samples.
        seed: of the random numbers.

    Raises:
        IndexError: a node without a row.
        ValueError: times that are not sorted, weights that are none.
    """
    key = mix_int(seed)
    time = rows.time if frontier.limit is not None else None
    timed = time, rows.time_of_edges, frontier.limit, last
    try:
        if compiled.can_draw(rows.indptr.dtype):
            planned = compiled.plan(rows.indptr, rows.indices, frontier.nodes, count, replace, *timed)
        else:
            planned = _plan(rows, frontier, count, replace, time, last)
    except BadRowError as bad:
        node = int(frontier.nodes[bad.place])
        if bad.unsorted:
            raise ValueError(
                f"the neighbours of node {node} are not in the order of their time: sort them by it in "
                "each row."
            ) from None
        raise IndexError(
            f"node {node} has no row: there are {rows.indptr.numel() - 1} rows of {rows.indices.numel()} "
            "entries."
        ) from None
    rest = frontier.example, stride, frontier.first
    try:
        if compiled.can_draw(rows.indptr.dtype):
            return Drawn(*compiled.draw(rows.indices, planned, count, replace, rows.weights, key, *rest))
        return _draw(rows, planned, count, replace, key, *rest)
    except BadRowError as bad:
        raise ValueError(
            f"the weights of node {int(frontier.nodes[bad.place])}'s edges must be finite, not negative, "
            "and have a sum above 0."
        ) from None


class Numbering:
    """Numbers of nodes, given in the order in which they are added."""

    def __init__(self) -> None:
        self._table = compiled.Table() if compiled.can_draw(torch.int64) else _Table()
        self.size = 0

    def fill(self, keys: Tensor) -> None:
        """Number these 0, 1, ...; one that is repeated is found under its first number."""
        self._table.add(keys, self.size, every=True)
        self.size += keys.numel()

    def add(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The number of each key, and those that are new, in the order of their numbers."""
        numbers, fresh = self._table.add(keys, self.size)
        self.size += fresh.numel()
        return numbers, fresh

    def get(self, keys: Tensor) -> Tensor:
        """The number of each key, -1 of one that has none."""
        return self._table.get(keys)


# In plain PyTorch ----------------------------------------------------------------------------------------


def _plan(
    rows: Rows, frontier: Frontier, count: int, replace: bool, time: Tensor | None, last: bool
) -> Planned:
    nodes, indptr = frontier.nodes, rows.indptr.long()
    outside = ((nodes < 0) | (nodes >= indptr.numel() - 1)).nonzero()
    if outside.numel():
        raise BadRowError(int(outside[0]), False)
    begin, end = indptr[nodes], indptr[nodes + 1]
    if time is not None and frontier.limit is not None and count:
        of_entry = time if rows.time_of_edges else time[rows.indices.long()]
        low, high = begin, end
        longest = int((end - begin).max()) if nodes.numel() else 0
        for _ in range(longest.bit_length()):
            middle = low + (high - low) // 2
            later = (low < high) & (frontier.limit < of_entry[middle.clamp(max=of_entry.numel() - 1)])
            low, high = torch.where((low < high) & ~later, middle + 1, low), torch.where(later, middle, high)
        end = low
        if last and count >= 0:
            begin = torch.maximum(begin, end - count)
        some = (end - begin > 1).nonzero().flatten()
        unsorted = some[of_entry[begin[some]] > of_entry[end[some] - 1]]
        if unsorted.numel():
            raise BadRowError(int(unsorted[0]), True)
    width = end - begin
    size = width if count < 0 else torch.where(width > 0, count, 0) if replace else width.clamp(max=count)
    return Planned(begin, width, torch.cat([width.new_zeros(1), size.cumsum(0)]))


def _draw(
    rows: Rows,
    planned: Planned,
    count: int,
    replace: bool,
    key: int,
    example: Tensor | None,
    stride: int,
    first: int,
) -> Drawn:
    number = planned.offsets.diff()
    place = torch.repeat_interleave(number)
    within = torch.arange(place.numel()) - planned.offsets[place]
    begin, width = planned.begin[place], planned.width[place]
    keys = mix(torch.arange(1, number.numel() + 1) * signed(GOLDEN) + signed(key))[place]
    whole_rows = (number == planned.width) & (not replace or count < 0)
    whole = whole_rows[place]
    if rows.weights is not None and not bool(whole.all()):
        chosen = _weighted(rows.weights, planned, (number > 0) & ~whole_rows, replace, key, place, within)
    elif replace:
        chosen = _below(_draws(keys, within), width)
    else:
        chosen = _floyd(keys, within, width, number[place], planned.offsets[place])
    slots = begin + torch.where(whole, within, chosen)
    ends = rows.indices[slots].long()
    return Drawn(slots, place + first, ends if example is None else example[place] * stride + ends)


def _draws(keys: Tensor, within: Tensor) -> Tensor:
    return mix(keys + (within + 1) * signed(GOLDEN))


def _below(draw: Tensor, bound: Tensor) -> Tensor:
    """The upper 64 of the 128 bits of the product, for bounds below 2³²."""
    high, low = shift(draw, 32) * bound, (draw & 0xFFFFFFFF) * bound
    return shift(high + shift(low, 32), 32)


def _floyd(keys: Tensor, within: Tensor, width: Tensor, number: Tensor, offset: Tensor) -> Tensor:
    chosen = _below(_draws(keys, within), (width - number + within + 1).clamp(min=1))
    for k in range(1, int(within.max()) + 1 if within.numel() else 0):
        mine = (within == k).nonzero().flatten()
        before = chosen[offset[mine, None] + torch.arange(k)]
        repeated = (before == chosen[mine, None]).any(1)
        chosen[mine] = torch.where(repeated, width[mine] - number[mine] + k, chosen[mine])
    return chosen


def _weighted(
    weights: Tensor,
    planned: Planned,
    asked: Tensor,
    replace: bool,
    key: int,
    place: Tensor,
    within: Tensor,
) -> Tensor:
    """The places in their rows of draws by weight; only the weights of rows that are `asked` matter."""
    count = planned.width
    row = torch.repeat_interleave(count)
    start = count.cumsum(0) - count
    inner = torch.arange(row.numel()) - start[row]
    weight = weights[planned.begin[row] + inner]
    total = weight.new_zeros(count.numel()).index_add(0, row, weight)
    least = weight.new_zeros(count.numel()).scatter_reduce(0, row, weight, "amin")
    bad = (asked & ~((total > 0) & total.isfinite() & (least >= 0))).nonzero()
    if bad.numel():
        raise BadRowError(int(bad[0]), False)
    keys = mix(torch.arange(1, count.numel() + 1) * signed(GOLDEN) + signed(key))
    if not replace:
        priority = _fractions(_draws(keys[row], inner)).log() / weight
        order = torch.argsort(priority, descending=True, stable=True)
        order = order[torch.argsort(row[order], stable=True)]
        return inner[order[start[place] + within]]
    sums = weight.cumsum(0)
    before = (sums - weight)[start[place].clamp(max=max(weight.numel() - 1, 0))]
    target = before + _fractions(_draws(keys[place], within)) * total[place]
    found = torch.searchsorted(sums, target, right=True) - start[place]
    return torch.minimum(found.clamp(min=0), count[place] - 1)


def _fractions(draw: Tensor) -> Tensor:
    return (shift(draw, 11).double() + 0.5) * 2.0**-53


class _Table:
    """Numbers of keys by sorting."""

    def __init__(self) -> None:
        self._keys = self._numbers = torch.empty(0, dtype=torch.int64)

    def add(self, keys: Tensor, first: int, every: bool = False) -> tuple[Tensor, Tensor]:
        distinct, inverse = torch.unique(keys, return_inverse=True)
        place = torch.full_like(distinct, keys.numel()).scatter_reduce(
            0, inverse, torch.arange(keys.numel()), "amin"
        )
        new = self.get(distinct) < 0
        place = place[new].sort()[0]
        fresh = keys[place]
        numbers = first + (place if every else torch.arange(fresh.numel()))
        self._keys, order = torch.sort(torch.cat([self._keys, fresh]))
        self._numbers = torch.cat([self._numbers, numbers])[order]
        return self.get(keys), fresh

    def get(self, keys: Tensor) -> Tensor:
        if not self._keys.numel():
            return torch.full_like(keys, -1)
        place = torch.searchsorted(self._keys, keys).clamp(max=self._keys.numel() - 1)
        return torch.where(self._keys[place] == keys, self._numbers[place], -1)
