"""Several heads: products of vectors and of matrices, one for each edge."""

from __future__ import annotations

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


@rule("dot product", 2)
def dot(d: Draft) -> Value | None:
    """(q * k).sum(-1), einsum, bmm, cosine."""
    a = d.edges(lambda v: bool(v.shape) and v.size < 1e4)
    b = a and d.edges(lambda v: v.shape == a.shape and v.size < 1e4)
    if not a or not b:
        return None
    q, k = a.text, b.text
    texts = [f"({q} * {k}).sum(-1)", f"torch.einsum('...c,...c->...', {q}, {k})"]
    if len(a.shape) == 2:
        texts += [
            f"torch.einsum('ehc,ehc->eh', {q}, {k})",
            f"({q}.unsqueeze(-2) @ {k}.unsqueeze(-1)).flatten(1)",
        ]
    else:
        texts += [
            f"torch.bmm({q}.unsqueeze(1), {k}.unsqueeze(2)).view(-1)",
            f"torch.einsum('ec,ec->e', {q}, {k})",
        ]
    size = a.size * b.size * max(a.width, 1)
    error = (a.error * b.size + b.error * a.size + a.size * b.size * 2) * max(a.width, 1)
    return d.emit(d.choice(texts), a, a.shape[:-1], size=size, error=error, whole=a.whole and b.whole)


@rule("outer product", 1)
def outer(d: Draft) -> Value | None:
    """A matrix for each edge."""
    a = d.edges(lambda v: len(v.shape) == 1 and v.width <= 8 and v.size < 1e4)
    b = d.edges(lambda v: len(v.shape) == 1 and v.width <= 8 and v.size < 1e4)
    if a is None or b is None:
        return None
    q, k = a.text, b.text
    texts = [f"{q}.unsqueeze(2) * {k}.unsqueeze(1)", f"torch.einsum('ec,ed->ecd', {q}, {k})"]
    texts += [f"torch.bmm({q}[:, :, None], {k}[:, None, :])", f"{q}[:, :, None] - {k}[:, None]"]
    size = a.size * b.size + a.size + b.size
    error = (a.error + 1) * (b.size + 1) + (b.error + 1) * (a.size + 1)
    return d.emit(d.choice(texts), a, (a.width, b.width), size=size, error=error, whole=a.whole and b.whole)


@rule("matrices of each edge", 1)
def batched(d: Draft) -> Value | None:
    """Products of what has heads, and maps of heads that all edges share."""
    a = d.edges(lambda v: len(v.shape) == 2 and v.size < 1e4)
    if a is None:
        return None
    h, c = a.shape
    m = d.random.choice([1, 3, 4])
    texts = {
        f"torch.einsum('ehc,hcd->ehd', {a.text}, W)": ((h, c, m), (h, m)),
        f"torch.einsum('ehc,hc->eh', {a.text}, W)": ((h, c), (h,)),
        f"({a.text} * W).sum(-1)": ((1, h, c), (h,)),
        f"torch.einsum('ehc,cd->ehd', {a.text}, W)": ((c, m), (h, m)),
        f"torch.matmul({a.text}.mT, W)": ((h, m), (c, m)),
        f"torch.bmm({a.text}, {a.text}.transpose(1, 2))": (None, (h, h)),
    }
    text = d.choice([*texts])
    given, shape = texts[text]
    size, error = 4 * a.size * max(c, h, 1), 5 * (a.error + a.size) * max(c, h, 1)
    if given is None:
        size, error = a.size * size, 2 * (a.size + 1) * error
    else:
        text = text.replace("W", d.tensor(given))
    return d.emit(text, a, shape, size=size, error=error, whole=False)


@rule("attention over heads", 0.5)
def attention(d: Draft) -> Value | None:
    """Softmax of products within an edge."""
    a = d.edges(lambda v: len(v.shape) == 2 and v.size < 30 and min(v.shape) > 0)
    if a is None:
        return None
    size = a.size
    error = (a.error + 1) * a.size**2 * 10 * max(a.shape)
    text = f"torch.softmax(torch.bmm({a.text}, {a.text}.mT), -1) @ {a.text}"
    return d.emit(text, a, size=size, error=error, whole=False)
