"""BERT: a Transformer's encoder that reads a text in both directions (Devlin et al., 2019).

Names of arguments and of weights are those of Hugging Face's `BertModel`, so that its checkpoints load; those
of DistilBERT and MiniLM are the same network. (DistilBERT in training drops nothing of what attention adds to
a word; a `Bert` with its weights does.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn import Graph, as_graph
from mpnn.graph.adjacency import Topology
from mpnn.models.dense.attention_masks import additive
from mpnn.models.language.bert_layers import Embeddings, Encoder, Layer, Pooler, draw
from mpnn.models.language.ids import check_ids, is_program
from mpnn.models.language.pretrained import Pretrained
from mpnn.models.parts.checks import (
    Check,
    at_least,
    check_multiple,
    check_probability,
    positive,
    ranges,
)


class BertOutput(NamedTuple):
    """What `Bert` returns; with a graph, `[num_nodes, ...]` instead of `[batch, length, ...]`."""

    last_hidden_state: Tensor  # [batch, length, hidden_size]
    pooler_output: Tensor | None  # [batch, hidden_size], of the first word of each text
    hidden_states: tuple[Tensor, ...] | None  # of the embeddings and of every layer
    attentions: tuple[Tensor, ...] | None  # [batch, heads, length, length] each, or [num_edges, heads]


SIZES: dict[str, Check] = {
    **dict.fromkeys(
        (
            "vocab_size",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        ),
        at_least(1),
    ),
    **dict.fromkeys(("num_hidden_layers", "type_vocab_size", "pad_token_id"), at_least(0)),
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), check_probability),
    **dict.fromkeys(("initializer_range", "layer_norm_eps"), positive),
}


@ranges(**SIZES)
class Bert(Pretrained):
    """Every word of a text attends to all others; `Bert.from_pretrained(folder)` has the weights of a folder.

    Args:
        vocab_size: how many words there are.
        hidden_size: the width.
        num_hidden_layers: how many layers.
        num_attention_heads: of each layer.
        intermediate_size: the width between the two linear maps of a layer.
        hidden_act: what is between them: "gelu", "relu", "silu", "gelu_new", ...
        hidden_dropout_prob: how much is dropped of what is added to a word.
        attention_probs_dropout_prob: how much is dropped of attention's weights.
        max_position_embeddings: how long a text may be.
        type_vocab_size: how many kinds of texts, such as question and answer; 0 for none.
        initializer_range: the deviation of the weights at the beginning.
        layer_norm_eps: of the normalisations.
        pad_token_id: the word that fills short texts, whose vector is not trained; or None.
        add_pooling_layer: whether there is a `pooler`.

    Raises:
        ValueError: a hidden_size that is no multiple of the heads.

    >>> model = Bert(vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    >>> words = torch.randint(100, (3, 7))
    >>> model(words).last_hidden_state.shape, model(words).pooler_output.shape
    (torch.Size([3, 7, 16]), torch.Size([3, 16]))
    >>> model(words[0], graph=mpnn.topology.band(7, 2)).last_hidden_state.shape
    torch.Size([7, 16])
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        add_pooling_layer: bool = True,
    ) -> None:
        super().__init__()
        check_multiple("hidden_size", hidden_size, "num_attention_heads", num_attention_heads)
        if pad_token_id is not None and pad_token_id >= vocab_size:
            raise ValueError(f"pad_token_id is {pad_token_id}, but must be below vocab_size, {vocab_size}.")
        eps, p, width = layer_norm_eps, hidden_dropout_prob, hidden_size
        self.hidden_size, self.hidden_act, self.layer_norm_eps = hidden_size, hidden_act, layer_norm_eps
        self.initializer_range = initializer_range
        self.embeddings = Embeddings(
            vocab_size, max_position_embeddings, type_vocab_size, width, pad_token_id, eps, p
        )
        sizes = (width, num_attention_heads, intermediate_size, hidden_act, attention_probs_dropout_prob)
        self.encoder = Encoder([Layer(*sizes, eps, p) for _ in range(num_hidden_layers)])
        self.pooler = Pooler(width) if add_pooling_layer else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        draw(self, self.initializer_range)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        graph: Topology | None = None,
    ) -> BertOutput:
        """Read texts.

        Args:
            input_ids: numbers of words, `[batch, length]`.
            attention_mask: 1 for a word, 0 for what fills a short text, `[batch, length]`; by default all 1.
            token_type_ids: the kind of text of each word, as input_ids; by default 0.
            position_ids: the place of each word, `[batch, length]` or `[1, length]`; by default 0, 1, 2, ...
            inputs_embeds: vectors `[batch, length, hidden_size]` instead of words.
            output_hidden_states: whether to return what every layer makes of the words.
            output_attentions: whether to return every layer's weights.
            graph: which words attend to which, instead of all to all within a text: input_ids are
                `[num_nodes]` then, and places begin anew with each graph of a batch.

        Raises:
            ValueError: words and vectors both or neither; a number outside its range; a text that is too long
                or has no word; a mask besides a graph.
        """
        words = self._words(input_ids, inputs_embeds, graph)
        graph = None if graph is None else as_graph(graph, words.size(0))
        places = self._places(words, position_ids, graph)
        if token_type_ids is not None:
            self._check_types(token_type_ids, words)
        bias = None if attention_mask is None else _bias(attention_mask, words, graph)
        x = self.embeddings(words, places, token_type_ids)
        states, attentions = [x], []
        for layer in self.encoder.layer:
            x, weights = layer(x, bias, graph, output_attentions)
            if output_hidden_states:
                states.append(x)
            if weights is not None:
                attentions.append(weights)
        first = x[:, 0] if graph is None else x[graph.node_ptr[:-1]]
        return BertOutput(
            x,
            None if self.pooler is None else self.pooler(first),
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    # What it takes, and what it refuses ---------------------------------------------------------------

    def _words(self, ids: Tensor | None, vectors: Tensor | None, graph: Topology | None) -> Tensor:
        """The vector of each word."""
        if (ids is None) == (vectors is None):
            both = "neither was given" if ids is None else "both were given"
            raise ValueError(f"input_ids or inputs_embeds must be given, but {both}.")
        ends = 1 if graph is not None else 2
        table = self.embeddings.word_embeddings
        if ids is not None:
            if ids.dim() != ends or 0 in ids.shape:
                wanted = "[num_nodes], with a graph" if graph is not None else "[batch, length], not empty"
                raise ValueError(f"input_ids is {list(ids.shape)}, but should be {wanted}.")
            check_ids("input_ids", ids, table.num_embeddings)
            found: Tensor = table(ids)
            return found
        assert vectors is not None
        if vectors.dim() != ends + 1 or vectors.size(-1) != self.hidden_size or 0 in vectors.shape:
            rows = "num_nodes" if graph is not None else "batch, length"
            raise ValueError(
                f"inputs_embeds is {list(vectors.shape)}, but should be [{rows}, {self.hidden_size}]."
            )
        return vectors

    def _places(self, words: Tensor, given: Tensor | None, graph: Graph | None) -> Tensor:
        most = self.embeddings.position_embeddings.num_embeddings
        if given is not None:
            if given.dim() != words.dim() - 1 or given.size(-1) != words.size(-2):
                raise ValueError(
                    f"position_ids is {list(given.shape)}, but should be {list(words.shape[:-1])}."
                )
            check_ids("position_ids", given, most)
            return given
        places = torch.arange(words.size(-2), device=words.device)
        longest = words.size(-2)
        if graph is not None and graph.num_graphs > 1:
            places = places - graph.node_ptr[graph.graph_index]
            lengths = graph.node_ptr.diff()
            longest = int(lengths.max())
            if int(lengths.min()) < 1:
                raise ValueError(
                    f"graph {int(lengths.argmin())} of the batch has no node, but a text has a word."
                )
        if longest > most:
            raise ValueError(
                f"a text has {longest} words, but at most max_position_embeddings = {most} are read."
            )
        return places

    def _check_types(self, types: Tensor, words: Tensor) -> None:
        if self.embeddings.token_type_embeddings is None:
            raise ValueError("token_type_ids was given, but this network has no types of texts.")
        if types.shape != words.shape[:-1]:
            raise ValueError(
                f"token_type_ids is {list(types.shape)}, but should be {list(words.shape[:-1])}."
            )
        check_ids("token_type_ids", types, self.embeddings.token_type_embeddings.num_embeddings)

    def extra_repr(self) -> str:
        """The width."""
        return f"hidden_size={self.hidden_size}"


def _bias(mask: Tensor, words: Tensor, graph: Graph | None) -> Tensor:
    """-inf for words that are not read, `[batch, 1, 1, length]`."""
    if graph is not None:
        raise ValueError(
            "attention_mask was given with a graph, but the graph's edges say which words a word reads."
        )
    if mask.shape != words.shape[:-1]:
        raise ValueError(f"attention_mask is {list(mask.shape)}, but should be {list(words.shape[:-1])}.")
    kept = mask != 0
    if not is_program():
        empty = ~kept.any(1)
        if bool(empty.any()):
            raise ValueError(f"attention_mask[{int(empty.nonzero()[0])}] is all 0, but a text has a word.")
    return additive(~kept, words)[:, None, None]
