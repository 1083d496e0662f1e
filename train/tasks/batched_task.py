"""What tasks share whose items come several to a batch, such as graphs and images."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from mpnn.datasets import GraphDataset, ImageDataset
from mpnn.train.tasks.batches import shuffled_batches
from mpnn.train.tasks.objective import Aim, objective
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask


class BatchedTask(SupervisedTask):
    """Tell the classes, labels or numbers of items, several of them a batch.

    Args:
        data: the items.
        split: which of them are to train, to validate and to test on.
        batch_size: how many a batch has at most.
        aim: loss, class_weights and known_counts, see `objective`.

    Raises:
        RunError: loss and weights do not suit the data.
    """

    def __init__(self, data: GraphDataset | ImageDataset, split: Split, batch_size: int, aim: Aim) -> None:
        found = objective(data.y[split.train], data.class_names, **aim)
        edge_dim = data.edge_dim if isinstance(data, GraphDataset) else None
        super().__init__(data, found, data.y, split, data.num_features, edge_dim)
        self.batch_size = batch_size

    def shuffled(self, train: Tensor) -> Iterable[Tensor]:
        """The positions to train on in a new order, a batch at a time."""
        return shuffled_batches(train, self.batch_size)
