"""A per-edge program as Triton: a kernel for rows or parts of rows, and one that combines a hub's parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from mpnn.backends.triton.accumulators import Accumulator, Field, Weighted, accumulator_of
from mpnn.backends.triton.values import ONES, PAIRS, Axes, Values
from mpnn.plan.formula import formula
from mpnn.plan.indices import broadcast, linear
from mpnn.plan.ir import Over, Program

PRELUDE = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "copysign", "div_floor", "expm1", "fmod", "hypot",
    "kept", "largest", "log1p", "power", "remainder", "rescale", "round_to_even", "sign", "smallest",
    "tanh", "trunc",
)  # fmt: skip


class Printed(NamedTuple):
    """A program as Triton source, and the sizes that its launch needs."""

    source: str
    lanes: int  # numbers of one edge in the widest tensor
    state: int  # numbers that a part of a row writes for `_hubs`
    totals: int  # numbers that are summed over all edges


def print_kernel(program: Program, *, save: bool) -> Printed:
    """The Triton source of a program.

    Args:
        program: what to do.
        save: whether to write what the backward pass needs besides the outputs.
    """
    return _Printer(program, save).printed()


class _Printer:
    def __init__(self, program: Program, save: bool) -> None:
        self.program = program
        self.axes = Axes()
        self.values = Values(program, self.axes)
        # The widest output first, so that the last axis is contiguous in memory.
        order = sorted(range(len(program.outputs)), key=lambda k: -program.outputs[k].value.size)
        self.places = {k: self.axes.of(program.outputs[k].value.shape) for k in order}
        made = {
            k: accumulator_of(o)(
                k, o, self.places[k], self.values.real, self.values.rounded("{0}"), save=save
            )
            for k, o in enumerate(program.outputs)
            if o.over is not Over.EDGE and not o.is_empty
        }
        self.gathered = [a for a in made.values() if a.output.over is Over.ROW]
        self.totals = [a for a in made.values() if a.output.over is Over.ALL]
        self.state = sum(prod(f.shape) for a in self.gathered for f in a.fields)
        self.num_totals = sum(a.output.value.size for a in self.totals)
        for k, output in enumerate(program.outputs):
            if output.value.size or k in made:  # of no numbers, nothing is written
                self._each_edge(k, made.get(k))

    def _each_edge(self, k: int, gathers: Accumulator | None) -> None:
        """The lines by which output k takes in an edge."""
        output, at = self.program.outputs[k], self.places[k]
        value = self.values.tensor(output.value, at) if output.value.size else self.values.zero()
        if gathers is None:
            place = Field(value, "", output.value.shape, at)
            self.values.inside.append(self._store(f"out{self.program.tensor_of(k)}", "edge", place, "valid"))
            return
        score = output.score
        weighs = (
            "" if score is None else self.values.tensor(score, broadcast(at[: len(score.shape)], score.shape))
        )
        self.values.inside += gathers.step(value, weighs)

    def printed(self) -> Printed:
        functions = [line for a in self.gathered for line in a.functions()]
        kernels = [*functions, *self._rows(), "", "", *(self._hubs() if self.gathered else [])]
        text = "\n".join(kernels).replace(
            ONES, f"[{', '.join('1' for _ in range(2 + len(self.axes.lengths)))}]"
        )
        text = re.sub(rf"\b{PAIRS}\((\w+), (\d+), (\d+)\)", self._in_pairs, text)
        used = [name for name in PRELUDE if re.search(rf"(?<![.\w]){name}\(", text)]
        source = "\n".join(
            [
                f'"""{formula(self.program)}"""',
                "",
                "import triton",
                "import triton.language as tl",
                *(["", f"from mpnn.backends.triton.prelude import {', '.join(used)}"] if used else []),
                "",
                "",
                text.rstrip(),
                "",
            ]
        )
        fields = [f for a in (*self.gathered, *self.totals) for f in a.fields]
        lanes = max([self.values.widest, *(self.axes.size(self.axes.named(*f.at)) for f in fields)])
        return Printed(source, lanes, self.state, self.num_totals)

    def _in_pairs(self, found: re.Match[str]) -> str:
        """The tensor with one axis split into pairs of neighbours, as a new last axis of length 2."""
        name, axis, half = found[1], int(found[2]), found[3]
        shape = [f"{name}.shape[{k}]" for k in range(2 + len(self.axes.lengths))]
        shape[axis : axis + 1] = [half, "2"]
        return f"tl.reshape({name}, [{', '.join(shape)}])"

    # The kernels --------------------------------------------------------------------------------------

    def _rows(self) -> list[str]:
        """The kernel of whole rows, or of parts of rows that are too long for one program."""
        accumulators = (*self.gathered, *self.totals)
        inside = [
            f"slot = begin + step * SLOTS + tl.arange(0, SLOTS){self.axes.along(1)}",
            "valid = slot < end",
            *(
                f"{name} = tl.load({array} + slot, mask=valid, other=0).to(tl.int64)"
                for name, array in (("neighbour", "indices"), ("edge", "edge_ids"))
                if any(re.search(rf"\b{name}\b", line) for line in self.values.inside)
            ),
            *self.values.inside,
        ]
        body = [
            f"task = tl.program_id(0) * ROWS + tl.arange(0, ROWS){self.axes.along(0)}",
            "row = tl.load(rows + task, mask=task < num_tasks, other=-1).to(tl.int64)",
            "inside = row >= 0",
            "begin = tl.load(begins + task, mask=inside, other=0)",
            "end = tl.load(ends + task, mask=inside, other=0)",
            *self.axes.lines(),
            *self.values.before,
            *(self._empty(f) for a in accumulators for f in a.fields),
            *self._share(),
            "for step in range(tl.max(tl.cdiv(end - begin, SLOTS))):",
            *_indent(inside),
            *(line for a in accumulators for line in a.over_slots()),
        ]
        if self.gathered:
            body += [
                "if PART:",
                *_indent(["part = task.to(tl.int64)", *self._write_state()]),
                "else:",
                *_indent(["count = end - begin", *self._finish()]),
            ]
        if self.totals:
            body.append(f"program = first + tl.program_id(0) + tl.zeros({ONES}, tl.int64)")
            offset = 0
            for a in self.totals:
                (field,) = a.fields
                body.append(f"{field.name} = tl.sum({field.name}, 0, keep_dims=True)")
                body.append(self._store("totals", f"program * {self.num_totals}", field, "", offset))
                offset += prod(field.shape)
        ins = [f"in{k}" for k in range(len(self.program.inputs))]
        return [
            '@triton.jit(do_not_specialize=["num_tasks", "first"])',
            "def rows(",
            f"    {', '.join([*ins, *self._outs()])},",
            "    parts, totals, rows, begins, ends, indices, edge_ids, seed, num_tasks, first,",
            "    ROWS: tl.constexpr, SLOTS: tl.constexpr, PART: tl.constexpr,",
            "):",
            *_indent(body),
        ]

    def _hubs(self) -> list[str]:
        """The kernel that combines the parts of a row, in order."""
        body = [
            f"task = tl.program_id(0) + tl.zeros({ONES}, tl.int32)",
            "row = tl.load(rows + task).to(tl.int64)",
            "inside = row >= 0",
            "begin = tl.load(begins + tl.program_id(0))",
            "end = tl.load(ends + tl.program_id(0))",
            "count = tl.load(counts + task)",
            *self.axes.lines(),
            f"part = begin + tl.zeros({ONES}, tl.int64)",
            *self._read_state(""),
            *(self._share() and [f"share = {Weighted.SHARE_OF_PARTS}"]),
            "for number in range(begin + 1, end):",
            *_indent([f"part = number + tl.zeros({ONES}, tl.int64)", *self._read_state("other_")]),
            *_indent([line for a in self.gathered for line in a.merge()]),
            *self._finish(),
        ]
        return [
            "@triton.jit",
            f"def hubs({', '.join(self._outs())}, parts, rows, begins, ends, counts):",
            *_indent(body),
        ]

    def _share(self) -> list[str]:
        """The line for `share`, which multiplies the weights of softmaxes; none without a softmax."""
        if not any(isinstance(a, Weighted) for a in self.gathered):
            return []
        return [
            "if PART:",
            f"    share = {Weighted.SHARE_OF_PARTS}",
            "else:",
            f"    share = {Weighted.SHARE}",
        ]

    def _outs(self) -> list[str]:
        return [f"out{k}" for k in range(self.program.num_tensors)]

    # What a row gathers -------------------------------------------------------------------------------

    def _empty(self, field: Field) -> str:
        shape = ", ".join(["ROWS", "SLOTS", *self.axes.dims(field.at)])
        return f"{field.name} = tl.full([{shape}], {field.identity}, {self.values.real})"

    def _finish(self) -> list[str]:
        lines = []
        for a in self.gathered:
            lines += a.finish()
            for j, (text, like) in enumerate(zip(a.results(), a.result_fields(), strict=False)):
                # What is saved has the shape of its field: of the score, for a row's log-sum-exp.
                result = like._replace(name=text)
                lines.append(self._store(f"out{self.program.tensor_of(a.k) + j}", "row", result, "inside"))
        return lines

    def _write_state(self) -> list[str]:
        return [self._store("parts", f"part * {self.state}", f, "inside", o) for f, o in self._state()]

    def _read_state(self, prefix: str) -> list[str]:
        lines = []
        for f, offset in self._state():
            where = self._where("parts", f"part * {self.state}", f, offset)
            mask = " & ".join(["inside", *self.axes.masks(f.at)])
            lines.append(f"{prefix}{f.name} = tl.load({where}, mask={mask}, other=0)")
        return lines

    def _state(self) -> list[tuple[Field, int]]:
        """The fields of a part, and where each begins among its numbers."""
        fields = [f for a in self.gathered for f in a.fields]
        sizes = [prod(f.shape) for f in fields]
        return [(f, sum(sizes[:k])) for k, f in enumerate(fields)]

    def _where(self, tensor: str, owner: str, field: Field, offset: int = 0) -> str:
        place = linear(field.at, field.shape)
        rows = owner if "*" in owner else f"{owner} * {prod(field.shape)}"
        return " + ".join(
            [tensor, rows, *([str(offset)] if offset else []), *([place] if place != "0" else [])]
        )

    def _store(self, tensor: str, owner: str, field: Field, mask: str, offset: int = 0) -> str:
        masks = " & ".join([*([mask] if mask else []), *self.axes.masks(field.at)])
        where = self._where(tensor, owner, field, offset)
        return f"tl.store({where}, {field.name}{f', mask={masks}' if masks else ''})"


def _indent(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]
