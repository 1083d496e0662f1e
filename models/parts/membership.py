"""Which graph of a batch each node belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph

# A (batched) graph; or `[num_nodes]`, the graph that each node belongs to; or None: all nodes belong to one
# graph.
Membership = Graph | Tensor | None


def members(batch: Membership, num_nodes: int, num_graphs: int | None, like: Tensor) -> tuple[Tensor, int]:
    """The graph that each node belongs to, `[num_nodes]`, and how many graphs there are.

    Args:
        batch: a `Graph` (made by `Graph.batch` if there are several), or `[num_nodes]`, or None.
        num_nodes: how many rows the features of the nodes have.
        num_graphs: the number of graphs; needed where a tensor is given and the last graphs have no nodes.
        like: a tensor on the device of the nodes.

    Raises:
        ValueError: another number of nodes or of graphs than is given.
        TypeError, IndexError: a tensor of other numbers than those of the graphs.

    >>> members(None, 3, None, torch.ones(3))
    (tensor([0, 0, 0]), 1)
    """
    if isinstance(batch, Graph):
        if num_graphs is not None and num_graphs != batch.num_graphs:
            raise ValueError(f"size is {num_graphs}, but the batch has {batch.num_graphs} graphs.")
        if num_nodes != batch.num_dst:
            raise ValueError(f"x has {num_nodes} rows, but the graph has {batch.num_dst} nodes.")
        return batch.graph_index, batch.num_graphs
    if batch is None:
        zeros = torch.zeros(num_nodes, dtype=torch.int64, device=like.device)
        return zeros, 1 if num_graphs is None else num_graphs
    if batch.shape != (num_nodes,):
        raise ValueError(
            f"batch must be [{num_nodes}], one graph for each row of x, got {list(batch.shape)}."
        )
    if batch.is_floating_point() or batch.dtype == torch.bool:
        raise TypeError(f"batch must be whole numbers, one graph for each row of x, got {batch.dtype}.")
    if num_graphs is not None and torch.compiler.is_compiling():
        return batch, num_graphs  # whose numbers are not known yet
    low, high = (int(batch.min()), int(batch.max())) if num_nodes else (0, -1)
    if num_graphs is None:
        num_graphs = high + 1
    if low < 0 or high >= num_graphs:
        raise IndexError(f"batch goes from {low} to {high}, but should be within 0 to {num_graphs - 1}.")
    return batch, num_graphs
