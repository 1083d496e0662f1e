"""The pictures of a run folder: each is a record of its name, what it shows, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mpnn.models import GAE
from mpnn.train.fitting.loop import Result
from mpnn.train.pictures.answers import confusion_picture, graph_picture, images_picture, roc_picture
from mpnn.train.pictures.attention import MOST_NEIGHBOURS, attention_picture, attention_weights
from mpnn.train.pictures.curves import embedding_picture, training_curves
from mpnn.train.pictures.numbers import numbers_picture
from mpnn.train.pictures.style import failing_is_a_warning, save_picture
from mpnn.train.tasks.edge_task import LinkTask
from mpnn.train.tasks.links import Links
from mpnn.train.tasks.objective import Classification, Regression
from mpnn.train.tasks.task import SupervisedTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NODES = 400  # of a larger graph the edges cover each other


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What pictures show: how the runs went, and what the best model of the first one makes of the items.

    Args:
        report: the runs in a sentence.
        model_name: what the model is called.
        seed: of what is drawn at random.
        dropout: in training.
        results: of every run.
        model, task: of the first run.
    """

    report: str
    model_name: str
    seed: int
    dropout: float
    results: Sequence[Result]
    model: nn.Module
    task: SupervisedTask

    @property
    def title(self) -> str:
        """The model and its data."""
        return f"{self.model_name} on {self.task.data.name}"

    @property
    def test_title(self) -> str:
        """The model, its data, and the items that were tested on."""
        return f"{self.title}: test {self.task.item}s"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none if an item has no single class."""
        objective = self.task.objective
        return objective.names if isinstance(objective, Classification) else ()

    @cached_property
    def outputs(self) -> Tensor:
        """What the model says of every item."""
        return self.task.outputs(self.model)

    @cached_property
    def predicted(self) -> Tensor:
        """The likeliest class of every item."""
        return self.outputs.argmax(dim=1)

    @property
    def truth(self) -> Tensor:
        """The class of every item; an item whose class is not known has the predicted one."""
        task = self.task
        return task.y if task.known is None else torch.where(task.known, task.y, self.predicted)


@dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Args:
        name: what its file is called, without an ending.
        about: what it shows, in a line.
        draw: draws it; None if it would be empty.
    """

    name: str
    about: str
    draw: Callable[[Shown], Figure | None]


@torch.no_grad()
def draw_run(home: Path, pictures: Iterable[Picture], shown: Shown, ending: str = "png") -> None:
    """Draw the pictures of a run into its folder; one that fails is a warning."""
    for picture in pictures:
        path = home / f"{picture.name}.{ending}"
        with failing_is_a_warning(path.name):
            figure = picture.draw(shown)
            if figure is not None:
                save_picture(figure, path)


def _curves(run: Shown) -> Figure:
    loss = run.task.objective.loss_title
    return training_curves(run.results, run.report, run.task.metrics[0], loss, run.dropout)


def _confusion(run: Shown) -> Figure | None:
    if not run.classes:
        return None
    test = run.task.split.test
    return confusion_picture(run.task.y[test], run.predicted[test], run.classes, title=run.test_title)


def _roc(run: Shown) -> Figure | None:
    test, y = run.task.split.test, run.task.y
    if isinstance(run.task.objective, Links):
        return roc_picture(y[test, 0], run.outputs[test, 0], title=f"{run.title}: test links")
    if len(run.classes) != 2 or len(set(y[test].tolist())) != 2:
        return None
    margin = run.outputs[test, 1] - run.outputs[test, 0]
    return roc_picture(y[test] == 1, margin, title=f"{run.test_title}, {run.classes[1]}")


def _embedding(run: Shown) -> Figure | None:
    states = run.task.embed(run.model) if run.classes else None
    if states is None:
        return None
    return embedding_picture(
        states,
        run.truth,
        run.classes,
        predicted=run.predicted,
        labelled=run.task.few_known,
        title=f"{run.task.data.name}: hidden layer of {run.model_name}, t-SNE",
        seed=run.seed,
    )


def _vectors(run: Shown) -> Figure | None:
    """The vectors by which links are predicted, in the colours of classes where nodes have some."""
    if not isinstance(run.task, LinkTask) or not isinstance(run.model, GAE):
        return None
    data = run.task.data
    x, graph, edges = run.task.example()
    has_classes = data.y is not None and data.y.dim() == 1 and not data.y.is_floating_point()
    known = has_classes and data.known is None
    return embedding_picture(
        run.model.encode(x, graph, **edges),
        data.y if known else torch.zeros(data.num_nodes, dtype=torch.int64),
        data.class_names if known else ("nodes",),
        title=f"{data.name}: vectors of {run.model_name}, t-SNE",
        seed=run.seed,
    )


def _mistakes(run: Shown) -> Figure | None:
    if not run.classes:
        return None
    test = run.task.split.test
    title = f"{run.test_title}: the first mistakes"
    images = run.task.data.x[test]
    return images_picture(images, run.truth[test], run.predicted[test], run.classes, title=title)


def _numbers(run: Shown) -> Figure | None:
    objective = run.task.objective
    if not isinstance(objective, Regression):
        return None
    test = run.task.split.test
    return numbers_picture(run.task.y[test], run.outputs[test], objective.names, title=run.test_title)


def _attention(run: Shown) -> Figure | None:
    """Of the test nodes whose neighbours can all be shown, the one with most neighbours."""
    if not run.classes:
        return None
    x, graph, edges = run.task.example()
    attended = attention_weights(run.model, x, graph, **edges)
    degree = graph.in_degree[run.task.split.test]
    degree = torch.where(degree < MOST_NEIGHBOURS, degree, 0)
    if not attended or not degree.any():
        return None
    node = int(run.task.split.test[degree.argmax()])
    names = run.task.data.node_names or None
    title = f"{run.title}, first layer"
    return attention_picture(attended[0], node, run.truth, run.classes, node_names=names, title=title)


def _graph(run: Shown) -> Figure | None:
    if not run.classes or run.task.data.num_nodes > MOST_NODES:
        return None
    return graph_picture(
        run.task.data.graph,
        run.truth,
        run.classes,
        predicted=run.predicted,
        labelled=run.task.few_known,
        title=run.title,
        seed=run.seed,
    )


CURVES = Picture("curves", "training curves", _curves)
EMBEDDING = Picture("embedding", "what is learned from, as the model sees it (t-SNE)", _embedding)
VECTORS = Picture("embedding", "the vectors by which links are predicted (t-SNE)", _vectors)
CONFUSION = Picture("confusion", "which class was taken for which", _confusion)
ROC = Picture("roc", "true against false positives", _roc)
NUMBERS = Picture("numbers", "predicted against true numbers", _numbers)
ATTENTION = Picture("attention", "which neighbours a node attends to", _attention)
GRAPH = Picture("graph", "the graph with predictions", _graph)
MISTAKES = Picture("mistakes", "images that were taken for another class", _mistakes)
