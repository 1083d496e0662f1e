"""Reductions and scans over features."""

from __future__ import annotations

import math

from tests.random_messages.draft import Draft, rule
from tests.random_messages.value import Value

SUMS = {
    "sum": lambda n, s: n * s,
    "mean": lambda n, s: s,
    "norm": lambda n, s: math.sqrt(n) * s,
    "logsumexp": lambda n, s: s + math.log(max(n, 2)),
    "var": lambda n, s: 2 * s * s,
    "std": lambda n, s: 2 * s,
    "amax": lambda n, s: s,
    "amin": lambda n, s: s,
}


@rule("reduction over features", 3, anywhere=True)
def reduce(d: Draft) -> Value | None:
    """sum, mean, amax, norm, ..."""
    name = d.choice(list(SUMS))
    least = 2 if name in ("var", "std") else 1 if name in ("amax", "amin") else 0
    v = d.edges(lambda v: bool(v.shape) and v.width >= least)
    if v is None or (name in ("mean", "logsumexp") and v.width == 0):
        return None
    dim = -1
    keep = d.random.random() < 0.7
    argument = "-1, keepdim=True" if keep else "-1"
    text = f"{v.text}.{name}({argument.replace('-1', 'dim=-1')})"
    error = max(1, v.width) * (v.error + v.size)
    if name == "sum" and len(v.shape) > 1 and d.random.random() < 0.3:
        text, dim, keep = f"{v.text}.sum(dim=(-2, -1))", -2, False
        error *= max(v.shape[-2], 1)
    if name == "var":
        text, error = f"{v.text}.var(dim=-1, keepdim={keep}, unbiased=False)", error * 2 * v.size
    if name == "std":
        # Away from the root's vertical tangent.
        text = f"({v.text}.var(dim=-1, keepdim={keep}) + 0.5).sqrt()"
        error = error * 2 * v.size
    if name == "norm" and d.random.random() < 0.3:
        text = f"torch.linalg.vector_norm({v.text}, ord=1, dim=-1, keepdim={keep})"
        error *= math.sqrt(max(v.width, 1))
    shape = (*v.shape[:dim], *((1,) if keep else ()))
    count = math.prod(v.shape[dim:])
    return d.emit(
        text,
        v,
        shape,
        size=max(SUMS[name](count, v.size), 1),
        error=v.error if name in ("amax", "amin") else error,
        whole=v.whole and name in ("sum", "amax", "amin"),
    )


@rule("softmax over features", 2, anywhere=True)
def softmax(d: Draft) -> Value | None:
    """softmax, log_softmax, normalize, layer_norm."""
    v = d.edges(lambda v: bool(v.shape) and v.width >= 1)
    if v is None:
        return None
    options = {
        "{}.softmax(dim=-1)": 1.0,
        "F.softmax({}, -1)": 1.0,
        "{}.log_softmax(-1)": 2 * v.size + math.log(v.width + 1),
        "F.normalize({} + 2, dim=-1)" if v.size < 1 else "({} / ({}.norm(dim=-1, keepdim=True) + 1))": 1.0,
    }
    if v.width > 1:
        options["F.layer_norm({}, ({}.size(-1),), eps=0.1)"] = math.sqrt(v.width)
    text = d.choice(list(options))
    return d.emit(
        text.replace("{}", v.text),
        v,
        size=options[text],
        error=(v.error + v.size + 1) * (4 if "norm" in text else 1) * max(1, v.width),
        whole=False,
    )


@rule("scan over features", 1, anywhere=True)
def scan(d: Draft) -> Value | None:
    """cumsum, sort, topk, softmax over heads."""
    v = d.edges(lambda v: bool(v.shape) and v.width >= 1)
    if v is None:
        return None
    options = ["{}.cumsum(-1)", "{}.sort(dim=-1).values", "{}.cummax(-1).values"]
    if v.width >= 2:
        options += ["{}.topk(2, dim=-1).values", "torch.diff({}, dim=-1)"]
    text = d.choice(options)
    if text.startswith("{}.cummax") and v.error:
        return None
    shape = v.shape
    if "topk" in text:
        shape = (*v.shape[:-1], 2)
    elif "diff" in text:
        shape = (*v.shape[:-1], v.width - 1)
    return d.emit(
        text.replace("{}", v.text),
        v,
        shape,
        size=v.width * v.size,
        error=v.width * (v.error + v.size),
    )


@rule("reduction over heads", 1)
def reduce_heads(d: Draft) -> Value | None:
    """Over a dimension that is not the last."""
    v = d.edges(lambda v: len(v.shape) >= 2 and min(v.shape) >= 1)
    if v is None:
        return None
    name = d.choice(["sum", "mean", "amax", "softmax"])
    shape = v.shape if name == "softmax" else (*v.shape[:-2], v.width)
    size = {"sum": v.shape[-2] * v.size, "softmax": 1.0}.get(name, v.size)
    return d.emit(
        f"{v.text}.{name}(dim=-2)",
        v,
        shape,
        size=size,
        error=v.shape[-2] * (v.error + v.size + 1) if name != "amax" else v.error,
        whole=v.whole and name in ("sum", "amax"),
    )
