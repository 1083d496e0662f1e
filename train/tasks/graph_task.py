"""Whole graphs: their classes, labels, or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Unpack

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import GraphDataset
from mpnn.train.tasks.batched_task import BatchedTask
from mpnn.train.tasks.kept import GRAPH, PART, Items
from mpnn.train.tasks.objective import Aim
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import edge_features, in_a_part, warn_of_bad_features


class GraphBatch(NamedTuple):
    """Several graphs as one."""

    graph: Graph
    x: Tensor
    edge_attr: Tensor | None
    y: Tensor

    @classmethod
    def of(cls, data: GraphDataset, where: Tensor) -> GraphBatch:
        """The graphs at these positions, which are on the CPU: the host chooses."""
        chosen = where.tolist()
        return cls(
            Graph.batch([data.graphs[k] for k in chosen]),
            torch.cat([data.x[k] for k in chosen]),
            None if data.edge_attr is None else torch.cat([data.edge_attr[k] for k in chosen]),
            data.y[where.to(data.y.device, non_blocking=True)],
        )


class GraphTask(BatchedTask):
    """Tell the classes, labels or numbers of graphs, several of them a batch.

    Models are called as `model(x, graph)` with a graph made by `Graph.batch`, with `edge_attr` or
    `edge_weight` where the data has it, and return `[num_graphs, out_channels]`.

    Args:
        data, split, batch_size, aim: see `BatchedTask`.
    """

    item = "graph"

    def __init__(self, data: GraphDataset, split: Split, *, batch_size: int = 32, **aim: Unpack[Aim]) -> None:
        super().__init__(data, split, batch_size, aim)
        # Evaluation sees the same batches again and again: they are put together, and sorted, once.
        everything = torch.arange(data.num_graphs)
        self._all = [GraphBatch.of(data, where) for where in torch.split(everything, batch_size)]
        self._train = split.train.cpu()
        for number, x in enumerate(data.x):
            if warn_of_bad_features(data.name, x, f"x[{number}]"):
                break

    def batches(self) -> Iterable[GraphBatch]:
        """The training graphs in a new order."""
        return (GraphBatch.of(self.data, where) for where in self.shuffled(self._train))

    def loss(self, model: nn.Module, batch: GraphBatch) -> Tensor:
        """Loss over the graphs of a batch."""
        return self.objective.loss(self._call(model, batch), batch.y)

    def outputs(self, model: nn.Module) -> Tensor:
        """Of all graphs, batch by batch."""
        return torch.cat([self._call(model, batch) for batch in self._all])

    @property
    def known(self) -> Tensor | None:
        """Which graphs' answers the data holds."""
        known: Tensor | None = self.data.known
        return known

    def names(self) -> dict[str, list[str]]:
        """The names of the graphs, else their numbers."""
        return {GRAPH: list(self.data.graph_names)} if self.data.graph_names else super().names()

    def items(self) -> Items | None:
        """The name of each graph and its part."""
        return in_a_part({**self.names(), PART: self.parts()}) if self.data.graph_names else None

    def embed(self, model: nn.Module) -> Tensor | None:
        """The readout of every graph."""
        embed = getattr(model, "embed_graphs", None)
        if embed is None:
            return None
        return torch.cat([embed(b.x, b.graph, **edge_features(b.edge_attr)) for b in self._all])

    def attempt(self, model: nn.Module) -> None:
        """One forward pass over a batch."""
        self._call(model, self._all[0])

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        """The first batch."""
        first = self._all[0]
        return first.x, first.graph, edge_features(first.edge_attr)

    def degrees(self) -> Tensor:
        """Histogram of the in-degrees of the training graphs."""
        return torch.cat([self.data.graphs[k].in_degree for k in self.split.train.tolist()]).bincount()

    def _call(self, model: nn.Module, batch: GraphBatch) -> Tensor:
        output: Tensor = model(batch.x, batch.graph, **edge_features(batch.edge_attr))
        return output
