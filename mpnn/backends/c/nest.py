"""One loop nest of a per-edge program as C."""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from mpnn.backends import point
from mpnn.backends.c.accumulators import Accumulators
from mpnn.backends.c.numbers import STORAGE, literal
from mpnn.plan.dropout import threshold
from mpnn.plan.indices import Indices, broadcast, linear, locate
from mpnn.plan.ir import Over, Program, Value
from mpnn.plan.nests import Item, Nest, Schedule, base_of

# A number that changes nothing when features are reduced.
IDENTITY = {"sum": "0", "max": "-INFINITY", "min": "INFINITY"}


@dataclass(frozen=True)
class Frame:
    """What all nests of a kernel share: its program, the name of each value, and what a row gathers."""

    program: Program
    schedule: Schedule
    names: dict[Value, str]
    row: Accumulators

    @property
    def real(self) -> str:
        """The type that is computed in."""
        return "double" if self.program.dtype == torch.float64 else "float"


class NestText:
    """A loop nest as C.

    A value that another nest reads is an array, named as the value with an s behind; one that only this nest
    reads is a variable of the loop. In a `flat` nest every value has the same place in its array, and one loop
    goes over all of them.
    """

    def __init__(self, frame: Frame, nest: Nest) -> None:
        self.frame, self.nest = frame, nest
        self.is_weight = nest.items[0].kind == "weight"
        self.is_product = not self.is_weight and self._is_product()
        loops = nest.reduced is None and not self.is_product
        self.flat = loops and all(map(self._reads_flat, nest.items))

    # What it names --------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[int]:
        """The inputs that it reads."""
        bases = [base_of(read) for item in self.nest.items for read in item.reads]
        return {base.detail for base in bases if base.op == "load"}

    @property
    def arrays(self) -> set[Value]:
        """The values between nests that it reads or writes."""
        pairs = [(read, item) for item in self.nest.items for read in item.reads]
        read = {base_of(read) for read, item in pairs if not self._is_variable(read, item)}
        written = {item.value for item in self.nest.items}
        return {value for value in self.frame.schedule.stored if value in read or value in written}

    @property
    def weights(self) -> set[int]:
        """The outputs whose weights it reads, or whose scores it writes in their place."""
        return {item.output for item in self.nest.items if item.kind in ("weight", "weighted")}

    # Its loops ------------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The loops."""
        nest = self.nest
        if self.is_weight:
            return self._weights(nest.items[0])
        if self.is_product:
            return self._product()
        if self.flat:
            return self._loops(
                [(0, prod(nest.domain))], [s for i in nest.items for s in self._item(i, ["i0"])], True
            )
        indices = [f"i{d}" if n > 1 else "0" for d, n in enumerate(nest.domain)]
        statements = [s for i in nest.items for s in self._item(i, indices)]
        dims = [(d, n) for d, n in enumerate(nest.domain) if n > 1]
        opening: list[str] = []
        closing: list[str] = []
        for item in nest.items:
            if item.kind == "reduce":
                opening, closing = self._accumulator(item, indices, opening, closing)
        if nest.reduced is None:
            loops = opening + self._loops(dims, statements, True)
            return ["{", *indent([*loops, *closing]), "}"] if closing else loops
        inner = [(d, n) for d, n in dims if d in nest.reduced]
        outer = [(d, n) for d, n in dims if d not in nest.reduced]
        if any(self._parts(i) > 1 for i in nest.items):
            loops = self._in_parts(*inner[0], statements)
            return self._loops(outer, [*opening, *loops, *closing], False)
        accumulators = [
            f"r{self.frame.names[i.value][1:]}" for i in nest.items if i.kind == "reduce" and i.value is not None
            and i.value.name == "sum"
        ]  # fmt: skip
        free = accumulators and len(inner) == 1 and not self.frame.program.exact
        pragma = f"reduction(+:{', '.join(accumulators)})" if free else ""
        whole = all(i.value is None or i.kind != "reduce" or i.value.name == "sum" for i in nest.items)
        return self._loops(
            outer, opening + self._loops(inner, statements, bool(pragma) and whole, pragma) + closing, False
        )

    def _is_product(self) -> bool:
        """Whether this is a row times a matrix whose rows are whole vectors."""
        nest = self.nest
        if len(nest.items) != 2 or len(nest.domain) != 2 or nest.reduced is not None:
            return False
        multiply, total = nest.items
        value, out = multiply.value, total.value
        if value is None or out is None or value.name != "mul" or value in self.frame.schedule.stored:
            return False
        if total.kind != "reduce" or out.name != "sum" or out.detail != (0,) or total.reads[0] is not value:
            return False
        depth, width = nest.domain
        left, right = multiply.reads
        whole_rows = right.shape == nest.domain and base_of(right) is right and self._is_real_array(right)
        return width % self._lanes() == 0 and whole_rows and left.shape == (depth, 1)

    def _product(self) -> list[str]:
        """A row vector times a matrix, with the sums in vector registers: the inner loop of a small GEMM."""
        multiply, total = self.nest.items
        (depth, width), lanes = self.nest.domain, self._lanes()
        left, right = multiply.reads
        assert total.value is not None
        out = total.value
        blocks, step = width // lanes, _independent(depth, width // lanes)
        lines: list[str] = []
        closing: list[str] = []
        for first in range(0, blocks, 8):
            some = range(first, min(first + 8, blocks))
            names = [[f"p{b}_{u}" for u in range(step)] for b in some]
            lines.append(f"vector {', '.join(f'{n} = {{0}}' for group in names for n in group)};")
            lines.append(f"for (int i0 = 0; i0 < {depth}; i0 += {step}) {{")
            for u in range(step):
                row = f"(i0 + {u})" if u else "i0"
                lines.append(f"    const real x{u} = {self._operand(left, multiply, [row, '0'])};")
                lines += [
                    f"    {group[u]} += x{u} * VECTOR(&{self._operand(right, multiply, [row, str(b * lanes)])});"
                    for b, group in zip(some, names, strict=True)
                ]
            lines.append("}")
            for b, group in zip(some, names, strict=True):
                closing.append(f"VECTOR(&{self.frame.names[out]}s[{b * lanes}]) = {' + '.join(group)};")
        return ["{", *("    " + line for line in [*lines, *closing]), "}"]

    # Sums in one order --------------------------------------------------------------------------------

    def _lanes(self) -> int:
        """The number of entries of a vector register."""
        return 64 // (8 if self.frame.real == "double" else 4)

    def _parts(self, item: Item) -> int:
        """The number of parts of a sum over features whose bits must be the same in every kernel.

        The backward kernel of a maximum finds the largest message by its bits, but has other loop nests than
        the forward kernel. So the order of a sum depends on the sum alone: number k along the reduced dimension
        is added to part k modulo this number, and the parts are added at the end.
        """
        value = item.value
        if not self.frame.program.exact or value is None or item.kind != "reduce" or value.name != "sum":
            return 1
        reduced = [n for d, n in enumerate(item.domain) if n > 1 and d in value.detail]
        if self._is_trailing(item):
            return min(self._lanes(), 1 << (reduced[0].bit_length() - 1)) if len(reduced) == 1 else 1
        if len(item.domain) == 2 and value.detail == (0,) and item.domain[1] % self._lanes() == 0:
            return _independent(item.domain[0], item.domain[1] // self._lanes())  # as in `_product`
        return 1

    def _is_trailing(self, item: Item) -> bool:
        """Whether an item belongs to a nest whose innermost loops are the reduced dimensions."""
        return any(item in nest.items and nest.reduced is not None for nest in self.frame.schedule.nests)

    def _in_parts(self, d: int, length: int, statements: list[str]) -> list[str]:
        """The innermost loop; each lane of a vector sums one part."""
        parts = max(self._parts(i) for i in self.nest.items)
        sums = [i.kind != "reduce" or i.value is None or i.value.name == "sum" for i in self.nest.items]
        pragma = ["#pragma omp simd"] if all(sums) else []
        lines: list[str] = []
        each = f"for (int lane = 0; lane < {parts}; lane++) {{"
        if length == parts:
            lines += [*pragma, each, *indent([f"const int i{d} = lane;", *statements]), "}"]
        elif length > parts:
            start = f"const int i{d} = first{d} + lane;"
            step = [*pragma, each, *indent([start, *statements]), "}"]
            head = f"for (int first{d} = 0; first{d} < {length - length % parts}; first{d} += {parts}) {{"
            lines += [head, *indent(step), "}"]
        if length % parts:
            head = f"for (int lane = 0; lane < {length % parts}; lane++) {{"
            start = f"const int i{d} = {length - length % parts} + lane;"
            lines += [head, *indent([start, *statements]), "}"]
        return lines

    def _is_real_array(self, value: Value) -> bool:
        """Whether a value is an array in memory, of the compute type."""
        if value.op == "load":
            return STORAGE[self.frame.program.inputs[value.detail].dtype] == self.frame.real
        return value in self.frame.schedule.stored

    def _accumulator(
        self, item: Item, indices: Sequence[str], opening: list[str], closing: list[str]
    ) -> tuple[list[str], list[str]]:
        value = item.value
        assert value is not None
        name, parts = self.frame.names[value], self._parts(item)
        identity = IDENTITY[value.name]
        if parts > 1:
            own, size = f"r{name[1:]}", 1 if self.nest.reduced is not None else value.size
            opening = [*opening, f"real {own}[{parts * size}];", f"FILL({own}, {parts * size}, 0);"]
            if self.nest.reduced is None:
                total = " + ".join(f"{own}[{part * size} + i]" for part in range(parts))
                return opening, [*closing, f"for (int i = 0; i < {size}; i++) {name}s[i] = {total};"]
            at = linear([("0" if d in value.detail else i) for d, i in enumerate(indices)], value.shape)
            halves = [f"for (int i = 0; i < {n}; i++) {own}[i] += {own}[i + {n}];" for n in _halves(parts)]
            return opening, [*closing, *halves, f"{name}s[{at}] = {own}[0];"]
        if self.nest.reduced is None:
            return [*opening, f"FILL({name}s, {value.size}, {identity});"], closing
        at = linear([("0" if d in value.detail else i) for d, i in enumerate(indices)], value.shape)
        return [*opening, f"real r{name[1:]} = {identity};"], [*closing, f"{name}s[{at}] = r{name[1:]};"]

    def _loops(
        self, dims: Sequence[tuple[int, int]], body: list[str], simd: bool, clause: str = ""
    ) -> list[str]:
        lines = list(body)
        for depth, (d, n) in enumerate(reversed(dims)):
            pragma = [f"#pragma omp simd {clause}".rstrip()] if simd and depth == 0 else []
            head = f"for (int i{d} = 0; i{d} < {n}; i{d}++) {{"
            lines = [*pragma, head, *("    " + line for line in lines), "}"]
        return lines if dims else ["{", *("    " + line for line in lines), "}"]

    def _item(self, item: Item, indices: Sequence[str]) -> list[str]:
        here = "i0" if self.flat else linear(indices, item.domain)
        value = item.value
        if item.kind == "point":
            assert value is not None
            if value.name == "kept":
                p, stream = value.detail
                text = f"kept(a->seed + {stream}u, (uint32_t)edge, {here}, {threshold(p)}u, {0.0 if p >= 1 else 1 / (1 - p)!r})"
                line = f"const real {self.frame.names[value]} = {text};"
                store = [f"{self.frame.names[value]}s[{here}] = {self.frame.names[value]};"]
                return [line, *(store if value in self.frame.schedule.stored else [])]
            operands = [self._operand(a, item, indices) for a in item.reads]
            kind = "const int" if value.boolean else "const real"
            line = f"{kind} {self.frame.names[value]} = {point.C[value.name].format(*operands)};"
            return (
                [line, f"{self.frame.names[value]}s[{here}] = {self.frame.names[value]};"]
                if value in self.frame.schedule.stored
                else [line]
            )
        what = self._operand(item.reads[0], item, indices)
        if item.kind == "reduce":
            assert value is not None
            target, parts = f"r{self.frame.names[value][1:]}", self._parts(item)
            if self.nest.reduced is None:
                kept = [("0" if d in value.detail else i) for d, i in enumerate(indices)]
                place = linear(kept, value.shape)
                if parts > 1:
                    target += f"[i0 % {parts} * {value.size} + {place}]"
                else:
                    target = f"{self.frame.names[value]}s[{place}]"
            elif parts > 1:
                target += "[lane]"
            return [f"{target} = {_fold(value.name, target, what)};"]
        if item.kind == "join":
            assert value is not None
            moved = [f"{i} + {o}" if o else i for i, o in zip(indices, item.offset, strict=True)]
            return [f"{self.frame.names[value]}s[{linear(moved, value.shape)}] = {what};"]
        k, output = item.output, self.frame.program.outputs[item.output]
        if item.kind == "weighted":
            assert output.score is not None
            at = linear(indices[: len(output.score.shape)], output.score.shape)
            return self.frame.row.each[k].step(here, f"w{k}[{at}] * {what}")
        if output.over is Over.ALL:
            return [f"all[{self.frame.row.all_offset(k)} + {here}] += {what};"]
        if output.over is Over.EDGE:
            storage, tensor = STORAGE[output.dtype], self.frame.program.tensor_of(k)
            place = f"(size_t)edge * {item.reads[0].size} + {here}"
            return [f"STORE((({storage} *)a->out[{tensor}])[{place}], {what});"]
        return self.frame.row.each[k].step(here, what)

    def _weights(self, item: Item) -> list[str]:
        """Write the scores to where `_rescale` turns them into weights."""
        k, output = item.output, self.frame.program.outputs[item.output]
        assert output.score is not None
        dims = [(0, output.score.size)] if self.flat else [(d, n) for d, n in enumerate(item.domain) if n > 1]
        indices = ["i0"] if self.flat else [f"i{d}" if n > 1 else "0" for d, n in enumerate(item.domain)]
        here = "i0" if self.flat else linear(indices, item.domain)
        score = self._operand(item.reads[0], item, indices)
        return self._loops(dims, [f"w{k}[{here}] = {score};"], True)

    # Reading values -----------------------------------------------------------------------------------

    def _reads_flat(self, item: Item) -> bool:
        """Whether every operand of an item has the same place in a contiguous array as its result."""
        if item.kind in ("reduce", "join", "weighted"):
            return False
        return all(self._is_flat(read, item) for read in item.reads)

    def _is_flat(self, read: Value, item: Item) -> bool:
        while read.op == "view" and read.name == "reshape":
            read = read.args[0]
        return (read.op == "const") or (read.op != "view" and read.size == prod(item.domain))

    def _operand(self, value: Value, item: Item, indices: Sequence[str]) -> str:
        if self._is_variable(value, item):
            return self.frame.names[value]
        if self.flat:
            return self._read(value, "i0")
        return self._read(value, broadcast(indices, value.shape))

    def _is_variable(self, value: Value, item: Item) -> bool:
        """Whether a value is a variable of the loop that is being printed."""
        here = value.op == "point" and value.shape == item.domain
        return here and any(i.value is value for i in self.nest.items)

    def _read(self, value: Value, at: Indices | str) -> str:
        """The text that reads an entry at an index of each dimension, or at a linear position."""
        value, place = locate(value, at, "/")
        if value.op == "const":
            return literal(value.detail)
        where = place if isinstance(place, str) else linear(place, value.shape)
        if value.op == "load":
            given = self.frame.program.inputs[value.detail]
            plain = given.dtype == torch.bool or STORAGE[given.dtype] == self.frame.real
            return f"in{value.detail}[{where}]" if plain else f"LOAD(in{value.detail}[{where}])"
        return f"{self.frame.names[value]}s[{where}]"


def _independent(depth: int, blocks: int) -> int:
    """The number of independent sums that hide the latency of an addition where a row has few vectors."""
    step = 1
    while step * blocks < 8 and depth % (2 * step) == 0:
        step *= 2
    return step


def _halves(parts: int) -> list[int]:
    """The numbers of pairs when half of the parts is added to the other half, until one part is left."""
    return [1 << k for k in reversed(range(parts.bit_length() - 1))]


def indent(lines: Sequence[str]) -> list[str]:
    """The lines, four spaces further in."""
    return ["    " + line for line in lines]


def _fold(kind: str, a: str, b: str) -> str:
    if kind == "sum":
        return f"{a} + {b}"
    better = ">" if kind == "max" else "<"
    return f"({b} {better} {a} || {b} != {b}) ? {b} : {a}"
