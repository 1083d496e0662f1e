"""A per-edge program as C: one loop over the edges of a row, which updates the row's accumulators."""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

from importlib.resources import files
from math import prod

import torch

from mpnn.backends.c.accumulators import Accumulators, Weighted
from mpnn.backends.c.nest import Frame, NestText, indent
from mpnn.backends.c.numbers import STORAGE
from mpnn.plan.formula import formula
from mpnn.plan.homes import Home
from mpnn.plan.ir import Over, Program
from mpnn.plan.nests import make_schedule

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
        self.program = program
        self.row = Accumulators(program, save=save)
        self.index = "int32_t" if index_type == torch.int32 else "int64_t"
        self.schedule = make_schedule(program)
        made = dict.fromkeys(item.value for nest in self.schedule.nests for item in nest.items)
        self.names = {v: f"v{k}" for k, v in enumerate(v for v in made if v is not None)}
        frame = Frame(program, self.schedule, self.names, self.row)
        self.real = frame.real
        self.nests = [NestText(frame, nest) for nest in self.schedule.nests]
        self.used = {k for nest in self.nests for k in nest.inputs}

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
        (nest,) = self.nests
        inside = [
            *self._where("slot"),
            *self._prefetches("slot", AHEAD),
            *self._pointers(),
            *nest.lines(),
        ]
        return ["for (int64_t slot = begin; slot < end; slot++) {", *indent(inside), "}"]

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
            lines += indent(["for (int b = 0; b < n; b++) {", *indent(head), "}"])
        for nest in self.nests:
            arrays = [
                f"real *restrict {self.names[v]}s = {self.names[v]}b[b];" for v in stored if v in nest.arrays
            ]
            arrays += [f"real *restrict w{k} = w{k}b[b];" for k in self.schedule.weights if k in nest.weights]
            pointers = [line for k, line in enumerate(self._pointers_by_input()) if line and k in nest.inputs]
            inside = [*self._where("first + b"), *pointers, *arrays, *nest.lines()]
            lines += indent(["for (int b = 0; b < n; b++) {", *indent(inside), "}"])
            if nest.is_weight:
                (k,) = nest.weights
                weighted = self.row.each[k]
                assert isinstance(weighted, Weighted)
                lines += indent(weighted.rescale())
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
