"""How the rows of a graph are divided over programs: by their number of edges, which differs a thousandfold.

A program holds a tile of `edges` edges at a time, divided among its rows:

    rows of at most 8 edges     a slot for each row: many rows, each a loop over its few edges
    of at most 64               a few slots for each row
    longer                      all slots for one row, which are combined at its end
    hubs, more than 4096        parts of 4096 edges, a program each; a second kernel combines them

Rows are taken in the order of their length, so that those of one program end together, and within a length
as they come. A row belongs to one program, or to the second kernel: no atomics, the same bits each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.csr import CSR
from mpnn.graph import Graph
from mpnn.plan.homes import Home

SHORT, MIDDLE, HUB = 8, 64, 4096

NUMBERS = 2048  # in a tile's widest tensor: 16 for each thread of 4 warps
MOST_EDGES = 128
MOST_NUMBERS = 1 << 16  # a message wider than that fits no processor's registers
NUMBERS_PER_WARP = 512


class Tile(NamedTuple):
    """How many edges a program holds at a time, and how many warps it has."""

    edges: int
    warps: int


def tile_of(lanes: int) -> Tile:
    """The rule: as many edges as keep the widest tensor of the tile in registers.

    `lanes` are the numbers of one edge in that tensor, padded to powers of two.
    """
    edges = min(max(NUMBERS // lanes, 1), MOST_EDGES)
    warps = min(max(edges * lanes // NUMBERS_PER_WARP, 1), 8)
    return Tile(edges, warps)


@dataclass(frozen=True)
class Launch:
    """Rows that are done alike: `rows [n]` from slot `begins [n]` to slot `ends [n]`."""

    length: int  # of the longest row
    rows: Tensor
    begins: Tensor
    ends: Tensor
    part: bool = False

    def slots(self, edges: int) -> int:
        """How many slots of a tile a row gets."""
        if self.length <= SHORT:
            return 1
        return edges if self.length > MIDDLE else 1 << (edges.bit_length() - 1) // 2


@dataclass(frozen=True)
class Hubs:
    """Long rows: `rows [n]` with `counts [n]` edges, whose parts are numbers `begins[k] .. ends[k]`."""

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
    return csr, graph.memo(("triton launches", by), lambda: divide(csr))


def _lengths() -> list[int]:
    """Rows up to the same of these bounds may share a program: each short length, then powers of two."""
    return [*range(SHORT), *(1 << k for k in range(SHORT.bit_length() - 1, HUB.bit_length()))]


def divide(csr: CSR) -> Division:
    """Sort the rows by length. The host learns how many there are of each kind, once."""
    lengths = csr.indptr.diff()
    device = lengths.device
    bounds = _lengths()
    interval = torch.bucketize(lengths, torch.tensor(bounds, device=device, dtype=lengths.dtype))
    order = torch.argsort(interval, stable=True)
    counts = torch.bincount(interval, minlength=len(bounds) + 1).tolist()
    launches: list[Launch] = []
    first = 0
    for low, high in ((-1, SHORT), (SHORT, MIDDLE), (MIDDLE, HUB)):
        number = sum(n for n, bound in zip(counts, bounds, strict=False) if low < bound <= high)
        if number:
            rows = order[first : first + number].contiguous()
            launches.append(Launch(high, rows.to(csr.indptr.dtype), csr.indptr[rows], csr.indptr[rows + 1]))
        first += number
    hubs = order[first:]
    if not counts[-1]:
        return Division(tuple(launches), None, 0)
    parts = torch.div(lengths[hubs] + (HUB - 1), HUB, rounding_mode="floor").to(torch.int64)
    last = parts.cumsum(0)
    num_parts = int(last[-1])
    of = torch.repeat_interleave(torch.arange(hubs.numel(), device=device), parts, output_size=num_parts)
    number_in_hub = torch.arange(num_parts, device=device) - (last - parts)[of]
    begins = csr.indptr[hubs][of] + number_in_hub * HUB
    ends = torch.minimum(begins + HUB, csr.indptr[hubs + 1][of])
    kind = csr.indptr.dtype
    pieces = Launch(HUB, hubs[of].to(kind), begins.to(kind), ends.to(kind), part=True)
    return Division((pieces, *launches), Hubs(hubs.to(kind), last - parts, last, lengths[hubs]), num_parts)
