"""Every layer with a namesake in torch.nn exchanges weights with it, and takes an empty batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models
from tests.compare import assert_same

D = torch.float64
# Name, arguments, options, and the shape of a batch of nothing.
CASES: list[tuple[str, tuple[float, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (3, 4), {}, (0, 3)),
    ("Conv1d", (4, 8, 3), {"groups": 2}, (0, 4, 6)),
    ("Conv2d", (4, 8, 3), {"padding": 1, "padding_mode": "circular"}, (0, 4, 6, 5)),
    ("Conv2d", (4, 8, 3), {"padding": 1, "padding_mode": "reflect", "bias": False}, (0, 4, 6, 5)),
    ("Conv3d", (2, 3, 2), {"padding": "same"}, (0, 2, 4, 3, 3)),
    ("ConvTranspose1d", (4, 8, 3), {}, (0, 4, 6)),
    ("ConvTranspose2d", (4, 8, 3), {"stride": 2, "output_padding": 1}, (0, 4, 6, 5)),
    ("ConvTranspose3d", (2, 3, 2), {}, (0, 2, 4, 3, 3)),
    ("MaxPool2d", (2,), {"return_indices": True}, (0, 3, 6, 6)),
    ("AvgPool2d", (2,), {"padding": 1}, (0, 3, 6, 6)),
    ("AvgPool2d", (2,), {"divisor_override": 3}, (0, 3, 6, 6)),
    ("AdaptiveAvgPool2d", (4,), {}, (0, 3, 6, 6)),
    ("RNN", (3, 4), {"nonlinearity": "relu"}, (5, 0, 3)),
    ("GRU", (3, 4), {"batch_first": True, "num_layers": 2}, (0, 5, 3)),
    ("LSTM", (3, 4), {"bidirectional": True, "proj_size": 2}, (5, 0, 3)),
    ("MultiheadAttention", (8, 2), {"add_bias_kv": True, "kdim": 8, "vdim": 8}, (5, 0, 8)),
    ("TransformerEncoderLayer", (8, 2, 12, 0.0), {"layer_norm_eps": 0.1}, (5, 0, 8)),
    ("TransformerDecoderLayer", (8, 2, 12, 0.0), {"layer_norm_eps": 0.1}, (5, 0, 8)),
]
INPUTS = {"MultiheadAttention": 3, "TransformerDecoderLayer": 2}


def pair(name: str, args: tuple[float, ...], options: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    options = options if "Pool" in name else {**options, "dtype": D}
    return getattr(models, name)(*args, **options), getattr(nn, name)(*args, **options)


class On(nn.Module):
    """A module on a backend."""

    def __init__(self, module: nn.Module, backend: str = "auto") -> None:
        super().__init__()
        self.module, self.backend = module, backend

    def forward(self, *inputs: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.module(*inputs)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("backend", ["dense", "eager"])
@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES, ids=str)
def test_weights_go_both_ways_and_a_batch_may_be_empty(
    name: str, args: tuple[float, ...], options: dict[str, Any], shape: tuple[int, ...], backend: str
) -> None:
    ours, theirs = pair(name, args, options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    several = tuple(extent or 2 for extent in shape)
    for one in (several, shape):
        inputs = [torch.randn(one, dtype=D) for _ in range(INPUTS.get(name, 1))]
        assert_same(On(ours, backend), On(theirs), inputs)


@pytest.mark.parametrize("name", ["Conv2d", "LSTM", "MultiheadAttention", "TransformerEncoderLayer"])
def test_a_missing_weight_and_one_too_many_are_refused(name: str) -> None:
    args, options = next((args, options) for other, args, options, _ in CASES if other == name)
    ours, theirs = pair(name, args, options)
    weights = theirs.state_dict()
    missing = next(iter(weights))
    del weights[missing]
    with pytest.raises(RuntimeError, match=rf'Missing key.*"{missing}"'):
        ours.load_state_dict(weights)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"surplus"'):
        ours.load_state_dict({**theirs.state_dict(), "surplus": torch.zeros(1)})
