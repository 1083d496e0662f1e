"""What a `HeteroGraph` is made of is checked here; each error is one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.graph.checks import as_int, checked_edge_index, checked_edge_time, checked_size
from mpnn.graph.graph import Graph

EdgeType = tuple[str, str, str]


def listed(names: Iterable[Any]) -> str:
    """Names for a sentence."""
    return ", ".join(map(repr, names)) or "none"


def checked_node_types(num_nodes: Mapping[str, int]) -> dict[str, int]:
    """How many nodes each type has."""
    if not isinstance(num_nodes, Mapping):
        raise TypeError(
            f"num_nodes_dict must tell how many nodes each type has, got {type(num_nodes).__name__}."
        )
    for name in num_nodes:
        if not isinstance(name, str):
            raise TypeError(f"a node type must be a string, got {name!r}.")
    return {name: as_int(f"num_nodes_dict[{name!r}]", count, 0) for name, count in num_nodes.items()}


def checked_edge_types(edge_types: Iterable[EdgeType], node_types: Iterable[str]) -> list[EdgeType]:
    """Triples of strings whose ends are node types, each once."""
    known, found = list(node_types), []
    for edge_type in edge_types:
        is_triple = isinstance(edge_type, tuple | list) and len(edge_type) == 3
        if not (is_triple and all(isinstance(name, str) for name in edge_type)):
            raise TypeError(
                f"an edge type must be (source, relation, destination), three strings, got {edge_type!r}."
            )
        source, relation, destination = edge_type
        for name in (source, destination):
            if name not in known:
                raise ValueError(
                    f"the edge type {tuple(edge_type)!r} names the node type {name!r}, but the node types "
                    f"are {listed(known)}."
                )
        if (source, relation, destination) in found:
            raise ValueError(f"the edge type {tuple(edge_type)!r} is there twice.")
        found.append((source, relation, destination))
    return found


def checked_edges(
    edge_index_dict: Mapping[EdgeType, Tensor], sizes: Mapping[str, int]
) -> dict[EdgeType, Tensor]:
    """Of each edge type `[2, num_edges]` as int64, every index below the number of nodes of its type."""
    if not isinstance(edge_index_dict, Mapping):
        raise TypeError(
            f"edge_index_dict must give the edges of each edge type, got {type(edge_index_dict).__name__}."
        )
    edges: dict[EdgeType, Tensor] = {}
    edge_types = checked_edge_types(edge_index_dict, sizes)
    for edge_type, edge_index in zip(edge_types, edge_index_dict.values(), strict=True):
        try:
            edges[edge_type] = checked_edge_index(edge_index)
        except (TypeError, ValueError) as error:
            raise type(error)(f"of edge type {edge_type!r}, {error}") from None
        _check_ends(edge_type, edges[edge_type], (sizes[edge_type[0]], sizes[edge_type[2]]))
    devices = {edge_index.device for edge_index in edges.values()}
    if len(devices) > 1:
        raise ValueError(f"edge_index_dict has tensors on {listed(map(str, devices))}: put all on one.")
    return edges


def _check_ends(edge_type: EdgeType, edge_index: Tensor, size: tuple[int, int]) -> None:
    try:
        checked_size(size, edge_index)
    except IndexError:
        for row, name in ((0, edge_type[0]), (1, edge_type[2])):
            outside = ((edge_index[row] < 0) | (edge_index[row] >= size[row])).nonzero()
            if outside.numel():
                bad = int(outside[0])
                valid = f"(0..{size[row] - 1})" if size[row] else "(none)"
                raise IndexError(
                    f"edge_index_dict[{edge_type!r}][{row}, {bad}] is {int(edge_index[row, bad])}, but there "
                    f"are {size[row]} nodes of type {name!r} {valid}."
                ) from None


def checked_edge_times(
    edge_time_dict: Mapping[EdgeType, Tensor] | None, edges: Mapping[EdgeType, Tensor]
) -> Tensor | None:
    """The times of all edges, relation after relation, or None."""
    if edge_time_dict is None:
        return None
    for edge_type in edge_time_dict:
        if edge_type not in edges:
            raise ValueError(
                f"edge_time_dict names {edge_type!r}, which is no edge type: these are {listed(edges)}."
            )
    times = []
    for edge_type, edge_index in edges.items():
        if edge_type not in edge_time_dict:
            raise ValueError(f"edge_time_dict lacks {edge_type!r}: give times to all edge types or none.")
        try:
            times.append(checked_edge_time(edge_time_dict[edge_type], edge_index))
        except (TypeError, ValueError) as error:
            raise type(error)(f"of edge type {edge_type!r}, {error}") from None
    if len({one.dtype for one in times}) > 1:
        raise TypeError(
            f"edge_time_dict has times of {listed({str(one.dtype) for one in times})}: use one type."
        )
    return torch.cat(times) if times else None


def checked_typing(
    graph: Graph, node_type: Tensor, node_types: Sequence[str], edge_types: Sequence[EdgeType]
) -> Tensor:
    """`node_type` as int64, if the ends of every edge are of the types that its relation has."""
    graph.require_one_node_set("HeteroGraph.from_homogeneous")
    types = graph.edge_type
    if types is None:
        raise ValueError("graph has no edge_type, which numbers the relation of each edge.")
    if not isinstance(node_type, Tensor) or node_type.is_floating_point():
        raise TypeError("node_type must be an integer tensor [num_nodes].")
    if node_type.shape != (graph.num_nodes,):
        raise ValueError(
            f"node_type must have shape [{graph.num_nodes}], one type a node, got {list(node_type.shape)}."
        )
    if node_type.device != graph.device:
        raise ValueError(f"node_type is on {node_type.device}, but the graph is on {graph.device}.")
    for name, numbers, names in (("node_type", node_type, node_types), ("edge_type", types, edge_types)):
        bad = ((numbers < 0) | (numbers >= len(names))).nonzero()
        if bad.numel():
            raise IndexError(
                f"{name}[{int(bad[0])}] is {int(numbers[bad[0]])}, but there are {len(names)} {name}s."
            )
    node_type = node_type.to(torch.int64)
    number = {name: k for k, name in enumerate(node_types)}
    ends = torch.tensor(
        [[number[edge_type[0]], number[edge_type[2]]] for edge_type in edge_types],
        dtype=torch.int64,
        device=graph.device,
    ).reshape(-1, 2)
    wrong = (ends[types].t() != node_type[graph.edge_index]).any(0).nonzero()
    if wrong.numel():
        edge = int(wrong[0])
        source, destination = (node_types[int(node_type[node])] for node in graph.edge_index[:, edge])
        raise ValueError(
            f"edge {edge} goes from a node of type {source!r} to one of type {destination!r}, but its edge "
            f"type is {edge_types[int(types[edge])]!r}."
        )
    return node_type
