"""Images: their classes, labels, or numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Unpack

import torch
from torch import Tensor, nn

from mpnn.datasets import ImageDataset
from mpnn.train.learners.learner import Learner
from mpnn.train.tasks.batched_task import BatchedTask
from mpnn.train.tasks.objective import Aim
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import warn_of_bad_features

AT_ONCE = 1000  # images in a forward pass without gradients


class ImageTask(BatchedTask):
    """Tell the classes, labels or numbers of images, several of them a batch.

    Models are called as `model(x)` with `[batch, channels, height, width]` and return
    `[batch, out_channels]`.

    Args:
        data, split, batch_size, aim: see `BatchedTask`.
        augment: what is done to the images of a batch that is learned from.
    """

    item = "image"

    def __init__(
        self,
        data: ImageDataset,
        split: Split,
        *,
        batch_size: int = 64,
        augment: Callable[[Tensor], Tensor] | None = None,
        **aim: Unpack[Aim],
    ) -> None:
        super().__init__(data, split, batch_size, aim)
        self.augment = augment
        warn_of_bad_features(data.name, data.x.flatten(1))

    def batches(self) -> Iterable[Tensor]:
        """Positions of the training images, in a new order."""
        return self.shuffled(self.split.train)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Loss over the images of a batch."""
        x, y = self.data.x[batch], self.y[batch]
        x = x if self.augment is None else self.augment(x)
        if isinstance(model, Learner):
            return model.learn(x, y)
        return self.objective.loss(model(x), y)

    def outputs(self, model: nn.Module) -> Tensor:
        """Of all images, many at once."""
        return torch.cat([model(x) for x in self.data.x.split(AT_ONCE)])

    def embed(self, model: nn.Module) -> Tensor | None:
        """The last hidden layer of every image."""
        embed = getattr(model, "embed", None)
        return None if embed is None else torch.cat([embed(x) for x in self.data.x.split(AT_ONCE)])

    def attempt(self, model: nn.Module) -> None:
        """One image."""
        model(self.data.x[:1])
