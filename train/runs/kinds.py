"""What kinds of tasks there are: their data, how it is split, and the task that is made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mpnn.datasets import Dataset, GraphDataset, ImageDataset, NodeDataset, TextDataset
from mpnn.train.errors import RunError
from mpnn.train.inputs.component import largest_component
from mpnn.train.inputs.edge_inputs import with_edge_inputs
from mpnn.train.inputs.features import Graphs, with_features
from mpnn.train.settings import AUTOENCODERS, Settings
from mpnn.train.tasks.edge_task import EdgeTask, LinkTask, labelled_pairs
from mpnn.train.tasks.graph_task import GraphTask
from mpnn.train.tasks.image_task import ImageTask
from mpnn.train.tasks.node_task import InductiveNodeTask, NodeTask
from mpnn.train.tasks.pairs import Pairs
from mpnn.train.tasks.split import Split, class_split, fold_split, random_split, validation_split
from mpnn.train.tasks.task import SupervisedTask
from mpnn.train.tasks.text_task import CONTEXT, TextTask

# To validate and to test on; those of links are Kipf & Welling's (2016).
SHARES = {
    "node": (0.2, 0.2),
    "edge": (0.05, 0.1),
    "graph": (0.1, 0.1),
    "image": (0.1, 0.1),
    "text": (0.1, 0.0),
}
FOLD_VAL_SHARE = 0.1
BATCH_SIZE = {"node": 2, "graph": 32, "image": 64, "text": 12}
STEPS = 100
HITS = 20


def make_task(settings: Settings, data: Dataset) -> SupervisedTask:
    """Return the task of a run: the data, split as the settings and their seed say.

    Edge features and edge types are those that the model reads, see `with_edge_inputs`.

    Raises:
        RunError: the data set is not for such a task, or cannot be split so.
    """
    what, tasks = kind_of(data)
    if settings.task not in tasks:
        raise RunError(
            f"task is {settings.task!r}, but {data.name} is {what}: train {' or '.join(tasks)} on it"
        )
    if isinstance(data, ImageDataset):
        return _image_task(settings, data)
    if isinstance(data, TextDataset):
        return _text_task(settings, data)
    if isinstance(data, GraphDataset):
        return _graph_task(settings, _prepared(settings, data))
    make = _node_task if settings.task == "node" else _edge_task
    return make(settings, _prepared(settings, data))


def kind_of(data: Dataset) -> tuple[str, tuple[str, ...]]:
    """What the data is, and which tasks it is for."""
    if isinstance(data, ImageDataset):
        return "images", ("image",)
    if isinstance(data, TextDataset):
        return "a text", ("text",)
    if isinstance(data, GraphDataset):
        return f"{data.num_graphs} graphs", ("graph",)
    return "one graph", ("node", "edge")


def _prepared(settings: Settings, data: Graphs) -> Graphs:
    """The graphs with the features that the run and its model want."""
    if settings.features != "given":
        data = with_features(data, settings.features)
    data = with_edge_inputs(data, settings.model)
    if settings.largest_component and isinstance(data, NodeDataset):
        data = largest_component(data)
    return data


def _node_task(settings: Settings, data: NodeDataset) -> NodeTask:
    published = data.train_mask is not None
    if settings.split == "public" and not published:
        raise RunError(f"split is 'public', but {data.name} has none: take random or per-class")
    if settings.split not in (None, "public") or settings.folds is not None or not published:
        if data.y is None:
            raise RunError(f"{data.name} has no classes, labels or numbers of nodes to learn")
        masks = _masks(settings, data, data.y)
        data = replace(data, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])
    elif settings.val_share is not None or settings.test_share is not None:
        raise RunError(f"val_share and test_share are of a random split, but {data.name} has a public one")
    options: dict[str, Any] = {
        "loss": settings.loss,
        "class_weights": settings.class_weights,
        "known_counts": settings.known_counts,
    }
    if data.graph.num_graphs > 1:
        batch_size = settings.batch_size or BATCH_SIZE["node"]
        return InductiveNodeTask(data, settings.dropout, batch_size=batch_size, **options)
    if settings.batch_size is not None:
        raise RunError(f"batch_size is {settings.batch_size}, but {data.name} is one graph: leave it out")
    return NodeTask(data, settings.dropout, **options)


def _masks(settings: Settings, data: NodeDataset, y: Tensor) -> list[Tensor]:
    """What each node is for: of several graphs, a whole one is for the same."""
    graph, device = data.graph, data.x.device
    known = torch.ones(data.num_nodes, dtype=torch.bool, device=device) if data.known is None else data.known
    if graph.num_graphs > 1:
        parts = _split(settings, graph.num_graphs, None, "graphs").to(device)
        return [known & torch.isin(graph.graph_index, part) for part in parts]
    items = known.nonzero().flatten()
    masks = []
    for part in _split(settings, len(items), y[items], "nodes"):
        masks.append(torch.zeros_like(known))
        masks[-1][items[part]] = True
    return masks


def _edge_task(settings: Settings, data: NodeDataset) -> LinkTask | EdgeTask:
    if data.graph.num_graphs > 1:
        raise RunError(f"task is 'edge', but {data.name} is {data.graph.num_graphs} graphs: train node on it")
    predict = settings.predict or ("links" if data.edge_y is None else "labels")
    if predict == "labels":
        names = ("hits", "decoder") if settings.model in AUTOENCODERS else ("hits", "decoder", "self_links")
        for name in names:
            if getattr(settings, name) not in (None, False, "mlp"):
                raise RunError(f"{name} is {getattr(settings, name)!r}, but that is for predicting links")
        ends, y = labelled_pairs(data)
        split = _split(settings, len(y), y, "edges")
        return EdgeTask(data, ends, y, split, loss=settings.loss, class_weights=settings.class_weights)
    for name, fits in (("loss", ("bce",)), ("class_weights", ())):
        if getattr(settings, name) not in (None, *fits):
            raise RunError(f"{name} is {getattr(settings, name)!r}, but links are learned by bce alone")
    pairs = Pairs.of(data.graph)
    split = _split(settings, pairs.ends.size(1), None, "links").to(data.x.device)
    return LinkTask(
        data,
        pairs,
        split,
        seed=settings.seed,
        hits=settings.hits or HITS,
        self_links=settings.self_links,
    )


def _graph_task(settings: Settings, data: GraphDataset) -> GraphTask:
    return GraphTask(
        data,
        _split(settings, data.num_graphs, data.y, "graphs"),
        batch_size=settings.batch_size or BATCH_SIZE["graph"],
        loss=settings.loss,
        class_weights=settings.class_weights,
        known_counts=settings.known_counts,
    )


def _image_task(settings: Settings, data: ImageDataset) -> ImageTask:
    published = data.test_mask
    if published is None or settings.split not in (None, "public") or settings.folds is not None:
        split = _split(settings, data.num_images, data.y, "images")
    elif settings.test_share is not None:
        raise RunError(f"test_share is {settings.test_share}, but {data.name} has published what to test on")
    else:
        share = SHARES["image"][0] if settings.val_share is None else settings.val_share
        split = validation_split(published, data.y, seed=settings.seed, val_share=share, what="images")
    return ImageTask(
        data,
        split,
        batch_size=settings.batch_size or BATCH_SIZE["image"],
        loss=settings.loss,
        class_weights=settings.class_weights,
    )


def _text_task(settings: Settings, data: TextDataset) -> TextTask:
    val_share, test_share = SHARES["text"]
    return TextTask(
        data,
        remembers=settings.model == "lstm",
        val_share=val_share if settings.val_share is None else settings.val_share,
        test_share=test_share if settings.test_share is None else settings.test_share,
        context=settings.context or CONTEXT,
        batch_size=settings.batch_size or BATCH_SIZE["text"],
        steps=settings.steps or STEPS,
        seed=settings.seed,
    )


def _split(settings: Settings, count: int, y: Tensor | None, what: str) -> Split:
    """Draw the parts, with all classes in each where the items have one class each."""
    classes = y.cpu() if y is not None and y.dim() == 1 else None
    val_share, test_share = SHARES[settings.task]
    if settings.split == "per-class":
        if classes is None or settings.task != "node":
            raise RunError("split is 'per-class', but that is for nodes that have one class each")
        split = class_split(classes, seed=settings.seed)
    elif settings.split == "public":
        raise RunError(
            f"split is 'public', but nobody has published one of these {what}: take random or folds"
        )
    elif settings.folds is not None:
        inner = FOLD_VAL_SHARE if settings.val_share is None else settings.val_share
        split = fold_split(
            count,
            classes,
            seed=settings.seed,
            fold=settings.fold or 0,
            folds=settings.folds,
            val_share=None if settings.shared_epoch else inner,
            what=what,
        )
    else:
        split = random_split(
            count,
            classes,
            seed=settings.seed,
            val_share=val_share if settings.val_share is None else settings.val_share,
            test_share=test_share if settings.test_share is None else settings.test_share,
            what=what,
        )
    return split if y is None else split.to(y.device)
