"""Random updates: what a node becomes, in the forms that the passes over `update` know, and forms near them.

An update is a second message, of nodes: the grammar writes it as it writes messages, and here are the forms
that it would seldom come to. Their seeds begin at `FIRST`, so that the others keep their programs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.random_messages.case import Case, Field
from tests.random_messages.draft import RULES, Draft
from tests.random_messages.graphs import random_graph
from tests.random_messages.inputs import drawn
from tests.random_messages.value import Value

FIRST = 2_000_000
WIDTHS = {0: 0.3, 1: 1, 2: 2, 3: 3, 4: 3, 5: 2, 8: 2, 17: 1}
DTYPES = {"float64": 8, "float32": 1, "bfloat16": 0.5, "autocast": 0.5}
MESSAGES = {
    "x_j": 4,
    "w[:, None] * x_j": 3,
    "w[:, None] * x_j * 0.5": 1,
    "x_j / 2": 1,
    "x_i - x_j": 1,
    "x_j.relu()": 1,
    "x_j + w[:, None]": 1,
}
SCALERS = ("identity", "amplification", "attenuation", "linear", "inverse_linear")
FORMS: dict[str, Callable[[Draft], Value | None]] = {}
Form = Callable[[Draft], Value | None]


def form(write: Form) -> Form:
    """A form that a pass knows, or one near it."""
    FORMS[write.__name__.replace("_", " ")] = write
    return write


def random_update_case(seed: int) -> Case:
    """The program of a seed: the same on every machine."""
    random = Random(seed)
    dtype = drawn(random, DTYPES)
    autocast, dtype = dtype == "autocast", "float32" if dtype == "autocast" else dtype
    bipartite, width = random.random() < 0.2, drawn(random, WIDTHS)
    kinds, graphs = zip(
        *(random_graph(random, bipartite, width) for _ in range(random.choice([1, 2]))), strict=True
    )
    message = drawn(random, MESSAGES)
    if bipartite and "x_i" in message:
        message = "x_j"
    fields = [_field(random, "x", "source" if bipartite else "node", width)]
    fields += [Field("w", "edge", "torch.randn({n}, generator={g}, dtype=torch.float64).to(dtype)", 7)]
    most = max(len(g.pairs) for g in graphs)
    aggr, received = _aggregator(random, width, dtype, most)
    values: list[Value] = []
    beside = received.width if random.random() < 0.5 else drawn(random, WIDTHS)
    for name, wide in (("root", beside), ("scale", 1)):
        if random.random() < 0.6:
            fields.append(_field(random, name, "receiver", wide))
            values.append(Value(name, (wide,), error=1))
    if not bipartite and random.random() < 0.5:
        values.append(Value("x", (width,), error=1))
    if random.random() < 0.3:
        shape = random.choice([(1, received.width), (received.width,), ()])
        fields.append(Field("p", "shared", _normal(shape), random.randrange(1000)))
        values.append(Value("p", shape, rows=False, error=1))
    others = tuple(v.text for v in values)
    draft = Draft(
        random, "bfloat16" if autocast else dtype, [*values, received], max(g.num_dst for g in graphs)
    )
    if "DegreeScaler" in aggr and random.random() < 0.7:
        draft.rule = "a map of both"
        a_map_of_both(draft)
    _write(draft, random.choice([1, 1, 2, 3]))
    last = _received(draft)
    assert last is not None
    case = Case(
        seed=seed,
        graphs=tuple(graphs),
        bipartite=bipartite,
        fields=tuple(fields),
        parameters=("x_j", "x_i", "w"),
        statements=(),
        result=message,
        definitions=tuple(draft.definitions),
        aggr=aggr,
        flow=random.choice(["source_to_target", "source_to_target", "target_to_source"]),
        form="layer",
        update=last.text,
        update_statements=tuple(draft.statements),
        update_parameters=others,
        dtype=dtype,
        autocast=autocast,
    )
    features = [
        *(f"update: {s.rule}" for s in case.live_update),
        *(f"graph: {kind}" for kind in kinds),
        f"message: {message}",
        f"aggr: {aggr.partition('(')[0]}",
        f"dtype: {'autocast' if autocast else dtype}",
        f"bipartite: {bipartite}",
    ]
    return case.but(features=tuple(dict.fromkeys(features)))


def _normal(shape: tuple[object, ...]) -> str:
    text = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    return f"torch.randn({text}, generator={{g}}, dtype=torch.float64).to(dtype)"


def _field(random: Random, name: str, per: str, width: int) -> Field:
    return Field(name, per, _normal(("{n}", width)), random.randrange(1000), random.random() < 0.85)


def _aggregator(random: Random, width: int, dtype: str, most: int) -> tuple[str, Value]:
    """An aggregator, and what the update knows of what it gives."""
    simple = ["sum", "mean", "max", "min"]
    more = ["std", "var"] if dtype == "float64" else []
    kind = drawn(random, {"simple": 6, "several": 2, "scaled": 2} if dtype == "float64" else {"simple": 1})
    size = 20.0 * (most + 1)
    match kind:
        case "several":
            names = random.sample([*simple, *more], 2)
            return repr(names), Value("inputs", (2 * width,), size=size**2, error=size)
        case "scaled":
            names = random.sample([*simple, *more], random.choice([1, 2, 3]))
            scalers = random.sample(SCALERS, random.choice([1, 2, 3]))
            text = f"DegreeScaler({names}, {scalers}, torch.tensor([1, 3, 8, 5, 2]))"
            wide = len(names) * len(scalers) * width
            return text, Value("inputs", (wide,), size=10 * size**2, error=10 * size)
    name = random.choice([*simple, "sum", "sum", *more])
    return repr(name), Value("inputs", (width,), size=size**2 if name in more else size, error=size)


def _write(draft: Draft, count: int) -> None:
    rules = list(RULES.values())
    for _ in range(40 * count):
        if len(draft.statements) >= count:
            return
        if draft.random.random() < 0.8:
            draft.rule = draft.choice(list(FORMS))
            FORMS[draft.rule](draft)
        else:
            rule = draft.random.choices(rules, [r.weight for r in rules])[0]
            draft.rule = rule.name
            rule.write(draft)


def _received(draft: Draft) -> Value | None:
    """The last value, of one row per node, that is made of what the nodes received."""
    made = {"inputs"}
    for statement in draft.statements:
        if any(map(statement.reads, made)):
            made.add(statement.name)
    fitting = [v for v in draft.values if v.text in made and v.rows and v.kind == "float"]
    return fitting[-1] if fitting else None


def _matrix(draft: Draft) -> Value | None:
    v = _received(draft)
    return v if v and len(v.shape) == 1 else None


def _map(draft: Draft, v: Value, width: int) -> str:
    """A linear map of a value, in one of the ways of writing it."""
    if v.width and width and draft.random.random() < 0.6:
        bias = draft.choice(["", ", bias=False"])
        return f"{draft.define(f'nn.Linear({v.width}, {width}{bias})')}({v.text})"
    return f"{v.text} @ {draft.tensor((v.width, width), scale=0.3)}"


def _mapped(draft: Draft, v: Value, width: int, text: str, more: float = 0) -> Value | None:
    size = (v.width + 1) * (v.size + 1) + more
    return draft.emit(text, v, (width,), size=size, error=v.error * (v.width + 1) + size, whole=False)


@form
def a_map_that_narrows(draft: Draft) -> Value | None:
    """W Σ x_j, with fewer rows than columns."""
    v = _matrix(draft)
    if v is None or v.width < 2:
        return None
    width = draft.random.randrange(1, v.width)
    return _mapped(draft, v, width, _map(draft, v, width))


@form
def a_map_of_the_node_and_what_it_received(draft: Draft) -> Value | None:
    """W x_i + r, in both orders; sometimes the map is read twice."""
    v, own = _matrix(draft), draft.edges(lambda v: v.text in ("root", "x"))
    if v is None or own is None:
        return None
    text = _map(draft, own, v.width)
    joined = draft.choice(
        ["{own} + {v}", "{v} + {own}", "{v} - {own}", "({own}).add({v})", "{own} + 2 * {v}"]
    )
    return _mapped(draft, own, v.width, joined.format(own=text, v=v.text), 2 * v.size)


@form
def two_maps(draft: Draft) -> Value | None:
    """W_1 x_i + W_2 r."""
    v, own = _matrix(draft), draft.edges(lambda v: v.text in ("root", "x"))
    if v is None or own is None:
        return None
    width = draft.choice(["1", "2", "5"])
    both = [_map(draft, own, int(width)), _map(draft, v, int(width))]
    draft.random.shuffle(both)
    return _mapped(draft, v, int(width), " + ".join(both), (own.width + 1) * (own.size + 1))


@form
def the_node_itself(draft: Draft) -> Value | None:
    """Σ x_j + c x_i."""
    v = _matrix(draft)
    own = v and draft.edges(lambda u: u.text in ("root", "x") and v is not None and u.shape == v.shape)
    if v is None or not own:
        return None
    factor = draft.choice(["", "1 * ", "(1 + 0.5) * ", "(1 + {t}) * ", "{t} * ", "{t}[0] * "])
    factor = factor.replace("{t}", draft.tensor((1,))) if "{t}" in factor else factor
    text = draft.choice(["{own} + {v}", "{v} + {own}"]).format(own=f"{factor}{own.text}", v=v.text)
    return draft.emit(text, v, size=v.size + 6 * own.size, error=v.error + 6 * own.error + 1, whole=False)


@form
def a_map_of_both(draft: Draft) -> Value | None:
    """W (x_i ‖ r), as after degree scalers."""
    v, own = _matrix(draft), draft.edges(lambda v: v.text in ("root", "x"))
    if v is None:
        return None
    parts = [own, v] if own is not None else [v]
    draft.random.shuffle(parts)
    size, error = max(p.size for p in parts), max(p.error for p in parts)
    text = f"torch.cat([{', '.join(p.text for p in parts)}], -1)"
    joined = Value(text, (sum(p.width for p in parts),), size=size, error=error)
    width = draft.random.choice([1, 2, 4, 7])
    return _mapped(draft, joined, width, _map(draft, joined, width))


@form
def scaled_side_by_side(draft: Draft) -> Value | None:
    """(a ‖ s_1 b ‖ s_2 b), and a map of it."""
    v = _matrix(draft)
    if v is None:
        return None
    scale = draft.edges(lambda u: u.shape == (1,) and u.text != v.text)
    by = scale.text if scale else "2"
    parts = [v.text, f"{by} * {v.text}", f"{v.text} * ({by} + 1)" if scale else f"{v.text} * 0.5"]
    own = draft.edges(lambda u: u.text in ("root", "x"))
    widths = [v.width] * 3
    if own is not None:
        parts, widths = [own.text, *parts], [own.width, *widths]
    size = (v.size + (own.size if own else 0)) * ((scale.size if scale else 2) + 1)
    error = size + (v.error + (own.error if own else 0)) * size
    wide = draft.emit(f"torch.cat([{', '.join(parts)}], -1)", v, (sum(widths),), size=size, error=error)
    if wide is None or draft.random.random() < 0.2:
        return wide
    width = draft.random.choice([1, 2, 4])
    return _mapped(draft, wide, width, _map(draft, wide, width))


@form
def towers(draft: Draft) -> Value | None:
    """A group of columns, and what is made of it."""
    v = _matrix(draft)
    if v is None or v.width < 2 or v.width % 2:
        return None
    group = draft.choice(["[:, 0]", "[:, 1]", "[:, -1]", ".sum(1)"])
    split = draft.choice(["unflatten(-1, (2, {k}))", "reshape({v}.size(0), 2, {k})", "view(-1, 2, {k})"])
    split = split.format(v=v.text, k=v.width // 2) if v.width else "unflatten(-1, (2, 0))"
    return draft.emit(
        f"{v.text}.{split}{group}",
        v,
        (v.width // 2,),
        size=2 * v.size,
        error=2 * v.error + 1,
    )


@form
def kept_whole(draft: Draft) -> Value | None:
    """What reads all rows at once: no block of rows may be computed by itself."""
    v = _matrix(draft)
    if v is None:
        return None
    text = draft.choice(
        ["{v} - {v}.mean(0)", "{v} + {v}.sum(0, keepdim=True)", "{v}.cumsum(0)", "{v}.flip(0)"]
    )
    size = v.size * (draft.num_edges + 2)
    error = (v.error + 1) * (draft.num_edges + 2) + size
    return draft.emit(text.format(v=v.text), v, size=size, error=error, whole=False)
