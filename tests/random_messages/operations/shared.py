"""A tensor that all edges share: expanded, repeated, broadcast, looked up in."""

from __future__ import annotations

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


@rule("expand to the edges", 3)
def expand(d: Draft) -> Value | None:
    """`p.expand(x_j.size(0), -1)` and its other spellings."""
    p = d.number(lambda v: not v.rows and len(v.shape) in (1, 2) and (len(v.shape) == 1 or v.shape[0] == 1))
    x = d.edges()
    if p is None or x is None:
        return None
    n = d.choice(
        [f"{x.text}.size(0)", f"len({x.text})", f"{x.text}.shape[0]"] + ["index.numel()"] * d.has("index")
    )
    texts = []
    if len(p.shape) == 2:
        texts += [f"{p.text}.expand({n}, -1)", f"{p.text}.repeat({n}, 1)", f"{p.text}.expand({n}, {p.width})"]
        texts += [
            f"{p.text}.repeat_interleave({n}, 0)",
            f"torch.cat([{p.text}] * {n})" if False else texts[0],
        ]
    else:
        texts += [
            f"{p.text}.expand({n}, -1)",
            f"{p.text}.repeat({n}, 1)",
            f"{p.text}.unsqueeze(0).expand({n}, -1)",
        ]
        texts += [f"torch.broadcast_to({p.text}, ({n}, {p.width}))"]
    if x.shape == p.shape[-1:]:
        texts += [f"{p.text}.expand_as({x.text})"] * 3
        texts += [f"torch.broadcast_tensors({p.text}, {x.text})[0]", f"torch.zeros_like({x.text}) + {p.text}"]
        texts += [f"{p.text}.expand({x.text}.shape)"]
    return d.emit(d.choice(texts), p, p.shape[-1:], rows=True)


@rule("table", 1.5)
def table(d: Draft) -> Value | None:
    """Rows of a table, picked by a whole number for each edge."""
    k = d.pick(lambda v: v.kind == "int" and v.shape == () and v.rows and v.size < 6)
    if k is None:
        return None
    width = d.random.choice([1, 3, 4, 8])
    if d.random.random() < 0.3:
        name = d.define(f"nn.Embedding(6, {width})")
        text = f"{name}({k.text})"
    else:
        name = d.tensor((6, width))
        text = d.choice(
            [f"{name}[{k.text}]", f"{name}.index_select(0, {k.text})", f"F.embedding({k.text}, {name})"]
        )
    return d.emit(text, k, (width,), kind="float", size=5, error=0, whole=False)


@rule("shared by itself", 0.7, anywhere=True)
def alone(d: Draft) -> Value | None:
    """Arithmetic of shared tensors alone."""
    p = d.number(lambda v: not v.rows and bool(v.shape))
    if p is None:
        return None
    texts = [
        f"{p.text}.tanh()",
        f"{p.text}.softmax(-1)",
        f"{p.text} - {p.text}.mean()",
        f"{p.text}.exp() * 0.1",
    ]
    if p.size > 10:
        texts.pop()
    return d.emit(d.choice(texts), p, size=max(2 * p.size, 3), error=p.error * 10 + 10 * p.size, whole=False)
