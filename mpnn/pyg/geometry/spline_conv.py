"""`torch_spline_conv`'s convolution as a function."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.pyg.geometry.splines import spline_basis, spline_weighting

__all__ = ["spline_conv"]


def spline_conv(
    x: Tensor,
    edge_index: Tensor,
    pseudo: Tensor,
    weight: Tensor,
    kernel_size: Tensor,
    is_open_spline: Tensor,
    degree: int = 1,
    norm: bool = True,
    root_weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """x_i' = Σ_j x_j W(e_ij), where W is a spline over the places of the edges (Fey et al., 2018).

    Args:
        x: `[num_nodes, in_channels]`.
        edge_index: `[2, num_edges]`; row 0 receives, row 1 sends.
        pseudo: `[num_edges, num_dimensions]`, 0 .. 1.
        weight: `[num_kernel_points, in_channels, out_channels]`.
        kernel_size: integers `[num_dimensions]`.
        is_open_spline: `[num_dimensions]`.
        degree: of the spline.
        norm: whether to take the mean instead of the sum.
        root_weight: `[in_channels, out_channels]`, by which the node itself is multiplied and added.
        bias: `[out_channels]`.

    Shapes: -> `[num_nodes, out_channels]`.
    """
    x = x.view(-1, 1) if x.dim() == 1 else x
    row, col = edge_index
    basis, points = spline_basis(pseudo, kernel_size, is_open_spline, degree)
    messages = spline_weighting(x[col], weight, basis, points)
    out = x.new_zeros(x.size(0), weight.size(2)).index_add(0, row, messages)
    if norm:
        out = out / torch.bincount(row, minlength=x.size(0)).clamp(min=1).to(x.dtype)[:, None]
    if root_weight is not None:
        out = out + x @ root_weight
    return out if bias is None else out + bias
