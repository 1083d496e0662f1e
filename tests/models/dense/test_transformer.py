"""Transformers equal torch.nn's, by their kernels and edge by edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models, topology
from tests.compare import assert_close, assert_same

BACKENDS = ["dense", "eager"]
OPTIONS: list[dict[str, Any]] = [
    {"batch_first": first, "norm_first": norm, "bias": bias, "activation": activation}
    for first, norm, (bias, activation) in product(
        [True, False], [True, False], [(True, "relu"), (False, "gelu"), (True, torch.tanh)]
    )
]
PADDING = torch.arange(5) >= torch.tensor([[5], [3], [1]])


class On(nn.Module):
    """A module on a backend, with some arguments fixed."""

    def __init__(self, module: nn.Module, backend: str = "auto", **options: Any) -> None:
        super().__init__()
        self.module, self.backend, self.options = module, backend, options

    def forward(self, *inputs: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.module(*inputs, **self.options)


def pair(name: str, *args: Any, **options: Any) -> tuple[nn.Module, nn.Module]:
    options = {"dropout": 0.0, "dim_feedforward": 12, "dtype": torch.float64, **options}
    ours, theirs = getattr(models, name)(8, 2, *args, **options), getattr(nn, name)(8, 2, *args, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def _named(value: Any) -> str:
    return getattr(
        value, "__name__", str(value)
    )  # a function's repr holds its address, which differs by process


def sequence(length: int, batch_first: bool) -> Tensor:
    return torch.randn((3, length, 8) if batch_first else (length, 3, 8), dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(map(_named, options.values())))
def test_layers_equal_torch(options: dict[str, Any], backend: str) -> None:
    src, memory = sequence(5, options["batch_first"]), sequence(4, options["batch_first"])
    square = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for given in (
        {},
        {"src_mask": square},
        {"src_key_padding_mask": PADDING},
        {"src_mask": square, "is_causal": True},
    ):
        ours, theirs = pair("TransformerEncoderLayer", **options)
        assert_same(On(ours, backend, **given), On(theirs, **given), [src])
    for given in (
        {},
        {"tgt_mask": square, "tgt_is_causal": True, "memory_key_padding_mask": PADDING[:, :4]},
        {"tgt_key_padding_mask": PADDING, "memory_mask": torch.rand(5, 4) < 0.3},
    ):
        ours, theirs = pair("TransformerDecoderLayer", **options)
        assert_same(On(ours, backend, **given), On(theirs, **given), [src, memory])


def test_dropout_drops_what_torch_drops() -> None:
    for name, inputs in (("TransformerEncoderLayer", 1), ("TransformerDecoderLayer", 2)):
        ours, theirs = pair(name, dropout=0.3)
        assert_same(On(ours), On(theirs), [sequence(5, False)] * inputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_whole_model_equals_torch(batch_first: bool, backend: str) -> None:
    options = {
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "batch_first": batch_first,
        "norm_first": True,
    }
    with pytest.warns(UserWarning, match="enable_nested_tensor"):
        ours, theirs = pair("Transformer", **options)
    causal = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    inputs = [sequence(5, batch_first), sequence(4, batch_first)]
    for given in (
        {},
        {"tgt_mask": causal},
        {"src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING, "tgt_mask": causal.isinf()},
        {
            "src_mask": nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64),
            "tgt_is_causal": None,
        },
    ):
        assert_same(On(ours, backend, **given), On(theirs, **given), inputs)


@pytest.mark.parametrize("batch_first", [True, False])
def test_evaluation_equals_torch(batch_first: bool) -> None:
    encoder = models.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first, dtype=torch.float64)
    theirs_layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first, dtype=torch.float64)
    ours = models.TransformerEncoder(encoder, 2).eval()
    theirs = nn.TransformerEncoder(theirs_layer, 2, enable_nested_tensor=False).eval()
    ours.load_state_dict(theirs.state_dict())
    x = sequence(5, batch_first)
    with torch.inference_mode():
        assert_close(ours(x, src_key_padding_mask=PADDING), theirs(x, src_key_padding_mask=PADDING))


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_attention_follows_the_edges_of_a_graph(backend: str) -> None:
    graph, memory_graph = topology.causal(5), topology.complete_bipartite(4, 5)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    x, memory = torch.randn(5, 8, dtype=torch.float64), torch.randn(4, 8, dtype=torch.float64)
    encoder = models.TransformerEncoder(
        models.TransformerEncoderLayer(8, 2, 12, dtype=torch.float64), 2, nn.Identity()
    )
    encoder.eval()
    layer = models.TransformerDecoderLayer(8, 2, 12, dtype=torch.float64)
    decoder = models.TransformerDecoder(layer, 2, nn.Identity()).eval()
    wanted: Callable[..., Tensor] = lambda x, m: decoder(encoder(x, mask), m, mask)  # noqa: E731
    found: Callable[..., Tensor] = lambda x, m: decoder(  # noqa: E731
        encoder(x, graph=graph), m, graph=graph, memory_graph=memory_graph
    )

    def on(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*inputs: Tensor) -> Tensor:
            with mpnn.backend(backend):
                return function(*inputs)

        return run

    assert_same(on(found), on(wanted), [x, memory])


def test_nested_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="enable_nested_tensor is True"):
        models.TransformerEncoder(models.TransformerEncoderLayer(8, 2), 2, enable_nested_tensor=True)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_positions_are_sines_and_cosines(width: int) -> None:
    out = models.SinusoidalPositions(width, batch_first=True)(torch.zeros(2, 30, width))
    for t, c in product(range(30), range(width)):
        angle = t / 10000 ** (2 * (c // 2) / width)
        wanted = math.sin(angle) if c % 2 == 0 else math.cos(angle)
        assert abs(out[1, t, c].item() - wanted) < 1e-5  # float32
    turned = models.SinusoidalPositions(width)(torch.zeros(30, 2, width))
    assert_close(turned, out.transpose(0, 1))


def test_positions_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must end with a length and d_model = 6"):
        models.SinusoidalPositions(6)(torch.zeros(3, 4))
