"""Options become parts: which items are to train, to validate and to test on."""

from __future__ import annotations

from torch import Tensor

from mpnn.train.errors import RunError
from mpnn.train.options import Options
from mpnn.train.tasks.split import Split, fold_split, random_split

FOLD_VAL_SHARE = 0.1


def draw_parts(
    options: Options, shares: tuple[float, float], count: int, y: Tensor | None, what: str
) -> Split:
    """Draw the parts at random or by folds, with all classes in each where an item has one class.

    Args:
        options: split, shares, folds and seed of the run.
        shares: to validate and to test on, where the options name none.
        count: how many items there are.
        y: their answers `[count, ...]`, or None if the parts need not be alike.
        what: what the items are called in errors.

    Raises:
        RunError: the options ask for a split that these items do not have, or there are too few items.
    """
    if options.split == "per-class":
        raise RunError("split is 'per-class', but that is for nodes that have one class each")
    if options.split == "public":
        raise RunError(f"split is 'public', but these {what} have none: take random or folds")
    classes = y.cpu() if y is not None and y.dim() == 1 else None
    if options.folds is None:
        val_share, test_share = chosen_shares(options, shares)
        split = random_split(
            count, classes, seed=options.seed, val_share=val_share, test_share=test_share, what=what
        )
    else:
        inner = FOLD_VAL_SHARE if options.val_share is None else options.val_share
        split = fold_split(
            count,
            classes,
            seed=options.seed,
            fold=options.fold or 0,
            folds=options.folds,
            val_share=None if options.shared_epoch else inner,
            what=what,
        )
    return split if y is None else split.to(y.device)


def chosen_shares(options: Options, shares: tuple[float, float]) -> tuple[float, float]:
    """The shares to validate and to test on: those of the options, else these."""
    given = (options.val_share, options.test_share)
    val_share, test_share = (
        usual if share is None else share for share, usual in zip(given, shares, strict=True)
    )
    return val_share, test_share
