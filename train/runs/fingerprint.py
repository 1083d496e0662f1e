"""A checksum of the data of a run, so that the run is not resumed on other data."""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import Dataset, GraphDataset, NodeDataset
from mpnn.graph.distinct import keys

TABLES = ("table", "edge_table", "array")
HOW = ("derived", "node_column", "read_as")  # the data is read, not what it says


def fingerprint(data: Dataset) -> str:
    """Sum up the data: edges, classes and characters to the bit, other numbers to four digits.

    The last digits of features that are scaled while they are read may differ between machines.

    >>> from mpnn.datasets import load
    >>> fingerprint(load("karate")) == fingerprint(load("karate")) != fingerprint(load("sbm"))
    True
    """
    check = 0
    for field in fields(data):
        value = getattr(data, field.name)
        late = field.name in TABLES or (field.name == "known" and isinstance(data, GraphDataset))
        if field.name not in HOW and not (value is None and late):  # older runs know no such field
            check = zlib.crc32(_summary(value), check)
    return f"{check:08x}"


def fingerprint_by_name(data: Dataset) -> str:
    """The same for data in any order: what has names is sorted by these first, and edges too."""
    if isinstance(data, GraphDataset) and data.graph_names:
        order = sorted(range(data.num_graphs), key=data.graph_names.__getitem__)
        return fingerprint(data.with_graphs(torch.tensor(order, device=data.y.device)))
    if not isinstance(data, NodeDataset) or not data.node_names or data.graph.num_graphs > 1:
        return fingerprint(data)
    order = sorted(range(data.num_nodes), key=data.node_names.__getitem__)
    data = data.with_nodes(torch.tensor(order, dtype=torch.int64, device=data.x.device))
    (key,) = keys((data.num_nodes, data.num_nodes), data.graph.edge_index)
    return fingerprint(data.with_edges(key.argsort(stable=True)))


def _summary(value: Any) -> bytes:
    if isinstance(value, Graph):
        value = value.edge_index
    if isinstance(value, tuple):
        return b"".join(map(_summary, value))
    if isinstance(value, pd.DataFrame):
        named = value[sorted(value.columns)]
        rows: bytes = pd.util.hash_pandas_object(named, index=False).to_numpy().tobytes()
        return f"{list(named.columns)} {zlib.crc32(rows)}".encode()
    if not isinstance(value, Tensor):
        return str(value).encode()
    if value.is_floating_point():
        norm = float(torch.linalg.vector_norm(value, dtype=torch.float64)) if value.numel() else 0.0
        return f"{tuple(value.shape)} {norm:.3e}".encode()
    return f"{tuple(value.shape)} {zlib.crc32(value.cpu().contiguous().numpy().tobytes())}".encode()
