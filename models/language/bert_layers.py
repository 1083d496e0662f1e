"""The layers of BERT, with Hugging Face's names of weights (Devlin et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.models.dense.dot_product import DotProductAttention
from mpnn.models.dense.neurons import Linear
from mpnn.models.parts.activation import activation

# What Hugging Face calls activations that torch.nn calls otherwise.
ACTIVATIONS = {"gelu_new": ("gelu", "tanh"), "gelu_pytorch_tanh": ("gelu", "tanh"), "swish": ("silu", None)}


class Table(nn.Embedding):
    """Rows by number, which the network draws."""

    def reset_parameters(self) -> None:
        """Leave the rows to the network."""


class Embeddings(nn.Module):
    """norm(word + position + type)."""

    def __init__(
        self, vocab: int, positions: int, types: int, width: int, pad: int | None, eps: float, p: float
    ) -> None:
        super().__init__()
        self.word_embeddings = Table(vocab, width, padding_idx=pad)
        self.position_embeddings = Table(positions, width)
        self.token_type_embeddings = Table(types, width) if types else None
        self.LayerNorm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(p)

    def forward(self, words: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        x = words
        if self.token_type_embeddings is not None:
            types = self.token_type_embeddings
            x = x + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        out: Tensor = self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))
        return out


class SelfAttention(DotProductAttention):
    """Σ_j softmax_j(q_i·k_j / √d) v_j, j over the words of i's text, or over i's neighbours in a graph."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.dropout = heads, width // heads, dropout
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))

    def forward(
        self, x: Tensor, bias: Tensor | None, graph: Graph | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        q, k, v = (
            rows(x).unflatten(-1, (self.num_heads, self.head_dim))
            for rows in (self.query, self.key, self.value)
        )
        if graph is not None:
            out, weights = self.attend_along(graph, q, k, v, bias, need_weights)
            return out.flatten(1), weights
        q, k, v = (rows.transpose(1, 2) for rows in (q, k, v))  # [batch, heads, length, head_dim]
        out, weights = self.attend(q, k, v, bias, need_weights=need_weights)
        return out.transpose(1, 2).flatten(2), weights


class Added(nn.Module):
    """norm(x + W change)."""

    def __init__(self, wide: int, width: int, eps: float, p: float) -> None:
        super().__init__()
        self.dense = Linear(wide, width)
        self.LayerNorm, self.dropout = nn.LayerNorm(width, eps), nn.Dropout(p)

    def forward(self, change: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(x + self.dropout(self.dense(change)))
        return out


class Attention(nn.Module):
    """x + attention to x, normalised."""

    def __init__(self, width: int, heads: int, dropout: float, eps: float, p: float) -> None:
        super().__init__()
        self.self, self.output = SelfAttention(width, heads, dropout), Added(width, width, eps, p)


class Intermediate(nn.Module):
    """f(W x), wider than x."""

    def __init__(self, width: int, wide: int, act: str) -> None:
        super().__init__()
        self.dense, self.act = Linear(width, wide), nonlinearity(act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.dense(x))
        return out


class Layer(nn.Module):
    """y = norm(x + attention(x)), then norm(y + V f(W y))."""

    def __init__(
        self, width: int, heads: int, wide: int, act: str, dropout: float, eps: float, p: float
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout, eps, p)
        self.intermediate, self.output = Intermediate(width, wide, act), Added(wide, width, eps, p)

    def forward(
        self, x: Tensor, bias: Tensor | None, graph: Graph | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        change, weights = self.attention.self(x, bias, graph, need_weights)
        y = self.attention.output(change, x)
        return self.output(self.intermediate(y), y), weights


class Encoder(nn.Module):
    """Layers on top of each other."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


class Pooler(nn.Module):
    """tanh(W h) of the first word of a text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, first: Tensor) -> Tensor:
        out: Tensor = self.dense(first).tanh()
        return out


def nonlinearity(act: str) -> nn.Module:
    """An activation by Hugging Face's or torch.nn's name."""
    if not isinstance(act, str):
        raise TypeError(f"hidden_act must be a name, got {act!r}.")
    name, kind = ACTIVATIONS.get(act, (act, None))
    return activation(name) if kind is None else activation(name, approximate=kind)


def draw(network: nn.Module, deviation: float) -> None:
    """Draw the weights as BERT does: normal ones, no bias, nothing for the word that pads."""
    for module in network.modules():
        if not isinstance(module, nn.Linear | nn.Embedding) or module.weight.is_meta:
            continue
        nn.init.normal_(module.weight, std=deviation)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
