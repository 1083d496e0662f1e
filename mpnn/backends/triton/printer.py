"""A per-edge program as Triton: a tile of edges at a time, each value a tensor `[rows, slots, *features]`.

A value is a function of indices: views are arithmetic on the indices of what they look at, down to the loads.
So nothing is ever reshaped, and each feature dimension is an axis of the tile, padded to a power of two, as
Triton wants its shapes.
"""

# ruff: noqa: E501 (a line of Triton stays a line)

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from math import isinf, isnan, prod
from typing import NamedTuple

import torch

from mpnn.backends.triton.accumulators import KINDS, Accumulator, Field
from mpnn.plan.dropout import threshold
from mpnn.plan.formula import formula
from mpnn.plan.homes import Home
from mpnn.plan.indices import Indices, broadcast, linear, locate, unravel
from mpnn.plan.ir import Program, Value
from mpnn.plan.schedule import Shape

# Element-by-element arithmetic.
POINT = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "expm1": "expm1({0})",
    "log": "tl.log({0})",
    "log1p": "log1p({0})",
    "sqrt": "tl.sqrt({0})",
    "rsqrt": "1.0 / tl.sqrt({0})",
    "reciprocal": "1.0 / {0}",
    "square": "{0} * {0}",
    "relu": "tl.where({0} < 0, 0.0, {0})",
    "sigmoid": "1.0 / (1.0 + tl.exp(-{0}))",
    "tanh": "tanh({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "erf": "tl.erf({0})",
    "sign": "sign({0})",
    "sgn": "sign({0})",
    "pow": "power({0}, {1})",
    "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
    "where": "tl.where({0}, {1}, {2})",
    "masked_fill": "tl.where({1}, {2}, {0})",
    "float": "{0}.to(REAL)",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "ROUND({0}) == ROUND({1})",
    "ne": "{0} != {1}",
    "isnan": "{0} != {0}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    "logical_not": "{0} == 0",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "bitwise_not": "{0} == 0",
}
HELPERS = ("expm1", "log1p", "tanh", "power", "sign", "kept", "rescale", "largest", "smallest")
STORAGE = {torch.bfloat16: "tl.bfloat16", torch.float16: "tl.float16"}
IDENTITY = {"sum": "0.0", "max": 'float("-inf")', "min": 'float("inf")'}
ONES = "[ONES]"  # the shape of a single number; how many axes there are is known when all is printed
OPERANDS_OF_ONE_TYPE = {"where": (1, 2), "masked_fill": (0, 2)}


class Printed(NamedTuple):
    """A program as Triton, and what its launch must know."""

    source: str
    lanes: int  # numbers of one edge in the widest tensor
    state: int  # numbers that a part of a row hands on
    totals: int  # numbers that are summed over all edges


class _Term(NamedTuple):
    """A value where it is used: a variable or a literal, and the axes along which it differs."""

    text: str
    axes: frozenset[int]
    literal: bool = False


def print_kernel(program: Program, *, save: bool) -> Printed:
    """The Triton source of a program.

    Args:
        program: what to do.
        save: whether to write what the backward pass needs besides the outputs.
    """
    return _Printer(program, save).printed()


