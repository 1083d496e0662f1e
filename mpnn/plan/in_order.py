"""A sweep of a schedule, node after node, as two programs: what a node receives, and what it becomes.

The state that a message reads at its source changes within the sweep. So for the trace it is one more value
that differs from edge to edge, and nothing that is computed from it leaves the loop over the edges; all else
is as in any plan. `update` is a message of another kind: what the node has received takes the place of a
value of the edge, and what does not depend on it is computed before the sweep, for all nodes at once.

Both programs must be arithmetic, number by number. Then each number of a state is a chain of its own, which a
kernel follows from node to node.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduction import Applied
from mpnn.aggregate.reductions import SUM, Max, Mean, Min, Sum
from mpnn.plan.capture import Path, fingerprint
from mpnn.plan.finish import others_of
from mpnn.plan.front import Placed, arguments_of, key_of, placeholders_of
from mpnn.plan.homes import Home, has_rows, op_name
from mpnn.plan.ir import Program, Value
from mpnn.plan.law import in_order
from mpnn.plan.nests import base_of
from mpnn.plan.plan import Plan, make_plan
from mpnn.plan.rows import NotFusableError
from mpnn.step.parameters import Residency, parameters_of
from mpnn.step.step import Step

REDUCTIONS = (Sum, Mean, Max, Min)  # whose bits do not depend on how a row is cut

# Operations that give the bits of PyTorch's: IEEE 754 leaves no choice.
EXACT = frozenset([
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "reciprocal", "square", "relu", "sign", "sgn",
    "maximum", "minimum", "where", "masked_fill", "float", "floor", "ceil", "round", "trunc", "gt", "ge",
    "lt", "le", "eq", "ne", "isnan", "isinf", "logical_and", "logical_or", "logical_xor", "logical_not",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
])  # fmt: skip
# Operations that jump: a difference in the last bit of an operand may become a large one.
STEPS = frozenset([
    "sign", "sgn", "floor", "ceil", "round", "trunc", "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf",
    "div_floor", "div_trunc", "fmod", "remainder", "copysign",
])  # fmt: skip
# Functions of which kernels and PyTorch have versions of their own, each right but for the last bits.
ROUNDED = frozenset(
    ["sigmoid", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "erf", "rsqrt"]
)
COMPARISONS = frozenset(["gt", "ge", "lt", "le"])


@dataclass(frozen=True)
class InOrder:
    """A sweep, node after node."""

    message: Plan
    update: Plan
    live: Mapping[int, int]  # which inputs of the message's program are states of the sources, and which
    own: Mapping[int, int]  # the same of the node itself, which it has until it is updated
    own_updated: Mapping[int, int]  # the same of the update's program
    received: int | None  # which input of the update's program is what a node received
    shape: tuple[int, ...]  # of a row of each state
    num_states: int

    def state_of(self, k: int, of_message: bool) -> int | None:
        """Which state an input of a program is."""
        states = {**self.live, **self.own} if of_message else self.own_updated
        return states.get(k)

    @property
    def received_program(self) -> Program:
        """What a node receives; its live inputs are at the source."""
        program = self.message.kernel_program
        inputs = [
            replace(one, home=Home.SRC) if k in self.live else one for k, one in enumerate(program.inputs)
        ]
        return replace(program, inputs=tuple(inputs), exact=True)

    @property
    def updated_program(self) -> Program:
        """What it becomes: a value of each output is a state."""
        return self.update.kernel_program

    @property
    def states(self) -> list[Value]:
        """The new states of a node, which may be one value."""
        return [self.updated_program.outputs[k].value for k in self.update.shares]

    def guarded(self) -> dict[Value, Value]:
        """The comparisons that the last bits of a function may decide, each with that function's value.

        Raises:
            NotFusableError: another operation jumps where two correct roundings may differ.
        """
        (output,) = self.message.kernel_program.outputs
        near = _near(in_order([output.value]), set(), {})
        loose: set[Value] = set()
        if base_of(output.value) in near or _fuses(self.message):
            loose = {v for v in _loads(self.states) if v.detail == self.received}
        if _fuses(self.update) and any(value.name in STEPS for value in in_order(self.states)):
            raise NotFusableError("the last bits of a product with a sum may decide in update()")
        found: dict[Value, Value] = {}
        _near(in_order(self.states), loose, found)
        return found


def _near(operations: Any, loose: set[Value], guarded: dict[Value, Value]) -> set[Value]:
    """The values whose last bits may differ from PyTorch's, of operations in order."""
    near = set(loose)
    for value in operations:
        operands = [base_of(arg) for arg in value.args]
        rough = [arg for arg in operands if arg in near]
        if value.name in STEPS and rough:
            (first, *others) = rough
            alone = not others and first.name in ROUNDED and near.isdisjoint(map(base_of, first.args))
            if value.name not in COMPARISONS or not alone:
                raise NotFusableError(f"{value.name} decides by the last bits of {first.name or 'a message'}")
            guarded[value] = first
        elif value.name == "where" and operands[0] in rough:
            raise NotFusableError("where decides by the last bits of a number")
        elif rough or value.name not in EXACT:
            near.add(value)
    return near


