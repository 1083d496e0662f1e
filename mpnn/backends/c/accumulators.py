"""What a row gathers, as C: an empty row, one edge more, two parts of one row, a finished row.

The reductions that most layers use have lines of their own, in `LINES`; all others follow from their laws.
"""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch

from mpnn.aggregate.reduction import Reduction
from mpnn.aggregate.reductions import Max, Mean, Min, Softmax, Sum
from mpnn.backends.c.numbers import STORAGE, arithmetic, literal
from mpnn.plan.ir import Output, Over, Program, compute_type
from mpnn.plan.law import law_of


class Accumulator:
    """How output k is gathered: a sum. With `save`, what the backward pass needs is kept and written too."""

    def __init__(self, k: int, output: Output, tensor: int, real: torch.dtype, *, save: bool) -> None:
        self.k, self.output, self.tensor, self.real, self.save = k, output, tensor, real, save
        self.size = output.value.size

    def fields(self) -> list[str]:
        """What a row has gathered so far."""
        return [f"real a{self.k}[{self.size}];"]

    def start(self) -> list[str]:
        """How an empty row begins."""
        return [f"FILL(s->a{self.k}, {self.size}, 0);"]

    def step(self, here: str, what: str) -> list[str]:
        """One edge more: number `here` of its message is `what`."""
        return [f"s->a{self.k}[{here}] += {what};"]

    def combine(self) -> list[str]:
        """Another part of the row, t, is taken in."""
        return [f"for (int i = 0; i < {self.size}; i++) s->a{self.k}[i] += t->a{self.k}[i];"]

    def result(self) -> str:
        """Number i of a row that has seen all of its edges."""
        return f"s->a{self.k}[i]"

    def finish(self) -> list[str]:
        """How such a row is written."""
        return [
            self.pointer("o", self.tensor, STORAGE[self.output.dtype], self.size),
            f"for (int i = 0; i < {self.size}; i++) STORE(o{self.k}[i], {self.result()});",
        ]

    def pointer(self, name: str, tensor: int, storage: str, size: int) -> str:
        """The row's place in one of the tensors that are written."""
        return f"{storage} *restrict {name}{self.k} = ({storage} *)a->out[{tensor}] + (size_t)row * {size};"


class Average(Accumulator):
    """The sum, divided by how many messages there are."""

    def result(self) -> str:
        """An empty neighbourhood gives 0."""
        return f"({super().result()} * (count ? (real)1 / count : 0))"


class Extremum(Accumulator):
    """The largest or smallest value, and how many edges share it."""

    def __init__(
        self,
        better: str,
        identity: str,
        k: int,
        output: Output,
        tensor: int,
        real: torch.dtype,
        *,
        save: bool,
    ) -> None:
        super().__init__(k, output, tensor, real, save=save)
        self.better, self.identity = better, identity

    def fields(self) -> list[str]:
        """The best value, and its ties."""
        return [*super().fields(), *([f"real n{self.k}[{self.size}];"] if self.save else [])]

    def start(self) -> list[str]:
        """Anything is better."""
        ties = [f"FILL(s->n{self.k}, {self.size}, 0);"] if self.save else []
        return [f"FILL(s->a{self.k}, {self.size}, {self.identity});", *ties]

    def step(self, here: str, what: str) -> list[str]:
        """Each line is a comparison and a masked move: a choice within a choice takes more."""
        k, best, ties = self.k, f"s->a{self.k}[{here}]", f"s->n{self.k}[{here}]"
        lines = [
            f"const real x{k} = ROUND({what}), best{k} = {best};",
            f"const int better{k} = (x{k} {self.better} best{k}) | (x{k} != x{k});",
            f"{best} = better{k} ? x{k} : best{k};",
        ]
        if self.save:
            lines += [
                f"const real ties{k} = {ties};",
                f"const real more{k} = x{k} == best{k} ? ties{k} + 1 : ties{k};",
                f"{ties} = better{k} ? 1 : more{k};",
            ]
        return lines

    def combine(self) -> list[str]:
        """The better part's ties, or both parts' where they are equal."""
        k = self.k
        ties = f"    if (t->a{k}[i] == s->a{k}[i]) s->n{k}[i] += t->n{k}[i]; else if (better) s->n{k}[i] = t->n{k}[i];"
        return [
            f"for (int i = 0; i < {self.size}; i++) {{",
            f"    const int better = t->a{k}[i] {self.better} s->a{k}[i] || t->a{k}[i] != t->a{k}[i];",
            *([ties] if self.save else []),
            f"    if (better) s->a{k}[i] = t->a{k}[i];",
            "}",
        ]

    def result(self) -> str:
        """An empty neighbourhood gives 0."""
        return f"(count ? {super().result()} : 0)"

    def finish(self) -> list[str]:
        """With the ties."""
        k = self.k
        ties = [
            self.pointer("t", self.tensor + 1, "real", self.size),
            f"for (int i = 0; i < {self.size}; i++) t{k}[i] = !count ? 1 : s->a{k}[i] == s->a{k}[i] ? s->n{k}[i] : NAN;",
        ]
        return [*super().finish(), *(ties if self.save else [])]


