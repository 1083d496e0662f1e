"""Move work from the edges to the nodes.

A linear map of a sum, difference or concatenation of values with different homes is split into one map for
each; then everything that lives at one end of the edge only is cut out of the per-edge program and computed
once per node, before the kernel, in plain PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from mpnn.native.products import linear, matmul
from mpnn.native.reach import traced
from mpnn.native.row_blocks import rows_at_a_time
from mpnn.plan.homes import (
    Home,
    args_of,
    emit,
    has_rows,
    is_turned,
    lives_at,
    op_name,
    row_size,
    shape_of,
)
from mpnn.plan.operations import COPIES, TRANSPOSITIONS, VIEWS
from mpnn.plan.picked import picked, product_with_picked
from mpnn.plan.residency import find_places
from mpnn.plan.rows import ROWS, NotFusableError, mentions_rows, replaced

aten = torch.ops.aten


# Linear maps over values of several homes ---------------------------------------------------------------


def split_linear_maps(graph: fx.Graph, homes: dict[str, Home]) -> None:
    """Rewrite W(a ± b) as Wa ± Wb and W[a; b] as W₁a + W₂b where a and b have different homes.

    A value that several matrices multiply is then multiplied with their sum: W₁a + W₂(b - a) is
    (W₁ - W₂)a + W₂b. A map of a map on the edges becomes one map.
    """
    find_places(graph, homes)
    for node in list(graph.nodes):
        if node.op != "call_function" or op_name(node) not in ("mm", "addmm"):
            continue
        *bias, left, weight = args_of(node)
        if lives_at(left) is not Home.EDGE or lives_at(weight) is not Home.SHARED:
            continue
        with graph.inserting_before(node):
            terms = _terms(graph, left)
        at_nodes = any(lives_at(term.value) is not Home.EDGE for term in terms)
        if not (len(terms) > 1 and at_nodes) and not any(_is_map(term.value, weight) for term in terms):
            continue
        with graph.inserting_before(node):
            total = None
            # Node-level terms first, one end after the other: their sums, and the bias, are added per node.
            values = dict.fromkeys(term.value for term in terms)
            for value in sorted(values, key=lambda v: _ORDER[lives_at(v)]):
                part = _mapped(graph, value, _weight(graph, [t for t in terms if t.value is value], weight))
                if total is None:
                    total = emit(graph, aten.add.Tensor, part, *bias) if bias else part
                else:
                    total = emit(graph, aten.add.Tensor, total, part)
        assert total is not None
        node.replace_all_uses_with(total)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    find_places(graph, homes)


@dataclass(frozen=True)
class _Term:
    value: fx.Node
    sign: int
    columns: tuple[int, int] | None  # which part of a concatenation, as rows of the weight


def _terms(graph: fx.Graph, value: fx.Node, sign: int = 1) -> list[_Term]:
    """The summands, and the parts of concatenations, of which a value is made."""
    name = op_name(value) if value.op == "call_function" else ""
    args = args_of(value)
    if name in COPIES:
        inner, dtype = _terms(graph, args[0], sign), value.meta["val"].dtype
        if dtype == args[0].meta["val"].dtype:
            return inner
        return [replace(t, value=_same_type(graph, dtype, t.value)) for t in inner]
    if name in ("add", "sub") and not value.kwargs:
        both = all(isinstance(a, fx.Node) and shape_of(a) == shape_of(value) for a in args)
        if both and lives_at(value) is Home.EDGE:
            return _terms(graph, args[0], sign) + _terms(graph, args[1], sign if name == "add" else -sign)
    rank = len(shape_of(value))
    if name == "cat" and (args[1] if len(args) > 1 else 0) % rank == rank - 1:
        terms, start = [], 0
        for part in args[0]:
            width = shape_of(part)[-1]
            terms += [
                _Term(t.value, t.sign, (start, start + width) if t.columns is None else _nested(t, start))
                for t in _terms(graph, part, sign)
            ]
            start += width
        return terms
    if name in ("select", "slice", "view", "_unsafe_view", "unsqueeze") and _keeps_last(value, args):
        inner = _terms(graph, args[0], sign)
        if len(inner) > 1:
            return [replace(t, value=_same_view(graph, value, t.value)) for t in inner]
    return [_Term(value, sign, None)]


def _same_type(graph: fx.Graph, dtype: torch.dtype, part: fx.Node) -> fx.Node:
    """One summand or part, converted as the whole was."""
    return emit(graph, aten._to_copy.default, part, dtype=dtype)


def _keeps_last(view: fx.Node, args: Any) -> bool:
    """Whether a view leaves the last dimension, that of the channels, as it is."""
    name, rank = op_name(view), len(shape_of(args[0]))
    if name in ("view", "_unsafe_view"):
        return bool(shape_of(view)[-1] == shape_of(args[0])[-1])
    dim = args[1] if len(args) > 1 else 0
    return dim % (rank + 1) < rank if name == "unsqueeze" else dim % rank < rank - 1


def _same_view(graph: fx.Graph, view: fx.Node, part: fx.Node) -> fx.Node:
    """The view of one summand or part, which may have fewer channels than the whole."""
    args: Any = args_of(view)[1:]
    if op_name(view) in ("view", "_unsafe_view"):
        args = ([*shape_of(view)[:-1], shape_of(part)[-1]],)
    return emit(graph, view.target, part, *args)


def _nested(term: _Term, start: int) -> tuple[int, int]:
    assert term.columns is not None
    return term.columns[0] + start, term.columns[1] + start


_ORDER = {Home.DST: 0, Home.SRC: 1, Home.SHARED: 2, Home.EDGE: 3}


def _weight(graph: fx.Graph, terms: Sequence[_Term], weight: fx.Node) -> fx.Node:
    """The matrix that several terms of one value are multiplied with: the sum of theirs."""
    total = None
    for term in sorted(terms, key=lambda t: -t.sign):
        part = weight if term.columns is None else emit(graph, aten.slice.Tensor, weight, 0, *term.columns)
        if total is None:
            total = part if term.sign > 0 else emit(graph, aten.neg.default, part)
        else:
            total = emit(graph, aten.add.Tensor if term.sign > 0 else aten.sub.Tensor, total, part)
    assert total is not None
    return total


def _is_map(value: fx.Node, weight: fx.Node) -> bool:
    """Whether a value is a linear map W₁e per edge, and W₂(W₁e) = (W₂W₁)e saves work."""
    if value.op != "call_function" or op_name(value) not in ("mm", "addmm") or value.kwargs:
        return False
    *_, left, first = args_of(value)
    if lives_at(left) is not Home.EDGE or lives_at(first) is not Home.SHARED:
        return False
    (depth, middle), width = shape_of(first), shape_of(weight)[-1]
    return bool(depth * width < (depth + width) * middle)


def _mapped(graph: fx.Graph, value: fx.Node, weight: fx.Node) -> fx.Node:
    if not _is_map(value, weight):
        return emit(graph, aten.mm.default, value, weight)
    *bias, left, first = args_of(value)
    out = emit(graph, aten.mm.default, left, emit(graph, aten.mm.default, first, weight))
    for row in bias:
        mapped = emit(graph, aten.mm.default, emit(graph, aten.unsqueeze.default, row, 0), weight)
        out = emit(graph, aten.add.Tensor, out, mapped)
    return out


# What is left per edge ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hoisted:
    """A trace in two parts: `before` gives values per node, `core` is what must be done per edge."""

    before: Callable[[Sequence[Tensor], dict[Home, int]], list[Tensor]]
    inputs: list[fx.Node]  # the values that `before` returns, which are the inputs of the core
    core: list[fx.Node]  # operations, in order
    outputs: list[fx.Node]
    moved: list[fx.Node]  # operations done per node


def hoist(
    module: fx.GraphModule,
    outputs: Sequence[fx.Node],
    extra: Sequence[fx.Node] = (),
    *,
    scaling: bool = True,
    again: AbstractSet[fx.Node] = frozenset(),
    differentiated: bool = False,
) -> Hoisted:
    """Cut the operations that live at one end of the edges, or are shared, out of the per-edge program.

    `extra` are shared values that `before` must give besides what the core needs. Without `scaling`, the
    product of a node's row with one number stays per edge: that is cheaper than a tensor of such products.
    The operations in `again` stay per edge as well: another kernel computed them there, and the same bits
    must come out. If PyTorch differentiates `before`, operations with infinite slopes stay too: `_is_steep`.

    Raises:
        NotFusableError: a value is in `extra` and in `again`.
    """
    # A kernel does no more with a shared value than select or transpose, which changes no bit.
    again = {n for n in again if lives_at(n) is not Home.SHARED}
    if not again.isdisjoint(extra):
        raise NotFusableError("messages are told apart by a value that the gradient of a shared tensor reads")
    graph = module.graph
    operations = [n for n in graph.nodes if n.op == "call_function"]
    needed = ancestors([*outputs, *extra])
    operations = [n for n in operations if n in needed]
    # Views cost nothing in a kernel; they move to the nodes only when real work there needs them.
    work = [n for n in operations if lives_at(n) is not Home.EDGE and _is_work(n)]
    held = _after(operations, again)
    if differentiated:
        at_one_end = [n for n in operations if lives_at(n) in (Home.SRC, Home.DST)]
        held |= _after(at_one_end, set(filter(_is_steep, at_one_end)))
    work = [n for n in work if n not in held and (scaling or not _scales(n))]
    at_nodes = ancestors([*work, *extra])
    moved = [n for n in operations if n in at_nodes]
    core = [n for n in operations if n not in at_nodes or n in again]
    used = {arg for n in core for arg in n.all_input_nodes} | {*outputs, *extra}
    given = {n for n in graph.nodes if n.op in ("placeholder", "get_attr")}
    inputs = [n for n in graph.nodes if n in used and (n in given or n in at_nodes - again)]
    return Hoisted(evaluator(module, moved, inputs), inputs, core, list(outputs), moved)


# Functions with an infinite slope somewhere, or that overflow.
STEEP = frozenset([
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "pow", "sinh",
    "cosh", "tan", "asin", "acos", "acosh", "atanh", "atan2", "hypot", "xlogy", "logit", "special_xlog1py",
    "erfinv", "lgamma", "digamma", "mvlgamma", "polygamma", "fmod", "remainder",
])  # fmt: skip


def _after(operations: Sequence[fx.Node], first: AbstractSet[fx.Node]) -> set[fx.Node]:
    """These operations, and those that are computed from them."""
    found: set[fx.Node] = set()
    for node in operations:
        if node in first or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _is_steep(node: fx.Node) -> bool:
    """Whether an operation must not be done once per node where PyTorch differentiates it.

    At a node that no edge reads, its gradient is 0 · ∞ = NaN, and so are those of all weights before it. Per
    edge there is no such row.
    """
    name, args = op_name(node), args_of(node)
    if name == "pow":
        return not (isinstance(args[1], int | float) and args[1] in (0, 1, 2, 3))
    if name == "div":
        return isinstance(args[1], fx.Node) and has_rows(args[1])
    return name in STEEP


def _scales(node: fx.Node) -> bool:
    if op_name(node) != "mul" or lives_at(node) not in (Home.DST, Home.SRC):
        return False
    sizes = [row_size(n) for n in node.all_input_nodes if has_rows(n)]
    return len(sizes) == 2 and min(sizes) == 1 < max(sizes)


def _is_work(node: fx.Node) -> bool:
    if not node.all_input_nodes:
        return op_name(node) == "arange"  # all others without inputs are tensors of one number
    # In a kernel rows are dimension 0, so a transposition is done before it.
    turned = any(map(is_turned, node.all_input_nodes))
    return _turns_weight(node) or turned or op_name(node) not in VIEWS


def _turns_weight(node: fx.Node) -> bool:
    """Whether a node is a transposed weight, worth a copy: the kernel then reads it along its rows."""
    return lives_at(node) is Home.SHARED and op_name(node) in TRANSPOSITIONS


def ancestors(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """These nodes, and all that they are computed from."""
    seen: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return seen


def evaluator(
    module: fx.GraphModule, moved: Sequence[fx.Node], results: Sequence[fx.Node]
) -> Callable[[Sequence[Tensor], dict[Home, int]], list[Tensor]]:
    """Run operations of a trace on real tensors, with the real numbers of nodes."""
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    constants = {n: getattr(module, n.target) for n in module.graph.nodes if n.op == "get_attr"}

    if not moved:
        at = {n: k for k, n in enumerate([*placeholders, *constants])}
        positions, fixed = [at[n] for n in results], list(constants.values())

        def pick(inputs: Sequence[Tensor], num_rows: dict[Home, int]) -> list[Tensor]:
            given = [*inputs, *_as_seen(fixed)]
            return [given[k] for k in positions]

        return pick

    return Evaluator(placeholders, constants, moved, results)


class Evaluator:
    """An interpreter for the operations of a trace."""

    def __init__(
        self,
        placeholders: Sequence[fx.Node],
        constants: dict[fx.Node, Tensor],
        operations: Sequence[fx.Node],
        results: Sequence[fx.Node],
    ) -> None:
        self.placeholders, self.constants = placeholders, constants
        self.results = results
        self.steps: list[tuple[fx.Node, Any, tuple[Any, ...], dict[str, Any], Home, bool]] = []
        needed = set(results)
        for node in reversed(operations):
            if node not in needed:
                continue  # only an operation that was replaced reads it
            target, args = node.target if node.kwargs else _INSTEAD.get(node.target, node.target), node.args
            with_rows = mentions_rows([node.args, node.kwargs])
            if (product := _summed_product(node, results)) is not None:
                target, args, with_rows = sum_of_product, (*product.args, *node.args[1:]), False
            elif (arguments := picked(node)) is not None:
                target, args, with_rows = product_with_picked, arguments, False
            self.steps.insert(0, (node, target, args, node.kwargs, lives_at(node), with_rows))
            fx.node.map_arg((args, node.kwargs), needed.add)

    @property
    def computed(self) -> list[fx.Node]:
        """The nodes of the trace that have a value here."""
        return [node for node, *_ in self.steps]

    def __call__(self, inputs: Sequence[Tensor], num_rows: dict[Home, int]) -> list[Tensor]:
        """The values of `results`."""
        values: dict[fx.Node, Any] = dict(zip(self.placeholders, inputs, strict=True))
        if self.constants:
            values.update(zip(self.constants, _as_seen(list(self.constants.values())), strict=True))
        for node, target, args, kwargs, home, with_rows in self.steps:
            if with_rows:
                args, kwargs = replaced(args, num_rows[home]), replaced(kwargs, num_rows[home])
            values[node] = target(
                *fx.node.map_arg(args, values.__getitem__), **fx.node.map_arg(kwargs, values.__getitem__)
            )
        return [values[n] for n in self.results]


def _as_seen(constants: Sequence[Tensor]) -> Sequence[Tensor]:
    """Literals of a message, which a tracer of PyTorch's takes from operations alone."""
    return [aten.lift_fresh_copy.default(one) for one in constants] if constants and traced() else constants


