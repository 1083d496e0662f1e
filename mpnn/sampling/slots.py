"""Places of drawn edges in the rows of a graph, and the numbers of the nodes that they lead to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mpnn.graph.csr import CSR
from mpnn.sampling.sample import draw, seed_key

FEW = 64  # edges: so much room for each node is not worth a look at what is needed, which a GPU waits for


class Numbers:
    """The numbers of the sample's nodes, in the order in which they were added."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = [nodes]
        self._sorted, self._number = torch.sort(nodes)
        again = (self._sorted[1:] == self._sorted[:-1]).nonzero()
        if again.numel():
            raise ValueError(
                f"nodes holds {int(self._sorted[again[0]])} more than once: choose each node once."
            )

    def add(self, found: Tensor) -> Tensor:
        """Number the nodes among these that are new, and return them."""
        found = torch.unique(found)
        if self._sorted.numel():
            place = torch.searchsorted(self._sorted, found).clamp_(max=self._sorted.numel() - 1)
            found = found[self._sorted[place] != found]
        number = torch.arange(found.numel(), device=found.device) + self._sorted.numel()
        self.nodes.append(found)
        self._sorted, order = torch.sort(torch.cat([self._sorted, found]))
        self._number = torch.cat([self._number, number])[order]
        return found

    def __call__(self, nodes: Tensor) -> Tensor:
        return self._number[torch.searchsorted(self._sorted, nodes.contiguous())]


def all_slots(rows: CSR, nodes: Tensor) -> Tensor:
    """The slots of whole rows, one behind the other."""
    begin, degree = rows.indptr[nodes].long(), (rows.indptr[nodes + 1] - rows.indptr[nodes]).long()
    last = degree.cumsum(0)
    total = int(last[-1]) if last.numel() else 0
    start = torch.repeat_interleave(begin - last + degree, degree, output_size=total)
    return start + torch.arange(total, device=nodes.device)


def some_slots(rows: CSR, nodes: Tensor, fanout: int, seed: int) -> Tensor:
    """`fanout` slots of each row, drawn without repeats, in their order; of a shorter row all."""
    begin, degree = rows.indptr[nodes].long(), (rows.indptr[nodes + 1] - rows.indptr[nodes]).long()
    if fanout > FEW:  # no more room is needed than the largest row has
        fanout = min(fanout, int(degree.max()) if degree.numel() else 0)
    drawn, there = draw(degree, nodes, fanout, seed_key(seed))
    slots: Tensor = (begin[:, None] + drawn)[there]
    return slots


def checked_fanouts(fanouts: Sequence[int], padded: bool = False) -> list[int]:
    """Numbers of edges, -1 for all."""
    if not isinstance(fanouts, Sequence | np.ndarray):
        raise TypeError(f"fanouts must be a sequence, a number of edges for each hop, got {fanouts!r}.")
    for k, fanout in enumerate(fanouts):
        if padded and fanout == -1:
            raise ValueError(
                f"fanouts[{k}] is -1, for all edges, but a padded sample needs a number of them."
            )
        if isinstance(fanout, bool) or not isinstance(fanout, int | np.integer) or fanout < -1:
            raise ValueError(
                f"fanouts[{k}] is {fanout!r}, but should be a number of edges, or -1 for all of them."
            )
    return [int(fanout) for fanout in fanouts]
