"""Tasks on whole graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mpnn.datasets import GraphDataset
from mpnn.models import GIN, GraphClassifier
from mpnn.train.errors import RunError
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.on_graphs import PARTS, STACK, layers, prepared, stack_options, width
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CONFUSION, CURVES, EMBEDDING, NUMBERS, ROC
from mpnn.train.tasks.graph_task import GraphTask
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.shape import Shape

SHARES = (0.1, 0.1)
BATCH_SIZE = 32

# Xu et al., 2019, section 7: 5 layers counting the input, 32 hidden units, batches of 32, dropout in front of
# the output, a learning rate of 0.01 that halves every 50 epochs, at most 350 epochs. The patience is ours.
AS_PUBLISHED = {
    "hidden": 32,
    "layers": 4,
    "norm": "batch",
    "jk": "cat",
    "readout": "sum",
    "dropout": 0.5,
    "batch_size": 32,
    "lr": 0.01,
    "weight_decay": 0.0,
    "schedule": "step",
    "decay": 0.5,
    "decay_every": 50,
    "epochs": 350,
    "patience": 100,
}
# For the others there is no published set of settings; these are like those.
OTHERS = AS_PUBLISHED | {
    "hidden": 64,
    "layers": 3,
    "jk": None,
    "readout": "mean",
    "epochs": 200,
    "patience": 50,
}
ATTENTION = OTHERS | {"hidden": 16, "heads": 4}
PRESETS: dict[str, dict[str, Any]] = {
    "gin": AS_PUBLISHED,
    **dict.fromkeys(("gat", "gatv2", "transformer"), ATTENTION),
}


def _models() -> dict[str, str]:
    return layers() | {"gin": "GIN with its readout: sums over every layer (Xu et al., 2019)"}


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, OTHERS)


def _make(options: Options, data: GraphDataset, kept: Kept | None = None) -> GraphTask:
    y, names = learned(data.y, data.class_names, options.learn, options.loss)
    data = replace(data, y=y, class_names=names)
    split = draw_parts(options, SHARES, data.num_graphs, data.y, "graphs")
    owner = torch.arange(data.num_graphs).repeat_interleave(
        torch.tensor([graph.num_nodes for graph in data.graphs])
    )
    nodes = torch.isin(owner, split.train.cpu()).nonzero().flatten()
    data, preparation = prepared(options, data, kept, nodes.to(data.y.device))
    task = GraphTask(
        data,
        split,
        batch_size=options.batch_size or BATCH_SIZE,
        loss=options.loss,
        class_weights=options.class_weights,
        known_counts=options.known_counts,
        standard=True,
    )
    task.preparation = preparation
    return task


def _build(options: Options, shape: Shape) -> nn.Module:
    stack = stack_options(options, shape)
    if options.out_heads is not None:
        raise RunError(f"out_heads is {options.out_heads}, but all layers are hidden ones in graph tasks")
    stack |= {
        "jk": options.jk or "last",
        "readout": options.readout or "sum",
        "dropout": options.dropout,
    }
    kind: type[GraphClassifier] = GraphClassifier
    if options.model == "gin":
        kind = GIN
        del stack["conv"]
    return kind(shape.num_features, width(options), shape.out_channels, **stack)


GRAPH = Kind(
    name="graph",
    about="classify graphs, or predict their numbers",
    data=GraphDataset,
    dataset="mutag",
    model="gin",
    models=_models,
    make=_make,
    build=_build,
    options=(*STACK, *PARTS, "batch_size", "known_counts", "readout"),
    published=_published,
    pictures=(CURVES, EMBEDDING, CONFUSION, ROC, NUMBERS),
)
