"""`pyg_lib.ops`: products of groups, arithmetic between chosen rows, sorting, softmax of segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mpnn.pyg.scatter.places import checked_dim, segments
from mpnn.pyg.scatter.scatter import scatter_max, scatter_sum
from mpnn.sampling.hops import Frontier, Rows, draw_hop

__all__ = [
    "edge_sample",
    "grouped_matmul",
    "index_sort",
    "sampled_add",
    "sampled_div",
    "sampled_mul",
    "sampled_sub",
    "segment_matmul",
    "softmax_csr",
]


def grouped_matmul(
    inputs: Sequence[Tensor], others: Sequence[Tensor], biases: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """The products of pairs of matrices, each with its bias added."""
    if len(inputs) != len(others) or (biases is not None and len(biases) != len(inputs)):
        raise ValueError(
            f"inputs, others and biases must be as many, got {len(inputs)}, {len(others)} and "
            f"{'none' if biases is None else len(biases)}."
        )
    products = [a @ b for a, b in zip(inputs, others, strict=True)]
    return products if biases is None else [a + b for a, b in zip(products, biases, strict=True)]


def segment_matmul(inputs: Tensor, ptr: Tensor, other: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows ptr[i] .. ptr[i + 1] - 1 times matrix i.

    Args:
        inputs: `[num_rows, in_channels]`.
        ptr: integers `[num_segments + 1]`, from 0 to num_rows.
        other: `[num_segments, in_channels, out_channels]`.
        bias: `[num_segments, out_channels]`.

    Shapes: -> `[num_rows, out_channels]`.

    >>> segment_matmul(torch.ones(3, 1), torch.tensor([0, 1, 3]), torch.tensor([[[2.0]], [[5.0]]])).tolist()
    [[2.0], [5.0], [5.0]]
    """
    sizes = ptr.diff().tolist()
    if (
        len(sizes) != other.size(0)
        or sum(sizes) != inputs.size(0)
        or min(sizes, default=0) < 0
        or int(ptr[0])
    ):
        raise ValueError(
            f"ptr must ascend from 0 to {inputs.size(0)}, the rows of inputs, in {other.size(0)} segments, "
            f"as other has matrices, got {ptr.tolist()[:10]}."
        )
    parts = [rows @ matrix for rows, matrix in zip(torch.split(inputs, sizes), other, strict=True)]
    made = torch.cat(parts) if parts else inputs.new_zeros(0, other.size(-1))
    if bias is not None:
        made = made + bias.repeat_interleave(ptr.diff().to(bias.device), dim=0, output_size=inputs.size(0))
    return made


def sampled_add(
    left: Tensor, right: Tensor, left_index: Tensor | None = None, right_index: Tensor | None = None
) -> Tensor:
    """left[left_index] + right[right_index]; without an index all rows.

    >>> sampled_add(torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0]]), None, torch.tensor([0, 0])).tolist()
    [[11.0], [12.0]]
    """
    return _sampled(torch.add, left, right, left_index, right_index)


def sampled_sub(
    left: Tensor, right: Tensor, left_index: Tensor | None = None, right_index: Tensor | None = None
) -> Tensor:
    """left[left_index] - right[right_index]."""
    return _sampled(torch.sub, left, right, left_index, right_index)


def sampled_mul(
    left: Tensor, right: Tensor, left_index: Tensor | None = None, right_index: Tensor | None = None
) -> Tensor:
    """left[left_index] * right[right_index]."""
    return _sampled(torch.mul, left, right, left_index, right_index)


def sampled_div(
    left: Tensor, right: Tensor, left_index: Tensor | None = None, right_index: Tensor | None = None
) -> Tensor:
    """left[left_index] / right[right_index]."""
    return _sampled(torch.div, left, right, left_index, right_index)


def _sampled(
    operation: Callable[[Tensor, Tensor], Tensor],
    left: Tensor,
    right: Tensor,
    left_index: Tensor | None,
    right_index: Tensor | None,
) -> Tensor:
    left = left if left_index is None else left.index_select(0, left_index)
    right = right if right_index is None else right.index_select(0, right_index)
    return operation(left, right)


def index_sort(inputs: Tensor, max_value: int | None = None) -> tuple[Tensor, Tensor]:
    """The sorted numbers of a vector, and where each was; equal ones keep their order.

    Args:
        inputs: integers `[num_entries]`, not negative.
        max_value: an upper bound, which changes nothing here.

    >>> index_sort(torch.tensor([3, 0, 3, 1]))
    (tensor([0, 1, 3, 3]), tensor([1, 3, 0, 2]))
    """
    if inputs.dim() != 1:
        raise RuntimeError(f"inputs must have one dimension, got {list(inputs.shape)}.")
    values, order = torch.sort(inputs, stable=True)
    return values, order


def softmax_csr(src: Tensor, ptr: Tensor, dim: int = 0) -> Tensor:
    """The softmax over each segment ptr[i] .. ptr[i + 1] - 1 of dimension `dim`; 0 outside of all.

    >>> softmax_csr(torch.zeros(3), torch.tensor([0, 1, 3])).tolist()
    [1.0, 0.5, 0.5]
    """
    dim, rows = checked_dim(src, dim), ptr.numel() - 1
    segment, whole = segments(ptr, src.size(dim))
    highest = scatter_max(src.detach(), segment, dim, None, rows + 1)[0].index_select(dim, segment)
    weight = (src - highest).exp()
    total = scatter_sum(weight, segment, dim, None, rows + 1)
    made = weight / total.index_select(dim, segment)
    if whole:
        return made
    along = [-1 if k == dim else 1 for k in range(src.dim())]
    return made.masked_fill((segment == rows).view(along), 0)


def edge_sample(start: Tensor, rowptr: Tensor, count: int = 0, factor: float = 1.0) -> Tensor:
    """Edges of some nodes, drawn without repeats: the places in col of `count` of each, or of a share of
    each.

    Args:
        start: `[num_nodes]`.
        rowptr: `[num_rows + 1]`.
        count: how many of each node at most; below 1 `factor` says it.
        factor: which part of a node's edges, rounded up.
    """
    indptr = rowptr.to("cpu", torch.int64).contiguous()
    nodes = start.to("cpu", torch.int64).contiguous()
    rows = Rows(indptr, torch.zeros(int(indptr[-1]), dtype=torch.int64))
    seed = int(torch.randint(2**62, (), device="cpu"))

    def drawn(number: int, some: Tensor) -> tuple[Tensor, Tensor]:
        found = draw_hop(rows, Frontier(some, 0), number, replace=False, last=False, stride=1, seed=seed)
        return found.slots, found.rows

    if count >= 1:
        return drawn(count, nodes)[0]
    degree = indptr[nodes + 1] - indptr[nodes]
    wanted = (degree * factor).ceil().long()
    slots, places = [], []
    for number in torch.unique(wanted).tolist():  # nodes that draw as many do it together
        some = (wanted == number).nonzero().flatten()
        slot, row = drawn(number, nodes[some])
        slots.append(slot)
        places.append(some[row])
    if not slots:
        return nodes[:0]
    return torch.cat(slots)[torch.argsort(torch.cat(places), stable=True)]
