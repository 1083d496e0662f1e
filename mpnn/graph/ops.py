"""What a compiled function asks of a graph: operations that PyTorch's compiler does not look into.

While `torch.compile` or `torch.export` traces a function there is no data to sort or to check. There a graph
is its `edge_index` alone, and these operations find the `Graph` of that tensor when the compiled function
runs: checked, sorted and kept, as in `as_graph`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.borrowed import unknown_size
from mpnn.graph.adjacency import graph_of, keep_graph
from mpnn.graph.graph import Graph


@torch.library.custom_op("mpnn::relooped", mutates_args=())
def relooped(edge_index: Tensor, num_src: int, num_dst: int, loops: str) -> tuple[Tensor, Tensor]:
    """`Graph.relooped`: the new graph's `edge_index [2, num_edges']`, and `[num_edges']` where it is from."""
    made, origin = graph_of(edge_index, (num_src, num_dst)).relooped(loops)
    return _handed_out(made), origin.clone()


@relooped.register_fake
def _(edge_index: Tensor, num_src: int, num_dst: int, loops: str) -> tuple[Tensor, Tensor]:
    num_edges = edge_index.shape[1] + num_src if loops == "more" else unknown_size()
    return edge_index.new_empty((2, num_edges)), edge_index.new_empty((num_edges,))


@torch.library.custom_op("mpnn::reverse", mutates_args=())
def reverse(edge_index: Tensor, num_src: int, num_dst: int) -> Tensor:
    """`Graph.reverse`: the reversed graph's `edge_index [2, num_edges]`."""
    return _handed_out(graph_of(edge_index, (num_src, num_dst)).reverse())


@reverse.register_fake
def _(edge_index: Tensor, num_src: int, num_dst: int) -> Tensor:
    return torch.empty_like(edge_index)


def _handed_out(graph: Graph) -> Tensor:
    # A compiled function may use the memory of what it is given for something else: it gets a copy, which
    # stands for the graph that is kept.
    edge_index = graph.edge_index.clone(memory_format=torch.contiguous_format)
    keep_graph(edge_index, graph)
    return edge_index


@torch.library.custom_op("mpnn::degree", mutates_args=())
def degree(edge_index: Tensor, num_src: int, num_dst: int, leaving: bool) -> Tensor:
    """How many edges enter each node, or leave it: `[num_dst]` or `[num_src]` int64."""
    graph = graph_of(edge_index, (num_src, num_dst))
    return (graph.out_degree if leaving else graph.in_degree).clone()


@degree.register_fake
def _(edge_index: Tensor, num_src: int, num_dst: int, leaving: bool) -> Tensor:
    return edge_index.new_empty((num_src if leaving else num_dst,))


@torch.library.custom_op("mpnn::positions", mutates_args=())
def positions(mask: Tensor) -> Tensor:
    """Where a mask is true: `[num_true]` int64."""
    return mask.nonzero().squeeze(1)


@positions.register_fake
def _(mask: Tensor) -> Tensor:
    return mask.new_empty((unknown_size(),), dtype=torch.int64)
