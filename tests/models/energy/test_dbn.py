"""The deep belief network against the RBM that it is when weights are tied, and against enumeration."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mpnn.models import DBN, RBM, ContrastiveDivergence
from tests.compare import assert_close
from tests.models.energy.rbms import all_bits, complete, matrix, sparse


@pytest.mark.parametrize("make", [complete, sparse])
def test_two_layers_with_tied_weights_are_the_one_rbm(make: Callable[..., RBM]) -> None:
    rbm = make(6, 4)
    v = all_bits(6)
    assert_close(DBN(rbms=[rbm, rbm.transposed()]).log_likelihood(v), rbm.log_likelihood(v), atol=1e-12)
    three = DBN(rbms=[rbm, rbm.transposed(), rbm.transposed().transposed()])
    assert_close(three.log_likelihood(v), rbm.log_likelihood(v), atol=1e-12)


def test_the_likelihood_is_that_of_all_states_of_all_layers() -> None:
    dbn = DBN(rbms=[complete(4, 3), complete(3, 2, seed=1), sparse(2, 3, seed=2)])
    v, h, g, top = all_bits(4), all_bits(3), all_bits(2), all_bits(3)
    one, two, three = dbn.layers

    def given(rbm: RBM, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        chance = torch.sigmoid(above @ matrix(rbm) + rbm.visible_bias)
        each = torch.where(below[:, None] > 0, chance, 1 - chance)
        return each.prod(2)  # [states below, states above]

    energy = -g @ matrix(three).T @ top.T - (g @ three.visible_bias)[:, None] - top @ three.hidden_bias
    marginal = torch.softmax(-energy.flatten(), 0).view_as(energy).sum(1)
    wanted = given(one, v, h) @ (given(two, h, g) @ marginal)
    assert_close(dbn.log_likelihood(v), wanted.log(), atol=1e-12)
    assert_close(dbn.log_likelihood(v).exp().sum(), torch.ones(()).double(), atol=1e-12)


def test_samples_come_from_the_top() -> None:
    dbn = DBN(rbms=[complete(4, 3), complete(3, 2, seed=1), complete(2, 3, seed=2)])
    v = all_bits(4)
    mean = dbn.log_likelihood(v).exp() @ v
    assert_close(dbn.sample(sweeps=50, num_chains=20_000).mean(0), mean.detach(), atol=0.02)
    rbm = complete(4, 3)
    assert_close(
        DBN(rbms=[rbm]).sample(sweeps=50, num_chains=20_000).mean(0),
        (rbm.log_likelihood(v).exp() @ v).detach(),
        atol=0.02,
    )


def test_a_layer_of_its_own_weights_raises_the_bound() -> None:
    torch.manual_seed(0)
    data = all_bits(6)[[3, 3, 3, 12, 12, 48, 51, 60]]
    below = RBM(6, 4).double()
    learning = ContrastiveDivergence(below, num_chains=100)
    optimizer = torch.optim.SGD(below.parameters(), lr=0.5)
    for _ in range(400):
        optimizer.zero_grad()
        learning.backward(data)
        optimizer.step()
    top = below.transposed()
    dbn = DBN(rbms=[below, top])
    before = dbn.log_likelihood(data).mean().item()
    hidden = dbn(data, 1).detach()
    optimizer = torch.optim.SGD(top.parameters(), lr=0.5)
    for _ in range(200):  # the exact gradient of the top, with h drawn from the layer below
        states = all_bits(4)
        chance = torch.where(states[None] > 0, hidden[:, None], 1 - hidden[:, None]).prod(2).mean(0)
        optimizer.zero_grad()
        (-(chance @ top.log_likelihood(states))).backward()
        optimizer.step()
    assert dbn.log_likelihood(data).mean().item() > before + 0.01


@pytest.mark.parametrize("make", [complete, sparse])
def test_the_network_for_fine_tuning_computes_the_layers_and_a_linear_one(make: Callable[..., RBM]) -> None:
    dbn = DBN(rbms=[make(6, 5), make(5, 4)])
    v = torch.rand(9, 6, dtype=torch.float64)
    network = dbn.to_network(3)
    assert_close(network[:-1](v), dbn(v), atol=1e-12)
    assert not bool(network(v).any())
    classes = torch.tensor([0, 1, 2] * 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    before = [parameter.clone() for parameter in dbn.parameters()]
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(v), classes)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
    assert all(torch.equal(one, other) for one, other in zip(before, dbn.parameters(), strict=True))


def test_sizes_make_machines_and_their_state_is_saved() -> None:
    dbn = DBN([6, 5, 4], units="gaussian")
    assert [rbm.units for rbm in dbn.layers] == ["gaussian", "binary"]
    other = DBN([6, 5, 4], units="gaussian")
    other.load_state_dict(dbn.state_dict())
    assert torch.equal(other(torch.ones(2, 6)), dbn(torch.ones(2, 6)))
    assert torch.equal(dbn(torch.ones(2, 6), 0), torch.ones(2, 6))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: DBN([5]), "must be the number of units of two layers or more"),
        (lambda: DBN([5, 0]), "sizes must be at least 1, got 0"),
        (lambda: DBN(rbms=[]), "rbms is empty, but there must be one RBM at least"),
        (lambda: DBN([2, 1], rbms=[complete()]), "rbms are given, and then sizes and units must not be"),
        (
            lambda: DBN(rbms=[complete(5, 4), complete(3, 2)]),
            r"rbms\[1\] has 3 binary visible units, but must have",
        ),
        (
            lambda: DBN(rbms=[complete(5, 4), complete(4, 2, units="gaussian")]),
            r"rbms\[1\] has 4 gaussian visible units, but must have",
        ),
        (lambda: DBN([3, 21, 2]).log_likelihood(torch.zeros(1, 3)), "a layer has 21 units, but at most 20"),
        (lambda: DBN([3, 2]).to_network(0), "num_outputs must be at least 1, got 0"),
        (lambda: DBN([3, 2])(torch.full((1, 3), 2.0)), r"v\[0, 0\] is 2, but binary units are from 0 to 1"),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
