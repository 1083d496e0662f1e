"""How the rows of a graph are divided among programs: by their number of edges, which differs a thousandfold.

A program holds a tile of `edges` edges at a time, divided among its rows:

    rows of at most 8 edges     one slot for each row: many rows, each with a loop over its few edges
    of at most 64               a few slots for each row
    longer                      all slots for one row, combined at its end
    hubs, more than 4096        parts of 4096 edges, a program each; a second kernel combines them

Rows are sorted by length, so that the rows of one program end together; rows of one length keep their order.
A row belongs to one program, or to the second kernel: there are no atomics, and the bits are the same in
every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.csr import CSR
from mpnn.graph.graph import Graph
from mpnn.native.gpu import sent
from mpnn.plan.homes import Home

SHORT, MIDDLE, HUB = 8, 64, 4096

NUMBERS = 2048  # in a tile's widest tensor: 16 for each thread of 4 warps
MOST_EDGES = 128
MOST_NUMBERS = 1 << 16  # a wider message does not fit into the registers of any GPU
NUMBERS_PER_WARP = 512


class Tile(NamedTuple):
    """How many edges a program holds at a time, and how many warps it has."""

    edges: int
    warps: int


def tile_of(lanes: int) -> Tile:
    """The largest tile whose widest tensor stays in registers.

    `lanes` is the number of entries of one edge in that tensor, padded to powers of two.
    """
    edges = min(max(NUMBERS // lanes, 1), MOST_EDGES)
    warps = min(max(edges * lanes // NUMBERS_PER_WARP, 1), 8)
    return Tile(edges, warps)


@dataclass(frozen=True)
class Launch:
    """Rows of one launch: `rows [n]`, -1 for none, from slot `begins [n]` to slot `ends [n]`."""

    length: int  # of the longest row
    rows: Tensor
    begins: Tensor
    ends: Tensor
    part: bool = False

    def slots(self, edges: int) -> int:
        """The number of slots of a tile for each row."""
        if self.length <= SHORT:
            return 1
        return edges if self.length > MIDDLE else 1 << (edges.bit_length() - 1) // 2


@dataclass(frozen=True)
class Hubs:
    """Long rows: `rows [n]`, -1 for none, of `counts [n]` edges; their parts are `begins[k] .. ends[k]`."""

    rows: Tensor
    begins: Tensor
    ends: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Division:
    """The launches over a graph's rows, and the hubs among these."""

    launches: tuple[Launch, ...]
    hubs: Hubs | None
    num_parts: int


def division_of(graph: Graph, by: Home) -> tuple[CSR, Division]:
    """A graph's compressed rows by one end, and their division, both kept with the graph on its device."""
    csr = graph.by_dst if by is Home.DST else graph.by_src
    return csr, graph.memo(("triton launches", by), lambda: divide(csr, waits=_may_wait(graph)))


def _may_wait(graph: Graph) -> bool:
    capturing = graph.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return not (graph.is_fleeting or capturing)


def _lengths() -> tuple[int, ...]:
    """Bounds of lengths: each short length, then powers of two. Rows of one bound may share a program."""
    return (*range(SHORT), *(1 << k for k in range(SHORT.bit_length() - 1, HUB.bit_length())))


# Once: the replays of a CUDA graph would copy them again from where the host had them.
_sent_once = lru_cache(maxsize=16)(sent)


class Numbers(NamedTuple):
    """The number of rows of each kind, and of parts of hubs, that are launched."""

    short: int
    middle: int
    long: int
    hubs: int
    parts: int

    @classmethod
    def at_most(cls, num_rows: int, num_edges: int) -> Numbers:
        """Upper bounds of these numbers, from the number of rows and of edges."""
        middle, long, hubs = (min(num_rows, num_edges // (bound + 1)) for bound in (SHORT, MIDDLE, HUB))
        return cls(num_rows, middle, long, hubs, num_edges // HUB + hubs)


def divide(csr: CSR, *, waits: bool) -> Division:
    """Sort the rows by length.

    Either the CPU waits for the number of rows of each kind, or it does not wait and launches as many
    programs as there could be rows: a surplus program finds no row, and ends.
    """
    lengths, num_rows = csr.indptr.diff(), csr.num_rows
    device, kind = lengths.device, lengths.dtype
    interval = torch.bucketize(lengths, _sent_once(_lengths(), device, kind))
    order = torch.argsort(interval, stable=True)
    until = torch.stack([(lengths <= bound).sum() for bound in (-1, SHORT, MIDDLE, HUB)])
    parts = torch.div(lengths + (HUB - 1), HUB, rounding_mode="floor").long()
    if waits:
        *ends, num_parts = torch.cat([until, parts.where(lengths > HUB, 0).sum()[None]]).tolist()
        short, middle, long, hubs = (b - a for a, b in pairwise([*ends, num_rows]))
        numbers = Numbers(short, middle, long, hubs, num_parts)
    else:
        numbers = Numbers.at_most(num_rows, csr.indices.numel())

    def rows_of(group: int, number: int, end: Tensor | int) -> tuple[Tensor, Tensor]:
        """The rows of a kind, and a mask of those that exist."""
        place = until[group] + torch.arange(number, device=device)
        return order[place.clamp(max=num_rows - 1)], place < end

    def launch(length: int, rows: Tensor, there: Tensor, begins: Tensor, ends: Tensor, part: bool) -> Launch:
        """The launch of the rows of a kind; where there is no row, `ends` equals `begins`."""
        rows, begins, ends = rows.where(there, -1), begins.where(there, 0), ends.where(there, 0)
        return Launch(length, rows.to(kind), begins.to(kind), ends.to(kind), part)

    launches: list[Launch] = []
    for group, (length, number) in enumerate(zip((SHORT, MIDDLE, HUB), numbers, strict=False)):
        if number:
            rows, there = rows_of(group, number, until[group + 1])
            launches.append(launch(length, rows, there, csr.indptr[rows], csr.indptr[rows + 1], False))
    if not numbers.hubs:
        return Division(tuple(launches), None, 0)
    rows, there = rows_of(3, numbers.hubs, num_rows)
    counts = parts[rows].where(there, 0)
    last = counts.cumsum(0)
    part = torch.arange(numbers.parts, device=device)
    of = torch.searchsorted(last, part, right=True).clamp(max=numbers.hubs - 1)
    starts = csr.indptr[rows][of] + (part - (last - counts)[of]) * HUB
    stops = torch.minimum(starts + HUB, csr.indptr[rows + 1][of])
    pieces = launch(HUB, rows[of], part < last[-1], starts, stops, True)
    whole = Hubs(rows.where(there, -1).to(kind), last - counts, last, lengths[rows])
    return Division((pieces, *launches), whole, numbers.parts)
