"""Attention in windows by FlexAttention, on a GPU: blocks of keys outside of all windows are skipped."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.borrowed import transform_level
from mpnn.graph.graph import Graph
from mpnn.native.gpu import has_triton, sent
from mpnn.topology import Band, Causal, Complete

if TYPE_CHECKING:  # slow to import, and rarely used
    from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128  # queries and keys, as the kernel takes them
TYPES = (torch.float32, torch.bfloat16, torch.float16)  # those of its tensor cores
FEWEST = 16  # channels of a product on these


class Window(NamedTuple):
    """The window i - left .. i + right of the node at place i of its strand; see `Blocks` for strands."""

    left: int
    right: int
    dilation: int

    @classmethod
    def of(cls, graph: Graph, longest: int) -> Window | None:
        """The window of a topology; None if it has none, or a kernel has a flag for it."""
        if isinstance(graph, Band):
            reach = graph.left, graph.right
            return cls(*(reach[::-1] if graph.is_reversed else reach), graph.dilation)
        if isinstance(graph, Causal | Complete) and len(set(graph.lengths)) > 1:
            if isinstance(graph, Complete) and graph.self_loops:
                return cls(longest, longest, 1)
            if isinstance(graph, Causal) and graph.is_reversed:
                return cls(0, longest, 1)
        return None


def suits(query: Tensor, value: Tensor) -> bool:
    """Whether the Triton kernel takes such tensors; under torch.func it cannot run."""
    return (
        query.is_cuda
        and query.dtype in TYPES
        and min(query.size(-1), value.size(-1)) >= FEWEST
        and has_triton()
        and transform_level() is None
    )


def flexible_attention(
    graph: Graph, q: Tensor, k: Tensor, v: Tensor, window: Window, lengths: tuple[int, ...], scale: float
) -> Tensor:
    """Softmax over the keys in a window, `[batch, heads, length, channels]`, of sequences of some lengths."""
    batch, heads, length, _ = q.shape
    strand = ceil(length / window.dilation)

    def strands(x: Tensor) -> Tensor:  # [batch * dilation, heads, strand, channels]
        x = F.pad(x, (0, 0, 0, strand * window.dilation - length))
        x = x.view(batch, heads, strand, window.dilation, -1).permute(0, 3, 1, 2, 4)
        return x.reshape(batch * window.dilation, heads, strand, -1)

    mask = graph.memo(("flexible mask", q.device), lambda: block_mask(window, lengths, strand, q.device))
    out: Tensor = _kernel()(strands(q), strands(k), strands(v), block_mask=mask, scale=scale)
    out = out.view(batch, window.dilation, heads, strand, -1).permute(0, 2, 3, 1, 4)
    return out.reshape(batch, heads, strand * window.dilation, -1)[:, :, :length]


@functools.cache
def _kernel() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Any] = torch.compile(flex_attention)
    return compiled


def block_mask(window: Window, lengths: tuple[int, ...], strand: int, device: torch.device) -> BlockMask:
    """The blocks of keys in the windows of each block of queries, without a matrix of all pairs."""
    from torch.nn.attention.flex_attention import BlockMask

    # One kernel serves all windows: their sizes are read from tensors.
    sides = sent([window.left, window.right], device)
    ends = _ends(window, lengths, strand, device)

    def near(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= query - sides[0]) & (key <= query + sides[1])

    def near_and_there(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        assert ends is not None
        # Queries of the padding, which are cut off, have the keys of the padding.
        return near(b, h, query, key) & ((key < ends[b]) == (query < ends[b]))

    count = ceil(strand / BLOCK)
    number = torch.arange(count, device=device)
    first = ((number * BLOCK - window.left) // BLOCK).clamp(min=0)
    last = ((number * BLOCK + BLOCK - 1 + window.right) // BLOCK).clamp(max=count - 1)
    indices = (first[:, None] + number) % count
    return BlockMask.from_kv_blocks(
        (last - first + 1).int()[None, None],
        indices.int()[None, None],
        BLOCK_SIZE=BLOCK,
        mask_mod=near if ends is None else near_and_there,
        seq_lengths=(strand, strand),
    )


def _ends(window: Window, lengths: tuple[int, ...], strand: int, device: torch.device) -> Tensor | None:
    """The number of real places of each strand; None if there is no padding."""
    sizes = sent(lengths, device)[:, None] - torch.arange(window.dilation, device=device)
    ends = torch.div(sizes + window.dilation - 1, window.dilation, rounding_mode="floor").clamp(min=0)
    whole = all(n == strand * window.dilation for n in lengths)
    return None if whole else ends.flatten()
