"""Which items (nodes, edges, graphs) are to train, to validate and to test on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpnn.train.errors import RunError


class Split(NamedTuple):
    """Positions of the items of each part, int64."""

    train: Tensor
    val: Tensor
    test: Tensor

    def to(self, device: torch.device | str) -> Split:
        """The same on another device."""
        return Split(*(part.to(device) for part in self))


def random_split(
    count: int, classes: Tensor | None, *, seed: int, val_share: float, test_share: float, what: str = "items"
) -> Split:
    """Draw the parts at random; with classes, each part has about their shares of the whole.

    Args:
        count: how many items there are.
        classes: int64 `[count]`, or None.
        seed: of the draw; torch's generators are not touched.
        val_share, test_share: how much of the whole each part is.
        what: what the items are called in errors.

    Raises:
        RunError: there are too few items for such parts.

    >>> [len(part) for part in random_split(100, None, seed=0, val_share=0.2, test_share=0.1)]
    [70, 20, 10]
    """
    if not val_share + test_share < 1:
        raise RunError(
            f"val_share is {val_share} and test_share is {test_share}, but together they should be below 1"
        )
    everything = np.arange(count)
    rest, test = _cut(everything, classes, test_share * count, seed, what)
    train, val = _cut(rest, classes, val_share * count, seed, what)
    return _positions(train, val, test)


def validation_split(
    test_mask: Tensor, y: Tensor, *, seed: int, val_share: float, what: str = "items"
) -> Split:
    """Keep a published test part, and draw a share of the other items to validate on.

    Args:
        test_mask: bool `[count]`.
        y: answers, `[count, ...]`; of classes, int64 `[count]`, all parts have about their shares.
        seed: of the draw.
        val_share: share of the others.
        what: what the items are called in errors.

    >>> split = validation_split(torch.arange(70) >= 60, torch.zeros(70).long(), seed=0, val_share=0.1)
    >>> [len(part) for part in split], int(split.test.min())
    ([54, 6, 10], 60)
    """
    others, test = ((mask.nonzero().flatten().cpu().numpy()) for mask in (~test_mask, test_mask))
    classes = y.cpu() if y.dim() == 1 else None
    train, val = _cut(others, classes, val_share * len(others), seed, what)
    return _positions(train, val, test).to(y.device)


def fold_split(
    count: int,
    classes: Tensor | None,
    *,
    seed: int,
    fold: int,
    folds: int,
    val_share: float | None,
    what: str = "items",
) -> Split:
    """Cross-validation: the fold is to test on, and of the others a share, drawn at random, to validate on.

    The model is chosen without a look at the fold (Errica et al., 2020). With classes all parts are
    stratified. Over the folds of one seed every item is tested on once. Without a share the fold is to
    validate on too.

    Raises:
        RunError: a class has fewer members than there are folds, or there are too few items.

    >>> [len(part) for part in fold_split(100, None, seed=0, fold=3, folds=10, val_share=0.1)]
    [81, 9, 10]
    """
    from sklearn.model_selection import KFold, StratifiedKFold  # slow to import: only where it is needed

    smallest = count if classes is None else int(classes.bincount()[classes].min())
    if smallest < folds:
        of = f"there are {count} {what}" if classes is None else f"there is a class of {smallest} {what}"
        raise RunError(f"folds is {folds}, but {of}: take fewer folds")
    kind = KFold if classes is None else StratifiedKFold
    labels = None if classes is None else _array(classes)
    parts = kind(folds, shuffle=True, random_state=seed).split(np.zeros(count), labels)
    rest, test = list(parts)[fold]
    if val_share is None:
        return _positions(rest, test, test)
    train, val = _cut(rest, classes, val_share * len(rest), seed, what)
    return _positions(train, val, test)


def class_split(classes: Tensor, *, seed: int, train: int = 20, val: int = 30) -> Split:
    """Draw 20 items of each class to train and 30 to validate on; the others are to test on.

    As Shchur et al. (2018).

    Raises:
        RunError: a class has too few members.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for label in sorted(set(classes.tolist())):
        members = (classes.cpu() == label).nonzero().flatten()
        if len(members) <= train + val:
            raise RunError(
                f"split is 'per-class', but class {label} has {len(members)} members, and {train} to train "
                f"and {val} to validate on leave none to test on"
            )
        members = members[torch.randperm(len(members), generator=generator)]
        for part, piece in zip(parts, members.split([train, val, len(members) - train - val]), strict=True):
            part.append(piece)
    return Split(*(torch.cat(part).sort().values for part in parts))


def _cut(
    items: np.ndarray, classes: Tensor | None, size: float, seed: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Cut off a part of about that size."""
    from sklearn.model_selection import train_test_split  # slow to import: only where it is needed

    cut = max(1, math.floor(size + 0.5))
    if cut >= len(items):
        raise RunError(f"there are {len(items)} {what}, too few for a part of {cut} and a rest")
    labels = None if classes is None else _array(classes)[items]
    if labels is not None:
        found, members = np.unique(labels, return_counts=True)
        # Parts that cannot have a member of every class are drawn without regard to classes.
        if members.min() < 2 or min(cut, len(items) - cut) < len(found):
            labels = None
    rest, part = train_test_split(items, test_size=cut, stratify=labels, random_state=seed)
    return rest, part


def _array(classes: Tensor) -> np.ndarray:
    array: np.ndarray = classes.cpu().numpy()
    return array


def _positions(*parts: np.ndarray) -> Split:
    return Split(*(torch.from_numpy(np.sort(part)).long() for part in parts))
