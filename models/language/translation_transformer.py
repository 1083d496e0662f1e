"""Translation by attention alone (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from mpnn.models.dense.key_values import KeyValues
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from mpnn.models.language.ids import checked_lengths
from mpnn.models.language.search import WORDS, Translator
from mpnn.models.parts.checks import at_least, check_multiple, ranges


@dataclass(frozen=True)
class Decoded:
    """A decoder's state: the keys and values of every layer, of its own words and of the memory."""

    memory: Tensor
    is_padding: Tensor
    caches: tuple[tuple[KeyValues, KeyValues], ...]
    length: int = 0

    def spread(self, beams: int) -> Decoded:
        """Each sentence several times; nothing is written yet."""
        rows = torch.arange(len(self.memory), device=self.memory.device).repeat_interleave(beams)
        return replace(self, memory=self.memory[rows], is_padding=self.is_padding[rows])

    def picked(self, rows: Tensor) -> Decoded:
        """Other beginnings of the same sentences: the memory stays."""
        return replace(self, caches=tuple((own.rows(rows), memory) for own, memory in self.caches))


@ranges(
    **WORDS,
    **dict.fromkeys(("d_model", "nhead", "dim_feedforward", "max_positions"), at_least(1)),
    num_layers=at_least(0),
)
class TranslationTransformer(Translator):
    """An encoder and a decoder of attention layers, with learned places (Vaswani et al., 2017).

    Args:
        num_source: how many words the language that is read has.
        num_target: the same of the language that is written.
        d_model: the width.
        nhead: how many heads each attention has.
        num_layers: of the encoder, and of the decoder.
        dim_feedforward: the width between the two linear maps of a layer.
        dropout: how much of what is added to a word is dropped, and of attention's weights.
        max_positions: how long a sentence may be.
        pad: the word that fills short sentences up.
        bos: the word at a beginning.
        eos: the word at an end.

    Raises:
        ValueError: a sentence without a word, or longer than `max_positions`; a word that is none; padding
            that is not at the end.

    >>> model = TranslationTransformer(20, 30, d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
    >>> model(torch.randint(4, 20, (3, 7)), torch.randint(4, 30, (3, 5))).shape
    torch.Size([3, 4, 30])
    """

    def __init__(
        self,
        num_source: int,
        num_target: int,
        d_model: int = 256,
        nhead: int = 8,
        num_layers: int = 3,
        dim_feedforward: int = 512,
        dropout: float = 0.1,
        max_positions: int = 100,
        pad: int = 1,
        bos: int = 2,
        eos: int = 3,
    ) -> None:
        super().__init__()
        check_multiple("d_model", d_model, "nhead", nhead)
        self.take(num_source, num_target, pad, bos, eos)
        self.source, self.source_place = (
            nn.Embedding(num_source, d_model),
            nn.Embedding(max_positions, d_model),
        )
        self.target, self.target_place = (
            nn.Embedding(num_target, d_model),
            nn.Embedding(max_positions, d_model),
        )
        sizes = (d_model, nhead, dim_feedforward, dropout)
        self.encoder = TransformerEncoder(TransformerEncoderLayer(*sizes, batch_first=True), num_layers)
        self.decoder = TransformerDecoder(TransformerDecoderLayer(*sizes, batch_first=True), num_layers)
        self.out, self.dropout = Linear(d_model, num_target), nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all matrices as Glorot and Bengio (2010) do; biases as torch.nn does."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def encode(self, src: Tensor) -> Decoded:
        checked_lengths("src", src, self.source.num_embeddings, self.pad)
        is_padding = src == self.pad
        memory = self.encoder(self._placed(src, self.source, self.source_place), None, is_padding)
        caches = tuple((KeyValues(), KeyValues(grows=False)) for _ in self.decoder.layers)
        return Decoded(memory, is_padding, caches)

    def step(self, tokens: Tensor, state: Decoded) -> tuple[Tensor, Decoded]:
        caches = tuple((own.copy(), memory) for own, memory in state.caches)
        x = self._placed(tokens[:, None], self.target, self.target_place, state.length)
        x = self.decoder(
            x,
            state.memory,
            memory_key_padding_mask=state.is_padding,
            tgt_is_causal=True,
            caches=caches,
        )
        return self.out(x[:, 0]), replace(state, caches=caches, length=state.length + 1)

    def forward(self, src: Tensor, trg: Tensor) -> Tensor:
        """The scores of the words behind each of `trg` but the last; both are `[batch, length]`."""
        checked_lengths("trg", trg, self.target.num_embeddings, self.pad)
        state = self.encode(src)
        x = self._placed(trg[:, :-1], self.target, self.target_place)
        x = self.decoder(x, state.memory, memory_key_padding_mask=state.is_padding, tgt_is_causal=True)
        out: Tensor = self.out(x)
        return out

    def _placed(self, tokens: Tensor, words: nn.Embedding, places: nn.Embedding, before: int = 0) -> Tensor:
        """√d word + place."""
        length = tokens.size(1)
        if before + length > places.num_embeddings:
            raise ValueError(
                f"a sentence has {before + length} words, but at most max_positions = "
                f"{places.num_embeddings} are read."
            )
        x = words(tokens) * math.sqrt(words.embedding_dim)
        numbers = torch.arange(before, before + length, device=tokens.device)
        return cast(Tensor, self.dropout(x + places(numbers)))
