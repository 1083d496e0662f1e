"""Nodes of one graph: their classes, labels, or numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset
from mpnn.native.dropout import dropout
from mpnn.train.errors import RunError
from mpnn.train.objective import objective
from mpnn.train.split import Split
from mpnn.train.task import SupervisedTask, edge_features, warn_of_bad_features


class NodeTask(SupervisedTask):
    """Tell the classes, labels or numbers of nodes, a few of which are known (Kipf & Welling, 2017).

    The whole graph is the only batch. Models are called as `model(x, graph)`, with `edge_attr` where the data
    has it, and return `[num_nodes, out_channels]`; the loss is over the training nodes.

    Args:
        data: graph, features, answers and masks.
        input_dropout: probability to drop a feature of `x` in training, for models whose paper does so before
            the first layer.
        loss, class_weights: see `objective`.

    Raises:
        RunError: the data has nothing to learn of nodes, or no masks, or loss and weights do not suit it.
    """

    item = "node"

    def __init__(
        self,
        data: NodeDataset,
        input_dropout: float = 0.0,
        *,
        loss: str | None = None,
        class_weights: str | None = None,
    ) -> None:
        if data.y is None:
            raise RunError(f"{data.name} has no classes, labels or numbers of nodes to learn")
        masks = [data.train_mask, data.val_mask, data.test_mask]
        split = Split(*(mask.nonzero().flatten() for mask in masks if mask is not None))
        aim = objective(data.y[split.train], data.class_names, loss, class_weights)
        edge_dim = None if data.edge_attr is None else data.edge_attr.size(1)
        super().__init__(data, aim, data.y, split, data.num_features, edge_dim)
        self._dropped = InputDropout(data.x, input_dropout)
        self._edges = edge_features(data.edge_attr)
        warn_of_bad_features(data.name, data.x)

    def batches(self) -> Iterable[None]:
        """The whole graph at once."""
        return (None,)

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        """Loss over the training nodes."""
        output = model(self._dropped(), self.data.graph, **self._edges)
        return self.objective.loss(output[self.split.train], self.y[self.split.train])

    def outputs(self, model: nn.Module) -> Tensor:
        """Of all nodes, from one forward pass."""
        output: Tensor = model(self.data.x, self.data.graph, **self._edges)
        return output

    @property
    def known(self) -> Tensor | None:
        """Which nodes' answers the data holds."""
        known: Tensor | None = self.data.known
        return known

    def names(self) -> dict[str, list[str]]:
        """The names of the nodes, else their numbers."""
        return {"node": node_names(self.data)}

    def embed(self, model: nn.Module) -> Tensor | None:
        """The last hidden state of every node."""
        embed = getattr(model, "embed", None)
        if embed is None:
            return None
        states: Tensor = embed(self.data.x, self.data.graph, **self._edges)
        return states

    def attempt(self, model: nn.Module) -> None:
        """One forward pass."""
        self.outputs(model)

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        """All there is."""
        return self.data.x, self.data.graph, self._edges

    def degrees(self) -> Tensor:
        """Histogram of the graph's in-degrees."""
        in_degree: Tensor = self.data.graph.in_degree
        return in_degree.bincount()


def node_names(data: NodeDataset) -> list[str]:
    """What the nodes are called in the file that they come from, else their numbers."""
    return list(data.node_names) or [str(number) for number in range(data.num_nodes)]


class InputDropout:
    """Dropout of features that never change, at the cost of those that are not zero.

    What is zero stays zero whether it is dropped or not, so only the other entries are drawn: for a bag of
    words, one in a hundred. Each call writes into the same buffer, so use its result before the next call.

    >>> drop = InputDropout(torch.eye(8), p=0.5)
    >>> drop().diagonal().unique().tolist()
    [0.0, 2.0]
    """

    def __init__(self, x: Tensor, p: float) -> None:
        self.x, self.p = x, p
        self._where = x.flatten().nonzero().flatten()
        self._sparse = p > 0 and 4 * self._where.numel() < x.numel()
        if self._sparse:
            self._values = x.flatten()[self._where]
            self._buffer = torch.zeros_like(x, memory_format=torch.contiguous_format)

    def __call__(self) -> Tensor:
        if not self._sparse:
            return dropout(self.x, self.p)
        self._buffer.view(-1)[self._where] = dropout(self._values, self.p)
        return self._buffer
