"""What a row gathers, as Triton: each reduction is its identity, a step, how two parts combine, a result.

The reductions that most layers use have lines of their own, in `LINES`; all others follow from their laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mpnn.aggregate.reduction import Reduction
from mpnn.aggregate.reductions import Max, Mean, Min, Softmax, Sum
from mpnn.backends.triton.numbers import arithmetic, literal
from mpnn.plan.ir import Output, compute_type
from mpnn.plan.law import law_of
from mpnn.plan.nests import Shape


class Field(NamedTuple):
    """A tensor `[rows, slots, *features]` in which rows gather something."""

    name: str
    identity: str
    shape: Shape
    at: Sequence[str]  # its index in each feature dimension


class Accumulator:
    """How output k is gathered: a sum. The lines of Triton speak of `valid` edges and of a row's `count`.

    Args:
        k: which output it is.
        output: what is reduced.
        at: its index in each feature dimension.
        real: the type that is computed in, as Triton writes it.
        rounded: how a number is after being stored, `{0}` in its place.
        save: whether what the backward pass needs is kept, too.
    """

    def __init__(
        self, k: int, output: Output, at: Sequence[str], real: str, rounded: str, *, save: bool
    ) -> None:
        self.k, self.output, self.at, self.real = k, output, at, real
        self.rounded, self.save = rounded, save
        self.fields = [Field(f"sum{k}", "0", output.value.shape, at)]

    def functions(self) -> list[str]:
        """What the kernels call besides the prelude."""
        return []

    def step(self, value: str, score: str) -> list[str]:
        """One edge more for each slot."""
        return [f"sum{self.k} += tl.where(valid, {value}, 0.0)"]

    def over_slots(self) -> list[str]:
        """The slots of a row become one."""
        return [f"sum{self.k} = tl.sum(sum{self.k}, 1, keep_dims=True)"]

    def merge(self) -> list[str]:
        """Another part of the row, whose fields are called `other_...`, is taken in."""
        return [f"sum{self.k} += other_sum{self.k}"]

    def finish(self) -> list[str]:
        """What is computed before the results are written."""
        return []

    def results(self) -> list[str]:
        """What is written at the end: the output, then what the backward pass needs."""
        return [f"sum{self.k}"]

    def result_fields(self) -> list[Field]:
        """For each of these a field of its shape."""
        return self.fields


class Average(Accumulator):
    """The sum, divided by how many messages there are."""

    def results(self) -> list[str]:
        """An empty neighbourhood gives 0."""
        return [f"sum{self.k} / tl.maximum(count, 1).to(sum{self.k}.dtype)"]


class Extremum(Accumulator):
    """The largest or smallest value, and how many edges share it."""

    better, best, identity = ">", "largest", 'float("-inf")'

    def __init__(
        self, k: int, output: Output, at: Sequence[str], real: str, rounded: str, *, save: bool
    ) -> None:
        super().__init__(k, output, at, real, rounded, save=save)
        self.fields = [Field(f"best{k}", self.identity, output.value.shape, at)]
        if save:
            self.fields.append(Field(f"ties{k}", "0", output.value.shape, at))

    def step(self, value: str, score: str) -> list[str]:
        """A NaN is better than anything."""
        k, x = self.k, f"x{self.k}"
        tied = f"tl.where(valid & ({x} == best{k}), ties{k} + 1.0, ties{k})"
        return [
            f"{x} = {self.rounded.format(value)}",
            f"better{k} = valid & (({x} {self.better} best{k}) | ({x} != {x}))",
            *([f"ties{k} = tl.where(better{k}, 1.0, {tied})"] if self.save else []),
            f"best{k} = tl.where(better{k}, {x}, best{k})",
        ]

    def over_slots(self) -> list[str]:
        """Slots that hold the best value add their ties."""
        k = self.k
        tied = f"tl.sum(tl.where(best{k} == all{k}, ties{k}, 0.0), 1, keep_dims=True)"
        return [
            f"all{k} = {self.best}(best{k})",
            *([f"ties{k} = tl.where(all{k} != all{k}, 1.0, {tied})"] if self.save else []),
            f"best{k} = all{k}",
        ]

    def merge(self) -> list[str]:
        """The better part's ties, or both parts' where they are equal."""
        k, other = self.k, f"other_best{self.k}"
        chosen = f"tl.where(better{k}, other_ties{k}, ties{k})"
        return [
            f"better{k} = ({other} {self.better} best{k}) | ({other} != {other})",
            *(
                [f"ties{k} = tl.where({other} == best{k}, ties{k} + other_ties{k}, {chosen})"]
                if self.save
                else []
            ),
            f"best{k} = tl.where(better{k}, {other}, best{k})",
        ]

    def results(self) -> list[str]:
        """An empty neighbourhood gives 0."""
        k = self.k
        known = f"tl.where(best{k} == best{k}, ties{k}, float('nan'))"
        ties = [f"tl.where(count > 0, {known}, 1.0)"] if self.save else []
        return [f"tl.where(count > 0, best{k}, 0.0)", *ties]


class Smallest(Extremum):
    """The smallest value."""

    better, best, identity = "<", "smallest", 'float("inf")'


class Weighted(Accumulator):
    """Running top, Σ exp(score - top) and Σ exp(score - top) value, in one pass; both sums times `share`.

    That is a power of two, at most 1 / the number of edges: so no sum is beyond the largest value.
    """

    # Of a row in one piece, which has tiles.HUB = 2^12 edges at most; and of any.
    SHARE, SHARE_OF_PARTS = 2.0**-12, 2.0**-31

    def __init__(
        self, k: int, output: Output, at: Sequence[str], real: str, rounded: str, *, save: bool
    ) -> None:
        super().__init__(k, output, at, real, rounded, save=save)
        assert output.score is not None
        shape = output.score.shape
        at = ["0" if n == 1 else i for i, n in zip(at, shape, strict=False)]
        self.fields += [Field(f"top{k}", 'float("-inf")', shape, at), Field(f"total{k}", "0", shape, at)]

    def step(self, value: str, score: str) -> list[str]:
        """What was summed so far is scaled down to the new top."""
        k = self.k
        return [
            f"higher{k} = tl.where(valid & ({score} > top{k}), {score}, top{k})",
            f"down{k} = rescale(top{k}, higher{k})",
            f'counts{k} = valid & ({score} != float("-inf"))',
            f"weight{k} = tl.where(counts{k}, tl.exp({score} - higher{k}) * share, 0.0)",
            f"total{k} = total{k} * down{k} + weight{k}",
            f"sum{k} = sum{k} * down{k} + tl.where(valid, weight{k} * {value}, 0.0)",
            f"top{k} = higher{k}",
        ]

    def over_slots(self) -> list[str]:
        """Every slot is scaled to the row's top."""
        k = self.k
        return [
            f"higher{k} = tl.max(top{k}, 1, keep_dims=True)",
            f"down{k} = rescale(top{k}, higher{k})",
            f"total{k} = tl.sum(total{k} * down{k}, 1, keep_dims=True)",
            f"sum{k} = tl.sum(sum{k} * down{k}, 1, keep_dims=True)",
            f"top{k} = higher{k}",
        ]

    def merge(self) -> list[str]:
        """Both parts are scaled to the higher top."""
        k = self.k
        return [
            f"higher{k} = tl.where(other_top{k} > top{k}, other_top{k}, top{k})",
            f"down{k}, other_down{k} = rescale(top{k}, higher{k}), rescale(other_top{k}, higher{k})",
            f"total{k} = total{k} * down{k} + other_total{k} * other_down{k}",
            f"sum{k} = sum{k} * down{k} + other_sum{k} * other_down{k}",
            f"top{k} = higher{k}",
        ]

    def results(self) -> list[str]:
        """The weighted mean, the highest score, 1 / Σ exp(score - highest); 0 where no edge has a weight."""
        k = self.k
        kept = [f"tl.where(total{k} == 0, 0.0, top{k})", f"tl.where(total{k} == 0, 0.0, share / total{k})"]
        return [f"tl.where(total{k} == 0, 0.0, sum{k} / total{k})", *(kept if self.save else [])]


