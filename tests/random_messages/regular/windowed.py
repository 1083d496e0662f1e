"""Convolution and pooling, and what is near them."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Case, Field
from tests.random_messages.regular.graphs import windows
from tests.random_messages.regular.sketch import Change, Sketch


def convolution(random: Random, seed: int, dtype: str) -> Case:
    """A case."""
    graph = windows(random, pooling=False)
    draft = Sketch(random, (graph,) * random.choice([1, 2]), False)
    wide, out = random.choice([1, 2, 3, 4]), random.choice([1, 2, 3, 4])
    if draft.chance(0.04):
        wide, out = random.choice([(0, 2), (2, 0)])
    groups = random.choice([0, 0, 0, 1, 2])
    group = (groups,) if groups else ()
    x = draft.node("x", (*group, wide), "j")
    kind = _types(draft)
    if draft.chance(0.15):
        x = draft.say(random.choice([f"{x}.relu()", f"{x} * {draft.number()}", f"-{x}"]), "changed source")
    spelled = random.choice(["io", "oi"])
    letters = f"g{spelled}" if groups else spelled
    sizes = {"g": groups, "i": wide, "o": out}
    # The types of the graph are `{types}`: fields are made where the graph is known.
    shape = ["graph.num_edge_types", *(str(sizes[c]) for c in letters)]
    data = f"torch.randn(({', '.join(shape)}), generator={{g}}, dtype=torch.float64)"
    weight = draft.shared("weight", (), f"({data}).to(dtype)")
    picked = draft.say(f"{weight}[{kind}]", "weight of the edge")
    g = "g" if groups else ""
    product = [f"torch.einsum('e{g}i,e{letters}->e{g}o', {x}, {picked})"]
    matrix = picked if spelled == "io" else f"{picked}.mT"
    product += [f"({x}[..., None, :] @ {matrix})[..., 0, :]"]
    if not groups:
        product += [f"torch.bmm({matrix}.mT, {x}[..., None])[..., 0]"]
    message = draft.say(random.choice(product), "product")
    if draft.chance(0.4):
        message = draft.change(message, _near(draft, group, wide, out, kind), 0.5)
    aggr = random.choice(["'sum'", "'sum'", "'mean'", "'max'"] if draft.chance(0.4) else ["'sum'", "'mean'"])
    return draft.case(seed, message, aggr, "convolution", dtype)


def _types(draft: Sketch) -> str:
    """The types of the edges: the graph's own, or others."""
    match draft.random.choices(["own", "given", "other", "same"], [10, 0.7, 0.7, 0.7])[0]:
        case "given":  # under the name of the graph's own
            draft.add_whole("edge_type", "edge", (), "graph.num_edge_types")
        case "same":
            draft.fields.append(Field("edge_type", "edge", "graph.edge_type", 0, False))
        case "other":
            draft.add_whole("n", "edge", (), "graph.num_edge_types")
            return draft.read("n")
    return draft.read("edge_type")


