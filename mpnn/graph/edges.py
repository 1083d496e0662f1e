"""Edges made from edges: plain functions of `edge_index [2, num_edges]`, which `Graph` wraps."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.checks import Size, check_distinct
from mpnn.graph.distinct import first_of_each
from mpnn.native.gate import has_data
from mpnn.native.reach import stands_alone


def relooped(
    edge_index: Tensor,
    size: Size,
    loops: str,
    loopless: Tensor | None = None,
    num_loops: int | None = None,
) -> tuple[Tensor, Tensor]:
    """See `Graph.relooped`: the edges with other self loops, and `[num_edges']` where each is from.

    `loopless` are as many edges without any, if such are known; so may the number of loops be.
    """
    num_edges, device = edge_index.size(1), edge_index.device
    if loops == "more" or loopless is not None:
        origin = torch.arange(num_edges, device=device)
        edge_index = edge_index if loops == "more" or loopless is None else loopless
    else:
        is_loop = edge_index[0] == edge_index[1]
        if (
            not has_data(edge_index) and not stands_alone()
        ):  # how many loops there are decides about no node's shape
            origin = torch.arange(num_edges, device=device)
        elif num_loops is None:
            origin = (~is_loop).nonzero().squeeze(1)
        else:
            origin = is_loop.byte().argsort(stable=True)[: num_edges - num_loops]
        edge_index = edge_index[:, origin]
    if loops != "none":
        nodes = torch.arange(min(size), device=device)
        edge_index = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
        origin = torch.cat([origin, nodes + num_edges])
    return edge_index, origin


def induced(edge_index: Tensor, kept: tuple[Tensor, Tensor], size: Size) -> tuple[Tensor, Tensor]:
    """The edges between the kept nodes, renumbered in their order, and `[num_kept_edges]` which they are."""
    rows = []
    for row, chosen, count in zip(edge_index, kept, size, strict=True):
        check_distinct("nodes", chosen, count)
        new_number = torch.full((count,), -1, dtype=torch.int64, device=row.device)
        new_number[chosen] = torch.arange(chosen.numel(), device=row.device)
        rows.append(new_number[row])
    edges = ((rows[0] >= 0) & (rows[1] >= 0)).nonzero().squeeze(1)
    return torch.stack([rows[0][edges], rows[1][edges]]), edges


def coalesced(edge_index: Tensor, size: Size, *carried: tuple[Tensor, int | None]) -> tuple[Tensor, Tensor]:
    """Of equal edges the first, by destination, then source, then what they carry; and what each edge became.

    What they carry are pairs: values `[num_edges]`, and how many there may be if they are 0, 1, 2, ..., or
    None for values that have an order only.
    """
    (src, dst), (num_src, num_dst) = edge_index, size
    columns, counts = [dst, src], [num_dst, num_src]
    for values, count in carried:
        if count is None:
            distinct, values = torch.unique(values, return_inverse=True)
            count = distinct.numel()
        columns.append(values)
        counts.append(count)
    return first_of_each(columns, counts)


def reordering(edge_index: Tensor, out_degree: Tensor, by: str) -> tuple[Tensor, Tensor]:
    """See `Graph.reordered`: `[num_nodes]` which old node each new one is, and which new one each old is."""
    if by == "degree":
        order = torch.argsort(out_degree, descending=True, stable=True)
    elif by == "neighbours":
        order = _breadth_first(edge_index, out_degree.numel())
    else:
        raise ValueError(f"by is {by!r}, but must be 'neighbours' or 'degree'.")
    number = torch.empty_like(order)
    number[order] = torch.arange(order.numel(), device=order.device)
    return order, number


def _breadth_first(edge_index: Tensor, num_nodes: int) -> Tensor:
    """`[num_nodes]`: the nodes by reverse Cuthill-McKee (1969), neighbours close to each other."""
    import numpy
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    if num_nodes == 0:
        return edge_index.new_empty(0)
    ends = edge_index.cpu().numpy()
    matrix = coo_array((numpy.ones(ends.shape[1]), (ends[1], ends[0])), shape=(num_nodes, num_nodes)).tocsr()
    order = reverse_cuthill_mckee(matrix + matrix.T, symmetric_mode=True)
    return torch.from_numpy(order.astype("int64")).to(edge_index.device)
