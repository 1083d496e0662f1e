"""What is learned: data, loss and metrics. A task does not count epochs, and the loop reads no graph."""

from __future__ import annotations

import csv
import io
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.train.errors import RunError
from mpnn.train.inputs.edge_inputs import num_relations
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.tasks.kept import PART, Items, Kept
from mpnn.train.tasks.metrics import Metric
from mpnn.train.tasks.objective import Objective
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split


class Task(Protocol):
    """The batches of an epoch, the loss of a batch, and how good a model is.

    `metrics` are what `evaluate` reports of each part; the first is the one that runs are summed up by.
    """

    metrics: Sequence[Metric]

    def batches(self) -> Iterable[Any]:
        """One pass through what there is to learn from."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar with a gradient."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return `val_loss`, and `val_NAME` and `test_NAME` of every metric."""


class SupervisedTask:
    """A task whose items (nodes, edges, graphs) have known answers; runs build models for such tasks.

    Args:
        data: the data set.
        objective: what outputs are compared with.
        y: the answers, one row for each item.
        split: which items are to train, to validate and to test on.
        num_features: width of the node features.
        edge_dim: width of the edge features, None without.
    """

    item = "item"
    preparation = Preparation()

    def __init__(
        self,
        data: Any,
        objective: Objective,
        y: Tensor,
        split: Split,
        num_features: int,
        edge_dim: int | None,
    ) -> None:
        self.data, self.objective, self.y, self.split = data, objective, y, split
        self.metrics: Sequence[Metric] = objective.metrics
        self.num_features, self.edge_dim = num_features, edge_dim

    @property
    def out_channels(self) -> int:
        """Width of the output that the objective wants."""
        return self.objective.out_channels

    @property
    def device(self) -> torch.device:
        """Where the answers are."""
        return self.y.device

    @abstractmethod
    def batches(self) -> Iterable[Any]:
        """One pass through the items to train on."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The objective's loss of a batch."""

    @abstractmethod
    def outputs(self, model: nn.Module) -> Tensor:
        """The output of the model for every item, `[num_items, out_channels]`."""

    @abstractmethod
    def attempt(self, model: nn.Module) -> None:
        """Call the model once on little data; a model that does not fit raises."""

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        """Node features, graph and edge features as a network on graphs is called with them.

        Raises:
            RunError: the items are of no graph.
        """
        raise RunError(f"{self.item}s are of no graph, but this is for networks on graphs")

    def degrees(self) -> Tensor:
        """How many nodes have each in-degree, `[highest + 1]`; `[0]` if the items are of no graph."""
        return torch.zeros(0, dtype=torch.int64)

    @property
    def known(self) -> Tensor | None:
        """Bool `[num_items]`: the items whose answers are known; None for all."""
        return None

    def names(self) -> dict[str, list[str]]:
        """Columns that say which item is which."""
        return {self.item: [str(number) for number in range(len(self.y))]}

    def parts(self) -> list[str]:
        """The part of every item, `train`, `val`, `test` or nothing."""
        part = [""] * len(self.y)
        for name, where in self.split._asdict().items():
            for item in where.tolist():
                part[item] = name
        return part

    def items(self) -> Items | None:
        """Columns that name each item of a part, and its part; None if the items have no names."""
        return None

    @property
    def kept(self) -> Kept:
        """What must be known to use a model of this task again."""
        objective = self.objective
        return Kept(self.preparation, tuple(objective.names), self.shape, objective.learns, self.items())

    @property
    def shape(self) -> Shape:
        """What a model for the task is built for."""
        return Shape(
            self.data.name,
            self.item,
            self.num_features,
            self.out_channels,
            self.edge_dim,
            tuple(self.degrees().tolist()),
            num_relations(self.data),
            tuple(getattr(self.data, "size", ())),
            self.objective.mean,
            self.objective.scale,
            self.objective.learns,
        )

    def known_graph(self) -> dict[str, Any] | None:
        """The graph that new nodes join, as tensors and names; None if the items have no names."""
        return None

    def embed(self, model: nn.Module) -> Tensor | None:
        """The last hidden layer of the model, one row for each item; None if the model does not give it."""
        return None

    def answers(self, model: nn.Module) -> str:
        """The predictions for every item, as the text of a CSV file."""
        columns = self.names() | {PART: self.parts()} | self.objective.columns(self.outputs(model), self.y)
        if self.known is not None:
            for name in columns:
                if name.startswith("true"):
                    known = zip(columns[name], self.known.tolist(), strict=True)
                    columns[name] = [cell if there else "" for cell, there in known]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
        return text.getvalue()

    @property
    def few_known(self) -> Tensor | None:
        """Bool `[num_items]`: the items that were trained on; None if they are over a quarter of all."""
        if 4 * len(self.split.train) > len(self.y):
            return None
        known = torch.zeros(len(self.y), dtype=torch.bool, device=self.device)
        known[self.split.train] = True
        return known

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The validation loss, and every metric on each part."""
        outputs = self.outputs(model)
        val = self.split.val
        scores = {"val_loss": float(self.objective.loss(outputs[val], self.y[val]))}
        for part, where in self.split._asdict().items():
            found = self.objective.scores(outputs[where], self.y[where])
            scores.update({f"{part}_{name}": value for name, value in found.items()})
        return scores


def in_a_part(columns: Items) -> Items:
    """The rows of those items that are in a part."""
    rows = [k for k, part in enumerate(columns[PART]) if part]
    return {name: [cells[k] for k in rows] for name, cells in columns.items()}


def edge_features(edge_attr: Tensor | None) -> dict[str, Tensor]:
    """Features `[num_edges, channels]` or weights `[num_edges]` of edges, by the keyword that models take."""
    if edge_attr is None:
        return {}
    return {"edge_weight" if edge_attr.dim() == 1 else "edge_attr": edge_attr}


def warn_of_bad_features(name: str, x: Tensor, where: str = "x") -> bool:
    """Warn of features that are no numbers; say whether there are any."""
    bad = (~x.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        warnings.warn(
            f"{where} of {name} holds {len(bad)} values that are NaN or infinite, the first at "
            f"{where}[{row}, {column}]: the loss will be NaN unless the model never reads them",
            stacklevel=3,
        )
    return len(bad) > 0