def _fuses(plan: Plan) -> bool:
    """Whether there is an operation with a product and a sum, which PyTorch may round once."""
    return any(op_name(n) == "lerp" or n.kwargs.get("alpha", 1) != 1 for n in plan.hoisted.core)


def _loads(values: Sequence[Value]) -> list[Value]:
    found, stack, seen = [], list(values), set()
    while stack:
        value = stack.pop()
        if value not in seen:
            seen.add(value)
            stack += value.args
            if value.op == "load":
                found.append(value)
    return found


# From a step --------------------------------------------------------------------------------------------


def keys_in_order(step: Step) -> tuple[Hashable, Hashable]:
    """What two sweeps share if one pair of programs serves both; and the same but for arguments' numbers.

    Raises:
        NotFusableError: something that they read cannot be compared.
    """
    others, said = others_of(step), cast(Any, step.recurrence)
    message, arguments = cast(Any, key_of(step))
    fixed = tuple([(name, (type(value), value)) for name, value in others.fixed.items()])
    tensors = [
        (home, t.shape if home is Home.SHARED else t.shape[1:], t.dtype, t.device)
        for home, t in others.placed
    ]
    update = fingerprint(cast(Any, step.update), cast(nn.Module, step.aggregator))
    states = tuple([(name, t.shape[1:], t.dtype) for name, t in zip(said.state, said.before, strict=True)])
    code = (message, update, others.names, tuple(tensors), states)
    return (code, arguments, fixed), (code, without_numbers(arguments), without_numbers(fixed))


def without_numbers(key: Hashable) -> Hashable:
    """A key without its real numbers."""
    if type(key) is not tuple:
        return key
    if len(key) == 2 and key[0] is float and type(key[1]) is float:
        return (float,)
    return tuple([without_numbers(part) for part in key])