def _near(
    draft: Sketch, group: tuple[int, ...], wide: int, out: int, kind: str
) -> dict[str, tuple[float, Change]]:
    row = (*group, out)
    one = ", 1" * len(row)
    shape = ", ".join(["graph.num_edge_types", *map(str, row)])
    bias = f"torch.randn(({shape}), generator={{g}}, dtype=torch.float64).to(dtype)"
    return {
        "bias of types": (1, lambda d, m: f"{m} + {d.shared(d.fresh('b'), (), bias)}[{kind}]"),
        "scale of types": (1, lambda d, m: f"{m} * {d.shared(d.fresh('b'), (), bias)}[{kind}]"),
        "weights of edges": (1, lambda d, m: f"{m} * {d.edge(d.fresh('w'), ())}.view(-1{one})"),
        "bias": (1, lambda d, m: f"{m} + {d.own(row)}"),
        "scale of channels": (1, lambda d, m: f"{m} * {d.own(row)}"),
        "scale": (1, lambda d, m: f"{m} * {d.number()}"),
        "minus the destination": (1, lambda d, m: f"{m} - {d.node(d.fresh('y'), row, 'i')}"),
        "plus the source": (
            1,
            lambda d, m: f"{m} + {d.node('x', (*group, wide), 'j')}.sum(-1, keepdim=True)",
        ),
        "half of the channels": (1, lambda d, m: f"{m}[..., :1]"),
        "channels turned": (1, lambda d, m: f"{m}.flip(-1)"),
        "types as numbers": (1, lambda d, m: f"{m} * {kind}.view(-1{one})"),
        "relu": (1, lambda d, m: f"{m}.relu()"),
        "detached": (1, lambda d, m: f"{m}.detach()"),
        "tiny term": (1, lambda d, m: f"{m} + 1e-13 * (1e7 * {d.node(d.fresh('u'), row, 'j')}) ** 2"),
        "cast": (0.5, lambda d, m: f"{m}.to(torch.bfloat16).to(dtype)"),
        "unchanged": (2, lambda d, m: f"{m} * 1"),
    }


def pooling(random: Random, seed: int, dtype: str) -> Case:
    """A case."""
    graph = windows(random, pooling=True)
    draft = Sketch(random, (graph,) * random.choice([1, 2]), False)
    row = random.choice([(), (1,), (2,), (3,), (2, 3), (0,)])
    aggr = random.choice(["'sum'", "'mean'", "'max'", "'max'", "'min'", "['max', 'mean']"])
    if draft.chance(0.06):
        draft.add_whole("x", "source", row)
        message = draft.read("x_j")
        aggr = random.choice(["'sum'", "'mean'"])
        if draft.chance(0.5):
            message = draft.say(f"{message} > 1", "truth values")
        else:
            message = draft.say(f"{message} * 1", "whole numbers")
        return draft.case(seed, message, aggr, "pooling", "float64")
    message = draft.node("x", row, "j")
    if draft.chance(0.2):
        message = draft.say(f"{message}.{draft.random.choice(['relu', 'abs', 'tanh'])}()", "changed source")
        aggr = random.choice(["'sum'", "'mean'"])
    if draft.chance(0.45):
        one = ", 1" * len(row)
        changes: dict[str, tuple[float, Change]] = {
            "unchanged": (3, lambda d, m: f"{m}.clone()"),
            "times one": (2, lambda d, m: f"{m} * 1"),
            "negated": (1, lambda d, m: f"-{m}"),
            "plus a number": (1, lambda d, m: f"{m} + {d.number()}"),
            "times a number": (1, lambda d, m: f"{m} * {d.number()}"),
            "plus a tiny number": (1, lambda d, m: f"({m} * 1e-8 + 1e-13) * 1e8"),
            "tiny square": (1, lambda d, m: f"{m} + 1e-13 * (1e7 * {m}) ** 2"),
            "abs of a difference": (1, lambda d, m: f"({m} - {d.node(d.fresh('y'), row, 'i')}).abs()"),
            "weighted": (1, lambda d, m: f"{m} * {d.edge(d.fresh('w'), ())}.view(-1{one})"),
            "turned": (1, lambda d, m: f"{m}.flip(-1)" if row else f"-{m}"),
            "two fields": (1, lambda d, m: f"{m} + {d.node(d.fresh('y'), row, 'j')}"),
            "reshaped": (1, lambda d, m: f"{m}.flatten(1)" if row else f"{m}[:, None]"),
            "detached": (1, lambda d, m: f"{m}.detach()"),
            "types": (1, lambda d, m: f"{m} + {d.read('edge_type')}.view(-1{one})"),
            "cast": (0.5, lambda d, m: f"{m}.to(torch.bfloat16).to(dtype)"),
        }
        message = draft.change(message, changes, 0.5)
    return draft.case(seed, message, aggr, "pooling", dtype)
