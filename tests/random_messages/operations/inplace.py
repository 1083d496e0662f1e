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
        made[f"{a.text} * {b.text}"] = (a.size * b.size, a.error * b.size + b.error * a.size + a.size * b.size)
        made[f"{a.text} - {b.text}"] = (a.size + b.size, a.error + b.error + a.size + b.size)
    start = d.choice([*made])
    size, error = made[start]
    k = d.random.randrange(a.width)
    writes = {
        "{}[..., %d] = 0" % k: (1, 0),
        "{}[..., :%d].mul_(3)" % max(k, 1): (3, 0),
        "{}[..., %d] = %s[..., %d]" % (k, a.text, a.width - 1): (1, a.size),
        "{}.mul_(0.5)": (1, 0),
        "{}.add_(1)": (1, 1),
        "{} += %s" % a.text: (1, a.size),
        "{} -= 1": (1, 1),
        "{}.neg_()": (1, 0),
        "{}.zero_()": (1, 0),
        "{}[..., %d:].copy_(%s[..., %d:])" % (k, a.text, k): (1, a.size),
        "{}[..., %d:].zero_()" % k: (1, 0),
        "{}.clamp_(-2, 2)": (1, 0),
        "{}.tanh_()": (1, 0),
        "{}.masked_fill_({} > 100, 1)": (1, 1),
        "{}[..., %d] += {}[..., %d]" % (k, a.width - 1): (2, 0),
        "torch.relu_({})": (1, 0),
        "{}.index_fill_(-1, torch.tensor([%d]), 2.0)" % k: (1, 2),
    }
    if len(a.shape) == 1:
        writes["{}[:, %d] = 1" % k] = (1, 1)
        writes["{}[:, %d:] *= 2" % k] = (2, 0)
    then = []
    for _ in range(d.random.choice([1, 1, 1, 2, 3])):
        text = d.choice([*writes])
        if "> 100" in text and error:
            continue
        factor, plus = writes[text]
        size, error = size * factor + plus, error * factor + size * factor + plus + a.error
        then.append(text.replace("{}", "{0}"))
    if not then:
        return None
    whole = a.whole and (b is None or b.whole) and not any("0.5" in t or "tanh" in t for t in then)
    return d.emit(start, a, size=size, error=error, whole=whole, then=then)
