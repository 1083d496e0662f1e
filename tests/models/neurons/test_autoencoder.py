"""Autoencoders against stacks of PyTorch's layers, matrices with zeros, and principal components."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor, nn

import mpnn
from mpnn import Graph
from mpnn.models import Autoencoder, AutoencoderLayer, MaskingNoise
from tests.compare import assert_close, assert_same


class Plain(nn.Module):
    """8-6-3-6-8 of `torch.nn`, with the names of ours; tied, the layers back have but a bias."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for width, narrow in ((8, 6), (6, 3)):
            back: nn.Module = nn.Linear(narrow, width)
            if tied:
                del back.weight
            self.layers.append(nn.ModuleDict({"encoder": nn.Linear(width, narrow), "decoder": back}))

    def forward(self, x: Tensor) -> Tensor:
        first, second = ((layer["encoder"], layer["decoder"]) for layer in self.layers)  # type: ignore[index]
        h = second[0](torch.tanh(first[0](x)))
        for there, back, function in ((*second, torch.tanh), (*first, torch.sigmoid)):
            weight = back.weight if "weight" in dict(back.named_parameters()) else there.weight.T
            h = function(F.linear(h, weight, back.bias))
        return h


@pytest.mark.parametrize("backend", ["eager", "dense", "auto"])
@pytest.mark.parametrize("tied", [False, True])
def test_it_is_a_stack_of_linear_layers_there_and_back(tied: bool, backend: str) -> None:
    torch.manual_seed(0)
    ours = Autoencoder([8, 6, 3], "tanh", out_activation="sigmoid", tied=tied).double()
    for parameter in ours.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    theirs = Plain(tied).double()
    theirs.load_state_dict(ours.state_dict())
    with mpnn.backend(backend):
        assert_same(ours, theirs, (torch.rand(5, 8, dtype=torch.float64),))
        assert ours(torch.rand(2, 3, 8, dtype=torch.float64)).shape == (2, 3, 8)
        assert ours(torch.rand(8, dtype=torch.float64)).shape == (8,)


