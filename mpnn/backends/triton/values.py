"""The values of a program as Triton: each is a tensor `[rows, slots, *features]` for a tile of edges.

A value is a function of indices, and a view is arithmetic on the indices of its operand, down to the loads.
So no tensor is reshaped. Each feature dimension is an axis of the tile, padded to a power of two, as Triton
requires.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from math import prod
from typing import NamedTuple

import torch

from mpnn.backends import point
from mpnn.backends.triton.numbers import literal, needs_tensors
from mpnn.plan.dropout import threshold
from mpnn.plan.homes import Home
from mpnn.plan.indices import Indices, broadcast, linear, locate, unravel
from mpnn.plan.ir import Program, Value
from mpnn.plan.nests import Shape

STORAGE = {torch.bfloat16: "tl.bfloat16", torch.float16: "tl.float16"}
IDENTITY = {"sum": "0.0", "max": 'float("-inf")', "min": 'float("inf")'}
PAIRS = "PAIRS"  # a placeholder for the shape of a tensor with an axis in pairs
ONES = "[ONES]"  # the shape of one number per tile; the number of axes is known when all is printed


class Term(NamedTuple):
    """A use of a value: a variable or a literal, and the axes along which it varies."""

    text: str
    axes: frozenset[int]
    literal: bool = False


class Axes:
    """The feature axes of a tile; axis k has the index `ik`, and where it is padded the mask `mk`."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def of(self, shape: Shape) -> list[str]:
        """An index for each dimension: axes of the same lengths, made where there are none yet."""
        taken: set[int] = set()
        at = []
        for n in shape:
            if n == 1:
                at.append("0")
                continue
            axis = self.free(n, taken)
            taken.add(axis)
            at.append(f"i{axis}")
        return at

    def free(self, length: int, taken: set[int]) -> int:
        """An axis of this length that is not in `taken`."""
        for axis, n in enumerate(self.lengths):
            if n == length and axis not in taken:
                return axis
        self.lengths.append(length)
        return len(self.lengths) - 1

    def named(self, *texts: str) -> frozenset[int]:
        """The axes whose indices occur in texts."""
        return frozenset(int(k) for text in texts for k in re.findall(r"\bi(\d+)\b", text))

    def padded(self, axis: int) -> int:
        """The length of an axis, rounded up to a power of two."""
        return 1 << max(self.lengths[axis] - 1, 0).bit_length()

    def size(self, axes: frozenset[int]) -> int:
        """Numbers of one edge in a tensor with these axes."""
        return prod(map(self.padded, axes))

    def dims(self, at: Indices) -> list[str]:
        """The feature dimensions of a tensor with these indices."""
        axes = self.named(*at)
        return [str(self.padded(a)) if a in axes else "1" for a in range(len(self.lengths))]

    def along(self, dim: int) -> str:
        """The index that turns a vector into a tensor along one dimension of the tile."""
        return f"[{', '.join(':' if d == dim else 'None' for d in range(2 + len(self.lengths)))}]"

    def lines(self) -> list[str]:
        """The lines that compute the indices, and the masks of lanes that are not padding."""
        lines = []
        for axis, n in enumerate(self.lengths):
            lines.append(f"i{axis} = tl.arange(0, {self.padded(axis)}){self.along(2 + axis)}")
            if self.padded(axis) != n:
                lines.append(f"m{axis} = i{axis} < {n}")
        return lines

    def masks(self, texts: Indices) -> list[str]:
        """The masks that keep the padding of axes from reading or writing memory."""
        return [f"m{a}" for a in sorted(self.named(*texts)) if self.padded(a) != self.lengths[a]]


