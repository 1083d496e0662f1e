"""A softmax over the edges of a node, called inside a message, as the reduction that it is part of.

Layers written for PyTorch Geometric weigh their messages themselves: `softmax(score, index) * value`, summed.
As it is written, that needs all edges at once. In a trace the call is one operation. If the message is a
product with it, and is summed, the sum becomes the softmax-weighted sum that kernels have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from mpnn.plan.composed import Composed, with_attributes
from mpnn.plan.functions import functions_of, global_names
from mpnn.plan.homes import args_of, emit, op_name, shape_of
from mpnn.plan.rows import ROWS, NotFusableError, Shape

aten = torch.ops.aten

# The functions that compute exp(score_e) / Σ exp(score_e') from (score, index, ...).
SOFTMAXES = (("torch_geometric.utils._softmax", "softmax"), ("mpnn.aggregate.reduce", "softmax"))
INDICES = ("index", "edge_index_i")  # the names by which a message asks for the destination of every edge


@torch.library.custom_op("mpnn::row_softmax", mutates_args=())
def row_softmax(score: Tensor) -> Tensor:
    """Stands for a softmax over the edges that enter a node, while a message is traced."""
    raise NotImplementedError("mpnn::row_softmax only marks a place in a trace.")


@row_softmax.register_fake
def _(score: Tensor) -> Tensor:
    return torch.empty_like(score)


row_softmax.register_autograd(lambda context, gradient: gradient)


class NumRows:
    """Stands for the number of nodes, which a trace must not know."""


def calls_softmax(function: Callable[..., Any]) -> bool:
    """Whether the code of a message, or of a method that it names, names a softmax over edges."""
    parts = function.parts if isinstance(function, Composed) else (function,)
    return any(_softmaxes(f) for part in parts for f in functions_of(part))


_known: dict[int, tuple[Any, list[str]]] = {}


def _softmaxes(plain: Any) -> list[str]:
    """The global names under which a function knows a softmax over edges."""
    code, namespace = plain.__code__, plain.__globals__
    known = _known.get(id(code))
    if known is None or known[0] is not code:
        if len(_known) > 4096:
            _known.clear()
        known = _known[id(code)] = (code, [n for n in global_names(code) if _is_softmax(namespace.get(n))])
    return known[1]


def _is_softmax(value: Any) -> bool:
    return (getattr(value, "__module__", ""), getattr(value, "__name__", "")) in SOFTMAXES


def traceable(function: Callable[..., Any], arguments: Sequence[tuple[str, Tensor]]) -> Callable[..., Any]:
    """The same function, in which a softmax over the edges of a node is one operation.

    The function is bound to a copy of its layer, and writes into that.
    """
    index = [tensor for name, tensor in arguments if name.rpartition(".")[2] in INDICES]

    def softmax(
        src: Tensor, index_: Any = None, ptr: Any = None, num_nodes: Any = None, dim: int = 0, **other: Any
    ) -> Tensor:
        entries = other.pop("index", index_)
        if other or ptr is not None or dim != 0 or not any(entries is i for i in index):
            raise NotFusableError("the message calls a softmax over other rows than its own")
        marked: Tensor = row_softmax(src)
        return marked

    if isinstance(function, Composed):
        layer = _stand_in(function.__self__, function.parts, softmax)
        return function.rebound(lambda f: _rebuilt(f, layer, softmax))
    owner = getattr(function, "__self__", None)
    if not calls_softmax(function):
        return function
    if isinstance(owner, nn.Module):
        owner = _stand_in(owner, [function], softmax)
    rebuilt: Callable[..., Any] = _rebuilt(function, owner, softmax)
    return rebuilt


def _stand_in(owner: nn.Module, functions: Iterable[Callable[..., Any]], softmax: Any) -> nn.Module:
    copy = with_attributes(owner, {})
    for function in functions:
        for plain in functions_of(function):
            name: str = plain.__name__
            if getattr(type(owner), name, None) is plain and _softmaxes(plain):
                copy.__dict__[name] = _rebuilt(plain, copy, softmax)
    return copy


def _rebuilt(function: Any, owner: Any, softmax: Any) -> Any:
    plain = getattr(function, "__func__", function)
    names = _softmaxes(plain)
    if names:
        namespace = {**plain.__globals__, **dict.fromkeys(names, softmax)}
        made = FunctionType(plain.__code__, namespace, plain.__name__, plain.__defaults__, plain.__closure__)
        made.__kwdefaults__ = plain.__kwdefaults__
        plain = made
    return plain if owner is None else MethodType(plain, owner)


# The sum of a product with a softmax --------------------------------------------------------------------


class Weighted(NamedTuple):
    """What a softmax-weighted sum is made of."""

    value: fx.Node
    score: fx.Node


def weighted(graph: fx.Graph, message: fx.Node) -> Weighted | None:
    """A message softmax(score) * value as (value, score); None where there is no softmax in it.

    A view around the product is left out: `value` has the shape of the product.

    Raises:
        NotFusableError: it depends on a softmax in another way.
    """
    marks = [n for n in graph.nodes if op_name(n) == "row_softmax"]
    if not marks:
        return None
    depend: set[fx.Node] = set()
    for node in graph.nodes:
        if op_name(node) == "kept":
            _free(graph, node, depend)
        elif node in marks or any(n in depend for n in node.all_input_nodes):
            depend.add(node)
    if message not in depend:
        return None
    product = message
    while op_name(product) in _SHAPES:
        product = product.all_input_nodes[0]
    strip = _Strip(graph, depend)
    value, weight = strip(product)
    assert strip.mark is not None
    score = strip.mark.all_input_nodes[0]
    if value is None:
        raise NotFusableError("the message is a softmax, and nothing that it weighs")
    with graph.inserting_after(max(value, score, key=list(graph.nodes).index)):
        while len(weight) > 1 and weight[-1] == 1:
            weight = weight[:-1]
        if weight != shape_of(product)[: len(weight)]:
            raise NotFusableError("a softmax is repeated along features that are not the last")
        if weight != shape_of(score):
            score = emit(graph, aten.view.default, score, list(weight))
    return Weighted(value, score)


_SHAPES = frozenset(["view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "clone", "alias"])
Weight = Shape


class _Strip:
    """Take the softmax out of a product."""

    def __init__(self, graph: fx.Graph, depend: set[fx.Node]) -> None:
        self.graph, self.depend = graph, depend
        self.mark: fx.Node | None = None

    def __call__(self, node: fx.Node) -> tuple[fx.Node | None, Weight]:
        """A value without its softmax, None for 1, and the shape that the softmax has in it."""
        name, inputs = op_name(node), node.all_input_nodes
        if name == "row_softmax":
            if self.mark not in (None, node):
                raise NotFusableError("a product of several softmaxes has no kernel")
            self.mark = node
            return None, shape_of(node)
        if name in _SHAPES:
            left, weight = self(inputs[0])
            if weight != shape_of(inputs[0]):
                raise NotFusableError("a softmax-weighted value is reshaped before it is used")
            if left is None:
                return None, shape_of(node)
            with self.graph.inserting_before(node):
                return emit(self.graph, aten.view.default, left, list(shape_of(node))), shape_of(node)
        if name == "mul" and sum(a in self.depend for a in args_of(node) if isinstance(a, fx.Node)) == 1:
            first, second = args_of(node)
            inner, other = (first, second) if first in self.depend else (second, first)
            left, weight = self(inner)
            weight = (*[1] * (len(shape_of(node)) - len(weight)), *weight)
            if weight[0] != ROWS:
                raise NotFusableError("a softmax is multiplied with a value of more dimensions")
            with self.graph.inserting_before(node):
                return self._times(node, left, other), weight
        raise NotFusableError(f"{name} of a softmax over edges is not linear, or not known to be")

    def _times(self, node: fx.Node, left: fx.Node | None, other: Any) -> fx.Node:
        value = other if left is None else emit(self.graph, aten.mul.Tensor, left, other)
        if not isinstance(value, fx.Node):
            like = node.meta["val"]
            return emit(
                self.graph,
                aten.full.default,
                list(shape_of(node)),
                value,
                dtype=like.dtype,
                device=like.device,
            )
        if shape_of(value) == shape_of(node):
            return value
        return emit(self.graph, aten.expand.default, value, list(shape_of(node)))


def _free(graph: fx.Graph, kept: fx.Node, depend: set[fx.Node]) -> None:
    """Make a dropout's mask depend on ones in the place of a softmax, of which it needs the shape alone."""
    like, *_ = kept.all_input_nodes
    if like in depend:
        made = like.meta["val"]
        with graph.inserting_before(kept):
            ones = emit(
                graph, aten.full.default, list(shape_of(like)), 1.0, dtype=made.dtype, device=made.device
            )
        kept.replace_input_with(like, ones)
