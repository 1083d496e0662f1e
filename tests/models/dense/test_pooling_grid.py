"""Pooling equals torch.nn's, by its kernels and edge by edge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models, topology
from tests.compare import assert_close, assert_same

WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
]
CASES: list[tuple[str, int, dict[str, Any]]] = []
for _d in (1, 2, 3):
    for _options in WINDOWS:
        CASES += [
            (f"MaxPool{_d}d", _d, _options),
            (f"MaxPool{_d}d", _d, {**_options, "return_indices": True}),
        ]
        CASES += [(f"AvgPool{_d}d", _d, {**_options, "count_include_pad": pad}) for pad in (True, False)]
        if _d > 1:
            CASES.append((f"AvgPool{_d}d", _d, {**_options, "divisor_override": 3}))
    CASES.append((f"MaxPool{_d}d", _d, {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2}))
    CASES += [(f"AdaptiveAvgPool{_d}d", _d, {"output_size": size}) for size in (1, 3, 7)]
CASES += [
    ("AdaptiveAvgPool2d", 2, {"output_size": (None, 2)}),
    ("MaxPool2d", 2, {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (1, 3)}),
    ("AvgPool3d", 3, {"kernel_size": (1, 2, 3), "stride": (1, 1, 2), "padding": (0, 1, 1)}),
]


class On(nn.Module):
    """A module on a backend."""

    def __init__(self, module: nn.Module, backend: str = "auto") -> None:
        super().__init__()
        self.module, self.backend = module, backend

    def forward(self, x: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.module(x)


@pytest.mark.parametrize("backend", ["dense", "eager"])
@pytest.mark.parametrize(("name", "dimensions", "options"), CASES, ids=str)
def test_every_option_equals_torch(name: str, dimensions: int, options: dict[str, Any], backend: str) -> None:
    ours, theirs = getattr(models, name)(**options), getattr(nn, name)(**options)
    for lead in ((2, 3), (3,)):
        x = torch.randn(*lead, *(7, 5, 6)[:dimensions], dtype=torch.float64)
        assert_same(On(ours, backend), On(theirs), [x])


@pytest.mark.parametrize("backend", ["dense", "eager"])
@pytest.mark.parametrize("name", ["MaxPool2d", "AvgPool2d"])
def test_nodes_of_a_grid_are_pixels(name: str, backend: str) -> None:
    ours, theirs = getattr(models, name)(2), getattr(nn, name)(2)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    grid = topology.grid((6, 6), 2, stride=2, batch=3)
    with mpnn.backend(backend):
        found = ours(x.movedim(1, -1).reshape(-1, 4), graph=grid)
    assert_close(found, theirs(x).movedim(1, -1).reshape(-1, 4))


def test_on_any_graph_it_is_the_largest_neighbour() -> None:
    x = torch.tensor([[1.0], [5.0], [2.0]])
    out = models.MaxPool1d(2)(x, graph=torch.tensor([[0, 2, 1], [1, 1, 0]]))
    assert out.tolist() == [[5.0], [2.0], [0.0]]


def test_what_has_no_meaning_is_refused() -> None:
    x, graph = torch.zeros(4, 1), topology.complete(4)
    with pytest.raises(ValueError, match="return_indices is True with a graph"):
        models.MaxPool2d(2, return_indices=True)(x, graph=graph)
    with pytest.raises(ValueError, match="divisor_override was given with a graph"):
        models.AvgPool2d(2, divisor_override=3)(x, graph=graph)
    with mpnn.backend("eager"):
        with pytest.raises(ValueError, match="padding is 2, but must be at most half the window"):
            models.MaxPool1d(3, padding=2)(torch.zeros(1, 8))
        with pytest.raises(ValueError, match=r"needs \[batch, channels, \*\] or one such image"):
            models.MaxPool1d(3)(torch.zeros(8))
