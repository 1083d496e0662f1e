"""Points of several examples: which belong together, and distances between them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def checked_points(name: str, points: Tensor) -> Tensor:
    """Points `[num_points, num_dimensions]`; a vector is points on a line."""
    points = points.view(-1, 1) if points.dim() == 1 else points
    if points.dim() != 2:
        raise ValueError(f"{name} must have shape [num_points, num_dimensions], got {list(points.shape)}.")
    return points.detach()


def checked_pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Points in the same space."""
    x, y = checked_points("x", x), checked_points("y", y)
    if x.size(1) != y.size(1) or x.device != y.device:
        raise ValueError(
            f"x and y must have as many dimensions and be on one device, got {list(x.shape)} on {x.device} "
            f"and {list(y.shape)} on {y.device}."
        )
    return x, y


def checked_ptr(name: str, ptr: Tensor | None, number: int, device: torch.device) -> Tensor:
    """Where each example begins and ends, int64 `[num_examples + 1]`; None is one example."""
    if ptr is None:
        return torch.tensor([0, number], device=device)
    ptr = ptr.to(device, torch.int64)
    if (
        ptr.dim() != 1
        or not ptr.numel()
        or int(ptr[0]) != 0
        or int(ptr[-1]) != number
        or bool((ptr.diff() < 0).any())
    ):
        raise ValueError(f"{name} must ascend from 0 to the {number} points, got {ptr.tolist()[:10]}.")
    return ptr


def ptr_of(name: str, batch: Tensor | None, number: int, batch_size: int | None) -> Tensor | None:
    """Pointers of sorted example numbers `[num_points]`."""
    if batch is None:
        return None
    if batch.shape != (number,) or (batch.numel() and bool((batch[1:] < batch[:-1]).any())):
        raise ValueError(
            f"{name} must hold the sorted example numbers of {number} points, got {list(batch.shape)}."
        )
    if batch_size is None:
        batch_size = int(batch[-1]) + 1 if batch.numel() else 1
    return torch.bucketize(torch.arange(batch_size + 1, device=batch.device), batch)


def both_ptrs(
    x: Tensor, y: Tensor, batch_x: Tensor | None, batch_y: Tensor | None, batch_size: int | None
) -> tuple[Tensor | None, Tensor | None]:
    """Pointers of two sets of points with as many examples."""
    if batch_size is None:
        last = [int(one[-1]) + 1 for one in (batch_x, batch_y) if one is not None and one.numel()]
        batch_size = max([1, *last])
    if batch_size > 1 and (batch_x is None or batch_y is None):
        raise ValueError("batch_x and batch_y must be given together where there is more than one example.")
    pairs = (("batch_x", batch_x, x), ("batch_y", batch_y, y))
    first, second = (ptr_of(name, batch, points.size(0), batch_size) for name, batch, points in pairs)
    return first, second


def examples(ptr_x: Tensor, ptr_y: Tensor) -> Iterator[tuple[slice, slice]]:
    """The points of x and of y of each example that has both."""
    if ptr_x.numel() != ptr_y.numel():
        raise ValueError(
            f"ptr_x has {ptr_x.numel() - 1} examples and ptr_y {ptr_y.numel() - 1}, but they should be the "
            "same."
        )
    bounds = [torch.stack([ptr[:-1], ptr[1:]], 1).tolist() for ptr in (ptr_x, ptr_y)]
    for (a, b), (c, d) in zip(*bounds, strict=True):
        if b > a and d > c:
            yield slice(a, b), slice(c, d)
