"""Translators equal plain PyTorch with the same weights, and their search finds what enumeration finds."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models
from mpnn.models.language.search import Translator
from tests.compare import assert_close, assert_same
from tests.models.language.plain_translation import PlainSeq2Seq

SRC = torch.tensor([[4, 5, 6, 7, 8], [9, 4, 1, 1, 1], [5, 5, 10, 1, 1]])
TRG = torch.tensor([[2, 7, 4, 5, 3], [2, 6, 3, 1, 1], [2, 8, 4, 3, 1]])


def drawn(model: Any) -> Any:
    torch.manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6)
    return model.double()


def seq2seq(**options: Any) -> models.Seq2Seq:
    return drawn(models.Seq2Seq(11, 9, 4, 5, **{"dropout": 0.0, **options}))


def transformer(words: int = 9) -> models.TranslationTransformer:
    return drawn(models.TranslationTransformer(11, words, 8, 2, 2, 12, dropout=0.0, max_positions=12))


class On(nn.Module):
    """A translator on a backend."""

    def __init__(self, model: nn.Module, backend: str, *more: Any) -> None:
        super().__init__()
        self.backend, self.more = backend, more
        for name, part in model.named_children():
            setattr(self, name, part)
        self.models = [model]

    def forward(self, src: Tensor, trg: Tensor) -> Tensor:
        with mpnn.backend(self.backend):
            return self.models[0](src, trg, *self.more)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("own_words", [False, True])
def test_a_recurrent_translator_equals_plain_pytorch(own_words: bool, backend: str) -> None:
    model = seq2seq()
    theirs = PlainSeq2Seq(model)
    ours = On(model, backend, 0.0 if own_words else 1.0)
    assert_same(ours, lambda src, trg: theirs(src, trg, own_words), [SRC, TRG], gradients=False)
    if not own_words:
        assert_same(ours, theirs, [SRC, TRG])


class PlainTransformer(nn.Module):
    """The parameters of a `TranslationTransformer`, in torch.nn's layers."""

    def __init__(self, model: models.TranslationTransformer) -> None:
        super().__init__()
        for name, part in model.named_children():
            setattr(self, name, part)
        layers = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
        encoder, decoder = (kind(8, 2, 12, 0.0, batch_first=True) for kind in layers)
        self.layers = [
            nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False).double(),  # type: ignore[arg-type]
            nn.TransformerDecoder(decoder, 2).double(),  # type: ignore[arg-type]
        ]

    def forward(self, src: Tensor, trg: Tensor) -> Tensor:
        m: Any = self
        padding, trg = src == 1, trg[:, :-1]
        x = m.source.weight[src] * math.sqrt(8) + m.source_place.weight[: src.size(1)]
        y = m.target.weight[trg] * math.sqrt(8) + m.target_place.weight[: trg.size(1)]
        call = torch.func.functional_call
        memory = call(self.layers[0], dict(m.encoder.named_parameters()), (x, None, padding))
        causal = nn.Transformer.generate_square_subsequent_mask(trg.size(1), dtype=torch.float64)
        given = {"memory_key_padding_mask": padding}
        out = call(self.layers[1], dict(m.decoder.named_parameters()), (y, memory, causal), given)
        return out @ m.out.weight.T + m.out.bias


@pytest.mark.parametrize("backend", ["auto", "dense", "eager"])
def test_a_transformer_equals_plain_pytorch(backend: str) -> None:
    model = transformer()
    assert_same(On(model, backend), PlainTransformer(model), [SRC, TRG])


def test_the_sizes_of_the_protocol_are_those_of_the_notebooks() -> None:
    with torch.device("meta"):
        both = models.Seq2Seq(7853, 5893), models.TranslationTransformer(7853, 5893)
    assert [sum(p.numel() for p in model.parameters()) for model in both] == [20_518_405, 9_038_341]
    names = {name for name, _ in both[0].named_parameters()}
    assert {"decoder.attention.attn.weight", "decoder.attention.v.weight", "decoder.fc_out.bias"} <= names


def test_what_is_read_of_each_word_adds_up_to_one() -> None:
    model = seq2seq()
    found = model.alignment(SRC, TRG)
    assert [tuple(weights.shape) for weights in found] == [(4, 5), (2, 2), (3, 3)]
    state = model.encode(SRC)
    for k, words in enumerate(state.h.split([5, 2, 3])):
        assert_close(found[k].sum(1), torch.ones(len(found[k])).double())
        scores = [
            model.decoder.attention.v.weight[0]
            @ (model.decoder.attention.queries(state.s[k]) + model.decoder.attention.keys(word)).tanh()
            for word in words
        ]
        assert_close(found[k][0], torch.stack(scores).softmax(0))


# Search ---------------------------------------------------------------------------------------------------

BUILD: dict[str, Any] = {"recurrent": seq2seq, "transformer": transformer}


@pytest.mark.parametrize("name", BUILD)
def test_step_by_step_is_all_at_once(name: str) -> None:
    model = BUILD[name]()
    state, found = model.encode(SRC), []
    for t in range(TRG.size(1) - 1):
        logits, state = model.step(TRG[:, t], state)
        found.append(logits)
    assert_close(torch.stack(found, 1), model(SRC, TRG))


