"""What a node becomes, read as a trace: a step's `update`, and what the aggregator makes of its reductions.

Five passes go over the trace of any layer. With r for what a node received:

- `map_first`: W Σ_j s_ij x_j = Σ_j s_ij (W x_j). Where W narrows, x is mapped before it is gathered.
- `count_itself`: x_i + Σ_j x_j is a sum over the graph with a loop at every node, which saves a pass over x.
- `into_own_map`: what does not depend on r comes first. So its gradient comes last, when those of the
  messages are no longer in memory. If it is a linear map, r is added in place to the result of the map.
- `split_wide_maps`: W (a ‖ s b) = W_0 a + s (W_1 b), so that the wide row need not exist.
- `wide`: a tensor that is wider than the reductions and the result is made a block of rows at a time,
  and made again in the backward pass.

If no pass finds anything, PyTorch calls `update` as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from mpnn.aggregate.aggregators import Aggregator
from mpnn.native.products import added
from mpnn.plan.capture import SCALARS
from mpnn.plan.checker import check
from mpnn.plan.front import Captured, Placed, placeholders_of, read_function
from mpnn.plan.hoist import Evaluator, ancestors, evaluator
from mpnn.plan.homes import (
    Home,
    Place,
    args_of,
    emit,
    has_rows,
    lives_at,
    op_name,
    put,
    row_size,
    shape_of,
)
from mpnn.plan.linear_messages import linear_in, summed_rows
from mpnn.plan.plan import Plan
from mpnn.plan.rows import NotFusableError
from mpnn.plan.wide_maps import split_wide_maps
from mpnn.step.parameters import TOPOLOGY_NAMES, Residency
from mpnn.step.step import Step

aten = torch.ops.aten
MAPS = ("mm", "addmm")


Early = Callable[[Sequence[Any], dict[Home, int]], list[Tensor]]  # of the arguments of a trace


@dataclass(frozen=True)
class MapFirst:
    """Which argument of the message is mapped, and which of the early values maps it, `[in, out]`."""

    argument: str
    weight: int


@dataclass(frozen=True)
class Wide:
    """The beginning of what depends on the reductions, which is made a block of rows at a time."""

    reads: tuple[int, ...]  # which of the reductions and the early values
    rows: tuple[bool, ...]  # which of these have one row per node
    evaluate: Evaluator
    widths: tuple[int, ...]  # of its results, side by side


@dataclass(frozen=True)
class CountItself:
    """c x_i + Σ_j x_j: where c is 1, and both x are one tensor, a loop at every node makes it one sum."""

    argument: str  # of the message: x at the sources
    own: str  # of `update`: x at the destinations
    weight: Early | None  # computes c; None for 1
    rest: Finish  # what follows the sum


@dataclass(frozen=True)
class Finish:
    """What comes after a step's reductions, as the passes left it."""

    captured: Captured
    places: tuple[int, ...]  # of the aggregator's reductions the distinct ones, the first arguments
    counts: tuple[torch.dtype, int] | None  # type and rank of the numbers of messages, if these come next
    early: Early  # what does not depend on the reductions
    late: Evaluator  # of the reductions and the early values; or of what `wide` gives, and these
    gains: bool  # whether a pass found something
    map_first: MapFirst | None = None
    count_itself: CountItself | None = None
    wide: Wide | None = None


@dataclass(frozen=True)
class Others:
    """The arguments of `update` besides what a node received."""

    names: tuple[str, ...]
    placed: tuple[Placed, ...]
    fixed: dict[str, Any]

    @property
    def forms(self) -> tuple[Any, ...]:
        """What two calls share if one trace serves both."""
        tensors = [
            (home, t.shape if home is Home.SHARED else t.shape[1:], t.dtype, t.device)
            for home, t in self.placed
        ]
        return (self.names, *tensors, *self.fixed.items())