class Lawful(Accumulator):
    """Any reduction of one tensor, by its law: a field for each number of a state."""

    def __init__(
        self, k: int, output: Output, at: Sequence[str], real: str, rounded: str, *, save: bool
    ) -> None:
        super().__init__(k, output, at, real, rounded, save=save)
        self.reduction = output.reduction
        self.law = law_of(self.reduction, compute_type(output.dtype))
        self.fields = [
            Field(f"f{k}_{j}", literal(start), output.value.shape, at)
            for j, start in enumerate(self.reduction.identity)
        ]

    def functions(self) -> list[str]:
        """The merging of two states, which also a reduction over slots calls."""
        one, other = ([f"{name}{j}" for j, _ in enumerate(self.fields)] for name in "ab")
        lines, merged = arithmetic(self.law.merge, [*one, *other], self.real)
        return [
            "@triton.jit",
            f"def merge{self.k}({', '.join([*one, *other])}):",
            *("    " + line for line in [*lines, f"return {', '.join(merged)}"]),
            "",
            "",
        ]

    def step(self, value: str, score: str) -> list[str]:
        """The message is lifted, and merged with the row's state."""
        k, message = self.k, f"x{self.k}"
        given = f"{message} = {self.rounded.format(value) if self.reduction.rounds else value}"
        lines, lifted = arithmetic(self.law.lift, [message], self.real, f"l{k}_")
        merged = [f"new{k}_{j}" for j, _ in enumerate(self.fields)]
        names = [f.name for f in self.fields]
        return [
            given,
            *lines,
            f"{', '.join(merged)} = merge{k}({', '.join([*names, *lifted])})",
            *(f"{name} = tl.where(valid, {new}, {name})" for name, new in zip(names, merged, strict=True)),
        ]

    def over_slots(self) -> list[str]:
        """The states of all slots merge."""
        names = ", ".join(f.name for f in self.fields)
        several = f"({names})" if len(self.fields) > 1 else names
        return [f"{names} = tl.reduce({several}, 1, merge{self.k}, keep_dims=True)"]

    def merge(self) -> list[str]:
        """Two states merge."""
        names = [f.name for f in self.fields]
        given = ", ".join([*names, *(f"other_{name}" for name in names)])
        return [f"{', '.join(names)} = merge{self.k}({given})"]

    def _finished(self) -> tuple[list[str], list[str]]:
        given = [*(f.name for f in self.fields), f"n{self.k}"]
        return arithmetic(self.law.finish, given, self.real, f"r{self.k}_")

    def finish(self) -> list[str]:
        """The aggregate, and what is saved."""
        return [f"n{self.k} = count.to({self.real})", *self._finished()[0]]

    def results(self) -> list[str]:
        """The names of these."""
        found = self._finished()[1]
        return found if self.save else found[:1]

    def result_fields(self) -> list[Field]:
        """All have the shape of the value."""
        return [self.fields[0] for _ in self.results()]


class Gathers(Protocol):
    """What makes the accumulator of an output."""

    def __call__(
        self, k: int, output: Output, at: Sequence[str], real: str, rounded: str, *, save: bool
    ) -> Accumulator: ...


LINES: dict[type[Reduction], Gathers] = {
    Sum: Accumulator,
    Mean: Average,
    Max: Extremum,
    Min: Smallest,
    Softmax: Weighted,
}


def accumulator_of(output: Output) -> Gathers:
    """How an output is gathered."""
    return LINES.get(type(output.reduction), Lawful)
