"""Points far from each other, points in the same cell of a grid, and pairs of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.native.matching import match
from mpnn.pyg.geometry.points import checked_points, checked_ptr
from mpnn.pyg.sampler.arguments import checked_rows, largest

__all__ = ["fps", "graclus_cluster", "grid_cluster"]


def fps(src: Tensor, ptr: Tensor, ratio: float | Tensor = 0.5, random_start: bool = True) -> Tensor:
    """Points that are far from each other: each next one is the farthest from those before (Qi et al., 2017).

    Args:
        src: `[num_points, num_dimensions]`.
        ptr: `[num_examples + 1]`, where each example begins and ends.
        ratio: which part of an example's points, rounded up; one number, or `[num_examples]`.
        random_start: whether an example's first point is drawn, or is its first.

    Shapes: -> int64 `[num_chosen]`, example by example.

    >>> fps(torch.tensor([[0.0], [1.0], [5.0], [2.0]]), torch.tensor([0, 4]), random_start=False)
    tensor([0, 2])
    """
    src = checked_points("src", src)
    ptr = checked_ptr("ptr", ptr, src.size(0), src.device)
    degree = ptr.diff()
    share = torch.as_tensor(ratio, dtype=torch.float32, device=src.device)
    if bool((share < 0).any()) or bool((share > 1).any()):
        raise ValueError(f"ratio must be between 0 and 1, got {ratio}.")
    wanted = (degree * share).ceil().long()
    most, longest = (int(one.max()) if one.numel() else 0 for one in (wanted, degree))
    if most == 0:
        return ptr.new_empty(0)
    place = torch.arange(longest, device=src.device)
    there = place < degree[:, None]
    points = src[
        (ptr[:-1, None] + place).clamp(max=src.size(0) - 1)
    ]  # [num_examples, longest, num_dimensions]
    farthest = torch.zeros_like(degree)
    if random_start:
        farthest = (torch.rand(degree.shape, device=src.device) * degree).long().clamp(max=longest - 1)
    example = torch.arange(degree.numel(), device=src.device)
    nearest = torch.full(there.shape, torch.inf, dtype=src.dtype, device=src.device).masked_fill(~there, -1)
    chosen = [farthest]
    for _ in range(most - 1):
        step = (points - points[example, farthest][:, None]).square().sum(-1)
        nearest = torch.where(there, torch.minimum(nearest, step), nearest)
        farthest = nearest.argmax(dim=1)
        chosen.append(farthest)
    taken = torch.arange(most, device=src.device) < wanted[:, None]
    return (torch.stack(chosen, dim=1) + ptr[:-1, None])[taken]


def grid_cluster(pos: Tensor, size: Tensor, start: Tensor | None = None, end: Tensor | None = None) -> Tensor:
    """The cell of a grid that each point is in, int64 `[num_points]`; the first dimension counts fastest.

    Args:
        pos: `[num_points, num_dimensions]`.
        size: `[num_dimensions]`, of a cell.
        start: `[num_dimensions]`, where the grid begins; the smallest coordinates if None.
        end: `[num_dimensions]`, where it ends; the largest.

    >>> grid_cluster(torch.tensor([[0.0, 0.0], [11.0, 9.0], [2.0, 8.0]]), torch.tensor([5.0, 5.0])).tolist()
    [0, 5, 3]
    """
    pos = checked_points("pos", pos)
    size = size.view(-1).to(pos)
    if size.numel() != pos.size(1) or bool((size <= 0).any()):
        raise ValueError(f"size must hold {pos.size(1)} numbers above 0, got {size.tolist()}.")
    if not pos.size(0):
        return torch.empty(0, dtype=torch.int64, device=pos.device)
    start = pos.min(0)[0] if start is None else start.view(-1).to(pos)
    end = pos.max(0)[0] if end is None else end.view(-1).to(pos)
    cells = ((end - start) / size).long() + 1
    stride = torch.cat([cells.new_ones(1), cells.cumprod(0)[:-1]])
    return (((pos - start) / size).long() * stride).sum(1)


def graclus_cluster(rowptr: Tensor, col: Tensor, weight: Tensor | None = None) -> Tensor:
    """Pairs of neighbours (Dhillon et al., 2007): the smaller node of each node's pair, int64 `[num_nodes]`.

    Nodes are visited in random order; one that is free is paired with its free neighbour of the largest
    weight, or without weights with any of them.

    Args:
        rowptr: `[num_nodes + 1]`, int32 or int64.
        col: `[num_edges]`.
        weight: `[num_edges]`.
    """
    device = rowptr.device
    indptr, indices = checked_rows("", rowptr.cpu(), col.cpu())
    number = indptr.numel() - 1
    if largest("col", indices) >= number:
        raise IndexError(f"col holds {largest('col', indices)}, but there are {number} nodes.")
    if weight is not None:
        if weight.shape != col.shape:
            raise ValueError(f"weight must have shape {list(col.shape)}, got {list(weight.shape)}.")
        weight = weight.detach().to("cpu", torch.float64).contiguous()
    else:  # any neighbour: the first one in a random order
        shuffled = torch.randperm(indices.numel())
        row = torch.repeat_interleave(indptr.diff())
        indices = indices[shuffled[torch.argsort(row[shuffled], stable=True)]]
    order = torch.randperm(number)
    made = match(indptr, indices, weight, order)
    return (_match(indptr, indices, weight, order) if made is None else made).to(device)


def _match(indptr: Tensor, indices: Tensor, weight: Tensor | None, order: Tensor) -> Tensor:
    """What `native/matching.c` does, where there is no compiler."""
    bounds, ends = indptr.tolist(), indices.tolist()
    weights = [0.0] * len(ends) if weight is None else weight.tolist()
    cluster = [-1] * order.numel()
    for node in order.tolist():
        if cluster[node] < 0:
            slots = range(bounds[node], bounds[node + 1])
            free = [slot for slot in slots if ends[slot] != node and cluster[ends[slot]] < 0]
            best = (
                max(free, key=lambda slot: (weights[slot], slot), default=None)
                if weight is not None
                else None
            )
            if weight is None and free:
                best = free[0]
            partner = node if best is None else ends[best]
            cluster[node] = cluster[partner] = min(node, partner)
    return torch.tensor(cluster, dtype=torch.int64)
