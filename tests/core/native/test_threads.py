"""One thread or two: the same bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpnn import models
from mpnn.native.products import of_few_rows
from tests.compare import assert_close


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_of_few_rows_has_the_same_bits_on_any_number_of_threads(
    rows: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(rows)
    a = torch.randn(rows, 48, dtype=dtype, generator=generator)
    b = torch.randn(48, 64, dtype=dtype, generator=generator)
    assert_close(of_few_rows(a, b), a @ b, atol=1e-10 if dtype == torch.float64 else 1e-5)
    assert_one_result(lambda: differentiated(of_few_rows, a, b))


def differentiated(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The result, and the gradients of its squares."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]


def assert_one_result(run: Callable[[], list[Tensor]]) -> None:
    """Raise unless bits are the same on one thread and on two."""
    before = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(run())
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_attention_of_three_heads_has_the_same_bits_on_any_number_of_threads() -> None:
    num_nodes, generator = 30_000, torch.Generator().manual_seed(0)
    layer = models.GATConv(48, 16, heads=3)
    x = torch.randn(num_nodes, 48, generator=generator)
    edges = torch.randint(num_nodes, (2, 2 * num_nodes), generator=generator)
    assert_one_result(lambda: differentiated(lambda x, *_: layer(x, edges), x))
