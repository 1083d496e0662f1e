"""What is read off a BERT: words that were hidden from it, or the class of a text (Devlin et al., 2019)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.models.dense.neurons import Linear
from mpnn.models.language.bert import Bert
from mpnn.models.language.bert_layers import draw, nonlinearity
from mpnn.models.language.ids import check_ids
from mpnn.models.language.pretrained import Pretrained
from mpnn.models.parts.checks import at_least, check_probability, ranges

HIDDEN = -100  # the label of a word that is not asked for


class Scored(NamedTuple):
    """What a head returns."""

    loss: Tensor | None  # the mean cross-entropy, where labels were given
    logits: Tensor


class Transform(nn.Module):
    """norm(f(W h))."""

    def __init__(self, width: int, act: str, eps: float) -> None:
        super().__init__()
        self.dense, self.act, self.LayerNorm = (
            Linear(width, width),
            nonlinearity(act),
            nn.LayerNorm(width, eps),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.act(self.dense(x)))
        return out


class Predictions(nn.Module):
    """The score of every word at every place; the words' own vectors are the map."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        words = bert.embeddings.word_embeddings
        self.bias = nn.Parameter(words.weight.new_zeros(words.num_embeddings))
        self.transform = Transform(bert.hidden_size, bert.hidden_act, bert.layer_norm_eps)
        self.decoder = Linear(bert.hidden_size, words.num_embeddings)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.transform(x))
        return out


class Heads(nn.Module):
    """By Hugging Face's name."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.predictions = Predictions(bert)


class BertForMaskedLM(Pretrained):
    """The words at hidden places: a BERT, and a map back to words, which shares their vectors.

    `BertForMaskedLM.from_pretrained(folder)` has the weights of a folder that holds such a head.

    Args:
        bert: the network.

    >>> bert = Bert(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertForMaskedLM(bert)
    >>> model(torch.randint(100, (3, 7))).logits.shape
    torch.Size([3, 7, 100])
    """

    has_head = True

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert, self.cls = bert, Heads(bert)
        draw(self.cls, bert.initializer_range)
        self.tie()

    @classmethod
    def built(cls, config: dict[str, Any]) -> BertForMaskedLM:
        """Without numbers."""
        return cls(Bert(**{**config, "add_pooling_layer": False}))

    def tie(self) -> None:
        """Share the vectors of words, and Hugging Face's two names of the bias."""
        predictions = self.cls.predictions
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        predictions.decoder.bias = predictions.bias

    def forward(self, *inputs: Tensor | None, labels: Tensor | None = None, **more: Any) -> Scored:
        """Read texts in which words are hidden.

        Args:
            *inputs: what `Bert` takes.
            labels: the words that were there, as input_ids, or -100 where none is asked for.
            **more: what `Bert` takes.
        """
        logits = self.cls.predictions(self.bert(*inputs, **more).last_hidden_state)
        return Scored(None if labels is None else _loss(logits, labels), logits)


@ranges(num_labels=at_least(1), dropout=check_probability)
class BertForSequenceClassification(nn.Module):
    """The class of a text, from its first word.

    Args:
        bert: the network, with a pooler.
        num_labels: the number of classes.
        dropout: how much is dropped before the last map.

    Raises:
        ValueError: the network has no pooler.

    >>> bert = Bert(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> BertForSequenceClassification(bert, 5)(torch.randint(100, (3, 7))).logits.shape
    torch.Size([3, 5])
    """

    def __init__(self, bert: Bert, num_labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        if bert.pooler is None:
            raise ValueError("bert has no pooler, but a class is read off it: pass add_pooling_layer=True.")
        self.bert, self.dropout = bert, nn.Dropout(dropout)
        self.classifier = Linear(bert.hidden_size, num_labels)
        draw(self.classifier, bert.initializer_range)

    def forward(self, *inputs: Tensor | None, labels: Tensor | None = None, **more: Any) -> Scored:
        """Read texts; `labels` are their classes `[batch]`, all else is what `Bert` takes."""
        logits = self.classifier(self.dropout(self.bert(*inputs, **more).pooler_output))
        return Scored(None if labels is None else _loss(logits, labels), logits)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels is {list(labels.shape)}, but should be {list(logits.shape[:-1])}.")
    asked = labels != HIDDEN
    check_ids("labels", torch.where(asked, labels, 0), logits.size(-1))
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten().long(), ignore_index=HIDDEN)
