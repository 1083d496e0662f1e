"""What is learned. The loop knows nothing of graphs; a task knows nothing of epochs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score
from torch import Tensor, nn

from mpnn.datasets import NodeDataset


class Task(Protocol):
    """The batches of an epoch, the loss of a batch, and how good a model is."""

    def batches(self) -> Iterable[Any]:
        """One pass through what there is to learn from."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar with a gradient."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return `val_loss`, `val_accuracy`, `test_accuracy` and whatever else is worth a column."""


class NodeClassification:
    """Classify the nodes of one graph, a few of which are labelled (Kipf & Welling, 2017).

    The whole graph is the only batch. Models are called as `model(x, graph)` and return logits
    `[num_nodes, num_classes]`; the loss is the cross-entropy over the training nodes.

    Args:
        data: graph, features, classes and masks.
        input_dropout: probability to drop a feature of `x` in training, for models whose paper does so before
            the first layer.
    """

    def __init__(self, data: NodeDataset, input_dropout: float = 0.0) -> None:
        self.data = data
        self._dropped = InputDropout(data.x, input_dropout)
        self._nodes = {
            split: getattr(data, f"{split}_mask").nonzero().flatten() for split in ("train", "val", "test")
        }
        self._classes = {split: data.y[nodes] for split, nodes in self._nodes.items()}
        self._truth = {split: classes.cpu().numpy() for split, classes in self._classes.items()}
        bad = (~data.x.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            warnings.warn(
                f"x of {data.name} holds {len(bad)} values that are NaN or infinite, the first at "
                f"x[{row}, {column}]: the loss will be NaN unless the model never reads them",
                stacklevel=2,
            )

    def batches(self) -> Iterable[None]:
        """The whole graph at once."""
        return (None,)

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        """Cross-entropy over the training nodes."""
        logits = model(self._dropped(), self.data.graph)
        return F.cross_entropy(logits[self._nodes["train"]], self._classes["train"])

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy on each split and the validation loss, all from one forward pass."""
        logits = model(self.data.x, self.data.graph)
        predicted = logits.argmax(dim=1)
        scores = {"val_loss": float(F.cross_entropy(logits[self._nodes["val"]], self._classes["val"]))}
        for split, nodes in self._nodes.items():
            scores[f"{split}_accuracy"] = float(
                accuracy_score(self._truth[split], predicted[nodes].cpu().numpy())
            )
        return scores


class InputDropout:
    """Dropout of features that never change, at the cost of those that are not zero.

    What is zero stays zero whether it is dropped or not, so only the other entries are drawn: for a bag of
    words, one in a hundred. Each call writes into the same buffer, so use its result before the next call.

    >>> drop = InputDropout(torch.eye(8), p=0.5)
    >>> drop().diagonal().unique().tolist()
    [0.0, 2.0]
    """

    def __init__(self, x: Tensor, p: float) -> None:
        self.x, self.p = x, p
        self._where = x.flatten().nonzero().flatten()
        self._sparse = p > 0 and 4 * self._where.numel() < x.numel()
        if self._sparse:
            self._values = x.flatten()[self._where]
            self._buffer = torch.zeros_like(x, memory_format=torch.contiguous_format)

    def __call__(self) -> Tensor:
        if not self._sparse:
            return F.dropout(self.x, self.p)
        self._buffer.view(-1)[self._where] = F.dropout(self._values, self.p)
        return self._buffer
