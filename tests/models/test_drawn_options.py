"""Options of torch.nn's layers, drawn together: equal by kernels and edge by edge, or refused by both."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import mpnn
from mpnn import models
from tests.compare import assert_same

D = torch.float64
DRAWS = 24
REFUSALS = (ValueError, RuntimeError, AssertionError, TypeError, NotImplementedError)
Drawn = tuple[str, tuple[Any, ...], dict[str, Any], list[Tensor], dict[str, Any]]


def convolution(draw: random.Random) -> Drawn:
    d = draw.choice([1, 2, 3])
    each: Callable[[list[int]], Any] = lambda values: draw.choice(  # noqa: E731
        [draw.choice(values), tuple(draw.choice(values) for _ in range(d))]
    )
    options = {
        "kernel_size": each([1, 2, 3]),
        "stride": each([1, 1, 2]),
        "padding": draw.choice([each([0, 1, 2]), "same", "valid"]),
        "dilation": each([1, 1, 2]),
        "groups": draw.choice([1, 2, 4]),
        "bias": draw.random() < 0.5,
        "padding_mode": draw.choice(["zeros", "reflect", "replicate", "circular"]),
    }
    return f"Conv{d}d", (4, 8), options, [_image(draw, d)], {}


def transposed_convolution(draw: random.Random) -> Drawn:
    d = draw.choice([1, 2, 3])
    options = {
        "kernel_size": draw.choice([1, 2, 3]),
        "stride": draw.choice([1, 2, 3]),
        "padding": draw.choice([0, 1]),
        "output_padding": draw.choice([0, 0, 1]),
        "dilation": draw.choice([1, 2]),
        "groups": draw.choice([1, 2, 4]),
        "bias": draw.random() < 0.5,
    }
    return f"ConvTranspose{d}d", (4, 8), options, [_image(draw, d)], {}


def pooling(draw: random.Random) -> Drawn:
    d, kind = draw.choice([1, 2, 3]), draw.choice(["MaxPool", "AvgPool", "AdaptiveAvgPool"])
    x = _image(draw, d)
    if kind == "AdaptiveAvgPool":
        sizes = tuple(draw.choice([None, 1, 2, 5, 7]) for _ in range(d))
        return f"{kind}{d}d", (), {"output_size": draw.choice([3, sizes if d > 1 else 4])}, [x], {}
    options: dict[str, Any] = {
        "kernel_size": draw.choice([2, 3]),
        "stride": draw.choice([None, 1, 2, 3]),
        "padding": draw.choice([0, 1]),
        "ceil_mode": draw.random() < 0.5,
    }
    if kind == "MaxPool":
        options |= {"dilation": draw.choice([1, 2]), "return_indices": draw.random() < 0.5}
    else:
        options["count_include_pad"] = draw.random() < 0.5
        if d > 1:
            options["divisor_override"] = draw.choice([None, 1, 5])
    return f"{kind}{d}d", (), options, [x], {}


def recurrence(draw: random.Random) -> Drawn:
    name = draw.choice(["RNN", "GRU", "LSTM", "LSTM"])
    options: dict[str, Any] = {
        "num_layers": draw.choice([1, 2, 3]),
        "bidirectional": draw.random() < 0.5,
        "bias": draw.random() < 0.5,
        "batch_first": draw.random() < 0.5,
    }
    if name == "RNN":
        options["nonlinearity"] = draw.choice(["tanh", "relu"])
    if name == "LSTM":
        options["proj_size"] = draw.choice([0, 0, 2])
    shape = draw.choice([(5, 3), (3, 5, 3), (3, 5, 3)])
    inputs = [torch.randn(shape, dtype=D)]
    call: dict[str, Any] = {}
    batch = () if len(shape) == 2 else (3,) if options["batch_first"] else (5,)
    if batch and draw.random() < 0.4:
        sizes = [draw.randint(1, shape[1] if options["batch_first"] else shape[0]) for _ in range(batch[0])]
        call = {"lengths": sizes, "batch_first": options["batch_first"]}
    if draw.random() < 0.5:
        count = options["num_layers"] * (1 + options["bidirectional"])
        widths = (options.get("proj_size") or 4, 4)[: 1 + (name == "LSTM")]
        inputs += [torch.randn(count, *batch, width, dtype=D) for width in widths]
    return name, (3, 4), options, inputs, call


def attention(draw: random.Random) -> Drawn:
    options: dict[str, Any] = {
        "bias": draw.random() < 0.5,
        "add_bias_kv": draw.random() < 0.3,
        "add_zero_attn": draw.random() < 0.3,
        "kdim": draw.choice([None, 5]),
        "vdim": draw.choice([None, 3]),
        "batch_first": draw.random() < 0.5,
    }
    batch, heads, queries, keys = draw.choice([None, 3]), 2, 4, 6
    inputs = []
    for length, width in ((queries, 8), (keys, options["kdim"] or 8), (keys, options["vdim"] or 8)):
        x = torch.randn(batch or 1, length, width, dtype=D)
        x = x if options["batch_first"] else x.transpose(0, 1)
        inputs.append(x if batch else x.flatten(0, 1))
    call: dict[str, Any] = {"need_weights": draw.random() < 0.5, "average_attn_weights": draw.random() < 0.5}
    if draw.random() < 0.6:
        rows = draw.choice([(queries, keys), ((batch or 1) * heads, queries, keys)])
        call["attn_mask"] = _mask(draw, rows)
    if draw.random() < 0.5:
        kind = call["attn_mask"].dtype if "attn_mask" in call else None  # torch deprecates two types
        call["key_padding_mask"] = _mask(draw, (keys,) if batch is None else (batch, keys), kind)
    return "MultiheadAttention", (8, heads), options, inputs, call


def transformer(draw: random.Random) -> Drawn:
    decodes = draw.random() < 0.5
    options = {
        "dim_feedforward": 12,
        "dropout": 0.0,
        "activation": draw.choice(["relu", "gelu", torch.tanh]),
        "layer_norm_eps": draw.choice([1e-5, 0.1]),
        "batch_first": draw.random() < 0.5,
        "norm_first": draw.random() < 0.5,
        "bias": draw.random() < 0.5,
    }
    shapes = [(3, 5, 8), (3, 4, 8)][: 1 + decodes]
    if not options["batch_first"]:
        shapes = [(length, batch, width) for batch, length, width in shapes]
    own, call = "tgt" if decodes else "src", {}
    if draw.random() < 0.6:
        call[f"{own}_mask"] = _mask(draw, (5, 5))
    if draw.random() < 0.5:
        kind = call[f"{own}_mask"].dtype if call else None
        call[f"{own}_key_padding_mask"] = _mask(draw, (3, 5), kind)
    if decodes and draw.random() < 0.5:
        call["memory_mask"] = _mask(draw, (5, 4))
    name = "TransformerDecoderLayer" if decodes else "TransformerEncoderLayer"
    return name, (8, 2), options, [torch.randn(shape, dtype=D) for shape in shapes], call


def _image(draw: random.Random, dimensions: int) -> Tensor:
    return torch.randn(*draw.choice([(2, 4), (4,)]), *(7, 5, 6)[:dimensions], dtype=D)


def _mask(draw: random.Random, shape: tuple[int, ...], kind: torch.dtype | None = None) -> Tensor:
    hidden = torch.rand(shape) < 0.4
    hidden[..., 0] = False  # conventions differ for a query without keys
    kind = draw.choice([torch.bool, D]) if kind is None else kind
    return hidden if kind is torch.bool else torch.randn(shape, dtype=D).masked_fill(hidden, -torch.inf)


class On(nn.Module):
    """A module on a backend, called with the same options every time."""

    def __init__(self, module: nn.Module, backend: str, call: dict[str, Any]) -> None:
        super().__init__()
        self.module, self.backend, self.call = module, backend, call

    def forward(self, x: Any, *rest: Tensor) -> Any:
        given: tuple[Any, ...] = rest
        call = dict(self.call)
        if isinstance(self.module, nn.RNNBase):
            given = () if not rest else rest if len(rest) == 1 else (rest,)
            if call:
                x, call = pack_padded_sequence(x, **call, enforce_sorted=False), {}
        with mpnn.backend(self.backend):
            out = self.module(x, *given, **call)
        if isinstance(out, tuple) and isinstance(out[0], PackedSequence):
            return out[0].data, out[0].batch_sizes, out[1]
        return out


@pytest.mark.parametrize("seed", range(DRAWS))
@pytest.mark.parametrize(
    "family", [convolution, transposed_convolution, pooling, recurrence, attention, transformer]
)
def test_options_drawn_together_equal_torch_or_are_refused(
    family: Callable[[random.Random], Drawn], seed: int
) -> None:
    torch.manual_seed(seed)
    name, args, options, inputs, call = family(random.Random(seed))
    numbers = {} if "Pool" in name else {"dtype": D}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        try:
            theirs = getattr(nn, name)(*args, **options, **numbers)
            On(theirs, "auto", call)(*inputs)
        except REFUSALS:
            for backend in ("dense", "eager"):
                with pytest.raises(REFUSALS):
                    On(getattr(models, name)(*args, **options, **numbers), backend, call)(*inputs)
            return
        ours = getattr(models, name)(*args, **options, **numbers)
        ours.load_state_dict(theirs.state_dict())
        for backend in ("dense", "eager"):
            assert_same(On(ours, backend, call), On(theirs, "auto", call), inputs)
