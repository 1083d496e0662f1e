"""Run a sweep node after node, by one kernel; without waves, and without a look at the edges before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator
from mpnn.backends.c.sweep import SweepKernel
from mpnn.backends.run.net import caught
from mpnn.backends.run.plans import fusible
from mpnn.backends.run.record import Ran, listener
from mpnn.backends.run.trial import believe_source
from mpnn.backends.run.trial_of_sweep import fault_of_sweep
from mpnn.borrowed import transformed
from mpnn.graph.graph import Graph
from mpnn.native.compiler import has_compiler
from mpnn.native.gate import NotOrdinaryError
from mpnn.native.reach import traced
from mpnn.native.toolchain import CompilerError
from mpnn.plan.autocast import autocast_type
from mpnn.plan.finish import others_of
from mpnn.plan.front import arguments_of
from mpnn.plan.in_order import InOrder, Updated, keys_in_order, read_in_order, without_numbers
from mpnn.plan.numbers import MOST_ALIKE
from mpnn.plan.plan import Plan
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.plan.trace import TRACING
from mpnn.step.order import Order, order_of
from mpnn.step.step import Step

States = tuple[Tensor, ...]
MOST_KERNELS = 256
# As many numbers stand behind a row for which PyTorch is asked: it computes the last few numbers of a tensor
# by other functions than those before.
BEHIND = 128


def run(step: Step) -> States:
    """The states after a sweep.

    Args:
        step: on the whole graph, with the arguments of its functions; its `recurrence` has the states before.

    Raises:
        NotFusableError: it must go wave by wave; says why.
    """
    graph = step.fields.graph
    if torch.compiler.is_compiling() or transformed() or traced() or not graph.is_on_cpu:
        raise NotFusableError("PyTorch itself must see every operation here")
    if not fusible(step.aggregator):
        raise NotFusableError(f"the aggregator {step.aggregator} is not made of primitive reductions")
    if graph.is_bipartite or graph.num_edges < 2:
        raise NotFusableError("there is nothing to follow")
    order = order_of(step.schedule, graph)
    if not order.is_one_by_one:
        few = f"{len(order.nodes)} nodes have {order.num_ranks} ranks"
        raise NotFusableError(f"{few}: many are updated at once")
    if autocast_type(graph) is not None:
        raise NotFusableError("it runs under autocast")
    if step.fields.node_dim != 0:
        raise NotFusableError(f"node_dim is {step.fields.node_dim}: kernels need the nodes in dimension 0")
    if not has_compiler():
        raise NotFusableError("there is nothing to compile kernels with")
    ordered = _find(step)
    try:
        found = ordered(step, order)
    except NotOrdinaryError as error:  # these tensors, not this kernel
        raise NotFusableError(str(error)) from error
    except NotFusableError:
        raise
    except CompilerError as error:
        ordered.refused = str(error).splitlines()[0]
        raise NotFusableError(ordered.refused) from error
    except Exception as error:
        ordered.refused = caught(cast(Any, step.update), error, "wave by wave")
        raise NotFusableError(ordered.refused) from error
    ran = listener()
    if ran is not None:
        ran.append(Ran(step, "in order", source=ordered.kernel.source(graph.by_dst.indptr.dtype)))
    return found


class Ordered:
    """The programs of one kind of sweep, and their kernel."""

    def __init__(self, program: InOrder) -> None:
        self.program, self.kernel = program, SweepKernel(program)
        self.believed, self.refused = False, ""
        self._updated = Updated(program.num_states)

    def fits(self, step: Step) -> bool:
        """Whether the tensors that the functions reach by themselves have the forms of the trace."""
        message, update = self.program.message, self.program.update
        aggregator = cast(Aggregator, step.aggregator)
        function = cast(Callable[..., Any], step.update)
        return message.captured.fit(step.message, aggregator) and update.captured.fit(function, aggregator)

    def __call__(self, step: Step, order: Order) -> States:
        """The states after a sweep.

        Raises:
            NotFusableError: gradients are asked for, or the kernel is not believed.
        """
        if self.refused:
            raise NotFusableError(self.refused)
        inputs = self._inputs(step)
        before = cast(Any, step.recurrence).before
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*before, *inputs)):
            raise NotFusableError("gradients go wave by wave")
        if not self.believed:
            self._believe(step)
        return self._compute(step, order, inputs)

    def _believe(self, step: Step) -> None:
        try:
            believe_source(self.kernel.identity(), step, lambda: fault_of_sweep(step, self._compute))
        except NotFusableError as error:
            self.refused = str(error)
            raise
        self.believed = True

    def _compute(self, step: Step, order: Order, inputs: Sequence[Tensor | None] | None = None) -> States:
        inputs = self._inputs(step) if inputs is None else inputs
        return self.kernel(
            step.fields.graph,
            order,
            cast(Any, step.recurrence).before,
            inputs,
            lambda node, columns, received: self.ask(step, node, columns, received),
        )

    def _inputs(self, step: Step) -> list[Tensor | None]:
        program, aggregator, graph = self.program, cast(Aggregator, step.aggregator), step.fields.graph
        given, others = arguments_of(step), others_of(step)
        message = _values(program.message, given.tensors, given.fixed, step.message, aggregator, graph)
        received = torch.empty(0, dtype=self.kernel.dtype)  # stands for what changes from node to node
        update = _values(
            program.update,
            [received, *[t for _, t in others.placed]],
            others.fixed,
            cast(Callable[..., Any], step.update),
            self._updated,
            graph,
        )
        found: list[Tensor | None] = [
            None if program.state_of(k, True) is not None else one for k, one in enumerate(message)
        ]
        found += [
            None if k == program.received or program.state_of(k, False) is not None else one
            for k, one in enumerate(update)
        ]
        return [one if one is None or one.is_contiguous() else one.contiguous() for one in found]

    def ask(self, step: Step, node: int, columns: slice, received: Tensor) -> list[Tensor]:
        """What PyTorch makes of what a node has received: some numbers of each state."""
        times = 1 + -(-BEHIND // self.kernel.size)

        def several(row: Tensor) -> Tensor:
            return row.expand(times, *row.shape[1:]).contiguous()

        arguments = {}
        for name, (_, value) in step.others.items():
            if isinstance(value, Tensor) and value.dim() and value.size(0) == step.fields.graph.num_nodes:
                value = several(value[node : node + 1])
            arguments[name] = value
        made = cast(Any, step.update)(several(received.view(1, *self.program.shape)), **arguments)
        states = made if isinstance(made, tuple) else (made,)
        return [state[0].detach().reshape(-1)[columns] for state in states]


def _values(
    plan: Plan,
    tensors: Sequence[Tensor],
    fixed: dict[str, Any],
    function: Callable[..., Any],
    aggregator: Aggregator,
    graph: Graph,
) -> list[Tensor]:
    """What a plan's program reads."""
    numbers = [torch.tensor(fixed[name], dtype=torch.float64) for _, name in plan.numbers]
    return plan.values([*tensors, *numbers], function, aggregator, graph.size)


