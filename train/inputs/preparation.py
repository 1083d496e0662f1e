"""What is done to features before a model reads them: part of the model, and kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.datasets import GraphDataset, NodeDataset, TablePlan, row_normalise
from mpnn.datasets.features import degree_one_hot
from mpnn.train.errors import RunError

Graphs = TypeVar("Graphs", NodeDataset, GraphDataset)


@dataclass(frozen=True)
class Preparation:
    """How features are made, in plain numbers that were found in what a model is trained on.

    Args:
        features: "given" as they are; "binary": 1 where there is anything, as in a bag of words;
            "rows": each row divided by its sum; "standard": mean 0 and variance 1 in training.
        nodes, edges: what is done to the columns of your own tables, or None where there are none.
        highest: of features that are degrees, for lack of others, the highest in training; else None.
        array: how many features, the last ones, come from a file of numbers.
        mean, scale: of "standard": one number for each feature; 0 and 1 for those of a table, which are
            scaled already, and for features of a file that are 0 or 1.
        read_as: how files were read: of images, what was done to pixels; of a TU folder, which labels it has.

    >>> from mpnn.datasets import load
    >>> Preparation.fit(load("karate"), "rows").apply(load("karate")).x.sum(dim=1).unique()
    tensor([1.])
    """

    features: str = "given"
    nodes: TablePlan | None = None
    edges: TablePlan | None = None
    highest: int | None = None
    array: int = 0
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    read_as: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        data: NodeDataset | GraphDataset,
        features: str | None = None,
        nodes: Tensor | None = None,
        edges: Tensor | None = None,
    ) -> Preparation:
        """Find the numbers.

        Args:
            data: one graph, or many.
            features: None is "standard" where there is a table of your own, else "given".
            nodes, edges: positions of those that a model is trained on, int64; None for all. Of many graphs
                the nodes are counted through all of them.

        Raises:
            RunError: "binary" or "rows", and there are features below zero.
        """
        array = getattr(data, "array", None)
        tabled = data.table is not None or data.edge_table is not None or array is not None
        how = features or ("standard" if tabled else "given")
        found, standard = cls(how), how == "standard"
        if isinstance(data, GraphDataset):
            found = replace(found, read_as=data.read_as)
        if data.edge_table is not None:
            found = replace(found, edges=TablePlan.fit(data.edge_table, edges, standard=standard))
        if data.table is not None:
            found = replace(found, nodes=TablePlan.fit(data.table, nodes, standard=standard))
        if array is not None:
            found = replace(found, array=array.size(1))
        elif "x" in data.derived or (found.nodes is not None and not found.nodes.features):
            found = replace(found, highest=_highest(data))
        if standard and found.highest is None and (found.nodes is None or found.array):
            return _standard(found, data, nodes)
        if how in ("binary", "rows") and bool((found._made(data) < 0).any()):
            raise RunError(
                f"features is {how!r}, but {data.name} has features below zero: take 'given' or 'standard'"
            )
        return found

    def apply(self, data: Graphs) -> Graphs:
        """Return the data with its features as the model reads them.

        Raises:
            DataError: a column that the model was trained with is missing, or a cell does not suit it.
            RunError: there are more features, or fewer, than the model was trained with.
        """
        if self.nodes is not None and self.highest is None and data.table is None:
            columns = ", ".join(column.name for column in self.nodes.columns if column.features)
            raise RunError(f"{data.name} has no table, but the model was trained with its columns {columns}")
        if self.array and getattr(data, "array", None) is None:
            raise RunError(
                f"{data.name} has no array, but the model was trained with {self.array} features of a file"
            )
        x = self._changed(self._made(data))
        if self.mean and x.size(1) != len(self.mean):
            raise RunError(
                f"{data.name} has {x.size(1)} features, but the model was trained with {len(self.mean)}"
            )
        attr = None
        if data.edge_table is not None and self.edges is not None and self.edges.features:
            attr = self.edges.apply(data.edge_table).to(x.device)
        if isinstance(data, NodeDataset):
            return replace(data, x=x) if data.edge_table is None else replace(data, x=x, edge_attr=attr)
        data = replace(data, x=torch.split(x, [graph.num_nodes for graph in data.graphs]))
        if data.edge_table is None:
            return data
        counts = [graph.num_edges for graph in data.graphs]
        return replace(data, edge_attr=None if attr is None else torch.split(attr, counts))

    def _made(self, data: NodeDataset | GraphDataset) -> Tensor:
        """The features as a table or degrees make them."""
        x = data.x if isinstance(data, NodeDataset) else torch.cat(data.x)
        if self.highest is not None:
            return degree_one_hot(_degrees(data), self.highest)
        if self.nodes is not None and data.table is not None:
            made = self.nodes.apply(data.table).to(x.device)
            array = data.array if self.array and isinstance(data, NodeDataset) else None
            return made if array is None else torch.cat([made, array], dim=1)
        return x

    def _changed(self, x: Tensor) -> Tensor:
        if self.features == "binary":
            return (x != 0).to(x.dtype)
        if self.features == "rows":
            return row_normalise(x)
        if self.mean and x.size(1) == len(self.mean):
            mean, scale = (x.new_tensor(values) for values in (self.mean, self.scale))
            return (x - mean) / scale
        return x

    def to_dict(self) -> dict[str, Any]:
        """Names and numbers for a JSON file."""
        plans = {name: getattr(self, name) for name in ("nodes", "edges")}
        return vars(self) | {name: plan and plan.to_list() for name, plan in plans.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """Read what `to_dict` returned.

        Raises:
            RunError: it is something else.
        """
        try:
            plans = {
                name: None if values[name] is None else TablePlan.from_list(values[name])
                for name in ("nodes", "edges")
            }
            numbers = {name: tuple(values[name]) for name in ("mean", "scale")}
            for name, kind in (("read_as", dict), ("array", int)):
                if not isinstance(values.get(name, kind()), kind):
                    raise TypeError(f"{name} is {values[name]!r}")
            return cls(**dict(values) | plans | numbers)
        except (TypeError, KeyError) as error:
            raise RunError(f"what a run says of its features is damaged: {error}") from error


def _degrees(data: NodeDataset | GraphDataset) -> Tensor:
    """The degree of each node, of all graphs."""
    graphs = data.graphs if isinstance(data, GraphDataset) else [data.graph]
    return torch.cat([graph.in_degree for graph in graphs])


def _highest(data: NodeDataset | GraphDataset) -> int:
    return int(degree.max()) if len(degree := _degrees(data)) else 0


def _standard(found: Preparation, data: NodeDataset | GraphDataset, nodes: Tensor | None) -> Preparation:
    """With the mean and the deviation of each feature over the nodes that a model is trained on."""
    x = found._made(data)
    x = (x if nodes is None else x[nodes]).double()
    deviation = x.std(dim=0, unbiased=False)
    mean, scale = x.mean(dim=0), torch.where(deviation > 0, deviation, 1)
    if found.array:
        done = torch.arange(x.size(1), device=x.device) < x.size(1) - found.array
        done |= ((x == 0) | (x == 1)).all(dim=0)
        mean[done], scale[done] = 0, 1
    return replace(found, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))
