"""The energy of a softmax: its scores' log-sum-exp, whose slope is what the softmax aggregates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.layer.message_passing import MessagePassing, propagate
from mpnn.step.parameters import parameters_of

CLOSE = 1e-4  # relative difference of slopes that should be equal


def of_softmax(
    layer: MessagePassing,
    graph: Graph,
    name: str,
    state: Tensor,
    bias: Tensor | None,
    fields: Mapping[str, Any],
    check: bool,
) -> Tensor:
    """E_i = ½ x_i·x_i - (1/β) log Σ_j exp(s_ij) - b_i·x_i of each node.

    Raises:
        TypeError: the message reads the state of its source, or its values are not the slopes of its scores.
    """
    parameters = parameters_of(layer.message)
    read = [p.name for p in parameters if p.field == name]
    if read != [f"{name}_i"]:
        raise TypeError(_without(layer, f"reads {', '.join(read) or 'no state'}, and not {name}_i alone"))
    asked = {p.field for p in parameters}
    given: dict[str, Any] = {key: value for key, value in fields.items() if key in asked}

    def log_sum_exp(x: Tensor) -> Tensor:
        at_ends = (None, x) if graph.is_bipartite else x
        return propagate(graph, _scores(layer.message), "logsumexp", **{**given, name: at_ends})

    aggregator = layer.aggr_module
    assert aggregator is not None  # a softmax

    def received(x: Tensor) -> Tensor:
        at_ends = (None, x) if graph.is_bipartite else x
        return propagate(graph, layer.message, aggregator, **{**given, name: at_ends})

    total = log_sum_exp(state)
    is_alone = (graph.in_degree == 0).view(-1, *[1] * (total.dim() - 1))
    potential = total.masked_fill(is_alone, 0.0) / _beta(layer, state, log_sum_exp, received, check)
    own = 0.5 * state * state
    if bias is not None:
        own = own - state * bias.view(-1, *[1] * (state.dim() - bias.dim()), *bias.shape[1:])
    return (own.flatten(total.dim()).sum(-1) if own.dim() > total.dim() else own) - potential


def _beta(
    layer: MessagePassing,
    state: Tensor,
    log_sum_exp: Callable[[Tensor], Tensor],
    received: Callable[[Tensor], Tensor],
    check: bool,
) -> Tensor:
    """What the slope of the log-sum-exp is larger by than what the nodes receive, for each score.

    It is found at a drawn state, at which no two of them are equal by chance.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state)
    values = received(drawn)
    with torch.enable_grad():
        total = log_sum_exp(drawn.requires_grad_())
        (slope,) = torch.autograd.grad(total.sum(), drawn, create_graph=values.requires_grad)
    if values.shape != slope.shape:
        given, wanted = (list(one.shape[1:]) for one in (values, slope))
        raise TypeError(_without(layer, f"has values {given}, but its state is {wanted}"))
    rest = (0, *range(total.dim(), state.dim()))
    beta = (slope * values).sum(rest, keepdim=True) / (values * values).sum(rest, keepdim=True)
    if check and slope.numel():
        off, largest = (float(x.detach().abs().max()) for x in (slope - beta * values, slope))
        if not off <= CLOSE * largest:
            raise TypeError(_without(layer, "has values that are not the slopes of its scores, over one β"))
    return beta.reshape(1, *total.shape[1:])


def _scores(message: Callable[..., Any]) -> Callable[..., Any]:
    """The first of a message's two parts, for the same arguments; one that has no parts is its own score."""

    @wraps(message)
    def score(*args: Any, **kwargs: Any) -> Any:
        found = message(*args, **kwargs)
        return found[0] if isinstance(found, tuple) else found

    return score


def _without(layer: MessagePassing, why: str) -> str:
    return (
        f"the softmax of {type(layer).__name__} has no energy by itself: its message() {why}; its scores' "
        "slopes at the state of the destination must be its values, but for a number."
    )
