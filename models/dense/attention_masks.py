"""Masks of attention, as numbers that are added to the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.topology import Causal

Shape = tuple[int, int, int, int]  # batch, heads, queries, keys


def additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of floats unchanged; for a boolean mask, -inf where it is true and 0 elsewhere."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    if not mask.is_floating_point():
        raise TypeError(f"a mask must be boolean or of floating point, got {mask.dtype}.")
    return mask


def joined_bias(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, shape: Shape, like: Tensor
) -> Tensor | None:
    """Both masks together, in four dimensions that broadcast to `shape`; None if there are none.

    Shapes: attn_mask `[queries, keys]` or `[batch * heads, queries, keys]`, key_padding_mask `[batch, keys]`,
    or `[keys]` if the batch is one.
    """
    batch, heads, queries, keys = shape
    bias = None
    if attn_mask is not None:
        allowed: tuple[tuple[int, ...], ...] = ((queries, keys), (batch * heads, queries, keys))
        if attn_mask.shape not in allowed:
            raise ValueError(
                f"attn_mask has shape {list(attn_mask.shape)}, but must be {list(allowed[0])} or "
                f"{list(allowed[1])}."
            )
        bias = additive(attn_mask, like)
        bias = bias.view(batch, heads, queries, keys) if bias.dim() == 3 else bias[None, None]
    if key_padding_mask is not None:
        if key_padding_mask.shape not in ((batch, keys), (keys,) if batch == 1 else (batch, keys)):
            raise ValueError(
                f"key_padding_mask has shape {list(key_padding_mask.shape)}, but must be {[batch, keys]}."
            )
        padding = additive(key_padding_mask, like).view(batch, 1, 1, keys)
        bias = padding if bias is None else bias + padding
    return bias


def edge_bias(bias: Tensor, graph: Graph, shape: Shape) -> Tensor:
    """`[batch, heads, queries, keys]` -> `[num_edges, heads]`."""
    batch, _, queries, keys = shape
    heads = bias.size(1)
    rows = bias.expand(batch, heads, queries, keys).permute(0, 2, 3, 1).reshape(-1, heads)
    return rows[_slots(graph, keys)] if isinstance(graph, Causal) else rows


def edge_weights(weights: Tensor, graph: Graph, shape: Shape) -> Tensor:
    """`[num_edges, heads]` -> `[batch, heads, queries, keys]`, 0 where there is no edge."""
    batch, heads, queries, keys = shape
    if isinstance(graph, Causal):
        full = weights.new_zeros(batch * queries * keys, heads)
        weights = full.index_copy(0, _slots(graph, keys), weights)
    return weights.view(batch, queries, keys, heads).permute(0, 3, 1, 2)


def _slots(graph: Graph, keys: int) -> Tensor:
    return graph.memo("entries of the matrix", lambda: graph.dst * keys + graph.src % keys)
