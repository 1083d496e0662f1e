"""What a trained model is given: data sets of ours, PyTorch Geometric's, and files of graphs or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import Columns, GraphDataset, ImageDataset, NodeDataset, load_graphs, read_tu
from mpnn.datasets.files import is_there
from mpnn.datasets.own import load_smiles
from mpnn.datasets.pixels import read_images
from mpnn.datasets.tables import as_table
from mpnn.datasets.tu import tu_name
from mpnn.train.errors import RunError
from mpnn.train.tasks.kept import Kept

NAME = "data"


def whole_data_set(given: Any, kept: Kept) -> NodeDataset | GraphDataset | None:
    """A `Data`, or a list of them, as a data set whose answers are not known; None if it is something else.

    Raises:
        RunError: it has no features, or others than the model reads.
    """
    if isinstance(given, NodeDataset | GraphDataset):
        return given
    if _is_data(given):
        return NodeDataset(NAME, Graph.from_pyg(given), _features(given, kept), edge_attr=_edge_attr(given))
    if isinstance(given, Sequence) and given and all(map(_is_data, given)):
        attr = [_edge_attr(one) for one in given]
        return GraphDataset(
            NAME,
            tuple(map(Graph.from_pyg, given)),
            tuple(_features(one, kept) for one in given),
            torch.zeros(len(given), dtype=torch.int64),
            ("not known",),
            None if any(one is None for one in attr) else tuple(one for one in attr if one is not None),
        )
    return None


def new_graphs(nodes: Any, edges: Any, columns: Columns, kept: Kept) -> GraphDataset:
    """Graphs whose answers are not known, from tables, or from a folder in the TU format.

    Args:
        nodes: a table of nodes, or None.
        edges: a table of edges, or a folder.
        columns: which column is what, as where the model was trained.
        kept: what the run keeps.

    Raises:
        RunError: the model was trained on graphs of another kind of file.
    """
    like = kept.preparation.read_as
    if isinstance(edges, str | Path) and is_there(Path(edges), Path.is_dir):
        if "attributes" not in like:
            raise RunError(f"{edges} is a folder, but the model was not trained on graphs of the TU format")
        if nodes is not None:
            raise RunError("nodes are given, but a folder in the TU format holds its own")
        return read_tu(Path(edges), tu_name(Path(edges)), like=like, answered=False)
    if columns.smiles is not None:
        return load_smiles(as_table(edges, "molecules"), columns, answered=False)
    if columns.graph_id is None:
        trained = "a folder in the TU format" if "attributes" in like else "no table with a graph_id"
        raise RunError(
            f"the model was trained on {trained}: give such graphs, a data set, or PyG's Data in a list"
        )
    data = load_graphs(edges, nodes, columns=columns, answered=False, like=like)
    return replace(data, name=NAME)


def new_images(given: Any, kept: Kept) -> tuple[Tensor, list[str]]:
    """Images as the model reads them, and what they are called.

    Raises:
        RunError: they have another size than the images that it was trained on.
    """
    how, size = kept.preparation.read_as, tuple(kept.shape.size)
    if isinstance(given, ImageDataset):
        x, names = given.x, [str(number) for number in range(given.num_images)]
    elif how:
        pixels, names = read_images(given, kept.shape.num_features)
        x = (pixels - how["mean"]) / how["deviation"]
    else:
        raise RunError("the run has not kept what was done to pixels: give an ImageDataset")
    if tuple(x.shape[1:]) != (kept.shape.num_features, *size):
        raise RunError(
            f"images are {list(x.shape[1:])}, but the model reads {[kept.shape.num_features, *size]}: "
            "channels, height and width"
        )
    return x, names


def _is_data(given: Any) -> bool:
    return hasattr(given, "edge_index") and hasattr(given, "num_nodes")


def _features(data: Any, kept: Kept) -> Tensor:
    if kept.preparation.highest is not None:  # then features are degrees, which are counted anew
        return torch.zeros(data.num_nodes, 1)
    x: Tensor | None = data.x
    if x is None or x.dim() != 2 or x.size(1) != kept.shape.num_features:
        found = "none" if x is None else list(x.shape)
        raise RunError(f"x is {found}, but the model reads features [num_nodes, {kept.shape.num_features}]")
    return x.to(torch.get_default_dtype())


def _edge_attr(data: Any) -> Tensor | None:
    attr: Tensor | None = getattr(data, "edge_attr", None)
    return None if attr is None else attr.to(torch.get_default_dtype())
