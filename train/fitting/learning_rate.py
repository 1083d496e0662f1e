"""The learning rate of each epoch, from the recipe and from what happened so far."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mpnn.train.options import Recipe

DECAY, STEP, PLATEAU = 0.5, 50, 10


def learning_rate(recipe: Recipe, done: int, val_losses: Iterable[float] = ()) -> float:
    """Learning rate of the epoch that follows `done` others.

    It depends on its arguments alone: a resumed run computes what the interrupted one did.

    Args:
        recipe: how to train.
        done: how many epochs are done.
        val_losses: the validation loss of each of them, which only the schedule `"plateau"` looks at.

    >>> recipe = Recipe(lr=0.1, schedule="step", decay=0.5, decay_every=2)
    >>> [learning_rate(recipe, done) for done in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    decay = DECAY if recipe.decay is None else recipe.decay
    if done < recipe.warmup:
        return recipe.lr * (done + 1) / (recipe.warmup + 1)
    if recipe.schedule == "step":
        return recipe.lr * decay ** (done // (recipe.decay_every or STEP))
    if recipe.schedule == "cosine":
        through = (done - recipe.warmup) / max(1, recipe.epochs - recipe.warmup)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * through))
    if recipe.schedule == "plateau":
        return recipe.lr * decay ** _plateaus(val_losses, recipe.decay_every or PLATEAU)
    return recipe.lr


def _plateaus(val_losses: Iterable[float], patience: int) -> int:
    count, waited, lowest = 0, 0, math.inf
    for loss in val_losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(loss, lowest)
        if waited == patience:
            count, waited = count + 1, 0
    return count
