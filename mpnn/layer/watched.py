"""Messages that are weighed or read on their way: masks of explainers on the edges, hooks on messages.

Both are set on a layer as PyTorch Geometric sets them on its own: `explain`, `_edge_mask` and
`_apply_sigmoid` by `torch_geometric.explain`, hooks by `register_message_forward_hook`. A message that is a
pair `(score, value)` is weighed in its value: there PyTorch Geometric weighs α_ij value_ij.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mpnn.aggregate.aggregators import softmax
from mpnn.graph.graph import Graph
from mpnn.plan.composed import Composed, written
from mpnn.step.fields import Argument
from mpnn.step.parameters import Residency
from mpnn.step.step import Step

EXPLAIN, HOOKS = "explain", "_message_forward_hooks"
MASK = "explain.mask"  # the argument of a masked message; no parameter of a user's has a dot

Hook = Callable[[nn.Module, tuple[dict[str, Any]], Any], Any]


def register_message_forward_hook(layer: nn.Module, hook: Hook) -> RemovableHandle:
    """Call `hook(layer, (arguments,), message)` behind each message; what it returns is the message then.

    Args:
        layer: whose messages.
        hook: gets the arguments of `message` by name, one row per edge, and its result; of a result
            `(score, value)` the value, and its weights under the name `alpha`.
    """
    hooks = layer.__dict__.setdefault(HOOKS, OrderedDict())
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def is_watched(layer: nn.Module) -> bool:
    """Whether a layer has a mask or hooks: then what it has kept of calls before is another matter."""
    return layer.__dict__.get(EXPLAIN) is True or bool(layer.__dict__.get(HOOKS))


def watched(layer: nn.Module, step: Step) -> Step:
    """The step with the masks and hooks that its layer has now.

    A mask becomes part of the message, and so of its kernel. Hooks are any code of the caller's: they get all
    edges at once, in plain PyTorch.
    """
    own = layer.__dict__
    if own.get(EXPLAIN) is True:
        step = _masked(layer, step)
    return _hooked(layer, step, list(own[HOOKS].values())) if own.get(HOOKS) else step


def refuse_watched(layer: nn.Module) -> None:
    """Raise TypeError if a layer has a mask or hooks, which a sweep of a schedule would pass by."""
    if is_watched(layer):
        raise TypeError(
            f"{type(layer).__name__} has an explainer's mask, or hooks on messages, but runs by a schedule "
            "that updates nodes one after the other: only steps of all nodes at once have these."
        )


# Masks --------------------------------------------------------------------------------------------------


class Masked(Composed):
    """mask_ij · message(...)."""

    def __init__(self, message: Callable[..., Any], node_dim: int) -> None:
        super().__init__(message, {})
        self.node_dim = node_dim

    def rebound(self, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Masked:
        """The same mask on another function: `change` of the message."""
        return Masked(change(self.message), self.node_dim)

    def __call__(self, **arguments: Any) -> Any:
        """Call the message, and weigh it."""
        mask = arguments.pop(MASK)
        return _changed(self.message(**arguments), lambda value: _weighed(value, mask, self.node_dim))


def _masked(layer: nn.Module, step: Step) -> Step:
    if "explain_message" in layer.__dict__:
        raise TypeError(
            f"{type(layer).__name__} was given an explain_message(), as by GraphMaskExplainer, but here an "
            "explainer may only set a mask: take GNNExplainer, PGExplainer or CaptumExplainer."
        )
    mask = _mask_of_edges(layer, step.fields.original)
    message = step.message
    if getattr(message, "__self__", None) is layer and not written(message):
        arguments = step.arguments | {MASK: Argument(Residency.GIVEN, mask)}
        return step._replace(message=Masked(message, step.fields.node_dim), arguments=arguments)
    return _after(step, lambda value, _: _weighed(value, mask, step.fields.node_dim))


def _mask_of_edges(layer: nn.Module, graph: Graph) -> Tensor:
    """The mask `[num_edges]` of the edges that messages take; loops that a layer has added have 1."""
    mask = getattr(layer, "_edge_mask", None)
    if not isinstance(mask, Tensor):
        raise ValueError(f"{type(layer).__name__} has explain=True, but no mask `_edge_mask` [num_edges].")
    if getattr(layer, "_apply_sigmoid", True):
        mask = mask.sigmoid()
    origin = graph.origin_of(mask.numel())
    if origin is not None:
        return torch.cat([mask, mask.new_ones(min(graph.size))])[origin]
    if graph.num_edges != mask.numel():
        raise ValueError(
            f"the mask is of {mask.numel()} edges, but {type(layer).__name__} sends messages along "
            f"{graph.num_edges}: set explain=False on layers that take other edges than the model."
        )
    return mask


def _weighed(value: Tensor, mask: Tensor, node_dim: int) -> Tensor:
    for _ in range(value.dim() - 1 - node_dim % value.dim()):
        mask = mask.unsqueeze(-1)
    return value * mask.to(value.dtype)


# Hooks --------------------------------------------------------------------------------------------------


def _hooked(layer: nn.Module, step: Step, hooks: list[Hook]) -> Step:
    def call(value: Tensor, arguments: dict[str, Any]) -> Tensor:
        for hook in hooks:
            returned = hook(layer, (arguments,), value)
            value = value if returned is None else returned
        return value

    return _after(step, call)


def _after(step: Step, change: Callable[[Tensor, dict[str, Any]], Tensor]) -> Step:
    """The step with a change of the value of its messages, all edges at once and no kernel."""
    message, graph = step.message, step.fields.graph

    def changed(**arguments: Any) -> Any:
        made = message(**arguments)
        if isinstance(made, tuple) and made:
            arguments["alpha"] = softmax(made[0], graph.dst, graph.num_dst)
        arguments.pop(MASK, None)
        return _changed(made, lambda value: change(value, arguments))

    return step._replace(message=changed, aggregator=None)


def _changed(message: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(message, Tensor):
        return change(message)
    if isinstance(message, tuple) and len(message) == 2:
        score, value = message
        return score, change(value)
    raise TypeError(
        f"a message is a {type(message).__name__}, but only a tensor or a pair (score, value) can be weighed "
        "or hooked."
    )
