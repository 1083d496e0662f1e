"""A sweep, node after node, as C: the loop over the edges of a node, its update, and on to the next node."""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from math import prod

import torch

from mpnn.aggregate.reduction import Reduction
from mpnn.aggregate.reductions import Max, Mean, Min
from mpnn.backends import point
from mpnn.backends.c.nest import indent
from mpnn.backends.c.numbers import STORAGE, literal
from mpnn.backends.c.printer import PRELUDE
from mpnn.plan.formula import formula
from mpnn.plan.homes import Home
from mpnn.plan.in_order import InOrder
from mpnn.plan.indices import broadcast, linear, locate, unravel
from mpnn.plan.ir import Program, Value
from mpnn.plan.rows import NotFusableError

TEMPLATE = files("mpnn.backends.c").joinpath("in_order.h").read_text()
BLOCK_BYTES = 256  # of a row, whose sums are in four vector registers
EXTREMA: dict[type[Reduction], tuple[str, str]] = {Max: (">", "-INFINITY"), Min: ("<", "INFINITY")}
DOUBT = 32  # rounding units within which two good versions of a function may differ


def block_of(size: int, dtype: torch.dtype) -> int:
    """How many numbers of a row are computed together."""
    return min(size, BLOCK_BYTES // dtype.itemsize)


def print_in_order(program: InOrder, index_type: torch.dtype) -> str:
    """The C source of a sweep."""
    received, updated = program.received_program, program.updated_program
    real = "double" if received.dtype == torch.float64 else "float"
    size = prod(program.shape)
    message = _Numbers(program, received, "m", 0)
    update = _Numbers(program, updated, "u", len(received.inputs))
    (output,) = received.outputs
    gathered = message.read(output.value)
    guarded = program.guarded()
    states = [update.read(value, guarded) for value in program.states]
    text = {
        "BASES": [*message.bases(), *update.bases()],
        "EDGE": [*message.pointers(), *_loop([*message.lines, *_step(output.reduction, gathered)])],
        "ROW": [
            *update.pointers(),
            *_loop(
                [
                    f"sum[c] = {_finished(output.reduction)};",
                    *update.lines,
                    *(["a->received[i] = sum[c];"] if guarded else []),
                    *(f"into[{s}][at + i] = {state};" for s, state in enumerate(states)),
                ],
                " reduction(|:doubt)" if guarded else "",
            ),
        ],
        "IDENTITY": [EXTREMA.get(type(output.reduction), ("", "0"))[1]],
    }
    return "\n".join(
        [
            f"/* node after node, {formula(received)}",
            f"   and then {formula(updated)} */",
            f"typedef {real} real;",
            f"#define R(name) name{'' if real == 'double' else '##f'}",
            PRELUDE,
            f"typedef {'int32_t' if index_type == torch.int32 else 'int64_t'} index_t;",
            f"enum {{ SIZE = {size}, BLOCK = {block_of(size, received.dtype)}, STATES = {program.num_states} }};",
            _filled(text),
        ]
    )


def _filled(text: dict[str, list[str]]) -> str:
    lines = []
    for line in TEMPLATE.splitlines():
        word = line.strip()
        if word in text:
            lines += [line[: line.index(word)] + one for one in text[word]]
        else:
            lines.append(line.replace("IDENTITY", text["IDENTITY"][0]))
    return "\n".join(lines)


def _loop(body: list[str], clause: str = "") -> list[str]:
    return [
        f"#pragma omp simd{clause}",
        "for (int c = 0; c < width; c++) {",
        *indent(["const int64_t i = first + c; (void)i;", *body]),
        "}",
    ]


def _step(reduction: Reduction, what: str) -> list[str]:
    """One edge more."""
    if type(reduction) not in EXTREMA:
        return [f"sum[c] += {what};"]
    better, _ = EXTREMA[type(reduction)]
    return [
        f"const real x = {what}, best = sum[c];",
        f"sum[c] = (x {better} best) | (x != x) ? x : best;",
    ]


def _finished(reduction: Reduction) -> str:
    """What a node has received."""
    if isinstance(reduction, Mean):
        return "sum[c] / (real)(count ? count : 1)"
    return "(count ? sum[c] : 0)" if type(reduction) in EXTREMA else "sum[c]"


class _Numbers:
    """The arithmetic of a program at number `i` of a row, as lines.

    Args:
        whole: the sweep.
        program: its first or second part.
        prefix: with which the names of variables begin.
        offset: where the program's inputs begin among all inputs.
    """

    def __init__(self, whole: InOrder, program: Program, prefix: str, offset: int) -> None:
        self.whole, self.program, self.prefix, self.offset = whole, program, prefix, offset
        self.is_message = prefix == "m"
        self.lines: list[str] = []
        self._names: dict[tuple[Value, tuple[str, ...]], str] = {}
        self._here = (
            tuple(unravel("i", whole.shape, "/")) if len(whole.shape) > 1 else ("i",) * len(whole.shape)
        )
        self._loads: set[int] = set()

    # Where the inputs are -----------------------------------------------------------------------------------

    def bases(self) -> list[str]:
        """The pointers to the inputs."""
        lines = []
        for k in sorted(self._loads):
            kind = STORAGE[self.program.inputs[k].dtype]
            state = self.whole.state_of(k, self.is_message)
            if state is not None:
                lines.append(f"const real *base_{self.prefix}{k} = a->states[{state}];")
            else:
                lines.append(f"const {kind} *restrict base_{self.prefix}{k} = a->in[{self.offset + k}];")
        return lines

    def pointers(self) -> list[str]:
        """Those to their rows, at this edge or this node."""
        rows = {Home.EDGE: "edge", Home.SRC: "neighbour", Home.DST: "row", Home.SHARED: "0"}
        return [
            f"const {STORAGE[one.dtype]} *{self.prefix}in{k} = base_{self.prefix}{k} + {rows[one.home]} * {one.size};"
            for k in sorted(self._loads)
            for one in [self.program.inputs[k]]
        ]

    # Reading values -----------------------------------------------------------------------------------------

    def read(self, value: Value, guarded: dict[Value, Value] | None = None) -> str:
        """The text of a value of the row's shape at number `i`, whose lines come before."""
        return self._read(value, broadcast(self._here, value.shape), guarded or {})

    def _read(self, value: Value, at: Sequence[str], guarded: dict[Value, Value]) -> str:
        value, place = locate(value, list(at), "/")
        if value.op == "const":
            return literal(value.detail)
        if value.op == "load":
            return self._load(value, place)
        indices = unravel(place, value.shape, "/") if isinstance(place, str) else list(place)
        key = (value, tuple(indices))
        if key not in self._names:
            texts = [self._read(arg, broadcast(indices, arg.shape), guarded) for arg in value.args]
            name = self._names[key] = f"{self.prefix}{len(self._names)}"
            kind = "const int" if value.boolean else "const real"
            self.lines.append(f"{kind} {name} = {point.C[value.name].format(*texts)};")
            if value in guarded:
                near = self._read(guarded[value], broadcast(indices, guarded[value].shape), guarded)
                unit = "0x1p-52" if self.program.dtype == torch.float64 else "0x1p-23f"
                least = "0x1p-1022" if self.program.dtype == torch.float64 else "0x1p-126f"
                self.lines.append(
                    f"doubt |= R(fabs)({texts[0]} - {texts[1]}) <= {DOUBT} * {unit} * R(fabs)({near}) + {least};"
                )
        return self._names[key]

    def _load(self, value: Value, place: str | Sequence[str]) -> str:
        k, given = value.detail, self.program.inputs[value.detail]
        is_received = not self.is_message and k == self.whole.received
        here = not isinstance(place, str) and tuple(place) == tuple(broadcast(self._here, self.whole.shape))
        here = here and given.shape == self.whole.shape
        is_state = self.whole.state_of(k, self.is_message) is not None  # written while it is read
        if (is_received or is_state) and not here:
            raise NotFusableError("a number of a node follows from other numbers of the states")
        if is_received:
            return "sum[c]"
        self._loads.add(k)
        if here or given.size == 1:
            where = "i" if here else "0"
        else:
            where = place if isinstance(place, str) else linear(place, value.shape)
        kind = STORAGE[given.dtype]
        real = "double" if self.program.dtype == torch.float64 else "float"
        text = f"{self.prefix}in{k}[{where}]"
        return text if kind in (real, "uint8_t") else f"(real){text}"
