"""The pictures of a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mpnn.train.fitting.loop import Result
from mpnn.train.pictures import curves as pictures
from mpnn.train.pictures.answers import confusion_picture, graph_picture, images_picture, roc_picture
from mpnn.train.pictures.attention import MOST_NEIGHBOURS, attention_picture, attention_weights
from mpnn.train.pictures.style import save_picture
from mpnn.train.settings import Settings
from mpnn.train.tasks.image_task import ImageTask
from mpnn.train.tasks.links import Links
from mpnn.train.tasks.node_task import NodeTask
from mpnn.train.tasks.objective import Classification
from mpnn.train.tasks.task import SupervisedTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES, EMBEDDING, CONFUSION, ROC, GRAPH, ATTENTION, IMAGES = (
    "curves", "embedding", "confusion", "roc", "graph", "attention", "mistakes",
)  # fmt: skip
Save = Callable[["Figure", str], None]
MOST_NODES = 400  # a larger graph is a ball of wool


@torch.no_grad()
def draw_run(
    home: Path,
    settings: Settings,
    results: Sequence[Result],
    title: str,
    model: nn.Module,
    task: SupervisedTask,
    kind: str = "png",
) -> None:
    """Draw how the runs went, and what the best model of the first one makes of the items, as `kind`."""

    def save(figure: Figure, name: str) -> None:
        save_picture(figure, home / f"{name}.{kind}")

    curves = pictures.training_curves(results, title, task.metrics[0], task.objective.loss_title)
    save(curves, CURVES)
    name = f"{settings.model} on {task.data.name}"
    if isinstance(task.objective, Classification):
        _draw_classes(save, settings, name, model, task, task.outputs(model))
    elif isinstance(task.objective, Links):
        test = task.split.test
        picture = roc_picture(task.y[test, 0], task.outputs(model)[test, 0], title=f"{name}: test links")
        save(picture, ROC)


def _draw_classes(
    save: Save, settings: Settings, name: str, model: nn.Module, task: SupervisedTask, outputs: Tensor
) -> None:
    test, names, predicted = task.split.test, task.objective.names, outputs.argmax(dim=1)
    # What nobody knows is shown as it is predicted.
    truth = task.y if task.known is None else torch.where(task.known, task.y, predicted)
    above = f"{name}: test {task.item}s"
    confusion = confusion_picture(task.y[test], predicted[test], names, title=above)
    save(confusion, CONFUSION)
    if len(names) == 2 and len(set(task.y[test].tolist())) == 2:
        margin = outputs[test, 1] - outputs[test, 0]
        picture = roc_picture(task.y[test] == 1, margin, title=f"{above}, {names[1]}")
        save(picture, ROC)
    embedding = task.embed(model)
    if embedding is not None:
        picture = pictures.embedding_picture(
            embedding,
            truth,
            names,
            predicted=predicted,
            labelled=task.few_known,
            title=f"{task.data.name}: hidden layer of {settings.model}, t-SNE",
            seed=settings.seed,
        )
        save(picture, EMBEDDING)
    if isinstance(task, ImageTask):
        picture = images_picture(
            task.data.x[test], truth[test], predicted[test], names, title=f"{above}: the first mistakes"
        )
        save(picture, IMAGES)
    if isinstance(task, NodeTask):
        _draw_attention(save, name, model, task, truth)
    if isinstance(task, NodeTask) and task.data.num_nodes <= MOST_NODES:
        picture = graph_picture(
            task.data.graph,
            truth,
            names,
            predicted=predicted,
            labelled=task.few_known,
            title=name,
            seed=settings.seed,
        )
        save(picture, GRAPH)


def _draw_attention(save: Save, name: str, model: nn.Module, task: NodeTask, truth: Tensor) -> None:
    """Whom the test node with most neighbours attends to, of those whose neighbours can all be shown."""
    x, graph, edges = task.example()
    attended = attention_weights(model, x, graph, **edges)
    degree = graph.in_degree[task.split.test]
    degree = torch.where(degree < MOST_NEIGHBOURS, degree, 0)
    if not attended or not degree.any():
        return
    node = int(task.split.test[degree.argmax()])
    names, where = task.objective.names, f"{name}, first layer"
    picture = attention_picture(
        attended[0], node, truth, names, node_names=task.data.node_names or None, title=where
    )
    save(picture, ATTENTION)
