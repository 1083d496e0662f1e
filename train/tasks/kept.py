"""What a run keeps besides the weights: how features are made, names of classes, which item was for what."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.datasets import GraphDataset, NodeDataset
from mpnn.datasets.record import MASKS
from mpnn.graph.distinct import keys
from mpnn.train.errors import RunError
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.tasks.pairs import Pairs
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split

NODE, GRAPH, SOURCE, TARGET, PART = "node", "graph", "source", "target", "part"
OTHER_SOURCE, OTHER_TARGET = "unlinked_source", "unlinked_target"

Items = dict[str, list[str]]
Answered = TypeVar("Answered", NodeDataset, GraphDataset)


@dataclass(frozen=True)
class Kept:
    """What must be known to use a model again.

    Args:
        preparation: how features are made.
        class_names: what the outputs stand for: classes, labels or numbers.
        shape: what the model is built for.
        learns: what is learned: `"classes"`, `"labels"`, `"numbers"`, or `"links"`.
        items: columns that name each item and its part; None if the seed alone decides the parts.
    """

    preparation: Preparation
    class_names: tuple[str, ...]
    shape: Shape
    learns: str
    items: Items | None = None


def with_known_classes(data: Answered, kept: Kept | None) -> Answered:
    """The data with its classes numbered as where the model was trained.

    An item of a class that the model does not know counts as one whose class is not known; of that it warns.

    Raises:
        RunError: labels or numbers are others than the model was trained on.
    """
    if kept is None or data.y is None or data.class_names == kept.class_names:
        return data
    if data.y.dim() != 1:
        raise RunError(
            f"{data.name} has {', '.join(data.class_names)} to learn, but the model was trained on "
            f"{', '.join(kept.class_names)}"
        )
    y, strange = _renumbered(data.y, data.class_names, kept.class_names, data.known)
    items = "nodes" if isinstance(data, NodeDataset) else "graphs"
    if len(strange):
        warnings.warn(
            f"{data.name} has {len(strange)} {items} of classes that the model was not trained on: "
            "they are in no part",
            stacklevel=2,
        )
    known = y >= 0
    return replace(data, y=y, class_names=kept.class_names, known=None if bool(known.all()) else known)


def _renumbered(
    y: Tensor, names: Sequence[str], trained: Sequence[str], known: Tensor | None
) -> tuple[Tensor, Tensor]:
    number = {name: k for k, name in enumerate(trained)}
    table = y.new_tensor([number.get(name, -1) for name in names] + [-1])
    there = y if known is None else torch.where(known, y, -1)
    found = table[there]
    return found, ((found < 0) & (there >= 0)).nonzero()


def with_kept_parts(data: NodeDataset, items: Items) -> NodeDataset:
    """The data with each node in the part that a run had it in, by its name; new nodes are in none.

    Raises:
        RunError: a part has no node left.
    """
    part = dict(zip(items[NODE], items[PART], strict=True))
    missing = len(part.keys() - {*data.node_names})
    if missing:
        warnings.warn(f"{data.name} lacks {missing} of the {len(part)} nodes that the run had", stacklevel=2)
    there = torch.ones_like(data.graph.in_degree, dtype=torch.bool) if data.known is None else data.known
    parts = [part.get(name, "") for name in data.node_names]
    masks: dict[str, Any] = {
        mask: there & torch.tensor([one == name for one in parts], device=there.device)
        for mask, name in zip(MASKS, Split._fields, strict=True)
    }
    for mask, name in zip(MASKS, Split._fields, strict=True):
        if name in items[PART] and not masks[mask].any():
            raise RunError(f"{data.name} holds no node of the run's part {name!r}, whose answer is known")
    return replace(data, **masks)


def kept_graphs(data: GraphDataset, items: Items) -> Split:
    """Positions of the graphs of each part of a run, by their names; new graphs are in none.

    Raises:
        RunError: a part has no graph left.
    """
    part = dict(zip(items[GRAPH], items[PART], strict=True))
    missing = len(part.keys() - {*data.graph_names})
    if missing:
        warnings.warn(f"{data.name} lacks {missing} of the {len(part)} graphs that the run had", stacklevel=2)
    known = [True] * data.num_graphs if data.known is None else data.known.tolist()
    parts = [part.get(name, "") if there else "" for name, there in zip(data.graph_names, known, strict=True)]
    for name in {*items[PART]} - {*parts}:
        raise RunError(f"{data.name} holds no graph of the run's part {name!r}, whose answer is known")
    return _positions(parts, data.y.device)


def kept_links(
    data: NodeDataset, pairs: Pairs, items: Items, *, all_nodes: bool = True
) -> tuple[Pairs, Split, Tensor]:
    """The links that a run had, by the names of their nodes, their parts, and as many other pairs.

    Args:
        data: the graph with all links.
        pairs: its links.
        items: the links that the run had.
        all_nodes: whether the run had all nodes; else it had those that its links to train on name, and links
            of others were left out.

    Raises:
        RunError: the graph has none of the links to train on.
    """
    number = {name: k for k, name in enumerate(data.node_names)}
    columns = [items[name] for name in (SOURCE, TARGET, OTHER_SOURCE, OTHER_TARGET)]
    named = torch.tensor(
        [[number.get(name, -1) for name in column] for column in columns], device=pairs.ends.device
    )
    ends, others = named[:2], named[2:]
    if pairs.undirected:
        ends, others = ends.sort(dim=0).values, others.sort(dim=0).values
    known = (named >= 0).all(dim=0).nonzero().flatten()
    size = (data.num_nodes, data.num_nodes)
    wanted, there = keys(size, ends[:, known], pairs.ends)
    order = there.argsort()
    at = torch.searchsorted(there[order], wanted).clamp(max=len(order) - 1)
    found = there[order][at] == wanted
    chosen, rows = order[at[found]], known[found]
    could_be = torch.ones(pairs.ends.size(1), dtype=torch.bool, device=pairs.ends.device)
    if not all_nodes:
        could_be = torch.isin(pairs.ends, ends[:, known]).all(dim=0)
    lost, new = len(items[PART]) - len(rows), int(could_be.sum()) - len(rows)
    if lost or new:
        warnings.warn(
            f"{data.name} lacks {lost} links of the run, and {new} of its links are new: both are left out",
            stacklevel=2,
        )
    place = torch.full((pairs.ends.size(1) + 1,), -1, device=pairs.ends.device)
    place[chosen] = torch.arange(len(chosen), device=place.device)
    split = _positions([items[PART][row] for row in rows.tolist()], place.device)
    if not len(split.train):
        raise RunError(f"{data.name} has none of the links that the run was trained on")
    return Pairs(pairs.ends[:, chosen], place[pairs.pair], pairs.undirected), split, others[:, rows]


def known_edge_classes(data: NodeDataset, kept: Kept) -> NodeDataset:
    """The data with the classes of its edges numbered as where the model was trained.

    Raises:
        RunError: edges have classes, labels or numbers that the model was not trained on.
    """
    if data.edge_y is None or data.edge_class_names == kept.class_names:
        return data
    if data.edge_y.dim() == 1:
        y, strange = _renumbered(data.edge_y, data.edge_class_names, kept.class_names, None)
        if not len(strange):
            return replace(data, edge_y=y, edge_class_names=kept.class_names)
    raise RunError(
        f"{data.name} has edges of {', '.join(data.edge_class_names)}, but the model was trained on "
        f"{', '.join(kept.class_names)}"
    )


def kept_edges(names: Items, items: Items, undirected: bool, device: torch.device) -> Split:
    """Positions of the edges of each part, by the names of their nodes."""
    ends = zip(items[SOURCE], items[TARGET], strict=True)
    part = dict(zip(ends, items[PART], strict=True))
    if undirected:
        part |= {
            (target, source): one for (source, target), one in part.items() if (target, source) not in part
        }
    return _positions([part.get(ends, "") for ends in zip(names[SOURCE], names[TARGET], strict=True)], device)


def _positions(parts: Sequence[str], device: torch.device) -> Split:
    """Positions of the items of each part."""
    found = ([k for k, part in enumerate(parts) if part == name] for name in Split._fields)
    return Split(*(torch.tensor(where, dtype=torch.int64, device=device) for where in found))
