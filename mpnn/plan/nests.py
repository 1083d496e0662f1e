"""Loop nests for a per-edge program.

Every operation runs over a domain, the shape of the values that it reads together. Operations of one domain
share a loop nest if none of them needs the result of another's whole loop. Kernel printers turn each nest
into code, in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mpnn.plan.ir import Output, Program, Value

Shape = tuple[int, ...]


@dataclass(eq=False)
class Item:
    """One operation inside a loop nest: a value, a part of a join, or what an output does with its value."""

    kind: str  # "point", "reduce", "join", "output", or with a score "weight" and "weighted"
    domain: Shape
    reads: tuple[Value, ...]
    value: Value | None = None
    output: int = -1
    offset: Shape = ()


@dataclass(eq=False)
class Nest:
    """Operations that share their loops. `reduced` are the trailing dimensions that its reductions reduce."""

    domain: Shape
    items: list[Item] = field(default_factory=list)
    reduced: Shape | None = None


@dataclass
class Schedule:
    """The nests in order, and which values must be kept in an array because another nest reads them."""

    nests: list[Nest]
    stored: set[Value]
    weights: dict[int, Item]  # the softmax weights of an output, computed between its score and its value


def base_of(value: Value) -> Value:
    """The value that a chain of views is of."""
    while value.op == "view":
        value = value.args[0]
    return value


def make_schedule(program: Program) -> Schedule:
    """Distribute a program over loop nests, each operation as early as it can be."""
    nests: list[Nest] = []
    place: dict[Value, tuple[int, bool]] = {}  # nest, and whether the value is complete inside it
    last_join: dict[Value, int] = {}
    stored: set[Value] = set()
    weights: dict[int, Item] = {}
    readers: list[tuple[int, Item]] = []
    weight_place: dict[int, int] = {}

    def earliest(item: Item) -> int:
        first = 0
        for read in item.reads:
            base = base_of(read)
            if base.op in ("load", "const"):
                continue
            nest, inside = place[base]
            aligned = read is base and inside and base.shape == item.domain
            first = max(first, nest if aligned else nest + 1)
        if item.kind == "weighted":
            first = max(first, weight_place[item.output] + 1)
        return first

    def add(item: Item) -> int:
        wanted = _trailing(item)
        start = earliest(item)
        if item.kind != "weight":
            for k in range(start, len(nests)):
                nest = nests[k]
                same = nest.domain == item.domain and nest.items[0].kind != "weight"
                if same and _reduce_alike(nest, item):
                    nest.items.append(item)
                    nest.reduced = nest.reduced if wanted is None else wanted
                    readers.append((k, item))
                    return k
        nests.append(Nest(item.domain, [item], wanted))
        readers.append((len(nests) - 1, item))
        return len(nests) - 1

    for value in _in_order(program):
        if value.op == "point":
            place[value] = (add(Item("point", value.shape, value.args, value)), True)
        elif value.op == "reduce":
            place[value] = (add(Item("reduce", value.args[0].shape, value.args, value)), False)
        elif value.op == "join":
            for part, offset in zip(value.args, value.detail, strict=True):
                nest = add(Item("join", part.shape, (part,), value, offset=offset))
                last_join[value] = max(nest, last_join.get(value, 0))
            place[value] = (last_join.get(value, -1), False)
            stored.add(value)
    for k, output in enumerate(program.outputs):
        if output.score is not None:
            if output.score.size == 0:
                continue
            weights[k] = Item("weight", output.score.shape, (output.score,), output=k)
            weight_place[k] = add(weights[k])
            if output.value.size:
                add(Item("weighted", output.value.shape, (output.value,), output=k))
        elif output.value.size:
            add(Item("output", output.value.shape, (output.value,), output=k))
    for nest, item in readers:
        for read in item.reads:
            base = base_of(read)
            if base.op == "reduce":
                stored.add(base)
            elif base.op == "point":
                aligned = read is base and place[base][0] == nest and base.shape == item.domain
                if not aligned:
                    stored.add(base)
    return Schedule([part for nest in nests for part in _without_product(nest)], stored, weights)


def _without_product(nest: Nest) -> Iterator[Nest]:
    """Take a row times a matrix out of a nest: in a nest by itself it is the inner loop of a small GEMM."""
    pair = _product_in(nest)
    others = [item for item in nest.items if item not in pair]
    if not pair or not others:
        yield nest
        return
    yield Nest(nest.domain, pair)
    trailing = [_trailing(item) for item in others if item.kind == "reduce"]
    yield from _without_product(Nest(nest.domain, others, trailing[0] if trailing else None))


def _product_in(nest: Nest) -> list[Item]:
    """The factors' product and its sum over a matrix's rows, if only the sum reads the product."""
    made = {item.value: item for item in nest.items if item.kind == "point"}
    for total in nest.items:
        leading = total.kind == "reduce" and total.value is not None and total.value.detail == (0,)
        factors = made.get(total.reads[0]) if leading and len(nest.domain) == 2 else None
        if factors is None or factors.value is None or factors.value.name != "mul":
            continue
        readers = [item for item in nest.items if factors.value in item.reads]
        if readers == [total] and made.keys().isdisjoint(factors.reads) and _trailing(total) is None:
            return [factors, total]
    return []


def _reduce_alike(nest: Nest, item: Item) -> bool:
    """Whether an item is no reduction, or reduces the same dimensions as the nest's other reductions."""
    if item.kind != "reduce":
        return True
    return all(_trailing(other) == _trailing(item) for other in nest.items if other.kind == "reduce")


def _trailing(item: Item) -> Shape | None:
    """The reduced dimensions, when they are the last ones (then a scalar accumulates); else None."""
    if item.kind != "reduce":
        return None
    assert item.value is not None
    dims: Shape = item.value.detail
    rank = len(item.domain)
    behind = [d for d in range(min(dims), rank) if item.domain[d] > 1]
    return dims if set(behind) <= set(dims) else None


def _in_order(program: Program) -> Iterator[Value]:
    seen: set[Value] = set()
    for output in program.outputs:
        for root in _roots(output):
            stack: list[tuple[Value, bool]] = [(root, False)]
            while stack:
                value, ready = stack.pop()
                if ready:
                    yield value
                elif value not in seen:
                    seen.add(value)
                    stack.append((value, True))
                    stack.extend((a, False) for a in reversed(value.args))


def _roots(output: Output) -> list[Value]:
    """The values that an output reads; an empty one is left out, so that no loop runs over a length of 0."""
    return [value for value in (output.score, output.value) if value is not None and value.size]
