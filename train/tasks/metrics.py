"""The metrics: what they are called, which direction is better, and how they are written."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number that tells how good a model is.

    Args:
        name: in rows, files and flags; `val_NAME` is that of the validation part.
        title: in tables and pictures.
        higher: whether more is better.
        percent: whether it is a share, to be written in percent.

    >>> METRICS["accuracy"].text(0.815), METRICS["mae"].text(0.815)
    ('81.5 %', '0.815')
    >>> METRICS["mae"].text(98571.2, 1034.0)
    '98,571 ± 1,034'
    """

    name: str
    title: str
    higher: bool = True
    percent: bool = True

    def text(self, mean: float, deviation: float | None = None) -> str:
        """The number, or mean and standard deviation, as a table shows it."""
        if self.percent:
            spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
            return f"{100 * mean:.1f}{spread} %"
        return _plain(mean, 4) + ("" if deviation is None else f" ± {_plain(deviation, 2)}")

    def score(self, value: float) -> float:
        """The number with its sign such that more is better."""
        return value if self.higher else -value


def _plain(value: float, digits: int) -> str:
    """A number with some digits, or more where it is large, but no power of ten."""
    return f"{value:,.0f}" if 10**digits <= abs(value) < 10**12 else f"{value:.{digits}g}"


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample; of a single value the deviation is 0.

    >>> mean_and_deviation([1.0, 3.0]), mean_and_deviation([2.0])
    ((2.0, 1.4142135623730951), (2.0, 0.0))
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy"),
        Metric("f1_micro", "micro-F1"),
        Metric("f1_macro", "macro-F1"),
        Metric("auc", "AUC"),
        Metric("ap", "AP"),
        Metric("hits", "Hits@k"),
        Metric("mrr", "MRR"),
        Metric("mae", "MAE", higher=False, percent=False),
        Metric("rmse", "RMSE", higher=False, percent=False),
        Metric("r2", "R²", percent=False),
        Metric("nats", "nats per character", higher=False, percent=False),
        Metric("error", "squared error per image", higher=False, percent=False),
        Metric("bound", "bound of log p", percent=False),
        Metric("distance", "quantisation error", higher=False, percent=False),
        Metric("torn", "topographic error", higher=False),
        Metric("iou", "mean IoU"),
        Metric("pixels", "pixel accuracy"),
        Metric("overlap", "overlap", percent=False),
    )
}
