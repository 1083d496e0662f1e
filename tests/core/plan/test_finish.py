"""What a node becomes, by the passes over its `update`, against the same layer run as it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, MessagePassing
from mpnn.backends.run import updates
from tests.compare import assert_close

NUM_NODES, NUM_EDGES = 60, 240


@pytest.fixture(autouse=True)
def _small_graphs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "FEW", 2)
    monkeypatch.setattr("mpnn.backends.run.by_rows.ROWS_AT_ONCE", 16)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Which passes found something, for each step that was run by them."""
    found: list[set[str]] = []
    run = updates.run

    def noting(finish: Any, step: Any, reduce: Any) -> Any:
        names = {name for name in ("map_first", "count_itself", "in_blocks") if getattr(finish, name)}
        targets = {getattr(target, "__name__", "") for _, target, *_ in finish.late.steps}
        found.append(names | targets & {"add_in_place", "add_product"})
        return run(finish, step, reduce)

    monkeypatch.setattr(updates, "run", noting)
    return found


def graph(seed: int = 0, isolated: int = 5) -> Graph:
    torch.manual_seed(seed)
    return Graph(torch.randint(NUM_NODES - isolated, (2, NUM_EDGES)), num_nodes=NUM_NODES)


class Update(MessagePassing):
    """A layer of a user's, whose update is a function of what was received, x and two maps."""

    def __init__(self, update: Callable[..., Tensor], aggr: Any = "sum", into: int = 2) -> None:
        super().__init__(aggr)
        torch.manual_seed(1)
        self.lin, self.own = nn.Linear(5, into, dtype=torch.float64), nn.Linear(5, into, dtype=torch.float64)
        self.function = update

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight * x_j

    def update(self, inputs: Tensor, root: Tensor) -> Tensor:  # type: ignore[override]
        return self.function(self, inputs, root)

    def forward(self, x: Tensor, g: Graph, weight: Tensor) -> Tensor:
        return self.propagate(g, x=x, weight=weight, root=x)


def narrow(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    return layer.lin(inputs) + layer.own(root)


def narrow_alone(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    return layer.lin(inputs).relu()


def own_map_first(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    return layer.own(root) + inputs.sum(-1, keepdim=True)


def twice(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    return layer.lin(inputs) + inputs[:, :1]


def doubled(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    own = layer.own(root)
    return own * (own + layer.lin(inputs))


def scaled(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
    return torch.add(layer.own(root), layer.lin(inputs), alpha=3)


CASES = {
    "narrow": (narrow, "sum", 2, {"map_first", "add_in_place"}),
    "narrow, of a mean": (narrow, "mean", 2, {"map_first", "add_in_place"}),
    "narrow, of a maximum": (narrow, "max", 2, {"add_in_place"}),
    "wide": (narrow, "sum", 8, {"add_in_place"}),
    "without what a node has": (narrow_alone, "sum", 2, {"map_first"}),
    "a map, and no map": (own_map_first, "sum", 2, {"add_in_place"}),
    "what is received is read twice": (twice, "sum", 2, set()),
    "a map is read twice": (doubled, "sum", 2, {"map_first"}),
    "a sum with a factor": (scaled, "sum", 2, {"map_first"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_users_update_is_what_it_says(name: str, taken: list[set[str]]) -> None:
    update, aggr, into, passes = CASES[name]
    layer, g = Update(update, aggr, into), graph()
    x = torch.randn(NUM_NODES, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(NUM_EDGES, 1, dtype=torch.float64, requires_grad=True)
    outs = []
    for backend in ("auto", "eager"):
        with mpnn.backend(backend):
            out = layer(x, g, weight)
        leaves = [x, weight, *layer.parameters()]
        gradients = torch.autograd.grad(out.sin().sum(), leaves, allow_unused=True)
        outs.append([out, *gradients])
    assert taken == ([passes] if passes else [])
    for ours, theirs in zip(*outs, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert_close(ours, theirs)
