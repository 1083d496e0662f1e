"""Induced subgraphs and random walks on compressed rows."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.csr import CSR
from mpnn.pyg.sampler.arguments import checked_rows, checked_seed, largest
from mpnn.sampling.hops import Frontier, Numbering, Rows, draw_hop
from mpnn.sampling.walks import walk_rows

__all__ = ["random_walk", "subgraph"]


def subgraph(
    rowptr: Tensor, col: Tensor, nodes: Tensor, return_edge_id: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The edges among some nodes.

    Args:
        rowptr: `[num_nodes + 1]`, int32 or int64.
        col: `[num_edges]`.
        nodes: `[num_chosen]`, whose places are their numbers in the result.
        return_edge_id: whether to say which edges these are.

    Returns:
        rowptr `[num_chosen + 1]` and col of the subgraph, and the edges' places in the given col.

    >>> subgraph(torch.tensor([0, 2, 3, 4]), torch.tensor([1, 2, 0, 1]), torch.tensor([2, 1]))
    (tensor([0, 1, 1]), tensor([1]), tensor([3]))
    """
    indptr, indices = checked_rows("", rowptr, col)
    chosen = checked_seed("nodes", nodes)
    numbering = Numbering()
    numbering.fill(chosen)
    drawn = draw_hop(
        Rows(indptr, indices), Frontier(chosen, 0), -1, replace=False, last=False, stride=1, seed=0
    )
    ends = numbering.get(drawn.ends)
    kept = ends >= 0
    count = torch.bincount(drawn.rows[kept], minlength=chosen.numel())
    pointers = torch.cat([count.new_zeros(1), count.cumsum(0)]).to(indptr.dtype)
    edges = drawn.slots[kept].to(indptr.dtype) if return_edge_id else None
    return pointers, ends[kept].to(indptr.dtype), edges


def random_walk(
    rowptr: Tensor, col: Tensor, seed: Tensor, walk_length: int, p: float = 1.0, q: float = 1.0
) -> Tensor:
    """Random walks `[num_seeds, walk_length + 1]` that begin at the seeds; see `mpnn.random_walks` for p
    and q.

    From a node without neighbours a walk does not move.

    >>> random_walk(torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 0]), torch.tensor([0, 2]), 4)
    tensor([[0, 1, 2, 0, 1],
            [2, 0, 1, 2, 0]])
    """
    indptr, indices = checked_rows("", rowptr, col)
    start, number = checked_seed("seed", seed), indptr.numel() - 1
    if max(largest("seed", start), largest("col", col)) >= number:
        raise IndexError(f"a node of seed or col is {number} or more, but there are {number} rows.")
    return walk_rows(CSR(indptr, indices, indices), start, walk_length, p, q).to(rowptr.dtype)
