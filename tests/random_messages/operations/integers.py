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
    texts = ["{0} * {1}", "{0} + {1}", "{1} - {0}", "{0} / ({1} + 9)", "{0} * {1}.to({0}.dtype)", "{0} * {1}.float()"]
    texts += ["torch.where({1} > 1, {0}, -{0})", "{0}.masked_fill({1} == 2, 0.0)"]
    if v.error == 0:
        texts += ["torch.maximum({0}, {1})", "torch.where({0} > {1}, {0}, {1})"]
    text = d.choice(texts)
    size = v.size * (k.size + 9) + k.size
    if "float()" in text and d.dtype != "float64":
        return None
    return d.emit(
        text.format(v.text, factor), v, size=size, error=v.error * (k.size + 1) + size, whole=v.whole and "/" not in text,
        fresh=True,
    )  # fmt: skip


@rule("bool in arithmetic", 1.5)
def boolean(d: Draft) -> Value | None:
    """A number where something holds."""
    v, b = d.edges(), d.pick(lambda v: v.kind == "bool" and v.rows)
    factor = v and b and _beside(b, v)
    if not v or not b or not factor:
        return None
    texts = ["{0} * {1}", "{0} + {1}", "torch.where({1}, {0}, 0.5)", "torch.where({1}, {0}, {0} * {0})"]
    texts += ["{0}.masked_fill({1}, 2.0)", "{0}.masked_fill(~{1}, 0)", "{0} * (~{1})", "{1} * {0} - {1}.to({0}.dtype)"]
    text = d.choice(texts)
    size = max(v.size * v.size, v.size + 2)
    whole = v.whole and "0.5" not in text
    return d.emit(text.format(v.text, factor), v, size=size, error=(v.error + 1) * max(v.size, 1) + size, whole=whole, fresh=True)


@rule("arithmetic of ints", 1, anywhere=True)
def ints(d: Draft) -> Value | None:
    """Whole numbers among themselves, by PyTorch's rules of division and remainder."""
    k = d.pick(lambda v: v.kind == "int" and v.rows and v.size < 100)
    if k is None:
        return None
    texts = ["{0} * 3 - 4", "{0} // 2", "({0} - 3) // 2", "{0} % 3", "({0} - 3) % 2", "-{0}", "{0} * {0}", "{0}.clamp(1, 3)",
             "{0}.abs()", "torch.div({0} - 3, 2, rounding_mode='trunc')", "{0} << 1", "({0} - 3) >> 1", "{0} & 3", "{0} ^ 1"]  # fmt: skip
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


@rule("logic", 0.7, anywhere=True)
def logic(d: Draft) -> Value | None:
    """Booleans among themselves."""
    a = d.pick(lambda v: v.kind == "bool" and v.rows)
    b = a and d.pick(lambda v: v.kind == "bool" and v.shape == a.shape and v.rows == a.rows)
    if not a or not b:
        return None
    texts = ["{0} & {1}", "{0} | {1}", "~{0}", "{0} ^ {1}", "torch.logical_and({0}, {1})", "{0} == {1}"]
    return d.emit(d.choice(texts).format(a.text, b.text), a)
