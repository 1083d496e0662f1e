"""The Transformer (Vaswani et al., 2017), with attention as message passing.

Every class takes torch.nn's arguments and state_dict. Where it attends to one set of nodes, it also takes a
`graph`: nodes `[num_nodes, d_model]` then attend to their neighbours instead of to all nodes. With caches of
keys and values (`KeyValues`), one for each attention, a sequence is read piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.dense.key_values import KeyValues
from mpnn.models.dense.multihead_attention import MultiheadAttention
from mpnn.models.parts.checks import Check, at_least, check_multiple, check_probability, positive, ranges
from mpnn.models.parts.linear import through

Activation = str | Callable[[Tensor], Tensor]
Device = torch.device | str | None
C = TypeVar("C")


LAYER: dict[str, Check] = {
    **dict.fromkeys(("d_model", "nhead", "dim_feedforward"), at_least(1)),
    "dropout": check_probability,
    "layer_norm_eps": positive,
}


@ranges(**LAYER)
class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """x + attention, then x + MLP, each with a normalisation behind it (or before it: `norm_first`).

    Shapes: as torch.nn's, or with `graph` src `[num_nodes, d_model]`, src_mask as for `MultiheadAttention`.

    >>> layer = TransformerEncoderLayer(8, nhead=2)
    >>> layer(torch.randn(1000, 8), graph=mpnn.topology.band(1000, 16)).shape
    torch.Size([1000, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_multiple("d_model", d_model, "nhead", nhead)
        super().__init__(
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
        )

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        *,
        graph: Topology | None = None,
        cache: KeyValues | None = None,
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            out, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal, graph=graph, cache=cache
            )
            dropped: Tensor = self.dropout1(out)
            return dropped

        x = _add(src, attend, self.norm1, self.norm_first)
        return _add(x, lambda x: self.dropout2(_mlp(self, x)), self.norm2, self.norm_first)


@ranges(**LAYER)
class TransformerDecoderLayer(nn.TransformerDecoderLayer):
    """Three residual parts: x + attention to x, x + attention to the memory, x + MLP(x).

    Shapes: as torch.nn's; with `graph` tgt `[num_nodes, d_model]`, with `memory_graph`, which leads from the
    nodes of the memory to those of the target, memory `[num_memory, d_model]`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_multiple("d_model", d_model, "nhead", nhead)
        super().__init__(
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )
        for name in ("self_attn", "multihead_attn"):
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            setattr(self, name, attention)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        graph: Topology | None = None,
        memory_graph: Topology | None = None,
        cache: KeyValues | None = None,
        memory_cache: KeyValues | None = None,
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            out, _ = self.self_attn(
                x,
                x,
                x,
                tgt_key_padding_mask,
                False,
                tgt_mask,
                is_causal=tgt_is_causal,
                graph=graph,
                cache=cache,
            )
            dropped: Tensor = self.dropout1(out)
            return dropped

        def attend_to_memory(x: Tensor) -> Tensor:
            out, _ = self.multihead_attn(
                x,
                memory,
                memory,
                memory_key_padding_mask,
                False,
                memory_mask,
                is_causal=memory_is_causal,
                graph=memory_graph,
                cache=memory_cache,
            )
            dropped: Tensor = self.dropout2(out)
            return dropped

        x = _add(tgt, attend, self.norm1, self.norm_first)
        x = _add(x, attend_to_memory, self.norm2, self.norm_first)
        return _add(x, lambda x: self.dropout3(_mlp(self, x)), self.norm3, self.norm_first)


def _mlp(layer: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, x: Tensor) -> Tensor:
    """The layer's MLP: two linear maps, with the activation and dropout between them."""
    hidden: Tensor = layer.dropout(layer.activation(through(layer.linear1, x)))
    return through(layer.linear2, hidden)


def _add(x: Tensor, change: Callable[[Tensor], Tensor], norm: nn.Module, norm_first: bool) -> Tensor:
    out: Tensor = x + change(norm(x)) if norm_first else norm(x + change(x))
    return out


@ranges(num_layers=at_least(0))
class TransformerEncoder(nn.TransformerEncoder):
    """Encoder layers on top of each other.

    Raises:
        ValueError: `enable_nested_tensor=True`: padding is masked, not removed.
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: nn.Module | None = None,
        enable_nested_tensor: bool = False,
    ) -> None:
        if enable_nested_tensor:
            raise ValueError(
                "enable_nested_tensor is True, but must be False: padding is masked, not removed."
            )
        super().__init__(encoder_layer, num_layers, norm, enable_nested_tensor=False)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
        *,
        graph: Topology | None = None,
        caches: Sequence[KeyValues] | None = None,
    ) -> Tensor:
        if is_causal is None:
            is_causal = graph is None and _is_causal(mask)
        x = src
        for layer, cache in _with_caches(self.layers, caches):
            x = layer(x, mask, src_key_padding_mask, is_causal, graph=graph, cache=cache)
        return x if self.norm is None else self.norm(x)


@ranges(num_layers=at_least(0))
class TransformerDecoder(nn.TransformerDecoder):
    """Decoder layers on top of each other."""

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        graph: Topology | None = None,
        memory_graph: Topology | None = None,
        caches: Sequence[tuple[KeyValues, KeyValues]] | None = None,
    ) -> Tensor:
        if tgt_is_causal is None:
            tgt_is_causal = graph is None and _is_causal(tgt_mask)
        x = tgt
        for layer, cache in _with_caches(self.layers, caches):
            own, of_memory = (None, None) if cache is None else cache
            x = layer(
                x,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                tgt_is_causal,
                memory_is_causal,
                graph=graph,
                memory_graph=memory_graph,
                cache=own,
                memory_cache=of_memory,
            )
        return x if self.norm is None else self.norm(x)


def _with_caches(layers: nn.ModuleList, caches: Sequence[C] | None) -> Iterator[tuple[nn.Module, C | None]]:
    """Every layer, with its cache where there are any."""
    if caches is not None and len(caches) != len(layers):
        raise ValueError(f"caches holds {len(caches)}, but there are {len(layers)} layers.")
    return zip(layers, [None] * len(layers) if caches is None else caches, strict=True)


def _is_causal(mask: Tensor | None) -> bool:
    """Whether an additive mask is the causal one, for which the kernel needs no mask."""
    if mask is None or mask.dim() != 2 or mask.size(0) != mask.size(1) or mask.dtype == torch.bool:
        return False
    causal = nn.Transformer.generate_square_subsequent_mask(mask.size(0), mask.device, mask.dtype)
    return torch.equal(mask, causal)


@ranges(**LAYER, num_encoder_layers=at_least(0), num_decoder_layers=at_least(0))
class Transformer(nn.Transformer):
    """Encoder and decoder; arguments, shapes and state_dict are those of `torch.nn.Transformer`.

    >>> model = Transformer(8, nhead=2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=16)
    >>> model(torch.randn(5, 3, 8), torch.randn(4, 3, 8)).shape
    torch.Size([4, 3, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: nn.Module | None = None,
        custom_decoder: nn.Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_multiple("d_model", d_model, "nhead", nhead)

        def norm() -> nn.LayerNorm:
            return nn.LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        options = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )
        encoder, decoder = custom_encoder, custom_decoder
        if encoder is None:
            encoder = TransformerEncoder(TransformerEncoderLayer(*options), num_encoder_layers, norm())
        if decoder is None:
            decoder = TransformerDecoder(TransformerDecoderLayer(*options), num_decoder_layers, norm())
        super().__init__(
            d_model, nhead, custom_encoder=encoder, custom_decoder=decoder, batch_first=batch_first
        )
