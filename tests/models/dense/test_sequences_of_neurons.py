"""Elman's network, the diagonal recurrent network and the time-delay network, against torch.nn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, models, topology
from mpnn.models import DiagonalRNN
from tests.compare import assert_close, assert_same


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_diagonal_network_is_torchs_with_a_diagonal_matrix(nonlinearity: Any, batch_first: bool) -> None:
    torch.manual_seed(0)
    ours = DiagonalRNN(3, 4, nonlinearity, batch_first=batch_first).double()
    theirs = nn.RNN(3, 4, nonlinearity=nonlinearity, batch_first=batch_first).double()

    def torchs(x: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Any:
        weights = {"weight_ih_l0": w, "weight_hh_l0": u.diag(), "bias_ih_l0": b, "bias_hh_l0": 0 * b}
        return torch.func.functional_call(theirs, weights, (x,))[0]

    def own(x: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Any:
        return torch.func.functional_call(ours, {"weight_ih": w, "weight_hh": u, "bias": b}, (x,))

    weights = [p.detach() for p in (ours.weight_ih, ours.weight_hh, ours.bias) if p is not None]
    assert_same(own, torchs, [draw(5, 6, 3), *weights])
    x = draw(5, 3)
    assert_close(ours(x), torchs(x, *weights))


def test_a_diagonal_network_runs_on_any_acyclic_graph() -> None:
    torch.manual_seed(0)
    layer, x = DiagonalRNN(3, 4, bias=False).double(), draw(5, 3)
    edges = torch.tensor([[0, 0, 1, 2, 3], [1, 2, 3, 3, 4]])
    h: list[Tensor] = []
    for i in range(5):
        total = sum((h[int(j)] for j in edges[0][edges[1] == i]), torch.zeros(4).double())
        h.append(torch.tanh(layer.weight_ih @ x[i] + layer.weight_hh * total))
    assert_close(layer(x, Graph(edges, 5)), torch.stack(h))
    assert_close(layer(x, edges), torch.stack(h))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_cut_at_every_step_the_gradients_are_elmans(kind: str) -> None:
    """The context is a copy of the last state, to which nothing goes back (Elman, 1990)."""
    torch.manual_seed(0)
    length, x = 6, draw(6, 3)
    layer: Any
    if kind == "full":
        layer = models.RNN(3, 4).double()
        w, b = layer.weight_ih_l0, layer.bias_ih_l0 + layer.bias_hh_l0
        found = layer(x, graph=topology.chain(length), truncate=1)[0]
    else:
        layer = DiagonalRNN(3, 4, truncate=1).double()
        w, b = layer.weight_ih, layer.bias
        found = layer(x)
    u = layer.weight_hh_l0 if kind == "full" else layer.weight_hh.diag()
    h, states = torch.zeros(4).double(), []
    for row in x:
        h = torch.tanh(w @ row + u @ h.detach() + b)
        states.append(h)
    wanted = torch.stack(states)
    assert_close(found, wanted)
    ours = torch.autograd.grad(found.sin().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(wanted.sin().sum(), list(layer.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(("offsets", "dilation"), [((-2, -1, 0, 1, 2), 1), ((-1, 1), 2), ((-3, 0, 3), 3)])
@pytest.mark.parametrize("padded", [False, True], ids=["valid", "padded"])
def test_a_time_delay_layer_is_a_linear_map_of_spliced_frames(
    offsets: tuple[int, ...], dilation: int, padded: bool
) -> None:
    """Waibel et al., 1989: every unit sees the frames at some offsets, with the same weights at all times."""
    torch.manual_seed(0)
    reach = offsets[-1]
    conv = models.Conv1d(3, 4, len(offsets), dilation=dilation, padding=reach if padded else 0).double()

    def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    def spliced(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        frames = F.pad(x, (reach, reach)) if padded else x
        times = range(reach, frames.size(2) - reach)
        rows = torch.stack([torch.cat([frames[:, :, t + o] for o in offsets], 1) for t in times], 1)
        return F.linear(rows, weight.permute(0, 2, 1).flatten(1), bias).transpose(1, 2)  # offset by offset

    weights = [p.detach() for p in (conv.weight, conv.bias) if p is not None]
    assert_same(convolved, spliced, [draw(2, 3, 11), *weights])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: DiagonalRNN(3, 0), "hidden_size must be at least 1"),
        (lambda: DiagonalRNN(3, 4, "gelu"), "nonlinearity is 'gelu', but must be 'tanh' or 'relu'"),  # type: ignore[arg-type]
        (lambda: DiagonalRNN(3, 4, truncate=0), "truncate must be at least 1, got 0"),
        (lambda: DiagonalRNN(3, 4)(torch.ones(5, 2)), r"input must be .* got shape \[5, 2\]"),
        (lambda: DiagonalRNN(3, 4)(torch.ones(1, 5, 3), topology.chain(5)), "input must be"),
    ],
    ids=["no neuron", "another function", "no step", "another width", "sequences and a graph"],
)
def test_what_does_not_fit_is_named(call: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()
