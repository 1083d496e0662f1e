"""What a memory recalls, and how much it can remember."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mpnn.train.learners.memory import Memory, spins
from mpnn.train.pictures.codes import mosaic
from mpnn.train.pictures.of_a_run import Picture, Shown
from mpnn.train.pictures.style import new_figure, set_title, styled
from mpnn.train.tasks.memory_task import MemoryTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 12  # pictures in a row
POINTS = 8  # numbers of patterns that are tried


def _recall(run: Shown) -> Figure | None:
    if not isinstance(run.model, Memory) or not isinstance(run.task, MemoryTask):
        return None
    right, spoiled = (run.task.spoiled(part)[:FEW] for part in ("train", "test"))
    rows = [_pictures(states, run) for states in (right, spoiled, run.model.recalled(spoiled))]
    return mosaic(rows, ("remembered", "spoiled", "recalled"), run.title)


def _pictures(states: Tensor, run: Shown) -> Tensor:
    return states.view(-1, *run.task.data.size).cpu()


def recall_by_load(model: Memory, states: Tensor, noise: float, seed: int) -> list[tuple[int, float]]:
    """The overlap of spoiled patterns with what is recalled, by the number of patterns that are remembered.

    Args:
        model: says the rule; another network like it learns.
        states: `[most, num_pixels]`, entries ±1, of which the first are remembered.
        noise: the share of pixels that are turned over.
        seed: of those.
    """
    size = (1, states.size(1))
    counts = sorted({round(math.exp(k / (POINTS - 1) * math.log(len(states)))) for k in range(POINTS)})
    found = []
    for count in counts:
        memory = Memory(size, model.rule, count).to(states.device)
        some = states[:count]
        memory.remember(some)
        drawn = torch.rand(some.shape, generator=torch.Generator().manual_seed(seed)).to(some)
        recalled = memory.recalled(torch.where(drawn < noise, -some, some))
        found.append((count, float((recalled * some).mean())))
    return found


def _by_load(run: Shown) -> Figure | None:
    if not isinstance(run.model, Memory) or not isinstance(run.task, MemoryTask):
        return None
    pixels = math.prod(run.task.data.size)
    order = torch.randperm(len(run.task.data.x), generator=torch.Generator().manual_seed(run.seed))
    states = spins(run.task.data.x[order[:pixels]])
    found = recall_by_load(run.model, states, run.task.noise, run.seed)
    with styled():
        figure = new_figure(3.6, 2.6)
        axes = figure.subplots()
        axes.plot(*zip(*found, strict=True), marker="o", markersize=3)
        axes.axvline(len(run.task.split.train), color="#999999", linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlabel(f"remembered pictures of {pixels} pixels")
        axes.set_ylabel("overlap of what is recalled")
        axes.set_ylim(min(0.0, *(value for _, value in found)) - 0.02, 1.03)
        set_title(figure, run.title)
    return figure


RECALL = Picture("recall", "pictures, spoiled, and what is recalled of them", _recall)
RECALL_BY_LOAD = Picture("load", "how well pictures are recalled, by how many are remembered", _by_load)
