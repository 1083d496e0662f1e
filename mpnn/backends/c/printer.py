"""A per-edge program as C: one loop over the edges of a row, which updates the row's accumulators."""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from math import prod

import torch

from mpnn.backends import point
from mpnn.backends.c.accumulators import Accumulators, Weighted
from mpnn.backends.c.numbers import STORAGE, literal
from mpnn.plan.dropout import threshold
from mpnn.plan.formula import formula
from mpnn.plan.homes import Home
from mpnn.plan.indices import Indices, broadcast, linear, locate
from mpnn.plan.ir import Over, Program, Value
from mpnn.plan.nests import Item, Nest, base_of, make_schedule

# A number rounded as in memory: the backward pass of a maximum compares it with the stored output.
ROUNDED = {
    torch.bfloat16: "from_bfloat16(to_bfloat16((float)(x)))",
    torch.float16: "((real)(_Float16)(x))",
}

# Read once: after an upgrade on disk the new templates must not be used with the old printer.
PRELUDE, ROWS = (files("mpnn.backends.c").joinpath(name).read_text() for name in ("prelude.h", "rows.h"))

# How many edges ahead a neighbour's row is fetched: more where an edge is a few instructions, for many of
# them are over before a row has come from memory.
AHEAD, AHEAD_IN_BLOCKS = 32, 16
# A number that changes nothing when features are reduced.
IDENTITY = {"sum": "0", "max": "-INFINITY", "min": "INFINITY"}
BLOCK_BYTES = 1 << 15  # bytes of the first-level cache for the intermediate values of a block of edges


def print_kernel(program: Program, index_type: torch.dtype, *, save: bool) -> str:
    """The C source of a program.

    Args:
        program: what to do.
        index_type: int32 or int64, the type of the graph's compressed rows.
        save: whether to write what the backward pass needs besides the outputs.
    """
    return _Printer(program, index_type, save).source()


def numbers_of_a_row(program: Program) -> int:
    """The most numbers that a row has on the stack: accumulators, and values between loop nests."""
    schedule = make_schedule(program)
    gathered = sum(
        max(3, len(o.reduction.identity)) * o.value.size for o in program.outputs if o.over is Over.ROW
    )
    between = sum(v.size for v in schedule.stored) + sum(prod(i.domain) for i in schedule.weights.values())
    return gathered + between


