"""From a message function to a graph of ATen operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from mpnn.plan.dropout import CountedDropout
from mpnn.plan.homes import ROWS, NotFusableError, op_name

aten = torch.ops.aten
TRACING = RLock()

# What a message may be written with, in terms of the few operations that every kernel printer knows.
_DECOMPOSED = [
    aten.leaky_relu, aten.leaky_relu_backward, aten.elu, aten.elu_backward, aten.silu, aten.silu_backward,
    aten.gelu, aten.gelu_backward, aten.softplus, aten.softplus_backward, aten.hardtanh,
    aten.hardtanh_backward,
    aten.threshold_backward, aten.sigmoid_backward, aten.tanh_backward, aten.mish, aten.mish_backward,
    aten.log_sigmoid_forward, aten.log_sigmoid_backward, aten.hardswish, aten.hardswish_backward,
    aten.hardsigmoid, aten.hardsigmoid_backward, aten.native_layer_norm, aten.native_layer_norm_backward,
    aten._softmax, aten._softmax_backward_data, aten._log_softmax, aten._log_softmax_backward_data,
    aten.logsumexp, aten.norm, aten.var, aten.std, aten.addcmul, aten.addcdiv,
    aten.new_zeros, aten.new_ones, aten.new_full, aten.square, aten.stack, aten.narrow,
    aten.unbind, aten.softplus, aten.xlogy, aten.lerp, aten.fill, aten.masked_fill, aten.dot, aten.mv,
]  # fmt: skip


def _decompositions() -> dict[Any, Callable[..., Any]]:
    table: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    table.update(get_decompositions(_DECOMPOSED))
    # A part of a larger tensor says more than zeros that are written into; the gradient of a norm at 0 is 0,
    # that of the root of a sum not a number; an alias lets the gradient pass that `detach` stops.
    for kept in (aten.slice_backward, aten.select_backward, aten.linalg_vector_norm, aten.detach):
        table.pop(kept.default, None)
    return table


def fake_inputs(mode: FakeTensorMode, examples: Sequence[Tensor], has_rows: Sequence[bool]) -> list[Tensor]:
    """Stand-ins for the inputs of a trace: `ROWS` rows where the input has a row per edge."""
    with mode:
        return [
            torch.empty((ROWS, *t.shape[1:]) if rows else t.shape, dtype=t.dtype, device=t.device)
            for t, rows in zip(examples, has_rows, strict=True)
        ]


class _Blind(TorchFunctionMode):
    """What a tensor holds must not become part of a trace, which outlives it; nor where gradients stop."""

    def __init__(self, message: bool) -> None:
        super().__init__()
        self._message = message

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _LOOKS:
            raise NotFusableError(f"the message looks at the value of a tensor ({func.__name__})")
        if func is torch._C._set_grad_enabled and self._message:
            raise NotFusableError("the message switches differentiation on or off by itself")
        return func(*args, **(kwargs or {}))


_LOOKS = frozenset(
    [Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__bool__, Tensor.__float__, Tensor.__int__]
)


def trace(function: Callable[..., Any], inputs: Sequence[Tensor], *, message: bool = True) -> fx.GraphModule:
    """The ATen operations of `function`, which takes and returns flat sequences of tensors.

    With `message`, its derivative is to be that of the trace.

    Raises:
        NotFusableError: the function cannot be traced: it looks at values, or calls what PyTorch cannot see.
    """
    # PyTorch's tracer is not made for several threads.
    with TRACING, _without_its_log():
        return _trace(function, inputs, message)


@contextmanager
def _without_its_log() -> Iterator[None]:
    """PyTorch logs an error with its stack before it raises it; here it is no error but an answer."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def _trace(function: Callable[..., Any], inputs: Sequence[Tensor], message: bool) -> fx.GraphModule:
    try:
        if message:
            _refuse_own_derivatives(function, inputs)
        with _Blind(message), CountedDropout():
            module = make_fx(function, decomposition_table=_decompositions())(*inputs)
            if any(_writes(node) for node in module.graph.nodes):
                pure = torch.func.functionalize(module, remove="mutations")
                module = make_fx(pure, decomposition_table=_decompositions())(*inputs)
                _skip_copies(module.graph)
    except NotFusableError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()
        raise NotFusableError(f"the message cannot be traced ({first[0] if first else error!r})") from error
    module.graph.eliminate_dead_code()
    for node in module.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "namespace", "") == "prims":
            _from_prims(node)
    return module


def _from_prims(node: fx.Node) -> None:
    """Write an operation of PyTorch's inner language, which has no derivatives, as its ATen equal."""
    name = op_name(node)
    if name == "convert_element_type":
        source, dtype = node.args
        node.target, node.args, node.kwargs = aten._to_copy.default, (source,), {"dtype": dtype}
        return
    overloads = getattr(aten, name, None)
    target = getattr(overloads, "Tensor", None) or getattr(overloads, "default", None)
    if target is None:
        raise NotFusableError(f"{name} has no kernel")
    node.target = target


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _skip_copies(graph: fx.Graph) -> None:
    """Take the source of `copy`, what is left of writing over a whole tensor, and has no derivative."""
    for node in graph.find_nodes(op="call_function", target=aten.copy.default):
        source = node.args[1]
        kept, made = source.meta["val"], node.meta["val"]
        if kept.shape == made.shape and kept.dtype == made.dtype:
            node.replace_all_uses_with(source)


def _refuse_own_derivatives(function: Callable[..., Any], inputs: Sequence[Tensor]) -> None:
    """Raise where the message holds a `torch.autograd.Function`: a trace shows only its forward half."""
    with torch.enable_grad(), CountedDropout():
        outputs = function(*[x.detach().requires_grad_(x.is_floating_point()) for x in inputs])
    stack = [x.grad_fn for x in outputs if x.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            raise NotFusableError(f"the message has a derivative of its own ({type(node).__name__})")
        found = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= found
        stack.extend(found)
