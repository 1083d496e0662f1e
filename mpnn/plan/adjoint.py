"""The gradient of message passing is message passing.

With g_i the gradient at the aggregate a_i, every primitive reduction sends a gradient back to each of its
messages that depends on that edge and on a few numbers per node only:

    sum       g_i
    mean      g_i / (how many messages there are)
    max, min  g_i / (how many messages tie) where m = a_i, else 0
    softmax   α g_i to the value, α (g_i · value - g_i · a_i) to the score,
              with α = exp(score - top_i) / total_i

The top and the total of a softmax are kept apart: their logarithm in one, top + log(total), has no digits
left for the total where scores are large, and three equal scores of 1e8 would weigh 1 each.

From there PyTorch's own derivative of the message function leads to its inputs. All of it is traced as one
per-edge program, whose results are summed over the edges that leave a node (for what the message read at its
source), over those that enter it (at its destination), over all edges (for shared parameters), or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# What each reduction keeps per node for the way back, besides the aggregate itself.
SAVED = {"sum": 0, "mean": 0, "max": 1, "min": 1, "softmax": 2}


# How many tensors per node the way back reads: the gradient, and what it needs beside it.
READ = {"sum": 1, "mean": 2, "max": 2, "min": 2, "softmax": 4}


def message_gradients(kind: str, value: Tensor, score: Tensor | None, node: Sequence[Tensor]) -> list[Tensor]:
    """The gradient at a value and its score, from `node`: gradient, aggregate, saved numbers, lifted.

    For a mean these are the gradient and the reciprocal of how many messages there are; for a maximum
    what each of the messages that tie gets of the gradient, and the aggregate. A softmax has saved the
    highest score and the reciprocal of Σ exp(score - highest), which is 0 where no edge weighs anything.
    """
    gradient = node[0]
    if kind == "sum":
        return [gradient]
    if kind == "mean":
        return [gradient * node[1].reshape(-1, *[1] * (gradient.dim() - 1))]
    aggregate = node[1]
    if kind in ("max", "min"):
        # A product: a maximum that is NaN has NaN ties, and all of its messages get that.
        return [gradient * (value == aggregate)]
    assert score is not None
    top, share = node[2:]
    weight = torch.exp(score - top) * share
    extra = tuple(range(score.dim(), value.dim()))
    weight_wide = weight.reshape(weight.shape + (1,) * len(extra))
    slope = gradient * value - gradient * aggregate
    if extra:
        # Two sums, so that the second, which is the same for all edges of a node, is done once per node; in
        # the type that kernels compute in, for their difference is small.
        wide = None if top.dtype == gradient.dtype else top.dtype
        slope = (gradient * value).sum(extra, dtype=wide) - (gradient * aggregate).sum(extra, dtype=wide)
    # Where one message has all the weight, its value is the aggregate: the difference is 0, and nothing but
    # rounding is left of it, which large features would blow up; NaN stays NaN.
    slope = torch.where(weight < 1, slope, slope * 0.0)
    return [weight_wide * gradient, weight * slope]


def adjoint(
    core: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    kinds: Sequence[str],
    wanted: Sequence[bool],
) -> Callable[..., list[Tensor | None]]:
    """The function from (core inputs, per-node numbers lifted to the edges) to the gradients of the inputs.

    Args:
        core: per-edge inputs to the reduced values: for a softmax its value, then its score.
        kinds: the reductions.
        wanted: which inputs a gradient is asked for.
    """

    def gradients(*tensors: Tensor) -> list[Tensor | None]:
        given = list(tensors)
        inputs = [
            given.pop(0).detach().requires_grad_(want) if want else given.pop(0).detach() for want in wanted
        ]
        with torch.enable_grad():
            values = list(core(inputs))
        outputs, cotangents = [], []
        with torch.no_grad():
            for kind in kinds:
                value = values.pop(0)
                score = values.pop(0) if kind == "softmax" else None
                node = [given.pop(0) for _ in range(READ[kind])]
                found = message_gradients(kind, value, score, node)
                for output, cotangent in zip([value, score], found, strict=False):
                    if output is not None and output.requires_grad:
                        outputs.append(output)
                        cotangents.append(cotangent.expand_as(output))
        asked = [t for t, want in zip(inputs, wanted, strict=True) if want]
        if not outputs:
            return [None] * len(asked)
        return list(torch.autograd.grad(outputs, asked, cotangents, allow_unused=True))

    return gradients
