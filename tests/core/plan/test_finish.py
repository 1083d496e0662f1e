"""What a node becomes, by the passes over its `update`, against the same layer run as it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, MessagePassing, models
from mpnn.backends.run import updates
from mpnn.plan import wide_maps
from mpnn.plan.homes import op_name, shape_of
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

    def noting(read: Any, step: Any, reduce: Any) -> Any:
        names = {name for name in ("map_first", "count_itself", "wide") if getattr(read, name)}
        targets = {getattr(target, "__name__", "") for _, target, *_ in read.late.steps}
        found.append(names | targets & {"add_in_place", "add_product"})
        return run(read, step, reduce)

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

    def update(self, inputs: Tensor, root: Tensor) -> Tensor:
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


def test_what_is_wide_and_added_to_a_map_is_not_made_twice(taken: list[set[str]]) -> None:
    def widened(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        wide = torch.cat([inputs * k for k in range(1, 6)], dim=-1).square()
        return layer.own(root) + wide[:, :2]

    layer, g = Update(widened), graph()
    x = torch.randn(NUM_NODES, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(NUM_EDGES, 1, dtype=torch.float64)
    found = []
    for backend in ("auto", "eager"):
        with mpnn.backend(backend):
            out = layer(x, g, weight)
        found.append([out, *torch.autograd.grad(out.sin().sum(), [x, *layer.own.parameters()])])
    assert taken == [{"add_in_place"}]
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)


# The layers of this package ------------------------------------------------------------------------------

SCALERS = ("identity", "amplification", "attenuation", "linear", "inverse_linear")
DEGREES = torch.tensor([1, 3, 8, 5, 2])
LAYERS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "GraphConv": (lambda: models.GraphConv(5, 2), {"map_first", "add_in_place"}),
    "GraphConv that widens": (lambda: models.GraphConv(5, 7), {"add_product"}),
    "SAGEConv": (lambda: models.SAGEConv(5, 2), {"map_first", "add_in_place"}),
    "SAGEConv of maxima": (lambda: models.SAGEConv(5, 2, aggr="max"), {"add_product"}),
    "SAGEConv without a root": (lambda: models.SAGEConv(5, 2, root_weight=False), {"map_first"}),
    "GINConv": (lambda: models.GINConv(nn.Linear(5, 2)), {"count_itself"}),
    "GINConv with an ε": (lambda: models.GINConv(nn.Linear(5, 2), eps=0.3), {"count_itself"}),
    "GINConv that learns ε": (lambda: models.GINConv(nn.Linear(5, 2), train_eps=True), {"count_itself"}),
    "TransformerConv": (lambda: models.TransformerConv(5, 2, heads=2), {"add_in_place"}),
    "PNAConv": (
        lambda: models.PNAConv(5, 4, ["mean", "max", "std"], ["identity", "attenuation"], DEGREES),
        {"wide"},
    ),
    "PNAConv of two towers": (
        lambda: models.PNAConv(
            5, 4, ["mean", "min", "std"], list(SCALERS), DEGREES, towers=2, post_layers=2, train_norm=True
        ),
        {"wide"},
    ),
}


def both(layer: nn.Module, x: Tensor, g: Graph) -> list[list[Tensor | None]]:
    """The output and all gradients, as it comes and by eager."""
    found: list[list[Tensor | None]] = []
    for backend in ("auto", "eager"):
        with mpnn.backend(backend):
            out = layer(x, g)
        leaves = [x, *layer.parameters()]
        found.append([out, *torch.autograd.grad(out.sin().sum(), leaves, allow_unused=True)])
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_its_paper_says(name: str, taken: list[set[str]]) -> None:
    make, passes = LAYERS[name]
    torch.manual_seed(2)
    layer = make().double()
    x = torch.randn(NUM_NODES, 5, dtype=torch.float64, requires_grad=True)
    ours, theirs = both(layer, x, graph())
    assert taken == [passes]
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert other is not None
            assert_close(one, other)


@pytest.mark.parametrize("towers", [1, 2])
def test_what_is_scaled_in_several_ways_is_mapped_once(towers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    split = wide_maps.split_wide_maps

    def noting(traced: torch.fx.Graph, late: Any) -> Any:
        made = split(traced, late)
        widths.extend(shape_of(n)[-1] for n in traced.nodes if op_name(n) == "mm")
        return made

    monkeypatch.setattr("mpnn.plan.finish.split_wide_maps", noting)
    layer = models.PNAConv(6, 4, ["mean", "std"], list(SCALERS), DEGREES, towers=towers).double()
    x = torch.randn(NUM_NODES, 6, dtype=torch.float64, requires_grad=True)
    ours, theirs = both(layer, x, graph())
    assert widths.count(5 * 4 // towers) == towers  # as wide as five maps side by side
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None and other is not None
        assert_close(one, other)


@pytest.mark.parametrize("out", [0, 1])
def test_wide_maps_of_nodes_to_nothing_and_of_no_nodes(out: int) -> None:
    def scaled(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        s = root.sum(1, keepdim=True)
        return layer.wide(torch.cat([root, inputs, s * inputs, s.sin() * inputs], 1))

    layer = Update(scaled)
    layer.wide = nn.Linear(20, 1, dtype=torch.float64)
    layer.wide.weight = nn.Parameter(layer.wide.weight[:out])
    layer.wide.bias = nn.Parameter(layer.wide.bias[:out])
    for num_nodes in (NUM_NODES, 0):
        g = graph() if num_nodes else Graph(torch.zeros(2, 0, dtype=torch.long), num_nodes=0)
        x = torch.randn(num_nodes, 5, dtype=torch.float64, requires_grad=True)
        found = []
        for backend in ("auto", "eager"):
            with mpnn.backend(backend):
                made = layer(x, g, torch.ones(g.num_edges, 1, dtype=torch.float64))
            found.append([made, *torch.autograd.grad(made.sin().sum(), [x, layer.wide.weight])])
        for one, other in zip(*found, strict=True):
            assert_close(one, other)


@pytest.mark.parametrize("stop", [Tensor.detach, lambda t: (t > 0).double()])
def test_a_gradient_that_ends_in_a_wide_row_ends_there(stop: Callable[[Tensor], Tensor]) -> None:
    def stopped(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        return stop(torch.cat([inputs, 2 * inputs, root], 1)[:, :7])

    layer, weight = Update(stopped), torch.ones(NUM_EDGES, 1, dtype=torch.float64)
    x = torch.randn(NUM_NODES, 5, dtype=torch.float64, requires_grad=True)
    ours = layer(x, graph(), weight)
    with mpnn.backend("eager"):
        theirs = layer(x, graph(), weight)
    assert_close(ours, theirs)
    assert not ours.requires_grad
    assert not theirs.requires_grad


def test_an_update_of_one_number_per_node_may_be_made_of_wide_rows(taken: list[set[str]]) -> None:
    def mean(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        return torch.cat([inputs, 2 * inputs, 3 * inputs, root], 1).exp().mean(1)

    found, layer, weight = [], Update(mean), torch.ones(NUM_EDGES, 1, dtype=torch.float64)
    for backend in ("auto", "eager"):
        x = torch.linspace(0, 1, NUM_NODES * 5, dtype=torch.float64).view(-1, 5).requires_grad_()
        with mpnn.backend(backend):
            out = layer(x, graph(), weight)
        found.append([out, *torch.autograd.grad(out.sin().sum(), x)])
    assert taken == [{"wide"}]
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def test_a_map_is_not_skipped_by_a_hook_that_waits_for_it(taken: list[set[str]]) -> None:
    layer, x = models.GraphConv(5, 2), torch.randn(NUM_NODES, 5)
    layer(x, graph())
    calls: list[torch.Size] = []
    layer.lin_rel.register_forward_hook(lambda module, given, out: calls.append(given[0].shape))
    layer(x, graph())
    assert calls == [torch.Size([NUM_NODES, 5])]
    assert len(taken) == 1


def test_an_epsilon_that_changes_is_seen(taken: list[set[str]]) -> None:
    layer, x, g = models.GINConv(nn.Identity()), torch.ones(NUM_NODES, 1), graph()
    received = g.in_degree.float().unsqueeze(1)
    assert_close(layer(x, g), received + 1)
    layer.eps.fill_(0.5)
    assert_close(layer(x, g), received + 1.5)
    assert taken == [{"count_itself"}] * 2


def test_a_width_that_is_still_open_is_taken_from_the_first_input() -> None:
    layer = models.SAGEConv((-1, -1), 2)
    x = torch.randn(NUM_NODES, 5)
    out = layer(x, graph())
    assert layer.lin_l.weight.shape == layer.lin_r.weight.shape == (2, 5)
    assert_close(layer(x, graph()), out, atol=1e-5)


def test_an_update_that_keeps_something_is_called() -> None:
    class Keeping(models.GraphConv):
        def update(self, inputs: Tensor, root: Tensor | None) -> Tensor:
            self.received = inputs
            return super().update(inputs, root)

    layer = Keeping(5, 2)
    layer(torch.randn(NUM_NODES, 5), graph())
    assert layer.received.shape == (NUM_NODES, 5)


def test_what_an_update_raises_is_raised_once() -> None:
    calls = []

    def failing(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        calls.append(len(inputs))
        raise RuntimeError("no update")

    layer = Update(failing)
    with pytest.raises(RuntimeError, match="no update"):
        layer(torch.randn(NUM_NODES, 5).double(), graph(), torch.randn(NUM_EDGES, 1).double())
    assert calls[-1] == NUM_NODES


def test_an_update_that_draws_at_random_is_called_as_it_is_written(taken: list[set[str]]) -> None:
    def dropping(layer: Any, inputs: Tensor, root: Tensor) -> Tensor:
        return nn.functional.dropout(layer.lin(inputs), 0.5) + layer.own(root)

    layer, weight = Update(dropping), torch.ones(NUM_EDGES, 1, dtype=torch.float64)
    x = torch.randn(NUM_NODES, 5, dtype=torch.float64)
    torch.manual_seed(0)
    ours = layer(x, graph(), weight)
    torch.manual_seed(0)
    with mpnn.backend("eager"):
        assert_close(layer(x, graph(), weight), ours)
    assert taken == []


def test_a_gradient_of_a_gradient_goes_through() -> None:
    layer, g = models.GraphConv(3, 2).double(), graph()
    x = torch.randn(NUM_NODES, 3, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(layer(x, g).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    ours = penalty()
    with mpnn.backend("eager"):
        assert_close(ours, penalty())


@pytest.mark.parametrize("name", ["GraphConv", "SAGEConv of maxima", "TransformerConv"])
def test_autocast_gives_the_type_and_the_numbers_that_eager_gives(name: str) -> None:
    layer, x = LAYERS[name][0](), torch.randn(NUM_NODES, 5)
    with torch.autocast("cpu", torch.bfloat16):
        ours = layer(x, graph())
        with mpnn.backend("eager"):
            theirs = layer(x, graph())
    assert ours.dtype is theirs.dtype
    assert_close(ours.double(), theirs.double(), atol=0.1)  # of numbers with eight bits, summed
