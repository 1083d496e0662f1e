"""B-splines on a grid of kernel points (Fey et al., 2018)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from mpnn.pyg.ops import segment_matmul

__all__ = ["spline_basis", "spline_weighting"]

# For each degree its pieces on one cell, of the place v within it, 0 .. 1.
_PIECES: dict[int, list[Callable[[Tensor], Tensor]]] = {
    1: [lambda v: 1 - v, lambda v: v],
    2: [lambda v: 0.5 * v * v - v + 0.5, lambda v: -v * v + v + 0.5, lambda v: 0.5 * v * v],
    3: [
        lambda v: (1 - v) ** 3 / 6,
        lambda v: (3 * v**3 - 6 * v**2 + 4) / 6,
        lambda v: (-3 * v**3 + 3 * v**2 + 3 * v + 1) / 6,
        lambda v: v**3 / 6,
    ],
}


def spline_basis(
    pseudo: Tensor, kernel_size: Tensor, is_open_spline: Tensor, degree: int = 1
) -> tuple[Tensor, Tensor]:
    """Which kernel points weigh at a place of the unit cube, and how much.

    Args:
        pseudo: `[num_edges, num_dimensions]`, 0 .. 1.
        kernel_size: integers `[num_dimensions]`, kernel points in each dimension.
        is_open_spline: `[num_dimensions]`, whether the dimension ends; else it is a circle.
        degree: 1, 2 or 3.

    Shapes: -> the weights `[num_edges, (degree + 1)^num_dimensions]`, and int64 of that shape the kernel
        points;
    the first dimension counts fastest.
    """
    if degree not in _PIECES:
        raise ValueError(f"degree is {degree}, but should be 1, 2 or 3.")
    pseudo = pseudo.view(-1, 1) if pseudo.dim() == 1 else pseudo
    dimensions = pseudo.size(1)
    if kernel_size.numel() != dimensions or is_open_spline.numel() != dimensions:
        raise ValueError(
            f"kernel_size and is_open_spline must hold {dimensions} numbers, as pseudo has dimensions, got "
            f"{kernel_size.numel()} and {is_open_spline.numel()}."
        )
    sizes = kernel_size.to(pseudo.device)
    scaled = pseudo * (sizes - degree * is_open_spline.to(sizes)).to(pseudo.dtype)
    cell = scaled.detach().floor()
    within = scaled - cell
    pieces = torch.stack([piece(within) for piece in _PIECES[degree]])  # [degree + 1, num_edges, dimensions]
    stride = torch.cat([sizes.new_ones(1), sizes.cumprod(0)[:-1]])
    weights, points = [], []
    for reverse in product(range(degree + 1), repeat=dimensions):
        step = reverse[::-1]
        weight = pieces[step[0], :, 0]
        for d in range(1, dimensions):
            weight = weight * pieces[step[d], :, d]
        weights.append(weight)
        places = (cell.long() + torch.tensor(step, device=cell.device)) % sizes
        points.append((places * stride).sum(1))
    return torch.stack(weights, dim=1), torch.stack(points, dim=1)


def spline_weighting(x: Tensor, weight: Tensor, basis: Tensor, weight_index: Tensor) -> Tensor:
    """Σ_s basis[e, s] x[e] W[weight_index[e, s]].

    Args:
        x: `[num_edges, in_channels]`.
        weight: `[num_kernel_points, in_channels, out_channels]`.
        basis: `[num_edges, num_terms]`, as of `spline_basis`.
        weight_index: int64 of this shape.

    Shapes: -> `[num_edges, out_channels]`.
    """
    if basis.shape != weight_index.shape or basis.size(0) != x.size(0):
        raise ValueError(
            f"basis and weight_index must have shape [{x.size(0)}, num_terms], got {list(basis.shape)} and "
            f"{list(weight_index.shape)}."
        )
    # Terms of one kernel point lie together: its matrix is multiplied once.
    point, order = weight_index.flatten().sort(stable=True)
    edge = torch.div(order, max(basis.size(1), 1), rounding_mode="floor")
    terms = x[edge] * basis.flatten()[order, None]
    ptr = torch.searchsorted(point, torch.arange(weight.size(0) + 1, device=x.device))
    return x.new_zeros(x.size(0), weight.size(2)).index_add(0, edge, segment_matmul(terms, ptr, weight))