class Weighted(Accumulator):
    """Running top, Σ exp(score - top) and Σ exp(score - top) value; both sums times `share`, see prelude.h.

    It takes a block of edges at a time, whose scores `rescale` turns into weights.
    """

    @property
    def heads(self) -> int:
        """How many scores there are."""
        assert self.output.score is not None
        return self.output.score.size

    @property
    def width(self) -> int:
        """How many numbers a score weighs."""
        return self.size // max(self.heads, 1)

    def fields(self) -> list[str]:
        """The sum of values, the top, the sum of weights."""
        return [f"real a{self.k}[{self.size}], top{self.k}[{self.heads}], total{self.k}[{self.heads}];"]

    def start(self) -> list[str]:
        """Any score is higher."""
        return [
            f"FILL(s->a{self.k}, {self.size}, 0);",
            f"FILL(s->top{self.k}, {self.heads}, -INFINITY);",
            f"FILL(s->total{self.k}, {self.heads}, 0);",
        ]

    def rescale(self) -> list[str]:
        """From a block's scores to its weights; what was summed so far is scaled down to the row's new top."""
        k, heads, width = self.k, self.heads, self.width
        return [
            f"real top{k}[{heads}]; int higher{k} = 0;",
            f"for (int h = 0; h < {heads}; h++) top{k}[h] = s->top{k}[h];",
            "for (int b = 0; b < n; b++)",
            f"    for (int h = 0; h < {heads}; h++) top{k}[h] = w{k}b[b][h] > top{k}[h] ? w{k}b[b][h] : top{k}[h];",
            f"for (int h = 0; h < {heads}; h++) higher{k} |= top{k}[h] > s->top{k}[h];",
            f"if (higher{k}) {{",
            f"    for (int h = 0; h < {heads}; h++) {{",
            f"        const real down = s->top{k}[h] == top{k}[h] ? 1 : real_exp(s->top{k}[h] - top{k}[h]);",
            f"        s->top{k}[h] = top{k}[h]; s->total{k}[h] *= down;",
            f"        for (int c = 0; c < {width}; c++) s->a{k}[h * {width} + c] *= down;",
            "    }",
            "}",
            "for (int b = 0; b < n; b++) {",
            "    #pragma omp simd",
            f"    for (int h = 0; h < {heads}; h++) {{",
            f"        w{k}b[b][h] = w{k}b[b][h] == -INFINITY ? 0 : real_exp(w{k}b[b][h] - top{k}[h]) * share;",
            f"        s->total{k}[h] += w{k}b[b][h];",
            "    }",
            "}",
        ]

    def combine(self) -> list[str]:
        """Both parts are scaled to the higher top."""
        k, heads, width = self.k, self.heads, self.width
        return [
            f"for (int h = 0; h < {heads}; h++) {{",
            f"    const real top = s->top{k}[h] > t->top{k}[h] ? s->top{k}[h] : t->top{k}[h];",
            f"    const real p = s->top{k}[h] == top ? 1 : real_exp(s->top{k}[h] - top);",
            f"    const real q = t->top{k}[h] == top ? 1 : real_exp(t->top{k}[h] - top);",
            f"    s->top{k}[h] = top; s->total{k}[h] = s->total{k}[h] * p + t->total{k}[h] * q;",
            f"    for (int c = h * {width}; c < (h + 1) * {width}; c++) s->a{k}[c] = s->a{k}[c] * p + t->a{k}[c] * q;",
            "}",
        ]

    def result(self) -> str:
        """No edge, or none with a weight, gives 0."""
        total = f"s->total{self.k}[i / {max(self.width, 1)}]"
        return f"({total} == 0 ? 0 : {super().result()} / {total})"

    def finish(self) -> list[str]:
        """With the top, and the reciprocal of the sum of weights."""
        k, heads = self.k, self.heads
        kept = [
            self.pointer("t", self.tensor + 1, "real", heads),
            self.pointer("u", self.tensor + 2, "real", heads),
            f"for (int i = 0; i < {heads}; i++) {{",
            f"    t{k}[i] = s->total{k}[i] == 0 ? 0 : s->top{k}[i];",
            f"    u{k}[i] = s->total{k}[i] == 0 ? 0 : share_of(count) / s->total{k}[i];",
            "}",
        ]
        return [*super().finish(), *(kept if self.save else [])]