class Values:
    """Prints the values of a program, each once for every index at which it is used."""

    def __init__(self, program: Program, axes: Axes) -> None:
        self.program, self.axes = program, axes
        self.real = "tl.float64" if program.dtype == torch.float64 else "tl.float32"
        self.before: list[str] = []  # lines before the loop over edges: the same for all edges of a row
        self.inside: list[str] = []
        self.widest = 1  # numbers of one edge in the widest tensor
        self._known: dict[object, Term] = {}
        self._numbers = count()

    def tensor(self, value: Value, at: Indices) -> str:
        """The entry `at` of a value, as the text of a tensor."""
        return self._tensor(self._value(value, at, ()))

    def zero(self) -> str:
        """The number 0, in place of a value without numbers."""
        return self._tensor(Term("0.0", frozenset(), literal=True))

    def rounded(self, text: str) -> str:
        """A number rounded as in memory: the backward pass of a maximum compares it with the output."""
        storage = STORAGE.get(self.program.dtype)
        return f"{text}.to({storage}).to({self.real})" if storage else text

    def _tensor(self, term: Term) -> str:
        return f"tl.full({ONES}, {term.text}, {self.real})" if term.literal else term.text

    def _value(self, value: Value, at: Indices | str, masks: tuple[str, ...]) -> Term:
        base, place = locate(value, at, "//")
        if base.op == "const":
            return Term(literal(base.detail), frozenset(), literal=True)
        if base.op == "load":
            return self._load(base, place if isinstance(place, str) else linear(place, base.shape), masks)
        indices = unravel(place, base.shape, "//") if isinstance(place, str) else place
        key = (base, tuple(indices), masks)
        if key not in self._known:
            make = {"point": self._point, "reduce": self._reduce, "join": self._join}[base.op]
            self._known[key] = make(base, indices, masks)
        return self._known[key]

    def _name(self, value: Value, text: str, axes: frozenset[int]) -> Term:
        """Give a value a name, on the outermost line at which it can be computed."""
        name = f"v{next(self._numbers)}"
        once = value.home in (Home.SHARED, self.program.by)
        (self.before if once else self.inside).append(f"{name} = {text}")
        self.widest = max(self.widest, self.axes.size(axes))
        return Term(name, axes)

    def _load(self, value: Value, where: str, masks: tuple[str, ...]) -> Term:
        given = self.program.inputs[value.detail]
        axes = self.axes.named(where)
        # An index that does not vary along an axis is valid for all of its lanes.
        needed = tuple(m for m in masks if self.axes.named(m) & axes)
        key = (value, where, needed)
        if key in self._known:
            return self._known[key]
        owner, exists = {
            Home.SHARED: ("", ""), self.program.by: ("row", "inside"), Home.EDGE: ("edge", "valid"),
        }.get(given.home, ("neighbour", "valid"))  # fmt: skip
        terms = [f"in{value.detail}", *([f"{owner} * {given.size}"] if owner else []), where]
        conditions = [*([exists] if exists else []), *needed, *self.axes.masks([where])]
        mask = f", mask={' & '.join(conditions)}, other=0" if conditions else ""
        text = f"tl.load({total(terms)}{mask})"
        if given.dtype == torch.bool:
            text += " != 0"
        elif given.dtype in STORAGE:
            text += f".to({self.real})"
        self._known[key] = self._name(value, text, axes | self.axes.named(*needed))
        return self._known[key]

    def _point(self, value: Value, at: Indices, masks: tuple[str, ...]) -> Term:
        if value.name == "kept":
            return self._kept(value, at)
        terms = [self._value(a, broadcast(at, a.shape), masks) for a in value.args]
        texts = [t.text for t in terms]
        if needs_tensors(value.name, [t.literal for t in terms]):
            texts = [self._tensor(t) for t in terms]
        text = point.TRITON[value.name].replace("REAL", self.real)
        text = text.format(*texts)
        return self._name(value, text, frozenset[int]().union(*(t.axes for t in terms)))

    def _kept(self, value: Value, at: Indices) -> Term:
        """The factor of dropout, drawn by the edge and the place of the number in the edge's value."""
        p, stream = value.detail
        if p >= 1:
            return Term("0.0", frozenset(), literal=True)
        lane = f"tl.zeros({ONES}, tl.int32) + {linear(at, value.shape)}"
        scale = f"tl.full({ONES}, {1 / (1 - p)!r}, {self.real})"
        text = f"kept(tl.load(seed), {stream}, edge, {lane}, {threshold(p)}, {scale})"
        return self._name(value, text, self.axes.named(*at))

    def _reduce(self, value: Value, at: Indices, masks: tuple[str, ...]) -> Term:
        source = value.args[0]
        inner, taken = list(at), set(self.axes.named(*at, *masks))
        reduced = []
        for d in value.detail:
            if source.shape[d] != 1:
                axis = self.axes.free(source.shape[d], taken)
                taken.add(axis)
                reduced.append(axis)
                inner[d] = f"i{axis}"
        term = self._value(source, inner, masks)
        text, axes, repeats = self._tensor(term), term.axes, 1
        for axis in reduced:
            if axis not in axes:  # constant along the axis
                repeats *= self.axes.lengths[axis] if value.name == "sum" else 1
                continue
            if self.axes.padded(axis) != self.axes.lengths[axis]:
                text = f"tl.where(m{axis}, {text}, {IDENTITY[value.name]})"
            if value.name == "sum" and self.program.exact:
                text = self._summed_in_order(value, text, axes, axis)
            else:
                text = f"tl.{value.name}({text}, {2 + axis}, keep_dims=True)"
            axes = axes - {axis}
        return self._name(value, f"{text} * {repeats}.0" if repeats > 1 else text, axes)

    def _summed_in_order(self, value: Value, text: str, axes: frozenset[int], axis: int) -> str:
        """A sum along an axis by pairs of neighbours, then pairs of these sums, and so on.

        `tl.sum` of many numbers adds in an order that depends on the tile and on Triton's compiler, and so
        differs between the forward and the backward kernel. The sum of two numbers has only one order, so
        these sums always have the same bits.
        """
        half = self.axes.padded(axis) // 2
        while half:
            name = self._name(value, text, axes).text
            text, half = f"tl.sum({PAIRS}({name}, {2 + axis}, {half}), {3 + axis})", half // 2
        return text

    def _join(self, value: Value, at: Indices, masks: tuple[str, ...]) -> Term:
        parts: list[tuple[str, Term]] = []
        for part, start in zip(value.args, value.detail, strict=True):
            inner, within = [], []
            for i, low, n, whole in zip(at, start, part.shape, value.shape, strict=True):
                inner.append("0" if n == 1 else f"({i} - {low})" if low else i)
                if n == 1 < whole:
                    within.append(f"({i} == {low})")
                elif n != whole:
                    within += [*([f"({i} >= {low})"] if low else []), f"({i} < {low + n})"]
            here = " & ".join(within)
            parts.append((here, self._value(part, inner, (*masks, f"({here})") if here else masks)))
        text, axes = "0.0", frozenset[int]()
        for here, term in reversed(parts):
            text = f"tl.where({here}, {self._tensor(term)}, {text})" if here else self._tensor(term)
            axes |= term.axes | self.axes.named(here)
        return self._name(value, text, axes)


def total(terms: Sequence[str]) -> str:
    """A sum without its zeros."""
    return " + ".join(t for t in terms if t != "0")
