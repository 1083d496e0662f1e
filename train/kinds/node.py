"""Tasks on the nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.datasets import NodeDataset
from mpnn.models import GNN
from mpnn.native.dropout import dropout
from mpnn.train.errors import RunError
from mpnn.train.inputs.component import largest_component
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.on_graphs import layers, prepared, stack_options, width
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import ATTENTION, CONFUSION, CURVES, EMBEDDING, GRAPH, NUMBERS, ROC
from mpnn.train.tasks.kept import Kept, with_kept_parts, with_known_classes
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.node_task import InductiveNodeTask, NodeTask
from mpnn.train.tasks.objective import Aim
from mpnn.train.tasks.sampled_node_task import BATCH_SIZE as SAMPLED
from mpnn.train.tasks.sampled_node_task import SampledNodeTask, read_fanouts
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split, class_split

SHARES = (0.2, 0.2)
BATCH_SIZE = 2  # graphs

GAT = {
    "hidden": 8,
    "heads": 8,
    "out_heads": 1,
    "dropout": 0.6,
    "act": "elu",
    "lr": 0.005,
    "weight_decay": 5e-4,
    "epochs": 1000,
    "patience": 100,
    "monitor": "both",
}
SMALL = {"hidden": 16, "dropout": 0.5, "lr": 0.01, "weight_decay": 5e-4, "epochs": 200}

PRESETS: dict[str, dict[str, Any]] = {
    # Kipf & Welling, 2017, section 5.2: L2 on the first layer only, at most 200 epochs.
    "gcn": SMALL | {"decayed": "first"},
    # Veličković et al., 2018, section 3.3: 8 heads of 8 channels, one output head, patience 100. They allow
    # 100,000 epochs; the patience ends a run long before 1000.
    "gat": GAT,
    "gatv2": GAT,
    "transformer": GAT | {"dropout": 0.5},
    # Hamilton et al., 2017, give no settings for citation graphs; these are those of DGL's example.
    "sage": SMALL,
    # Xu et al., 2019, classify graphs, not nodes: the width is theirs, the rest is ours.
    "gin": SMALL | {"hidden": 64},
}

# Shchur et al., 2018: what their search on Cora and CiteSeer found best for each model, from their code;
# 20 nodes of each class to train on, patience 50. They allow 100,000 epochs, which no run comes near.
RANDOM_SPLITS = {
    "split": "per-class",
    "largest_component": True,
    "layers": 2,
    "epochs": 2000,
    "patience": 50,
    "monitor": "loss",
}
SHCHUR: dict[str, dict[str, Any]] = {
    "gcn": RANDOM_SPLITS
    | {"hidden": 64, "dropout": 0.8, "lr": 0.01, "weight_decay": 0.001, "decayed": "first"},
    "gat": RANDOM_SPLITS
    | {"hidden": 8, "heads": 8, "out_heads": 1, "dropout": 0.6, "attention_dropout": 0.3, "act": "elu"}
    | {"lr": 0.01, "weight_decay": 0.01},
    "sage": RANDOM_SPLITS
    | {"hidden": 32, "dropout": 0.4, "lr": 0.001, "weight_decay": 0.1, "decayed": "first"},
}
BY_DATASET = dict.fromkeys(("amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics"), SHCHUR)


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    tables = (BY_DATASET.get(asked.get("dataset", ""), {}), PRESETS)
    return next((table[model] for table in tables if model in table), SMALL)


def _make(options: Options, data: NodeDataset, kept: Kept | None = None) -> NodeTask:
    data = largest_component(data) if options.largest_component else data
    if data.y is not None:
        y, names = learned(data.y, data.class_names, options.learn, options.loss, options.columns.label)
        data = replace(data, y=y, class_names=names)
    data = with_known_classes(data, kept)
    if kept is not None and kept.items is not None:
        data = with_kept_parts(data, kept.items)
    else:
        data = _divided(options, data)
    data, preparation = prepared(options, data, kept, *_trained_on(data))
    aim: Aim = {
        "loss": options.loss,
        "class_weights": options.class_weights,
        "known_counts": options.known_counts,
        "standard": True,
    }
    if data.graph.num_graphs > 1 and options.fanouts is not None:
        raise RunError(
            f"fanouts is {options.fanouts!r}, but {data.name} is {data.graph.num_graphs} graphs, which are "
            "taken whole: leave it out"
        )
    if data.graph.num_graphs > 1:
        size = options.batch_size or BATCH_SIZE
        task: NodeTask = InductiveNodeTask(data, options.dropout, batch_size=size, **aim)
    elif options.batch_size is not None or options.fanouts is not None:
        if options.ensemble is not None:
            raise RunError(
                f"ensemble is {options.ensemble}, but with batch_size each network would draw other "
                "neighbours: leave one of them out"
            )
        fanouts = read_fanouts(options.fanouts, options.layers)
        size = options.batch_size or SAMPLED
        task = SampledNodeTask(data, options.dropout, batch_size=size, fanouts=fanouts, **aim)
    else:
        task = NodeTask(data, options.dropout, **aim)
    task.preparation = preparation
    return task


def _trained_on(data: NodeDataset) -> tuple[Tensor | None, Tensor | None]:
    """Positions of the nodes to train on, and of the edges that are there in training: None for all."""
    if data.train_mask is None:
        return None, None
    nodes = data.train_mask.nonzero().flatten()
    if data.graph.num_graphs == 1:
        return nodes, None
    owner = data.graph.graph_index
    return nodes, torch.isin(owner[data.graph.dst], torch.unique(owner[nodes])).nonzero().flatten()


def _divided(options: Options, data: NodeDataset) -> NodeDataset:
    """The data with its published masks, or with new ones if there are none or another split is asked for."""
    published = data.train_mask is not None
    if options.split == "public" and not published:
        raise RunError(f"split is 'public', but {data.name} has none: take random or per-class")
    if published and options.split in (None, "public") and options.folds is None:
        if options.val_share is not None or options.test_share is not None:
            raise RunError(
                f"val_share and test_share are of a random split, but {data.name} has a public one"
            )
        return data
    if data.y is None:
        raise RunError(f"{data.name} has no classes, labels or numbers of nodes to learn")
    train, val, test = _masks(options, data, data.y)
    return replace(data, train_mask=train, val_mask=val, test_mask=test)


def _masks(options: Options, data: NodeDataset, y: Tensor) -> list[Tensor]:
    """The mask of each part; of several graphs, all nodes of a graph are in the same part."""
    graph, device = data.graph, data.x.device
    known = torch.ones(data.num_nodes, dtype=torch.bool, device=device) if data.known is None else data.known
    if graph.num_graphs > 1:
        parts = draw_parts(options, SHARES, graph.num_graphs, None, "graphs").to(device)
        return [known & torch.isin(graph.graph_index, part) for part in parts]
    items = known.nonzero().flatten()
    masks = []
    for part in _parts(options, y[items]):
        masks.append(torch.zeros_like(known))
        masks[-1][items[part]] = True
    return masks


def _parts(options: Options, y: Tensor) -> Split:
    if options.split == "per-class" and y.dim() == 1:
        return class_split(y.cpu(), seed=options.seed).to(y.device)
    return draw_parts(options, SHARES, len(y), y, "nodes")


def _build(options: Options, shape: Shape) -> nn.Module:
    """It drops the inputs of all layers but the first: the task drops that one, knowing which are zero."""
    stack = stack_options(options, shape)
    model = GNN(shape.num_features, width(options), shape.out_channels, jk=options.jk, **stack)
    for layer in [*model.convs[1:], *([] if model.lin is None else [model.lin])]:
        layer.register_forward_pre_hook(partial(_drop_input, options.dropout))
    return model


def _drop_input(p: float, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return dropout(inputs[0], p, layer.training), *inputs[1:]


NODE = Kind(
    **vars(FACES["node"]) | {"models": layers},
    data=NodeDataset,
    make=_make,
    build=_build,
    published=_published,
    pictures=(CURVES, EMBEDDING, CONFUSION, ROC, NUMBERS, ATTENTION, GRAPH),
)
