"""A data set by its name, and of what kind it is."""

from __future__ import annotations

from pathlib import Path

from mpnn.datasets import GraphDataset, NodeDataset, load


def one_graph(name: str, data: Path | None = None) -> NodeDataset:
    """The data set of that name, which is one graph."""
    loaded = load(name, data)
    assert isinstance(loaded, NodeDataset)
    return loaded


def many_graphs(name: str, data: Path | None = None) -> GraphDataset:
    """The data set of that name, which is many graphs."""
    loaded = load(name, data)
    assert isinstance(loaded, GraphDataset)
    return loaded
