"""What the command says of each kind of task, before anything is imported that trains."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mpnn.datasets.own.columns import Columns
from mpnn.models.conv.descriptions import DESCRIPTIONS
from mpnn.train.kinds.image_faces import FIXED, OF_IMAGES, OF_PICTURES, REMEMBERED
from mpnn.train.kinds.segment_faces import FIXED as FIXED_OF_MASKS
from mpnn.train.kinds.segment_faces import OF_MASKS

if TYPE_CHECKING:
    from mpnn.datasets.registry import Entry

STACK = ("features", "heads", "out_heads", "attention_dropout", "norm", "jk", "residual", "virtual_node")
PARTS = ("split", "folds", "class_weights", "loss", "learn")
COLUMNS = tuple(column.name for column in fields(Columns))
OF_ONE_GRAPH = tuple(name for name in COLUMNS if name not in ("graph_labels", "smiles"))
NEED_FOLDS = ("fold", "shared_epoch")


@dataclass(frozen=True, kw_only=True)
class Face:
    """A kind of task as help shows it; `Kind` says how it is trained.

    Args:
        name: what the command and `config.json` call it.
        about: what a model is trained to do, in a line.
        dataset, model: the data set and the model that are taken if none is named.
        models: returns every model by name, with a line about each.
        options: names of those that this kind has and others may not have; all others every kind has.
        columns: what may be said of tables of your own: fields of `Columns`.
        fixed: by the name of a model, the options that it does not let choose, with their values.
        like: kinds of tasks whose data sets of `mpnn.datasets.DATASETS` are for this kind too.
    """

    name: str
    about: str
    dataset: str
    model: str
    models: Callable[[], dict[str, str]]
    options: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    fixed: dict[str, dict[str, Any]] = field(default_factory=dict)
    like: tuple[str, ...] = ()

    def suits(self, entry: Entry) -> bool:
        """Whether a data set of `mpnn.datasets.DATASETS` is for such tasks."""
        return not {self.name, *self.like}.isdisjoint(entry.tasks)

    def lets_choose(self, option: str) -> bool:
        """Whether an option, or what a column is, has any effect on such tasks.

        >>> FACES["node"].lets_choose("heads"), FACES["image"].lets_choose("heads")
        (True, False)
        """
        if option in COLUMNS:
            return option in self.columns
        if option in NEED_FOLDS:
            return self.lets_choose("folds")
        if self.fixed.keys() == self.models().keys() and all(
            option in fixed for fixed in self.fixed.values()
        ):
            return False
        return option in self.options or all(option not in face.options for face in FACES.values())


def known_faces() -> Mapping[str, Face]:
    """Every kind of task that the command knows: these, and those that a program has put into `KINDS`."""
    registry = sys.modules.get("mpnn.train.kinds.registry")
    return FACES if registry is None else FACES | registry.KINDS


def _of_edges() -> dict[str, str]:
    return DESCRIPTIONS | {
        "gae": "graph autoencoder: GCN, links by dot products (Kipf and Welling, 2016)",
        "vgae": "its variational form, which draws the vectors (Kipf and Welling, 2016)",
    }


def _of_graphs() -> dict[str, str]:
    return DESCRIPTIONS | {"gin": "GIN with its readout: sums over every layer (Xu et al., 2019)"}


def _of_texts() -> dict[str, str]:
    return {
        "transformer": "attention to the characters before: GPT-2 in small (Radford et al., 2019)",
        "lstm": "a recurrent network with a memory (Graves, 2013)",
    }


FACES = {
    face.name: face
    for face in (
        Face(
            name="node",
            about="classify the nodes of a graph, or predict their numbers",
            dataset="karate",
            model="gcn",
            models=lambda: DESCRIPTIONS,
            options=(
                *(*STACK, *PARTS, "batch_size", "ensemble", "fanouts"),
                *("known_counts", "largest_component"),
            ),
            columns=tuple(name for name in OF_ONE_GRAPH if name != "edge_label"),
        ),
        Face(
            name="edge",
            about="predict links, classify edges, or predict their numbers",
            dataset="cora",
            model="gae",
            models=_of_edges,
            options=(
                *(*STACK, *PARTS, "largest_component"),
                *("embedding", "decoder", "predict", "hits", "self_links"),
            ),
            columns=OF_ONE_GRAPH,
        ),
        Face(
            name="graph",
            about="classify graphs, or predict their numbers",
            dataset="mutag",
            model="gin",
            models=_of_graphs,
            options=(*STACK, *PARTS, "batch_size", "ensemble", "known_counts", "readout"),
            columns=tuple(name for name in COLUMNS if name not in ("features_file", "part", "edge_label")),
        ),
        Face(
            name="image",
            about="classify images, predict their numbers, or find codes for them",
            dataset="digits",
            model="lenet",
            models=lambda: OF_IMAGES,
            options=(
                *(*PARTS, "batch_size", "ensemble", "augment", "weights", "freeze"),
                *("embedding", "map", "lattice", "pretrain"),
            ),
            fixed=FIXED,
        ),
        Face(
            name="text",
            about="predict the next character of a text",
            dataset="shakespeare",
            model="transformer",
            models=_of_texts,
            options=("heads", "batch_size", "context", "steps"),
            fixed={"transformer": {"act": "gelu"}, "lstm": {"act": "tanh", "heads": None}},
        ),
        Face(
            name="memory",
            about="remember pictures, and recall them from spoiled ones",
            dataset="digits",
            model="hopfield",
            models=lambda: OF_PICTURES,
            options=("patterns", "noise", "rule"),
            fixed=REMEMBERED,
            like=("image",),
        ),
        Face(
            name="segment",
            about="tell the class of every pixel of images",
            dataset="shapes",
            model="fcn20",
            models=lambda: OF_MASKS,
            options=("split", "folds", "batch_size", "weights", "freeze"),
            fixed=FIXED_OF_MASKS,
        ),
    )
}
