"""Nodes of one graph that is too large for one step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import torch
from torch import Tensor, nn

from mpnn import sample_neighbors
from mpnn.datasets import NodeDataset
from mpnn.models import GNN
from mpnn.native.dropout import dropout
from mpnn.train.errors import RunError
from mpnn.train.tasks.batches import shuffled_batches
from mpnn.train.tasks.blocks import hops_of, in_blocks
from mpnn.train.tasks.node_task import NodeTask
from mpnn.train.tasks.objective import Aim

ALL = "all"
SOME = 10  # edges of a node in each layer, where the fanouts are not given
BATCH_SIZE = 1024


class SampledNodeTask(NodeTask):
    """Tell what is to be learned of nodes from samples of their neighbourhoods (Hamilton et al., 2017).

    A batch is some of the training nodes, with the neighbours that are drawn around them. A model is judged
    with all edges, layer by layer, a block of nodes at a time.

    Args:
        data: one graph.
        batch_size: how many nodes a batch or a block has at most.
        fanouts: of each layer, the last one first, how many edges enter a node at most; -1 for all.
        input_dropout, aim: see `NodeTask`.
    """

    def __init__(
        self,
        data: NodeDataset,
        input_dropout: float = 0.0,
        *,
        batch_size: int = BATCH_SIZE,
        fanouts: tuple[int, ...] = (SOME, SOME),
        **aim: Unpack[Aim],
    ) -> None:
        super().__init__(data, input_dropout, **aim)
        self.batch_size, self.fanouts, self.input_dropout = batch_size, fanouts, input_dropout

    def batches(self) -> Iterable[Tensor]:  # type: ignore[override]
        """The training nodes in a new order."""
        return shuffled_batches(self.split.train, self.batch_size)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:  # type: ignore[override]
        """Loss over some training nodes."""
        return self.objective.loss(self._around(model, batch), self.y[batch])

    def _around(self, model: nn.Module, nodes: Tensor) -> Tensor:
        """The output for these nodes, from what is drawn around them."""
        assert isinstance(model, GNN)
        sample = sample_neighbors(self.data.graph, nodes, hops_of(model, self.fanouts))
        edges = {name: value[sample.edges] for name, value in self._edges.items()}
        x = dropout(self.data.x[sample.nodes], self.input_dropout, model.training)
        output: Tensor = model(x, sample.graph, **edges)
        return output[: sample.num_seeds]

    def outputs(self, model: nn.Module) -> Tensor:
        """Of all nodes, a layer after the other, a block of nodes at a time."""
        assert isinstance(model, GNN)
        with in_blocks(model, self.batch_size):
            return super().outputs(model)

    def embed(self, model: nn.Module) -> Tensor | None:
        """The last hidden state of every node, in the same way."""
        assert isinstance(model, GNN)
        with in_blocks(model, self.batch_size):
            return super().embed(model)

    def attempt(self, model: nn.Module) -> None:
        """One forward pass around a node."""
        self._around(model, torch.arange(min(1, self.data.num_nodes), device=self.device))


def read_fanouts(text: str | None, layers: int) -> tuple[int, ...]:
    """What a setting says of each layer.

    Raises:
        RunError: it is something else than a number or "all" for each layer.

    >>> read_fanouts("10,all", 2), read_fanouts(None, 3)
    ((10, -1), (10, 10, 10))
    """
    if text is None:
        return (SOME,) * layers
    try:
        found = tuple(-1 if part.strip() == ALL else int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < -1:
        raise RunError(f"fanouts is {text!r}, but should be numbers of edges divided by commas, or all")
    if found == (-1,):
        return found * layers
    if len(found) != layers:
        raise RunError(f"fanouts is {text!r}, but there are {layers} layers: give a number or all for each")
    return found
