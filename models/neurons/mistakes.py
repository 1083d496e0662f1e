"""Learning from mistakes, sample after sample: what the perceptron and its dual share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.floating]
BLOCK = 256  # samples whose pairs are computed at once


def mistakes(scores: Tensor, target: Tensor, products: Tensor) -> Tensor:
    """Which outputs are wrong on which samples of a block, one sample after the other.

    Between two mistakes nothing changes, and after one the samples behind it are told of it.

    Args:
        scores: `[num_samples, num_outputs]`, before the first sample.
        target: the same, entries ±1.
        products: `[num_samples, num_samples]`, how much a mistake on one sample adds to the score of another.
    """
    margin = (scores * target).cpu().numpy().copy()
    sign, product = target.cpu().numpy(), products.cpu().numpy()
    wrong = np.zeros(margin.shape, dtype=bool)
    for k in _wrong_samples(margin):
        wrong[k] = margin[k] <= 0
        margin[k + 1 :] += product[k, k + 1 :, None] * (sign[k] * wrong[k]) * sign[k + 1 :]
    return torch.from_numpy(wrong).to(scores.device)


def _wrong_samples(margin: Floats) -> Iterator[int]:
    """The samples that are wrong when their turn comes, while the margins behind each of them change."""
    k = 0
    while k < len(margin):
        places = np.flatnonzero((margin[k:] <= 0).any(1))
        if not len(places):
            return
        yield k + int(places[0])
        k += int(places[0]) + 1


def orders(number: int, epochs: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """The order of the samples in each epoch: theirs, or one that the generator draws."""
    for _ in range(epochs):
        yield torch.arange(number) if generator is None else torch.randperm(number, generator=generator)


def check_samples(
    x: Tensor, target: Tensor, in_features: int | None = None, out_features: int | None = None
) -> None:
    """Require `[num_samples, in_features]` and `[num_samples, out_features]`, entries ±1.

    Raises:
        ValueError: shapes that do not fit, a target that is not ±1, or features that are not finite.
    """
    if x.dim() != 2 or not len(x) or (in_features is not None and x.size(1) != in_features):
        wanted = "features" if in_features is None else in_features
        raise ValueError(f"x must be [num_samples, {wanted}], got shape {list(x.shape)}.")
    if target.dim() != 2 or len(target) != len(x) or (out_features not in (None, target.size(1))):
        wanted = "num_outputs" if out_features is None else out_features
        raise ValueError(f"target must be [{len(x)}, {wanted}], got shape {list(target.shape)}.")
    bad = (target.abs() != 1).nonzero()
    if bad.numel():
        i, k = bad[0].tolist()
        raise ValueError(f"target[{i}, {k}] is {target[i, k].item()}, but must be 1 or -1.")
    if not x.isfinite().all():
        i, k = (~x.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"x[{i}, {k}] is {x[i, k].item()}, but must be a finite number.")
