"""Linear maps and modules."""

from __future__ import annotations

from math import sqrt

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value

ACTIVATIONS = (
    *("nn.ReLU()", "nn.Tanh()", "nn.GELU()", "nn.ELU()", "nn.SiLU()", "nn.Softplus()"),
    *("nn.LeakyReLU(0.5)", "nn.ReLU(inplace=True)"),
)
WIDTHS = (1, 2, 3, 4, 5, 8, 16, 17)


def _input(d: Draft) -> Value | None:
    return d.edges(lambda v: bool(v.shape))


def _width(d: Draft) -> int:
    return 0 if d.random.random() < 0.03 else d.random.choice(WIDTHS)


def _linear(d: Draft, text: str, v: Value, width: int, depth: int = 1) -> Value | None:
    growth = sqrt(max(v.width, 1)) ** depth
    size = (v.size + 1) * growth
    return d.emit(
        text,
        v,
        (*v.shape[:-1], width),
        size=size,
        error=v.error * growth + size * (v.width + 2) * depth,
        whole=False,
    )


@rule("matrix", 2, anywhere=True)
def matrix(d: Draft) -> Value | None:
    """`x @ a`, `F.linear(x, w, b)`, chains and low rank."""
    v = _input(d)
    if v is None:
        return None
    n, m = v.width, _width(d)
    rank = d.random.choice([1, 2])
    scale = 1 / sqrt(max(n, 1))

    def a(*shape: int) -> str:
        return d.tensor(shape, scale=scale / 2)

    match d.random.randrange(6):
        case 0:
            return _linear(d, f"{v.text} @ {a(n, m)}", v, m)
        case 1:
            return _linear(d, f"F.linear({v.text}, {a(m, n)}, {d.tensor((m,))})", v, m)
        case 2:
            return _linear(d, f"F.linear({v.text}, {a(m, n)})", v, m)
        case 3:
            return _linear(d, f"{v.text} @ {a(n, rank)} @ {a(rank, m)}", v, m, 2)
        case 4:
            k = d.random.choice(WIDTHS)
            return _linear(d, f"({v.text} @ {a(n, k)}) @ {a(m, k)}.t()", v, m, 2)
        case _:
            return _linear(d, f"torch.matmul({v.text}, {a(n, m)}) + {d.tensor((m,))}", v, m)


@rule("exact matrix", 0.7, anywhere=True)
def exact_matrix(d: Draft) -> Value | None:
    """A map of whole numbers, whose ties are ties."""
    v = d.edges(lambda v: bool(v.shape) and v.whole and v.width > 0)
    if v is None:
        return None
    m = d.random.choice(WIDTHS)
    name = d.tensor((v.width, m), whole=True)
    size = 2 * v.width * v.size
    return d.emit(f"{v.text} @ {name}", v, (*v.shape[:-1], m), size=size, error=size)


@rule("linear module", 2, anywhere=True)
def module(d: Draft) -> Value | None:
    """nn.Linear, alone and in chains."""
    v = _input(d)
    if v is None or v.width == 0:
        return None
    n, k, m = v.width, d.random.choice(WIDTHS), d.random.choice(WIDTHS)
    bias = d.choice(["", ", bias=False"])
    middle = d.choice([", nn.Dropout(0.5)", "", "", ", nn.Identity()"])
    options = {
        f"nn.Linear({n}, {m}{bias})": 1,
        f"nn.Sequential(nn.Linear({n}, {k}{bias}){middle}, nn.Linear({k}, {m}))": 2,
        f"nn.Bilinear({n}, {n}, {m})": 0,
    }
    text = d.choice([*options])
    depth = options[text]
    if depth == 0:
        b = d.edges(lambda b: b.shape == v.shape and b.size <= 20)
        if b is None or v.size > 20 or n > 5:
            return None
        size = (v.size * b.size + 1) * n * n
        error = (v.error * b.size + b.error * v.size) * n * n + size * n
        name = d.define(text)
        return d.emit(
            f"{name}({v.text}, {b.text})", v, (*v.shape[:-1], m), size=size, error=error, whole=False
        )
    return _linear(d, f"{d.define(text)}({v.text})", v, m, depth)


@rule("mlp", 2, anywhere=True)
def mlp(d: Draft) -> Value | None:
    """Linear maps with activations between them."""
    v = _input(d)
    if v is None or v.width == 0:
        return None
    n, k, m = v.width, d.random.choice(WIDTHS), d.random.choice(WIDTHS)
    act = d.choice(ACTIVATIONS)
    more = d.choice(["", "", f", nn.LayerNorm({m}, eps=0.1)", ", nn.Dropout()", f", {act}"])
    if m == 1 and "LayerNorm" in more:
        more = ""
    name = d.define(f"nn.Sequential(nn.Linear({n}, {k}), {act}, nn.Linear({k}, {m}){more})")
    return _linear(d, f"{name}({v.text})", v, m, 3 if more else 2)


@rule("adapted module", 1.5)
def adapted(d: Draft) -> Value | None:
    """Maps whose weight is not what it seems: adapters, pruned, normalised, shared."""
    v = _input(d)
    if v is None or v.width == 0:
        return None
    n, m = v.width, d.random.choice(WIDTHS)
    text = d.choice(
        [
            f"Adapter(nn.Linear({n}, {m}), 2)",
            f"pruned(nn.Linear({n}, {m}))",
            f"parametrizations.weight_norm(nn.Linear({n}, {m}))",
            f"nn.Sequential(nn.Linear({n}, {n}), Adapter(nn.Linear({n}, {m}), 1))",
            f"nn.Sequential(pruned(nn.Linear({n}, {n})), nn.Linear({n}, {m}))",
        ]
    )
    return _linear(d, f"{d.define(text)}({v.text})", v, m, 3)


@rule("norm module", 1, anywhere=True)
def norm(d: Draft) -> Value | None:
    """LayerNorm, RMSNorm, PReLU."""
    v = d.edges(lambda v: bool(v.shape) and v.width > 1)
    if v is None:
        return None
    n = v.width
    text = d.choice([f"nn.LayerNorm({n}, eps=0.1)", f"nn.RMSNorm({n}, eps=0.1)", "nn.PReLU()"])
    size = v.size if text == "nn.PReLU()" else 2 * sqrt(n)
    return d.emit(f"{d.define(text)}({v.text})", v, size=size, error=4 * n * (v.error + v.size), whole=False)


@rule("cell", 1)
def cell(d: Draft) -> Value | None:
    """GRUCell, LSTMCell, RNNCell."""
    v = d.edges(lambda v: len(v.shape) == 1 and 0 < v.width <= 17)
    h = d.edges(lambda v: len(v.shape) == 1 and 0 < v.width <= 17)
    if v is None or h is None:
        return None
    n, m = v.width, h.width
    kind = d.choice(["GRUCell", "LSTMCell", "RNNCell"])
    name = d.define(f"nn.{kind}({n}, {m})")
    text = (
        f"{name}({v.text}, ({h.text}, {h.text}))[0]" if kind == "LSTMCell" else f"{name}({v.text}, {h.text})"
    )
    error = (v.error + h.error + v.size + h.size) * (n + m)
    return d.emit(text, h, size=max(1, h.size), error=error, whole=False)
