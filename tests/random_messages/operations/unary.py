"""Functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value

Bound = Callable[[float], float]


class Unary(NamedTuple):
    """A function of one number, how large it gets, and how steep it is."""

    text: str
    size: Bound
    slope: Bound = lambda s: 1.0
    largest: float = math.inf  # of the argument


def _constant(c: float) -> Bound:
    return lambda s: c


def _same(s: float) -> float:
    return s


SMOOTH = {
    "exp": Unary("{}.exp()", math.exp, math.exp, 12),
    "exp of minus": Unary("torch.exp(-{}.abs())", _constant(1)),
    "expm1": Unary("torch.expm1({})", math.exp, math.exp, 10),
    "log1p": Unary("torch.log1p({}.abs())", lambda s: math.log1p(s) + 0.1),
    "log": Unary("({}.abs() + 0.5).log()", lambda s: abs(math.log(s + 0.5)) + 0.7, _constant(2)),
    "tanh": Unary("{}.tanh()", _constant(1)),
    "sigmoid": Unary("torch.sigmoid({})", _constant(1)),
    "logsigmoid": Unary("F.logsigmoid({})", lambda s: s + 1),
    "softplus": Unary("F.softplus({})", lambda s: s + 1),
    "elu": Unary("F.elu({})", lambda s: s + 1),
    "selu": Unary("F.selu({})", lambda s: 2 * s + 2, _constant(2)),
    "celu": Unary("F.celu({}, alpha=1.5)", lambda s: s + 2),
    "gelu": Unary("F.gelu({})", _same, _constant(1.2)),
    "gelu tanh": Unary("F.gelu({}, approximate='tanh')", _same, _constant(1.2), 1e3),
    "silu": Unary("F.silu({})", _same, _constant(1.2)),
    "mish": Unary("F.mish({})", _same, _constant(1.2)),
    "softsign": Unary("F.softsign({})", _constant(1)),
    "tanhshrink": Unary("F.tanhshrink({})", _same),
    "sqrt": Unary("({}.abs() + 0.25).sqrt()", lambda s: math.sqrt(s + 1)),
    "rsqrt": Unary("torch.rsqrt({}.abs() + 0.5)", _constant(1.5), _constant(2)),
    "reciprocal": Unary("1 / ({} * {} + 1)", _constant(1), _constant(1), 1e4),
    "square": Unary("{} ** 2", lambda s: s * s, lambda s: 2 * s),
    "cube": Unary("{}.pow(3)", lambda s: s**3, lambda s: 3 * s * s),
    "power": Unary("({}.abs() + 0.5) ** 1.5", lambda s: (s + 0.5) ** 1.5, lambda s: 1.5 * (s + 1) ** 0.5),
    "sin": Unary("torch.sin({})", _constant(1), _constant(1), 1e4),
    "cos": Unary("{}.cos()", _constant(1), _constant(1), 1e4),
    "atan": Unary("torch.atan({})", _constant(2)),
    "erf": Unary("torch.erf({})", _constant(1), _constant(1.2)),
    "sinc": Unary("torch.sinc({})", _constant(1), _constant(4), 1e3),
}
# These are piecewise linear, or return some of their argument's bits: they do not round.
EXACT = {
    "negative": Unary("-{}", _same),
    "abs": Unary("{}.abs()", _same),
    "relu": Unary("{}.relu()", _same),
    "F.relu": Unary("F.relu({})", _same),
    "leaky_relu": Unary("F.leaky_relu({}, 0.5)", _same),
    "relu6": Unary("F.relu6({})", lambda s: min(s, 6)),
    "hardtanh": Unary("F.hardtanh({}, -2, 2)", lambda s: min(s, 2)),
    "clamp": Unary("{}.clamp(-1, 2)", lambda s: min(s, 2)),
    "clamp max": Unary("{}.clamp(max=20014)", lambda s: s + 20014),
    "clamp min": Unary("{}.clamp(min=-30021)", lambda s: s + 30021),
    "clamp zero": Unary("{}.clamp(min=0)", _same),
    "nan_to_num": Unary("torch.nan_to_num({})", _same),
    "positive": Unary("torch.where({} > 0, {}, 0)", _same),
    "identity": Unary("{} + 0", _same),
    "clone": Unary("{}.clone()", _same),
    "contiguous": Unary("{}.contiguous()", _same),
    "float": Unary("{}.to({}.dtype)", _same),
    "masked_fill": Unary("{}.masked_fill({} < 0, 0.5)", lambda s: max(s, 1)),
    "detach": Unary("{}.detach()", _same),
    "dropout": Unary("F.dropout({}, 0.5, training=False)", _same),
}
STRICT = ("positive", "masked_fill")  # they compare: the argument must be known to the bit
JUMPS = {
    "floor": "{}.floor()",
    "ceil": "torch.ceil({})",
    "round": "{}.round()",
    "trunc": "{}.trunc()",
    "sign": "torch.sign({})",
    "heaviside": "({} > 0).to({}.dtype)",
    "step": "({} >= 1) * {}",
    "hardshrink": "F.hardshrink({}, 1.0)",
    "threshold": "F.threshold({}, 0.5, 2.0)",
    "modulo": "{} % 3",
    "modulo by a sentinel": "{} % 10007",
    "fmod": "torch.fmod({}, 2.5)",
}


def _fill(text: str, value: Value) -> str:
    return text.replace("{}", value.text)


@rule("smooth function", 3, anywhere=True)
def smooth(d: Draft) -> Value | None:
    """exp, tanh, gelu, ..."""
    v = d.number()
    f = SMOOTH[d.choice(list(SMOOTH))]
    if v is None or v.size > f.largest:
        return None
    size = f.size(v.size)
    return d.emit(_fill(f.text, v), v, size=size, error=f.slope(v.size) * v.error + size + 1, whole=False)


@rule("function with kinks", 2, anywhere=True)
def exact(d: Draft) -> Value | None:
    """relu, abs, clamp, ..."""
    name = d.choice(list(EXACT))
    v = d.number(lambda v: v.error == 0 or name not in STRICT)
    if v is None:
        return None
    f = EXACT[name]
    whole = v.whole and name not in ("leaky_relu", "masked_fill")
    error = v.error + (v.size if name == "leaky_relu" else 0)
    return d.emit(_fill(f.text, v), v, size=f.size(v.size), error=error, whole=whole)


@rule("function that jumps", 1.5, anywhere=True)
def jump(d: Draft) -> Value | None:
    """floor, sign, modulo, ..."""
    name = d.choice(list(JUMPS))
    modular = name in ("modulo", "modulo by a sentinel", "fmod")
    v = d.number(lambda v: v.error == 0 and (v.whole or not modular) and v.size < 1e6)
    if v is None:
        return None
    whole = v.whole and name not in ("fmod", "threshold")
    return d.emit(
        _fill(JUMPS[name], v), v, size=max(v.size, 3) + 1, error=0.0 if name != "fmod" else 1, whole=whole
    )


EDGES = (
    *(
        "{}.abs().sqrt()",
        "{}.relu().sqrt()",
        "{}.abs().log()",
        "1 / {}",
        "{} / {}.abs()",
        "torch.rsqrt({}.abs())",
    ),
    *("{}.abs() ** 0.5", "torch.sqrt({})", "{}.log()", "torch.asin({})", "torch.special.xlogy({}, {})"),
)


@rule("function at its edge", 0.6, anywhere=True)
def edge(d: Draft) -> Value | None:
    """What is infinite, or nothing, or infinitely steep, at some numbers."""
    v = d.number(lambda v: v.error == 0 and v.rows)
    if v is None:
        return None
    # Little may be made of it: an infinity has no rounding that could be bounded.
    return d.emit(_fill(d.choice(EDGES), v), v, size=max(v.size, 10), error=d.limits.error / 2, whole=False)
