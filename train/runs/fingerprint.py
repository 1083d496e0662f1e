"""A summary of the data of a run, so that the run is not resumed or used on other data."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import Dataset, GraphDataset, NodeDataset
from mpnn.graph.distinct import keys

HOW = ("derived", "node_column", "read_as", "name")  # the data is read or called, not what it says
AT_ONCE = 1 << 20  # numbers
PRIMES = (1_000_003, 7_368_787)


def fingerprint(data: Dataset) -> dict[str, Any]:
    """Sum up each part of the data, as plain values: see `mpnn.train.fitting.identity` for their comparison.

    Edges, classes, cells and characters are summed up to the bit. Of other numbers there are the norm and two
    sums, weighted by position, which see their order and their signs, and not the last digits: those may
    differ between machines where features are scaled while they are read.

    >>> from mpnn.datasets import load
    >>> fingerprint(load("karate")) == fingerprint(load("karate")) != fingerprint(load("sbm"))
    True
    """
    made = {"x": "table", "edge_attr": "edge_table"}  # what is made of a table is read as the run says
    left_out = {name for name, table in made.items() if getattr(data, table, None) is not None}
    return {
        field.name: _summary(value)
        for field in fields(data)
        if field.name not in {*HOW, *left_out} and (value := getattr(data, field.name)) is not None
    }


def fingerprint_by_name(data: Dataset) -> dict[str, Any]:
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


def _summary(value: Any) -> Any:
    if isinstance(value, Graph):
        parts = [value.edge_index, value.edge_type]
        return _sum(repr([value.num_nodes, *(None if part is None else _summary(part) for part in parts)]))
    if isinstance(value, tuple) and value and isinstance(value[0], Graph):
        return _sum(repr([_summary(one) for one in value]))
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
        shapes = [tuple(one.shape) for one in value]
        return [_sum(repr(shapes)), *_as_list(_summary(torch.cat([one.flatten() for one in value])))]
    if isinstance(value, pd.DataFrame):
        named = value[sorted(value.columns)]
        rows: bytes = pd.util.hash_pandas_object(named, index=False).to_numpy().tobytes()
        return _sum(repr(list(named.columns)), rows)
    if not isinstance(value, Tensor):
        return _sum(repr(value))
    value = value.detach().cpu().contiguous()
    shape = repr(tuple(value.shape))
    if value.is_floating_point():
        finite = value.isfinite()
        holes = b"" if finite.all() else finite.numpy().tobytes()
        return [_sum(shape, holes), *_sums(value.flatten())]
    return _sum(shape, value.numpy().tobytes())


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _sum(text: str, content: bytes = b"") -> str:
    found = hashlib.sha256(text.encode())
    found.update(content)
    return found.hexdigest()[:16]


def _sums(values: Tensor) -> list[float]:
    """The norm, and sums weighted by position, which are as large as the norm."""
    squares, sums = 0.0, [0.0 for _ in PRIMES]
    for start, part in zip(range(0, values.numel(), AT_ONCE), torch.split(values, AT_ONCE), strict=False):
        part = part.double().nan_to_num(0.0, 0.0, 0.0)
        place = torch.arange(start + 1, start + 1 + part.numel(), dtype=torch.int64)
        squares += float(part @ part)
        for k, prime in enumerate(PRIMES):
            mixed = (place * prime) ^ ((place * prime) >> 15)
            weight = (mixed * 2_654_435_761 & 0xFFFFFFFF).double() / 2**31 - 1  # from -1 to 1
            sums[k] += float(weight @ part)
    return [squares**0.5, *sums]
