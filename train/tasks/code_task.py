"""Images from which nothing is to be told: what is learned is how they are made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mpnn.datasets import ImageDataset
from mpnn.train.errors import RunError
from mpnn.train.learners.learner import CodeLearner
from mpnn.train.tasks.batches import shuffled_batches
from mpnn.train.tasks.metrics import METRICS
from mpnn.train.tasks.objective import Codes
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask, warn_of_bad_features

AT_ONCE = 1000  # images in a forward pass without gradients


class CodeTask(SupervisedTask):
    """Give images codes from which they can be told, compared or made again.

    Models are `CodeLearner`s, called as `model(x)` with `[batch, channels, height, width]`; they return codes
    `[batch, out_channels]`. The answers of the data only colour pictures.

    Args:
        data: the images.
        split: which of them are to train, to validate and to test on.
        codes: what each number of a code is called.
        metrics: names of metrics that the models report of each part.
        loss: what their loss is called.
        batch_size: how many images a batch has at most; None takes all at once.
    """

    item = "image"

    def __init__(
        self,
        data: ImageDataset,
        split: Split,
        *,
        codes: Sequence[str],
        metrics: Sequence[str],
        loss: str,
        batch_size: int | None = 64,
    ) -> None:
        objective = Codes(tuple(codes), tuple(METRICS[name] for name in metrics), loss)
        super().__init__(data, objective, data.y, split, data.num_features, None)
        self.batch_size = batch_size
        warn_of_bad_features(data.name, data.x.flatten(1))

    def batches(self) -> Iterable[Tensor]:
        """Positions of the training images, in a new order."""
        return shuffled_batches(self.split.train, self.batch_size or len(self.split.train))

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """What the model learns of a batch."""
        return _checked(model).learn(self.data.x[batch], self.y[batch])

    def outputs(self, model: nn.Module) -> Tensor:
        """The codes of all images."""
        return torch.cat([model(x) for x in self.data.x.split(AT_ONCE)])

    def embed(self, model: nn.Module) -> Tensor | None:
        """The codes of all images."""
        return self.outputs(model)

    def attempt(self, model: nn.Module) -> None:
        """One image."""
        model(self.data.x[:1])

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Every metric on each part, and the first one of the validation part as the loss."""
        learner, found = _checked(model), dict[str, float]()
        for part, where in self.split._asdict().items():
            if not len(where):
                continue
            total: defaultdict[str, float] = defaultdict(float)
            for some in where.split(AT_ONCE):
                for name, value in learner.scores(self.data.x[some]).items():
                    total[name] += value * len(some)
            found.update({f"{part}_{name}": value / len(where) for name, value in total.items()})
        losses = {
            part: found.pop(f"{part}_loss") for part in ("train", "val", "test") if f"{part}_loss" in found
        }
        return {"val_loss": losses["val"]} | found


def _checked(model: nn.Module) -> CodeLearner:
    if not isinstance(model, CodeLearner):
        raise RunError(f"{type(model).__name__} is no CodeLearner, and has no codes of images")
    return model
