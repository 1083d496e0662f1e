"""`torch_cluster`'s functions: those of this folder, with the example number of each point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.pyg.geometry import clusters, near
from mpnn.pyg.geometry.clusters import grid_cluster
from mpnn.pyg.geometry.points import both_ptrs, checked_pair, checked_points, ptr_of
from mpnn.pyg.ops import edge_sample
from mpnn.pyg.sampler.subgraph import random_walk as walk

__all__ = [
    "fps",
    "graclus_cluster",
    "grid_cluster",
    "knn",
    "knn_graph",
    "nearest",
    "neighbor_sampler",
    "radius",
    "radius_graph",
    "random_walk",
]


def knn(
    x: Tensor,
    y: Tensor,
    k: int,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
    cosine: bool = False,
    num_workers: int = 1,
    batch_size: int | None = None,
) -> Tensor:
    """The k points of x that are nearest to each point of y, nearest first: int64 `[2, num_found]`, y over x.

    >>> knn(torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.8, 6.0]), 2).tolist()
    [[0, 0, 1, 1], [1, 0, 2, 1]]
    """
    x, y = checked_pair(x, y)
    return near.knn(x, y, *both_ptrs(x, y, batch_x, batch_y, batch_size), k, cosine, num_workers)


def knn_graph(
    x: Tensor,
    k: int,
    batch: Tensor | None = None,
    loop: bool = False,
    flow: str = "source_to_target",
    cosine: bool = False,
    num_workers: int = 1,
    batch_size: int | None = None,
) -> Tensor:
    """Edges from the k nearest points to each, `[2, num_edges]`; with `loop` perhaps from itself."""
    found = knn(x, x, k if loop else k + 1, batch, batch, cosine, num_workers, batch_size)
    if not loop:
        # Of points at the same place not this one, but another may be the nearest: then one is left over.
        found = found[:, found[0] != found[1]]
        first = torch.searchsorted(found[0].contiguous(), found[0].contiguous())
        found = found[:, torch.arange(found.size(1), device=found.device) - first < k]
    return _directed(found, flow)


def radius(
    x: Tensor,
    y: Tensor,
    r: float,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
    max_num_neighbors: int = 32,
    num_workers: int = 1,
    batch_size: int | None = None,
    ignore_same_index: bool = False,
) -> Tensor:
    """The points of x that are less than r from each point of y: int64 `[2, num_found]`, y over x."""
    x, y = checked_pair(x, y)
    starts = both_ptrs(x, y, batch_x, batch_y, batch_size)
    return near.radius(x, y, *starts, r, max_num_neighbors, num_workers, ignore_same_index)


def radius_graph(
    x: Tensor,
    r: float,
    batch: Tensor | None = None,
    loop: bool = False,
    max_num_neighbors: int = 32,
    flow: str = "source_to_target",
    num_workers: int = 1,
    batch_size: int | None = None,
) -> Tensor:
    """Edges from the points that are less than r away to each point, `[2, num_edges]`."""
    found = radius(x, x, r, batch, batch, max_num_neighbors, num_workers, batch_size, not loop)
    return _directed(found, flow)


def _directed(found: Tensor, flow: str) -> Tensor:
    if flow not in ("source_to_target", "target_to_source"):
        raise ValueError(f"flow is {flow!r}, but should be 'source_to_target' or 'target_to_source'.")
    return found.flip(0) if flow == "source_to_target" else found


def nearest(x: Tensor, y: Tensor, batch_x: Tensor | None = None, batch_y: Tensor | None = None) -> Tensor:
    """The point of y that is nearest to each point of x, int64 `[num_x]`."""
    x, y = checked_pair(x, y)
    return near.nearest(x, y, *both_ptrs(x, y, batch_x, batch_y, None))


def fps(
    src: Tensor,
    batch: Tensor | None = None,
    ratio: float | Tensor | None = None,
    random_start: bool = True,
    batch_size: int | None = None,
    ptr: Tensor | Sequence[int] | None = None,
) -> Tensor:
    """Points that are far from each other: see `pyg_lib.ops.fps`; half of them if no ratio is given."""
    src = checked_points("src", src)
    if ptr is None:
        starts = ptr_of("batch", batch, src.size(0), batch_size)
    else:
        starts = torch.as_tensor(ptr, device=src.device)
    if starts is None:
        starts = torch.tensor([0, src.size(0)], device=src.device)
    return clusters.fps(src, starts, 0.5 if ratio is None else ratio, random_start)


def graclus_cluster(
    row: Tensor, col: Tensor, weight: Tensor | None = None, num_nodes: int | None = None
) -> Tensor:
    """Pairs of neighbours of a graph given by its edges: see `pyg_lib.ops.graclus_cluster`."""
    rowptr, order, _ = _rows(row, col, row[:0], num_nodes)
    return clusters.graclus_cluster(rowptr, col[order], None if weight is None else weight[order])


def random_walk(
    row: Tensor,
    col: Tensor,
    start: Tensor,
    walk_length: int,
    p: float = 1,
    q: float = 1,
    coalesced: bool = True,
    num_nodes: int | None = None,
    return_edge_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Random walks `[num_walks, walk_length + 1]`, and if asked for the edges that they took `[..,
    walk_length]`.

    Args:
        row: `[num_edges]`, where each edge begins.
        col: `[num_edges]`, where it ends.
        start: `[num_walks]`.
        walk_length: how many steps.
        p: see `mpnn.random_walks`.
        q: as there.
        coalesced: whether to sort the edges; else they are in the order of row.
        num_nodes: how many nodes.
        return_edge_indices: whether to return the edges' places in the sorted edges, -1 where a walk stays.
    """
    rowptr, order, number = _rows(row, col, start, num_nodes)
    if coalesced:
        order = torch.argsort(row * number + col, stable=True)
    elif bool((row[1:] < row[:-1]).any()):
        raise ValueError("row must be sorted where coalesced=False.")
    ends = col[order]
    walks = walk(rowptr, ends, start, walk_length, p, q)
    if not return_edge_indices:
        return walks
    by_ends = torch.argsort(
        row * number + ends if not coalesced else (row * number + col)[order], stable=True
    )
    keys = (row[order] * number + ends)[by_ends]
    wanted = (walks[:, :-1] * number + walks[:, 1:]).contiguous()
    if not keys.numel():
        return walks, torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)
    return walks, torch.where(keys[place] == wanted, by_ends[place], -1)


def neighbor_sampler(start: Tensor, rowptr: Tensor, size: float) -> Tensor:
    """Edges of some nodes, drawn without repeats: `size` of each, or if this is at most 1 such a part."""
    if size <= 0:
        raise ValueError(f"size is {size}, but should be above 0.")
    return edge_sample(start, rowptr, 0 if size <= 1 else int(size), float(size) if size <= 1 else 1.0)


def _rows(row: Tensor, col: Tensor, more: Tensor, num_nodes: int | None) -> tuple[Tensor, Tensor, int]:
    """Pointers of edges by row, their order, and how many nodes there are."""
    if row.shape != col.shape or row.dim() != 1:
        raise ValueError(
            f"row and col must be vectors of one length, got {list(row.shape)} and {list(col.shape)}."
        )
    if num_nodes is None:
        num_nodes = 1 + max([-1, *(int(one.max()) for one in (row, col, more) if one.numel())])
    order = torch.argsort(row, stable=True)
    count = torch.bincount(row, minlength=num_nodes)
    if count.numel() > num_nodes:
        raise IndexError(f"row holds {count.numel() - 1}, but there are {num_nodes} nodes.")
    return torch.cat([count.new_zeros(1), count.cumsum(0)]), order, num_nodes
