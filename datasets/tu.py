"""The TU collection of graphs to classify (Morris et al., 2020), and any folder in its text format."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import files
from mpnn.datasets.download import could_not, download
from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import cache_folder, compare_content, data_folder, first_place, make_folder
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.record import MOST_CLASSES, DataError, check_dense
from mpnn.datasets.text import read_numbers
from mpnn.files import free_memory
from mpnn.graph.distinct import first_of_each
from mpnn.graph.graph import Graph

Array = np.ndarray[Any, Any]


def load_tu(name: str, data: str | Path | None = None, *, attributes: bool = False) -> GraphDataset:
    """Return a data set of the TU collection, such as `"MUTAG"`.

    Features are the attributes of the nodes, if they are asked for, then their one-hot labels; without either
    their one-hot degrees (Xu et al., 2019). Self loops are dropped, and an edge that the
    file lists twice is there once. Edge labels, one-hot, become `edge_attr`.

    Args:
        name: what its files are called: NAME_A.txt, NAME_graph_indicator.txt, ...
        data: a folder that holds them in `tu/NAME/raw`, `NAME/raw`, `NAME`, `raw` or directly. By default
            the folder that the environment variable `MPNN_DATA` names; without it they are downloaded once
            into the user's cache.
        attributes: whether to take node attributes (real numbers) too.

    Raises:
        DataError: a file is missing, or a line of one is wrong.
    """
    folder = data_folder(data)
    if folder is None:
        return read_tu(_download(name), name, attributes=attributes)
    raw = first_place(folder, (f"tu/{name}/raw", f"{name}/raw", name, "raw", "."), [f"{name}_A.txt"])
    if raw is None:
        raise DataError(f"{folder} holds no {name}/raw/{name}_A.txt")
    return read_tu(raw, name, attributes=attributes)


def tu_name(path: Path) -> str:
    """What the files of a folder in the TU format are called.

    Raises:
        DataError: the folder does not hold one set of them.
    """
    names = [file.name.removesuffix("_A.txt") for file in path.glob("*_A.txt")]
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} files *_A.txt, but should hold one, of a TU data set")
    return names[0]


def read_tu(
    raw: Path,
    name: str,
    *,
    attributes: bool = True,
    like: Mapping[str, Any] | None = None,
    answered: bool = True,
) -> GraphDataset:
    """Read the files NAME_*.txt of a folder; numbers of nodes and graphs begin at 1 in them.

    `graph_attributes` are numbers to predict (regression); without them `graph_labels` are the classes.

    Args:
        raw: the folder.
        name: what its files are called.
        attributes: whether to take node attributes too.
        like: `read_as` of another folder, whose features these should be: `attributes`, and the lowest and
            highest number of each column of labels of `node` and `edge`.
        answered: whether graphs have classes or numbers; without, y is 0 everywhere.

    Raises:
        DataError: a file is missing, or a line of one is wrong.
    """
    owner = _column(raw / f"{name}_graph_indicator.txt") - 1
    falls = np.flatnonzero(np.diff(owner, prepend=0) < 0)
    if len(falls) or owner[0] < 0:
        line = int(falls[0]) + 1 if len(falls) else 1
        raise DataError(
            f"{raw / f'{name}_graph_indicator.txt'} line {line}: graphs should be numbered 1, 2, ... in order"
        )
    num_nodes, num_graphs = len(owner), int(owner[-1]) + 1
    edges, kept, lines = _edges(raw / f"{name}_A.txt", owner)

    attributes = attributes if like is None else bool(like["attributes"])
    x, of_nodes = _features(raw, name, "node", num_nodes, attributes, like)
    edge_attr, of_edges = _features(raw, name, "edge", lines, True, like)
    if edge_attr is not None:
        edge_attr = edge_attr[torch.from_numpy(kept)]
    derived = () if x is not None else ("x",)
    if x is None:
        degree = torch.bincount(edges[1], minlength=num_nodes)
        x = degree_one_hot(degree, int(degree.max()))

    sizes = np.bincount(owner, minlength=num_graphs)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    counts = np.bincount(owner[edges[0].numpy()], minlength=num_graphs).tolist()
    local = edges - torch.from_numpy(starts[owner[edges[0].numpy()]])
    graphs = tuple(
        Graph(part.contiguous(), int(size))
        for part, size in zip(torch.split(local, counts, dim=1), sizes, strict=True)
    )
    nothing = torch.zeros(num_graphs, dtype=torch.int64), ("not known",)
    y, class_names = _targets(raw, name, num_graphs) if answered else nothing
    return GraphDataset(
        name=name,
        graphs=graphs,
        x=torch.split(x, sizes.tolist()),
        y=y,
        class_names=class_names,
        edge_attr=None if edge_attr is None else torch.split(edge_attr, counts),
        derived=derived,
        read_as={"attributes": attributes, "node": of_nodes, "edge": of_edges},
    )


def _edges(path: Path, owner: Array) -> tuple[Tensor, Array, int]:
    """Edges sorted by source, each once, the line of each in the file, and how many lines there are."""
    ends = _numbers(path, int) - 1
    bad = (ends < 0) | (ends >= len(owner))
    if ends.shape[1] != 2 or bad.any():
        line = int(bad.any(axis=1).argmax()) + 1
        raise DataError(f"{path} line {line}: an edge should be two nodes out of 1..{len(owner)}")
    apart = owner[ends[:, 0]] != owner[ends[:, 1]]
    if apart.any():
        raise DataError(f"{path} line {int(apart.argmax()) + 1}: the edge goes from one graph to another")
    first = first_of_each(torch.from_numpy(ends).unbind(1), (len(owner), len(owner)))[0].numpy()
    kept = first[ends[first, 0] != ends[first, 1]]
    return torch.from_numpy(ends[kept].T.copy()), kept, len(ends)


def _features(
    raw: Path, name: str, of: str, rows: int, attributes: bool, like: Mapping[str, Any] | None
) -> tuple[Tensor | None, list[list[int]]]:
    """Attributes, then one-hot labels, of nodes or edges, None if there are none; and the labels' range."""
    parts, ranges = list[Tensor](), list[list[int]]()
    path = raw / f"{name}_{of}_attributes.txt"
    if attributes and path.exists():
        parts.append(torch.from_numpy(_numbers(path, float)).float())
    path = raw / f"{name}_{of}_labels.txt"
    if path.exists():
        labels = _numbers(path, int)
        ranges = [[int(column.min()), int(column.max())] for column in labels.T]
        if like is not None:
            _check_labels(path, labels, ranges := like[of])
        width = sum(high - low + 1 for low, high in ranges)
        if width > max(MOST_CLASSES, len(labels)):
            low, high = max(ranges, key=lambda pair: pair[1] - pair[0])
            raise DataError(
                f"{path} has labels from {low} to {high}, but {len(labels)} lines: number them from 0 on"
            )
        check_dense(path, len(labels), width)
        columns = torch.from_numpy(labels).T
        parts += [
            F.one_hot(column - low, high - low + 1).float()
            for column, (low, high) in zip(columns, ranges, strict=True)
        ]
    for part in parts:
        if len(part) != rows:
            raise DataError(f"{name}_{of}_*.txt in {raw} have {len(part)} lines, but should have {rows}")
    return (torch.cat(parts, dim=1) if parts else None), ranges


