"""Everything that a run of `mpnn train embed` depends on, as one immutable record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpnn.datasets.own.columns import Columns
from mpnn.train.choices import PICTURES
from mpnn.train.errors import RunError
from mpnn.train.record import NO_COLUMNS, Record, gathered

MODELS = {
    "deepwalk": "DeepWalk: skip-gram on uniform random walks (Perozzi et al., 2014)",
    "node2vec": "node2vec: skip-gram on walks that p and q bias (Grover and Leskovec, 2016)",
}
# As published: DeepWalk by the paper's section 6 and its code, node2vec by its section 4.3, where p and q are
# chosen for each data set.
PRESETS: dict[str, dict[str, Any]] = {
    "deepwalk": {"walks": 80, "length": 40},
    "node2vec": {"walks": 10, "length": 80},
}


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(Record):
    """A run that makes vectors of nodes by random walks and judges them by what a linear model makes of them.

    Args:
        task: `"embed"`.
        dataset, data, columns: as in `Settings`.
        model: `"deepwalk"` or `"node2vec"`.
        p, q: of node2vec, see `mpnn.random_walks`.
        dimensions: channels of a vector.
        walks, length, window, negatives, lr: see `mpnn.models.SkipGram`.
        share: of the nodes with known classes or labels, the share that a linear model is trained on to judge
            the vectors; it is tested on the others.
        splits: how often that is done, each time on another share.
        seed: of the run.
        device: `"cpu"`, where updates are compiled, or `"cuda"`, ..., or `"auto"`: the GPU if there is one.
        pictures: as in `Settings`.

    Raises:
        RunError: a value out of its range, or one that another one leaves without effect.

    >>> EmbedSettings(dataset="karate", walks=5).window
    10
    """

    task: str = "embed"
    dataset: str = "karate"
    data: str | None = None
    columns: Columns = NO_COLUMNS
    model: str = "deepwalk"
    p: float | None = None
    q: float | None = None
    dimensions: int = 128
    walks: int = 80
    length: int = 40
    window: int = 10
    negatives: int = 5
    lr: float = 0.025
    share: float = 0.5
    splits: int = 10
    seed: int = 0
    device: str = "cpu"
    pictures: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in MODELS:
            raise RunError(f"model is {self.model!r}, but should be one of {', '.join(MODELS)}")
        for name in ("p", "q"):
            if getattr(self, name) is not None and self.model != "node2vec":
                raise RunError(f"{name} is {getattr(self, name)}, but {self.model} has none: node2vec has")
        for name, low in (("splits", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise RunError(f"{name} is {getattr(self, name)}, but should be at least {low}")
        if self.pictures not in (None, *PICTURES):
            raise RunError(f"pictures is {self.pictures!r}, but should be one of {', '.join(PICTURES)}")
        if not 0 < self.share < 1:
            raise RunError(f"share is {self.share}, but should be above 0 and below 1")


def embed_preset(model: str = "deepwalk", **overrides: Any) -> EmbedSettings:
    """Return the settings that `model` was published with, with changes.

    >>> embed_preset("node2vec", p=0.25, q=0.25).length
    80
    """
    return EmbedSettings(model=model, **(PRESETS.get(model, {}) | gathered(overrides)))
