"""The RBM against enumeration, the Boltzmann machine that it is, and its own sparse form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

import mpnn
from mpnn import EachSweep, Graph, Schedule, iterate, topology, uniforms
from mpnn.models import RBM
from tests.compare import assert_close
from tests.models.energy.rbms import all_bits, complete, filled, matrix, sparse

MACHINES = [complete, sparse]


def _states(rbm: RBM) -> tuple[Tensor, Tensor, Tensor]:
    """Every state (v, h), and its energy by the matrix equation."""
    v, h = all_bits(rbm.num_visible + rbm.num_hidden).split([rbm.num_visible, rbm.num_hidden], 1)
    coupled = torch.einsum("sj,ji,si->s", h, matrix(rbm), v)
    return v, h, -coupled - v @ rbm.visible_bias - h @ rbm.hidden_bias


@pytest.mark.parametrize("make", MACHINES)
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_energies_and_chances_are_those_of_all_states(make: Callable[[], RBM], backend: str) -> None:
    rbm = make()
    v, h, energy = _states(rbm)
    with mpnn.backend(backend):
        assert_close(rbm.energy(v, h), energy, atol=1e-12)
        shape = (2**rbm.num_visible, 2**rbm.num_hidden)
        seen, dreamt = v.view(*shape, -1)[:, 0], h.view(*shape, -1)[0]
        joint = torch.softmax(-energy, 0).view(shape)
        free = -torch.logsumexp(-energy.view(shape), 1)
        assert_close(rbm.free_energy(seen), free, atol=1e-12)
        assert_close(rbm.log_likelihood(seen), joint.sum(1).log(), atol=1e-12)
        assert_close(rbm.log_partition(), torch.logsumexp(-energy, 0), atol=1e-12)
        hidden = (joint / joint.sum(1, keepdim=True)) @ dreamt
        assert_close(rbm.hidden(seen), hidden, atol=1e-12)
        visible = (joint / joint.sum(0)).T @ seen
        assert_close(rbm.visible(dreamt), visible, atol=1e-12)


@pytest.mark.parametrize("make", MACHINES)
@pytest.mark.parametrize("sizes", [(5, 4), (3, 6)])
def test_the_slope_of_the_likelihood_is_what_is_together_in_the_data_less_in_all_states(
    make: Callable[..., RBM], sizes: tuple[int, int]
) -> None:
    rbm = make(*sizes)
    data = (torch.rand(7, sizes[0], generator=torch.Generator().manual_seed(3)) < 0.4).double()
    rbm.log_likelihood(data).mean().backward()
    v, h, energy = _states(rbm)
    chance = torch.softmax(-energy.detach(), 0)
    together = torch.einsum("s,sj,si->ji", chance, h, v)
    given = rbm.hidden(data).detach()
    slope = given.T @ data / 7 - together
    wanted = slope if rbm.is_complete else slope[rbm.graph.dst, rbm.graph.src]
    assert rbm.weight.grad is not None
    assert_close(rbm.weight.grad, wanted, atol=1e-12)
    assert rbm.visible_bias.grad is not None
    assert_close(rbm.visible_bias.grad, data.mean(0) - chance @ v, atol=1e-12)
    assert rbm.hidden_bias.grad is not None
    assert_close(rbm.hidden_bias.grad, given.mean(0) - chance @ h, atol=1e-12)
    moments = rbm.moments(data, given)
    total = given.T @ data
    assert_close(
        moments.weight, total if rbm.is_complete else total[rbm.graph.dst, rbm.graph.src], atol=1e-12
    )
    assert_close(moments.visible_bias, data.sum(0), atol=1e-12)
    assert_close(moments.hidden_bias, given.sum(0), atol=1e-12)


def test_free_energy_has_right_gradients() -> None:
    rbm = sparse(4, 3)
    v = torch.rand(3, 4, dtype=torch.float64)

    def free(weight: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        parameters = {"weight": weight, "visible_bias": visible, "hidden_bias": hidden}
        found: Tensor = torch.func.functional_call(
            _Free(rbm), {f"rbm.{k}": p for k, p in parameters.items()}, v
        )
        return found

    assert torch.autograd.gradcheck(free, (rbm.weight, rbm.visible_bias, rbm.hidden_bias))


class _Free(torch.nn.Module):
    def __init__(self, rbm: RBM) -> None:
        super().__init__()
        self.rbm = rbm

    def forward(self, v: Tensor) -> Tensor:
        return self.rbm.free_energy(v)


@pytest.mark.parametrize("units", ["binary", "gaussian"])
def test_a_sparse_machine_is_a_full_one_of_which_some_weights_are_0(units: str) -> None:
    ours = sparse(6, 5, units=units)  # type: ignore[arg-type]
    full = filled(ours)
    v = torch.rand(9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_close(ours.free_energy(v), full.free_energy(v), atol=1e-12)
    assert_close(ours.log_partition(), full.log_partition(), atol=1e-12)
    for one, other in zip(
        ours.sample(num_chains=50, sweeps=20, seed=1),
        full.sample(num_chains=50, sweeps=20, seed=1),
        strict=True,
    ):
        assert_close(one, other, atol=1e-12)
    slopes = torch.autograd.grad(full.log_likelihood(v).sum(), full.weight)[0]
    found = torch.autograd.grad(ours.log_likelihood(v).sum(), ours.weight)[0]
    assert_close(found, slopes[ours.graph.dst, ours.graph.src], atol=1e-12)


@pytest.mark.parametrize("make", MACHINES)
def test_a_chain_is_that_of_the_boltzmann_machine_under_the_alternating_schedule(
    make: Callable[..., RBM],
) -> None:
    rbm = make(6, 4)
    machine = rbm.as_boltzmann_machine()
    begin = (torch.rand(30, 4, generator=torch.Generator().manual_seed(2)) < 0.5).double()
    v, h = rbm.sample(begin, sweeps=25, seed=5)
    whole = torch.cat([begin.new_zeros(30, 6), begin], 1).T.contiguous()
    found = iterate(
        machine,
        machine.graph,
        whole,
        schedule=Schedule.alternating(torch.tensor([0] * 6 + [1] * 4)),
        steps=25,
        w=machine.weight,
        b=machine.bias,
        u=EachSweep(lambda sweep: uniforms(5, sweep, (10, 30), dtype=torch.float64)),
        temperature=1.0,
    ).state
    assert torch.equal(found, torch.cat([v, h], 1).T)
    assert_close(machine.energy(found), rbm.energy(v, h), atol=1e-12)
    assert_close(machine.log_partition(), rbm.log_partition(), atol=1e-12)


@pytest.mark.parametrize("make", MACHINES)
def test_the_mean_of_many_chains_is_that_of_all_states(make: Callable[[], RBM]) -> None:
    rbm = make()
    v, h, energy = _states(rbm)
    chance = torch.softmax(-energy.detach(), 0)
    seen, dreamt = rbm.sample(num_chains=20_000, sweeps=60, seed=1)
    assert_close(seen.mean(0), chance @ v, atol=0.02)
    assert_close(dreamt.mean(0), chance @ h, atol=0.02)
    assert_close(dreamt.T @ seen / 20_000, torch.einsum("s,sj,si->ji", chance, h, v), atol=0.02)


def test_a_chain_that_is_cut_goes_on_as_if_it_had_not_been_and_takes_the_callers_numbers() -> None:
    rbm = complete()
    begin = torch.zeros(5, 4, dtype=torch.float64)
    whole = rbm.sample(begin, sweeps=9, seed=4)
    half = rbm.sample(begin, sweeps=4, seed=4)
    rest = rbm.sample(half[1], sweeps=5, seed=4, first=4)
    given = rbm.sample(begin, sweeps=9, uniform=lambda sweep: rbm.uniforms(4, sweep, 5))
    assert all(torch.equal(one, other) for one, other in zip(whole, rest, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(whole, given, strict=True))


def test_gaussian_units_are_a_mixture_of_normal_numbers() -> None:
    rbm = complete(2, 3, units="gaussian")
    h = all_bits(3)
    field = h @ rbm.weight + rbm.visible_bias
    v = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # p(v) = Σ_h p(h) N(v; b + Wᵀh, 1), where p(h) ∝ exp(c·h + ½ |b + Wᵀh|²)
    chance = torch.softmax(h @ rbm.hidden_bias + 0.5 * field.square().sum(1), 0)
    normal = torch.distributions.Normal(field, 1.0)
    density = torch.logsumexp(chance.log() + normal.log_prob(v[:, None]).sum(2), 1)
    assert_close(rbm.log_likelihood(v), density, atol=1e-12)
    assert_close(rbm.visible(h), field, atol=1e-12)
    joint = torch.stack([rbm.energy(v, one.expand(6, -1)) for one in h], 1)
    assert_close(rbm.free_energy(v), -torch.logsumexp(-joint, 1), atol=1e-12)
    seen, _ = rbm.sample(num_chains=20_000, sweeps=60, seed=1)
    assert_close(seen.mean(0), (chance @ field).detach(), atol=0.05)


def test_a_normal_number_is_drawn_from_a_number_between_0_and_1() -> None:
    rbm = RBM(1, 1, units="gaussian").double()
    u = torch.tensor([[0.0], [0.5], [0.975], [1 - 2.0**-53]], dtype=torch.float64)
    found = rbm.draw_visible(torch.zeros(4, 1, dtype=torch.float64), u).detach()
    assert bool(found.isfinite().all())
    assert_close(found[1:], torch.from_numpy(stats.norm.ppf(u[1:].numpy())), atol=1e-9)
    single = RBM(1, 1, units="gaussian").draw_visible(
        torch.zeros(2, 1), torch.tensor([[0.0], [1 - 2.0**-24]])
    )
    assert bool(single.isfinite().all())


def test_units_alone_have_the_means_of_the_data_at_the_start() -> None:
    data = (torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    rbm = RBM(3, 2).start_from(data)
    means = rbm.visible(torch.zeros(2))
    assert_close(means, data.mean(0), atol=1e-2)
    assert_close(
        RBM(3, 2, units="gaussian").start_from(data).visible(torch.zeros(2)), data.mean(0), atol=1e-6
    )
    assert bool(RBM(3, 2).start_from(torch.zeros(5, 3)).visible_bias.isfinite().all())


def test_large_fields_lose_no_digits() -> None:
    rbm = RBM(1, 1).double()
    rbm.hidden_bias.data.fill_(25.0)
    found = -rbm.free_energy(torch.zeros(1, dtype=torch.float64)) - 25
    assert_close(found, torch.tensor(-25.0, dtype=torch.float64).exp().log1p(), atol=1e-14)


def test_a_graph_of_all_units_is_one_from_visible_to_hidden_units() -> None:
    both = torch.tensor([[0, 1, 3, 2], [2, 3, 1, 0]])
    for graph in (
        Graph(both, 4),
        Graph(torch.tensor([[0, 1], [0, 1]]), (2, 2)),
        torch.tensor([[0, 1], [0, 1]]),
    ):
        rbm = RBM(2, 2, graph=graph)
        rbm.weight.data.copy_(torch.tensor([2.0, 3.0]))
        assert_close(rbm.to_hidden(torch.ones(2)), torch.tensor([2.0, 3.0]), atol=0)


_EDGES = torch.tensor([[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RBM(0, 2), "num_visible must be at least 1, got 0"),
        (lambda: RBM(2, 2, units="spin"), "units is 'spin', but must be one of binary, gaussian"),  # type: ignore[arg-type]
        (lambda: RBM(2, 2, graph=Graph(_EDGES, (2, 3))), r"graph has size \(2, 3\), but must be"),
        (
            lambda: RBM(2, 2, graph=topology.complete(4)),
            "graph is not bipartite: the edge 0 -> 0 lies between",
        ),
        (
            lambda: RBM(2, 2, graph=topology.chain(3)),
            "graph has 3 nodes, but there are 2 visible and 2 hidden",
        ),
        (lambda: RBM(1, 1, graph=Graph(torch.tensor([[0], [1]]), 2)), "without its reverse"),
        (
            lambda: RBM(2, 1).free_energy(torch.tensor([[0.0, 2.0]])),
            r"v\[0, 1\] is 2, but binary units are from 0",
        ),
        (
            lambda: RBM(2, 1)(torch.tensor([[0.0, -1.0]])),
            r"v\[0, 1\] is -1, but binary units are from 0 to 1",
        ),
        (lambda: RBM(2, 1).free_energy(torch.tensor([float("nan"), 0])), r"v\[0\] is nan, but binary"),
        (
            lambda: RBM(2, 1, units="gaussian").free_energy(torch.tensor([float("inf"), 0])),
            r"v\[0\] is inf, but gaussian units are finite",
        ),
        (lambda: RBM(2, 1).free_energy(torch.zeros(3)), r"v must be \[\*, 2\], got shape \[3\]"),
        (
            lambda: RBM(2, 1).energy(torch.zeros(2), torch.tensor([0.5])),
            r"h\[0\] is 0.5, but such units are 0 or 1",
        ),
        (lambda: RBM(2, 1).sample(torch.tensor([[-1.0]])), r"h\[0, 0\] is -1, but such units are 0 or 1"),
        (lambda: RBM(2, 1).sample(sweeps=0), "sweeps is 0, but must be a number of sweeps from 1 on"),
        (lambda: RBM(30, 21).log_partition(), "the hidden side has 21 units, but at most 20 are enumerated"),
        (lambda: RBM(21, 30).log_partition(), "the visible side has 21 units, but at most 20 are enumerated"),
        (
            lambda: RBM(2, 1, units="gaussian").transposed(),
            "units is 'gaussian', but a transposed machine has",
        ),
        (
            lambda: RBM(2, 1, units="gaussian").as_boltzmann_machine(),
            "but a BoltzmannMachine has binary units",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
