"""From a seed to a program."""

from __future__ import annotations

from random import Random

from tests.random_messages import operations, regular, updates  # noqa: F401  (operations fills RULES)
from tests.random_messages.case import Case, Field, mentions
from tests.random_messages.draft import RULES, Draft
from tests.random_messages.graphs import random_graph
from tests.random_messages.inputs import TIES, WIDTHS, drawn, random_inputs
from tests.random_messages.value import Value

DTYPES = {"float64": 8, "float32": 1.5, "bfloat16": 0.7, "autocast": 0.7}
FIELD_OF = {"x": "x", "h": "h", "n": "n", "b": "b"}


def random_case(seed: int) -> Case:
    """The program of a seed: the same on every machine."""
    if seed >= updates.FIRST:
        return pruned(updates.random_update_case(seed))
    if seed >= regular.FIRST:
        return pruned(regular.random_regular_case(seed))
    random = Random(seed)
    width = drawn(random, WIDTHS)
    bipartite = random.random() < 0.25
    node_dim = -2 if random.random() < 0.1 else 0
    lead = node_dim == -2 and random.random() < 0.3
    dtype = drawn(random, DTYPES)
    autocast, dtype = dtype == "autocast", "float32" if dtype == "autocast" else dtype
    kinds, graphs = zip(
        *(random_graph(random, bipartite, width) for _ in range(random.choice([1, 2]))), strict=True
    )
    rounding = "bfloat16" if autocast else dtype
    inputs = random_inputs(random, width, rounding, node_dim, lead)
    draft = Draft(random, rounding, list(inputs.values), max(len(g.pairs) for g in graphs))
    _write(draft, random.randint(1, 7), anywhere=lead)
    result, kind, text = _result(draft, node_dim)
    ties = any(f"data: {data}" in inputs.features for data in TIES)
    aggr, returned = _aggregator(draft, result, text, node_dim, ties)
    form, flow, update = _form(random, bool(bipartite), draft)
    learned_t = "learn=True" in aggr
    if learned_t:
        form = "layer"
    case = Case(
        seed=seed,
        graphs=tuple(graphs),
        bipartite=bipartite,
        fields=tuple(inputs.fields),
        parameters=tuple(v.text for v in inputs.values),
        statements=tuple(draft.statements),
        result=returned,
        definitions=tuple(draft.definitions),
        aggr=aggr,
        flow=flow,
        node_dim=node_dim,
        form=form,
        update=update,
        dtype=dtype,
        autocast=autocast,
    )
    case = pruned(case)
    if case.form == "lambda" and any(len(s.lines) > 1 for s in case.live):
        case = case.but(form="function")
    features = [
        *(f"operation: {s.rule}" for s in case.live),
        *inputs.features,
        *(f"graph: {kind}" for kind in kinds),
        f"aggr: {aggr}",
        f"dtype: {'autocast' if autocast else dtype}",
        f"form: {case.form}",
        f"flow: {flow}",
        f"node_dim: {node_dim}{' with a dimension before it' if lead else ''}",
        f"width: {width}",
        f"bipartite: {bipartite}",
        f"result: {kind}",
    ]
    return case.but(features=tuple(dict.fromkeys(features)))


def pruned(case: Case) -> Case:
    """The case without the statements and fields that nothing reads."""
    live = case.live
    text = "\n".join([*(line for s in live for line in s.lines), case.result])
    parameters = tuple(p for p in case.parameters if mentions(text, p))
    live_update = case.live_update if case.update else ()
    update = "\n".join([*(line for s in live_update for line in s.lines), case.update])
    of_update = tuple(p for p in case.update_parameters if mentions(update, p))
    names = {field_of(p) for p in (*parameters, *of_update)}
    fields: tuple[Field, ...] = tuple(f for f in case.fields if f.name in names)
    cell = "\n".join(case.cell).replace("self.", "own.")
    held = "\n".join([text, update, cell, *case.settings])
    definitions = tuple(d for d in case.definitions if mentions_own(held, d.name))
    return case.but(
        statements=live,
        parameters=parameters,
        update_statements=live_update,
        update_parameters=of_update,
        fields=fields,
        definitions=definitions,
    )


def field_of(parameter: str) -> str:
    """`x` of `x_j`."""
    return parameter[:-2] if parameter.endswith(("_i", "_j")) else parameter


