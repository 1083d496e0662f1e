"""The pictures of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mpnn.train import pictures
from mpnn.train.loop import Result
from mpnn.train.objective import Classification
from mpnn.train.settings import Settings
from mpnn.train.task import SupervisedTask

CURVES, EMBEDDING = "curves.png", "embedding.png"


@torch.no_grad()
def draw_run(
    home: Path,
    settings: Settings,
    results: Sequence[Result],
    title: str,
    model: nn.Module,
    task: SupervisedTask,
) -> None:
    """Draw how the runs went, and what the best model of the first one makes of the items."""
    curves = pictures.training_curves(results, title, task.metrics[0], task.objective.loss_title)
    pictures.save_picture(curves, home / CURVES)
    embedding = task.embed(model)
    if isinstance(task.objective, Classification) and embedding is not None:
        picture = pictures.embedding_picture(
            embedding,
            task.y,
            task.objective.names,
            predicted=task.outputs(model).argmax(dim=1),
            labelled=task.few_known,
            title=f"{settings.dataset}: hidden layer of {settings.model}, t-SNE",
            seed=settings.seed,
        )
        pictures.save_picture(picture, home / EMBEDDING)
