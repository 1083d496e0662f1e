"""Softmax of a scaled dot product with biases, and what is near it."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Case, Definition, Regular
from tests.random_messages.regular.graphs import pairs
from tests.random_messages.regular.sketch import Change, Sketch


def attention(random: Random, seed: int, dtype: str) -> Case:
    """A case."""
    graph, square = pairs(random)
    again = random.random() < 0.5
    graphs = (graph, pairs_like(random, square)) if again else (graph,)
    draft = Sketch(random, graphs, square, ties=True)
    heads = random.choice([0, 0, 1, 2, 3])
    width, wide = random.choice([1, 2, 3, 4, 5, 8]), random.choice([1, 2, 3, 4])
    if draft.chance(0.03):
        width = 0
    if draft.chance(0.03):
        wide = 0
    head = (heads,) if heads else ()
    q, k, v = _fields(draft, head, width, wide)
    if draft.chance(0.15):
        q = draft.say(f"{q} * {draft.number()}", "scaled query")
    if draft.chance(0.1) and width:
        q = draft.say(f"torch.relu({q})", "relu of the query")
    score = draft.say(_dot(draft, q, k, heads), "dot product")
    if draft.chance(0.6):
        score = draft.say(f"{score} * {draft.number()}", "scale")
    if heads and draft.chance(0.2):
        score = draft.say(f"{score} * {draft.own((heads,))}", "scale of each head")
    score = draft.change(score, {name: (w, _with(c, heads)) for name, (w, c) in BIASES.items()}, 0.45)
    if draft.chance(0.35):
        near = {name: (1.0, _with(c, heads)) for name, c in NEAR.items()}
        score = draft.change(score, near, 0.5)
    if draft.chance(0.2):
        unit = "[..., None]" if heads else "[:, None]"
        near_values: dict[str, tuple[float, Change]] = {
            "value doubled": (1, lambda d, x: f"{x} * 2"),
            "value weighted by edges": (1, lambda d, x: f"{x} * {d.edge(d.fresh('w'), head)}{unit}"),
            "value negated": (1, lambda d, x: f"-{x}"),
            "value turned": (1, lambda d, x: f"{x}.flip(-1)"),
            "part of a value": (1, lambda d, x: f"{x}[..., :1]"),
            "value plus a number": (1, lambda d, x: f"{x} + 0.25"),
            "value unchanged": (2, lambda d, x: f"{x} * 1"),
            "value relu": (1, lambda d, x: f"{x}.relu()"),
            "value scaled": (1, lambda d, x: f"{x} * {d.number()}"),
            "value detached": (1, lambda d, x: f"{x}.detach()"),
        }
        v = draft.change(v, near_values, 0.5)
    aggr = random.choice(["'softmax'"] * 8 + ["Softmax(t=0.5)", "Softmax(learn=True)"])
    if draft.chance(0.07):
        unit = "[..., None]" if heads else "[:, None]"
        last = draft.say(f"{score}{unit} * {v}", "product")
        return draft.case(seed, last, random.choice(["'sum'", "'mean'"]), "attention", dtype)
    found = draft.case(seed, f"({score}, {v})", aggr, "attention", dtype)
    return found.but(form="layer") if "learn" in aggr and not found.settings else found


def pairs_like(random: Random, square: bool) -> Regular:
    """Another graph with as many sets of nodes."""
    while True:
        graph, is_square = pairs(random)
        if is_square == square:
            return graph


def _fields(draft: Sketch, head: tuple[int, ...], width: int, wide: int) -> tuple[str, str, str]:
    """The query, the key and the value, which may be one field."""
    match draft.random.choice(["three", "three", "three", "all one", "key is value", "mapped"]):
        case "all one" if draft.square:
            q = draft.node("x", (*head, width), "i")
            k = draft.node("x", (*head, width), "j")
            return q, k, k
        case "key is value":
            q = draft.node("q", (*head, width), "i")
            k = draft.node("k", (*head, width), "j")
            return q, k, k
        case "mapped" if draft.square:
            name = f"map{len(draft.definitions)}"
            bias = draft.random.choice(["", ", bias=False"])
            draft.definitions.append(Definition(name, f"nn.Linear({max(width, 1)}, {max(width, 1)}{bias})"))
            x_i, x_j = (draft.node("x", (*head, max(width, 1)), at) for at in "ij")
            k = draft.say(f"own.{name}({x_j})", "map of the key")
            return x_i, k, x_j
    return (
        draft.node("q", (*head, width), "i"),
        draft.node("k", (*head, width), "j"),
        draft.node("v", (*head, wide), "j"),
    )


def _dot(draft: Sketch, q: str, k: str, heads: int) -> str:
    texts = [f"({q} * {k}).sum(-1)", f"({k} * {q}).sum(dim=-1)", f"({q} * {k}).mean(-1)"]
    texts += [f"torch.einsum('{'ehc,ehc->eh' if heads else 'ec,ec->e'}', {q}, {k})"]
    texts += [f"({q}[..., None, :] @ {k}[..., None])[..., 0, 0]"]
    return draft.random.choice(texts)


def _with(change: object, heads: int) -> Change:
    return lambda draft, value: change(draft, value, (heads,) if heads else ())  # type: ignore[operator]


def _some(draft: Sketch, head: tuple[int, ...]) -> tuple[int, ...]:
    return draft.random.choice([head, (1,)]) if head else ()


BIASES = {
    "bias of edges": (3, lambda d, s, h: f"{s} + {d.edge(d.fresh('e'), _some(d, h))}"),
    "bias of edges times a number": (1, lambda d, s, h: f"{s} - 0.7 * {d.edge(d.fresh('e'), _some(d, h))}"),
    "bias of sources": (3, lambda d, s, h: f"{s} + {d.node(d.fresh('b'), _some(d, h), 'j')}"),
    "bias of destinations": (2, lambda d, s, h: f"{s} - {d.node(d.fresh('b'), _some(d, h), 'i')}"),
    "bias": (1, lambda d, s, h: f"{s} + {d.number()}"),
    "mask of edges": (1.5, lambda d, s, h: f"{s} + {d.edge(d.fresh('m'), _some(d, h), '-inf')}"),
    "mask of sources": (1, lambda d, s, h: f"{s} + {d.node(d.fresh('m'), _some(d, h), 'j', '-inf')}"),
    "mask of destinations": (0.7, lambda d, s, h: f"{s} + {d.node(d.fresh('m'), _some(d, h), 'i', '-inf')}"),
}


def _whole(draft: Sketch, per: str, head: tuple[int, ...]) -> str:
    name = draft.fresh("n")
    if per == "edge":
        draft.add_whole(name, "edge", head)
        return draft.read(name)
    draft.add_whole(name, "node" if draft.square else "source", head)
    return draft.read(f"{name}_j")


NEAR = {
    "weighted by edges": lambda d, s, h: f"{s} * {d.edge(d.fresh('w'), h)}",
    "weighted by sources": lambda d, s, h: f"{s} * {d.node(d.fresh('w'), h, 'j')}",
    "temperature of destinations": lambda d, s, h: f"{s} / (1 + {d.node(d.fresh('w'), h, 'i')}.abs())",
    "whole numbers of edges": lambda d, s, h: f"{s} + {_whole(d, 'edge', h)}",
    "whole numbers of sources": lambda d, s, h: f"{s} + {_whole(d, 'node', h)}",
    "clamp": lambda d, s, h: f"{s}.clamp(max=0.5)",
    "tanh": lambda d, s, h: f"2 * ({s}).tanh()",
    "leaky": lambda d, s, h: f"F.leaky_relu({s}, 0.2)",
    "abs": lambda d, s, h: f"{s}.abs()",
    "square": lambda d, s, h: f"{s} * {s} / 4",
    "detached": lambda d, s, h: f"{s}.detach()",
    "masked": lambda d, s, h: f"{s}.masked_fill({s} < 0, -torch.inf)",
    "small term": lambda d, s, h: (
        f"{s} + 1e-13 * {(w := d.edge(d.fresh('w'), h))} * (1e13 * {w})" if d.chance(0.5) else f"{s} + 1e-13"
    ),
    "tiny term of large numbers": lambda d, s, h: f"{s} + 1e-14 * ({d.edge(d.fresh('w'), h)} * 1e7) ** 2",
    "product of biases": lambda d, s, h: (
        f"{s} + {d.node(d.fresh('b'), h, 'i')} * {d.node(d.fresh('b'), h, 'j')}"
    ),
    "heads turned": lambda d, s, h: f"{s}.flip(-1)" if h else f"-{s}",
    "heads summed": lambda d, s, h: f"{s} + {s}.sum(-1, keepdim=True)" if h else f"{s} + {s}",
    "cast": lambda d, s, h: f"{s}.to(torch.float32).to(dtype)",
    "lower precision": lambda d, s, h: f"{s}.to(torch.bfloat16).to(dtype)",
}