def _affine(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return linear(x, weight.t(), bias) if bias.dim() == 1 else torch.addmm(bias, x, weight)


# What runs in the place of an operation of the trace: it is faster, or also takes strided tensors.
_INSTEAD: dict[Any, Callable[..., Tensor]] = {
    aten.mm.default: matmul,
    aten.addmm.default: _affine,
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
}


ROWS_AT_ONCE = 8192


def sum_of_product(a: Tensor, b: Tensor, *dims: Any, dtype: torch.dtype | None = None) -> Tensor:
    """`(a * b).sum(*dims)` over features, some rows at a time, so that the whole product never exists."""
    dtype = dtype or a.dtype
    whole = (
        not isinstance(a.size(0), int)  # in a trace
        or a.size(0) <= ROWS_AT_ONCE
        or not a.is_cpu
        or (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad))
        or torch.compiler.is_compiling()
    )
    if whole:
        return (a.to(dtype) * b.to(dtype)).sum(*dims)
    blocks = rows_at_a_time(a.size(0), ROWS_AT_ONCE)
    return torch.cat([(a[rows].to(dtype) * b[rows].to(dtype)).sum(*dims) for rows in blocks])


def _summed_product(node: fx.Node, results: Sequence[fx.Node]) -> fx.Node | None:
    """The product a * b in a sum over features, if nothing else reads it and a, b have one shape."""
    if op_name(node) != "sum" or len(node.args) < 2 or node.kwargs.keys() - {"dtype"}:
        return None
    product = node.args[0]
    if not isinstance(product, fx.Node) or op_name(product) != "mul" or product in results:
        return None
    factors = [a for a in product.args if isinstance(a, fx.Node) and shape_of(a) == shape_of(product)]
    dims = args_of(node)[1] or [0]
    by_row = shape_of(product)[:1] == (ROWS,) and 0 not in [d % len(shape_of(product)) for d in dims]
    return product if len(factors) == 2 and by_row and list(product.users) == [node] else None