class Lawful(Accumulator):
    """Any reduction of one tensor, by its law: a field for each number of a state."""

    def __init__(self, k: int, output: Output, tensor: int, real: torch.dtype, *, save: bool) -> None:
        super().__init__(k, output, tensor, real, save=save)
        self.reduction, self.law = output.reduction, law_of(output.reduction, real)

    def fields(self) -> list[str]:
        """The state."""
        return [f"real f{self.k}_{j}[{self.size}];" for j, _ in enumerate(self.reduction.identity)]

    def start(self) -> list[str]:
        """The identity."""
        starts = map(literal, self.reduction.identity)
        return [f"FILL(s->f{self.k}_{j}, {self.size}, {start});" for j, start in enumerate(starts)]

    def state(self, owner: str, here: str) -> list[str]:
        """The numbers of a state."""
        return [f"{owner}->f{self.k}_{j}[{here}]" for j, _ in enumerate(self.reduction.identity)]

    def step(self, here: str, what: str) -> list[str]:
        """The message is lifted, and merged with the row's state."""
        message = f"x{self.k}"
        given = f"const real {message} = {f'ROUND({what})' if self.reduction.rounds else what};"
        lines, lifted = arithmetic(self.law.lift, [message], f"l{self.k}_")
        return [given, *lines, *self._merge(here, lifted)]

    def combine(self) -> list[str]:
        """Two states merge."""
        loop = f"for (int i = 0; i < {self.size}; i++) {{"
        return [loop, *("    " + line for line in self._merge("i", self.state("t", "i"))), "}"]

    def _merge(self, here: str, other: Sequence[str]) -> list[str]:
        old, fields = [f"s{self.k}_{j}" for j, _ in enumerate(other)], self.state("s", here)
        reads = [f"const real {name} = {field};" for name, field in zip(old, fields, strict=True)]
        lines, merged = arithmetic(self.law.merge, [*old, *other], f"m{self.k}_")
        return [*reads, *lines, *(f"{field} = {new};" for field, new in zip(fields, merged, strict=True))]

    def finish(self) -> list[str]:
        """The aggregate, and what is saved."""
        k = self.k
        given = [*self.state("s", "i"), "((real)count)"]
        lines, found = arithmetic(self.law.finish, given, f"r{k}_")
        pointers = [self.pointer("o", self.tensor, STORAGE[self.output.dtype], self.size)]
        stores = [f"STORE(o{k}[i], {found[0]});"]
        for j, text in enumerate(found[1:] if self.save else [], 1):
            pointers.append(self.pointer(f"o{j}_", self.tensor + j, "real", self.size))
            stores.append(f"o{j}_{k}[i] = {text};")
        loop = f"for (int i = 0; i < {self.size}; i++) {{"
        return [*pointers, loop, *("    " + line for line in [*lines, *stores]), "}"]


class Gathers(Protocol):
    """What makes the accumulator of an output."""

    def __call__(
        self, k: int, output: Output, tensor: int, real: torch.dtype, *, save: bool
    ) -> Accumulator: ...


LINES: dict[type[Reduction], Gathers] = {
    Sum: Accumulator,
    Mean: Average,
    Max: partial(Extremum, ">", "-INFINITY"),
    Min: partial(Extremum, "<", "INFINITY"),
    Softmax: Weighted,
}


class Accumulators:
    """The reductions of one program."""

    def __init__(self, program: Program, *, save: bool) -> None:
        self.program, real = program, compute_type(program.dtype)
        self.each = {
            k: LINES.get(type(output.reduction), Lawful)(k, output, program.tensor_of(k), real, save=save)
            for k, output in enumerate(program.outputs)
            if output.over is Over.ROW
        }

    def state(self) -> str:
        """The struct, and how an empty row begins."""
        fields = [line for one in self.each.values() for line in one.fields()]
        initial = [line for one in self.each.values() for line in one.start()]
        return (
            "/* what a row has gathered so far */\n"
            f"typedef struct {{ {' '.join(fields) or 'char nothing;'} }} State;\n"
            f"static inline void start(State *restrict s) {{ {' '.join(initial)} }}\n"
        )

    def finish(self) -> str:
        """How a row that has seen all of its edges is written."""
        lines = [line for one in self.each.values() if not one.output.is_empty for line in one.finish()]
        return (
            "/* write a row that has seen all of its `count` edges */\n"
            "static inline void finish(const Args *restrict a, const State *restrict s, int64_t row, int64_t count)\n{\n"
            + "\n".join("    " + line for line in lines)
            + "\n    (void)a; (void)s; (void)row; (void)count;\n}\n"
        )

    def combine(self) -> str:
        """How two parts of one row become one."""
        lines = [line for one in self.each.values() for line in one.combine()]
        return (
            "/* two parts of one row become one */\n"
            "static inline void combine(State *restrict s, const State *restrict t)\n{\n"
            + "\n".join("    " + line for line in lines)
            + "\n    (void)s; (void)t;\n}\n"
        )

    def all_offset(self, k: int) -> int:
        """Where an output that is summed over all edges begins among those."""
        return sum(o.value.size for o in self.program.outputs[:k] if o.over is Over.ALL)

    def finish_all(self) -> str:
        """How what is summed over all edges is written."""
        size = sum(o.value.size for o in self.program.outputs if o.over is Over.ALL)
        lines = [
            f"    for (int i = 0; i < {o.value.size}; i++) STORE((({STORAGE[o.dtype]} *)a->out[{self.program.tensor_of(k)}])[i], all[{self.all_offset(k)} + i]);"
            for k, o in enumerate(self.program.outputs)
            if o.over is Over.ALL
        ]
        return (
            f"enum {{ ALL = {size} }};\n"
            "/* write what is summed over all edges */\n"
            "static inline void finish_all(const Args *restrict a, const real *restrict all)\n{\n"
            + "\n".join(lines)
            + "\n    (void)a; (void)all;\n}\n"
        )
