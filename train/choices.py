"""What settings may be chosen from: words that help and errors list, and values that a sweep tries."""

from __future__ import annotations

from typing import NamedTuple

FEATURES = ("given", "binary", "rows", "standard")
FORMATS = ("png", "pdf", "svg")
PICTURES = (*FORMATS, "none")
RULES = ("hebb", "pseudo-inverse")
LATTICES = ("square", "hexagonal", "torus")
AUGMENT = ("crop", "shift", "flip", "rotate", "zoom", "erase")
LOGS = ("tensorboard", "wandb", "mlflow")
PORTABLE = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".pt"}  # forms of a model, and their endings
METHODS = {
    "label-propagation": "nodes take the label of most neighbours (Raghavan et al., 2007)",
    "greedy-modularity": "groups merge while modularity grows (Clauset et al., 2004)",
    "louvain": "modularity by moving nodes, level by level (Blondel et al., 2008)",
    "spectral": "k-means on eigenvectors of the Laplacian (Shi and Malik, 2000)",
    "deepwalk": "k-means on DeepWalk's vectors, scaled to length 1 (Perozzi et al., 2014)",
}
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
