"""Run a sweep node after node, by one kernel; without waves, and without a look at the edges before."""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator
from mpnn.backends import eager
from mpnn.backends.c.in_order import block_of, print_in_order
from mpnn.backends.run.net import caught
from mpnn.backends.run.odd_graph import difference, odd_graph, rows_like, scale_of
from mpnn.backends.run.plans import fusible
from mpnn.backends.run.record import Ran, listener
from mpnn.backends.run.trial import believe_source
from mpnn.borrowed import transformed
from mpnn.graph.graph import Graph
from mpnn.native.compiler import has_compiler, load
from mpnn.native.gate import NotOrdinaryError, address
from mpnn.native.pool import empty
from mpnn.native.reach import traced
from mpnn.native.threads import threads_for
from mpnn.native.toolchain import CompilerError, processor, toolchain
from mpnn.plan.autocast import autocast_type
from mpnn.plan.finish import others_of
from mpnn.plan.front import arguments_of
from mpnn.plan.homes import Home
from mpnn.plan.in_order import InOrder, Updated, keys_in_order, read_in_order, without_numbers
from mpnn.plan.numbers import MOST_ALIKE
from mpnn.plan.plan import Plan
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.plan.trace import TRACING
from mpnn.step.fields import Argument
from mpnn.step.order import Order, order_of
from mpnn.step.parameters import Residency
from mpnn.step.step import Step

States = tuple[Tensor, ...]
SMALL = 1 << 20  # below this many numbers, a fraction of a millisecond, one thread is fast enough
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
        raise NotFusableError(
            f"{len(order.nodes)} nodes have {order.num_ranks} ranks: many are updated at once"
        )
    if autocast_type(graph) is not None:
        raise NotFusableError("it runs under autocast")
    if step.fields.node_dim != 0:
        raise NotFusableError(f"node_dim is {step.fields.node_dim}: kernels need the nodes in dimension 0")
    if not has_compiler():
        raise NotFusableError("there is nothing to compile kernels with")
    kernel = _find(step)
    try:
        found = kernel(step, order)
    except (NotOrdinaryError, CompilerError) as error:
        raise NotFusableError(str(error).splitlines()[0]) from error
    ran = listener()
    if ran is not None:
        index_type = graph.by_dst.indptr.dtype
        ran.append(Ran(step, "in order", source=kernel.source(index_type)))
    return found


# Kernels, by what they depend on ------------------------------------------------------------------------

_known: OrderedDict[Hashable, list[SweepKernel] | Refused] = OrderedDict()
_alike: OrderedDict[Hashable, set[Hashable]] = OrderedDict()  # keys that differ in numbers alone
_lock = threading.RLock()


def _find(step: Step) -> SweepKernel:
    exactly, but_for_numbers = keys_in_order(step)
    for key in (but_for_numbers, exactly):
        found = _fitting(key, step)
        if found is not None:
            return found
        if not isinstance(_known.get(key), Refused):
            break
    else:
        raise NotFusableError(cast(Refused, _known[exactly]).reason)
    with _lock, TRACING:
        for key in (but_for_numbers, exactly):
            found = _fitting(key, step)
            if found is not None:
                return found
            if isinstance(_known.get(key), Refused):
                continue
            try:
                made = _make(step, key is but_for_numbers, exactly)
            except NotFusableError as error:
                _remember(key, Refused(str(error)))
                continue
            except Exception as error:
                _remember(key, Refused(caught(cast(Any, step.update), error, "wave by wave")))
                continue
            _remember(key, made)
            return made
    raise NotFusableError(cast(Refused, _known[exactly]).reason)


def _make(step: Step, with_numbers: bool, exactly: Hashable) -> SweepKernel:
    others = _alike.setdefault(without_numbers(exactly), set())
    others.add(exactly)
    if len(others) > MOST_ALIKE:
        others.discard(exactly)
        raise NotFusableError(
            "its functions read a number that is another in each sweep, and need it as a number"
        )
    while len(_alike) > MOST_KERNELS:
        _alike.popitem(last=False)
    return SweepKernel(read_in_order(step, with_numbers))


def _fitting(key: Hashable, step: Step) -> SweepKernel | None:
    known = _known.get(key)
    for kernel in () if known is None or isinstance(known, Refused) else known:
        if kernel.fits(step):
            return kernel
    return None


def _remember(key: Hashable, found: SweepKernel | Refused) -> None:
    if isinstance(found, Refused):
        _known[key] = found
    else:
        kernels = _known.setdefault(key, [])
        assert isinstance(kernels, list)
        kernels.append(found)
        del kernels[:-MOST_ALIKE]
    while len(_known) > MOST_KERNELS:
        _known.popitem(last=False)


# A kernel -----------------------------------------------------------------------------------------------