class _Printer:
    def __init__(self, program: Program, save: bool) -> None:
        self.program, self.save = program, save
        self.real = "tl.float64" if program.dtype == torch.float64 else "tl.float32"
        storage = STORAGE.get(program.dtype)
        self.rounded = f"{{0}}.to({storage}).to({self.real})" if storage else "{0}"
        self.lengths: list[int] = []  # of the axes
        self.known: dict[object, _Term] = {}
        self.before: list[str] = []  # what is the same for all edges of a row
        self.inside: list[str] = []
        self.numbers = count()
        self.widest = 1
        # The widest output first, so that the last axis is the one along which memory runs.
        order = sorted(range(len(program.outputs)), key=lambda k: -program.outputs[k].value.size)
        places = {k: self._axes_of(program.outputs[k].value.shape) for k in order}
        self.places = [places[k] for k in range(len(order))]
        self.rows: dict[int, Accumulator] = {
            k: KINDS[o.kind](k, o, self.places[k], self._round("{0}"), save)
            for k, o in enumerate(program.outputs)
            if o.kind != "edge"
        }

    # The file -----------------------------------------------------------------------------------------

    def printed(self) -> Printed:
        for k, output in enumerate(self.program.outputs):
            self._output(k)
            if output.kind != "edge":
                self.widest = max(self.widest, self._padded_size(self._axes_in(*self.places[k])))
        gathered = [a for k, a in self.rows.items() if self.program.outputs[k].kind != "all"]
        totals = [a for k, a in self.rows.items() if self.program.outputs[k].kind == "all"]
        state = sum(prod(f.shape) for a in gathered for f in a.fields)
        sizes = sum(a.output.value.size for a in totals)
        source = "\n".join(
            [
                f'"""{formula(self.program)}"""',
                "",
                "import triton",
                "import triton.language as tl",
                "",
                "",
                *self._rows(gathered, totals, state, sizes),
                "",
                "",
                *(self._hubs(gathered, state) if gathered else []),
            ]
        )
        used = [name for name in HELPERS if re.search(rf"\b(?<!\.){name}\(", source)]
        if used:
            line = f"from mpnn.backends.triton.prelude import {', '.join(used)}"
            source = source.replace("import triton.language as tl\n", f"import triton.language as tl\n\n{line}\n")
        source = source.replace(ONES, f"[{', '.join('1' for _ in range(2 + len(self.lengths)))}]")
        return Printed(source.rstrip() + "\n", self.widest, state, sizes)

    def _tensors(self) -> str:
        ins = [f"in{k}" for k in range(len(self.program.inputs))]
        return ", ".join([*ins, *(f"out{k}" for k in range(self.program.num_tensors))])

    def _rows(self, gathered: Sequence[Accumulator], totals: Sequence[Accumulator], state: int, sizes: int) -> list[str]:
        """The kernel of whole rows, or of parts of rows that are too long for one program."""
        fields = [f for a in (*gathered, *totals) for f in a.fields]
        shape = lambda f: ", ".join(["ROWS", "SLOTS", *self._dims(f.at)])  # noqa: E731
        body = [
            f"task = tl.program_id(0) * ROWS + tl.arange(0, ROWS){self._along(0)}",
            "inside = task < num_tasks",
            "row = tl.load(rows + task, mask=inside, other=0).to(tl.int64)",
            "begin = tl.load(begins + task, mask=inside, other=0)",
            "end = tl.load(ends + task, mask=inside, other=0)",
            *self._axis_lines(),
            *self.before,
            *(f"{f.name} = tl.full([{shape(f)}], {f.identity}, {self.real})" for f in fields),
            "for step in range(tl.max(tl.cdiv(end - begin, SLOTS))):",
            *_indent(
                [
                    f"slot = begin + step * SLOTS + tl.arange(0, SLOTS){self._along(1)}",
                    "valid = slot < end",
                    "neighbour = tl.load(indices + slot, mask=valid, other=0).to(tl.int64)",
                    "edge = tl.load(edge_ids + slot, mask=valid, other=0).to(tl.int64)",
                    *self.inside,
                ]
            ),
            *(line for a in (*gathered, *totals) for line in a.over_slots()),
        ]
        if gathered:
            body += [
                "if PART:",
                *_indent(self._state("store", gathered, "task", state)),
                "else:",
                *_indent(["count = end - begin", *self._finish(gathered)]),
            ]
        offset = 0
        for a in totals:
            where = " + ".join(filter(None, [f"(first + tl.program_id(0)) * {sizes}", str(offset), linear(a.at, a.output.value.shape)]))
            body.append(f"sum{a.k} = tl.sum(sum{a.k}, 0, keep_dims=True)")
            body.append(self._store("totals", where, f"sum{a.k}", "", a.at, a.output.value.shape))
            offset += a.output.value.size
        arguments = "parts, totals, rows, begins, ends, indices, edge_ids, seed, num_tasks, first"
        return [
            '@triton.jit(do_not_specialize=["num_tasks", "first"])',
            f"def rows({self._tensors()}, {arguments},",
            "         ROWS: tl.constexpr, SLOTS: tl.constexpr, PART: tl.constexpr):",
            *_indent(body),
        ]

    def _hubs(self, gathered: Sequence[Accumulator], state: int) -> list[str]:
        """The kernel that combines the parts of a row, in their order."""
        body = [
            f"task = tl.program_id(0) + tl.arange(0, 1){self._along(0)}",
            "inside = task < num_tasks",
            "row = tl.load(rows + task).to(tl.int64)",
            "begin = tl.load(begins + tl.program_id(0)).to(tl.int64)",
            "end = tl.load(ends + tl.program_id(0)).to(tl.int64)",
            *self._axis_lines(),
            *self._state("load", gathered, "begin", state),
            "for part in range(begin + 1, end):",
            *_indent([*self._state("load", gathered, "part", state, "other_"), *(line for a in gathered for line in a.merge())]),
            "count = end - begin",
            *self._finish(gathered),
        ]
        outs = ", ".join(f"out{k}" for k in range(self.program.num_tensors))
        return [
            '@triton.jit(do_not_specialize=["num_tasks"])',
            f"def hubs({outs}, parts, rows, begins, ends, num_tasks):",
            *_indent(body),
        ]

    def _finish(self, gathered: Sequence[Accumulator]) -> list[str]:
        lines = []
        for a in gathered:
            for j, text in enumerate(a.results()):
                # What is saved for a softmax, its row's log-sum-exp, has the shape of the score.
                saved = a.fields[min(j, len(a.fields) - 1)]
                where = f"row * {prod(saved.shape)} + {linear(saved.at, saved.shape)}"
                tensor = f"out{self.program.tensor_of(a.k) + j}"
                lines.append(self._store(tensor, where, text, "inside", saved.at, saved.shape))
        return lines

    def _state(self, what: str, gathered: Sequence[Accumulator], part: str, state: int, prefix: str = "") -> list[str]:
        lines, offset = [], 0
        for f in [f for a in gathered for f in a.fields]:
            where = f"{part} * {state} + {offset} + {linear(f.at, f.shape)}"
            if what == "store":
                lines.append(self._store("parts", where, f.name, "inside", f.at, f.shape))
            else:
                block = f" + tl.zeros({ONES}, tl.int64)"
                mask = " & ".join(["inside", *self._masks(f.at)])
                lines.append(f"{prefix}{f.name} = tl.load(parts + ({where}{block}), mask={mask}, other=0)")
            offset += prod(f.shape)
        return lines

    def _store(self, tensor: str, where: str, text: str, mask: str, at: Indices, shape: Shape) -> str:
        masks = " & ".join([*([mask] if mask else []), *self._masks(at)])
        zeros = "" if mask or self._axes_in(*at) else f" + tl.zeros({ONES}, tl.int64)"
        return f"tl.store({tensor} + ({where}{zeros}), {text}{f', mask={masks}' if masks else ''})"

    # Axes ---------------------------------------------------------------------------------------------

    def _axes_of(self, shape: Shape) -> list[str]:
        """An index for each dimension: axes of the same lengths, made where there are none yet."""
        taken: set[int] = set()
        at = []
        for n in shape:
            if n != 1:
                taken.add(axis := self._free_axis(n, taken))
                at.append(f"i{axis}")
            else:
                at.append("0")
        return at

    def _free_axis(self, length: int, taken: set[int]) -> int:
        for axis, n in enumerate(self.lengths):
            if n == length and axis not in taken:
                return axis
        self.lengths.append(length)
        return len(self.lengths) - 1

    def _axes_in(self, *texts: str) -> frozenset[int]:
        return frozenset(int(k) for text in texts for k in re.findall(r"\bi(\d+)\b", text))

    def _padded(self, axis: int) -> int:
        return 1 << max(self.lengths[axis] - 1, 0).bit_length()

    def _padded_size(self, axes: frozenset[int]) -> int:
        return prod(map(self._padded, axes))

    def _along(self, dim: int) -> str:
        """How a vector becomes a tensor that differs along one dimension of the tile."""
        rank = 2 + len(self.lengths)
        return f"[{', '.join(':' if d == dim else 'None' for d in range(rank))}]"

    def _dims(self, at: Indices) -> list[str]:
        axes = self._axes_in(*at)
        return [str(self._padded(a)) if a in axes else "1" for a in range(len(self.lengths))]

    def _axis_lines(self) -> list[str]:
        lines = []
        for axis, n in enumerate(self.lengths):
            lines.append(f"i{axis} = tl.arange(0, {self._padded(axis)}){self._along(2 + axis)}")
            if self._padded(axis) != n:
                lines.append(f"m{axis} = i{axis} < {n}")
        return lines

    def _masks(self, texts: Indices) -> list[str]:
        """What keeps the lanes that only pad an axis from memory."""
        return [f"m{a}" for a in sorted(self._axes_in(*texts)) if self._padded(a) != self.lengths[a]]

    # One tile of edges --------------------------------------------------------------------------------

    def _output(self, k: int) -> None:
        output, at = self.program.outputs[k], self.places[k]
        value = self._tensor(self._value(output.value, at, ()))
        if output.kind == "edge":
            where = f"edge * {output.value.size} + {linear(at, output.value.shape)}"
            self.inside.append(self._store(f"out{self.program.tensor_of(k)}", where, value, "valid", at, output.value.shape))
            return
        score = ""
        if output.score is not None:
            score = self._tensor(self._value(output.score, broadcast(at[: len(output.score.shape)], output.score.shape), ()))
        self.inside += self.rows[k].step(value, score)

    def _tensor(self, term: _Term) -> str:
        if not term.literal:
            return term.text
        return f"tl.full({ONES}, {term.text}, {self.real})"

    def _value(self, value: Value, at: Indices | str, masks: tuple[str, ...]) -> _Term:
        """The entry `at` of a value, computed once for each place that is asked for."""
        base, place = locate(value, at, "//")
        if base.op == "const":
            return _Term(_number(base.detail), frozenset(), literal=True)
        if base.op == "load":
            return self._load(base, place if isinstance(place, str) else linear(place, base.shape), masks)
        indices = unravel(place, base.shape, "//") if isinstance(place, str) else place
        key = (base, tuple(indices), masks)
        if key not in self.known:
            make = {"point": self._point, "reduce": self._reduce, "join": self._join}[base.op]
            self.known[key] = make(base, indices, masks)
        return self.known[key]

    def _name(self, value: Value, text: str, axes: frozenset[int]) -> _Term:
        """A line that gives a value a name, where it is computed as rarely as can be."""
        name = f"v{next(self.numbers)}"
        lines = self.inside if value.home not in (Home.SHARED, self.program.by) else self.before
        lines.append(f"{name} = {text}")
        self.widest = max(self.widest, self._padded_size(axes))
        return _Term(name, axes)

    def _load(self, value: Value, where: str, masks: tuple[str, ...]) -> _Term:
        given = self.program.inputs[value.detail]
        axes = self._axes_in(where)
        # A place that does not differ along an axis is there for all of its lanes.
        needed = tuple(m for m in masks if self._axes_in(m) & axes)
        key = (value, where, needed)
        if key in self.known:
            return self.known[key]
        role, exists = {
            self.program.by: ("row", "inside"), Home.SHARED: ("", ""), Home.EDGE: ("edge", "valid"),
        }.get(given.home, ("neighbour", "valid"))  # fmt: skip
        place = f"in{value.detail} + {role} * {given.size} + {where}" if role else f"in{value.detail} + {where}"
        conditions = [*([exists] if exists else []), *needed, *self._masks([where])]
        mask = f", mask={' & '.join(conditions)}, other=0" if conditions else ""
        text = f"tl.load({place}{mask})"
        if given.dtype == torch.bool:
            text += " != 0"
        elif given.dtype in STORAGE:
            text += f".to({self.real})"
        self.known[key] = self._name(value, text, axes | self._axes_in(*needed))
        return self.known[key]

    def _point(self, value: Value, at: Indices, masks: tuple[str, ...]) -> _Term:
        if value.name == "kept":
            return self._kept(value, at)
        terms = [self._value(a, broadcast(at, a.shape), masks) for a in value.args]
        chosen = OPERANDS_OF_ONE_TYPE.get(value.name, range(len(terms)))
        texts = [t.text for t in terms]
        if all(terms[c].literal for c in chosen) or value.name in ("pow", "eq", "float"):
            texts = [self._tensor(t) for t in terms]
        text = POINT[value.name].replace("REAL", self.real)
        text = re.sub(r"ROUND\((\{\d\})\)", lambda m: self._round(m[1]), text).format(*texts)
        return self._name(value, text, frozenset().union(*(t.axes for t in terms)))

    def _round(self, text: str) -> str:
        return self.rounded.replace("{0}", text)

    def _kept(self, value: Value, at: Indices) -> _Term:
        p, stream = value.detail
        lane, axes = linear(at, value.shape), self._axes_in(*at)
        if p >= 1:
            return _Term("0.0", frozenset(), literal=True)
        zero = f"tl.full({ONES}, 0, tl.int32)"
        scale = f"tl.full({ONES}, {1 / (1 - p)!r}, {self.real})"
        text = f"kept(tl.load(seed), {stream}, edge, {zero} + {lane}, {threshold(p)}, {scale})"
        return self._name(value, text, axes)

    def _reduce(self, value: Value, at: Indices, masks: tuple[str, ...]) -> _Term:
        source = value.args[0]
        inner, taken, reduced = list(at), set(self._axes_in(*at, *masks)), []
        for d in value.detail:
            if source.shape[d] != 1:
                axis = self._free_axis(source.shape[d], taken)
                taken.add(axis)
                reduced.append(axis)
                inner[d] = f"i{axis}"
        term = self._value(source, inner, masks)
        text, axes, times = self._tensor(term), term.axes, 1
        for axis in reduced:
            if axis not in axes:
                times *= self.lengths[axis] if value.name == "sum" else 1
                continue
            if self._padded(axis) != self.lengths[axis]:
                text = f"tl.where(m{axis}, {text}, {IDENTITY[value.name]})"
            text = f"tl.{value.name}({text}, {2 + axis}, keep_dims=True)"
            axes = axes - {axis}
        return self._name(value, f"{text} * {times}.0" if times > 1 else text, axes)

    def _join(self, value: Value, at: Indices, masks: tuple[str, ...]) -> _Term:
        text, axes = "0.0", frozenset[int]()
        terms: list[tuple[str, _Term]] = []
        for part, offset in zip(value.args, value.detail, strict=True):
            inner, conditions = [], []
            for i, low, n, whole in zip(at, offset, part.shape, value.shape, strict=True):
                inner.append("0" if n == 1 else f"({i} - {low})" if low else i)
                if n == whole:
                    continue
                conditions += [f"({i} == {low})"] if n == 1 else [f"({i} >= {low})"] * bool(low) + [f"({i} < {low + n})"]
            here = " & ".join(conditions)
            terms.append((here, self._value(part, inner, (*masks, f"({here})") if here else masks)))
            axes |= terms[-1][1].axes | self._axes_in(here)
        for here, term in reversed(terms):
            text = f"tl.where({here}, {self._tensor(term)}, {text})" if here else self._tensor(term)
        return self._name(value, text, axes)


def _indent(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _number(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    number = float(value)
    return f'float("{number}")' if isinf(number) or isnan(number) else repr(number)