class _Printer:
    def __init__(self, program: Program, index_type: torch.dtype, save: bool) -> None:
        self.program, self.save = program, save
        self.row = Accumulators(program, save=save)
        self.index = "int32_t" if index_type == torch.int32 else "int64_t"
        self.real = "double" if program.dtype == torch.float64 else "float"
        self.schedule = make_schedule(program)
        self.names: dict[Value, str] = {}
        for nest in self.schedule.nests:
            for item in nest.items:
                if item.value is not None and item.value not in self.names:
                    self.names[item.value] = f"v{len(self.names)}"
        self.nest: Nest | None = None
        self.flat = False
        self.used = {base_of(r).detail for n in self.schedule.nests for i in n.items for r in i.reads
                     if base_of(r).op == "load"}  # fmt: skip

    # The file -----------------------------------------------------------------------------------------

    def source(self) -> str:
        edges = self._edges()
        return "\n".join(
            [
                f"/* {formula(self.program)} */",
                f"typedef {self.real} real;",
                f"#define R(name) name{'' if self.real == 'double' else '##f'}",
                f"#define ROUND(x) {ROUNDED.get(self.program.dtype, '(x)')}",
                PRELUDE,
                f"typedef {self.index} index_t;",
                "typedef real vector __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));",
                "#define VECTOR(pointer) (*(vector *)(pointer))",
                self.row.state(),
                self._arguments(),
                edges,
                self.row.finish(),
                self.row.combine(),
                self.row.finish_all(),
                ROWS,
            ]
        )

    def _arguments(self) -> str:
        return (
            "typedef struct {\n"
            "    void *const *in, *const *out;\n"
            "    const index_t *indptr, *indices, *edge_ids;\n"
            "    int64_t num_edges;\n"
            "    uint32_t seed;\n"
            "} Args;\n"
        )

    # One edge after another ---------------------------------------------------------------------------

    def _edges(self) -> str:
        lines = []
        for k, given in enumerate(self.program.inputs):
            if k in self.used:
                lines.append(f"    const {STORAGE[given.dtype]} *restrict base{k} = a->in[{k}];")
                if self._role(given.home) == "row":
                    lines.append(
                        f"    const {STORAGE[given.dtype]} *restrict in{k} = base{k} + (size_t)row * {given.size};"
                    )
                elif given.home is Home.SHARED:
                    lines.append(f"    const {STORAGE[given.dtype]} *restrict in{k} = base{k};")
        simple = len(self.schedule.nests) == 1 and not self.schedule.weights
        body = self._one_by_one() if simple else self._in_blocks()
        return (
            "/* the edges of one row, from slot `begin` to slot `end` */\n"
            "static inline __attribute__((always_inline)) void edges(\n"
            "    const Args *restrict a, State *restrict s, real *restrict all, int64_t row, int64_t begin, int64_t end)\n"
            "{\n"
            + "\n".join([*lines, *("    " + line for line in body)])
            + "\n    (void)s; (void)all; (void)row;\n}\n"
        )

    def _one_by_one(self) -> list[str]:
        (nest,) = self.schedule.nests
        inside = [
            *self._where("slot"),
            *self._prefetches("slot", AHEAD),
            *self._pointers(),
            *self._nest(nest),
        ]
        return ["for (int64_t slot = begin; slot < end; slot++) {", *_indent(inside), "}"]

    def _in_blocks(self) -> list[str]:
        """Print each nest over a few edges before the next nest, so that operations of several edges overlap."""
        stored = sorted(self.schedule.stored, key=lambda v: int(self.names[v][1:]))
        numbers = sum(v.size for v in stored) + sum(prod(i.domain) for i in self.schedule.weights.values())
        block = max(1, min(8, BLOCK_BYTES // (8 * max(1, numbers))))
        lines = [
            f"for (int64_t first = begin; first < end; first += {block}) {{",
            f"    const int n = end - first < {block} ? (int)(end - first) : {block};",
            *(f"    real {self.names[v]}b[{block}][{max(1, v.size)}];" for v in stored),
        ]
        for k, item in self.schedule.weights.items():
            lines.append(f"    real w{k}b[{block}][{prod(item.domain)}];")
        head = [
            *self._prefetches("first + b", AHEAD_IN_BLOCKS),
            *(f"FILL({self.names[v]}b[b], {v.size}, 0);" for v in stored if v.op == "join"),
        ]
        if self.schedule.weights:
            lines.insert(0, "const real share = share_of(a->indptr[row + 1] - a->indptr[row]);")
        if head:
            lines += _indent(["for (int b = 0; b < n; b++) {", *_indent(head), "}"])
        for nest in self.schedule.nests:
            statements = self._nest(nest)
            text = "\n".join(statements)
            arrays = [
                f"real *restrict {self.names[v]}s = {self.names[v]}b[b];"
                for v in stored
                if f"{self.names[v]}s[" in text
            ] + [f"real *restrict w{k} = w{k}b[b];" for k in self.schedule.weights if f"w{k}[" in text]
            pointers = [
                line for k, line in enumerate(self._pointers_by_input()) if line and f"in{k}[" in text
            ]
            inside = [*self._where("first + b"), *pointers, *arrays, *statements]
            lines += _indent(["for (int b = 0; b < n; b++) {", *_indent(inside), "}"])
            if nest.items[0].kind == "weight":
                weighted = self.row.each[nest.items[0].output]
                assert isinstance(weighted, Weighted)
                lines += _indent(weighted.rescale())
        return [*lines, "}"]

    def _where(self, slot: str) -> list[str]:
        return [
            f"const int64_t neighbour = a->indices[{slot}]; (void)neighbour;",
            f"const int64_t edge = a->edge_ids[{slot}]; (void)edge;",
        ]

    def _prefetches(self, slot: str, distance: int) -> list[str]:
        lines = []
        for role, array in (("neighbour", "indices"), ("edge", "edge_ids")):
            fetched = [
                f"PREFETCH(base{k} + (size_t)next_{role} * {given.size}, sizeof(*base{k}) * {given.size});"
                for k, given in enumerate(self.program.inputs)
                if k in self.used and given.home is not Home.SHARED and self._role(given.home) == role
            ]
            if fetched:
                lines += [f"const int64_t next_{role} = a->{array}[ahead];", *fetched]
        # Also past the end of this row: the next row follows at once, and most rows are short.
        there = f"{slot} + {distance}"
        ahead = f"const int64_t ahead = {there} < a->num_edges ? {there} : {slot};"
        return [ahead, *lines] if lines else []

    def _pointers(self) -> list[str]:
        return [line for line in self._pointers_by_input() if line]

    def _pointers_by_input(self) -> list[str]:
        """For each input that varies by edge, the pointer to its row for this edge."""
        lines = []
        for k, given in enumerate(self.program.inputs):
            moves = k in self.used and given.home is not Home.SHARED and self._role(given.home) != "row"
            role = self._role(given.home)
            start = f"base{k} + (size_t){role} * {given.size}"
            lines.append(f"const {STORAGE[given.dtype]} *restrict in{k} = {start};" if moves else "")
        return lines

    def _role(self, home: Home) -> str:
        if home is Home.EDGE:
            return "edge"
        return "row" if home is self.program.by else "neighbour"

    def _nest(self, nest: Nest) -> list[str]:
        self.nest = nest
        if nest.items[0].kind == "weight":
            return self._weights(nest.items[0])
        product = self._product(nest)
        if product:
            return product
        self.flat = nest.reduced is None and all(self._reads_flat(i) for i in nest.items)
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
            return ["{", *_indent([*loops, *closing]), "}"] if closing else loops
        inner = [(d, n) for d, n in dims if d in nest.reduced]
        outer = [(d, n) for d, n in dims if d not in nest.reduced]
        if any(self._parts(i) > 1 for i in nest.items):
            loops = self._in_parts(*inner[0], statements, nest)
            return self._loops(outer, [*opening, *loops, *closing], False)
        accumulators = [
            f"r{self.names[i.value][1:]}" for i in nest.items if i.kind == "reduce" and i.value is not None
            and i.value.name == "sum"
        ]  # fmt: skip
        free = accumulators and len(inner) == 1 and not self.program.exact
        pragma = f"reduction(+:{', '.join(accumulators)})" if free else ""
        whole = all(i.value is None or i.kind != "reduce" or i.value.name == "sum" for i in nest.items)
        return self._loops(
            outer, opening + self._loops(inner, statements, bool(pragma) and whole, pragma) + closing, False
        )

    def _product(self, nest: Nest) -> list[str]:
        """A row vector times a matrix, with the sums in vector registers: the inner loop of a small GEMM."""
        if len(nest.items) != 2 or len(nest.domain) != 2 or nest.reduced is not None:
            return []
        multiply, total = nest.items
        value, out = multiply.value, total.value
        if value is None or out is None or value.name != "mul" or value in self.schedule.stored:
            return []
        if total.kind != "reduce" or out.name != "sum" or out.detail != (0,) or total.reads[0] is not value:
            return []
        depth, width = nest.domain
        lanes = self._lanes()
        left, right = multiply.reads
        whole_rows = right.shape == nest.domain and base_of(right) is right and self._is_real_array(right)
        if width % lanes or not whole_rows or left.shape != (depth, 1):
            return []
        self.flat = False
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
                closing.append(f"VECTOR(&{self.names[out]}s[{b * lanes}]) = {' + '.join(group)};")
        return ["{", *("    " + line for line in [*lines, *closing]), "}"]

    # Sums in one order --------------------------------------------------------------------------------

    def _lanes(self) -> int:
        """The number of entries of a vector register."""
        return 64 // (8 if self.real == "double" else 4)

    def _parts(self, item: Item) -> int:
        """The number of parts of a sum over features whose bits must be the same in every kernel.

        The backward kernel of a maximum finds the largest message by its bits, but has other loop nests than
        the forward kernel. So the order of a sum depends on the sum alone: number k along the reduced dimension
        is added to part k modulo this number, and the parts are added at the end.
        """
        value = item.value
        if not self.program.exact or value is None or item.kind != "reduce" or value.name != "sum":
            return 1
        reduced = [n for d, n in enumerate(item.domain) if n > 1 and d in value.detail]
        if self._is_trailing(item):
            return min(self._lanes(), 1 << (reduced[0].bit_length() - 1)) if len(reduced) == 1 else 1
        if len(item.domain) == 2 and value.detail == (0,) and item.domain[1] % self._lanes() == 0:
            return _independent(item.domain[0], item.domain[1] // self._lanes())  # as in `_product`
        return 1

    def _is_trailing(self, item: Item) -> bool:
        """Whether an item belongs to a nest whose innermost loops are the reduced dimensions."""
        return any(item in nest.items and nest.reduced is not None for nest in self.schedule.nests)

    def _in_parts(self, d: int, length: int, statements: list[str], nest: Nest) -> list[str]:
        """The innermost loop; each lane of a vector sums one part."""
        parts = max(self._parts(i) for i in nest.items)
        whole = all(i.kind != "reduce" or i.value is None or i.value.name == "sum" for i in nest.items)
        pragma = ["#pragma omp simd"] if whole else []
        lines: list[str] = []
        each = f"for (int lane = 0; lane < {parts}; lane++) {{"
        if length == parts:
            lines += [*pragma, each, *_indent([f"const int i{d} = lane;", *statements]), "}"]
        elif length > parts:
            start = f"const int i{d} = first{d} + lane;"
            step = [*pragma, each, *_indent([start, *statements]), "}"]
            head = f"for (int first{d} = 0; first{d} < {length - length % parts}; first{d} += {parts}) {{"
            lines += [head, *_indent(step), "}"]
        if length % parts:
            head = f"for (int lane = 0; lane < {length % parts}; lane++) {{"
            start = f"const int i{d} = {length - length % parts} + lane;"
            lines += [head, *_indent([start, *statements]), "}"]
        return lines

    def _is_real_array(self, value: Value) -> bool:
        """Whether a value is an array in memory, of the compute type."""
        if value.op == "load":
            return STORAGE[self.program.inputs[value.detail].dtype] == self.real
        return value in self.schedule.stored

    def _accumulator(
        self, item: Item, indices: Sequence[str], opening: list[str], closing: list[str]
    ) -> tuple[list[str], list[str]]:
        value = item.value
        assert value is not None
        assert self.nest is not None
        name, parts = self.names[value], self._parts(item)
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
                line = f"const real {self.names[value]} = {text};"
                store = [f"{self.names[value]}s[{here}] = {self.names[value]};"]
                return [line, *(store if value in self.schedule.stored else [])]
            operands = [self._operand(a, item, indices) for a in item.reads]
            kind = "const int" if value.boolean else "const real"
            line = f"{kind} {self.names[value]} = {point.C[value.name].format(*operands)};"
            return (
                [line, f"{self.names[value]}s[{here}] = {self.names[value]};"]
                if value in self.schedule.stored
                else [line]
            )
        what = self._operand(item.reads[0], item, indices)
        if item.kind == "reduce":
            assert value is not None
            assert self.nest is not None
            target, parts = f"r{self.names[value][1:]}", self._parts(item)
            if self.nest.reduced is None:
                kept = [("0" if d in value.detail else i) for d, i in enumerate(indices)]
                place = linear(kept, value.shape)
                if parts > 1:
                    target += f"[i0 % {parts} * {value.size} + {place}]"
                else:
                    target = f"{self.names[value]}s[{place}]"
            elif parts > 1:
                target += "[lane]"
            return [f"{target} = {_fold(value.name, target, what)};"]
        if item.kind == "join":
            assert value is not None
            moved = [f"{i} + {o}" if o else i for i, o in zip(indices, item.offset, strict=True)]
            return [f"{self.names[value]}s[{linear(moved, value.shape)}] = {what};"]
        k, output = item.output, self.program.outputs[item.output]
        if item.kind == "weighted":
            assert output.score is not None
            at = linear(indices[: len(output.score.shape)], output.score.shape)
            return self.row.each[k].step(here, f"w{k}[{at}] * {what}")
        if output.over is Over.ALL:
            return [f"all[{self.row.all_offset(k)} + {here}] += {what};"]
        if output.over is Over.EDGE:
            storage, tensor = STORAGE[output.dtype], self.program.tensor_of(k)
            place = f"(size_t)edge * {item.reads[0].size} + {here}"
            return [f"STORE((({storage} *)a->out[{tensor}])[{place}], {what});"]
        return self.row.each[k].step(here, what)

    def _weights(self, item: Item) -> list[str]:
        """Write the scores to where `_rescale` turns them into weights."""
        k, output = item.output, self.program.outputs[item.output]
        assert output.score is not None
        self.flat = self._reads_flat(item)
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
        if value.op == "point" and value in self.names and self._local(value, item):
            return self.names[value]
        if self.flat:
            return self._read(value, "i0")
        return self._read(value, broadcast(indices, value.shape))

    def _local(self, value: Value, item: Item) -> bool:
        """Whether a value is a variable of the loop that is being printed."""
        assert self.nest is not None
        return value.shape == item.domain and any(i.value is value for i in self.nest.items)

    def _read(self, value: Value, at: Indices | str) -> str:
        """The text that reads an entry at an index of each dimension, or at a linear position."""
        value, place = locate(value, at, "/")
        if value.op == "const":
            return literal(value.detail)
        where = place if isinstance(place, str) else linear(place, value.shape)
        if value.op == "load":
            given = self.program.inputs[value.detail]
            plain = given.dtype == torch.bool or STORAGE[given.dtype] == self.real
            return f"in{value.detail}[{where}]" if plain else f"LOAD(in{value.detail}[{where}])"
        return f"{self.names[value]}s[{where}]"


def _independent(depth: int, blocks: int) -> int:
    """The number of independent sums that hide the latency of an addition where a row has few vectors."""
    step = 1
    while step * blocks < 8 and depth % (2 * step) == 0:
        step *= 2
    return step


def _halves(parts: int) -> list[int]:
    """The numbers of pairs when half of the parts is added to the other half, until one part is left."""
    return [1 << k for k in reversed(range(parts.bit_length() - 1))]


def _indent(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _fold(kind: str, a: str, b: str) -> str:
    if kind == "sum":
        return f"{a} + {b}"
    better = ">" if kind == "max" else "<"
    return f"({b} {better} {a} || {b} != {b}) ? {b} : {a}"
