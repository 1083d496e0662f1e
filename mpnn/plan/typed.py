"""Linear messages with a matrix for each type of edge: relations of a graph, offsets of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from mpnn.borrowed import FakeTensor
from mpnn.graph.contents import OfTensors
from mpnn.native.pool import empty
from mpnn.native.products import gram, multiply
from mpnn.native.reach import is_single, only_autograd_follows

# Edges sorted by type, the inverse permutation, and the number of edges of each type.
Order = tuple[Tensor, Tensor, list[int]]

_orders: OfTensors[tuple[int, Order]] = OfTensors()  # of types, for the number of types asked for last


def typed_linear(x: Tensor, weight: Tensor, edge_type: Tensor) -> Tensor:
    """`x_e W[type_e]` for every edge e, as one matrix product per type.

    Shapes: x `[num_edges, in]`, weight `[num_types, in, out]`, edge_type `[num_edges]` int64 ->
    `[num_edges, out]`; in blocks: x `[num_edges, groups, in]`, weight `[num_types, groups, in, out]` ->
    `[num_edges, groups, out]`.

    >>> typed_linear(torch.ones(3, 1), torch.tensor([[[2.0]], [[3.0]]]), torch.tensor([1, 0, 1])).T
    tensor([[3., 2., 3.]])
    """
    if isinstance(x, FakeTensor) or torch.compiler.is_compiling():
        # A tracer gets the definition, which does not look at the types.
        return torch.einsum("e...i,e...io->e...o", x, weight[edge_type])
    order, back, counts = _order(edge_type, weight.size(0))
    return grouped_linear(x.index_select(0, order), weight, counts).index_select(0, back)


def grouped_linear(x: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
    """`typed_linear` of rows that lie in the order of their types, `counts[k]` of type k.

    >>> grouped_linear(torch.ones(3, 1), torch.tensor([[[2.0]], [[3.0]]]), [1, 2]).T
    tensor([[2., 3., 3.]])
    """
    if x.is_cuda and torch.is_autocast_enabled("cuda"):  # which casts single products only
        casts = torch.get_autocast_dtype("cuda")
        x, weight = x.to(casts), weight.to(casts)
    if _suits_one_kernel(x, weight):
        product: Tensor = F.grouped_mm(x, weight, offs=_ends(tuple(counts), x.device))
        if product.requires_grad:  # its backward pass refuses an expanded gradient, such as that of a sum
            product.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
        return product
    if x.dim() != 2 or not only_autograd_follows(x):
        return _grouped(x, weight, counts)
    return cast(Tensor, _Grouped.apply(x, weight, counts))  # type: ignore[no-untyped-call]


def linear_rows(
    xs: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None
) -> Tensor:
    """`x_k W_kᵀ + b_k` of every k, one below the other; the same x may come several times, and is not copied.

    Shapes: x_k `[num_rows_k, in_k]`, W_k `[out, in_k]`, b_k `[out]` -> `[sum of all num_rows_k, out]`.

    >>> linear_rows([torch.ones(1, 2), torch.ones(2, 1)], [torch.ones(1, 2), torch.ones(1, 1)]).T
    tensor([[2., 1., 1.]])
    """
    plus = list(biases) if biases is not None else [None] * len(xs)
    together = all(only_autograd_follows(x) for x in xs) and not torch.compiler.is_compiling()
    if not xs or not together or torch.is_autocast_enabled(xs[0].device.type):
        return torch.cat([F.linear(x, w, b) for x, w, b in zip(xs, weights, plus, strict=True)])
    return cast(Tensor, _Rows.apply(len(xs), *xs, *weights, *plus))  # type: ignore[no-untyped-call]


class _Rows(torch.autograd.Function):
    """The products written below each other into one tensor, forward and backward, without a copy."""

    @staticmethod
    def forward(ctx: Any, count: int, *given: Tensor) -> Tensor:
        xs, weights, biases = given[:count], given[count : 2 * count], given[2 * count :]
        ctx.save_for_backward(*xs, *weights)
        ctx.counts = [len(x) for x in xs]
        out = empty((sum(ctx.counts), len(weights[0])), xs[0].dtype, xs[0].device)
        for x, weight, bias, rows in zip(xs, weights, biases, _ranges(ctx.counts), strict=True):
            multiply(x, weight.t(), out[rows], bias)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), counts = gradients, ctx.counts
        xs, weights = ctx.saved_tensors[: len(counts)], ctx.saved_tensors[len(counts) :]
        plain = not torch.is_grad_enabled() and is_single(gradient)  # else PyTorch must see each operation
        of_x: list[Tensor | None] = []
        of_weight: list[Tensor | None] = []
        of_bias: list[Tensor | None] = []
        wanted = ctx.needs_input_grad[1:]
        for k, (x, weight, rows) in enumerate(zip(xs, weights, _ranges(counts), strict=True)):
            part = gradient[rows]
            of_x.append(None)
            if wanted[k]:
                of_x[k] = (
                    multiply(part, weight, empty(x.shape, x.dtype, x.device)) if plain else part @ weight
                )
            of_weight.append(None)
            if wanted[len(counts) + k]:
                of_weight[k] = gram(part, x) if plain else part.t() @ x
            of_bias.append(part.sum(0) if wanted[2 * len(counts) + k] else None)
        return (None, *of_x, *of_weight, *of_bias)


def _suits_one_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether tensor cores do all products at once: bfloat16 on a GPU, in rows of whole 16 bytes."""
    return (
        x.is_cuda
        and hasattr(F, "grouped_mm")  # PyTorch 2.10 and later
        and x.dim() == 2
        and x.numel() > 0
        and x.dtype == weight.dtype == torch.bfloat16
        and weight.size(1) % 8 == weight.size(2) % 8 == 0
        and torch.cuda.get_device_capability(x.device) >= (8, 0)
    )


