"""The message of attention: a softmax of dot products, between queries, keys and values that are there."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import Graph, MessagePassing, softmax
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.models.dense.attention_masks import additive, edge_bias, edge_weights
from mpnn.topology import Causal, Complete, CompleteBipartite, causal, complete, complete_bipartite


class DotProductAttention(MessagePassing):
    """out_i = Σ_{j→i} softmax_j(q_i·k_j / √d + bias_ij) v_j, for every head.

    A subclass makes the queries, keys and values, and says how many heads there are, how wide each is, and
    how much of the weights is dropped in training.
    """

    has_own_edges = True
    num_heads: int
    head_dim: int
    dropout: float

    def __init__(self) -> None:
        super().__init__("softmax")

    # What it says -------------------------------------------------------------------------------------

    def edge_update(  # type: ignore[override]
        self, q_i: Tensor, k_j: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """The score of every edge, `[num_edges, heads]`."""
        score = (q_i * k_j).sum(-1) / math.sqrt(self.head_dim)
        return score if bias is None else score + bias

    def message(  # type: ignore[override]
        self, q_i: Tensor, k_j: Tensor, v_j: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        score = self.edge_update(q_i, k_j, bias)
        if self.training and self.dropout > 0:
            # Σ_j dropout(α_ij) v_j is Σ_j α_ij v'_j, with v'_j = 0 or v_j / (1 - p) for a whole head.
            v_j = v_j * F.dropout(torch.ones_like(score), self.dropout)[..., None]
        return score, v_j

    # How it is computed -------------------------------------------------------------------------------

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None = None,
        *,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """All queries of a sequence to all its keys, or to those before.

        Args:
            q: `[batch, heads, queries, head_dim]`.
            k: `[batch, heads, keys, head_dim]`, as `v`.
            v: what is added up.
            bias: in four dimensions that broadcast to `[batch, heads, queries, keys]`.
            is_causal: whether the last query reads all keys, the one before it all but the last, and so on.
            need_weights: whether the weights are asked for.

        Returns:
            `[batch, heads, queries, head_dim]`, and the weights `[batch, heads, queries, keys]` or None.
        """
        if is_causal and q.size(2) != k.size(2):  # keys of earlier calls come first
            is_causal = False
            if q.size(2) > 1:
                bias = _plus(bias, _later(q, k))
        inputs = (q, k, v, bias, is_causal, need_weights)
        if goes_dense(self, DotProductAttention):
            found: tuple[Tensor, Tensor | None] = straight(self, "attention", self._by_kernel, *inputs)
            return found
        return self._by_messages(*inputs)

    def attend_along(
        self, graph: Graph, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Each query to the keys from which the graph has an edge to it.

        Shapes: q `[num_dst, heads, head_dim]`, k and v `[num_src, heads, head_dim]`, bias `[num_edges, 1]` or
        `[num_edges, heads]` -> `[num_dst, heads, head_dim]`, and the weights `[num_edges, heads]` or None.
        """
        fields: dict[str, Any] = {"q": (None, q), "k": (k, None)}
        if bias is not None:
            fields["bias"] = bias
        out: Tensor = self.propagate(graph, **fields, v=(v, None))
        if not need_weights:
            return out, None
        return out, softmax(self.edge_updater(graph, **fields), graph.dst, graph.num_dst)

    def _by_kernel(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        dropout = self.dropout if self.training else 0.0
        if is_causal and (bias is not None or need_weights):
            bias = _plus(bias, _later(q, k))
            is_causal = False
        if not need_weights:
            return F.scaled_dot_product_attention(q, k, v, bias, dropout, is_causal), None
        score = q * (1 / math.sqrt(self.head_dim)) @ k.transpose(-2, -1)
        weights = F.dropout((score if bias is None else score + bias).softmax(-1), dropout)
        return weights @ v, weights

    def _by_messages(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*q.shape[:3], k.size(2))
        graph = _topology(shape[0], *shape[2:], is_causal, q.device)
        q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
        bias = None if bias is None else edge_bias(bias, graph, shape)
        out, weights = self.attend_along(graph, q, k, v, bias, need_weights)
        out = out.view(shape[0], shape[2], *out.shape[1:]).transpose(1, 2)
        return out, None if weights is None else edge_weights(weights, graph, shape)


def _later(q: Tensor, k: Tensor) -> Tensor:
    """-inf where the key comes after the query, `[queries, keys]`."""
    queries, keys = q.size(2), k.size(2)
    return additive(q.new_ones(queries, keys, dtype=torch.bool).triu(1 + keys - queries), q)[None, None]


def _plus(bias: Tensor | None, more: Tensor) -> Tensor:
    return more if bias is None else bias + more


@lru_cache(maxsize=64)
def _topology(
    batch: int, queries: int, keys: int, is_causal: bool, device: torch.device
) -> Complete | CompleteBipartite | Causal:
    if is_causal:
        return causal([queries] * batch, device=device)
    if queries == keys:
        return complete([queries] * batch, device=device)
    return complete_bipartite([keys] * batch, [queries] * batch, device=device)
