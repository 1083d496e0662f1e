"""Whole data sets that a trained model is given: ours, or PyTorch Geometric's `Data`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import GraphDataset, NodeDataset
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