def others_of(step: Step) -> Others:
    """The arguments of a step's `update`: tensors with one row per node or none, and what is no tensor.

    Raises:
        NotFusableError: one of them is something else.
    """
    names: list[str] = []
    placed: list[Placed] = []
    fixed: dict[str, Any] = {}
    for name, (residency, value) in step.others.items():
        if residency is not Residency.GIVEN or name in TOPOLOGY_NAMES:
            raise NotFusableError(f"update() asks for {name!r}")
        if type(value) in (Tensor, nn.Parameter):
            by_row = value.dim() > 0 and value.size(0) == step.fields.graph.num_dst
            names.append(name)
            # A message may write into its copies of the nodes' rows, `update` not into this tensor.
            placed.append((Home.EDGE if by_row else Home.SHARED, value))
        elif isinstance(value, SCALARS):
            fixed[name] = value
        else:
            raise NotFusableError(f"update() gets {name!r}, a {type(value).__name__}")
    return Others(tuple(names), tuple(placed), fixed)


def read_finish(step: Step, plan: Plan, autocast: torch.dtype | None = None) -> Finish | None:
    """Trace what comes after a step's reductions, and run the passes; None if they find nothing.

    Raises:
        NotFusableError: it cannot be traced.
    """
    trace = _Trace(step, plan, autocast)
    first = trace.map_first()
    itself = None if first else trace.count_itself()
    trace.into_own_map()
    finish = trace.finish(first)
    if itself is not None:
        argument, node, own, weight = itself
        alone = _Trace(step, plan, autocast)
        alone.leave_out(node.name)
        alone.into_own_map()
        factor = None if weight is None else trace.evaluator([weight])
        finish = replace(finish, count_itself=CountItself(argument, own, factor, alone.finish(None)))
    return finish if finish.gains or itself is not None else None


