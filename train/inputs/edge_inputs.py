"""What a data set knows of its edges, in the form that a model reads."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import Dataset, GraphDataset, NodeDataset
from mpnn.models import CONVS
from mpnn.train.errors import RunError
from mpnn.train.inputs.preparation import Graphs


def with_edge_inputs(data: Graphs, model: str) -> Graphs:
    """Return the data with those of types, features and weights of edges that the model reads, and no others.

    One-hot features are types, and types are one-hot features. A model that can do without them gets none.

    Raises:
        RunError: the model cannot do without edge types, and there are none, or edges have weights, which it
            does not read.

    >>> from mpnn.datasets import load
    >>> with_edge_inputs(load("karate"), "gcn").edge_attr is None
    True
    """
    reads = CONVS[model].edge_inputs if model in CONVS else ()
    if data.weighted:
        data = _weighted(data, model, reads)
    if "edge_type" in reads:
        return _typed(data, model)
    typed = _graphs(data)[0].is_typed
    if typed and "edge_attr" in reads and data.edge_attr is None:
        data = _with_edge_attr(data, [_one_hot(graph) for graph in _graphs(data)])
    if typed:
        data = _with_graphs(data, [_untyped(graph) for graph in _graphs(data)])
    return data if data.weighted or "edge_attr" in reads else replace(data, edge_attr=None)


def _weighted(data: Graphs, model: str, reads: tuple[str, ...]) -> Graphs:
    """The data with weights as the model reads them: as such, or as features of width 1."""
    if "edge_weight" in reads:
        return data
    if "edge_attr" in reads:
        return _with_edge_attr(data, [weight.unsqueeze(1) for weight in _edge_attr(data)])
    raise RunError(
        f"model is {model!r}, which reads no weights of edges: take one of {', '.join(_weighing())}, or "
        "leave the weights out by ignore"
    )


def _weighing() -> list[str]:
    """The models that read weights, as such or as features."""
    return [name for name, conv in CONVS.items() if {"edge_weight", "edge_attr"} & {*conv.edge_inputs}]


def num_relations(data: Dataset) -> int:
    """How many types of edges there are, 0 without types."""
    if not isinstance(data, NodeDataset | GraphDataset):
        return 0
    return max(graph.num_edge_types if graph.is_typed else 0 for graph in _graphs(data))


def _typed(data: Graphs, model: str) -> Graphs:
    if not _graphs(data)[0].is_typed:
        kinds = _edge_attr(data)
        if not kinds or not all(_is_one_hot(kind) for kind in kinds):
            what = "no edge types" if not kinds else "edge features that are no one-hot types"
            raise RunError(
                f"model is {model!r}, which reads edge types, but {data.name} has {what}: take another "
                "model, or of a file of your own, name its edge_type"
            )
        data = _with_graphs(
            data,
            [
                _with_types(graph, kind.argmax(dim=1), kind.size(1))
                for graph, kind in zip(_graphs(data), kinds, strict=True)
            ],
        )
    return replace(data, edge_attr=None)


def _is_one_hot(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all()) and bool((values.sum(dim=1) == 1).all())


def _one_hot(graph: Graph) -> Tensor:
    assert graph.edge_type is not None
    return F.one_hot(graph.edge_type, graph.num_edge_types).to(torch.get_default_dtype())


def _untyped(graph: Graph) -> Graph:
    return Graph(graph.edge_index, graph.num_nodes).as_batch(graph.graph_sizes)


def _with_types(graph: Graph, types: Tensor, count: int) -> Graph:
    typed = Graph(graph.edge_index, graph.num_nodes, types, num_edge_types=count)
    return typed.as_batch(graph.graph_sizes)


def _graphs(data: NodeDataset | GraphDataset) -> tuple[Graph, ...]:
    return data.graphs if isinstance(data, GraphDataset) else (data.graph,)


def _edge_attr(data: NodeDataset | GraphDataset) -> tuple[Tensor, ...]:
    if data.edge_attr is None:
        return ()
    return data.edge_attr if isinstance(data, GraphDataset) else (data.edge_attr,)


def _with_graphs(data: Graphs, graphs: list[Graph]) -> Graphs:
    if isinstance(data, GraphDataset):
        return replace(data, graphs=tuple(graphs))
    return replace(data, graph=graphs[0])


def _with_edge_attr(data: Graphs, edge_attr: list[Tensor]) -> Graphs:
    if isinstance(data, GraphDataset):
        return replace(data, edge_attr=tuple(edge_attr))
    return replace(data, edge_attr=edge_attr[0])
