"""Tasks on whole graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.datasets import GraphDataset, read_graphs
from mpnn.models import GINClassifier, GraphClassifier
from mpnn.train.errors import RunError
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.on_graphs import layers, prepared, stack_options, width
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CONFUSION, CURVES, EMBEDDING, NUMBERS, ROC
from mpnn.train.tasks.graph_task import GraphTask
from mpnn.train.tasks.kept import Kept, kept_graphs, with_known_classes
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split

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
    return layers() | {"gin": FACES["graph"].models()["gin"]}


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, OTHERS)


def _make(options: Options, data: GraphDataset, kept: Kept | None = None) -> GraphTask:
    y, names = learned(data.y, data.class_names, options.learn, options.loss, options.columns.label)
    data = with_known_classes(replace(data, y=y, class_names=names), kept)
    split = _parts(options, data) if kept is None or kept.items is None else kept_graphs(data, kept.items)
    nodes, edges = (
        _rows_of(split.train, [getattr(graph, name) for graph in data.graphs])
        for name in ("num_nodes", "num_edges")
    )
    data, preparation = prepared(options, data, kept, nodes, edges)
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


def _parts(options: Options, data: GraphDataset) -> Split:
    """Which graphs are for what, out of those whose answers are known."""
    if data.known is None:
        return draw_parts(options, SHARES, data.num_graphs, data.y, "graphs")
    known = data.known.nonzero().flatten()
    return Split(*(known[part] for part in draw_parts(options, SHARES, len(known), data.y[known], "graphs")))


def _rows_of(graphs: Tensor, sizes: list[int]) -> Tensor:
    """Positions of the nodes, or edges, of some graphs, counted through all of them."""
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.isin(owner, graphs.cpu()).nonzero().flatten().to(graphs.device)


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
        kind = GINClassifier
        del stack["conv"]
    return kind(shape.num_features, width(options), shape.out_channels, **stack)


GRAPH = Kind(
    **vars(FACES["graph"]) | {"models": _models},
    data=GraphDataset,
    make=_make,
    build=_build,
    published=_published,
    read=read_graphs,
    pictures=(CURVES, EMBEDDING, CONFUSION, ROC, NUMBERS),
)
