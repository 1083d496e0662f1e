"""What an output is compared with: classes, several labels, or numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.train.choices import OF_NUMBERS
from mpnn.train.errors import RunError
from mpnn.train.tasks.metrics import METRICS, Metric


class Aim(TypedDict, total=False):
    """What may be said of an objective, see `objective`: the keywords that tasks hand on to it."""

    loss: str | None
    class_weights: str | None
    known_counts: bool
    standard: bool


class Objective(ABC):
    """How far outputs `[count, out_channels]` are off, and how good they are.

    Args:
        names: of the classes, labels or targets.
        loss: which of `losses`.
        weights: of the classes, or None.

    `mean` and `scale` are those of standardised numbers, one for each; else they are empty.
    """

    what: str
    learns: str
    losses: tuple[str, ...]
    metrics: tuple[Metric, ...]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __init__(self, names: tuple[str, ...], loss: str, weights: Tensor | None) -> None:
        self.names, self.out_channels, self.weights, self._loss = names, len(names), weights, loss
        self.loss_title = LOSS_TITLES.get(loss, loss)

    @abstractmethod
    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """A scalar with a gradient."""

    @abstractmethod
    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """The value of every metric."""

    @abstractmethod
    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """Outputs, beside the answers where these are given, as columns of a table."""


def objective_of(learns: str, names: Sequence[str]) -> Objective:
    """The objective of a model that was trained, whose loss no longer matters.

    Args:
        learns: `"classes"`, `"labels"`, `"numbers"` or `"codes"`.
        names: of these.
    """
    if learns == Codes.learns:
        return Codes(tuple(names), ())
    kinds: dict[str, type[Objective]] = {
        kind.learns: kind for kind in (Classification, MultiLabel, Regression)
    }
    kind = kinds[learns]
    return kind(tuple(names), kind.losses[0], None)


def objective(
    y: Tensor,
    names: Sequence[str],
    loss: str | None = None,
    class_weights: str | None = None,
    known_counts: bool = False,
    standard: bool = False,
) -> Objective:
    """Return the objective that fits y.

    Args:
        y: of what is trained on: classes int64 `[count]`, labels bool `[count, num_labels]`, or numbers
            floating point `[count, num_targets]`.
        names: of the classes, labels or targets.
        loss: "cross_entropy" or "bce" (each class against the rest) for classes, "bce" for labels, "mse",
            "mae" or "huber" for numbers; None takes the first of these.
        class_weights: "balanced" (inversely proportional to how often a class is in y), or numbers divided by
            commas, one for each class; None weighs every item equally.
        known_counts: of an item that truly has n labels, the n with the highest scores are predicted, which
            is how embeddings are compared since Perozzi et al. (2014); else all with a probability above 1/2.
        standard: the loss of numbers counts in their standard deviations in y, and `mean` and `scale` are
            set, for a model that learns standardised numbers and says them in their own unit.

    Raises:
        RunError: loss, class_weights or known_counts do not fit y.

    >>> objective(torch.tensor([0, 1]), ["a", "b"]).loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor(0.6931)
    """
    kind: type[Objective]
    kind = Classification if y.dim() == 1 else MultiLabel if y.dtype == torch.bool else Regression
    if loss is not None and loss not in kind.losses:
        raise RunError(f"loss is {loss!r}, but {kind.what} needs one of {', '.join(kind.losses)}")
    if kind is Regression and class_weights is not None:
        raise RunError(f"class_weights is {class_weights!r}, but numbers have no classes: leave it out")
    if known_counts and kind is not MultiLabel:
        raise RunError(f"known_counts is set, but the data has {kind.what}: it is for several labels")
    aim = kind(tuple(names), loss or kind.losses[0], _weights(y, names, class_weights))
    if isinstance(aim, MultiLabel):
        aim.known_counts = known_counts
    if isinstance(aim, Regression) and standard and len(y):
        aim.standardise(y)
    return aim


class Classification(Objective):
    """One class out of several."""

    what, learns = "one class for each", "classes"
    losses = ("cross_entropy", "bce")
    metrics = (METRICS["accuracy"],)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy, or the sum over the classes of the binary ones."""
        if self._loss == "cross_entropy":
            return F.cross_entropy(output, y, self.weights)
        one_hot = F.one_hot(y, self.out_channels).to(output.dtype)
        weight = None if self.weights is None else self.weights[y].unsqueeze(1)
        return F.binary_cross_entropy_with_logits(output, one_hot, weight, reduction="sum") / len(y)

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Share of right answers."""
        from sklearn.metrics import accuracy_score  # slow to import: only where it is needed

        return {"accuracy": float(accuracy_score(y.cpu().numpy(), output.argmax(dim=1).cpu().numpy()))}

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """The true and the predicted class, and the probability of each."""
        columns = {}
        if y is not None:
            columns["true"] = [self.names[label] if label >= 0 else "" for label in y.tolist()]
        columns["predicted"] = [self.names[label] for label in output.argmax(dim=1).tolist()]
        return columns | {f"p({name})": p for name, p in _numbers(self.names, output.softmax(dim=1)).items()}


class MultiLabel(Objective):
    """Several labels, each there or not."""

    what, learns = "several labels for each", "labels"
    losses = ("bce",)
    metrics: tuple[Metric, ...] = (METRICS["f1_micro"], METRICS["f1_macro"])
    known_counts = False

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy, weights on what is there."""
        return F.binary_cross_entropy_with_logits(output, y.to(output.dtype), pos_weight=self.weights)

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """F1 over all decisions together, and its mean over the labels."""
        from sklearn.metrics import f1_score  # slow to import: only where it is needed

        truth, found = y.cpu().numpy(), self.predicted(output, y).cpu().numpy()
        return {
            f"f1_{mean}": float(f1_score(truth, found, average=mean, zero_division=0.0))
            for mean in ("micro", "macro")
        }

    def predicted(self, output: Tensor, y: Tensor) -> Tensor:
        """Which labels are predicted, bool like y: those above 1/2, or as many as there truly are."""
        if not self.known_counts:
            return output > 0
        rank = output.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return rank < y.sum(dim=1, keepdim=True)

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """Whether each label is there, and its probability."""
        there = {}
        if y is not None:
            truth = zip(self.names, y.T.tolist(), strict=True)
            there = {f"true {name}": [str(int(value)) for value in column] for name, column in truth}
        return there | {f"p({name})": p for name, p in _numbers(self.names, output.sigmoid()).items()}