def _check_labels(path: Path, labels: Array, ranges: list[list[int]]) -> None:
    """Raise DataError unless the labels are some of those that another folder has."""
    if labels.shape[1] != len(ranges):
        raise DataError(f"{path} line 1: it holds {labels.shape[1]} labels, but should hold {len(ranges)}")
    low, high = np.array(ranges).T
    strange = ((labels < low) | (labels > high)).any(axis=1)
    if strange.any():
        line = int(strange.argmax())
        raise DataError(
            f"{path} line {line + 1}: {', '.join(map(str, labels[line].tolist()))} is no label that the "
            "model was trained with"
        )


def _targets(raw: Path, name: str, num_graphs: int) -> tuple[Tensor, tuple[str, ...]]:
    path = raw / f"{name}_graph_attributes.txt"
    if path.exists():
        numbers = torch.from_numpy(_numbers(path, float)).float()
        _check_count(path, len(numbers), num_graphs)
        return numbers, tuple(f"target {number}" for number in range(numbers.size(1)))
    path = raw / f"{name}_graph_labels.txt"
    labels = _column(path)
    _check_count(path, len(labels), num_graphs)
    classes, y = np.unique(labels, return_inverse=True)
    return torch.from_numpy(y.astype(np.int64)), tuple(f"class {label}" for label in classes.tolist())


def _column(path: Path) -> Array:
    found = _numbers(path, int)
    if found.shape[1] != 1:
        raise DataError(f"{path} line 1: it holds {found.shape[1]} numbers, but should hold one")
    return found[:, 0]


def _numbers(path: Path, number: type[int] | type[float]) -> Array:
    found = read_numbers(path, number)
    compare_content(path, found)
    return found


def _check_count(path: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise DataError(f"{path} has {found} lines, but should have {wanted}, one for each graph")


def _download(name: str) -> Path:
    """Return the user's copy of the files, fetched from where PyG fetches them if they are not there."""
    raw = cache_folder("tu") / name / "raw"
    if not (raw / f"{name}_A.txt").exists():
        from torch_geometric.datasets import TUDataset  # slow to import: only where it is needed

        url = f"{TUDataset.url}/{name}.zip"
        texts = _texts(name, url, download(name, url))
        make_folder(raw.parent)
        with tempfile.TemporaryDirectory(prefix=".raw-", dir=raw.parent) as draft:
            (Path(draft) / "raw").mkdir()
            for file, content in texts.items():
                files.write(Path(draft) / "raw" / file, content, DataError)
            try:
                (Path(draft) / "raw").replace(raw)
            except OSError as error:
                raise DataError(f"{raw} cannot be written: {error.strerror}") from error
    return raw


def _texts(name: str, url: str, content: bytes) -> dict[str, bytes]:
    """The files NAME_*.txt of the archive, whose sums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(one.file_size for one in archive.infolist())
            if size > free_memory():
                raise ValueError(f"it unpacks to {size:,} bytes")
            found = {
                Path(one).name: archive.read(one)
                for one in archive.namelist()
                if Path(one).name.startswith(f"{name}_") and one.endswith(".txt")
            }
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
        raise could_not(name, f"{url} is damaged: {error}") from error
    if f"{name}_A.txt" not in found:
        raise could_not(name, f"{url} holds no {name}_A.txt")
    return found
