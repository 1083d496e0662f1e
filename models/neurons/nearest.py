"""Which of many points are nearest, by matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_AT_ONCE = 1 << 22  # distances that are in memory together


def nearest(x: Tensor, points: Tensor, number: int = 1) -> Tensor:
    """The rows of `points` that are nearest to each row of x, `[len(x), number]`, the first of equals.

    >>> nearest(torch.tensor([[0.1], [2.0]]), torch.tensor([[0.0], [3.0], [3.0]]))
    tensor([[0],
            [1]])
    """
    rows = max(1, MOST_AT_ONCE // len(points))
    return torch.cat([_nearest(part, points, number) for part in torch.split(x, rows)])


def _nearest(x: Tensor, points: Tensor, number: int) -> Tensor:
    """By ‖p‖² - 2 x·p, where rounding does not matter."""
    middle = points.mean(0)
    x, points = x - middle, points - middle
    squares = points.square().sum(1)
    scores = torch.addmm(squares, x, points.T, alpha=-2)
    best, found = scores.topk(number, largest=False) if number > 1 else scores.min(1, keepdim=True)
    rounding = 8 * x.size(1) * torch.finfo(x.dtype).eps * (squares.max() + x.square().sum(1, keepdim=True))
    # Where several points are the same, as units that begin at one sample, a product would choose one by its
    # rounding.
    among = (scores <= best[:, -1:] + rounding).sum(1) > number
    unclear = (among | (best.diff(dim=1) <= rounding).any(1)).nonzero()[:, 0]
    if len(unclear):
        exact = torch.cdist(x[unclear], points, compute_mode="donot_use_mm_for_euclid_dist")
        found[unclear] = exact.argsort(dim=1, stable=True)[:, :number]
    return found
