"""A text: the next character from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.datasets import TextDataset
from mpnn.models import LanguageModel
from mpnn.train.errors import RunError
from mpnn.train.tasks.metrics import METRICS
from mpnn.train.tasks.objective import Objective
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask

AT_ONCE = 64  # pieces of text in a forward pass without gradients
SAMPLE = 20_000  # characters of the training text that stand for it in the curves
CONTEXT = 64  # characters in a piece
WRITTEN = 1000  # characters that a model is asked to write


class TextBatch(NamedTuple):
    """Pieces of text, the same moved by one character, and whether they go on from the batch before."""

    inputs: Tensor
    targets: Tensor
    goes_on: bool


class TextTask(SupervisedTask):
    """Tell the next character of a text.

    Models are `LanguageModel`s. The end of the text is to validate and to test on. An epoch is a number of
    batches of pieces from random places. For a model that remembers, each batch goes on where the batch
    before ended, with the state that it left and no gradient through that state: truncated backpropagation
    through time (Williams and Peng, 1990). Then every epoch begins at a random place, and the text is read as
    a ring.

    Args:
        data: the text.
        remembers: whether the models do.
        val_share, test_share: the share of the text to validate on, and the share behind it to test on.
        context: characters in a piece, which is how far gradients reach back.
        batch_size: pieces in a batch.
        steps: batches in an epoch.
        seed: of what a model writes.

    Raises:
        RunError: a part of the text is shorter than a piece.
    """

    item = "character"

    def __init__(
        self,
        data: TextDataset,
        *,
        remembers: bool,
        val_share: float = 0.1,
        test_share: float = 0.0,
        context: int = CONTEXT,
        batch_size: int = 12,
        steps: int = 100,
        seed: int = 0,
    ) -> None:
        if not val_share + test_share < 1:
            raise RunError(
                f"val_share is {val_share} and test_share is {test_share}, but should be below 1 together"
            )
        count = len(data.tokens)
        ends = [count - round((val_share + test_share) * count), count - round(test_share * count), count]
        everything = torch.arange(count, device=data.tokens.device)
        split = Split(everything[: ends[0]], everything[ends[0] : ends[1]], everything[ends[1] :])
        for name, part in split._asdict().items():
            if len(part) <= context and (name != "test" or test_share > 0):
                raise RunError(
                    f"context is {context}, but the {name} part of {data.name} has {len(part)} characters: "
                    "take a shorter one"
                )
        super().__init__(data, NextCharacter(data.characters), data.tokens, split, len(data.characters), None)
        self.remembers, self.context, self.batch_size, self.steps = remembers, context, batch_size, steps
        self.seed = seed
        self._state: object = None

    def batches(self) -> Iterator[TextBatch]:
        """An epoch of pieces of the training text."""
        text, reach = self.y[self.split.train], torch.arange(self.context + 1, device=self.device)
        most = len(text) if self.remembers else len(text) - self.context
        for step in range(self.steps):
            if step == 0 or not self.remembers:
                starts = torch.randint(most, (self.batch_size, 1)).to(self.device, non_blocking=True)
            pieces = text[(starts + reach) % len(text)]
            yield TextBatch(pieces[:, :-1], pieces[:, 1:], self.remembers and step > 0)
            starts = starts + self.context

    def loss(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """Cross-entropy in nats per character."""
        logits, state = model(batch.inputs, self._state if batch.goes_on else None)
        self._state = _detached(state)
        return self.objective.loss(logits.flatten(0, 1), batch.targets.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The metrics of each part; of a long training text only those of its end."""
        scores: dict[str, float] = {}
        for part, where in self.split._asdict().items():
            if len(where):
                text = self.y[where[-SAMPLE:] if part == "train" else where]
                found = self.objective.scores(*self._read(model, text))
                scores.update({f"{part}_{name}": value for name, value in found.items()})
        return scores | {"val_loss": scores["val_nats"]}

    def outputs(self, model: nn.Module) -> Tensor:
        """Of the characters to validate on; those of a whole long text would not fit into memory."""
        return self._read(model, self.y[self.split.val])[0]

    def attempt(self, model: nn.Module) -> None:
        """One piece."""
        model(self.y[None, : self.context])

    def answers(self, model: nn.Module) -> str:
        """What the model writes after a line break, or after the text's first character."""
        start = "\n" if "\n" in self.data.characters else self.data.characters[0]
        if not isinstance(model, LanguageModel):
            raise RunError(f"{type(model).__name__} is no LanguageModel, and cannot write")
        generator = torch.Generator(self.device).manual_seed(self.seed)
        tokens = self.data.encode(start).to(self.device)[None]
        written: str = self.data.decode(model.continued(tokens, WRITTEN, generator=generator)[0])
        return written + "\n"

    def _read(self, model: nn.Module, text: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[length, num_characters]` and targets of a text, read in rows side by side."""
        rows = min(AT_ONCE, max(1, len(text) // (2 * self.context)))
        state, logits, targets = None, [], []
        for inputs, following in _pieces(text, rows, self.context):
            found, state = model(inputs, state)
            logits.append(found.flatten(0, 1))
            targets.append(following.flatten())
        return torch.cat(logits), torch.cat(targets)


class NextCharacter(Objective):
    """One character out of all."""

    what, learns = "the next character", "characters"
    losses = ("cross_entropy",)
    metrics = (METRICS["nats"], METRICS["accuracy"])

    def __init__(self, characters: tuple[str, ...]) -> None:
        super().__init__(characters, "cross_entropy", None)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy in nats per character."""
        return F.cross_entropy(output, y)

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Cross-entropy, and the share of characters that were predicted."""
        right = (output.argmax(dim=1) == y).double().mean()
        return {"nats": float(self.loss(output, y)), "accuracy": float(right)}

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """The true and the likeliest character."""
        said = ({} if y is None else {"true": y}) | {"predicted": output.argmax(dim=1)}
        return {name: [self.names[token] for token in tokens.tolist()] for name, tokens in said.items()}


def _pieces(text: Tensor, rows: int, length: int) -> Iterable[tuple[Tensor, Tensor]]:
    """A text in rows side by side, cut into pieces: each character with the one that follows.

    So that all rows are equally long, up to `rows` characters at the end are left out.

    >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in _pieces(torch.arange(8), 2, 2)]
    [([[0, 1], [3, 4]], [[1, 2], [4, 5]]), ([[2], [5]], [[3], [6]])]
    """
    each = (len(text) - 1) // rows
    inputs, targets = text[: rows * each].view(rows, each), text[1 : rows * each + 1].view(rows, each)
    return zip(torch.split(inputs, length, 1), torch.split(targets, length, 1), strict=True)


def _detached(state: object) -> object:
    if isinstance(state, Tensor):
        return state.detach()
    return tuple(map(_detached, state)) if isinstance(state, tuple) else state
