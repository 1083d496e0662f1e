"""A causal Transformer: a language model on the graph with an edge from each token to every later one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mpnn.functional import matmul
from mpnn.graph.adjacency import Topology
from mpnn.models.dense.key_values import KeyValues
from mpnn.models.dense.transformer import TransformerEncoder, TransformerEncoderLayer
from mpnn.models.networks.language_model import LanguageModel
from mpnn.models.parts.checks import at_least, check_multiple, check_probability, ranges


class Past(NamedTuple):
    """The tokens that were read: how many, and the keys and values of each layer."""

    length: int
    layers: tuple[KeyValues, ...]


@ranges(
    num_tokens=at_least(1),
    channels=at_least(1),
    heads=at_least(1),
    num_layers=at_least(0),
    context=at_least(1),
    dropout=check_probability,
)
class CausalTransformer(LanguageModel):
    """A small GPT-2 (Radford et al., 2019): the embedding is also the output map, normalisation comes first.

    With a `graph`, the tokens `[num_nodes]` attend to their neighbours instead of to all tokens before them,
    and the logits are `[num_nodes, num_tokens]`: for windowed attention, `topology.band(num_nodes, window,
    causal=True)`.

    With a state, that of `beginning` or of the call before, a call reads the tokens that follow those of the
    state, and the keys and values of each layer go on from there: a step of generation costs one row. Without
    one, a call returns none.

    Raises:
        ValueError: channels that are no multiple of heads; more tokens than the context holds; a state of
            another model or batch, or besides a graph.

    >>> model = CausalTransformer(num_tokens=65, channels=16, heads=2, num_layers=2, context=32)
    >>> logits, _ = model(torch.randint(65, (4, 32)))
    >>> logits.shape
    torch.Size([4, 32, 65])
    >>> logits, state = model(torch.randint(65, (4, 31)), model.beginning())
    >>> model(torch.randint(65, (4, 1)), state)[0].shape
    torch.Size([4, 1, 65])
    >>> window = mpnn.topology.band(32, 8, causal=True)
    >>> model(torch.randint(65, (32,)), graph=window)[0].shape
    torch.Size([32, 65])
    """

    remembers = False
    context: int

    def __init__(
        self,
        num_tokens: int,
        channels: int = 128,
        heads: int = 4,
        num_layers: int = 4,
        context: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_multiple("channels", channels, "heads", heads)
        self.num_tokens, self.context = num_tokens, context
        self.embed, self.place = nn.Embedding(num_tokens, channels), nn.Embedding(context, channels)
        self.dropout = nn.Dropout(dropout)
        layer = TransformerEncoderLayer(
            channels, heads, 4 * channels, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = TransformerEncoder(layer, num_layers, nn.LayerNorm(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as GPT-2 does: deviation 0.02, and less for maps into the residual stream."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                added = name.endswith(("out_proj.weight", "linear2.weight"))
                depth = 2 * len(self.layers.layers) if added else 1
                nn.init.normal_(parameter, std=0.02 / math.sqrt(depth))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def beginning(self) -> Past:
        """A state without tokens."""
        return Past(0, tuple(KeyValues() for _ in self.layers.layers))

    def forward(
        self, tokens: Tensor, state: Past | None = None, *, graph: Topology | None = None
    ) -> tuple[Tensor, Past | None]:
        before = 0 if state is None else self._read(state, graph)
        length = tokens.size(-1)
        if before + length > self.context:
            behind = f" behind {before} others" if before else ""
            raise ValueError(f"tokens are {length} in a row{behind}, but context is {self.context}")
        places = torch.arange(before, before + length, device=tokens.device)
        x = self.dropout(self.embed(tokens) + self.place(places))
        if graph is not None:
            x = self.layers(x, graph=graph)
        elif state is None:
            x = self.layers(x, is_causal=True)
        else:
            # Copies: what was given may be gone on from again.
            state = Past(before + length, tuple(one.copy() for one in state.layers))
            x = self.layers(x, is_causal=True, caches=state.layers)
        return matmul(x, self.embed.weight.T), state

    def _read(self, state: Past, graph: Topology | None) -> int:
        """How many tokens a state is of."""
        layers = len(self.layers.layers)
        if not isinstance(state, Past):
            raise ValueError(
                f"state is a {type(state).__name__}, but should be what beginning() or a call returned"
            )
        if len(state.layers) != layers:
            raise ValueError(f"state is of {len(state.layers)} layers, but this model has {layers}")
        if graph is not None:
            raise ValueError("state was given with a graph, but a graph holds all tokens that are read")
        return state.length
