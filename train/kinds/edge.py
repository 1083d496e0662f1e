"""Tasks on pairs of nodes: links, and what is known of edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mpnn.datasets import DATASETS, NodeDataset
from mpnn.models import GAE, GNN, VGAE, PairMLP
from mpnn.train.errors import RunError
from mpnn.train.inputs.component import largest_component
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.on_graphs import layers, prepared, stack_options, width
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CONFUSION, CURVES, NUMBERS, ROC, VECTORS
from mpnn.train.record import NO_COLUMNS
from mpnn.train.tasks.edge_task import EdgeTask, LinkTask, labelled_pairs, pair_names
from mpnn.train.tasks.held_out import hold_out
from mpnn.train.tasks.kept import Kept, kept_edges, kept_links, known_edge_classes
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.pairs import Pairs
from mpnn.train.tasks.shape import Shape

SHARES = (0.05, 0.1)  # of links, Kipf & Welling's (2016)
HITS = 20
AUTOENCODERS = ("gae", "vgae")

# Kipf & Welling, 2016, section 3: two GCN layers to 32, then 16 channels, 200 epochs, no dropout. Their
# code leaves bags of words as they are, zeros and ones, and reconstructs the diagonal too.
AUTOENCODER = {
    "features": "binary",
    "hidden": 32,
    "embedding": 16,
    "layers": 2,
    "dropout": 0.0,
    "lr": 0.01,
    "weight_decay": 0.0,
    "epochs": 200,
    "monitor": "auc",
    "self_links": True,
}
# For the others there is no published set of settings.
OTHERS = {"hidden": 64, "layers": 2, "dropout": 0.2, "lr": 0.01, "weight_decay": 0.0, "epochs": 200}
ATTENTION = OTHERS | {"hidden": 16, "heads": 4, "out_heads": 1}
PRESETS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(AUTOENCODERS, AUTOENCODER),
    **dict.fromkeys(("gat", "gatv2", "transformer"), ATTENTION),
}


def _models() -> dict[str, str]:
    known = FACES["edge"].models()
    return layers() | {name: known[name] for name in AUTOENCODERS}


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    found = PRESETS.get(model, OTHERS)
    entry = DATASETS.get(asked.get("dataset", Options.dataset))
    if found is AUTOENCODER and (entry is None or not entry.reads_files):
        found = found | {"features": None}  # these need not be bags of words
    return found


def _model_for(asked: Mapping[str, Any]) -> str:
    """The autoencoders know links only: answers of edges are learned by a layer."""
    entry = DATASETS.get(asked["dataset"])
    named = asked.get("columns", NO_COLUMNS).edge_label is not None
    usual = "labels" if named or (entry is not None and entry.edge_labels) else "links"
    return "gcn" if asked.get("predict", usual) == "labels" else "gae"


def _make(options: Options, data: NodeDataset, kept: Kept | None = None) -> LinkTask | EdgeTask:
    if data.graph.num_graphs > 1:
        raise RunError(f"task is 'edge', but {data.name} is {data.graph.num_graphs} graphs: train node on it")
    predict = options.predict or ("links" if data.edge_y is None else "labels")
    make = _link_task if predict == "links" else _label_task
    return make(options, data, kept)


def _link_task(options: Options, data: NodeDataset, kept: Kept | None) -> LinkTask:
    for name, fits in (("loss", ("bce",)), ("class_weights", ()), ("learn", ("classification",))):
        if getattr(options, name) not in (None, *fits):
            raise RunError(f"{name} is {getattr(options, name)!r}, but links are learned by bce alone")
    pairs = Pairs.of(data.graph)
    others = None
    if kept is None or kept.items is None:
        split = draw_parts(options, SHARES, pairs.ends.size(1), None, "links").to(data.x.device)
    else:
        all_nodes = not options.largest_component and "nodes" not in data.derived
        pairs, split, others = kept_links(data, pairs, kept.items, all_nodes=all_nodes)
    held = hold_out(data, pairs, split, connected=options.largest_component, others=others)
    seen, preparation = prepared(options, held.data, kept)
    held = held._replace(data=seen)
    task = LinkTask(held, seed=options.seed, hits=options.hits or HITS, self_links=options.self_links)
    task.preparation = preparation
    return task


def _label_task(options: Options, data: NodeDataset, kept: Kept | None) -> EdgeTask:
    of_links = ["hits", "decoder"]
    if options.model not in AUTOENCODERS:  # whose presets set self_links
        of_links.append("self_links")
    for name in of_links:
        if getattr(options, name) not in (None, False, "mlp"):
            raise RunError(f"{name} is {getattr(options, name)!r}, but that is for predicting links")
    if options.largest_component:
        data = largest_component(data)
    if data.edge_y is not None:
        target = options.columns.edge_label
        y, names = learned(data.edge_y, data.edge_class_names, options.learn, options.loss, target)
        data = replace(data, edge_y=y, edge_class_names=names)
    if kept is not None:
        data = known_edge_classes(data, kept)
    pairs, y = labelled_pairs(data)
    if kept is None or kept.items is None:
        split = draw_parts(options, SHARES, len(y), y, "edges")
    else:
        undirected = Pairs.of(data.graph).undirected
        split = kept_edges(pair_names(data, pairs), kept.items, undirected, y.device)
    data, preparation = prepared(options, data, kept)
    task = EdgeTask(
        data, pairs, y, split, loss=options.loss, class_weights=options.class_weights, standard=True
    )
    task.preparation = preparation
    return task


def _build(options: Options, shape: Shape) -> nn.Module:
    labels, autoencoder = shape.item == EdgeTask.item, options.model in AUTOENCODERS
    stack = stack_options(options, shape, "gcn" if autoencoder else None)
    if labels and autoencoder:
        raise RunError(f"model is {options.model!r}, but that predicts links: take a layer for labels")
    if autoencoder and options.decoder == "mlp":
        raise RunError(f"decoder is 'mlp', but {options.model} has dot: take a layer, such as gcn, for mlp")
    embedding, variational = options.embedding or options.hidden, options.model == "vgae"
    encoder = GNN(
        shape.num_features,
        width(options),
        2 * embedding if variational else embedding,
        jk=options.jk,
        dropout=options.dropout,
        **stack,
    )
    decoder = PairMLP(embedding, shape.out_channels) if labels or options.decoder == "mlp" else None
    return VGAE(encoder, decoder) if variational else GAE(encoder, decoder)


EDGE = Kind(
    **vars(FACES["edge"]) | {"models": _models},
    data=NodeDataset,
    make=_make,
    build=_build,
    published=_published,
    model_for=_model_for,
    pictures=(CURVES, VECTORS, CONFUSION, ROC, NUMBERS),
)