def read_in_order(step: Step, with_numbers: bool) -> InOrder:
    """The programs of a sweep.

    Args:
        step: a step on the whole graph, whose `recurrence` has the states before it.
        with_numbers: whether real numbers among the arguments of its functions are inputs of the programs.

    Raises:
        NotFusableError: with the reason in words.
    """
    said, aggregator = cast(Any, step.recurrence), cast(Aggregator, step.aggregator)
    before: tuple[Tensor, ...] = said.before
    shape, dtype = tuple(before[0].shape[1:]), before[0].dtype
    if dtype not in (torch.float32, torch.float64) or any(t.dtype != dtype for t in before):
        raise NotFusableError(
            f"states of type {', '.join(sorted({str(t.dtype) for t in before}))} have no kernel in order"
        )
    if any(tuple(t.shape[1:]) != shape for t in before) or not before[0][:1].numel():
        raise NotFusableError("the states of a node are not all of one shape, with numbers in it")
    given = arguments_of(step)
    if given.mapped:
        raise NotFusableError("the message reads a linear map")
    sources = {f"{name}_j": k for k, name in enumerate(said.state)}
    live = {
        k: sources[name]
        for k, name in enumerate(given.names)
        if name in sources and step.arguments[name].residency is Residency.SRC
    }
    placed = [(Home.EDGE if k in live else home, t) for k, (home, t) in enumerate(given.placed)]
    message = _planned(step.message, aggregator, given.names, placed, given.fixed, with_numbers)
    program = message.kernel_program
    if not message.is_merged(aggregator) or len(program.outputs) != 1:
        raise NotFusableError(f"{aggregator} is more than one reduction")
    (output,) = program.outputs
    if type(output.reduction) not in REDUCTIONS:
        raise NotFusableError(f"the reduction {output.reduction.name!r} has no kernel in order")
    if output.value.shape != shape or output.dtype != dtype or program.dtype != dtype:
        raise NotFusableError("a message has another form than the state")
    update = _update(step, torch.empty(2, *shape, dtype=dtype), with_numbers)
    updated = update.kernel_program
    if updated.dtype != dtype or any(o.value.shape != shape or o.dtype != dtype for o in updated.outputs):
        raise NotFusableError("update() gives another form than the state's")
    for value in [output.value, *(o.value for o in updated.outputs)]:
        _require_arithmetic(value)
    widened = {n.meta["val"].dtype for plan in (message, update) for n in plan.hoisted.core if has_rows(n)}
    if dtype == torch.float32 and torch.float64 in widened:
        raise NotFusableError("numbers are computed in float64 beside states in float32")
    own = {f"{name}_i": k for k, name in enumerate(said.state)}
    own_places = {k: own[name] for k, name in enumerate(given.names) if name in own}
    plain = {name: k for k, name in enumerate(said.state)}
    others = others_of(step).names
    at, at_update = _inputs_by_argument(message), _inputs_by_argument(update)
    found = InOrder(
        message,
        update,
        {at[k]: state for k, state in live.items() if k in at},
        {at[k]: state for k, state in own_places.items() if k in at},
        {at_update[k]: plain[name] for k, name in enumerate(others, 1) if name in plain and k in at_update},
        at_update.get(0),
        shape,
        len(before),
    )
    found.guarded()
    return found


def _inputs_by_argument(plan: Plan) -> dict[int, int]:
    """Which input of the program an argument of the trace is, for those that are inputs as they are."""
    if not plan.hoisted.inputs:
        return {}
    arguments = {node: k for k, node in enumerate(placeholders_of(plan.hoisted.inputs[0].graph))}
    return {arguments[node]: k for k, node in enumerate(plan.hoisted.inputs) if node in arguments}


def _planned(
    function: Callable[..., Any],
    aggregator: Aggregator,
    names: Sequence[str],
    placed: Sequence[Placed],
    fixed: dict[str, Any],
    with_numbers: bool,
) -> Plan:
    numbers: list[Path] = []
    if with_numbers:
        numbers = [("argument", name) for name, value in fixed.items() if type(value) is float]
    return make_plan(function, aggregator, names, placed, fixed, numbers=numbers, differentiated=False)


class Updated(Aggregator):
    """Of what `update` returns: each state is a value of its own."""

    def __init__(self, num_states: int) -> None:
        super().__init__()
        self.num_states = num_states

    def split(self, messages: Any) -> list[Applied]:
        """The states."""
        states = messages if isinstance(messages, tuple) else (messages,)
        if len(states) != self.num_states or not all(isinstance(state, Tensor) for state in states):
            raise NotFusableError("update() does not return a tensor for each state")
        return [SUM(state) for state in states]


def _update(step: Step, received: Tensor, with_numbers: bool) -> Plan:
    others, function = others_of(step), cast(Callable[..., Any], step.update)
    first = parameters_of(function)[0].name
    placed = [(Home.DST if home is Home.EDGE else home, t) for home, t in others.placed]
    return _planned(
        function,
        Updated(len(cast(Any, step.recurrence).before)),
        [first, *others.names],
        [(Home.EDGE, received), *placed],
        others.fixed,
        with_numbers,
    )


def _require_arithmetic(value: Value) -> None:
    stack, seen = [value], set()
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if one.op not in ("load", "const", "point", "view") or one.name == "kept":
            what = {"reduce": f"the {one.name} of features", "join": "a concatenation"}.get(one.op, "dropout")
            raise NotFusableError(f"{what} is not arithmetic, number by number")
        stack += one.args