# Sweeps, by what they depend on ------------------------------------------------------------------------

_known: OrderedDict[Hashable, list[Ordered] | Refused] = OrderedDict()
_alike: OrderedDict[Hashable, set[Hashable]] = OrderedDict()  # keys that differ in numbers alone
_lock = threading.RLock()


def _find(step: Step) -> Ordered:
    exactly, but_for_numbers = keys_in_order(step)
    found = _known_for(step, exactly, but_for_numbers)
    if found is None:
        with _lock, TRACING:
            found = _known_for(step, exactly, but_for_numbers) or _search(step, exactly, but_for_numbers)
    if isinstance(found, Refused):
        raise NotFusableError(found.reason)
    return found


def _known_for(step: Step, exactly: Hashable, but_for_numbers: Hashable) -> Ordered | Refused | None:
    """What is known of a sweep: numbers are inputs where they can be."""
    for key in (but_for_numbers, exactly):
        known = _known.get(key)
        if not isinstance(known, Refused):
            return next((one for one in known or () if one.fits(step)), None)
    return cast(Refused, known)


def _search(step: Step, exactly: Hashable, but_for_numbers: Hashable) -> Ordered | Refused:
    reason = ""
    for key in (but_for_numbers, exactly):
        if isinstance(_known.get(key), Refused):
            continue
        try:
            made = _make(step, key is but_for_numbers, exactly)
        except NotFusableError as error:
            reason = str(error)
        except Exception as error:
            reason = caught(cast(Any, step.update), error, "wave by wave")
        else:
            known = _known.setdefault(key, [])
            assert isinstance(known, list)
            known.append(made)
            del known[:-MOST_ALIKE]
            _forget()
            return made
        _known[key] = Refused(reason)
        _forget()
    return Refused(reason)


def _make(step: Step, with_numbers: bool, exactly: Hashable) -> Ordered:
    others = _alike.setdefault(without_numbers(exactly), set())
    others.add(exactly)
    if len(others) > MOST_ALIKE:
        others.discard(exactly)
        raise NotFusableError(
            "its functions read a number that is another in each sweep, and need it as a number"
        )
    return Ordered(read_in_order(step, with_numbers))


def _forget() -> None:
    while len(_known) > MOST_KERNELS:
        _known.popitem(last=False)
    while len(_alike) > MOST_KERNELS:
        _alike.popitem(last=False)
