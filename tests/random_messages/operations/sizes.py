"""Sizes read as numbers, and branches on them."""

from __future__ import annotations

from math import prod

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


@rule("size as a number", 2)
def number(d: Draft) -> Value | None:
    """`x_j / x_j.size(0)` and its kind."""
    v, x = d.edges(), d.edges()
    if v is None or x is None:
        return None
    most = d.num_edges
    numbers = {f"{x.text}.size(0)": most, f"len({x.text})": most, f"{x.text}.shape[0]": most}
    numbers |= {f"{x.text}.numel()": most * max(prod(x.shape), 1), f"{x.text}.dim()": 3}
    if d.has("size_i"):
        numbers |= {"size_i": 40, "(size_i + size_j)": 80}
    if x.shape:
        numbers[f"{x.text}.size(-1)"] = numbers[f"{x.text}.shape[-1]"] = x.width
    number = d.choice([*numbers])
    n = max(numbers[number], 1)
    texts = {
        f"{v.text} * {number}": v.size * n,
        f"{v.text} / max({number}, 1)": v.size,
        f"{v.text} * (1 / (1 + {number}))": v.size,
        f"{v.text} - {number}": v.size + n,
        f"{v.text} / (2 * {number} + 1)": v.size,
        f"{v.text} * math.sqrt({number})": v.size * n,
        f"{v.text} + math.log({number} + 1)": v.size + n,
        f"{v.text} * ({number} % 3 - 1)": 2 * v.size,
        f"torch.ones_like({v.text}) * {number}": n,
        f"{v.text} / float({number} + 1)": v.size,
        f"{v.text} * {v.text}.new_tensor(float({number}))": v.size * n,
    }
    text = d.choice([*texts])
    size = texts[text]
    whole = v.whole and "/" not in text and "math" not in text
    return d.emit(text, v, size=size, error=v.error * max(1, size / v.size) + size, whole=whole)


@rule("branch on a size", 1)
def branch(d: Draft) -> Value | None:
    """One thing for few edges, another for many."""
    v = d.edges()
    if v is None:
        return None
    n = d.random.choice([1, 8, 20])
    condition = d.choice(
        [
            f"{v.text}.size(0) > {n}",
            f"len({v.text}) < {n}",
            f"{v.text}.shape[0] % 2 == 0",
            f"{v.text}.numel() > {n}",
        ]
    )
    size = 5 * v.size
    return d.emit(f"5 * {v.text} if {condition} else {v.text}", v, size=size, error=5 * v.error + size)


@rule("count of the edges", 1)
def arange(d: Draft) -> Value | None:
    """The number of each edge as a number in the message."""
    v = d.edges(lambda v: len(v.shape) == 1)
    if v is None:
        return None
    x = d.edges()
    n = d.choice([f"{v.text}.size(0)", f"len({v.text})", f"{x.text if x else v.text}.shape[0]"])
    place = d.choice([".view(-1, 1)", "[:, None]", ".unsqueeze(1)"])
    text = d.choice(
        [f"{v.text} * torch.arange({n}){place}", f"{v.text} + torch.arange({n}, dtype={v.text}.dtype){place}"]
    )
    size = (v.size + 1) * max(d.num_edges, 1)
    return d.emit(text, v, size=size, error=v.error * max(d.num_edges, 1) + size)


@rule("over all edges", 0.7)
def over_edges(d: Draft) -> Value | None:
    """A message that looks at other edges: a mean over all of them."""
    v = d.edges(lambda v: v.size < 1e3)
    if v is None:
        return None
    texts = [
        f"{v.text} - {v.text}.sum(0, keepdim=True) / max(len({v.text}), 1)",
        f"{v.text}.flip(0)",
        f"{v.text}.roll(1, 0)",
        f"{v.text}.cumsum(0)",
        f"{v.text} * {v.text}.sum().tanh()",
    ]
    size = v.size * max(2, d.num_edges)
    return d.emit(
        d.choice(texts), v, size=size, error=(v.error + v.size) * max(2, d.num_edges) ** 2, whole=False
    )
