"""Writes into what a message has just made."""

from __future__ import annotations

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value


@rule("write in place", 3)
def write(d: Draft) -> Value | None:
    """`m[:, 0] = 0`, `m[:, :2].mul_(3)`, `m.relu_()`."""
    a = d.edges(lambda v: bool(v.shape) and v.width >= 1)
    if a is None:
        return None
    b = d.edges(lambda v: v.shape == a.shape)
    made = {
        f"{a.text} * 2": (2 * a.size, 2 * a.error),
        f"{a.text}.clone()": (a.size, a.error),
        f"{a.text} + 1": (a.size + 1, a.error + a.size),
        f"torch.zeros_like({a.text})": (1.0, 0.0),
    }
    if b is not None:
        made[f"{a.text} * {b.text}"] = (
            a.size * b.size,
            a.error * b.size + b.error * a.size + a.size * b.size,
        )
        made[f"{a.text} - {b.text}"] = (a.size + b.size, a.error + b.error + a.size + b.size)
    if a.text.endswith(("_i", "_j")) and not any(s.reads(a.text) for s in d.statements):
        made[a.text] = (a.size, a.error)  # what is lifted is the message's own
    start = d.choice([*made])
    size, error = made[start]
    k = d.random.randrange(a.width)
    m, x, last = "{0}", a.text, a.width - 1
    writes = {
        f"{m}[..., {k}] = 0": (1, 0),
        f"{m}[..., :{max(k, 1)}].mul_(3)": (3, 0),
        f"{m}[..., {k}] = {x}[..., {last}]": (1, a.size),
        f"{m}.mul_(0.5)": (1, 0),
        f"{m}.add_(1)": (1, 1),
        f"{m} += {x}": (1, a.size),
        f"{m} -= 1": (1, 1),
        f"{m}.neg_()": (1, 0),
        f"{m}.zero_()": (1, 0),
        f"{m}[..., {k}:].copy_({x}[..., {k}:])": (1, a.size),
        f"{m}[..., {k}:].zero_()": (1, 0),
        f"{m}.clamp_(-2, 2)": (1, 0),
        f"{m}.tanh_()": (1, 0),
        f"{m}.masked_fill_({m} > 100, 1)": (1, 1),
        f"{m}[{m} > 100] = 1": (1, 1),
        f"{m}[..., {k}] += {m}[..., {last}]": (2, 0),
        f"torch.relu_({m})": (1, 0),
        f"{m}.index_fill_(-1, torch.tensor([{k}]), 2.0)": (1, 2),
    }
    if len(a.shape) == 1:
        writes[f"{m}[:, {k}] = 1"] = (1, 1)
        writes[f"{m}[:, {k}:] *= 2"] = (2, 0)
    then = []
    for _ in range(d.random.choice([1, 1, 1, 2, 3])):
        text = d.choice([*writes])
        if "> 100" in text and error:
            continue
        factor, plus = writes[text]
        size, error = size * factor + plus, error * factor + size * factor + plus + a.error
        then.append(text)
    if not then:
        return None
    whole = a.whole and (b is None or b.whole) and not any("0.5" in t or "tanh" in t for t in then)
    written = d.emit(start, a, size=size, error=error, whole=whole, then=then)
    if written is not None and start == a.text:
        d.values.remove(a)
    return written
