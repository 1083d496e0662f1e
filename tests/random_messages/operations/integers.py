"""Whole numbers and booleans in arithmetic."""

from __future__ import annotations

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


def _beside(k: Value, v: Value) -> str | None:
    """`k` as a factor of `v`."""
    if k.shape == v.shape:
        return k.text
    if k.shape == () and len(v.shape) == 1:
        return f"{k.text}.view(-1, 1)"
    return None


@rule("int in arithmetic", 2)
def integer(d: Draft) -> Value | None:
    """A number times an int."""
    v, k = d.edges(), d.pick(lambda v: v.kind == "int" and v.rows)
    factor = v and k and _beside(k, v)
    if not v or not k or not factor:
        return None
    texts = [
        "{0} * {1}",
        "{0} + {1}",
        "{1} - {0}",
        "{0} / ({1} + 9)",
        "{0} * {1}.to({0}.dtype)",
        "{0} * {1}.float()",
    ]
    texts += ["torch.where({1} > 1, {0}, -{0})", "{0}.masked_fill({1} == 2, 0.0)"]
    if v.error == 0:
        texts += ["torch.maximum({0}, {1})", "torch.where({0} > {1}, {0}, {1})"]
    text = d.choice(texts)
    size = v.size * (k.size + 9) + k.size
    if "float()" in text and d.dtype != "float64":
        return None
    whole, error = v.whole and "/" not in text, v.error * (k.size + 1) + size
    return d.emit(text.format(v.text, factor), v, size=size, error=error, whole=whole)


@rule("bool in arithmetic", 1.5)
def boolean(d: Draft) -> Value | None:
    """A number where something holds."""
    v, b = d.edges(), d.pick(lambda v: v.kind == "bool" and v.rows)
    factor = v and b and _beside(b, v)
    if not v or not b or not factor:
        return None
    texts = ["{0} * {1}", "{0} + {1}", "torch.where({1}, {0}, 0.5)", "torch.where({1}, {0}, {0} * {0})"]
    texts += [
        "{0}.masked_fill({1}, 2.0)",
        "{0}.masked_fill(~{1}, 0)",
        "{0} * (~{1})",
        "{1} * {0} - {1}.to({0}.dtype)",
    ]
    text = d.choice(texts)
    size = max(v.size * v.size, v.size + 2)
    whole = v.whole and "0.5" not in text
    return d.emit(
        text.format(v.text, factor),
        v,
        size=size,
        error=(v.error + 1) * max(v.size, 1) + size,
        whole=whole,
    )


@rule("arithmetic of ints", 2, anywhere=True)
def ints(d: Draft) -> Value | None:
    """Whole numbers among themselves, by PyTorch's rules of division and remainder."""
    k = d.pick(lambda v: v.kind == "int" and v.rows and v.size < 100)
    if k is None:
        return None
    texts = [
        *("{0} * 3 - 4", "{0} // 2", "({0} - 3) // 2", "{0} % 3", "({0} - 3) % 2", "-{0}", "{0} * {0}"),
        *("{0}.clamp(1, 3)", "{0}.abs()", "torch.div({0} - 3, 2, rounding_mode='trunc')"),
        *("{0} << 1", "({0} - 3) >> 1", "{0} & 3", "{0} ^ 1"),
    ]
    return d.emit(d.choice(texts).format(k.text), k, size=max(k.size * k.size, 4 * k.size + 4))


@rule("comparison", 1.5, anywhere=True)
def compare(d: Draft) -> Value | None:
    """Something true or false of each edge."""
    a = d.pick(lambda v: v.rows and v.error == 0 and v.kind in ("float", "int"))
    b = a and d.pick(lambda v: v.rows and v.error == 0 and v.kind == a.kind and v.shape == a.shape)
    if not a:
        return None
    right = d.choice([*([b.text] if b else []), "0", "1"])
    text = f"{a.text} {d.choice(['<', '>', '<=', '>=', '==', '!='])} {right}"
    return d.emit(text, a, kind="bool", size=1, whole=True)


@rule("logic", 1.5, anywhere=True)
def logic(d: Draft) -> Value | None:
    """Booleans among themselves."""
    a = d.pick(lambda v: v.rows and v.error == 0)
    b = a and d.pick(lambda v: v.rows and v.error == 0 and v.shape == a.shape)
    if not a or not b:
        return None
    x, y = (v.text if v.kind == "bool" else f"({v.text} > 0)" for v in (a, b))
    logic = d.choice(
        ["{0} & {1}", "{0} | {1}", "~{0}", "{0} ^ {1}", "torch.logical_and({0}, {1})", "{0} == {1}"]
    )
    if d.random.random() < 0.3:
        return d.emit(logic.format(x, y), a, kind="bool", size=1, whole=True)
    # Truth as a number: what is divided by false is infinite, or nothing.
    texts = [
        *("({0} / {1}).to(dtype)", "(({0} + {1}) / 2).to(dtype)", "({0} * 1.5 - {1} * 1.0).to(dtype)"),
        *("torch.where({0}, 1.0, {1} * 2).to(dtype)", "({0} * {1}).to(dtype)"),
    ]
    text = d.choice(texts)
    if a.kind == b.kind == "float" and d.random.random() < 0.5:
        text = f"torch.where({logic}, {a.text}, {b.text})"
        return d.emit(text.format(x, y), a, size=max(a.size, b.size), whole=a.whole and b.whole)
    return d.emit(text.format(x, y), a, kind="float", size=4, error=0, whole=False)
