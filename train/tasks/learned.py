"""What is learned: classes or numbers, as the answers are written or as a run asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.train.errors import RunError
from mpnn.train.tasks.objective import Objective, Regression

CLASSIFICATION, REGRESSION = "classification", "regression"
OF_TU = "class "  # before the numbers that a TU folder calls its classes


def learned(
    y: Tensor, names: Sequence[str], learn: str | None, loss: str | None = None, target: str | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return y and its names as they are learned.

    Answers stay as their file has them, unless something is asked for: numbers that are classes become
    numbers, and numbers become classes. Where y is not known, it becomes -1, or NaN.

    Args:
        y: classes int64 `[count]`, labels bool `[count, num_labels]`, or numbers `[count, num_targets]`.
        names: of the classes, labels or targets.
        learn: `"classification"`, `"regression"`, or None.
        loss: one for numbers asks for regression too.
        target: what the numbers that were classes are called.

    Raises:
        RunError: the answers cannot be learned so.

    >>> learned(torch.tensor([1, 0, -1]), ["3", "7"], "regression")[0].flatten()
    tensor([7., 3., nan])
    """
    if learn == CLASSIFICATION and y.is_floating_point():
        return _as_classes(y, names)
    if learn == REGRESSION and y.dtype == torch.bool:
        return y.to(torch.get_default_dtype()), tuple(names)
    if y.dim() == 1 and (learn == REGRESSION or loss in Regression.losses):
        asked = f"loss is {loss!r}, which is" if learn is None else "task is 'regression', which is"
        return _as_numbers(y, names, asked), (target or "target",)
    return y, tuple(names)


def decided(objective: Objective, own: bool, learn: str | None, loss: str | None) -> str | None:
    """A line that says what is learned where the data alone decides it, and how to ask for the other.

    Args:
        objective: of the task.
        own: whether the data is a file of one's own.
        learn, loss: what the run asks for.
    """
    names, found = objective.names, objective.learns
    if learn is not None or loss is not None or not names:
        return None
    if found == "numbers":
        other = "; --task classification would learn each value as a class" if len(names) == 1 else ""
        return f"Numbers are learned, by regression: {', '.join(names)}{other}."
    if found == "classes" and own and len(names) > 2 and all(_number(name) is not None for name in names):
        return (
            f"Classes are learned: {len(names)} whole numbers; --task regression would learn them as numbers."
        )
    return None


def _as_numbers(y: Tensor, names: Sequence[str], asked: str) -> Tensor:
    values = [_number(name) for name in names]
    if None in values:
        strange = names[values.index(None)]
        raise RunError(f"{asked} for numbers, but {strange!r} is a class and no number")
    table = torch.tensor([*values, float("nan")], device=y.device)
    return table[y][:, None]


def _as_classes(y: Tensor, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Each different number becomes a class; half of them at least should be there twice."""
    if y.size(1) > 1:
        raise RunError(
            f"task is 'classification', but {', '.join(names)} are numbers of several columns: name one, or "
            "columns of 0 and 1"
        )
    numbers = y.flatten()
    known = numbers.isfinite()
    values, which = torch.unique(numbers[known], return_inverse=True)
    if 2 * len(values) > len(which):
        raise RunError(
            f"task is 'classification', but {names[0]} has {len(values):,} different numbers in "
            f"{len(which):,} answers: leave it out, and they are learned as numbers"
        )
    classes = torch.full_like(numbers, -1, dtype=torch.int64)
    classes[known] = which
    return classes, tuple(f"{value:g}" for value in values.tolist())


def _number(name: str) -> float | None:
    try:
        return float(name.removeprefix(OF_TU))
    except ValueError:
        return None
