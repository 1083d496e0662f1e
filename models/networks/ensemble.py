"""Several networks that answer together (Hansen and Salamon, 1990)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANSWERS = ("classes", "labels", "numbers")


class Ensemble(nn.Module):
    """The mean of what several networks say: of their probabilities, or of their numbers.

    It answers in logits, as its members do: log p of each class, log p / (1 - p) of each label.

    Args:
        members: networks that are called alike, of outputs `[count, out_channels]`.
        answers: what an output is: "classes", one for each row; "labels", several for each row; or "numbers".

    Raises:
        ValueError: there is no member, or an unknown kind of answer.

    >>> sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> both = Ensemble([torch.nn.Identity(), torch.nn.Threshold(5.0, 0.0)])
    >>> both(sure).exp(), (sure.softmax(1) + unsure.softmax(1)) / 2
    (tensor([[0.7410, 0.2590]]), tensor([[0.7410, 0.2590]]))
    """

    def __init__(self, members: Iterable[nn.Module], answers: str = "classes") -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not self.members:
            raise ValueError("members are none, but an ensemble has at least one.")
        if answers not in ANSWERS:
            raise ValueError(f"answers is {answers!r}, but must be one of {', '.join(ANSWERS)}.")
        self.answers = answers

    def forward(self, *inputs: Any, **more: Any) -> Tensor:
        """The answer of all members, `[count, out_channels]`."""
        said = torch.stack([member(*inputs, **more) for member in self.members])
        if self.answers == "numbers":
            return said.mean(0)
        if self.answers == "classes":
            return _log_mean(said.log_softmax(-1))
        return _log_mean(F.logsigmoid(said)) - _log_mean(F.logsigmoid(-said))

    def extra_repr(self) -> str:
        """What an answer is."""
        return f"answers={self.answers!r}"


def _log_mean(logs: Tensor) -> Tensor:
    """The logarithm of the mean over the members of what these are the logarithms of."""
    return logs.logsumexp(0) - math.log(len(logs))
