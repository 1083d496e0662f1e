"""Converts rows of graphs of unequal sizes to the padded batches that dense kernels take, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpnn.native.gpu import sent


@dataclass(frozen=True)
class Batch:
    """`[sum(lengths), ...]` <-> `[num_graphs, longest, ...]`; a view where all lengths are equal."""

    lengths: tuple[int, ...]
    slots: Tensor | None  # of each row in the flattened padded batch; None if there is no padding
    is_padding: Tensor | None  # [num_graphs, longest]

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device) -> Batch:
        """Lay out graphs of these sizes."""
        if len(set(lengths)) == 1:
            return cls(lengths, None, None)
        sizes, longest, number = sent(lengths, device), max(lengths), sum(lengths)
        is_padding = torch.arange(longest, device=device) >= sizes[:, None]
        padded_before = torch.arange(len(lengths), device=device) * longest - (sizes.cumsum(0) - sizes)
        of_rows = padded_before.repeat_interleave(sizes, output_size=number)
        return cls(lengths, torch.arange(number, device=device) + of_rows, is_padding)

    @property
    def longest(self) -> int:
        """The number of rows of each graph, padding included."""
        return max(self.lengths)

    def pad(self, rows: Tensor) -> Tensor:
        """`[num_graphs, longest, ...]`: the rows of each graph, then zeros."""
        shape = (len(self.lengths), self.longest, *rows.shape[1:])
        if self.slots is None:
            return rows.reshape(shape)
        flat = rows.new_zeros(shape[0] * shape[1], *rows.shape[1:])
        return flat.index_copy(0, self.slots, rows).view(shape)

    def unpad(self, padded: Tensor) -> Tensor:
        """`[sum(lengths), ...]`: the rows without the padding."""
        flat = padded.flatten(0, 1)
        return flat if self.slots is None else flat.index_select(0, self.slots)