class _Trace:
    """What comes after a step's reductions, while the passes rewrite it."""

    def __init__(self, step: Step, plan: Plan, autocast: torch.dtype | None) -> None:
        self.plan, self.others = plan, others_of(step)
        aggregator, update = cast(Aggregator, step.aggregator), cast(Callable[..., Any], step.update)
        distinct = plan.distinct_examples()
        self.places = tuple([plan.places.index(k) for k in range(len(distinct))])
        self.merged = plan.is_merged(aggregator)
        first = distinct[0]
        counts = [] if self.merged else [first.new_ones(1, *[1] * (first.dim() - 1))]
        self.counts = None if self.merged else (first.dtype, first.dim())
        others, num_given = self.others, len(distinct) + len(counts)

        def finish(*tensors: Tensor) -> list[Tensor]:
            reduced = [tensors[k] for k in plan.places]
            received = reduced[0] if self.merged else aggregator.merge(reduced, tensors[len(distinct)])
            given = dict(zip(others.names, tensors[num_given:], strict=True))
            made = update(received, **given, **others.fixed)
            if not isinstance(made, Tensor):
                raise NotFusableError(f"update() gives a {type(made).__name__}")
            return [made]

        placed = [(Home.DST, t) for t in (*distinct, *counts)]
        self.traced = read_function(finish, [*placed, *others.placed], update, aggregator, autocast)
        self.graph, self.changed = self.traced.graph, False
        self.traced.find_places()
        self.traced.require_rows()
        if any(op_name(n) == "kept" for n in self.graph.nodes):
            raise NotFusableError("update() drops at random")
        self.reduced = placeholders_of(self.graph)[: len(distinct)]
        given = placeholders_of(self.graph)[num_given:]
        self.fields = dict(zip(given, others.names, strict=False))
        self.special: list[fx.Node] = []  # early values that the caller takes from `early`

    @property
    def late(self) -> set[fx.Node]:
        """The operations between the reductions and the result."""
        late: set[fx.Node] = set(self.reduced)
        for node in self.graph.nodes:
            if node.op == "call_function" and not late.isdisjoint(node.all_input_nodes):
                late.add(node)
        return late & ancestors(self.traced.outputs) - {*self.reduced}

    # W Σ_j s_ij x_j = Σ_j s_ij (W x_j)

    def map_first(self) -> tuple[str, fx.Node] | None:
        """Remove a linear map that narrows the received sum; return the message's argument and the weight."""
        argument = linear_in(self.plan) if self.merged else None
        received = self.reduced[0]
        if argument is None or len(received.users) != 1:
            return None
        (node,) = received.users
        cast_first = op_name(node) == "_to_copy" and len(node.users) == 1
        taken = node if cast_first else received
        if cast_first:
            (node,) = node.users
        if op_name(node) not in MAPS or node.kwargs or args_of(node)[-2] is not taken:
            return None
        *bias, _, weight = args_of(node)
        before, after = shape_of(weight)
        narrows = lives_at(weight) is Home.SHARED and 0 < after < before
        if not narrows or weight in self.late or any(len(shape_of(b)) != 1 for b in bias):
            return None
        received.meta.update(val=node.meta["val"], shape=shape_of(node))
        result = received
        if bias:
            with self.graph.inserting_before(node):
                result = emit(self.graph, aten.add.Tensor, received, bias[0])
        node.replace_all_uses_with(result)
        for gone in (node, taken) if cast_first else (node,):
            self.graph.erase_node(gone)
        self.special.append(weight)
        self.changed = True
        return argument, weight

    # c x_i + Σ_j x_j

    def count_itself(self) -> tuple[str, fx.Node, str, fx.Node | None] | None:
        """Find such a sum: the message's argument, the sum, the field of `update` that is x_i, and c."""
        argument = summed_rows(self.plan) if self.merged else None
        received = self.reduced[0]
        if argument is None or len(received.users) != 1:
            return None
        (node,) = received.users
        if op_name(node) != "add" or len(node.args) != 2 or node.kwargs:
            return None
        factors = _factors(next(a for a in args_of(node) if a is not received), self.fields)
        own = [n for n in factors if n in self.fields and shape_of(n) == shape_of(received)]
        weights = [n for n in factors if n not in own]
        if len(own) != 1 or len(weights) > 1 or any(has_rows(w) or row_size(w) != 1 for w in weights):
            return None
        return argument, node, self.fields[own[0]], weights[0] if weights else None

    def leave_out(self, name: str) -> None:
        """Replace a node of this trace by what was received."""
        (node,) = (n for n in self.graph.nodes if n.name == name)
        put(self.reduced[0], Place(lives_at(node)))
        node.replace_all_uses_with(self.reduced[0])

    # W x_i + r, the map first

    def into_own_map(self) -> None:
        """Compute a linear map of the node's own features first, and add in place to its result."""
        late, received = self.late, {*self.reduced}
        for node in list(self.graph.nodes):
            if node not in late or op_name(node) != "add" or len(node.args) != 2 or node.kwargs:
                continue
            for own, more in (args_of(node), args_of(node)[::-1]):
                if not (_is_own_map(own, node) and own not in late and more in late | received):
                    continue
                with self.graph.inserting_before(node):
                    total = self._added(own, more)
                node.replace_all_uses_with(total)
                self.graph.erase_node(node)
                self.changed = True
                break

    def _added(self, own: fx.Node, more: fx.Node) -> fx.Node:
        if op_name(more) in MAPS and len(more.users) == 1 and not more.kwargs:
            *bias, x, weight = args_of(more)
            if lives_at(weight) is Home.SHARED and weight not in self.late and len(shape_of(x)) == 2:
                if bias and op_name(own) == "mm" and len(shape_of(bias[0])) == 1:
                    with self.graph.inserting_before(own):
                        known = _before(own, bias[0])
                        biased = emit(self.graph, aten.addmm.default, bias[0], *own.args) if known else None
                    if biased is not None:
                        own, bias = biased, []
                if not bias:
                    return emit(self.graph, add_product, own, x, weight)
        return emit(self.graph, add_in_place, own, more)

    # What is left

    def evaluator(self, values: Sequence[fx.Node]) -> Early:
        """What computes early values, and nothing else."""
        needed = ancestors(values)
        operations = [n for n in self.graph.nodes if n.op == "call_function" and n in needed]
        return evaluator(self.traced.module, operations, values)

    @property
    def _early(self) -> list[fx.Node]:
        late = self.late
        read = {
            n
            for node in self.graph.nodes
            if node in late or node.op == "output"
            for n in node.all_input_nodes
        }
        early = [n for n in self.graph.nodes if n in read and n not in late and n not in self.reduced]
        return [*early, *[n for n in dict.fromkeys(self.special) if n not in early]]

    def finish(self, first: tuple[str, fx.Node] | None) -> Finish:
        """The trace as two programs."""
        totals: list[fx.Node] = []
        if self._widens(self._early, self.late):
            totals = split_wide_maps(self.graph, self.late) or self.traced.outputs
        check(self.graph, self.traced.mode, "reading what a node becomes", homes=True)
        early, late = self._early, self.late
        wide = ancestors(totals) & late
        rest = late - wide
        read = {n for node in rest for n in node.all_input_nodes} - {*totals}
        if wide and not read.isdisjoint({*wide, *self.reduced}):
            totals, wide, rest = self.traced.outputs, late, set()
        operations = [n for n in self.graph.nodes if n.op == "call_function"]
        arguments = [*self.reduced, *early]
        begins = [*totals, *early] if wide else arguments
        return Finish(
            self.traced.captured,
            self.places,
            self.counts,
            self.evaluator(early),
            Evaluator(begins, {}, [n for n in operations if n in rest], self.traced.outputs),
            self.changed or bool(wide),
            None if first is None else MapFirst(first[0], early.index(first[1])),
            wide=_wide(arguments, [n for n in operations if n in wide], totals) if wide else None,
        )

    def _widens(self, early: Sequence[fx.Node], late: set[fx.Node]) -> bool:
        """Whether a value is wider than all arguments together, and cheap to make again.

        A result of an operation that writes into an early value cannot be made again.
        """
        if any(n.target in IN_PLACE for n in late):
            return False
        read = sum(row_size(n) for n in (*self.reduced, *early) if has_rows(n))
        made = [row_size(n) for n in late if op_name(n) not in MAPS and has_rows(n)]
        return max(made, default=0) > max(read, row_size(self.traced.outputs[0]))


