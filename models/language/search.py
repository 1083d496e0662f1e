"""What a decoder writes: the likeliest word in every step, or the likeliest of several beginnings."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from mpnn.models.parts.checks import Check, at_least, check_count, check_number, check_probability

WORDS: dict[str, Check] = {  # what every translator takes
    **dict.fromkeys(("num_source", "num_target", "pad", "bos", "eos"), at_least(0)),
    "dropout": check_probability,
}


class Reading(Protocol):
    """What a decoder knows when it writes the next word: the sentences, and what it has written of each."""

    def spread(self, beams: int) -> Self:
        """With each row `beams` times, one after the other."""

    def picked(self, rows: Tensor) -> Self:
        """With these rows; a row takes the place of one of the same sentence."""


class Found(NamedTuple):
    """A sentence that was written."""

    tokens: list[int]  # without the beginning and the end
    score: float  # the logarithm of its chance, divided by a power of its length


class Translator(nn.Module):
    """A network that writes a sentence while it reads another.

    Called as `logits = model(src, trg)`: the words of both, `[batch, length]`, in; the scores of the words
    that follow each of `trg` but the last, `[batch, length - 1, num_words]`, out.
    """

    pad: int
    bos: int
    eos: int

    def take(self, num_source: int, num_target: int, pad: int, bos: int, eos: int) -> None:
        """Keep the words that are none of a language."""
        self.pad, self.bos, self.eos = pad, bos, eos
        for language, words in (("num_source", num_source), ("num_target", num_target)):
            for name, word in (("pad", pad), ("bos", bos), ("eos", eos)):
                if word >= words:
                    raise ValueError(f"{name} is {word}, but must be below {language}, {words}.")
        if len({pad, bos, eos}) < 3:
            raise ValueError(f"pad, bos and eos are {pad}, {bos} and {eos}, but must be three words.")

    @abstractmethod
    def encode(self, src: Tensor) -> Reading:
        """Read sentences `[batch, length]`, short ones filled up at their ends."""

    @abstractmethod
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Write the words `[batch]`: the scores of those that follow, `[batch, num_words]`, and the state."""

    @torch.no_grad()
    def translate(
        self, src: Tensor, *, beams: int = 1, max_length: int = 50, length_penalty: float = 1.0
    ) -> list[Found]:
        """The translations of sentences.

        Args:
            src: `[batch, length]`.
            beams: how many beginnings are kept in every step; 1 takes the likeliest word.
            max_length: of a translation, its end included.
            length_penalty: of two translations the better has the larger log p / length ** length_penalty,
                the end counted too.

        Raises:
            ValueError: a number outside its range, or sentences that are none.
        """
        check_count("beams", beams, 1)
        check_count("max_length", max_length, 1)
        check_number("length_penalty", length_penalty)
        was_training = self.training
        self.eval()
        try:
            return _search(self, src, beams, max_length, length_penalty)
        finally:
            self.train(was_training)


def _search(model: Translator, src: Tensor, beams: int, most: int, power: float) -> list[Found]:
    """Keep the likeliest `beams` beginnings of each sentence; an end that is among them is an answer."""
    state = model.encode(src).spread(beams)
    batch = src.size(0)
    texts = src.new_full((batch, beams, 1), model.bos)
    scores = torch.full((batch, beams), -torch.inf, device=src.device)
    scores[:, 0] = 0  # all beams are the same at first
    answers: list[list[Found]] = [[] for _ in range(batch)]
    first_row = torch.arange(batch, device=src.device)[:, None] * beams
    for length in range(1, most + 1):
        logits, state = model.step(texts[:, :, -1].flatten(), state)
        chances = logits.log_softmax(-1).view(batch, beams, -1)
        chances[:, :, [model.pad, model.bos]] = -torch.inf  # are no words of a sentence
        words = chances.size(2)
        if length == most:  # there is room for an end alone
            others = torch.arange(words, device=src.device) != model.eos
            chances = chances.masked_fill(others, -torch.inf)
        total = (scores[:, :, None] + chances).flatten(1)
        best, place = total.topk(2 * beams)  # of which at most half are ends
        beam, word = place // words, place % words
        is_end = (word == model.eos) & best.isfinite()
        for k, j in is_end[:, :beams].nonzero().tolist():
            if len(answers[k]) < beams:
                tokens = texts[k, beam[k, j], 1:].tolist()
                answers[k].append(Found(tokens, float(best[k, j]) / length**power))
        if length == most or all(len(found) >= beams for found in answers):
            break
        # The others in their order; each beam has one end, so that there are enough.
        order = is_end.long().sort(stable=True, dim=1).indices[:, :beams]
        scores = best.masked_fill(is_end, -torch.inf).gather(1, order)
        beam, word = beam.gather(1, order), word.gather(1, order)
        texts = torch.cat([texts.gather(1, beam[:, :, None].expand_as(texts)), word[:, :, None]], 2)
        state = state.picked((first_row + beam).flatten())
    return [max(found, key=lambda one: one.score) for found in answers]
