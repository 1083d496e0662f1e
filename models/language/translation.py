"""Translation by recurrent networks: a writer attends to the words of a sentence (Bahdanau et al., 2015).

The attention is a message on the complete bipartite graph from the words of a sentence to its writers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mpnn import Graph, MessagePassing, softmax
from mpnn.functional import linear
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.recurrent import GRU
from mpnn.models.language.ids import checked_lengths
from mpnn.models.language.search import WORDS, Translator
from mpnn.models.parts.checks import at_least, check_probability, ranges
from mpnn.topology import complete_bipartite


class BahdanauAttention(MessagePassing):
    """c_i = Σ_j softmax_j(v·tanh(W s_i + U h_j + b)) h_j, from the words j of a sentence to the writer i."""

    has_own_edges = True

    def __init__(self, words: int, hidden: int) -> None:
        super().__init__("softmax")
        # torch.nn's: a message that reads a layer with a graph of its own neurons has no kernel.
        self.attn, self.v = nn.Linear(hidden + words, hidden), nn.Linear(hidden, 1, bias=False)

    def keys(self, h: Tensor) -> Tensor:
        """U h_j + b, which is the same in all steps."""
        return linear(h, self.attn.weight[:, self.attn.out_features :], self.attn.bias)

    def queries(self, s: Tensor) -> Tensor:
        """W s_i."""
        return linear(s, self.attn.weight[:, : self.attn.out_features])

    def edge_update(self, q_i: Tensor, k_j: Tensor) -> Tensor:  # type: ignore[override]
        """The score of every pair of a word and a writer."""
        return ((q_i + k_j).tanh() * self.v.weight[0]).sum(-1)

    def message(self, q_i: Tensor, k_j: Tensor, h_j: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.edge_update(q_i, k_j), h_j

    def forward(self, s: Tensor, h: Tensor, keys: Tensor, graph: Graph) -> Tensor:
        out: Tensor = self.propagate(graph, q=(None, self.queries(s)), k=(keys, None), h=(h, None))
        return out

    def weights(self, s: Tensor, keys: Tensor, graph: Graph) -> Tensor:
        """How much each writer reads of each word, `[num_edges]`."""
        scores = self.edge_updater(graph, q=(None, self.queries(s)), k=(keys, None))
        return softmax(scores, graph.dst, graph.num_dst)


class Encoder(nn.Module):
    """A GRU in both directions; its last states make the decoder's first."""

    def __init__(self, num_words: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, width)
        self.rnn = GRU(width, hidden, batch_first=True, bidirectional=True)
        self.fc, self.dropout = Linear(2 * hidden, hidden), nn.Dropout(dropout)

    def forward(self, src: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of words `[batch, length]`: a vector of each, without padding, and one of each sentence."""
        x = self.dropout(self.embedding(src))
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, last = self.rnn(packed)
        padded, _ = pad_packed_sequence(out, batch_first=True)
        is_word = torch.arange(padded.size(1), device=src.device) < lengths[:, None]
        return padded[is_word], self.fc(torch.cat([last[0], last[1]], 1)).tanh()


class Decoder(nn.Module):
    """A GRU that reads the word before and what it attends to."""

    def __init__(self, num_words: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding, self.attention = nn.Embedding(num_words, width), BahdanauAttention(2 * hidden, hidden)
        self.rnn = GRU(2 * hidden + width, hidden, batch_first=True)
        self.fc_out, self.dropout = Linear(3 * hidden + width, num_words), nn.Dropout(dropout)

    def forward(self, tokens: Tensor, state: Written) -> tuple[Tensor, Written]:
        """One step: `[batch]` -> what the scores of the next words are a linear map of, and the state."""
        x = self.dropout(self.embedding(tokens))
        read = self.attention(state.s, state.h, state.keys, state.graph)
        _, s = self.rnn(torch.cat([x, read], 1)[:, None], state.s[None])
        return torch.cat([s[0], read, x], 1), replace(state, s=s[0])


@dataclass(frozen=True)
class Written:
    """A decoder's state."""

    s: Tensor  # [batch * beams, hidden]
    h: Tensor  # [words of all sentences, 2 * hidden]
    keys: Tensor  # U h + b
    lengths: tuple[int, ...]
    graph: Graph  # from each word to the writers of its sentence

    def spread(self, beams: int) -> Written:
        """Several writers of each sentence, which share its words."""
        graph = complete_bipartite(self.lengths, (beams,) * len(self.lengths), device=self.s.device)
        return replace(self, s=self.s.repeat_interleave(beams, 0), graph=graph)

    def picked(self, rows: Tensor) -> Written:
        """Other writers of the same sentences."""
        return replace(self, s=self.s.index_select(0, rows))


@ranges(**WORDS, width=at_least(1), hidden_size=at_least(1))
class Seq2Seq(Translator):
    """Encoder and decoder, two recurrent networks, with attention between them (Bahdanau et al., 2015).

    Args:
        num_source: how many words the language that is read has.
        num_target: the same of the language that is written.
        width: of a word's vector.
        hidden_size: of the GRUs.
        dropout: of the vectors.
        pad: the word that fills short sentences up.
        bos: the word at a beginning.
        eos: the word at an end.

    Raises:
        ValueError: a sentence without a word; a word that is none; padding that is not at the end.

    >>> model = Seq2Seq(20, 30, width=8, hidden_size=16)
    >>> src, trg = torch.randint(4, 20, (3, 7)), torch.randint(4, 30, (3, 5))
    >>> model(src, trg).shape
    torch.Size([3, 4, 30])
    >>> len(model.translate(src, beams=2, max_length=6))
    3
    """

    def __init__(
        self,
        num_source: int,
        num_target: int,
        width: int = 256,
        hidden_size: int = 512,
        dropout: float = 0.5,
        pad: int = 1,
        bos: int = 2,
        eos: int = 3,
    ) -> None:
        super().__init__()
        self.take(num_source, num_target, pad, bos, eos)
        self.encoder = Encoder(num_source, width, hidden_size, dropout)
        self.decoder = Decoder(num_target, width, hidden_size, dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights: deviation 0.01, no biases."""
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.normal_(parameter, std=0.01)

    def encode(self, src: Tensor) -> Written:
        lengths = checked_lengths("src", src, self.encoder.embedding.num_embeddings, self.pad)
        h, s = self.encoder(src, lengths)
        numbers = tuple(lengths.tolist())
        graph = complete_bipartite(numbers, (1,) * len(numbers), device=src.device)
        return Written(s, h, self.decoder.attention.keys(h), numbers, graph)

    def step(self, tokens: Tensor, state: Written) -> tuple[Tensor, Written]:
        found, state = self.decoder(tokens, state)
        return self.decoder.fc_out(found), state

    def forward(self, src: Tensor, trg: Tensor, teacher_forcing_ratio: float = 1.0) -> Tensor:
        """The scores of the words behind each of `trg` but the last.

        Args:
            src: `[batch, length]`.
            trg: `[batch, length]`, from the beginning to the end.
            teacher_forcing_ratio: how often the decoder reads the word of `trg`, and not its own.
        """
        check_probability("teacher_forcing_ratio", teacher_forcing_ratio)
        checked_lengths("trg", trg, self.decoder.embedding.num_embeddings, self.pad)
        state, tokens, found = self.encode(src), trg[:, 0], []
        is_given = (torch.rand(trg.size(1)) < teacher_forcing_ratio).tolist()
        for t in range(1, trg.size(1)):
            row, state = self.decoder(tokens, state)
            found.append(row)
            tokens = trg[:, t]
            if not is_given[t]:
                with torch.no_grad():
                    tokens = self.decoder.fc_out(row).argmax(1)
        # The scores of all steps at once: most of the work.
        out: Tensor = self.decoder.fc_out(torch.stack(found, 1)) if found else self._nothing(trg)
        return out

    def _nothing(self, trg: Tensor) -> Tensor:
        weight = self.decoder.fc_out.weight
        return weight.new_zeros(trg.size(0), 0, weight.size(0))

    @torch.no_grad()
    def alignment(self, src: Tensor, trg: Tensor) -> list[Tensor]:
        """How much each word of a translation was read from each word of its sentence.

        Returns:
            For each sentence `[words of trg after the first, words of src]`; every row adds up to 1.
        """
        state, rows = self.encode(src), []
        for t in range(1, trg.size(1)):
            rows.append(self.decoder.attention.weights(state.s, state.keys, state.graph))
            _, state = self.decoder(trg[:, t - 1], state)
        written = (trg != self.pad).sum(1).tolist()
        parts = torch.split(torch.stack(rows), list(state.lengths), 1)
        return [part[: length - 1] for part, length in zip(parts, written, strict=True)]
