"""From a message function to a graph of ATen operations."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx

from mpnn.borrowed import FakeTensorMode, TorchFunctionMode, make_fx, switch_of_gradients, without_modes
from mpnn.plan.decompositions import FRESH, but_for_composites, decompositions
from mpnn.plan.dropout import CountedDropout
from mpnn.plan.homes import op_name, shape_of, sizes_of
from mpnn.plan.rows import NotFusableError, RowsMode, replaced, write_rows
from mpnn.plan.spelled import Spelled
from mpnn.plan.writes import NoRealWrites, check_writes, leave_inputs, writes

aten = torch.ops.aten
TRACING = RLock()


class _Blind(TorchFunctionMode):
    """Refuses to look at what a tensor holds, which a trace outlives, and to stop gradients."""

    def __init__(self, message: bool) -> None:
        super().__init__()
        self._message = message

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__getitem__ and (columns := _listed(*args)) is not None:
            return columns
        if func in _LOOKS:
            raise NotFusableError(f"the message looks at the value of a tensor ({func.__name__})")
        if func is switch_of_gradients and self._message:
            raise NotFusableError("the message switches differentiation on or off by itself")
        if func in _CUTS and self._message:
            raise NotFusableError(f"the message cuts a tensor off from its gradient ({func.__name__})")
        if func in _ASKS and self._message and not _asked_by_library(sys._getframe(1)):
            raise NotFusableError(f"the message asks for the gradient of a tensor ({_ASKS[func]})")
        return func(*args, **(kwargs or {}))


def _asked_by_library(frame: FrameType | None) -> bool:
    """Whether code of PyTorch or of ours is behind a call, which asks so in every trace."""
    while frame is not None and frame.f_code.co_name == "__torch_function__":  # of modes within this one
        frame = frame.f_back
    name = "" if frame is None else frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("torch", "mpnn")


def _listed(x: Tensor, index: Any) -> Tensor | None:
    """`x[:, [0, 2]]`, features by number, as parts of x side by side; None for any other index."""
    if not isinstance(index, tuple) or not isinstance(index[-1], list) or index[-1] == []:
        return None
    before, numbers = index[:-1], index[-1]
    whole = before == (Ellipsis,) or (len(before) > 0 and all(i == slice(None) for i in before))
    if not whole or not all(type(k) is int for k in numbers):
        return None
    dim = x.dim() - 1 if before == (Ellipsis,) else len(before)
    return torch.cat([x.select(dim, k).unsqueeze(dim) for k in numbers], dim)


_LOOKS = frozenset(
    [Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__bool__, Tensor.__float__, Tensor.__int__]
)

_CUTS = frozenset([Tensor.detach_, Tensor.data.__set__])  # type: ignore[attr-defined]

# A trace is made without gradients: what is asked has another answer there, and no hook is called.
_ASKS: dict[Any, str] = {
    **{getattr(Tensor, name).__get__: name for name in ("requires_grad", "grad_fn", "is_leaf", "grad")},
    **{getattr(Tensor, name): name for name in ("register_hook", "retain_grad", "requires_grad_")},
    Tensor.requires_grad.__set__: "requires_grad",  # type: ignore[attr-defined]
}


def trace(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    mode: RowsMode,
    *,
    message: bool = True,
    composites: bool = False,
    copies: Sequence[bool] = (),
) -> fx.GraphModule:
    """The ATen operations of `function`, which takes and returns flat sequences of tensors.

    Args:
        function: what is traced.
        inputs: stand-ins of `mode`.
        mode: the mode of the stand-ins, whose number of rows is a symbol.
        message: whether the derivative of the function is to be that of the trace.
        composites: whether functions whose derivative is not that of their decomposition stay whole.
        copies: for each input whether it is a copy made for the function, which may write into it.

    Raises:
        NotFusableError: the function reads values or the number of rows, or calls code that PyTorch cannot
            trace.
    """
    # PyTorch's tracer is not made for several threads.
    with TRACING, _without_its_log(), torch.no_grad(), mode:
        table = but_for_composites() if composites else decompositions()
        may_write = [*copies, *[False] * (len(inputs) - len(copies))]
        module = _trace(function, inputs, message, table, may_write)
    write_rows(module.graph, mode)
    mode.check()
    _drop_whole_slices(module.graph)
    return module


def _drop_whole_slices(graph: fx.Graph) -> None:
    """Replace `x[:]` by x; PyTorch traces such a slice if it does not know the length of x."""
    for node in graph.find_nodes(op="call_function", target=aten.slice.Tensor):
        source, _, start, _, *step = (*node.args, 0, 0, None)[: max(4, len(node.args))]
        if start in (None, 0) and step in ([], [1]) and shape_of(node) == shape_of(source):
            node.replace_all_uses_with(source)
            graph.erase_node(node)


@contextmanager
def _without_its_log() -> Iterator[None]:
    """PyTorch logs an exception with its stack before raising it; here the exception is an answer."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def _trace(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    message: bool,
    table: dict[Any, Callable[..., Any]],
    copies: Sequence[bool],
) -> fx.GraphModule:
    try:
        with NoRealWrites():
            if message:
                _refuse_own_derivatives(function, inputs, copies)
            with _Blind(message):
                module = _made(function, inputs, table)
                if any(map(writes, module.graph.nodes)):
                    module = _functional(function, inputs, message, table, copies)
    except NotFusableError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()
        raise NotFusableError(f"the message cannot be traced ({first[0] if first else error!r})") from error
    _once(module.graph)
    _constants(module.graph)
    module.graph.eliminate_dead_code()
    for node in module.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "namespace", "") == "prims":
            _from_prims(node)
    return module