def mentions_own(text: str, name: str) -> bool:
    """Whether a text reads something that the message holds."""
    return mentions(text.replace("own.", "own_"), f"own_{name}")


def _write(draft: Draft, count: int, *, anywhere: bool) -> None:
    rules = [rule for rule in RULES.values() if rule.anywhere or not anywhere]
    weights = [rule.weight for rule in rules]
    for _ in range(40 * count):
        if len(draft.statements) >= count:
            return
        rule = draft.random.choices(rules, weights)[0]
        draft.rule = rule.name
        rule.write(draft)


def _result(draft: Draft, node_dim: int) -> tuple[Value, str, str]:
    """What the message returns: the last value, as a rule."""
    dims = 1 if node_dim == -2 else None

    def fits(v: Value) -> bool:
        return v.rows and (dims is None or len(v.shape) == dims)

    made = [v for v in draft.values if v.text.startswith("v") and fits(v)]
    numbers = [v for v in made if v.kind == "float"]
    others = [v for v in made if v.kind != "float"]
    if others and (not numbers or draft.random.random() < 0.15):
        v = others[-1]
        return v, v.kind, v.text
    if not numbers:
        numbers = [v for v in draft.values if v.kind == "float" and fits(v)]
    v = numbers[-1]
    if v.shape and len(numbers) > 1 and draft.random.random() < 0.25:
        others = [u for u in numbers[:-1] if u.shape[:-1] == v.shape[:-1] and len(u.shape) == len(v.shape)]
        if others:
            u = draft.random.choice(others)
            both = v.but(
                steady=u.steady and v.steady,
                size=max(u.size, v.size),
                error=max(u.error, v.error),
                shape=(*v.shape[:-1], u.width + v.width),
            )
            return both, "two values", f"torch.cat([{v.text}, {u.text}], -1)"
    return v, "float", v.text


def _aggregator(draft: Draft, v: Value, text: str, node_dim: int, ties: bool) -> tuple[str, str]:
    random = draft.random
    if v.kind != "float":
        return repr(
            random.choice(["sum", "max", "min", "mean"] if v.kind == "int" else ["sum", "mean", "sum", "max"])
        ), text
    options = {"sum": 3.0, "mean": 2.0}
    low = draft.dtype == "bfloat16"
    # Whose maximum it is where two are equal is clear only if they are equal to the bit.
    if v.error == 0 or not (low or (ties and not v.steady)):
        options |= {"max": 2.5, "min": 1.5}
    if draft.dtype == "float64" and v.size <= 8:
        options["mul"] = 1
    if (draft.dtype == "float64" and v.size <= 100) or (draft.dtype == "float32" and v.size <= 4):
        options |= {"var": 0.7, "std": 0.7}
    singles = list(options)
    if v.size <= 2e4:
        options |= {"logsumexp": 0.7, "softmax": 1.0, "warm softmax": 0.3, "learned softmax": 0.3}
    options["pair"] = 2.5
    if v.shape:
        options["several"] = 1.5
    name = drawn(random, options)
    match name:
        case "several":
            names = random.sample(singles, min(len(singles), random.choice([2, 2, 3])))
            return repr(names), text
        case "warm softmax":
            return "Softmax(t=0.5)", text
        case "learned softmax":
            return "Softmax(learn=True)", text
        case "pair":
            score = draft.edges(
                lambda s: (
                    s.shape == v.shape[: len(v.shape) if node_dim else len(s.shape)]
                    and s.size <= 2e4
                    and 0 not in s.shape
                )
            )
            if score is None:
                if not v.shape or v.size > 2e4 or node_dim:
                    return "'sum'", text
                return "'softmax'", f"({text}.sum(-1), {text})"
            scale = f"{score.text} * 0.5" if random.random() < 0.3 else score.text
            return "'softmax'", f"({scale}, {text})"
        case _:
            return repr(name), text


def _form(random: Random, bipartite: bool, draft: Draft) -> tuple[str, str, str]:
    form = random.choices(["function", "layer", "lambda"], [5, 4, 2])[0]
    flow, update = "source_to_target", ""
    if form == "layer":
        if random.random() < 0.4:
            flow = "target_to_source"
        update = random.choice(
            ["", "", "inputs * 2", "inputs.relu()", "inputs.tanh() if len(inputs) else inputs"]
        )
    return form, flow, update