@pytest.mark.parametrize("tied", [False, True])
def test_on_a_sparse_graph_it_is_matrices_with_zeros(tied: bool) -> None:
    torch.manual_seed(0)
    keep = torch.rand(4, 7) < 0.5
    dst, src = keep.nonzero().T
    graph = Graph(torch.stack([src, dst]), (7, 4))
    layer = AutoencoderLayer(7, 4, activation="tanh", tied=tied, graph=graph).double()
    weight = layer.encoder.weight
    assert weight.shape == (graph.num_edges,)
    back = weight if tied else layer.get_parameter("decoder.weight")
    assert back.shape == weight.shape

    def dense(x: Tensor) -> Tensor:
        there, again = (torch.zeros(4, 7, dtype=x.dtype).index_put((dst, src), w) for w in (weight, back))
        h = torch.tanh(x @ there.T + layer.encoder.bias)
        return h @ again + layer.get_parameter("decoder.bias")

    x = torch.randn(5, 7, dtype=torch.float64)
    assert_close(layer(x), dense(x), atol=1e-12)
    for ours, theirs in zip(
        *(torch.autograd.grad(one(x).square().sum(), list(layer.parameters())) for one in (layer, dense)),
        strict=True,
    ):
        assert_close(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_a_linear_one_finds_the_principal_components(tied: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 6, dtype=torch.float64) @ torch.diag(torch.tensor([4, 3, 2, 0.5, 0.4, 0.3]).double())
    model = Autoencoder([6, 3], tied=tied).double()
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=2000,
        tolerance_grad=1e-13,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = F.mse_loss(model(x), x)
        error.backward()
        return error

    optimizer.step(loss)
    components = PCA(3).fit(x.numpy())
    rebuilt = components.inverse_transform(components.transform(x.numpy()))
    assert loss().item() == pytest.approx(((rebuilt - x.numpy()) ** 2).mean(), abs=1e-8)
    # The subspace: what is decoded is the projection, whatever the basis of the code.
    back = model.decode(torch.eye(3).double()) - model.decode(torch.zeros(1, 3).double())
    basis = np.linalg.qr(back.detach().numpy().T)[0]
    assert np.abs(basis @ basis.T - components.components_.T @ components.components_).max() < 1e-5
    assert_close(model(x), torch.from_numpy(rebuilt), atol=1e-5)


def test_masking_noise_masks_its_share_and_scales_nothing() -> None:
    torch.manual_seed(0)
    noise, x = MaskingNoise(0.3), torch.full((200, 200), 2.0)
    masked = noise(x)
    assert set(masked.unique().tolist()) == {0.0, 2.0}
    assert float((masked == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(noise.eval()(x), x)


def test_only_in_training_the_input_is_spoiled_before_it_is_encoded() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder([8, 4], corruption=1.0), torch.rand(3, 8)
    assert_close(model(x), model(torch.zeros(3, 8)), atol=0)
    model.eval()
    assert_close(model(x), model.decode(model.encode(x)), atol=0)
    own = nn.Dropout(0.5)
    assert Autoencoder([8, 4, 2], corruption=[own, 0.2]).layers[0].corruption is own


def test_layers_are_trained_one_after_the_other() -> None:
    torch.manual_seed(0)
    x = torch.rand(60, 12)
    model = Autoencoder([12, 8, 4], "sigmoid", code_activation="sigmoid", out_activation="sigmoid",
                        tied=True, corruption=[0.1, 0.2]).double()  # fmt: skip
    before = F.mse_loss(model.eval()(x.double()), x.double()).item()
    seen = []
    for layer, h in model.train().stages(x.double()):
        seen.append(h)
        optimizer = torch.optim.Adam(layer.parameters(), 0.05)
        for _ in range(60):
            optimizer.zero_grad()
            F.mse_loss(layer(h), h).backward()
            optimizer.step()
    first = model.layers[0]
    assert isinstance(first, AutoencoderLayer)
    assert torch.equal(seen[0], x.double())
    assert_close(seen[1], first.encode(x.double()), atol=0)  # of the first layer as it has been trained
    assert F.mse_loss(model.eval()(x.double()), x.double()).item() < 0.9 * before


def test_eight_layers_of_relus_begin_to_learn() -> None:
    # With the weights of `torch.nn.Linear` the output would hardly depend on the input.
    torch.manual_seed(0)
    model, x = Autoencoder([100, 80, 60, 40, 20]), torch.randn(50, 100)
    assert model(x).var(0).mean().item() > 0.05


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: Autoencoder([8]), ValueError, r"widths must be at least 2 whole numbers, got \[8\]"),
        (lambda: Autoencoder(8), ValueError, "widths must be at least 2 whole numbers, got 8"),  # type: ignore[arg-type]
        (lambda: Autoencoder([8, 0]), ValueError, r"widths\[1\] must be at least 1, got 0"),
        (lambda: Autoencoder([8, 2.5]), TypeError, r"widths\[1\] must be a whole number, got 2.5"),  # type: ignore[list-item]
        (
            lambda: Autoencoder([8, 4], graphs=[None, None]),
            ValueError,
            "graphs has 2 entries, but the widths",
        ),
        (lambda: Autoencoder([8, 4], corruption=2.0), ValueError, "corruption must be a probability"),
        (
            lambda: Autoencoder([8, 4], corruption=[0.1] * 3),
            ValueError,
            "corruption has 3 entries, but the widths",
        ),
        (lambda: Autoencoder([8, 4], "loud"), ValueError, "act is 'loud', but must be one of"),
        (
            lambda: Autoencoder([8, 4], graphs=[Graph(torch.tensor([[0], [0]]), (8, 3))]),
            ValueError,
            r"graph has size \(8, 3\), but must be",
        ),
        (
            lambda: Autoencoder([8, 4])(torch.ones(2, 7)),
            ValueError,
            r"x must be \[\*, 8\], got shape \[2, 7\]",
        ),
        (
            lambda: Autoencoder([8, 4]).decode(torch.ones(())),
            ValueError,
            r"h must be \[\*, 4\], got shape \[\]",
        ),
        (lambda: MaskingNoise(float("nan")), ValueError, "p must be a probability, from 0 to 1, got nan"),
    ],
)
def test_a_mistake_is_one_sentence(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)
