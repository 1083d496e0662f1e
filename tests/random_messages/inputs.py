"""The fields that a message may read: their numbers, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from tests.random_messages.case import Field
from tests.random_messages.value import Value

Key = TypeVar("Key")

WIDTHS = {0: 0.5, 1: 2, 2: 2, 3: 4, 4: 4, 5: 2, 8: 2, 16: 2, 17: 1.5, 33: 0.7}
DATA = {
    "random": 8,
    "scale 300": 0.7,
    "scale 3000": 0.4,
    "whole numbers": 3,
    "zeros": 0.4,
    "equal rows": 0.7,
    "few different rows": 0.7,
    "zeros here and there": 0.7,
}
# Where the messages of different edges may be equal.
TIES = ("whole numbers", "zeros", "equal rows", "few different rows", "zeros here and there")
LAYOUTS = {"contiguous": 8, "transposed": 1, "every other row": 1, "every other column": 1, "expanded": 0.4}


def drawn(random: Random, weights: Mapping[Key, float]) -> Key:
    """A key by weight."""
    return random.choices(list(weights), list(weights.values()))[0]


@dataclass
class Inputs:
    """Fields, the parameters that read them, and what the grammar knows of those."""

    fields: list[Field]
    values: list[Value]
    features: list[str]


def random_inputs(random: Random, width: int, dtype: str, node_dim: int, lead: bool) -> Inputs:
    """One to six fields."""
    found = Inputs([], [], [])
    whole = random.random() < 0.15  # everything
    heads = random.choice([1, 2, 3]) if random.random() < 0.25 and node_dim == 0 else 0
    row: tuple[int, ...] = (heads, width) if heads else (width,)
    if node_dim == 0 and not heads and random.random() < 0.08:
        row = ()
    found.features.append(f"heads: {'some' if heads else 'none'}")

    def add(
        name: str, per: str, shape: tuple[int, ...], parameters: tuple[str, ...], rows: bool = True
    ) -> None:
        data = "whole numbers" if whole else drawn(random, DATA)
        if dtype == "bfloat16" and data.startswith("scale"):
            data = "random"
        text, size, integral, layout = _numbers(random, data, shape, lead and per != "shared", per)
        learned = random.random() < 0.85
        found.fields.append(Field(name, per, text, random.randrange(1000), learned))
        found.features += [f"data: {data}", f"layout: {layout}", f"field: {per}"]
        found.values += [Value(parameter, shape, rows, size=size, whole=integral) for parameter in parameters]

    ends = random.choice([("x_i", "x_j"), ("x_i", "x_j"), ("x_i", "x_j"), ("x_j",), ("x_i",)])
    add("x", "node", row, ends)
    if random.random() < 0.3:
        other = (
            row if random.random() < 0.6 else (_width(random),) if node_dim or random.random() < 0.7 else ()
        )
        add("h", "node", other, random.choice([("h_i", "h_j"), ("h_j",), ("h_i",)]))
    if random.random() < 0.45:
        other = row if random.random() < 0.5 else (_width(random),)
        add("e", "edge", other, ("e",))
    if node_dim == 0 and random.random() < 0.25:
        add("w", "edge", (), ("w",))
    if random.random() < 0.4:
        last = row[-1:] or (1,)
        add("p", "shared", random.choice([(1, *last), last, (1, *row), ()]), ("p",), rows=False)
    if lead:
        return found
    if random.random() < 0.25:
        shape = random.choice([(), (), row])
        found.fields.append(Field("k", "edge", _ints(shape), random.randrange(1000), False))
        found.values.append(Value("k", shape, kind="int", size=5, whole=True))
        found.features.append("field: int per edge")
    if random.random() < 0.12:
        shape = row if node_dim else random.choice([(), row])
        found.fields.append(Field("n", "node", _ints(shape), random.randrange(1000), False))
        names = random.choice([("n_j",), ("n_i", "n_j")])
        found.values += [Value(name, shape, kind="int", size=5, whole=True) for name in names]
        found.features.append("field: int per node")
    if random.random() < 0.2:
        shape = row if node_dim else random.choice([(), row])
        per, names = random.choice([("edge", ("b",)), ("node", ("b_j",)), ("node", ("b_i", "b_j"))])
        text = f"torch.randint(0, 2, {_shape(shape)}, generator={{g}}).bool()"
        found.fields.append(Field("b", per, text, random.randrange(1000), False))
        found.values += [Value(name, shape, kind="bool", size=1, whole=True) for name in names]
        found.features.append("field: bool")
    if random.random() < 0.15:
        found.values += [Value(name, (), rows=False, kind="number") for name in ("size_i", "size_j")]
        found.features.append("field: size")
    if random.random() < 0.1:
        found.values.append(Value("index", (), kind="int", size=40, whole=True))
        found.features.append("field: index")
    random.shuffle(found.values)
    return found


def _width(random: Random) -> int:
    return drawn(random, WIDTHS)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, ('{n}', *shape)))},)"


def _ints(shape: tuple[int, ...]) -> str:
    return f"torch.randint(0, 6, {_shape(shape)}, generator={{g}})"


def _numbers(
    random: Random, data: str, shape: tuple[int, ...], lead: bool, per: str
) -> tuple[str, float, bool, str]:
    """The text of a tensor, a bound of its numbers, whether they are whole, and its layout."""
    layout = drawn(random, LAYOUTS)
    if per == "shared" or len(shape) != 1 or lead:
        layout = "contiguous"
    rows: tuple[object, ...] = () if per == "shared" else ("{n}",)
    full: tuple[object, ...] = (*rows, *shape)
    if lead:
        full = (2, *full)
    match layout:
        case "transposed":
            full = full[::-1]
        case "every other row":
            full = ("{2n}", *full[1:])
        case "every other column":
            full = (full[0], 2 * shape[0])
        case "expanded":
            full = (1, *full[1:])
    size = f"({', '.join(map(str, full))}{',' if len(full) == 1 else ''})"
    normal = f"torch.randn({size}, generator={{g}}, dtype=torch.float64)"
    bound, whole = 4.5, False
    match data:
        case "scale 300":
            text, bound = f"300 * {normal}", 1350.0
        case "scale 3000":
            text, bound = f"3000 * {normal}", 13500.0
        case "whole numbers":
            text, bound, whole = f"torch.randint(-3, 4, {size}, generator={{g}})", 3.0, True
        case "zeros":
            text, bound, whole = f"torch.zeros({size})", 1.0, True
        case "equal rows" if layout == "contiguous" and rows and not lead:
            one = f"({', '.join(map(str, (1, *shape)))},)"
            times = ", ".join(["{n}", *("1" for _ in shape)])
            text = f"torch.randn({one}, generator={{g}}, dtype=torch.float64).repeat({times})"
        case "few different rows" if layout == "contiguous" and rows and not lead:
            some = f"({', '.join(map(str, (3, *shape)))},)"
            text = f"torch.randn({some}, generator={{g}}, dtype=torch.float64)[torch.arange({{n}}) % 3]"
        case "zeros here and there":
            text = f"{normal} * torch.randint(0, 2, {size}, generator={{g}})"
        case _:
            text = normal
    text = f"({text}).to(dtype)"
    match layout:
        case "transposed":
            text += ".t()"
        case "every other row":
            text += "[::2]"
        case "every other column":
            text += "[:, ::2]"
        case "expanded":
            text += ".expand({n}, -1)"
    return text, bound, whole, layout
