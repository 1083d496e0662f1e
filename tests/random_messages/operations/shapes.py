"""Views, slices, concatenation."""

from __future__ import annotations

from math import prod

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


def _factors(n: int) -> list[tuple[int, int]]:
    return [(a, n // a) for a in range(1, n + 1) if n % a == 0]


@rule("reshape", 2)
def reshape(d: Draft) -> Value | None:
    """view, reshape, unflatten."""
    v = d.edges(lambda v: bool(v.shape) and prod(v.shape) > 0)
    if v is None:
        return None
    a, b = d.random.choice(_factors(prod(v.shape)))
    shape = (a, b) if d.random.random() < 0.7 else (a * b,)
    inner = ", ".join(map(str, shape))
    texts = [f"{v.text}.reshape(-1, {inner})", f"{v.text}.reshape({v.text}.size(0), {inner})"]
    texts += [f"{v.text}.contiguous().view(-1, {inner})", f"torch.reshape({v.text}, (-1, {inner}))"]
    if len(shape) == 2 and len(v.shape) == 1:
        texts += [f"{v.text}.unflatten(-1, ({inner}))"]
    return d.emit(d.choice(texts), v, shape)


@rule("flatten", 1)
def flatten(d: Draft) -> Value | None:
    """All features in one dimension."""
    v = d.edges(lambda v: len(v.shape) >= 2 and prod(v.shape) > 0)
    return (
        v and d.emit(d.choice([f"{v.text}.flatten(1)", f"{v.text}.flatten(-2)"]), v, (prod(v.shape),))
        if (v is None or len(v.shape) == 2)
        else None
    )


@rule("one more dimension", 1.5)
def unsqueeze(d: Draft) -> Value | None:
    """unsqueeze, None, and back."""
    v = d.edges(lambda v: len(v.shape) < 3)
    if v is None:
        return None
    texts = [f"{v.text}.unsqueeze(-1)", f"{v.text}[..., None]"]
    if not v.shape:
        texts += [f"{v.text}.view(-1, 1)", f"{v.text}[:, None]"]
    if v.shape and v.shape[-1] == 1 and d.random.random() < 0.5:
        return d.emit(d.choice([f"{v.text}.squeeze(-1)", f"{v.text}[..., 0]"]), v, v.shape[:-1])
    if v.shape and d.random.random() < 0.3:
        return d.emit(f"{v.text}.unsqueeze(1)", v, (1, *v.shape))
    return d.emit(d.choice(texts), v, (*v.shape, 1))


@rule("transpose", 1)
def transpose(d: Draft) -> Value | None:
    """Features in another order of dimensions."""
    v = d.edges(lambda v: len(v.shape) == 2)
    if v is None:
        return None
    texts = [
        f"{v.text}.transpose(1, 2)",
        f"{v.text}.transpose(-1, -2)",
        f"{v.text}.permute(0, 2, 1)",
        f"{v.text}.mT",
    ]
    return d.emit(d.choice(texts), v, (v.shape[1], v.shape[0]))


@rule("slice", 2, anywhere=True)
def cut(d: Draft) -> Value | None:
    """A part of the features."""
    v = d.edges(lambda v: bool(v.shape) and v.width >= 2)
    if v is None:
        return None
    n, half = v.width, v.width // 2
    options = {
        f"{v.text}[..., :{half}]": half,
        f"{v.text}[..., {half}:]": n - half,
        f"{v.text}[..., ::2]": (n + 1) // 2,
        f"{v.text}[..., 1::3]": (n + 1) // 3,
        f"{v.text}[..., -1:]": 1,
        f"{v.text}.narrow(-1, 1, {n - 1})": n - 1,
        f"{v.text}.chunk(2, dim=-1)[0]": n - half,
        f"{v.text}.split({half}, dim=-1)[1]": min(half, n - half),
        f"torch.tensor_split({v.text}, 2, dim=-1)[1]": half,
        f"{v.text}[..., [0, {n - 1}, 0]]": 3,
        f"{v.text}[..., 1:1]": 0,
    }
    text = d.choice([*options])
    if options[text] == 0 and d.random.random() < 0.8:
        return None
    return d.emit(text, v, (*v.shape[:-1], options[text]))


@rule("one feature", 0.7)
def select(d: Draft) -> Value | None:
    """One column."""
    v = d.edges(lambda v: bool(v.shape) and v.width >= 1)
    if v is None:
        return None
    k = d.random.randrange(v.width)
    texts = [f"{v.text}[..., {k}]", f"{v.text}.select(-1, {k})", f"{v.text}.unbind(-1)[{k}]"]
    return d.emit(d.choice(texts), v, v.shape[:-1])


@rule("order of features", 1.5, anywhere=True)
def order(d: Draft) -> Value | None:
    """flip, roll, repeat."""
    v = d.edges(lambda v: bool(v.shape))
    if v is None:
        return None
    n = v.width
    options = {f"{v.text}.flip(-1)": n, f"{v.text}.roll(1, -1)": n}
    if n <= 17:
        options[f"torch.cat([{v.text}, {v.text}], -1)"] = 2 * n
        options[f"{v.text}.repeat_interleave(2, dim=-1)"] = 2 * n
        if len(v.shape) == 1:
            options[f"{v.text}.repeat(1, 2)"] = 2 * n
        options[f"F.pad({v.text}, (1, 0))"] = n + 1
    if n == 1:
        options[f"{v.text}.expand(*{v.text}.shape[:-1], 4)"] = 4
    text = d.choice([*options])
    return d.emit(text, v, (*v.shape[:-1], options[text]))


@rule("concatenation", 3, anywhere=True)
def cat(d: Draft) -> Value | None:
    """`cat` of what is at the ends and on the edge."""
    a = d.edges(lambda v: bool(v.shape))
    if a is None:
        return None
    parts = [a]
    for _ in range(d.random.choice([1, 1, 2])):
        b = d.edges(lambda v: len(v.shape) == len(a.shape) and v.shape[:-1] == a.shape[:-1])
        parts += [b] if b else []
    d.random.shuffle(parts)
    width = sum(p.width for p in parts)
    if width > 80:
        return None
    name = d.choice(["torch.cat", "torch.concat"])
    dim = d.choice(["-1", "dim=-1"])
    return d.emit(
        f"{name}([{', '.join(p.text for p in parts)}], {dim})",
        a,
        (*a.shape[:-1], width),
        size=max(p.size for p in parts),
        error=max(p.error for p in parts),
        whole=all(p.whole for p in parts),
    )


@rule("stack", 1)
def stack(d: Draft) -> Value | None:
    """`stack` of two of the same shape."""
    a = d.edges(lambda v: len(v.shape) < 2)
    b = a and d.edges(lambda v: v.shape == a.shape)
    if not a or not b:
        return None
    last = not a.shape or d.random.random() < 0.5
    text = f"torch.stack([{a.text}, {b.text}], {'-1' if last else '1'})"
    shape = (*a.shape, 2) if last else (2, *a.shape)
    whole = a.whole and b.whole
    return d.emit(text, a, shape, size=max(a.size, b.size), error=max(a.error, b.error), whole=whole)
