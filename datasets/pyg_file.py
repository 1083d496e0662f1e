"""Data of PyTorch Geometric from a file that `torch.save` wrote; nothing in it is run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.record import (
    MASKS,
    MOST_DECLARED,
    PER_BYTE,
    DataError,
    NodeDataset,
    classes_of,
    in_a_line,
    kind_of,
)
from mpnn.files import has_right_sums
from mpnn.graph.convert import pyg
from mpnn.graph.graph import Graph

PARTS = ("train", "val", "test")
MOST_DENSE = 1 << 30  # numbers: 4 GB of float32
OF_EDGES = ("edge_attr", "edge_weight", "edge_type")


def read_pyg(path: Path, ignore: Collection[str] = ()) -> NodeDataset | GraphDataset:
    """Read a `Data`, a list of them, a dictionary of lists, or what `InMemoryDataset.save` wrote.

    One `Data` is a graph; its `train_mask`, `val_mask` and `test_mask`, if it has all three, are the split.
    A list whose y have a row for each node is several graphs whose nodes are learned; a list whose y have one
    row is graphs that are learned. A dictionary of the lists "train", "val" and "test" says which graphs
    are for what. Edges are as they are in the file. Of y, integers are classes, a matrix of 0 and 1 with
    several columns is labels, and other numbers are to be predicted. `edge_weight` weighs the edges;
    `edge_attr` of one dimension is a feature of width 1.

    Args:
        path: the file.
        ignore: which of `edge_attr`, `edge_weight` and `edge_type` to leave out.

    Raises:
        DataError: the file is damaged, holds code or something else, or the graphs do not fit together.
    """
    content = _load(path)
    try:
        return _read(path, content, ignore)
    except DataError:
        raise
    except Exception as error:  # a damaged file may fail at any access, with any error
        raise DataError(f"{path} cannot be used: {in_a_line(error)}") from error


def _read(path: Path, content: Any, ignore: Collection[str]) -> NodeDataset | GraphDataset:
    parts: list[str] = []
    if isinstance(content, dict) and set(content) == set(PARTS):
        parts = [part for part in PARTS for _ in content[part]]
        content = [graph for part in PARTS for graph in content[part]]
    if isinstance(content, tuple) and len(content) >= 2 and isinstance(content[0], dict):
        content = _separated(*content[:2])
    graphs = list(content) if isinstance(content, list | tuple) else [content]
    if not graphs or not all(
        hasattr(graph, "edge_index") and hasattr(graph, "num_nodes") for graph in graphs
    ):
        raise DataError(f"{path} should hold a Data of PyTorch Geometric or a list of them")
    for graph in graphs:
        _make_plain(graph)
    for name in ignore:
        if name not in OF_EDGES or not any(_has(graph, name) for graph in graphs):
            there = [one for one in OF_EDGES if any(_has(graph, one) for graph in graphs)]
            raise DataError(
                f"ignore names {name!r}, but {path} has {', '.join(there) or 'nothing'} to ignore"
            )
        for graph in graphs:
            setattr(graph, name, None)
    try:
        return _assemble(path, graphs, parts)
    except DataError as error:
        raise DataError(f"{path} cannot be used: {error}") from error


def _load(path: Path) -> Any:
    pyg()
    from torch_geometric.data.data import Data, DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    # A file may name these containers of tensors, which a Data is made of, and no other class. A class that
    # PyG has allowed already is not added: the end of the context would forbid it again.
    has_right_sums(path, DataError)
    allowed = torch.serialization.get_safe_globals()
    safe = [kind for kind in (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage) if kind not in allowed]
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals(safe),
            torch.sparse.check_sparse_tensor_invariants(),  # type: ignore[no-untyped-call]  # to_dense() trusts them
        ):
            warnings.simplefilter("ignore")  # a file of another kind gets a sentence below, and no warning
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} was not opened: it is damaged, or holds objects besides tensors and PyTorch Geometric's "
            "Data, which could run code; save the Data alone, by torch.save"
        ) from None
    except Exception as error:  # for a damaged file torch.load raises many kinds of errors
        raise DataError(f"{path} is damaged or of another format: {in_a_line(error)}") from error


def _separated(content: dict[str, Any], slices: Any) -> list[Any]:
    """The graphs of an `InMemoryDataset`, which keeps them as one."""
    from torch_geometric.data import Data
    from torch_geometric.data.separate import separate

    whole = Data.from_dict(content)
    if not slices:
        return [whole]
    count = len(next(iter(slices.values()))) - 1
    return [separate(Data, whole, k, slices, decrement=False) for k in range(count)]


def _assemble(path: Path, graphs: list[Any], parts: list[str]) -> NodeDataset | GraphDataset:
    name = path.name.split(".")[0]
    ours = [Graph(graph.edge_index, int(graph.num_nodes)) for graph in graphs]
    if types := [kinds.long() for kinds in _values(graphs, "edge_type")]:
        count = 1 + max(int(kinds.max()) if kinds.numel() else 0 for kinds in types)
        ours = [
            Graph(one.edge_index, one.num_nodes, kinds, num_edge_types=count)
            for one, kinds in zip(ours, types, strict=True)
        ]
    x = [_features(values) for values in _values(graphs, "x")]
    derived = () if x else ("x",)
    if not x:
        highest = max(int(graph.in_degree.max()) if graph.num_nodes else 0 for graph in ours)
        x = [degree_one_hot(graph.in_degree, highest) for graph in ours]
    edge_attr = _of_edges(graphs)
    ys = _values(graphs, "y")
    of_nodes = not ys or all(len(y) == graph.num_nodes for y, graph in zip(ys, ours, strict=True))
    if len(graphs) > 1 and not of_nodes:
        y, names = _answers([one.reshape(1, -1) if one.dim() != 1 else one for one in ys])
        attr = tuple(edge_attr) or None
        return GraphDataset(name, tuple(ours), tuple(x), y, names, attr)
    y_all, names = _answers(ys) if ys else (None, ())
    return NodeDataset(
        name=name,
        graph=Graph.batch(ours) if len(ours) > 1 else ours[0],
        x=torch.cat(x),
        y=y_all,
        class_names=names,
        derived=derived,
        edge_attr=torch.cat(edge_attr) if edge_attr else None,
        **_masks(path, graphs, ours, parts),
    )


def _of_edges(graphs: Sequence[Any]) -> list[Tensor]:
    """Features of each graph's edges, or their weights, or nothing."""
    features = [_features(values) for values in _values(graphs, "edge_attr")]
    weights = [_matrix(values) for values in _values(graphs, "edge_weight")]
    if features and weights:
        raise ValueError(
            "it holds edge_attr and edge_weight, but a model takes weights or features of edges: name one of "
            "them in ignore"
        )
    for weight in weights:
        if weight.size(1) != 1 or not weight.isfinite().all():
            raise ValueError("edge_weight should be one finite number for each edge")
    return features or [weight.squeeze(1) for weight in weights]


