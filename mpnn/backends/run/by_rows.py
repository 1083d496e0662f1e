"""A function of every row by itself, computed some rows at a time, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.native.pool import empty
from mpnn.native.reach import is_single, only_autograd_follows
from mpnn.native.row_blocks import rows_at_a_time

ROWS_AT_ONCE = 4096  # what is made of them stays in a cache


def by_rows(function: Callable[..., Tensor], rows: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """`function(*rows)`, without keeping what it computes in between: the backward pass does so again.

    Args:
        function: from tensors `[n, ...]` to a tensor `[n, ...]`, for any n; row k of the result is that of
            the rows k. It draws no random numbers.
        rows: tensors `[num_rows, ...]`.
        parameters: what else the function reads that wants a gradient.

    >>> by_rows(lambda a, b: a * b, [torch.ones(3, 2), torch.ones(3, 1)], [])[0]
    tensor([1., 1.])
    """
    first = rows[0]
    if first.size(0) <= ROWS_AT_ONCE or not first.is_cpu or not only_autograd_follows(first):
        return function(*rows)
    return cast(Tensor, _ByRows.apply(function, len(rows), *rows, *parameters))  # type: ignore[no-untyped-call]


def _first(
    function: Callable[..., Tensor], block: Sequence[Tensor], wanted: Sequence[bool]
) -> tuple[Tensor, bool]:
    """The first rows of the result, and whether a gradient goes through: not where they are detached."""
    with torch.enable_grad():
        part = function(*[t.detach().requires_grad_(want) for t, want in zip(block, wanted, strict=False)])
    return part.detach(), part.requires_grad


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], num_given: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.function, ctx.num_given = function, num_given
        given = tensors[:num_given]
        out: Tensor | None = None
        for rows in rows_at_a_time(given[0].size(0), ROWS_AT_ONCE):
            if out is None:
                part, follows = _first(function, [t[rows] for t in given], ctx.needs_input_grad[2:])
                out = empty((len(given[0]), *part.shape[1:]), part.dtype)
                if not follows:
                    ctx.mark_non_differentiable(out)
            else:
                part = function(*[t[rows] for t in given])
            out[rows] = part
        assert out is not None
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), tensors, wanted = gradients, ctx.saved_tensors, ctx.needs_input_grad[2:]
        given, parameters = tensors[: ctx.num_given], tensors[ctx.num_given :]
        again = torch.is_grad_enabled()
        if again or not is_single(gradient):  # to be differentiated again, or several gradients at once
            # One of the rows may be made of another: each gets the gradient at its place.
            with torch.enable_grad():
                given = [t.view_as(t) for t in given]
                out = ctx.function(*given)
            asked = [t for t, want in zip([*given, *parameters], wanted, strict=True) if want]
            each = iter(torch.autograd.grad(out, asked, gradient, create_graph=again, allow_unused=True))
            return (None, None, *(next(each) if want else None for want in wanted))
        found = [empty(t.shape, t.dtype) if want else None for t, want in zip(given, wanted, strict=False)]
        totals: list[Tensor | None] = [None] * len(parameters)
        for rows in rows_at_a_time(given[0].size(0), ROWS_AT_ONCE):
            block = [t[rows].detach().requires_grad_(want) for t, want in zip(given, wanted, strict=False)]
            with torch.enable_grad():
                out = ctx.function(*block)
            asked = [t for t, want in zip([*block, *parameters], wanted, strict=True) if want]
            each = iter(torch.autograd.grad(out, asked, gradient[rows], allow_unused=True))
            for whole in found:
                if whole is not None:
                    part = next(each)
                    whole[rows] = 0 if part is None else part
            for k, (total, want) in enumerate(zip(totals, wanted[ctx.num_given :], strict=True)):
                more = next(each) if want else None
                totals[k] = more if total is None else total if more is None else total + more
        return (None, None, *found, *totals)
