"""Self loops together with what their edges carry."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.reduce import scatter_rows

FillValue = float | Tensor | str
FILL_VALUES = ("mean", "sum", "add", "max", "min", "mul")


def without_self_loops(graph: Graph, values: Tensor) -> tuple[Graph, Tensor]:
    """The graph without its self loops, and what the other edges carry, `[num_edges', ...]`."""
    return graph.without_self_loops(), values[_others(graph)]


def with_remaining_self_loops(graph: Graph, values: Tensor, fill_value: float) -> tuple[Graph, Tensor]:
    """One loop at every node: one that is there keeps its value, a new one gets `fill_value`.

    Of several loops at one node the last in edge order counts.
    """
    nodes, edges = graph.memo("last loops", lambda: _last_loops(graph))
    loops = values.new_full((graph.num_nodes, *values.shape[1:]), fill_value)
    loops = loops.index_put((nodes,), values[edges])
    return graph.with_remaining_self_loops(), torch.cat([values[_others(graph)], loops])


def _others(graph: Graph) -> Tensor:
    """The positions of the edges that are no loops: found once, for on a GPU the host waits for it."""
    return graph.memo("edges without loops", lambda: (graph.src != graph.dst).nonzero().squeeze(1))


def _last_loops(graph: Graph) -> tuple[Tensor, Tensor]:
    """The nodes that have a loop, and the position of the last loop of each."""
    is_loop = graph.self_loop_mask
    edge_ids = torch.arange(graph.num_edges, device=graph.device)[is_loop]
    last = torch.full((graph.num_nodes,), -1, device=graph.device)
    last = last.scatter_reduce(0, graph.src[is_loop], edge_ids, "amax")
    nodes = (last >= 0).nonzero().squeeze(1)
    return nodes, last[nodes]


def with_new_self_loops(
    graph: Graph, values: Tensor | None, fill_value: FillValue = "mean"
) -> tuple[Graph, Tensor | None]:
    """One new loop at every node, in place of those that are there.

    In a bipartite graph the loops join source i with destination i, for as many nodes as both sides have:
    there destination i is the same node as source i, as neighbour sampling makes it.

    Args:
        graph: the topology.
        values: `[num_edges, channels]`, what the edges carry.
        fill_value: what the new loops carry: a number, a tensor `[channels]`, or "mean", "sum", "max", "min",
            "mul" of what the other edges into the node carry.
    """
    count = min(graph.size)
    kept = _others(graph)
    looped = graph.memo("new_self_loops", lambda: _loop(graph, kept, count))
    if values is None:
        return looped, None
    rest = values[kept]
    shape = (count, *values.shape[1:])
    if isinstance(fill_value, str):
        reduce = "sum" if fill_value == "add" else fill_value
        loops = scatter_rows(rest, graph.dst[kept], graph.num_dst, reduce, 0)[:count]
    elif isinstance(fill_value, Tensor):
        loops = fill_value.to(values).expand(shape)
    else:
        loops = values.new_full(shape, fill_value)
    return looped, torch.cat([rest, loops])


def _loop(graph: Graph, kept: Tensor, count: int) -> Graph:
    if not graph.is_bipartite:
        return graph.with_remaining_self_loops()
    loops = torch.arange(count, device=graph.device).expand(2, -1)
    return Graph(torch.cat([graph.edge_index[:, kept], loops], dim=1), graph.size)
