"""Attention: a softmax of dot products, as messages on a complete graph (Vaswani et al., 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import as_graph
from mpnn.functional import linear
from mpnn.graph.adjacency import Topology
from mpnn.models.dense.attention_masks import additive, joined_bias
from mpnn.models.dense.dot_product import DotProductAttention
from mpnn.models.dense.key_values import KeyValues
from mpnn.models.parts.checks import at_least, check_multiple, check_probability, ranges


@ranges(**dict.fromkeys(("embed_dim", "num_heads", "kdim", "vdim"), at_least(1)), dropout=check_probability)
class MultiheadAttention(nn.MultiheadAttention, DotProductAttention):
    """`torch.nn.MultiheadAttention`, with its arguments and its state_dict, on any graph.

        out_i = W_o Σ_{j→i} softmax_j(q_i·k_j / √d + bias_ij) v_j        for every head

    A query attends to all keys (self-attention is a complete graph, cross-attention a complete bipartite
    one), to the keys before it (causal), or with a `graph` to its neighbours in any topology.

    Shapes, besides torch's: with `graph`, query `[num_dst, embed_dim]`, key `[num_src, kdim]`, value
    `[num_src, vdim]`; attn_mask `[num_edges]` or `[num_edges, num_heads]`; the output is
    `[num_dst, embed_dim]`, the weights are `[num_edges]`, or `[num_edges, num_heads]` if not averaged. With
    a `cache` the queries also attend to the keys that it holds, and this call's keys are added to it: a text
    is read piece by piece. A cache of a memory (`KeyValues(grows=False)`) takes the first call's keys, and
    later calls leave theirs alone.

    Raises:
        ValueError: a mask of another shape than the queries and keys ask for; with `graph`, an option that
            has no meaning there.

    >>> attention = MultiheadAttention(8, num_heads=2, batch_first=True)
    >>> x = torch.randn(3, 5, 8)
    >>> attention(x, x, x)[0].shape
    torch.Size([3, 5, 8])
    >>> window = mpnn.topology.band(1000, 16, causal=True)
    >>> x = torch.randn(1000, 8)
    >>> attention(x, x, x, graph=window, need_weights=False)[0].shape
    torch.Size([1000, 8])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_multiple("embed_dim", embed_dim, "num_heads", num_heads)
        # DotProductAttention comes after torch's class in the order of bases, so super().__init__() of torch
        # initialises it.
        super().__init__(
            embed_dim,
            num_heads,
            dropout,
            bias,
            add_bias_kv,
            add_zero_attn,
            kdim,
            vdim,
            batch_first,
            device,
            dtype,
        )

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        self._reset_parameters()
        self.out_proj.reset_parameters()

    # What it takes ------------------------------------------------------------------------------------

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        graph: Topology | None = None,
        cache: KeyValues | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if cache is not None:
            self._check_cache_options(graph)
        if graph is not None:
            self._check_graph_options(query, key_padding_mask, is_causal)
            return self._on_graph(query, key, value, graph, attn_mask, need_weights, average_attn_weights)
        is_batched = query.dim() == 3
        self._check_sequences(query, key, value)
        # [batch, heads, length, head_dim]
        q, k, v = self._heads(query, key, value, cache)
        shape = (q.size(0), self.num_heads, q.size(2), k.size(2))
        # As in torch, is_causal says what attn_mask is, which need not be looked at then.
        ignores_mask = is_causal and (attn_mask is None or not (need_weights or key_padding_mask is not None))
        bias = joined_bias(None if ignores_mask else attn_mask, key_padding_mask, shape, q)
        k, v, bias = self._with_extra_keys(k, v, bias)
        is_causal = ignores_mask
        if is_causal and q.size(2) != k.size(2) and cache is None:
            raise ValueError(
                f"is_causal needs as many keys as queries, but there are {q.size(2)} queries and "
                f"{k.size(2)} keys."
            )
        out, weights = self.attend(q, k, v, bias, is_causal=is_causal, need_weights=need_weights)
        out = self.out_proj(self._from_heads(out, is_batched))
        if weights is not None:
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if is_batched else weights.squeeze(0)
        return out, weights

    def _heads(
        self, query: Tensor, key: Tensor, value: Tensor, cache: KeyValues | None
    ) -> tuple[Tensor, ...]:
        """Queries of this call, keys and values of this call and of those before."""
        if cache is not None and cache.is_complete:
            rows = linear(query, *self._map_of_queries())
            return self._to_heads(rows), *cache.read()
        q, k, v = map(self._to_heads, self._project(query, key, value))
        return (q, k, v) if cache is None else (q, *cache.append(k, v))

    def _map_of_queries(self) -> tuple[Tensor, Tensor | None]:
        weight = self.in_proj_weight[: self.embed_dim] if self._qkv_same_embed_dim else self.q_proj_weight
        return weight, None if self.in_proj_bias is None else self.in_proj_bias[: self.embed_dim]

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if not self._qkv_same_embed_dim:
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            return tuple(map(linear, (query, key, value), weights, biases))
        if query is key and key is value:
            return linear(query, weight, bias).chunk(3, -1)
        width = self.embed_dim
        if key is value:
            biases = (None, None) if bias is None else (bias[:width], bias[width:])
            pair = linear(key, weight[width:], biases[1])
            return linear(query, weight[:width], biases[0]), *pair.chunk(2, -1)
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        return tuple(map(linear, (query, key, value), weight.chunk(3), biases))

    def _to_heads(self, x: Tensor) -> Tensor:
        x = x.view(*x.shape[:-1], self.num_heads, self.head_dim)
        if x.dim() == 3:
            return x.unsqueeze(0).transpose(1, 2)
        return x.transpose(1, 2) if self.batch_first else x.permute(1, 2, 0, 3)

    def _from_heads(self, x: Tensor, is_batched: bool) -> Tensor:
        x = x.transpose(1, 2) if self.batch_first or not is_batched else x.permute(2, 0, 1, 3)
        x = x.flatten(-2)
        return x if is_batched else x.squeeze(0)

    def _with_extra_keys(
        self, k: Tensor, v: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append keys for every query: a learnt one (`add_bias_kv`), and zero (`add_zero_attn`)."""
        extra = int(self.bias_k is not None) + int(self.add_zero_attn)
        if not extra:
            return k, v, bias
        if self.bias_k is not None and self.bias_v is not None:
            learnt = [x.view(1, self.num_heads, 1, self.head_dim) for x in (self.bias_k, self.bias_v)]
            k, v = (
                torch.cat([x, one.expand(x.size(0), -1, -1, -1)], 2)
                for x, one in zip((k, v), learnt, strict=True)
            )
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        return k, v, None if bias is None else F.pad(bias, (0, extra))

    # On a graph ---------------------------------------------------------------------------------------

    def _on_graph(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        graph: Topology,
        attn_mask: Tensor | None,
        need_weights: bool,
        average_attn_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        num_src, num_dst = key.size(0), query.size(0)
        graph = as_graph(graph, num_dst if num_src == num_dst else (num_src, num_dst))
        heads = (self.num_heads, self.head_dim)
        q, k, v = (x.view(-1, *heads) for x in self._project(query, key, value))
        bias = None
        if attn_mask is not None:
            bias = additive(attn_mask, query)
            bias = bias[:, None] if bias.dim() == 1 else bias
            if bias.shape not in ((graph.num_edges, 1), (graph.num_edges, self.num_heads)):
                raise ValueError(
                    f"attn_mask has shape {list(attn_mask.shape)}, but with a graph of {graph.num_edges} "
                    f"edges must be [{graph.num_edges}] or [{graph.num_edges}, {self.num_heads}]."
                )
        out, weights = self.attend_along(graph, q, k, v, bias, need_weights)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return self.out_proj(out.flatten(1)), weights

    # What it refuses ----------------------------------------------------------------------------------

    def _check_sequences(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        if query.dim() not in (2, 3) or not query.dim() == key.dim() == value.dim():
            raise ValueError(
                "query, key and value must all be [length, channels], or all batches of that, got shapes "
                f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}."
            )
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                f"key and value must have as many rows, got shapes {list(key.shape)} and {list(value.shape)}."
            )
        if query.dim() == 3 and query.size(self._batch_dim) != key.size(self._batch_dim):
            raise ValueError(
                f"query has a batch of {query.size(self._batch_dim)}, key one of {key.size(self._batch_dim)}."
            )
        widths = (("query", query, self.embed_dim), ("key", key, self.kdim), ("value", value, self.vdim))
        for name, x, width in widths:
            if x.size(-1) != width:
                raise ValueError(
                    f"{name} has width {x.size(-1)}, but MultiheadAttention was built for {width}."
                )

    @property
    def _batch_dim(self) -> int:
        return 0 if self.batch_first else 1

    def _check_graph_options(self, query: Tensor, key_padding_mask: Tensor | None, is_causal: bool) -> None:
        if query.dim() != 2:
            raise ValueError(
                f"query has shape {list(query.shape)}, but with a graph must be [num_dst, embed_dim]."
            )
        given = {
            "key_padding_mask": key_padding_mask is not None,
            "is_causal": is_causal,
            "add_bias_kv": self.bias_k is not None,
            "add_zero_attn": self.add_zero_attn,
        }
        for name, is_given in given.items():
            if is_given:
                raise ValueError(
                    f"{name} was given with a graph, but the graph's edges say which keys a query reads."
                )

    def _check_cache_options(self, graph: Topology | None) -> None:
        given = {
            "graph": graph is not None,
            "add_bias_kv": self.bias_k is not None,
            "add_zero_attn": self.add_zero_attn,
        }
        for name, is_given in given.items():
            if is_given:
                raise ValueError(
                    f"{name} was given with a cache, which holds keys of sequences and no others."
                )