@lru_cache(maxsize=256)
def _ends(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Where the rows of each type end; copied to the device once, since the host waits for the copy."""
    return torch.tensor(list(accumulate(counts)), dtype=torch.int32, device=device)


def _grouped(x: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
    parts = torch.split(x, list(counts))
    return torch.cat([_product(part, one) for part, one in zip(parts, weight, strict=True)])


class _Grouped(torch.autograd.Function):
    """The products written side by side into one tensor, forward and backward, without a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.counts = counts
        out = empty((len(x), weight.size(2)), x.dtype, x.device)
        for rows, one in zip(_ranges(counts), weight, strict=True):
            multiply(x[rows], one, out[rows])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        wanted = [k for k in range(2) if ctx.needs_input_grad[k]]
        found: list[Tensor | None] = [None, None]
        again = torch.is_grad_enabled()
        if again or not is_single(gradient):  # to be differentiated again, or several gradients at once
            with torch.enable_grad():
                out = _grouped(x, weight, ctx.counts)
            asked = [(x, weight)[k] for k in wanted]
            each = torch.autograd.grad(out, asked, gradient, create_graph=again)
            for k, one in zip(wanted, each, strict=True):
                found[k] = one
            return (*found, None)
        for k in wanted:
            like = (x, weight)[k]
            found[k] = empty(like.shape, like.dtype, like.device)
        for k, rows in enumerate(_ranges(ctx.counts)):
            if found[0] is not None:
                multiply(gradient[rows], weight[k].t(), found[0][rows])
            if found[1] is not None:
                found[1][k] = gram(x[rows], gradient[rows])
        return (*found, None)


def _ranges(counts: Sequence[int]) -> list[slice]:
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight if x.dim() == 2 else torch.bmm(x.transpose(0, 1), weight).transpose(0, 1)


def _order(edge_type: Tensor, num_types: int) -> Order:
    known = _orders.get(edge_type)
    if known is None or known[0] != num_types:
        with torch.inference_mode(False):
            known = _orders.keep(edge_type, (num_types, _sorted(edge_type, num_types)))
    return known[1]


def _sorted(edge_type: Tensor, num_types: int) -> Order:
    counts: list[int] = torch.bincount(edge_type, minlength=num_types).tolist()
    if len(counts) > num_types:
        raise IndexError(f"edge_type goes up to {len(counts) - 1}, but there are {num_types} matrices.")
    order = torch.argsort(edge_type, stable=True)
    back = torch.empty_like(order)
    back[order] = torch.arange(order.numel(), device=order.device)
    return order, back, counts
