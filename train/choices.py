"""What settings may be chosen from: words that help and errors list, and values that a sweep tries."""

from __future__ import annotations

from typing import NamedTuple

FEATURES = ("given", "binary", "rows", "standard")
FORMATS = ("png", "pdf", "svg")
PICTURES = (*FORMATS, "none")
LOGS = ("tensorboard", "wandb", "mlflow")
OF_NUMBERS = ("mse", "mae", "huber")
LOSSES = ("cross_entropy", "bce", *OF_NUMBERS)

Value = str | int | float


class Several(tuple[Value, ...]):
    """Values of a setting, each of which is tried."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


class Span(NamedTuple):
    """The lowest and the highest value of a setting, between which others are searched."""

    low: Value
    high: Value

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"
