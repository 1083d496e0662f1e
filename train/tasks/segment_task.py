"""Images: the class of every pixel."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.datasets import MaskDataset
from mpnn.datasets.mask_record import UNKNOWN
from mpnn.train.tasks.batches import shuffled_batches
from mpnn.train.tasks.metrics import METRICS, Metric
from mpnn.train.tasks.objective import Objective
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask, warn_of_bad_features

PIXELS_AT_ONCE = 1 << 20  # in a forward pass without gradients


class PixelClasses(Objective):
    """One of several classes for each pixel; outputs are logits `[count, classes, height, width]`.

    The intersection over union of a class is the share of the pixels that have it or are said to have it, in
    which both are so; over all images of a part together (Everingham et al., 2010). The mean is that of all
    classes that a part has or is said to have. Pixels of unknown class take no part.

    Args:
        names: of the classes.
        told: those whose own intersection over union is a metric too.
    """

    what, learns = "classes of pixels", "pixels"
    losses = ("cross_entropy",)

    def __init__(self, names: tuple[str, ...], told: Iterable[int] = ()) -> None:
        super().__init__(names, "cross_entropy", None)
        self.told = tuple(told)
        each = (Metric(f"iou_{names[k]}", f"IoU of {names[k]}") for k in self.told)
        self.metrics = (METRICS["iou"], METRICS["pixels"], *each)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean over all pixels whose class is known."""
        whole = F.cross_entropy(output, y, ignore_index=UNKNOWN, reduction="sum")
        return whole / (y != UNKNOWN).sum().clamp(min=1)

    def scores(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """The value of every metric."""
        return self.scores_of(self.counts(output.argmax(1), y))

    def counts(self, said: Tensor, y: Tensor) -> Tensor:
        """How many pixels of each class, `[true, predicted]`, were taken for each."""
        number, known = self.out_channels, y != UNKNOWN
        return torch.bincount(y[known] * number + said[known], minlength=number**2).view(number, number)

    def each(self, counts: Tensor) -> Tensor:
        """The intersection over union of each class; NaN of one that neither is there nor was said."""
        counts = counts.double()
        return counts.diag() / (counts.sum(0) + counts.sum(1) - counts.diag())

    def scores_of(self, counts: Tensor) -> dict[str, float]:
        """The value of every metric, of such counts."""
        each = self.each(counts)
        found = {"iou": float(each.nanmean().nan_to_num()), "pixels": _share(counts)}
        return found | {f"iou_{self.names[k]}": float(each[k]) for k in self.told}

    def columns(self, output: Tensor, y: Tensor | None = None) -> dict[str, list[str]]:
        """Of each image the share of the pixels that have each class."""
        said = output.argmax(1).flatten(1)
        return {
            f"share({name})": [f"{share:.4f}" for share in (said == k).double().mean(1).tolist()]
            for k, name in enumerate(self.names)
        }


def _share(counts: Tensor) -> float:
    return float(counts.diag().sum() / counts.sum().clamp(min=1))


class SegmentTask(SupervisedTask):
    """Tell the class of every pixel of images.

    Models are called as `model(x)` with `[batch, channels, height, width]` and return logits
    `[batch, classes, height, width]`.

    Args:
        data: images with masks.
        split: which of them are to train, to validate and to test on.
        batch_size: how many images a batch has at most.
    """

    item = "image"
    objective: PixelClasses

    def __init__(self, data: MaskDataset, split: Split, batch_size: int) -> None:
        parts = [data.y[where] for where in split if len(where)]
        told = [k for k in range(len(data.class_names)) if all(bool((y == k).any()) for y in parts)]
        super().__init__(data, PixelClasses(data.class_names, told), data.y, split, data.num_features, None)
        self.batch_size = batch_size
        warn_of_bad_features(data.name, data.x.flatten(1))

    def batches(self) -> Iterable[Tensor]:
        """Positions of the training images, in a new order."""
        return shuffled_batches(self.split.train, self.batch_size)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Cross-entropy over the pixels of a batch."""
        return self.objective.loss(model(self.data.x[batch]), self.y[batch])

    def outputs(self, model: nn.Module) -> Tensor:
        """The likeliest class of every pixel, `[num_images, height, width]`."""
        everything = torch.arange(len(self.y), device=self.device)
        return torch.cat([logits.argmax(1) for _, logits in self._logits(model, everything)])

    def _logits(self, model: nn.Module, where: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Some positions, and the logits of their images."""
        height, width = self.data.size
        for some in torch.split(where, max(1, PIXELS_AT_ONCE // (height * width))):
            yield some, model(self.data.x[some])

    def attempt(self, model: nn.Module) -> None:
        """One image."""
        model(self.data.x[:1])

    @torch.no_grad()
    def counts(self, model: nn.Module, where: Tensor) -> tuple[Tensor, float]:
        """How many pixels of some images are of each class, `[true, predicted]`, and their loss."""
        number = self.out_channels
        counts = torch.zeros(number, number, dtype=torch.int64, device=self.device)
        loss, known = 0.0, 0
        for some, logits in self._logits(model, where):
            y = self.y[some]
            counts += self.objective.counts(logits.argmax(1), y)
            there = int((y != UNKNOWN).sum())
            loss, known = loss + float(self.objective.loss(logits, y)) * there, known + there
        return counts, loss / max(1, known)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The validation loss, and every metric on each part."""
        found: dict[str, float] = {}
        for part, where in self.split._asdict().items():
            counts, loss = self.counts(model, where)
            if part == "val":
                found = {"val_loss": loss} | found
            found |= {f"{part}_{name}": value for name, value in self.objective.scores_of(counts).items()}
        return found

    @torch.no_grad()
    def answers(self, model: nn.Module) -> str:
        """How well each image was told, as the text of a CSV file."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["image", "part", "pixels", *(f"iou({name})" for name in self.objective.names)])
        said, parts = self.outputs(model), self.parts()
        for k, name in enumerate(self.data.image_names):
            counts = self.objective.counts(said[k], self.y[k])
            cells = [
                "" if value != value else f"{value:.4f}" for value in self.objective.each(counts).tolist()
            ]
            table.writerow([name, parts[k], f"{_share(counts):.4f}", *cells])
        return text.getvalue()

    def names(self) -> dict[str, list[str]]:
        """Columns that say which image is which."""
        return {self.item: list(self.data.image_names)}
