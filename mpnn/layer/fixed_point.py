"""Gradients at a fixed point, by the implicit function: recurrent backpropagation (Almeida; Pineda, 1987).

At x = F(x, θ) a change of θ moves x by dx = (1 - ∂F/∂x)⁻¹ ∂F/∂θ dθ. So from the gradient g at x one solves
λ = g + λ ∂F/∂x, and the gradient at θ is λ ∂F/∂θ. λ ∂F/∂x is the backward pass of one sweep: a sweep of
messages on the reversed graph, in the reversed order. No other sweep is kept than the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpnn.layer.sweep import States

NEAR = 64  # rounding units: λ has settled where nothing is asked, or more than its numbers can say


def at_fixed_point(
    sweep: Callable[[States], States],
    given: States,
    settled: States,
    clamped: Tensor | None,
    tolerance: float,
    most_sweeps: int,
    problem: str,
) -> States:
    """The states of a fixed point, with gradients to all that the sweep reads.

    Args:
        sweep: F, from the states before to those after.
        given: the states before the first sweep; those of clamped nodes get gradients.
        settled: the fixed point, `[num_nodes, ...]` each.
        clamped: the nodes that keep their state, a mask `[num_nodes]` or positions.
        tolerance: λ has settled where no entry changes by more than this share of the largest.
        most_sweeps: how many backward sweeps are made at the most.
        problem: why there is no fixed point, or ""; a gradient is then refused with this sentence.

    Returns:
        The fixed point; as it is, if nothing needs gradients.
    """

    def once_more(states: States) -> States:
        if clamped is None:
            return sweep(states)
        return sweep(tuple(_with_rows(x, clamped, first) for x, first in zip(states, given, strict=True)))

    if not any(state.requires_grad for state in once_more(settled)):
        return settled
    leaves = tuple(_leaf(state) for state in settled)
    after = once_more(leaves)

    def solve(gradients: States) -> States:
        if problem:
            raise RuntimeError(problem)
        return _adjoint(leaves, after, gradients, tolerance, most_sweeps)

    out: States = _Adjoint.apply(solve, settled, *after)  # type: ignore[no-untyped-call]
    return out


class _Adjoint(torch.autograd.Function):
    """The fixed point, whose gradient g becomes the gradient λ of the states after one more sweep."""

    @staticmethod
    def forward(ctx: Any, solve: Callable[[States], States], settled: States, *after: Tensor) -> States:
        ctx.solve = solve
        out = tuple(state.view_as(state) for state in settled)
        ctx.mark_non_differentiable(*(o for o, one in zip(out, after, strict=True) if not one.requires_grad))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.solve(gradients))


def _leaf(state: Tensor) -> Tensor:
    leaf = state.detach()
    return leaf.requires_grad_() if leaf.is_floating_point() or leaf.is_complex() else leaf


def _with_rows(state: Tensor, nodes: Tensor, given: Tensor) -> Tensor:
    held = torch.zeros(state.size(0), dtype=torch.bool, device=state.device)
    held[nodes] = True
    return torch.where(held.view(-1, *[1] * (state.dim() - 1)), given, state)


def _adjoint(leaves: States, after: States, gradients: States, tolerance: float, most_sweeps: int) -> States:
    """λ = g + λ ∂F/∂x, by the same iteration as x = F(x)."""
    read = [k for k, leaf in enumerate(leaves) if leaf.requires_grad]
    made = [k for k, state in enumerate(after) if state.requires_grad]
    at_rest = [gradients[k] for k in read]
    now, change = list(gradients), 0.0
    for _ in range(most_sweeps):
        back = torch.autograd.grad(
            [after[k] for k in made],
            [leaves[k] for k in read],
            [now[k] for k in made],
            retain_graph=True,
            allow_unused=True,
        )
        new = [g if b is None else g + b for g, b in zip(at_rest, back, strict=True)]
        largest = max((float(one.abs().max()) for one in new if one.numel()), default=0.0)
        changes = [float((one - now[k]).abs().max()) for k, one in zip(read, new, strict=True) if one.numel()]
        change = max(changes, default=0.0)
        for k, one in zip(read, new, strict=True):
            now[k] = one
        if not change < torch.inf:  # infinite or NaN
            raise RuntimeError(_diverged("grew beyond all numbers"))
        if change <= max(tolerance, NEAR * _rounding(new)) * largest:
            return tuple(now)
        change /= largest
    raise RuntimeError(
        _diverged(
            f"did not settle in {most_sweeps} sweeps, the last of which changed them by {change:.1e} of the "
            "largest"
        )
    )


def _diverged(what: str) -> str:
    return (
        f"the gradients at the fixed point {what}: the layer does not contract at this state, or needs more "
        "steps; gradient='sweeps' goes through the sweeps instead."
    )


def _rounding(values: list[Tensor]) -> float:
    return max(torch.finfo(value.dtype).eps for value in values)
