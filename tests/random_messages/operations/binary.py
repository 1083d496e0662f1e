"""Functions of two numbers, and of a number and a literal."""

from __future__ import annotations

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value, broadcast

# Numbers that stood, or may stand, for something inside a compiler.
LITERALS = (2, 3, 0.5, -1, 0, 1, 10, 0.1, -0.25, 7, 10007, 20014, 30021, 1e-3, 100, 1.0)


def _emit(
    d: Draft, text: str, a: Value, b: Value, size: float, error: float, *, whole: bool = False
) -> Value | None:
    return d.emit(
        text,
        a,
        broadcast(a, b),
        size=size,
        error=error,
        whole=whole and a.whole and b.whole,
        rows=a.rows or b.rows,
    )


@rule("difference and sum", 3, anywhere=True)
def add(d: Draft) -> Value | None:
    """`a + b`."""
    a = d.number()
    b = a and d.beside(a)
    if not a or not b:
        return None
    text = d.choice([f"{a.text} + {b.text}", f"{a.text} - {b.text}", f"{a.text}.add({b.text}, alpha=2)"])
    size = a.size + 2 * b.size
    return _emit(d, text, a, b, size, a.error + 2 * b.error + size, whole=True)


@rule("product", 3, anywhere=True)
def multiply(d: Draft) -> Value | None:
    """`a * b`."""
    a = d.number()
    b = a and d.beside(a)
    if not a or not b:
        return None
    size = a.size * b.size
    return _emit(
        d, f"{a.text} * {b.text}", a, b, size, a.error * b.size + b.error * a.size + size, whole=True
    )


@rule("quotient", 1.5, anywhere=True)
def divide(d: Draft) -> Value | None:
    """`a / b`, away from 0."""
    a = d.number()
    b = a and d.beside(a)
    if not a or not b:
        return None
    text = d.choice([f"{a.text} / ({b.text}.abs() + 1)", f"torch.div({a.text}, {b.text}.abs() + 1)"])
    return _emit(d, text, a, b, a.size, a.error + a.size * (b.error + 1) + a.size)


@rule("larger and smaller", 2, anywhere=True)
def extreme(d: Draft) -> Value | None:
    """maximum, minimum, where."""
    a = d.number()
    strict = d.random.random() < 0.5
    b = a and d.beside(a, lambda b: not strict or (a.error == 0 and b.error == 0))
    if not a or not b or (strict and a.error):
        return None
    if strict:
        condition = "{0} " + d.choice(["<", ">", "<=", ">=", "==", "!="]) + " {1}"
        texts = [
            f"torch.where({condition}, {{0}}, {{1}})",
            f"torch.where({condition}, {{0}} * 2, {{1}} * 0.5)",
            f"({condition}) * {{0}}",
            f"({condition}).to({{0}}.dtype)",
            f"{{0}}.masked_fill({condition}, 0.0)",
        ]
        if broadcast(a, b) != a.shape or not a.rows:
            texts.pop()
    else:
        texts = ["torch.maximum({0}, {1})", "torch.minimum({0}, {1})", "torch.fmax({0}, {1})"]
    text = d.choice(texts).format(a.text, b.text)
    size = 2 * max(a.size, b.size, 1)
    return _emit(d, text, a, b, size, max(a.error, b.error), whole="0.5" not in text)


@rule("other functions of two", 1.5, anywhere=True)
def other(d: Draft) -> Value | None:
    """Powers, distances, losses."""
    a = d.number(lambda a: a.size < 1e4)
    b = a and d.beside(a, lambda b: b.size < 1e4)
    if not a or not b:
        return None
    size = max(a.size, b.size, 1)
    error = a.error + b.error + 1
    x, y = a.text, b.text
    options = {
        f"torch.lerp({x}, {y}, 0.3)": (2 * size, error + size),
        f"torch.hypot({x}, {y}.abs() + 1)": (3 * size, error + size),
        f"torch.atan2({x}, {y}.abs() + 1)": (4, 2 * error),
        f"torch.logaddexp({x}, {y})": (size + 1, error + size),
        f"({x}.abs() + 0.5).pow({y}.tanh())": (2 * size, 4 * error * size),
        f"({x}.abs() + 0.5) ** ({y}.sigmoid() * 2)": (4 * size**2, 9 * size * size * error),
        f"F.smooth_l1_loss({x}, {y}, reduction='none')": (2 * size, error + size),
        f"F.mse_loss({x}, {y}, reduction='none')": (4 * size**2, 4 * size * (error + size)),
        f"torch.addcmul({x}, {x}, {y}, value=0.5)": (2 * size**2, 2 * size * (error + size)),
        f"torch.xlogy({x}.abs(), {y}.abs() + 1)": (10 * size, 10 * size * error),
        f"torch.linalg.cross({x}, {y})": (2 * size**2, 4 * size * error),
        f"torch.copysign({x}.abs() + 1, {y}.abs() + 1)": (size + 1, error + size),
        f"({x} - {y}).abs().sqrt().clamp(min=0.5)": (
            2 * size,
            2 * error,
        ),
    }
    losses = ("smooth_l1", "mse_loss", "lerp", "addcmul", "cross")
    if a.shape[-1:] != (3,):
        options.pop(f"torch.linalg.cross({x}, {y})")
    text = d.choice([t for t in options if a.shape == b.shape or not any(name in t for name in losses)])
    if (not a.rows or not b.rows) and any(name in text for name in losses):
        return None
    return _emit(d, text, a, b, *options[text])


@rule("literal", 2, anywhere=True)
def literal(d: Draft) -> Value | None:
    """A number written into the message."""
    v = d.number()
    if v is None:
        return None
    c = d.random.choice(LITERALS)
    number = d.define(repr(c), "number") if d.random.random() < 0.2 else repr(c)
    texts = ["{0} * {1}", "{0} + {1}", "{1} - {0}", "{1} * {0}", "{0}.mul({1})", "torch.add({0}, {1})"]
    if c:
        texts.append("{0} / {1}")
    texts += ["torch.maximum({0}, torch.full_like({0}, {1}))", "torch.ones_like({0}) * {1} - {0}"]
    text = d.choice(texts)
    size = (
        v.size * max(abs(c), 1 / abs(c) if c else 1)
        if "*" in text or "mul" in text or "/" in text
        else v.size
    )
    size += abs(c)
    whole = v.whole and float(c).is_integer() and "/" not in text
    factor = max(1.0, abs(c), 1 / abs(c) if c else 1)
    return d.emit(text.format(v.text, number), v, size=size, error=v.error * factor + size, whole=whole)


@rule("like another", 1, anywhere=True)
def like(d: Draft) -> Value | None:
    """A tensor of one value, of the shape of another."""
    v = d.edges()
    if v is None:
        return None
    text = d.choice(
        ["torch.ones_like({0})", "torch.zeros_like({0}) + 0.5", "torch.full_like({0}, 10007)",
         "{0}.new_ones({0}.shape)", "{0}.new_zeros({0}.size()) - 1", "torch.full_like({0}, 2) * {0}"]
    )  # fmt: skip
    size = 10007.0 if "10007" in text else 2 * v.size + 1
    return d.emit(text.format(v.text), v, size=size, error=v.error, whole="0.5" not in text and v.whole)