def _wide(arguments: Sequence[fx.Node], operations: Sequence[fx.Node], totals: Sequence[fx.Node]) -> Wide:
    read = {n for node in operations for n in node.all_input_nodes}
    reads = [k for k, n in enumerate(arguments) if n in read]
    given = [arguments[k] for k in reads]
    return Wide(
        tuple(reads),
        tuple(map(has_rows, given)),
        Evaluator(given, {}, operations, totals),
        tuple(map(row_size, totals)),
    )


def _factors(node: Any, fields: Collection[fx.Node]) -> list[fx.Node]:
    """The factors of a product without those that are 1; [] if one is another number."""
    if not isinstance(node, fx.Node) or node in fields or op_name(node) != "mul":
        return [node] if isinstance(node, fx.Node) else []
    parts = [a for a in node.args if not (isinstance(a, int | float) and a == 1)]
    found = [_factors(part, fields) for part in parts]
    return [n for factors in found for n in factors] if all(found) else []


def _is_own_map(own: Any, node: fx.Node) -> bool:
    """Whether a term is a linear map that only this sum reads, of its shape and type."""
    if not isinstance(own, fx.Node) or op_name(own) not in MAPS or len(own.users) != 1 or own.kwargs:
        return False
    same = shape_of(own) == shape_of(node) and own.meta["val"].dtype == node.meta["val"].dtype
    return same and has_rows(own)


def _before(node: fx.Node, value: fx.Node) -> bool:
    """Whether a value is computed before a node."""
    return value.op != "call_function" or value in ancestors([node])


def add_in_place(own: Tensor, more: Tensor) -> Tensor:
    """`own + more` in the memory of `own`, which nothing else reads."""
    return own.add_(more)


def add_product(own: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """`own + x @ weight` in the memory of `own`, which nothing else reads."""
    return added(own, x, weight, into=True)


IN_PLACE = (add_in_place, add_product)