class Regression(Objective):
    """Numbers."""

    what, learns = "numbers for each", "numbers"
    losses = OF_NUMBERS
    metrics = (METRICS["mae"], METRICS["rmse"], METRICS["r2"])
    _unit: Tensor | None = None

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean over all numbers."""
        function: dict[str, Callable[..., Any]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
        y = y.to(output.dtype)
        if self._unit is not None:
            output, y = output / self._unit, y / self._unit
        loss: Tensor = function[self._loss](output, y)
        return loss

    def standardise(self, y: Tensor) -> None:
        """Count the loss in standard deviations of y; numbers that are all equal count as they are."""
        deviation = y.double().std(dim=0, unbiased=False)
        scale = torch.where(deviation > 0, deviation, 1)
        self.mean, self.scale = tuple(y.double().mean(dim=0).tolist()), tuple(scale.tolist())
        self._unit = scale.to(y.dtype)
        self.loss_title += ", of standardised numbers"

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Mean absolute error, root mean square error, and the share of the variance explained."""
        error = output - y
        spread = (y - y.mean(dim=0)).square().mean(dim=0)
        unexplained = error.square().mean(dim=0) / spread
        # Numbers that are all equal have no variance: R² is 1 if they are met exactly, else 0.
        constant = (error == 0).all(dim=0).to(output.dtype)
        r2 = torch.where(spread > 0, 1 - unexplained, constant)
        return {
            "mae": float(error.abs().mean()),
            "rmse": float(error.square().mean().sqrt()),
            "r2": float(r2.mean()),
        }

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """The true and the predicted numbers."""
        parts = ({} if y is None else {"true": y}) | {"predicted": output}
        return {
            f"{part} {name}": column
            for part, values in parts.items()
            for name, column in _numbers(self.names, values).items()
        }


class Codes(Objective):
    """Codes that a model finds by itself; nothing is known that they could be compared with.

    Args:
        names: what each number of a code is called.
        metrics: what models report of themselves.
        loss: what their loss is called.
    """

    what, learns = "codes", "codes"
    losses = ()

    def __init__(self, names: tuple[str, ...], metrics: tuple[Metric, ...], loss: str = "") -> None:
        super().__init__(names, loss, None)
        self.metrics = metrics

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Models know it, not their codes."""
        raise RunError("codes have no loss of their own: the model that made them has")

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """None: models know them, not their codes."""
        return {}

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """The codes."""
        return _numbers(self.names, output)


LOSS_TITLES = {
    "cross_entropy": "cross-entropy",
    "bce": "binary cross-entropy",
    "mse": "mean square error",
    "mae": "mean absolute error",
    "huber": "Huber loss",
}


def _numbers(names: Sequence[str], values: Tensor) -> dict[str, list[str]]:
    """A column of numbers with six significant digits for each name."""
    columns = zip(names, values.detach().T.tolist(), strict=True)
    return {name: [f"{value:.6g}" for value in column] for name, column in columns}


def _weights(y: Tensor, names: Sequence[str], asked: str | None) -> Tensor | None:
    if asked is None:
        return None
    if asked == "balanced":
        if y.dtype == torch.bool:
            there = y.sum(dim=0).clamp(min=1)
            return (len(y) - there).clamp(min=1) / there
        count = torch.bincount(y, minlength=len(names)).clamp(min=1)
        return len(y) / (len(names) * count)
    try:
        weights = [float(part) for part in asked.split(",")]
    except ValueError:
        weights = []
    if len(weights) != len(names) or min(weights) < 0 or sum(weights) <= 0:
        raise RunError(
            f"class_weights is {asked!r}, but should be 'balanced' or {len(names)} numbers divided by commas"
        )
    return torch.tensor(weights, device=y.device)