def _masks(path: Path, graphs: Sequence[Any], ours: Sequence[Graph], parts: list[str]) -> dict[str, Any]:
    if parts:
        owner = [part for part, graph in zip(parts, ours, strict=True) for _ in range(graph.num_nodes)]
        return {f"{part}_mask": torch.tensor([one == part for one in owner]) for part in PARTS}
    if len(graphs) == 1 and all(_has(graphs[0], mask) for mask in MASKS):
        masks = {mask: getattr(graphs[0], mask) for mask in MASKS}
        # A mask with several columns holds several splits: the first is taken.
        return {name: mask[:, 0] if mask.dim() == 2 else mask for name, mask in masks.items()}
    there = [mask for mask in MASKS if len(graphs) == 1 and _has(graphs[0], mask)]
    if there:
        left = " and ".join(mask for mask in MASKS if mask not in there)
        warnings.warn(
            f"{path} has {' and '.join(there)} but no {left}: all three say what a node is for, so these are "
            "not used",
            stacklevel=2,
        )
    return {}


def _make_plain(graph: Any) -> None:
    """Make sparse features dense, and an answer that is a plain number a tensor."""
    for name in ("edge_index", "x", "y", *OF_EDGES, *MASKS):
        given = value = getattr(graph, name, None)
        if isinstance(value, Tensor) and value.is_meta:
            raise ValueError(f"{name} is on the meta device, without data")
        if isinstance(value, Tensor) and value.layout is torch.strided and _is_blown_up(value):
            raise ValueError(
                f"{name} is a view {list(value.shape)} of {value.untyped_storage().nbytes():,} bytes: save a "
                "copy of it, by contiguous()"
            )
        if isinstance(value, Tensor) and value.layout is not torch.strided:
            if value.numel() > MOST_DENSE:
                raise ValueError(
                    f"{name} is sparse {list(value.shape)}: dense, as models take it, it would hold "
                    f"{value.numel():,} numbers, but at most {MOST_DENSE:,} are read"
                )
            value = value.to_dense()
        if name == "y" and isinstance(value, bool | int | float | np.number | np.bool_):
            value = torch.as_tensor(value)
        if name == "y" and isinstance(value, Tensor) and value.dim() == 0:
            value = value.reshape(1)
        if value is not given:
            setattr(graph, name, value)


def _is_blown_up(value: Tensor) -> bool:
    """Whether a tensor has far more numbers than its memory, as `expand` gives it."""
    return value.numel() > max(MOST_DECLARED, PER_BYTE * value.untyped_storage().nbytes())


def _has(graph: Any, name: str) -> bool:
    return isinstance(getattr(graph, name, None), Tensor)


def _values(graphs: Sequence[Any], name: str) -> list[Tensor]:
    """What each graph has of that name, empty if none has any."""
    found = [getattr(graph, name) for graph in graphs if _has(graph, name)]
    if found and len(found) < len(graphs):
        raise ValueError(f"some graphs have {name} and others do not")
    return found


def _matrix(values: Tensor) -> Tensor:
    values = values.unsqueeze(1) if values.dim() == 1 else values
    return values if values.dtype == torch.float64 else values.float()


def _features(values: Tensor) -> Tensor:
    """A matrix of numbers that are finite in float32."""
    if values.is_complex():
        raise ValueError(f"its features are {kind_of(values)}, but should be real numbers")
    made = _matrix(values)
    bad = (~made.float().isfinite()).flatten(1).any(dim=1).nonzero()
    if len(bad):
        raise ValueError(f"row {int(bad[0])} of its features holds a number that is not finite in float32")
    return made


def _answers(ys: list[Tensor]) -> tuple[Tensor, tuple[str, ...]]:
    y = torch.cat(ys)
    if y.dim() == 2 and y.size(1) == 1 and not y.is_floating_point():
        y = y.squeeze(1)
    if y.dim() == 1 and not y.is_floating_point() and y.dtype != torch.bool:
        return y.long(), tuple(f"class {k}" for k in range(classes_of(y)))
    y = y.unsqueeze(1) if y.dim() == 1 else y
    if y.dim() != 2:
        raise ValueError(f"y is {kind_of(y)}, but should have a row of classes, labels or numbers for each")
    if y.dtype == torch.bool or (y.size(1) > 1 and bool(((y == 0) | (y == 1)).all())):
        return y.bool(), tuple(f"label {k}" for k in range(y.size(1)))
    return y.float(), tuple(f"target {k}" for k in range(y.size(1)))
