"""Shortcuts through the equation: same results, and not taken where a hook or a mode could tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mpnn import Graph, propagate, topology
from mpnn.models import GATConv, GINConv, GraphConv, SAGEConv
from mpnn.models.parts.linear import Projection
from mpnn.native import products

DTYPE = torch.float64
generator = torch.Generator().manual_seed(3)
GRAPH = Graph(torch.randint(7, (2, 20), generator=generator), 7)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


def neighbours(graph: Graph) -> Tensor:
    matrix, ones = torch.zeros(*graph.size, dtype=DTYPE), torch.ones(graph.num_edges, dtype=DTYPE)
    return matrix.index_put_((graph.dst, graph.src), ones, accumulate=True)


def close(out: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)


# GIN: with ε = 0 one sum on the graph with loops ----------------------------------------------------------

CHANGES: dict[str, Callable[[GINConv], Any]] = {
    "nothing": lambda layer: None,
    "in place": lambda layer: layer.eps.fill_(0.5),
    "by its data": lambda layer: layer.eps.data.fill_(0.5),
    "a state": lambda layer: layer.load_state_dict(layer.state_dict() | {"eps": torch.tensor([0.5])}),
    "another tensor": lambda layer: setattr(layer, "eps", torch.tensor([0.5], dtype=DTYPE)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_epsilon_is_what_it_is_now(how: str) -> None:
    layer, x = GINConv(nn.Identity()).to(DTYPE), randn(7, 3).requires_grad_()
    layer(x, GRAPH)
    CHANGES[how](layer)
    sums = neighbours(GRAPH) + (1 + layer.eps) * torch.eye(7, dtype=DTYPE)
    out, gradient = layer(x, GRAPH), randn(7, 3)
    close(out, sums @ x)
    close(*[torch.autograd.grad(o, x, gradient)[0] for o in (out, sums @ x)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_floating_type(dtype: torch.dtype) -> None:
    layer, x = GINConv(nn.Identity()).to(dtype), randn(7, 3).to(dtype)
    exact = (neighbours(GRAPH) + torch.eye(7, dtype=DTYPE)) @ x.to(DTYPE)
    torch.testing.assert_close(layer(x, GRAPH), exact.to(dtype))


@pytest.mark.parametrize(
    "graph",
    [
        topology.complete(7),
        topology.grid((7,), 3, padding=1),
        Graph(GRAPH.edge_index, 7, edge_type=GRAPH.src),
    ],
)
def test_graphs_that_take_no_loops(graph: Graph) -> None:
    x = randn(7, 3)
    close(GINConv(nn.Identity()).to(DTYPE)(x, graph), (neighbours(graph) + torch.eye(7, dtype=DTYPE)) @ x)


def test_a_message_of_its_own_reaches_no_loop() -> None:
    class Doubled(GINConv):
        def message(self, x_j: Tensor) -> Tensor:
            return 2 * x_j

    x = randn(7, 3)
    expected = (2 * neighbours(GRAPH) + torch.eye(7, dtype=DTYPE)) @ x
    close(Doubled(nn.Identity()).to(DTYPE)(x, GRAPH), expected)


# SAGE and GraphConv: the second linear map adds to what the first gave -----------------------------------

PAIRS = {SAGEConv: ("lin_l", "lin_r"), GraphConv: ("lin_rel", "lin_root")}


def maps(layer: Any) -> tuple[Projection, Projection]:
    first, second = PAIRS[type(layer)]
    return getattr(layer, first), getattr(layer, second)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_hook_keeps_what_it_saw(kind: type[nn.Module]) -> None:
    layer, x, seen = kind(3, 3).to(DTYPE), randn(7, 3), []
    first, second = maps(layer)
    without = layer(x, GRAPH)
    first.register_forward_hook(lambda module, given, out: seen.append(out))
    close(layer(x, GRAPH), without)
    second.register_forward_hook(lambda module, given, out: seen.append(out))
    close(layer(x, GRAPH), without)
    close(seen[0], without - x @ second.weight.t())
    close(seen[2], x @ second.weight.t())


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_backward_hook_sees_the_gradient(kind: type[nn.Module], which: int) -> None:
    layer, x = kind(3, 3).to(DTYPE), randn(7, 3).requires_grad_()
    seen: list[Any] = []
    watched = layer.get_submodule(PAIRS[kind][which])
    watched.register_full_backward_hook(lambda module, to_input, to_output: seen.append(to_output))
    gradient = randn(7, 3)
    layer(x, GRAPH).backward(gradient)
    close(seen[0][0], gradient)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_of_ones_own_takes_its_place(kind: type[nn.Module], which: int, bias: bool) -> None:
    class Tripled(Projection):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * super().forward(x)

    for make, factor in ((Projection, 1), (Tripled, 3)):
        layer, x = kind(3, 3, aggr="max").to(DTYPE), randn(7, 3)
        setattr(layer, PAIRS[kind][which], make(3, 3, bias=bias).to(DTYPE))
        first, second = maps(layer)
        largest = propagate(GRAPH, lambda x_j: x_j, "max", x=x)
        parts = [
            a @ m.weight.t() + (0 if m.bias is None else m.bias) for a, m in ((largest, first), (x, second))
        ]
        parts[which] = factor * parts[which]
        close(layer(x, GRAPH), parts[0] + parts[1])


@pytest.mark.parametrize("make", [lambda: SAGEConv(3, 3), lambda: GINConv(nn.Linear(3, 3))])
def test_an_ensemble_is_its_members_one_by_one(make: Callable[[], nn.Module]) -> None:
    members, x = [make().to(DTYPE) for _ in range(3)], randn(7, 3)
    state = stack_module_state(members)

    def member(parameters: Any, buffers: Any) -> Tensor:
        out: Tensor = functional_call(members[0], (parameters, buffers), (x, GRAPH))
        return out

    close(vmap(member)(*state), torch.stack([layer(x, GRAPH) for layer in members]))


# Networks of torch.nn: their linear maps without a call of the module, unless a hook could see it -----------


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def hooked(layer: nn.Linear) -> nn.Linear:
    layer.register_forward_hook(lambda module, inputs, out: 2 * out)
    return layer


def replaced(layer: nn.Linear) -> nn.Linear:
    forward = layer.forward
    layer.forward = lambda input: 2 * forward(input)  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    "make", [Doubled, lambda *s: hooked(nn.Linear(*s)), lambda *s: replaced(nn.Linear(*s))]
)
def test_a_network_does_what_its_owner_made_of_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALL", 0)
    first, last = nn.Linear(3, 4), make(4, 2)
    layer, x = GINConv(nn.Sequential(first, nn.ReLU(), last)).to(DTYPE), randn(7, 3)
    total = (neighbours(GRAPH) + torch.eye(7, dtype=DTYPE)) @ x
    hidden = (total @ first.weight.T + first.bias).relu()
    close(layer(x, GRAPH), 2 * (hidden @ last.weight.T + last.bias))


# GAT: scores as products with what the linear map is made of ----------------------------------------------


@pytest.mark.parametrize("small", [0, products.SMALL])
@pytest.mark.parametrize("width", [3, 20])
@pytest.mark.parametrize("ends", ["one", "both"])
def test_scores_of_wide_and_narrow_features_are_those_of_the_equation(
    small: int, width: int, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "SMALL", small)
    layer = GATConv(width, 4, heads=2, edge_dim=5).to(DTYPE)
    theirs = torch_geometric.nn.GATConv(width, 4, heads=2, edge_dim=5).to(DTYPE)
    theirs.load_state_dict(layer.state_dict())
    edges, x = randn(20, 5), [randn(7, width).requires_grad_() for _ in range(1 if ends == "one" else 2)]
    given = x[0] if ends == "one" else tuple(x)
    out, expected = layer(given, GRAPH, edges), theirs(given, GRAPH.edge_index, edges)
    close(out, expected)
    gradient, parameters = randn(7, 8), dict(theirs.named_parameters())
    names = list(parameters)
    ours = torch.autograd.grad(out, [*x, *map(layer.get_parameter, names)], gradient)
    for one, other in zip(
        ours, torch.autograd.grad(expected, [*x, *parameters.values()], gradient), strict=True
    ):
        close(one, other)
