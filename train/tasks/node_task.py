"""Nodes of one graph: their classes, labels, or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset
from mpnn.native.dropout import dropout
from mpnn.train.errors import RunError
from mpnn.train.tasks.batches import shuffled_batches
from mpnn.train.tasks.kept import NODE, PART, Items
from mpnn.train.tasks.objective import Aim, objective
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask, edge_features, in_a_part, warn_of_bad_features


class NodeTask(SupervisedTask):
    """Tell the classes, labels or numbers of nodes, a few of which are known (Kipf & Welling, 2017).

    The whole graph is the only batch. Models are called as `model(x, graph)`, with `edge_attr` where the data
    has it, and return `[num_nodes, out_channels]`; the loss is over the training nodes.

    Args:
        data: graph, features, answers and masks.
        input_dropout: probability to drop a feature of `x` in training, for models whose paper does so before
            the first layer.
        aim: loss, class_weights and known_counts, see `objective`.

    Raises:
        RunError: the data has nothing to learn of nodes, or no masks, or loss and weights do not suit it.
    """

    item = "node"

    def __init__(
        self,
        data: NodeDataset,
        input_dropout: float = 0.0,
        **aim: Unpack[Aim],
    ) -> None:
        if data.y is None:
            raise RunError(f"{data.name} has no classes, labels or numbers of nodes to learn")
        masks = [data.train_mask, data.val_mask, data.test_mask]
        split = Split(*(mask.nonzero().flatten() for mask in masks if mask is not None))
        found = objective(data.y[split.train], data.class_names, **aim)
        super().__init__(data, found, data.y, split, data.num_features, data.edge_dim)
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
        return {NODE: node_names(self.data)}

    def items(self) -> Items | None:
        """The name of each node and its part."""
        return in_a_part({NODE: node_names(self.data), PART: self.parts()}) if self.data.node_names else None

    def known_graph(self) -> dict[str, Any] | None:
        """The graph with its names and features."""
        return named_graph(self.data) if self.data.graph.num_graphs == 1 else None

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


def named_graph(data: NodeDataset) -> dict[str, Any] | None:
    """A graph as tensors and names, for a checkpoint; None if nodes have no names, or edges have types."""
    if not data.node_names or data.graph.is_typed:
        return None
    edge_attr = None if data.edge_attr is None else data.edge_attr.cpu()
    tensors = {"edge_index": data.graph.edge_index.cpu(), "x": data.x.cpu(), "edge_attr": edge_attr}
    return tensors | {"names": list(data.node_names), "node_column": data.node_column}


class NodeBatch(NamedTuple):
    """Some of the training graphs as one, and which of their nodes are to train on."""

    graph: Graph
    x: Tensor
    y: Tensor
    train: Tensor  # their numbers
    edge_attr: Tensor | None


class InductiveNodeTask(NodeTask):
    """Tell the classes, labels or numbers of the nodes of graphs that were not seen (Hamilton et al., 2017).

    An epoch goes through those graphs that have nodes to train on, a few of them a batch; no others.
    Models are called as in `NodeTask`, with a graph made by `Graph.batch`.

    Args:
        data: several graphs as one, made by `Graph.batch`.
        batch_size: how many graphs a batch has at most.
        input_dropout, aim: see `NodeTask`.
    """

    def __init__(
        self, data: NodeDataset, input_dropout: float = 0.0, *, batch_size: int = 2, **aim: Unpack[Aim]
    ) -> None:
        super().__init__(data, input_dropout, **aim)
        self.batch_size, self.input_dropout = batch_size, input_dropout
        graph, owner = data.graph, data.graph.graph_index
        sizes = owner.bincount(minlength=graph.num_graphs).tolist()
        of_edges = owner[graph.dst]
        order, counts = of_edges.argsort(stable=True), of_edges.bincount(minlength=graph.num_graphs).tolist()
        attr = (
            [None] * graph.num_graphs
            if data.edge_attr is None
            else torch.split(data.edge_attr[order], counts)
        )
        train = torch.zeros(graph.num_nodes, dtype=torch.bool, device=self.device)
        train[self.split.train] = True
        pieces = zip(
            graph.unbatch(),
            *(torch.split(part, sizes) for part in (data.x, self.y, train)),
            attr,
            strict=True,
        )
        self._pieces = [
            NodeBatch(graph, x, y, some.nonzero().flatten(), edge_attr)
            for graph, x, y, some, edge_attr in pieces
            if some.any()
        ]

    def batches(self) -> Iterable[NodeBatch]:  # type: ignore[override]
        """The training graphs in a new order."""
        parts = shuffled_batches(torch.arange(len(self._pieces)), self.batch_size)
        return (_joined([self._pieces[k] for k in where.tolist()]) for where in parts)

    def loss(self, model: nn.Module, batch: NodeBatch) -> Tensor:  # type: ignore[override]
        """Loss over the training nodes of some graphs."""
        x = dropout(batch.x, self.input_dropout)
        output = model(x, batch.graph, **edge_features(batch.edge_attr))
        return self.objective.loss(output[batch.train], batch.y[batch.train])

    def names(self) -> dict[str, list[str]]:
        """The graph and the name of each node."""
        owner = self.data.graph.graph_index.tolist()
        return {"graph": [str(number) for number in owner], **super().names()}

    def degrees(self) -> Tensor:
        """Histogram of the in-degrees of the training graphs."""
        return torch.cat([piece.graph.in_degree for piece in self._pieces]).bincount()


def _joined(pieces: list[NodeBatch]) -> NodeBatch:
    attr = [piece.edge_attr for piece in pieces if piece.edge_attr is not None]
    firsts = accumulate((piece.graph.num_nodes for piece in pieces), initial=0)
    return NodeBatch(
        Graph.batch([piece.graph for piece in pieces]),
        torch.cat([piece.x for piece in pieces]),
        torch.cat([piece.y for piece in pieces]),
        torch.cat([piece.train + first for piece, first in zip(pieces, firsts, strict=False)]),
        torch.cat(attr) if attr else None,
    )


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
