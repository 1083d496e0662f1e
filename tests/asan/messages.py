"""Random messages: trees of ordinary operations over both ends of an edge, its features, a parameter."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import MessagePassing

WIDTHS = (0, 1, 3, 16, 17)
AGGREGATORS = ("sum", "mean", "max", "min", "std", ["mean", "max"], "mul", "logsumexp")
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp, "abs": torch.abs,
    "softmax": lambda x: x.softmax(-1), "sum": lambda x: x.sum(-1, keepdim=True),
    "flip": lambda x: x.flip(-1), "first": lambda x: x[:, :1], "every other": lambda x: x[:, ::2],
    "elu": F.elu, "norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "logsumexp": lambda x: x.logsumexp(-1, keepdim=True),
}  # fmt: skip
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": lambda a, b: a / (1 + b * b),
    "maximum": torch.maximum, "where": lambda a, b: torch.where(a > b, a, b * 0.5),
}  # fmt: skip


class Random(MessagePassing):
    """A layer whose message is drawn."""

    def __init__(self, seed: int, width: int) -> None:
        draw = random.Random(seed)
        super().__init__(draw.choice(AGGREGATORS))
        self.p, self.maps = nn.Parameter(torch.randn(1, width)), nn.ModuleList()
        self.tree = self._grow(draw, draw.randint(1, 4), width)[0]

    def _grow(self, draw: random.Random, depth: int, width: int) -> tuple[Any, int]:
        """A tree and the width of its value."""
        if depth == 0:
            return draw.choice(["x_i", "x_j", "x_j", "e", "p"]), width
        kind = draw.choice(["unary", "binary", "binary", "cat", "linear"])
        one, size = self._grow(draw, depth - 1, width)
        if kind == "unary":
            name = draw.choice([*UNARY])
            sizes = {"sum": 1, "logsumexp": 1, "first": min(1, size), "every other": -(-size // 2)}
            return (name, one), sizes.get(name, size)
        if kind == "linear":
            wide = draw.choice(WIDTHS[1:])
            self.maps.append(nn.Linear(size, wide))
            return ("linear", len(self.maps) - 1, one), wide
        other, more = self._grow(draw, depth - 1, width)
        if kind == "cat" or (size != more and 1 not in (size, more)):
            return ("cat", one, other), size + more
        return (draw.choice([*BINARY]), one, other), more if size == 1 else size

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        """The value of the tree."""
        leaves = {"x_i": x_i, "x_j": x_j, "e": e, "p": self.p}

        def value(tree: Any) -> Tensor:
            if isinstance(tree, str):
                return leaves[tree] + 0 * x_j if tree == "p" else leaves[tree]
            if tree[0] == "linear":
                return self.maps[tree[1]](value(tree[2]))
            if tree[0] == "cat":
                return torch.cat([value(tree[1]), value(tree[2])], -1)
            return (
                UNARY[tree[0]](value(tree[1])) if len(tree) == 2 else BINARY[tree[0]](*map(value, tree[1:]))
            )

        return value(self.tree)

    def forward(self, x: Tensor, e: Tensor, graph: Any) -> Tensor:
        """One round."""
        out: Tensor = self.propagate(graph, x=x, e=e)
        return out
