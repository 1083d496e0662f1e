"""Scores of large features in float32: as far from float64 as PyTorch's own arithmetic is, and no farther.

A score of 10⁵ is known in float32 to 0.008, so its weight to one per cent, and a gradient at features of 300
to some thousandths. A kernel may add to that: the gradient at a score is α (g · v − g · out), whose two
products are summed in two orders, by the kernel and by PyTorch. Where v is out, as between repeated edges,
eager has exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

import mpnn
from mpnn import models

NODES, SEEDS = 12, 8
# Of the mean errors of eager and of PyTorch Geometric in the same precision, which are those of a few rows.
TIMES, ROUNDING = 8, 2e-6


class Products(nn.Module):
    """A softmax over scores that are products of features."""

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return mpnn.propagate(edges, self.message, "softmax", size=(NODES, NODES), x=x)

    @staticmethod
    def message(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        """Score and value."""
        return (x_i * x_j).sum(-1) / 8**0.5, x_j


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module] | None]] = {
    "Transformer": (lambda: models.TransformerConv(8, 4, heads=2), lambda: TransformerConv(8, 4, heads=2)),
    "GATv2": (lambda: models.GATv2Conv(8, 4, heads=2), lambda: GATv2Conv(8, 4, heads=2)),
    "GAT": (lambda: models.GATConv(8, 4, heads=2), lambda: GATConv(8, 4, heads=2)),
    "products": (Products, None),
}


def repeated_edges() -> Tensor:
    edges = torch.randint(NODES, (2, 60))
    return torch.cat([edges, edges[:, :30], edges[:, :20]], 1)


def outcome(backend: str, layer: nn.Module, x: Tensor, edges: Tensor) -> list[Tensor]:
    """The result, and the gradient at x."""
    own = x.clone().requires_grad_()
    with mpnn.backend(backend):
        out = layer(own, edges)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out.detach().double(), *(g.double() for g in torch.autograd.grad((out * weight).sum(), own))]


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0, 3000.0])
@pytest.mark.parametrize("name", LAYERS)
def test_float32_is_as_exact_as_pytorch_makes_it(name: str, scale: float) -> None:
    make, make_theirs = LAYERS[name]
    errors: dict[str, Any] = {"ours": [], "eager": [], "PyTorch Geometric": []}
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        layer, edges, x = make(), repeated_edges(), scale * torch.randn(NODES, 8)
        found = {
            "ours": outcome("auto", layer, x, edges),
            "eager": outcome("eager", layer, x, edges),
        }
        if make_theirs is not None:
            theirs = make_theirs()
            theirs.load_state_dict(layer.state_dict())
            found["PyTorch Geometric"] = outcome("eager", theirs, x, edges)
        exact = outcome("eager", layer.double(), x.double(), edges)
        for who, values in found.items():
            pairs = zip(values, exact, strict=True)
            errors[who].append([float((v - e).abs().max() / e.abs().max()) for v, e in pairs])
    means = {who: torch.tensor(values).mean(0) for who, values in errors.items() if values}
    for who in means.keys() - {"ours"}:
        assert bool((means["ours"] <= TIMES * means[who] + ROUNDING).all()), (who, means)
