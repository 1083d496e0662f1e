"""What a network says of pixels, laid over the images, and how well it tells each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mpnn.train.pictures.of_a_run import Picture, Shown
from mpnn.train.pictures.style import new_figure, set_title, styled
from mpnn.train.tasks.segment_task import SegmentTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 6  # images in a row
OPAQUE = 0.6


def palette(count: int) -> Tensor:
    """Colours of classes, bytes `[count, 3]`; the first is black. As those of the PASCAL VOC challenge.

    >>> palette(3).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    number = torch.arange(count)
    colours = torch.zeros(count, 3, dtype=torch.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((number >> channel) & 1) << (7 - bit)
        number = number >> 3
    return colours.to(torch.uint8)


def overlaid(pixels: Tensor, classes: Tensor, count: int) -> Tensor:
    """Images with the colours of classes over them; class 0, and pixels of unknown class, stay as they are.

    Args:
        pixels: from 0 to 1, `[num_images, channels, height, width]`, of 1 or 3 channels.
        classes: of the pixels, `[num_images, height, width]`.
        count: how many classes there are.

    Returns:
        `[num_images, height, width, 3]`, from 0 to 1.
    """
    images = pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1) if pixels.size(1) != 3 else pixels
    images = images.permute(0, 2, 3, 1)
    colours = (palette(count).to(images) / 255)[classes.clamp(min=0)]
    return torch.where((classes > 0)[..., None], (1 - OPAQUE) * images + OPAQUE * colours, images)


def _overlays(run: Shown) -> Figure | None:
    if not isinstance(run.task, SegmentTask):
        return None
    task, where = run.task, run.task.split.test[:FEW]
    how = task.data.read_as or {"mean": 0.5, "deviation": 0.25}
    pixels = (task.data.x[where] * how["deviation"] + how["mean"]).clamp(0, 1).cpu()
    said, right, number = run.outputs[where].cpu(), task.y[where].cpu(), task.out_channels
    nothing = torch.zeros_like(right)
    rows = {"image": nothing, "mask": right, "predicted": said}
    with styled():
        figure = new_figure(1.1 * len(where) + 0.4, 3.7)
        grid = figure.subplots(len(rows), len(where), squeeze=False)
        for (name, classes), line in zip(rows.items(), grid, strict=True):
            for axes, image in zip(line, overlaid(pixels, classes, number), strict=True):
                axes.imshow(image.numpy(), interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
            line[0].set_ylabel(name)
        set_title(figure, run.test_title)
    return figure


def _per_class(run: Shown) -> Figure | None:
    if not isinstance(run.task, SegmentTask):
        return None
    task = run.task
    counts = task.objective.counts(run.outputs[task.split.test], task.y[task.split.test])
    each = task.objective.each(counts).cpu()
    there = [k for k, value in enumerate(each.tolist()) if value == value]
    with styled():
        figure = new_figure(4, 0.8 + 0.28 * len(there))
        axes = figure.subplots()
        bars = axes.barh([task.objective.names[k] for k in there], each[there].tolist())
        axes.bar_label(bars, fmt="%.3f", padding=2)
        mean = float(each.nanmean())
        axes.axvline(mean, color="#999999", linewidth=0.8, linestyle=":")
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15)
        axes.set_xlabel(f"intersection over union, mean {mean:.3f}")
        set_title(figure, run.test_title)
    return figure


OVERLAYS = Picture("overlays", "images, their masks, and what was predicted", _overlays)
PER_CLASS = Picture("classes", "how well each class is told", _per_class)
