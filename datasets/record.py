"""One immutable record: a graph, what is known about its nodes, and which of them are for what."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpnn.graph import Graph

MASKS = ("train_mask", "val_mask", "test_mask")


class DataError(ValueError):
    """Data that cannot be used, and why, in one sentence."""


@dataclass(frozen=True, eq=False, repr=False)
class NodeDataset:
    """A graph whose nodes are to be classified.

    Args:
        name: what it is called in tables and pictures.
        graph: who is linked to whom.
        x: features `[num_nodes, channels]`.
        y: classes `[num_nodes]`, int64, each an index into `class_names`.
        train_mask, val_mask, test_mask: bool `[num_nodes]`; a node is in one of them at most.
        class_names: the classes in the order of their numbers.

    Raises:
        DataError: shapes, types or class numbers do not fit together.

    >>> from mpnn.datasets import load
    >>> load("karate")
    karate: 34 nodes, 156 edges, 34 features, 2 classes, 2/8/24 nodes to train/validate/test on
    """

    name: str
    graph: Graph
    x: Tensor
    y: Tensor
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        num_nodes = self.graph.num_nodes
        if self.x.dim() != 2 or self.x.size(0) != num_nodes or not self.x.is_floating_point():
            raise DataError(f"x is {_kind(self.x)}, but should be floating point [{num_nodes}, channels]")
        if self.y.dtype != torch.int64 or self.y.shape != (num_nodes,):
            raise DataError(f"y is {_kind(self.y)}, but should be torch.int64 [{num_nodes}]")
        wrong = ((self.y < 0) | (self.y >= self.num_classes)).nonzero()
        if wrong.numel():
            node, last = int(wrong[0]), self.num_classes - 1
            raise DataError(f"y[{node}] is {int(self.y[node])}, but should be a class, 0..{last}")

        taken = torch.zeros(num_nodes, dtype=torch.int64, device=self.y.device)
        for name in MASKS:
            mask: Tensor = getattr(self, name)
            if mask.dtype != torch.bool or mask.shape != (num_nodes,):
                raise DataError(f"{name} is {_kind(mask)}, but should be torch.bool [{num_nodes}]")
            if not mask.any():
                raise DataError(f"{name} selects no node, but should select at least one")
            taken += mask
        if (taken > 1).any():
            node = int((taken > 1).nonzero()[0])
            raise DataError(f"node {node} is in several of {', '.join(MASKS)}, but should be in at most one")

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the graph."""
        return self.graph.num_nodes

    @property
    def num_features(self) -> int:
        """Width of `x`."""
        return self.x.size(1)

    @property
    def num_classes(self) -> int:
        """Number of classes, which may be more than occur in `y`."""
        return len(self.class_names)

    def to(self, device: torch.device | str) -> NodeDataset:
        """Copy on another device."""
        return replace(
            self,
            graph=self.graph.to(device),
            x=self.x.to(device),
            y=self.y.to(device),
            train_mask=self.train_mask.to(device),
            val_mask=self.val_mask.to(device),
            test_mask=self.test_mask.to(device),
        )

    def __repr__(self) -> str:
        split = "/".join(str(int(getattr(self, name).sum())) for name in MASKS)
        return (
            f"{self.name}: {self.num_nodes} nodes, {self.graph.num_edges} edges, "
            f"{self.num_features} features, {self.num_classes} classes, "
            f"{split} nodes to train/validate/test on"
        )


def row_normalise(x: Tensor) -> Tensor:
    """Divide every row by its sum, as the papers on citation graphs do; a row of zeros stays as it is.

    >>> row_normalise(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.5000],
            [0.0000, 0.0000]])
    """
    total = x.sum(dim=1, keepdim=True)
    return x / torch.where(total == 0, torch.ones_like(total), total)


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
