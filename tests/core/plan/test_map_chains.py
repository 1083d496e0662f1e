"""Linear maps one after the other in a message, over one end of the edges or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import EdgeCNN

import mpnn
from mpnn import Graph
from tests.compare import assert_same
from tests.core.running import KERNEL, assert_like_eager

C = 4
graph = Graph(torch.randint(0, 9, (2, 40), generator=torch.Generator().manual_seed(0)), num_nodes=9)
x = torch.randn(9, C, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
torch.manual_seed(0)
a, b, c = (torch.randn(n, m, dtype=torch.float64) for n, m in ((C, 16), (16, 3), (3, 5)))
two = nn.Sequential(nn.Linear(2 * C, 16), nn.Linear(16, 3)).double()
three = nn.Sequential(nn.Linear(C, 16), nn.Linear(16, 2, bias=False), nn.Linear(2, 6)).double()
dropped = nn.Sequential(nn.Linear(2 * C, 16), nn.Dropout(0.5), nn.Linear(16, 3)).double()


class LowRank(nn.Module):
    """W x + b + B A x, under the names of a linear map (Hu et al., 2021)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        base = nn.Linear(width, out).double()
        self.weight, self.bias = base.weight, base.bias
        self.a = nn.Parameter(torch.randn(2, width, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(out, 2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + x @ self.a.t() @ self.b.t()


low_rank = LowRank(2 * C, 3)
CHAINS: dict[str, Callable[..., Any]] = {
    "two over both ends": lambda x_i, x_j: two(torch.cat([x_i, x_j], -1)),
    "two of a difference": lambda x_i, x_j: (x_i - x_j) @ a @ b,
    "three of a difference": lambda x_i, x_j: three(x_i - x_j) @ torch.ones(6, 2, dtype=torch.float64),
    "three at one end": lambda x_j: x_j @ a @ b @ c,
    "with dropout between, in evaluation": lambda x_i, x_j: dropped.eval()(torch.cat([x_i, x_j], -1)),
    "a low-rank adapter": lambda x_i, x_j: low_rank(torch.cat([x_i, x_j - x_i], -1)),
    "one beside a sum": lambda x_i, x_j: (x_i + x_j) @ a @ b + (x_i @ a)[:, :3],
    "transposed weights": lambda x_i, x_j: F.linear(F.linear(x_i * 2 - x_j, a.t()), b.t()),
}


@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_maps_gives_what_eager_gives(name: str, aggr: str) -> None:
    assert_like_eager(graph, CHAINS[name], aggr, {"x": x}, way=KERNEL)


def test_a_model_trains_and_is_then_evaluated() -> None:
    def message(x_i: Tensor, x_j: Tensor) -> Tensor:
        out: Tensor = dropped(torch.cat([x_i, x_j], -1))
        return out

    dropped.train()
    mpnn.propagate(graph, message, "sum", x=x.clone().requires_grad_()).sum().backward()
    dropped.eval()
    assert_like_eager(graph, message, "sum", {"x": x}, way=KERNEL)


def test_pygs_edge_network_without_activations_is_the_same_when_accelerated() -> None:
    theirs = EdgeCNN(C, 8, num_layers=2, out_channels=3, act=None).double()
    ours = mpnn.accelerate(theirs)
    plain = EdgeCNN(C, 8, num_layers=2, out_channels=3, act=None).double()
    plain.load_state_dict(theirs.state_dict())
    assert_same(ours, plain, [x, graph.edge_index])
