"""How a layer is computed: the work per edge and per node, the backend of each step, and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx

from mpnn.backends.run.net import title
from mpnn.backends.run.plans import trace_count
from mpnn.backends.run.record import Ran, recording
from mpnn.graph.graph import Graph
from mpnn.lowering import explain as why_not_dense
from mpnn.plan.front import arguments_of
from mpnn.plan.homes import Home, feature_shape, has_rows, lives_at, op_name, row_size
from mpnn.plan.ir import Program
from mpnn.plan.operations import VIEWS
from mpnn.plan.plan import Plan
from mpnn.plan.rows import Refused
from mpnn.step.step import Step
from mpnn.topology import Implicit

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
}
SUFFIX = {Home.SRC: "_j", Home.DST: "_i", Home.EDGE: "", Home.SHARED: ""}
PLACE = {Home.SRC: "once per source node", Home.DST: "once per destination node", Home.SHARED: "once"}


def explain(layer: Callable[..., Any], *inputs: Any, **options: Any) -> Explanation:
    """Run a layer, model or function once, and say how each of its steps of message passing was computed.

    Args:
        layer: a layer, a model or a function.
        *inputs, **options: its arguments.

    Returns:
        An `Explanation`, to print; its `.source` is the generated C or Triton.

    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> def layer(x):
    ...     return mpnn.propagate(ring, lambda x_i, x_j: (x_i - x_j).relu(), x=x)
    >>> print(explain(layer, torch.ones(3, 4)))
    step 1: <lambda>, Sum() on Graph(num_nodes=3, num_edges=3)
      runs     as a kernel in C
      per edge sum += relu(x_i - x_j)
      reads    120 bytes without reuse, 120 at least; writes 48; 36 operations
    ...
    """
    with recording() as ran, torch.random.fork_rng(devices=[]):
        layer(*inputs, **options)
    return Explanation([StepExplanation(one) for one in ran], trace_count())


@dataclass(frozen=True)
class Explanation:
    """What `explain` found, step by step; printed as a table."""

    steps: list[StepExplanation]
    num_traced: int

    @property
    def source(self) -> str:
        """The generated code of all steps, forward and backward."""
        return "\n".join(source for step in self.steps for source in step.sources)

    def __str__(self) -> str:
        if not self.steps:
            return "No message passing ran: the layer has none, or does not call propagate."
        parts = [f"step {k}: {step}" for k, step in enumerate(self.steps, 1)]
        return "\n".join([*parts, f"{self.num_traced} messages traced in this process"])

    __repr__ = __str__


class StepExplanation:
    """One step of message passing, or a sweep of many in the order of a schedule.

    `way` is "kernel", "chunks", "dense", "eager", "in order" or "levels"; `reason` says why there is no
    kernel, or which rule matched. Bytes and operations are those of the forward pass. For a kernel in C they
    are estimates: `bytes_without_reuse` counts a source node's row for each edge that leaves it,
    `bytes_at_least` counts it once. For PyTorch they are counted operation by operation; a sweep by levels
    has its numbers in its steps, and one from node to node has none.
    """

    def __init__(self, ran: Ran) -> None:
        self._ran = ran
        self.graph: Graph | None = None if isinstance(ran.what, str) else ran.what.fields.graph
        self.plan: Plan | None = None if ran.fused is None else ran.fused.plan
        self.way, self.reason = self._way()

    def _way(self) -> tuple[str, str]:
        if self.plan is None:
            return self._ran.how, self._ran.reason
        if isinstance(self._ran.fused.program, Refused):
            return "chunks", self._ran.fused.program.reason
        if self._ran.fused.make is None:
            return "chunks", "there is nothing to compile kernels with"
        backward = self._ran.fused.backwards.get(self._ran.wanted)
        if isinstance(backward, Refused):
            return "chunks", f"its gradient has no kernel: {backward.reason}"
        return "kernel", ""

    @property
    def _language(self) -> str:
        return str(getattr(getattr(self._ran.fused, "make", None), "language", ""))

    @cached_property
    def _program(self) -> Program | None:
        return self.plan.program if self.plan is not None and isinstance(self.plan.program, Program) else None

    @property
    def sources(self) -> Iterator[str]:
        """The generated code, forward and backward."""
        if self._ran.source:
            yield self._ran.source
        if self.way != "kernel" or self.plan is None:
            return
        fused, wanted = self._ran.fused, self._ran.wanted
        yield fused.forward_kernel(save=True in wanted).source()
        backward = fused.backwards.get(wanted)
        if backward is not None:
            yield from (kernel.source() for kernel in fused.backward_kernels(backward))

    # Estimates ----------------------------------------------------------------------------------------

    def _bytes(self, per_source: str) -> int:
        if self._program is None or self.graph is None:
            return 0 if self._ran.work is None else self._ran.work.bytes_read
        graph = self.graph
        rows = {
            Home.SRC: graph.num_edges if per_source == "edge" else min(graph.num_src, graph.num_edges),
            Home.DST: graph.num_dst,
            Home.EDGE: graph.num_edges,
            Home.SHARED: 1,
        }
        edges = 2 * graph.by_dst.indices.element_size() * graph.num_edges
        return edges + sum(rows[i.home] * i.size * i.dtype.itemsize for i in self._program.inputs)

    @property
    def bytes_without_reuse(self) -> int:
        """Bytes read if nothing stayed in a cache."""
        return self._bytes("edge")

    @property
    def bytes_at_least(self) -> int:
        """Bytes read if everything stayed in a cache."""
        return self._bytes("node")

    @property
    def bytes_written(self) -> int:
        """Bytes of the aggregates."""
        if self._program is None or self.graph is None:
            return 0 if self._ran.work is None else self._ran.work.bytes_written
        width = sum(o.value.size * o.dtype.itemsize for o in self._program.outputs)
        return width * self.graph.num_dst

    @property
    def operations(self) -> int:
        """Arithmetic operations on all edges together."""
        if self.plan is None or self.graph is None:
            return 0 if self._ran.work is None else self._ran.work.operations
        each = sum(map(_operations, self.plan.hoisted.core)) + sum(map(row_size, self.plan.hoisted.outputs))
        return each * self.graph.num_edges

    # Words --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        how = {
            "kernel": f"as a kernel in {self._language}", "chunks": "on some edges at a time, in PyTorch",
            "dense": "as one dense operation", "eager": "on all edges at once, in PyTorch",
            "levels": "level by level, the steps that follow",
            "in order": "from node to node, as a kernel in C",
        }[self.way]  # fmt: skip
        why = f": {self.reason}" if self.reason else ""
        what = self._ran.what
        lines = [self._title(), f"  runs     {how}{why}"]
        if isinstance(what, Step) and isinstance(self.graph, Implicit) and self.way in ("kernel", "chunks"):
            lines.append(f"  because  {why_not_dense(what)}")
        if self.plan is not None:
            assert isinstance(what, Step)
            names = _Names(self.plan, arguments_of(what).names)
            lines += [f"  per node {line}" for line in names.moved()]
            lines += [f"  per edge {line}" for line in names.core()]
            lines += self._backward_lines()
        if self.bytes_written:
            without, least = _amount(self.bytes_without_reuse), _amount(self.bytes_at_least)
            read = f"{without} bytes without reuse, {least} at least" if self._program else f"{least} bytes"
            lines.append(
                f"  reads    {read}; writes {_amount(self.bytes_written)}; "
                f"{_amount(self.operations)} operations"
            )
        return "\n".join(lines)

    def _title(self) -> str:
        what = self._ran.what
        if isinstance(what, str):
            return f"{what}, on its own tensors"
        if what.recurrence is not None:
            return f"{title(what)} in {what.schedule.name} order on {self.graph!r}"
        return f"{title(what)}, {what.aggregator or 'aggregate()'} on {self.graph!r}"

    __repr__ = __str__

    def _backward_lines(self) -> list[str]:
        backward = None if self.plan is None else self._ran.fused.backwards.get(self._ran.wanted)
        if backward is None or isinstance(backward, Refused):
            return []
        over = {Home.SRC: "edges that leave a node", Home.DST: "edges that enter a node"}
        what = [f"{len(p.outputs)} over the {over[p.by]}" for p in backward.programs]
        return [f"  backward sums of gradients: {'; '.join(what)}"]


def _operations(node: fx.Node) -> int:
    name = op_name(node)
    if name in VIEWS or not node.all_input_nodes:
        return 0
    size = row_size(node)
    if name in ("mm", "addmm", "bmm"):
        return 2 * size * feature_shape(node.all_input_nodes[-2])[-1]
    widest = max((row_size(n) for n in node.all_input_nodes if has_rows(n)), default=0)
    return max(size, widest)


def _amount(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 10 * size:
            return f"{number / size:.3g}{unit}" if number < 1000 * size else f"{number / size:.0f}{unit}"
    return str(number)


class _Names:
    """The operations of a plan as formulas."""

    def __init__(self, plan: Plan, arguments: Sequence[str]) -> None:
        self._plan = plan
        self._names: dict[fx.Node, str] = {}
        graph = (plan.hoisted.inputs or plan.hoisted.core or plan.hoisted.outputs)[0].graph
        placeholders = [n for n in graph.nodes if n.op == "placeholder"]
        captured = [".".join(path) for path in (*plan.numbers, *(path for path, *_ in plan.captured.each))]
        self._names.update(zip(placeholders, [*arguments, *captured], strict=True))
        self._shown = {n for n in plan.hoisted.inputs if n not in self._names}
        for k, node in enumerate(plan.hoisted.inputs):
            self._names.setdefault(node, f"n{k}{SUFFIX[lives_at(node)]}")

    def moved(self) -> list[str]:
        """The formulas that are computed before the loop over the edges."""
        shown = []
        for node in self._plan.hoisted.inputs:
            if node in self._shown and node.op == "call_function":
                place = PLACE.get(lives_at(node), "")
                shown.append(f"{self._names[node]} = {self._formula(node)}, {place}")
        return shown

    def core(self) -> list[str]:
        """The formula of the loop; a value that is read twice gets a name."""
        plan = self._plan
        lines: list[str] = []
        for node in plan.hoisted.core:
            if op_name(node) not in VIEWS and len(node.users) > 1:
                formula = self._formula(node)
                self._names[node] = f"v{len(lines)}"
                lines.append(f"{self._names[node]} = {formula}")
        values = iter(plan.core.results)
        for reduction in plan.reductions:
            lines += [reduction.line(*(self._text(next(values)) for _ in range(reduction.arity)))]
        return lines

    def _text(self, value: Any, nested: bool = False) -> str:
        if isinstance(value, fx.Node):
            if value in self._names:
                return self._names[value]
            formula = self._formula(value)
            return f"({formula})" if nested and op_name(value) in INFIX else formula
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._text, value))}]"
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _formula(self, node: fx.Node) -> str:
        if node.op != "call_function":
            return str(node.target)
        name, args = op_name(node), node.args
        if name in VIEWS - {"select", "slice"}:
            return self._text(args[0], nested=True)
        if name in ("select", "slice") and len(args) >= 3:
            picked = (
                str(args[2]) if name == "select" else f"{args[2] or ''}:{args[3] if len(args) > 3 else ''}"
            )
            return f"{self._text(args[0], True)}[{':, ' * int(str(args[1]))}{picked}]"
        if name in INFIX and len(args) == 2:
            return f"{self._text(args[0], True)} {INFIX[name]} {self._text(args[1], True)}"
        return f"{name}({', '.join(map(self._text, args))})"
