"""A weight per edge times the source, and what is near it."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Case
from tests.random_messages.regular.attention import pairs_like
from tests.random_messages.regular.graphs import pairs
from tests.random_messages.regular.sketch import Change, Sketch


def linear(random: Random, seed: int, dtype: str) -> Case:
    """A case."""
    while True:
        graph, square = pairs(random)
        if ".complete" in graph.text or random.random() < 0.1:
            break
    draft = Sketch(random, (graph, pairs_like(random, square))[: random.choice([1, 2])], square)
    draft.ties = True
    row = random.choice([(), (1,), (3,), (3,), (5,), (2, 3), (2, 1), (0,)])
    x = draft.node("x", row, "j")
    unit = random.choice([(), (1,)]) if len(row) < 2 else random.choice([(), (1,), (1, 1)])
    w = draft.edge("w", unit)
    missing = len(row) - len(unit)
    if missing < 0:
        x = draft.say(f"{x}[:, None]", "one column")
    shaped = f"{w}.view(-1{', 1' * max(len(row), len(unit))})"
    message = draft.say(random.choice([f"{shaped} * {x}", f"{x} * {shaped}"]), "product")
    if draft.chance(0.5):
        message = draft.say(f"{message} * {draft.number()}", "scale")
    if draft.chance(0.35):
        message = draft.change(message, _near(draft, row or unit), 0.6)
    if draft.chance(0.1):
        message = draft.say(f"1e-14 * {message}", "a small unit")
    aggr = random.choice(["'sum'", "'sum'", "'sum'", "'mean'", "'max'"])
    found = draft.case(seed, message, aggr, "linear", dtype)
    if "1e-14" in "".join(line for s in draft.statements for line in s.lines):
        found = found.but(update="inputs * 1e14", form="layer") if not found.settings else found
    return found


def _near(draft: Sketch, row: tuple[int, ...]) -> dict[str, tuple[float, Change]]:
    def second(d: Sketch) -> str:
        return f"{d.edge(d.fresh('w'), ())}.view(-1{', 1' * len(row)})"

    return {
        "another weight": (1, lambda d, m: f"{m} * {second(d)}"),
        "plus another weight": (1, lambda d, m: f"{m} + {second(d)}"),
        "plus the source": (1, lambda d, m: f"{m} + {d.node('x', row, 'j')}"),
        "plus a bias": (1, lambda d, m: f"{m} + {d.node(d.fresh('b'), row, 'j')}"),
        "plus a number": (1, lambda d, m: f"{m} + {d.number()}"),
        "minus the destination": (1, lambda d, m: f"{m} - {d.node(d.fresh('b'), row, 'i')}"),
        "weights of channels": (1, lambda d, m: f"{m} * {d.own(row)}"),
        "channels turned": (1, lambda d, m: f"{m}.flip(-1)"),
        "half of the channels": (1, lambda d, m: f"{m}[..., :2]"),
        "abs": (1, lambda d, m: f"{m}.abs()"),
        "detached": (1, lambda d, m: f"{m}.detach()"),
        "square": (1, lambda d, m: f"{m} * {m}"),
        "tiny square": (1, lambda d, m: f"{m} + 1e-13 * {m} * {m} * 1e13"),
        "relu": (1, lambda d, m: f"{m}.relu()"),
        "unchanged": (2, lambda d, m: f"{m}.clone()"),
        "negated": (2, lambda d, m: f"-{m}"),
        "cast": (0.5, lambda d, m: f"{m}.to(torch.bfloat16).to(dtype)"),
    }
