"""The modern Hopfield network is attention, its energy falls, and its layers are those of their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mpnn
from mpnn import Graph, energy
from mpnn.models import Hopfield, HopfieldLayer, HopfieldPooling, ModernHopfieldNetwork
from tests.compare import assert_close, assert_same


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SPARSE = Graph(torch.tensor([[0, 1, 1, 4, 2, 6, 3, 5, 0], [0, 0, 1, 1, 1, 2, 2, 3, 4]]), (7, 5))


# The network ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_one_update_is_scaled_dot_product_attention_and_runs_on_its_kernel(beta: float) -> None:
    def ours(state: Tensor, patterns: Tensor) -> Any:
        return ModernHopfieldNetwork(beta).fit(patterns)(state)

    def attention(state: Tensor, patterns: Tensor) -> Tensor:
        q, k = state[None, None], patterns[None, None]
        return F.scaled_dot_product_attention(q, k, k, scale=beta)[0, 0]

    state, patterns = draw(5, 4), draw(7, 4, seed=1)
    assert_same(ours, attention, [state, patterns])
    assert torch.equal(ours(state, patterns), attention(state, patterns))
    with mpnn.backend("eager"):
        assert_close(ours(state, patterns), attention(state, patterns), atol=1e-13)
    (step,) = mpnn.explain(ModernHopfieldNetwork(beta).fit(patterns), state).steps
    assert step.way == "dense"
    assert "scaled_dot_product_attention" in step.reason


def test_on_a_sparse_graph_a_state_sees_the_patterns_it_is_linked_to() -> None:
    def ours(state: Tensor, patterns: Tensor) -> Any:
        return ModernHopfieldNetwork(0.7).fit(patterns)(state, SPARSE)

    def loop(state: Tensor, patterns: Tensor) -> Tensor:
        rows = []
        for i, q in enumerate(state):
            seen = patterns[SPARSE.src[SPARSE.dst == i]]
            rows.append(torch.softmax(0.7 * seen @ q, 0) @ seen)
        return torch.stack(rows)

    assert_same(ours, loop, [draw(5, 4), draw(7, 4, seed=1)])


@given(
    beta=st.floats(0.05, 20),
    num_patterns=st.integers(1, 8),
    size=st.sampled_from([1, 4]),
    seed=st.integers(0, 2**20),
    sparse=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_energy_falls_with_every_update(
    beta: float, num_patterns: int, size: int, seed: int, sparse: bool
) -> None:
    network = ModernHopfieldNetwork(beta).fit(draw(num_patterns, size, seed=seed))
    state, graph = 2 * draw(6, size, seed=seed + 1), None
    if sparse:
        generator = torch.Generator().manual_seed(seed)
        ends = [torch.randint(n, (9,), generator=generator) for n in (num_patterns, 6)]
        graph = Graph(torch.stack(ends), (num_patterns, 6))
    before = network.energy(state, graph)
    for _ in range(4):
        state = network(state, graph)
        after = network.energy(state, graph)
        assert bool((after <= before + 1e-12 * (1 + before.abs())).all())
        before = after


def test_the_energy_is_that_of_the_paper_and_its_slope_what_an_update_changes() -> None:
    beta, patterns, state = 1.7, draw(7, 4, seed=1), draw(5, 4).requires_grad_()
    network = ModernHopfieldNetwork(beta).fit(patterns)
    wanted = 0.5 * state.square().sum(1) - torch.logsumexp(beta * state @ patterns.T, 1) / beta
    assert_same(
        network.energy,
        lambda q: 0.5 * q.square().sum(1) - (beta * q @ patterns.T).logsumexp(1) / beta,
        [state],
    )
    (slope,) = torch.autograd.grad(network.energy(state).sum(), state)
    assert_close(slope, state - network(state), atol=1e-13)
    assert_close(network.energy(state), wanted)
    alone = network.energy(state, Graph(torch.tensor([[0], [1]]), (7, 5)))
    assert_close(alone[[0, 2, 3, 4]], 0.5 * state.square().sum(1)[[0, 2, 3, 4]])


def test_states_end_in_a_fixed_point_and_a_large_scaling_retrieves_patterns_at_once() -> None:
    patterns = draw(20, 64, seed=2).sign()
    damaged = patterns * torch.where(draw(20, 64, seed=3) > 1.3, -1.0, 1.0)
    assert bool((damaged != patterns).any(1).all())
    network = ModernHopfieldNetwork(2.0).fit(patterns)
    assert_close(network(damaged), patterns, atol=1e-9)
    found = network.predict(damaged, update_steps_eps=1e-12)
    assert found.converged
    assert_close(network(found.state), found.state, atol=1e-11)
    assert network.predict(damaged, update_steps_max=1).sweeps == 1
    # A small scaling: all states end in one, in the middle of the patterns.
    mixed = ModernHopfieldNetwork(1e-3).fit(patterns).predict(damaged, update_steps_eps=1e-12).state
    assert_close(mixed, mixed[:1].expand_as(mixed), atol=1e-9)


def test_a_fixed_point_has_the_gradients_of_all_updates() -> None:
    def run(gradient: Any) -> Any:
        def settled(patterns: Tensor) -> Any:
            network = ModernHopfieldNetwork(0.4).fit(patterns)
            return network.predict(draw(3, 4), update_steps_eps=1e-14, gradient=gradient).state

        return settled

    assert_same(run("implicit"), run("sweeps"), [0.5 * draw(5, 4, seed=1)])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda n: ModernHopfieldNetwork(0.0), "scaling is 0.0, but must be a number above 0"),
        (lambda n: n.fit(torch.empty(0, 3)), r"patterns must be \[num_patterns, size\], got shape \[0, 3\]"),
        (lambda n: n.fit(torch.tensor([[1.0, torch.nan]])), r"patterns\[0, 1\] is nan, but must be finite"),
        (lambda n: n(torch.ones(2, 5)), r"state must be \[num_states, 4\], got shape \[2, 5\]"),
        (
            lambda n: n(torch.ones(2, 4), SPARSE),
            r"graph must be bipartite of size .* = \(7, 2\), got \(7, 5\)",
        ),
    ],
    ids=["scaling", "no pattern", "no number", "another size", "another graph"],
)
def test_what_does_not_fit_is_named(call: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call(ModernHopfieldNetwork().fit(draw(7, 4).float()))


# The layers, whose equality with hflayers itself was measured apart: it is on no index of packages --------

PLAIN = dict.fromkeys(("stored_pattern", "state_pattern", "pattern_projection"), False)
NO_NORMS: Any = {f"normalize_{name}": value for name, value in PLAIN.items()}


def test_without_norms_and_updates_the_layer_is_torchs_attention_with_its_state_dict() -> None:
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
    ours = Hopfield(8, num_heads=2, **NO_NORMS).double()
    nn.init.normal_(theirs.in_proj_bias)
    ours.association_core.load_state_dict(theirs.state_dict())
    inputs = [draw(3, 7, 8), draw(3, 4, 8, seed=1), draw(3, 7, 8, seed=2)]
    assert_same(
        lambda stored, state, projection: ours((stored, state, projection)),
        lambda stored, state, projection: theirs(state, stored, projection, need_weights=False)[0],
        inputs,
    )
    _, weights = theirs(inputs[1], inputs[0], inputs[2], average_attn_weights=False)
    assert_close(ours.get_association_matrix((inputs[0], inputs[1], inputs[2])), weights.detach())


@pytest.mark.parametrize("updates", [0, 1, 5, None])
def test_the_layer_is_its_formula_for_each_number_of_updates(updates: int | None) -> None:
    torch.manual_seed(0)
    layer = Hopfield(
        6,
        hidden_size=5,
        output_size=3,
        num_heads=2,
        scaling=0.6,
        update_steps_max=updates,
        update_steps_eps=1e-13,
    )
    layer = layer.double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)

    def formula(stored: Tensor, state: Tensor) -> Tensor:
        core = layer.association_core
        rows = (layer.norm_state_pattern, layer.norm_stored_pattern, layer.norm_pattern_projection)
        assert core.in_proj_bias is not None
        q, k, v = (
            F.linear(norm(x), w, b).unflatten(-1, (2, 5)).transpose(1, 2)  # type: ignore[misc]
            for norm, x, w, b in zip(
                rows,
                (state, stored, stored),
                core.in_proj_weight.chunk(3),
                core.in_proj_bias.chunk(3),
                strict=True,
            )
        )
        for _ in range(400 if updates is None else updates):
            q = torch.softmax(0.6 * q @ k.transpose(2, 3), -1) @ k
        out = torch.softmax(0.6 * q @ k.transpose(2, 3), -1) @ v
        return core.out_proj(out.transpose(1, 2).flatten(2))

    assert_same(
        lambda stored, state: layer((stored, state, stored)), formula, [draw(3, 7, 6), draw(3, 4, 6, seed=1)]
    )


def test_a_pooling_has_states_of_its_own_and_a_lookup_patterns() -> None:
    torch.manual_seed(0)
    x = draw(3, 7, 6)
    pooling = HopfieldPooling(6, quantity=2, num_heads=3, output_size=4).double()
    states = pooling.pooling_weights.expand(3, -1, -1)
    assert_close(pooling(x), pooling.hopfield((x, states, x)).flatten(1))
    assert_close(pooling((x, 2 * x)), pooling.hopfield((x, states, 2 * x)).flatten(1))
    for apart in (False, True):
        layer = HopfieldLayer(6, quantity=5, lookup_weights_as_separated=apart).double()
        stored = layer.lookup_weights.expand(3, -1, -1)
        targets = stored if layer.target_weights is None else layer.target_weights.expand(3, -1, -1)
        assert_close(layer(x), layer.hopfield((stored, x, targets)))
        assert (layer.target_weights is not None) is apart
        layer(x).sum().backward()
        assert all(p.grad is not None for p in layer.parameters())


def test_parameters_are_drawn_anew() -> None:
    for layer in (
        HopfieldPooling(6, quantity=2),
        HopfieldLayer(6, quantity=3, lookup_weights_as_separated=True),
    ):
        before = [p.clone() for p in layer.parameters()]
        layer.reset_parameters()
        drawn = [p for p in before if p.dim() > 1]
        again = [p for p in layer.parameters() if p.dim() > 1]
        assert all(not torch.equal(a, b) for a, b in zip(drawn, again, strict=True))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: Hopfield(7, num_heads=2), "input_size is 7, but should be a multiple of num_heads, 2"),
        (lambda: Hopfield(4, update_steps_max=-1), "update_steps_max must be at least 0, got -1"),
        (lambda: Hopfield(4)(torch.ones(2, 3)), r"the stored patterns must be \[batch, number, 4\]"),
        (
            lambda: Hopfield(4)((torch.ones(2, 3, 4), torch.ones(2, 3, 4), torch.ones(2, 5, 4))),
            "as many projected patterns as stored ones, 3, got 5",
        ),
        (lambda: HopfieldPooling(4, quantity=0), "quantity must be at least 1"),
        (lambda: HopfieldLayer(4, quantity=0), "quantity must be at least 1"),
    ],
    ids=["heads", "updates", "no batch", "projection", "no state", "no pattern"],
)
def test_what_does_not_fit_a_layer_is_named(call: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()


# The energy of any softmax -------------------------------------------------------------------------------


class Heads(mpnn.MessagePassing):
    """Scores with a bias per edge and another β for each head."""

    state = ("x",)

    def __init__(self) -> None:
        super().__init__("softmax")

    def message(self, x_i: Tensor, k_j: Tensor, e: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        return beta * (x_i * k_j).sum(-1) + e[:, None], k_j


def test_the_slope_of_the_energy_of_any_softmax_is_what_it_changes() -> None:
    x, k, e = draw(7, 2, 3).requires_grad_(), draw(7, 2, 3, seed=1), draw(30, seed=2)
    graph = Graph(torch.randint(7, (2, 30), generator=torch.Generator().manual_seed(3)), 7)
    bias, beta = draw(7, 2, 3, seed=4), torch.tensor([0.5, 2.0]).double()
    found = energy(Heads(), graph, x, bias=bias, k=k, e=e, beta=beta)
    assert found.shape == (7, 2)
    (slope,) = torch.autograd.grad(found.sum(), x)
    assert_close(slope, x - bias - Heads().propagate(graph, x=x, k=k, e=e, beta=beta))


def test_the_energy_has_gradients_at_a_scaling_that_is_learned() -> None:
    graph = Graph(torch.randint(7, (2, 30), generator=torch.Generator().manual_seed(3)), 7)
    x, k, e = draw(7, 2, 3), draw(7, 2, 3, seed=1), draw(30, seed=2)

    def ours(beta: Tensor) -> Tensor:
        return energy(Heads(), graph, x, k=k, e=e, beta=beta)

    def loop(beta: Tensor) -> Tensor:
        rows = []
        for i in range(7):
            entering = graph.dst == i
            score = beta * (x[i] * k[graph.src[entering]]).sum(-1) + e[entering][:, None]
            own = 0.5 * x[i].square().sum(-1)
            rows.append(own - score.logsumexp(0) / beta if len(score) else own)
        return torch.stack(rows)

    assert_same(ours, loop, [torch.tensor([0.5, 2.0]).double()])


class OtherValues(Heads):
    def message(self, x_i: Tensor, k_j: Tensor, e: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        return beta * (x_i * k_j).sum(-1) + e[:, None], k_j.sin()


class Itself(Heads):
    def message(self, x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * x_j).sum(-1), x_j


class Wider(Heads):
    def message(self, x_i: Tensor, k_j: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * k_j).sum(-1), torch.cat([k_j, k_j], -1)


@pytest.mark.parametrize(
    ("layer", "fields", "reason"),
    [
        (OtherValues(), ("k", "e", "beta"), "OtherValues has no energy.*has values that are not the slopes"),
        (Itself(), (), "reads x_i, x_j, and not x_i alone"),
        (Wider(), ("k",), r"has values \[2, 6\], but its state is \[2, 3\]"),
    ],
    ids=["other values", "the state of the source", "wider values"],
)
def test_a_softmax_without_an_energy_is_refused(layer: Any, fields: tuple[str, ...], reason: str) -> None:
    graph = Graph(torch.randint(7, (2, 30), generator=torch.Generator().manual_seed(3)), 7)
    values: dict[str, Any] = {
        "k": draw(7, 2, 3, seed=1),
        "e": draw(30),
        "beta": torch.tensor([0.5, 2.0]).double(),
    }
    with pytest.raises(TypeError, match=reason):
        energy(layer, graph, draw(7, 2, 3), **{name: values[name] for name in fields})