class _Sweep(ctypes.Structure):
    """What a kernel reads and writes; see in_order.h."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("inputs", "states", "pending", "answers", "received")],
        *[(name, ctypes.c_void_p) for name in ("indptr", "indices", "edge_ids", "order", "spans")],
        ("count", ctypes.c_int64),
    ]


class SweepKernel:
    """The compiled sweep of one kind of step."""

    def __init__(self, program: InOrder) -> None:
        self.program = program
        self.size = prod(program.shape)
        self.dtype = program.received_program.dtype
        self.block = block_of(self.size, self.dtype)
        self._functions: dict[torch.dtype, Callable[..., None]] = {}
        self._believed = False
        self.source()  # a program that cannot be printed is refused now

    def source(self, index_type: torch.dtype = torch.int32) -> str:
        """The C source."""
        return print_in_order(self.program, index_type)

    def fits(self, step: Step) -> bool:
        """Whether the tensors that the functions reach by themselves have the forms of the trace."""
        message, update = self.program.message, self.program.update
        aggregator = cast(Aggregator, step.aggregator)
        function = cast(Callable[..., Any], step.update)
        return message.captured.fit(step.message, aggregator) and update.captured.fit(function, aggregator)

    def __call__(self, step: Step, order: Order) -> States:
        """The states after a sweep."""
        if not self._believed:
            self._believe(step)
        return self._run(step, order)

    def _believe(self, step: Step) -> None:
        tools = toolchain()
        identity = "\n".join([self.source(), tools.compiler, tools.version, *tools.flags, processor()])
        believe_source(identity, step, lambda: _fault(self, step))
        self._believed = True

    def _run(self, step: Step, order: Order) -> States:
        graph, count = step.fields.graph, len(order.nodes)
        before = cast(Any, step.recurrence).before
        inputs = self._inputs(step, graph)
        _require_no_gradients([*before, *inputs])
        states = [_copied(state) for state in before]
        pending = [
            _buffer(order.largest if order.spans is not None else 0, self.size, self.dtype) for _ in before
        ]
        answers = [_buffer(1, self.size, self.dtype) for _ in before]
        received = _buffer(1, self.size, self.dtype)
        threads = threads_for(graph.num_edges * self.size, SMALL)
        blocks = -(-self.size // self.block)
        width = -(-blocks // threads) * self.block
        parts = -(-self.size // width)
        at, answered = (ctypes.c_int64 * parts)(), (ctypes.c_uint8 * parts)()
        csr, program, numbers = graph.by_dst, self.program, graph.num_nodes * self.size
        index_type = csr.indptr.dtype
        given = [*program.received_program.inputs, *program.updated_program.inputs]
        rows = {
            Home.SRC: graph.num_nodes,
            Home.DST: graph.num_nodes,
            Home.EDGE: graph.num_edges,
            Home.SHARED: 1,
        }
        places = [
            None if tensor is None else address(tensor, one.dtype, rows[one.home] * one.size)
            for tensor, one in zip(inputs, given, strict=True)
        ]
        spans = order.spans
        sweep = _Sweep(
            _table(places),
            _table([address(t, self.dtype, numbers) for t in states]),
            _table([address(t, self.dtype, t.numel()) for t in pending]),
            _table([address(t, self.dtype, self.size) for t in answers]),
            address(received, self.dtype, self.size),
            address(csr.indptr, index_type, graph.num_nodes + 1),
            address(csr.indices, index_type, graph.num_edges),
            address(csr.edge_ids, index_type, graph.num_edges),
            address(order.nodes, torch.int64, count),
            None if spans is None else address(spans, torch.int64, 2 * count),
            count,
        )
        function = self._function(index_type)
        function(ctypes.byref(sweep), at, answered, parts, width, parts)
        while any(place < count for place in at):
            for k, place in enumerate(at):
                answered[k] = place < count
                if answered[k]:
                    columns = slice(k * width, (k + 1) * width)
                    self.ask(step, int(order.nodes[place]), columns, received, answers)
            function(ctypes.byref(sweep), at, answered, parts, width, parts)
        return tuple(states)

    def _function(self, index_type: torch.dtype) -> Callable[..., None]:
        known = self._functions.get(index_type)
        if known is None:
            with _lock:
                function = load(self.source(index_type), exact=True).kernel
                function.restype = None
                function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 + [ctypes.c_int]
                known = self._functions[index_type] = function
        return known

    def _inputs(self, step: Step, graph: Graph) -> list[Tensor | None]:
        """What the two programs read; None in the places of states and of what was received."""
        program, aggregator = self.program, cast(Aggregator, step.aggregator)
        given, others = arguments_of(step), others_of(step)
        message = _values(program.message, given.tensors, given.fixed, step.message, aggregator, graph)
        received = torch.empty(0, dtype=self.dtype)
        update = _values(
            program.update,
            [received, *[t for _, t in others.placed]],
            others.fixed,
            cast(Callable[..., Any], step.update),
            Updated(program.num_states),
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

    def ask(self, step: Step, node: int, columns: slice, received: Tensor, answers: Sequence[Tensor]) -> None:
        """Let PyTorch compute some numbers of a node where the last bits of a function decide."""
        times = 1 + -(-BEHIND // self.size)

        def several(row: Tensor) -> Tensor:
            return row.expand(times, *row.shape[1:]).contiguous()

        arguments = {}
        for name, (_, value) in step.others.items():
            if isinstance(value, Tensor) and value.dim() and value.size(0) == step.fields.graph.num_nodes:
                value = several(value[node : node + 1])
            arguments[name] = value
        made = cast(Any, step.update)(several(received.view(1, *self.program.shape)), **arguments)
        for answer, state in zip(answers, made if isinstance(made, tuple) else (made,), strict=True):
            answer[columns] = state[0].detach().reshape(-1)[columns]


def _values(
    plan: Plan,
    tensors: Sequence[Tensor],
    fixed: dict[str, Any],
    function: Callable[..., Any],
    aggregator: Aggregator,
    graph: Graph,
) -> list[Tensor]:
    numbers = [torch.tensor(fixed[name], dtype=torch.float64) for _, name in plan.numbers]
    return plan.values([*tensors, *numbers], function, aggregator, graph.size)


def _require_no_gradients(tensors: Sequence[Tensor | None]) -> None:
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise NotFusableError("gradients go wave by wave")


def _copied(state: Tensor) -> Tensor:
    return empty(state.shape, state.dtype).copy_(state.detach())


def _buffer(rows: int, size: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows * size, dtype=dtype, device="cpu")


def _table(addresses: Sequence[int | None]) -> Any:
    table = (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
    return ctypes.cast(table, ctypes.c_void_p)


# Its trial ----------------------------------------------------------------------------------------------


def _fault(kernel: SweepKernel, step: Step) -> str | None:
    """How the states of a sweep differ from those of a loop over nodes in `eager`, or ""."""
    small = _on_odd_graph(step)
    order = Order(torch.tensor([4, 0, 7, 2, 6, 1, 3, 5]), None, 1, 8)
    with torch.no_grad():
        found = kernel._run(small, order)
        wanted = _by_loop(small, order)
    scale = scale_of([*cast(Any, small.recurrence).before, *wanted], None)
    names = cast(Any, step.recurrence).state
    differences = [
        difference(f"the state {name}", a, b, scale) for name, a, b in zip(names, found, wanted, strict=True)
    ]
    return "; ".join(filter(None, differences))


def _on_odd_graph(step: Step) -> Step:
    graph, num_edges = odd_graph(step.fields.graph, True), step.fields.graph.num_edges
    num_nodes, generator = step.fields.graph.num_nodes, torch.Generator().manual_seed(0)
    known: dict[tuple[int, int], Tensor] = {}

    def sampled(value: Any, rows: int) -> Any:
        key = id(value), rows  # a state is an argument several times
        if key not in known:
            known[key] = rows_like(value, rows, True, generator).detach()
        return known[key]

    def has(value: Any, rows: int) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and value.size(0) == rows

    said = cast(Any, step.recurrence)
    before = tuple(sampled(state, graph.num_nodes) for state in said.before)
    arguments = {}
    for name, (residency, value) in step.arguments.items():
        if residency is not Residency.GIVEN:
            value = sampled(value, graph.num_nodes)
        elif has(value, num_edges):
            value = sampled(value, graph.num_edges)
        arguments[name] = Argument(residency, value)
    others = {
        name: Argument(residency, sampled(value, graph.num_nodes) if has(value, num_nodes) else value)
        for name, (residency, value) in step.others.items()
    }
    return step._replace(
        fields=step.fields.on(graph),
        arguments=arguments,
        others=others,
        recurrence=said._replace(before=before),
    )


def _by_loop(step: Step, order: Order) -> States:
    """Node after node, each a step of the whole graph in `eager`, of which one row is taken."""
    said, graph = cast(Any, step.recurrence), step.fields.graph
    aggregator, states = cast(Any, step.aggregator), list(said.before)
    sources = {f"{name}_j": k for k, name in enumerate(said.state)}
    for node in order.nodes.tolist():
        arguments = {
            name: Argument(one.residency, states[sources[name]] if name in sources else one.value)
            for name, one in step.arguments.items()
        }
        made = eager.compute(
            step._replace(
                arguments=arguments,
                aggregate=lambda messages: aggregator(messages, graph.dst, None, graph.num_dst, 0),
            )
        )
        rows = made if isinstance(made, tuple) else (made,)
        for k, new in enumerate(rows):
            states[k] = states[k].index_copy(0, torch.tensor([node]), new[node : node + 1])
    return tuple(states)
