"""Truth values, whole numbers and half precision inside a message: by PyTorch's rules, not by C's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import propagate
from mpnn.aggregate.reduce import scatter
from mpnn.backends.triton import has_triton
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, EAGER, KERNEL, assert_like_eager

graph = random_graph(9, 30)
generator = torch.Generator().manual_seed(3)
x = torch.randn(9, 3, dtype=torch.float64, generator=generator)
x[0] = 0
e = torch.randn(30, 3, dtype=torch.float64, generator=generator)
BACKENDS = [
    "cpu",
    pytest.param("triton", marks=pytest.mark.skipif(not has_triton(), reason="Triton is not installed")),
]

TRUTHS: dict[str, Callable[..., Tensor]] = {
    "a quotient of two": lambda x_i, x_j, e: (x_j > 0) / (x_i > 0),
    "a quotient by one": lambda x_i, x_j, e: e / (x_j > 0),
    "a sum": lambda x_i, x_j, e: ((x_j > 0) + (x_i > 0)) * e,
    "a product": lambda x_i, x_j, e: ((x_j > 0) * (x_i > 0)) * e,
    "a rest": lambda x_i, x_j, e: e.remainder(x_j > -5),
    "and, or, not": lambda x_i, x_j, e: (((x_j > 0) & (x_i > 0)) | ~(e > 0)) * e,
    "either": lambda x_i, x_j, e: ((x_j > 0) ^ (x_i > 0)) * e,
    "a literal": lambda x_i, x_j, e: ((x_j > 0) & True) * e,
    "side by side": lambda x_i, x_j, e: torch.where(
        torch.cat([x_j > 0, x_i > 0], -1) & torch.cat([e > 0, x_i > 0], -1), torch.cat([e, x_j], -1), 1.0
    ),
    "a choice": lambda x_i, x_j, e: torch.where(x_j > 0, x_i > 0, e > 0) * e,
    "the larger": lambda x_i, x_j, e: torch.maximum(x_j > 0, x_i > 0) * e,
    "the largest": lambda x_i, x_j, e: (x_j > e).amax(-1, keepdim=True) * e,
    "any and all": lambda x_i, x_j, e: ((x_j > e).any(-1) | (x_i > e).all(-1)).unsqueeze(-1) * e,
    "equal": lambda x_i, x_j, e: ((x_j > 0) == (x_i > 0)) * e,
    "of numbers": lambda x_i, x_j, e: (torch.logical_not(x_j) | torch.logical_and(x_i, e)) * e,
    "how many": lambda x_i, x_j, e: (x_j > e).sum(-1, keepdim=True) * e,
    "half of how many": lambda x_i, x_j, e: (x_j > e).sum(-1, keepdim=True) / 2 + e,
    "more than one": lambda x_i, x_j, e: ((x_j > e).sum(-1, keepdim=True) > 1) * e,
}
WHOLE: dict[str, Callable[..., Tensor]] = {
    "halved": lambda x_i, x_j, e: ((x_j > e).sum(-1, keepdim=True) // 2) * e,
    "rest": lambda x_i, x_j, e: ((x_j > e).sum(-1, keepdim=True) % 2) * e,
    "shifted": lambda x_i, x_j, e: ((x_j > e).sum(-1, keepdim=True) << 62 << 1 >> 62) * e,
    "chosen": lambda x_i, x_j, e: torch.where(x_j > 0, 3, -2) // 2 * e,
    "rounded": lambda x_i, x_j, e: (x_j * 3).long() * e,
    "as large as can be": lambda x_i, x_j, e: ((x_j > 0).long() + 2**63 - 1) * e,
}


def assert_right(backend: str, message: Callable[..., Any], way: str | None) -> None:
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    given = {"x": x.to(device), "e": e.to(device)}
    assert_like_eager(graph.to(device), message, "sum", given, backend=backend, way=way)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TRUTHS)
def test_truth_values_are_computed_with_as_pytorch_does(name: str, backend: str) -> None:
    assert_right(backend, TRUTHS[name], KERNEL)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_left_to_pytorch(name: str) -> None:
    assert_right("cpu", WHOLE[name], EAGER if name == "shifted" else CHUNKS)


def test_numbers_divided_by_the_whole_number_zero_are_infinite() -> None:
    # Of two truth values C makes a division of whole numbers, which ends the process.
    out = propagate(graph, lambda x_i, x_j: (x_j == x_j) / (x_i != x_i), "max", x=x)
    assert bool((out[graph.in_degree > 0] == torch.inf).all())


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_truth_values_are_aggregated(backend: str) -> None:
    truth = torch.rand(9, 4, generator=generator) > 0.5
    arrived = truth[graph.src]
    expected = {
        "mean": scatter(arrived.float(), graph.dst, 9, "mean"),
        "max": scatter(arrived.float(), graph.dst, 9, "max") > 0,
        "min": scatter(arrived.float(), graph.dst, 9, "min") > 0,
    }
    for aggr, right in expected.items():
        with mpnn.backend(backend):
            assert_close(propagate(graph, lambda t_j: t_j, aggr, t=truth), right, 1e-6, aggr)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_in_half_precision_are_compared_as_they_would_be_stored(
    dtype: torch.dtype, backend: str
) -> None:
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    given: dict[str, Any] = {"x": x.to(device, dtype), "y": (x[:, [1, 0, 2]] * x).to(device, dtype)}
    tenth = torch.full((9, 3), 0.1, dtype=dtype, device=device)

    def compared(x_i: Tensor, x_j: Tensor, y_i: Tensor, tenth_j: Tensor) -> Tensor:
        product = x_i * x_i[:, [1, 0, 2]]
        columns = [
            product == y_i, product != y_i, product < y_i, product <= y_i, product > y_i, product >= y_i,
            tenth_j == 0.1, tenth_j < 0.1, tenth_j != 0.1,
        ]  # fmt: skip
        return torch.cat([column * (1 + 0 * x_j) for column in columns], -1)

    found = []
    for way in (backend, "eager"):
        with mpnn.backend(way):
            found.append(propagate(graph.to(device), compared, "max", tenth=tenth, **given).cpu())
    assert_close(found[0], found[1], 0)
    equal, unequal = found[0][:, :3], found[0][:, 3:6]
    assert not bool(((equal == 1) & (unequal == 1)).any())