@pytest.mark.parametrize("name", BUILD)
def test_one_beam_takes_the_likeliest_word(name: str) -> None:
    model = BUILD[name]()
    for k, found in enumerate(model.translate(SRC, max_length=8)):
        length = int((SRC[k] != 1).sum())
        text = [2]
        for _ in range(7):
            logits = model(SRC[k : k + 1, :length], torch.tensor([[*text, 0]]))[0, -1]
            logits[[1, 2]] = -torch.inf
            text.append(int(logits.argmax()))
            if text[-1] == 3:
                break
        wanted = text[1:-1] if text[-1] == 3 else text[1:]
        assert found.tokens == wanted


def every(model: Translator, src: Tensor, power: float) -> dict[tuple[int, ...], float]:
    """The score of every sentence of up to three words."""
    found = {}
    for length in range(4):
        for text in product([0, 4, 5], repeat=length):
            logp = model(src, torch.tensor([[2, *text, 3]]))[0].log_softmax(1).detach()
            total = sum(float(logp[k, word]) for k, word in enumerate([*text, 3]))
            found[text] = total / (length + 1) ** power
    return found


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("name", BUILD)
def test_as_many_beams_as_sentences_find_the_best_of_all(name: str, power: float) -> None:
    model = transformer(6) if name == "transformer" else drawn(models.Seq2Seq(11, 6, 4, 5, dropout=0.0))
    found = model.translate(SRC, beams=64, max_length=4, length_penalty=power)
    for k, one in enumerate(found):
        src = SRC[k : k + 1, : int((SRC[k] != 1).sum())]
        scores = every(model, src, power)
        best = max(scores, key=lambda text: scores[text])
        assert tuple(one.tokens) == best
        assert abs(one.score - scores[best]) < 1e-10


@pytest.mark.parametrize("name", BUILD)
def test_more_beams_find_no_worse_and_padding_changes_nothing(name: str) -> None:
    model = BUILD[name]()
    one, four = (model.translate(SRC, beams=beams, max_length=6, length_penalty=0.0) for beams in (1, 8))
    assert all(more.score >= less.score - 1e-12 for less, more in zip(one, four, strict=True))
    for k, found in enumerate(four):
        alone = model.translate(
            SRC[k : k + 1, : int((SRC[k] != 1).sum())], beams=8, max_length=6, length_penalty=0.0
        )
        assert alone[0].tokens == found.tokens and abs(alone[0].score - found.score) < 1e-10


@pytest.mark.parametrize("name", BUILD)
def test_a_small_translator_learns_to_turn_sentences_round(name: str) -> None:
    torch.manual_seed(0)
    model: Any = models.Seq2Seq(9, 9, 16, 32, dropout=0.0)
    if name == "transformer":
        model = models.TranslationTransformer(9, 9, 32, 4, 1, 64, dropout=0.0, max_positions=8)
    words = torch.randint(4, 9, (64, 3))
    ends = torch.tensor([[2, 3]]).expand(64, 2)
    trg = torch.cat([ends[:, :1], words.flip(1), ends[:, 1:]], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2 if name == "recurrent" else 3e-3)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(words, trg).flatten(0, 1), trg[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = [one.tokens for one in model.translate(words, beams=2, max_length=6)]
    right = sum(one == text for one, text in zip(found, words.flip(1).tolist(), strict=True))
    assert right >= 56


# Mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILD)
def test_mistakes_are_named(name: str) -> None:
    model = BUILD[name]()
    for src, said in (
        (SRC[0], r"src is \[5\], but should be \[batch, length\], not empty"),
        (SRC[:, :0], r"src is \[3, 0\], but should be \[batch, length\], not empty"),
        (torch.tensor([[4, 5], [1, 1]]), r"src\[1\] is all padding, but a sentence has a word"),
        (torch.tensor([[4, 5], [1, 4]]), r"src\[1\] has words behind padding, which must be at its end"),
        (SRC + 3, r"src\[0, 4\] is 11, but must be from 0 to 10"),
    ):
        with pytest.raises(ValueError, match=said):
            model(src, TRG)
    with pytest.raises(ValueError, match=r"trg\[0, 1\] is 9, but must be from 0 to 8"):
        model(SRC, torch.where(TRG == 7, 9, TRG))
    for options, said in (
        ({"beams": 0}, "beams must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"length_penalty": torch.nan}, "length_penalty must be a finite number, got nan"),
    ):
        with pytest.raises(ValueError, match=said):
            model.translate(SRC, **options)
    kind = type(model)
    with pytest.raises(ValueError, match="eos is 9, but must be below num_target, 9"):
        kind(11, 9, eos=9)
    with pytest.raises(ValueError, match="pad, bos and eos are 1, 1 and 3, but must be three words"):
        kind(11, 9, bos=1)


def test_a_sentence_that_is_too_long_is_named() -> None:
    with pytest.raises(ValueError, match="a sentence has 15 words, but at most max_positions = 12 are read"):
        transformer()(SRC[:1].repeat(1, 3), TRG[:1])
    with pytest.raises(ValueError, match="teacher_forcing_ratio must be a probability"):
        seq2seq()(SRC, TRG, 1.5)
