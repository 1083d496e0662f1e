"""What a row gathers, as Triton: each reduction is its identity, a step, how two parts combine, a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mpnn.plan.ir import Output
from mpnn.plan.schedule import Shape


class Field(NamedTuple):
    """A tensor `[rows, slots, *features]` in which rows gather something."""

    name: str
    identity: str
    shape: Shape
    at: Sequence[str]  # its index in each feature dimension


@dataclass
class Accumulator:
    """How one output is gathered. The lines of Triton speak of `valid` edges and of a row's `count`."""

    k: int
    output: Output
    at: Sequence[str]
    rounded: str  # how a number is after being stored, `{0}` in its place
    save: bool
    fields: list[Field] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = [Field(f"sum{self.k}", "0", self.output.value.shape, self.at)]

    def step(self, value: str, score: str) -> list[str]:
        """One edge more for each slot."""
        return [f"sum{self.k} += tl.where(valid, {value}, 0.0)"]

    def over_slots(self) -> list[str]:
        """The slots of a row become one."""
        return [f"sum{self.k} = tl.sum(sum{self.k}, 1, keep_dims=True)"]

    def merge(self) -> list[str]:
        """Another part of the row, whose fields are called `other_...`, is taken in."""
        return [f"sum{self.k} += other_sum{self.k}"]

    def results(self) -> list[str]:
        """What is written at the end: the output, then what the backward pass needs."""
        return [f"sum{self.k}"]


class Mean(Accumulator):
    """The sum, divided by how many messages there are."""

    def results(self) -> list[str]:
        """An empty neighbourhood gives 0."""
        return [f"sum{self.k} / tl.maximum(count, 1).to(sum{self.k}.dtype)"]


class Extremum(Accumulator):
    """The largest or smallest value, and how many edges share it."""

    def __post_init__(self) -> None:
        shape = self.output.value.shape
        self.better, self.best = (">", "largest") if self.output.kind == "max" else ("<", "smallest")
        identity = 'float("-inf")' if self.output.kind == "max" else 'float("inf")'
        self.fields = [Field(f"best{self.k}", identity, shape, self.at)]
        if self.save:
            self.fields.append(Field(f"ties{self.k}", "0", shape, self.at))

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


class Softmax(Accumulator):
    """Running top, Σ exp(score - top) and Σ exp(score - top) value, in one pass; both sums times `share`.

    That is a power of two, at most 1 / the number of edges: so no sum is beyond the largest value.
    """

    # Of a row in one piece, which has tiles.HUB = 2^12 edges at most; and of any.
    SHARE, SHARE_OF_PARTS = 2.0**-12, 2.0**-31

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.output.score is not None
        shape = self.output.score.shape
        at = ["0" if n == 1 else i for i, n in zip(self.at, shape, strict=False)]
        self.fields += [
            Field(f"top{self.k}", 'float("-inf")', shape, at),
            Field(f"total{self.k}", "0", shape, at),
        ]

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


KINDS = {
    "sum": Accumulator,
    "mean": Mean,
    "all": Accumulator,
    "max": Extremum,
    "min": Extremum,
    "softmax": Softmax,
}
