"""The gradient of message passing is message passing.

With g_i the gradient at the aggregate a_i, every primitive reduction sends a gradient back to each of its
messages that depends on that edge and on a few numbers per node only: its `gradients` says which, and its
`reads` of which numbers.

From there PyTorch's own derivative of the message function leads to its inputs. All of it is traced as one
per-edge program, whose results are summed over the edges that leave a node (for what the message read at its
source), over those that enter it (at its destination), over all edges (for shared parameters), or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mpnn.aggregate.reduction import Reduction, applied
from mpnn.plan.rows import NotFusableError


def adjoint(
    core: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    reductions: Sequence[Reduction],
    wanted: Sequence[bool],
) -> Callable[..., list[Tensor | None]]:
    """The function from (core inputs, per-node numbers lifted to the edges) to the gradients of the inputs.

    After these come the messages whose numbers the gradients compare.

    Args:
        core: per-edge inputs to the reduced values: for a softmax its value, then its score.
        reductions: what the values are reduced by.
        wanted: which inputs a gradient is asked for.

    Raises:
        NotFusableError: a reduction says nothing of its gradient.
    """
    for reduction in reductions:
        if not reduction.has_gradients:
            raise NotFusableError(f"the reduction {reduction.name!r} defines no gradients()")

    def gradients(*tensors: Tensor) -> list[Tensor | None]:
        given = list(tensors)
        inputs = [
            given.pop(0).detach().requires_grad_(want) if want else given.pop(0).detach() for want in wanted
        ]
        with torch.enable_grad():
            values = core(inputs)
        outputs, cotangents = [], []
        compared: list[Tensor | None] = []
        with torch.no_grad():
            for each in applied(reductions, values):
                node = [given.pop(0) for _ in each.reduction.reads]
                found = each.reduction.gradients(*node, *each.tensors)
                compared += [each.value] if each.reduction.compares else []
                for output, cotangent in zip(each.tensors, found, strict=True):
                    if output.requires_grad:
                        outputs.append(output)
                        cotangents.append(cotangent.expand_as(output))
        asked = [t for t, want in zip(inputs, wanted, strict=True) if want]
        if not outputs:
            return [*[None] * len(asked), *compared]
        return [*torch.autograd.grad(outputs, asked, cotangents, allow_unused=True), *compared]

    return gradients
