"""What kinds of tasks there are: their data, how it is split, and the task that is made of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mpnn.datasets import Dataset, GraphDataset, NodeDataset
from mpnn.models import CONVS
from mpnn.train.component import largest_component
from mpnn.train.edge_task import EdgeTask, LinkTask, labelled_pairs
from mpnn.train.errors import RunError
from mpnn.train.features import with_features
from mpnn.train.graph_task import GraphTask
from mpnn.train.node_task import NodeTask
from mpnn.train.pairs import Pairs
from mpnn.train.settings import AUTOENCODERS, Settings
from mpnn.train.split import Split, class_split, fold_split, random_split
from mpnn.train.task import SupervisedTask

# To validate and to test on; those of links are Kipf & Welling's (2016).
SHARES = {"node": (0.2, 0.2), "edge": (0.05, 0.1), "graph": (0.1, 0.1)}
FOLD_VAL_SHARE = 0.1
BATCH_SIZE = 32
HITS = 20


def make_task(settings: Settings, data: Dataset) -> SupervisedTask:
    """Return the task of a run: the data, split as the settings and their seed say.

    Edge features are left out where the model does not read any.

    Raises:
        RunError: the data set is not for such a task, or cannot be split so.
    """
    make = {"node": _node_task, "edge": _edge_task, "graph": _graph_task}[settings.task]
    if settings.features != "given":
        data = with_features(data, settings.features)
    conv = CONVS.get(settings.model)
    if conv is None or "edge_attr" not in conv.edge_inputs:
        data = replace(data, edge_attr=None)
    if settings.largest_component and isinstance(data, NodeDataset):
        data = largest_component(data)
    return make(settings, data)


def _node_task(settings: Settings, data: Dataset) -> NodeTask:
    data = _one_graph(settings, data)
    published = data.train_mask is not None
    if settings.split == "public" and not published:
        raise RunError(f"split is 'public', but {data.name} has none: take random or per-class")
    if settings.split not in (None, "public") or settings.folds is not None or not published:
        if data.y is None:
            raise RunError(f"{data.name} has no classes, labels or numbers of nodes to learn")
        items = torch.arange(data.num_nodes, device=data.x.device)
        items = items if data.known is None else items[data.known]
        split = Split(*(items[part] for part in _split(settings, len(items), data.y[items], "nodes")))
        masks = [torch.zeros(data.num_nodes, dtype=torch.bool, device=data.x.device) for _ in split]
        for mask, part in zip(masks, split, strict=True):
            mask[part] = True
        data = replace(data, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])
    elif settings.val_share is not None or settings.test_share is not None:
        raise RunError(f"val_share and test_share are of a random split, but {data.name} has a public one")
    return NodeTask(data, settings.dropout, loss=settings.loss, class_weights=settings.class_weights)


def _edge_task(settings: Settings, data: Dataset) -> LinkTask | EdgeTask:
    data = _one_graph(settings, data)
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


def _graph_task(settings: Settings, data: Dataset) -> GraphTask:
    if not isinstance(data, GraphDataset):
        raise RunError(f"task is 'graph', but {data.name} is one graph: train node or edge on it")
    return GraphTask(
        data,
        _split(settings, data.num_graphs, data.y, "graphs"),
        batch_size=settings.batch_size or BATCH_SIZE,
        loss=settings.loss,
        class_weights=settings.class_weights,
    )


def _one_graph(settings: Settings, data: Dataset) -> NodeDataset:
    if not isinstance(data, NodeDataset):
        raise RunError(
            f"task is {settings.task!r}, but {data.name} is {data.num_graphs} graphs: train graph on it"
        )
    return data


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
