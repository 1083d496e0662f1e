"""What the core's inputs are made of: tensors, or linear maps of them that are left to do.

Before most messages, the last operation at a node is a linear map. The gradient G of its result need not
exist as a whole: dX = G Wᵀ, dW = Xᵀ G and db = ΣG are added up some rows at a time, while the kernel makes G.
Neither need the result, if a kernel reads it row by row at the node that owns the row. So a plan can stop
before such maps; the caller of the kernel computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, fx

from mpnn.native.products import linear
from mpnn.plan.hoist import Hoisted, ancestors, evaluator
from mpnn.plan.homes import Home, args_of, feature_shape, has_rows, is_turned, lives_at, op_name, shape_of
from mpnn.plan.rows import ROWS

ALL = slice(None)


@dataclass(frozen=True)
class LinearMap:
    """x W + b, of which the core reads one row per node: each by its place among some tensors."""

    x: int
    weight: int
    bias: int | None
    shape: tuple[int, ...]  # in which the core reads a row

    def __call__(self, tensors: Sequence[Tensor], rows: slice = ALL) -> Tensor:
        bias = None if self.bias is None else tensors[self.bias]
        return linear(tensors[self.x][rows], tensors[self.weight].t(), bias).view(-1, *self.shape)

    @property
    def reads(self) -> tuple[int, ...]:
        """The places of what it is computed from."""
        return (self.x, self.weight) if self.bias is None else (self.x, self.weight, self.bias)


class MappedRows:
    """The result of a linear map: some rows at a time, or all rows, kept until `let_go`.

    Args:
        one: the map.
        tensors: what it is computed from.
        tensor: what it gives, if that is known.
    """

    def __init__(self, one: LinearMap, tensors: Sequence[Tensor], tensor: Tensor | None = None) -> None:
        self._one, self._tensors, self.tensor = one, tensors, tensor

    def __getitem__(self, rows: slice) -> Tensor:
        return self._one(self._tensors, rows)

    def made(self) -> Tensor:
        """All rows."""
        if self.tensor is None:
            self.tensor = self[ALL]
        return self.tensor

    def let_go(self) -> None:
        """Forget them; they can be made again."""
        self.tensor = None


@dataclass(frozen=True)
class Inputs:
    """How the core's inputs are made of some tensors: each is one of them, by its place, or a map of some."""

    each: tuple[int | LinearMap, ...]

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The core's inputs; a map that is several of them is computed once."""
        made = {one: one(tensors) for one in self.each if isinstance(one, LinearMap)}
        return [made[one] if isinstance(one, LinearMap) else tensors[one] for one in self.each]

    def in_rows(
        self, tensors: Sequence[Tensor], known: Sequence[Tensor | None] | None = None
    ) -> list[Tensor | MappedRows]:
        """The same, but no map computed yet, unless its result is among what is known of the inputs."""
        made: dict[LinearMap, MappedRows] = {}
        for one, whole in zip(self.each, known or repeat(None), strict=False):
            if isinstance(one, LinearMap) and (one not in made or whole is not None):
                made[one] = MappedRows(one, tensors, whole)
        return [made[one] if isinstance(one, LinearMap) else tensors[one] for one in self.each]

    def wanted(self, wanted: Sequence[bool]) -> tuple[bool, ...]:
        """Of which of the core's inputs the gradients of the wanted tensors need the gradient."""
        reads = [one.reads if isinstance(one, LinearMap) else (one,) for one in self.each]
        return tuple([any(wanted[k] for k in places) for places in reads])

    def of_distinct(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Inputs]:
        """The tensors without repeats, and how the inputs are made of these.

        A tensor that is both x and W of a map stays two.
        """
        xs = {one.x if isinstance(one, LinearMap) else one for one in self.each}
        keys = [(k in xs, id(t)) for k, t in enumerate(tensors)]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        new = [places[key] for key in keys]
        each = tuple(
            LinearMap(new[one.x], new[one.weight], None if one.bias is None else new[one.bias], one.shape)
            if isinstance(one, LinearMap)
            else new[one]
            for one in self.each
        )
        return list(dict(zip(keys, tensors, strict=True)).values()), Inputs(each)


