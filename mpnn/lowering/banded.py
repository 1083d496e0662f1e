"""Attention in a window, as dense attention of blocks of queries."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.topology import Band


@dataclass(frozen=True)
class Blocks:
    """Blocks of queries, each with the stretch of keys in its windows: memory grows with length times window.

    In a dilated band, the positions with the same remainder modulo the dilation form a separate sequence, a
    strand.
    """

    length: int
    dilation: int
    left: int
    right: int
    block: int  # queries
    count: int  # blocks of a strand

    @classmethod
    def of(cls, length: int, reach: tuple[int, int], dilation: int) -> Blocks:
        """Blocks for sequences of a length, whose windows have `left` and `right` keys beside the node."""
        strand = ceil(length / dilation)
        block = min(max(sum(reach), 64), strand)
        count = ceil(strand / block)
        left, right = (min(side, block * count) for side in reach)
        return cls(length, dilation, left, right, block, count)

    @property
    def span(self) -> int:
        """The number of keys in the windows of a block."""
        return self.left + self.block + self.right

    @property
    def padding(self) -> int:
        """The number of places that fill up the last blocks."""
        return self.count * self.block * self.dilation - self.length

    def strands(self, x: Tensor) -> Tensor:
        """`[batch, heads, length, channels]` -> `[batch, heads, dilation, count * block, channels]`."""
        x = F.pad(x, (0, 0, 0, self.padding))
        return x.view(*x.shape[:2], self.count * self.block, self.dilation, x.size(-1)).transpose(2, 3)

    def queries(self, x: Tensor) -> Tensor:
        """... -> `[batch * heads, dilation * count, block, channels]`."""
        return self.strands(x).reshape(-1, self.dilation * self.count, self.block, x.size(-1))

    def stretches(self, x: Tensor) -> Tensor:
        """... -> `[batch * heads, dilation * count, span, channels]`."""
        wide = F.pad(self.strands(x), (0, 0, self.left, self.right)).unfold(3, self.span, self.block)
        return wide.transpose(-1, -2).reshape(-1, self.dilation * self.count, self.span, x.size(-1))

    def slots(self, graph: Band, lengths: tuple[int, ...]) -> Tensor:
        """`[num_edges]`: the place of each edge among (query, key of its block), flattened."""
        sizes = torch.tensor(lengths, device=graph.device)
        start = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
        sequence = torch.repeat_interleave(torch.arange(len(lengths), device=graph.device), sizes)
        position = graph.dst - start[graph.dst]
        strand, place = position % self.dilation, position // self.dilation
        row = place % self.block
        block = (sequence[graph.dst] * self.dilation + strand) * self.count + place // self.block
        column = row + self.left + (graph.src - graph.dst) // self.dilation
        return (block * self.block + row) * self.span + column

    def spread(self, per_edge: Tensor, slots: Tensor, batch: int) -> Tensor:
        """`[num_edges, heads]` -> `[batch, heads, dilation * count, block, span]`, 0 without an edge."""
        shape = (batch, self.dilation * self.count, self.block, self.span, per_edge.size(1))
        flat = per_edge.new_zeros(shape).view(-1, shape[-1]).index_copy(0, slots, per_edge)
        return flat.view(shape).movedim(-1, 1)

    def forbidden(self, lengths: Tensor | None, like: Tensor) -> Tensor:
        """`[batch or 1, dilation * count, block, span]`, -inf where a key is outside a query's window."""
        position = torch.arange(self.length, device=like.device)
        exists = (position < self.length)[None] if lengths is None else position < lengths[:, None]
        present = F.pad(exists, (0, self.padding))
        present = present.view(-1, self.count * self.block, self.dilation).transpose(1, 2)
        seen = F.pad(present, (self.left, self.right)).unfold(2, self.span, self.block)[:, :, :, None]
        asking = present.reshape(-1, self.dilation, self.count, self.block, 1)
        row = torch.arange(self.block, device=like.device)[:, None]
        column = torch.arange(self.span, device=like.device)
        near = (column >= row) & (column <= row + self.left + self.right)
        # Queries of the padding, which are cut off, must have a key: else their gradients would be NaN.
        allowed = (near & (seen | ~asking)).flatten(1, 2)
        return like.new_zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


def banded_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: Blocks,
    scale: float,
    lengths: Tensor | None = None,
    key_bias: Tensor | None = None,
    edge_bias: Tensor | None = None,
) -> Tensor:
    """Attention in the window of each node of a sequence, block by block.

    Shapes: q, k, v `[batch, heads, length, channels]`, lengths `[batch]`, key_bias `[batch, heads or 1, 1,
    length]`, edge_bias as `Blocks.spread` makes it.
    """
    batch, heads = q.shape[:2]
    mask = blocks.forbidden(lengths, q)
    if key_bias is not None or edge_bias is not None:
        mask = mask[:, None]
        if key_bias is not None:
            seen = blocks.stretches(key_bias.transpose(2, 3))
            mask = mask + seen.view(batch, -1, *seen.shape[1:]).transpose(-1, -2)
        if edge_bias is not None:
            mask = mask + edge_bias
        mask = mask.expand(batch, heads, -1, -1, -1).flatten(0, 1)
    elif len(mask) > 1:
        mask = mask.repeat_interleave(heads, 0)
    keys, values = blocks.stretches(k), blocks.stretches(v)
    out = F.scaled_dot_product_attention(blocks.queries(q), keys, values, mask, scale=scale)
    width = out.size(-1)
    out = out.view(batch, heads, blocks.dilation, blocks.count * blocks.block, width).transpose(2, 3)
    return out.reshape(batch, heads, -1, width)[:, :, : blocks.length]
