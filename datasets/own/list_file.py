"""Edges from a list of pairs of numbers, as SNAP publishes them: `.txt` and `.edges`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.record import DataError
from mpnn.datasets.text import read_numbers


def read_edge_list(path: Path, columns: Columns) -> EdgeList:
    """Read two node numbers from each line; the nodes are the numbers that occur."""
    columns.refuse(
        ("source", "target", "edge_label", "edge_type", "edge_weight"), f"{path.name} has no such columns"
    )
    ends = read_numbers(path, int, None)
    if ends.shape[1] != 2:
        raise DataError(
            f"{path} line 1: it holds {ends.shape[1]} numbers, but should hold two, the ends of an edge"
        )
    nodes, numbered = np.unique(ends, return_inverse=True)
    places = numbered.reshape(ends.shape).T.astype(np.int64).copy()
    return EdgeList(places, [str(node) for node in nodes.tolist()], names_only_ends=True)
