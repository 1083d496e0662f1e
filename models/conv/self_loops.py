"""Self loops together with what their edges carry."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.aggregate.reduce import scatter_rows

FillValue = float | Tensor | str
FILL_VALUES = ("mean", "sum", "add", "max", "min", "mul")


def without_self_loops(graph: Graph, values: Tensor) -> tuple[Graph, Tensor]:
    """The graph without its self loops, and what the other edges carry, `[num_edges', ...]`."""
    looped, origin = graph.relooped("none")
    return looped, values.index_select(0, origin)


def with_remaining_self_loops(graph: Graph, values: Tensor, fill_value: float) -> tuple[Graph, Tensor]:
    """One loop at every node: one that is there keeps its value, a new one gets `fill_value`.

    Of several loops at one node the last in edge order counts.
    """
    filled = torch.cat([values, values.new_full((1, *values.shape[1:]), fill_value)])
    loops = filled.index_select(0, graph.memo("last loops", lambda: _last_loops(graph)))
    looped, origin = graph.relooped("one")
    return looped, torch.cat([values, loops]).index_select(0, origin)


def _last_loops(graph: Graph) -> Tensor:
    """The position of the last loop at each node, `num_edges` where there is none."""
    edge_ids = torch.arange(graph.num_edges, device=graph.device)
    last = torch.full((graph.num_nodes,), -1, device=graph.device)
    last = last.scatter_reduce(0, graph.src, torch.where(graph.self_loop_mask, edge_ids, -1), "amax")
    return torch.where(last >= 0, last, graph.num_edges)


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
    looped, origin = graph.relooped("one")
    if values is None:
        return looped, None
    shape = (min(graph.size), *values.shape[1:])
    if isinstance(fill_value, str):
        reduce = "sum" if fill_value == "add" else fill_value
        # The loops that are there are reduced into one more row, which is then left out.
        receiver = torch.where(graph.src == graph.dst, graph.num_dst, graph.dst)
        loops = scatter_rows(values, receiver, graph.num_dst + 1, reduce, 0)[: shape[0]]
    elif isinstance(fill_value, Tensor):
        loops = fill_value.to(values).expand(shape)
    else:
        loops = values.new_full(shape, fill_value)
    return looped, torch.cat([values, loops]).index_select(0, origin)