@dataclass(frozen=True)
class Stems:
    """The tensors, computed per node, that the core's inputs are made of."""

    compute: Callable[[Sequence[Tensor], dict[Home, int]], list[Tensor]]  # from the plan's inputs
    nodes: tuple[fx.Node, ...]
    inputs: Inputs | None  # how they are made; None where they are the stems

    @cached_property
    def forms(self) -> list[tuple[bool, tuple[int, ...]]]:
        """Of each stem: whether the trace merged its rows with a dimension behind, and one row's shape."""
        return [(has_rows(n) and shape_of(n)[0] != ROWS, feature_shape(n)) for n in self.nodes]

    @cached_property
    def merged(self) -> list[tuple[int, tuple[int, ...]]]:
        """The stems whose rows the trace merged, and the shape of one row."""
        return [(k, shape) for k, (merged, shape) in enumerate(self.forms) if merged]

    def __call__(self, inputs: Sequence[Tensor], num_rows: dict[Home, int]) -> list[Tensor]:
        """The stems, one row per node: the arguments, or what is computed from them once per node."""
        stems = self.compute(inputs, num_rows)
        for k, shape in self.merged:
            stems[k] = stems[k].view(-1, *shape)
        return stems


def as_inputs(hoisted: Hoisted) -> Stems:
    """The core's inputs themselves."""
    return Stems(hoisted.before, tuple(hoisted.inputs), None)


def before_maps(module: fx.GraphModule, hoisted: Hoisted) -> Stems | None:
    """The stems of a plan whose last work per node is linear maps; None if there is none among it."""
    maps = [_parts(node, hoisted) for node in hoisted.inputs]
    if not any(maps):
        return None
    places: dict[fx.Node, int] = {}

    def place(node: fx.Node) -> int:
        return places.setdefault(node, len(places))

    inputs: list[int | LinearMap] = []
    for node, parts in zip(hoisted.inputs, maps, strict=True):
        if parts is None:
            inputs.append(place(node))
        else:
            x, weight, bias = parts
            known_bias = None if bias is None else place(bias)
            inputs.append(LinearMap(place(x), place(weight), known_bias, feature_shape(node)))
    needed = ancestors(list(places))
    moved = [node for node in hoisted.moved if node in needed]
    return Stems(evaluator(module, moved, list(places)), tuple(places), Inputs(tuple(inputs)))


_SAME_ROWS = frozenset(["view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"])
_Parts = tuple[fx.Node, fx.Node, fx.Node | None]


def _parts(node: fx.Node, hoisted: Hoisted) -> _Parts | None:
    """x, W and b of an input of the core that is a linear map at one end, if nothing else reads its steps."""
    if any(user in hoisted.moved for user in node.users):
        return None
    bias = None
    while True:
        name, args = op_name(node), args_of(node)
        if node.op != "call_function" or node.kwargs or shape_of(node)[:1] != (ROWS,):
            return None
        if name in ("mm", "addmm"):
            break
        if name == "add" and bias is None and _is_bias(args[1], node):
            bias = args[1]
        elif name not in _SAME_ROWS:
            return None
        node = args[0]
        if len(node.users) > 1 or node in hoisted.inputs:
            return None
    *first, x, weight = args
    if len(args) > 3 or (first and bias is not None) or not all(_is_bias(row, node) for row in first):
        return None
    types = {n.meta["val"].dtype for n in (*first, x, weight, *([] if bias is None else [bias]))}
    at_one_end = lives_at(x) in (Home.SRC, Home.DST) and lives_at(weight) is Home.SHARED
    if not at_one_end or is_turned(x) or shape_of(x)[0] != ROWS or len(types) > 1:
        return None
    return (x, weight, first[0] if first else bias) if types <= {torch.float32, torch.float64} else None


def _is_bias(value: Any, node: fx.Node) -> bool:
    """Whether a value is one number for each channel of a node's rows."""
    shared = isinstance(value, fx.Node) and lives_at(value) is Home.SHARED
    return shared and len(shape_of(node)) == 2 and shape_of(value) == shape_of(node)[1:]
