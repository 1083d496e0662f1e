"""The nearest points, exactly: by a tree of scipy's on the CPU in few dimensions, else by all distances."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from mpnn.pyg.geometry.points import checked_pair, checked_ptr, examples

__all__ = ["knn", "nearest", "radius"]

FEW_DIMENSIONS = 10  # in more a tree looks at most points anyway
BLOCK = 1 << 24  # distances that are kept at once


def knn(
    x: Tensor,
    y: Tensor,
    ptr_x: Tensor | None = None,
    ptr_y: Tensor | None = None,
    k: int = 1,
    cosine: bool = False,
    num_workers: int = 1,
) -> Tensor:
    """The k points of x that are nearest to each point of y, nearest first.

    Args:
        x: `[num_x, num_dimensions]`.
        y: `[num_y, num_dimensions]`.
        ptr_x: `[num_examples + 1]`: points are near only within their example.
        ptr_y: the same of y.
        k: how many; an example with fewer points gives all.
        cosine: whether near means a small 1 - cos of the angle, instead of a small distance.
        num_workers: threads of the tree.

    Shapes: -> int64 `[2, num_found]`, points of y over points of x.

    >>> knn(torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.8, 6.0]), k=2).tolist()
    [[0, 0, 1, 1], [1, 0, 2, 1]]
    """
    if k < 1:
        raise ValueError(f"k is {k}, but should be at least 1.")
    return _found(x, y, ptr_x, ptr_y, k, None, cosine, num_workers)


def radius(
    x: Tensor,
    y: Tensor,
    ptr_x: Tensor | None = None,
    ptr_y: Tensor | None = None,
    r: float = 1.0,
    max_num_neighbors: int = 32,
    num_workers: int = 1,
    ignore_same_index: bool = False,
) -> Tensor:
    """The points of x that are less than r from each point of y, the nearest of them where there are many.

    Args:
        x: `[num_x, num_dimensions]`.
        y: `[num_y, num_dimensions]`.
        ptr_x: `[num_examples + 1]`: points are near only within their example.
        ptr_y: the same of y.
        r: the distance.
        max_num_neighbors: of a point of y at most.
        num_workers: threads of the tree.
        ignore_same_index: whether point i of x is no neighbour of point i of y.

    Shapes: -> int64 `[2, num_found]`, points of y over points of x.
    """
    more = max_num_neighbors + bool(ignore_same_index)
    found = _found(x, y, ptr_x, ptr_y, more, float(r), False, num_workers)
    if ignore_same_index:
        found = found[:, found[0] != found[1]]
        first = torch.searchsorted(found[0].contiguous(), found[0].contiguous())
        within = torch.arange(found.size(1), device=found.device) - first
        found = found[:, within < max_num_neighbors]
    return found


def nearest(x: Tensor, y: Tensor, ptr_x: Tensor | None = None, ptr_y: Tensor | None = None) -> Tensor:
    """The point of y that is nearest to each point of x, int64 `[num_x]`.

    >>> nearest(torch.tensor([0.2, 9.0]), torch.tensor([0.0, 1.0, 5.0])).tolist()
    [0, 2]
    """
    x, y = checked_pair(x, y)
    found = _found(y, x, ptr_y, ptr_x, 1, None, False, 1)
    if found.size(1) != x.size(0):
        raise ValueError("x has points in an example in which y has none.")
    return found[1]


def _found(
    x: Tensor,
    y: Tensor,
    ptr_x: Tensor | None,
    ptr_y: Tensor | None,
    k: int,
    r: float | None,
    cosine: bool,
    workers: int,
) -> Tensor:
    x, y = checked_pair(x, y)
    starts = (
        checked_ptr("ptr_x", ptr_x, x.size(0), x.device),
        checked_ptr("ptr_y", ptr_y, y.size(0), x.device),
    )
    by_tree = x.device.type == "cpu" and not cosine and x.size(1) <= FEW_DIMENSIONS
    if by_tree and not (bool(x.isfinite().all()) and bool(y.isfinite().all())):
        raise ValueError("x and y must be finite.")
    pairs = [torch.empty(2, 0, dtype=torch.int64, device=x.device)]
    for of_x, of_y in examples(*starts):
        some = x[of_x], y[of_y], min(k, of_x.stop - of_x.start), r
        if some[2] > 0:
            made = _by_tree(*some, workers) if by_tree else _by_blocks(*some, cosine)
            pairs.append(made + torch.tensor([[of_y.start], [of_x.start]], device=x.device))
    return torch.cat(pairs, dim=1)


def _by_tree(x: Tensor, y: Tensor, k: int, r: float | None, workers: int) -> Tensor:
    tree = cKDTree(x.double().numpy())
    bound = np.inf if r is None else r
    parts = []
    for block in torch.split(y.double(), max(BLOCK // (8 * k), 1)):
        _, index = tree.query(
            block.numpy(), k=np.arange(1, k + 1), distance_upper_bound=bound, workers=workers
        )
        parts.append(torch.from_numpy(index.astype(np.int64, copy=False)))
    index = torch.cat(parts)
    there = index < x.size(0)  # a place without a point has this number
    row = torch.arange(y.size(0))[:, None].expand_as(index)
    return torch.stack([row[there], index[there]])


def _by_blocks(x: Tensor, y: Tensor, k: int, r: float | None, cosine: bool) -> Tensor:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    x, y = x.to(wide), y.to(wide)
    if cosine:
        x, y = (torch.nn.functional.normalize(one, dim=1) for one in (x, y))
    parts, begin = [], 0
    for block in torch.split(y, max(BLOCK // max(x.size(0), 1), 1)):
        if cosine:
            distance = 1 - block @ x.T
        else:
            distance = torch.cdist(block, x, compute_mode="donot_use_mm_for_euclid_dist")
        value, index = distance.topk(k, dim=1, largest=False)
        there = torch.ones_like(index, dtype=torch.bool) if r is None else value < r
        row = torch.arange(begin, begin + len(block), device=x.device)[:, None].expand_as(index)
        parts.append(torch.stack([row[there], index[there]]))
        begin += len(block)
    return torch.cat(parts, dim=1)
