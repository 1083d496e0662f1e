"""Features of nodes, changed as the settings ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from mpnn.datasets import GraphDataset, NodeDataset, row_normalise
from mpnn.train.errors import RunError

FEATURES = ("given", "binary", "rows", "standard")


Graphs = TypeVar("Graphs", NodeDataset, GraphDataset)


def with_features(data: Graphs, how: str) -> Graphs:
    """Return the data with its node features changed.

    Args:
        data: one graph, or many, which are changed together.
        how: "given" as they are; "binary": 1 where there is anything, as in a bag of words; "rows": each row
            divided by its sum; "standard": each column with mean 0 and variance 1 over all nodes.

    Raises:
        RunError: `how` is "binary" or "rows", and there are features below zero.

    >>> from mpnn.datasets import load
    >>> with_features(load("karate"), "rows").x.sum(dim=1).unique()
    tensor([1.])
    """
    if isinstance(data, GraphDataset):
        sizes = [graph.num_nodes for graph in data.graphs]
        parts = torch.split(_changed(data.name, torch.cat(data.x), how), sizes)
        return replace(data, x=parts)
    return replace(data, x=_changed(data.name, data.x, how))


def _changed(name: str, x: Tensor, how: str) -> Tensor:
    if how in ("binary", "rows") and bool((x < 0).any()):
        raise RunError(f"features is {how!r}, but {name} has features below zero: take 'given' or 'standard'")
    if how == "binary":
        return (x != 0).to(x.dtype)
    if how == "rows":
        return row_normalise(x)
    if how == "standard":
        deviation = x.std(dim=0, unbiased=False)
        return (x - x.mean(dim=0)) / torch.where(deviation > 0, deviation, 1)
    return x