def _made(
    function: Callable[..., Any], inputs: Sequence[Tensor], table: dict[Any, Callable[..., Any]]
) -> fx.GraphModule:
    with Spelled(), CountedDropout():
        made: fx.GraphModule = make_fx(function, decomposition_table=table)(*inputs)
    return made


def _functional(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    message: bool,
    table: dict[Any, Callable[..., Any]],
    copies: Sequence[bool],
) -> fx.GraphModule:
    """The trace of a function that writes into tensors, with operations that write nowhere."""
    # First without decompositions that may return a view of an argument: a write into the view would be lost,
    # or would change the argument.
    plain = _made(function, inputs, FRESH)
    if message:
        check_writes(plain.graph, copies)
    module = _made(torch.func.functionalize(plain, remove="mutations"), inputs, table)
    leave_inputs(module.graph)
    return module


_LIKE = {"zeros_like": 0.0, "ones_like": 1.0, "full_like": None}


def _once(graph: fx.Graph) -> None:
    """Merge operations that are the same, with the same arguments."""
    known: dict[Hashable, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "call_function" or torch.Tag.nondeterministic_seeded in getattr(
            node.target, "tags", ()
        ):
            continue
        key = (node.target, _frozen(node.args), _frozen(node.kwargs))
        first = known.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)


def _frozen(arguments: Any) -> Hashable:
    """Arguments of an operation as a key in which 1, 1.0 and True differ."""
    if isinstance(arguments, fx.Node):
        return arguments
    if isinstance(arguments, tuple | list):
        return tuple(map(_frozen, arguments))
    if isinstance(arguments, dict):
        return tuple((name, _frozen(value)) for name, value in arguments.items())
    return (type(arguments), repr(arguments))


def _constants(graph: fx.Graph) -> None:
    """Write `zeros_like(x)` and its kind as `full` of a shape, which does not depend on x.

    Each reader gets a copy, so that the copy can have the home of its reader.
    """
    for node in graph.nodes:
        if node.op != "call_function" or op_name(node) not in _LIKE:
            continue
        made, number = node.meta["val"], _LIKE[op_name(node)]
        node.target = aten.full.default
        node.args = (list(sizes_of(made)), node.args[1] if number is None else number)
        node.kwargs = {"dtype": made.dtype, "device": made.device}
    for node in graph.find_nodes(op="call_function", target=aten.full.default):
        for user in list(node.users)[1:]:
            with graph.inserting_after(node):
                copy = graph.call_function(node.target, node.args, node.kwargs)
            copy.meta.update(node.meta)
            user.replace_input_with(node, copy)


def _from_prims(node: fx.Node) -> None:
    """Write an operation of PyTorch's prims, which have no derivatives, as the equal one of ATen."""
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


_FEW = 12  # rows of the tensors with which a function is called to see its derivative


def _refuse_own_derivatives(
    function: Callable[..., Any], inputs: Sequence[Tensor], copies: Sequence[bool]
) -> None:
    """Refuse a message with a `torch.autograd.Function`: a trace has only its forward pass."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.enable_grad(), without_modes(), mode, NoRealWrites(), CountedDropout():
        given = [torch.empty(replaced(sizes_of(x), _FEW), dtype=x.dtype, device=x.device) for x in inputs]
        leaves = [x.requires_grad_(x.is_floating_point()) for x in given]
        outputs = function(*[x.clone() if copy else x for x, copy in zip(leaves, copies, strict=True)])
    stack = [x.grad_fn for x in outputs if x.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        own = isinstance(node, torch.autograd.function.BackwardCFunction)
        if own and "mpnn_row_softmax" not in type(node).__name__:  # whose derivative is that of the reduction
            raise NotFusableError(f"the message has a derivative of its own ({type(node).__name__})")
        found = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= found
        stack.extend(found)
