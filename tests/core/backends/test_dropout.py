"""Dropout by counter: PyTorch's distribution, repeatable by a seed, the same mask forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.native.dropout import dropout
from mpnn.native.reach import in_reach
from tests.compare import assert_close


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_scales_the_rest(dtype: torch.dtype, p: float) -> None:
    count = 200_000
    out = dropout(torch.ones(count, dtype=dtype), p)
    assert out.dtype == dtype
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - p))]
    # Within five standard deviations; so is each place within a row of the kernel.
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / count) ** 0.5)
    places = (dropout(torch.ones(500, 1024, dtype=dtype), p) == 0).double().mean(dim=0)
    assert_close(places, torch.full_like(places, p), atol=6 * (p * (1 - p) / 500) ** 0.5)


def test_neighbours_are_dropped_independently() -> None:
    kept = dropout(torch.ones(400_000), 0.5) > 0
    for distance in (1, 2, 7, 1024):
        agree = (kept[distance:] == kept[:-distance]).double().mean().item()
        assert agree == pytest.approx(0.5, abs=5 * (0.25 / 400_000) ** 0.5)


def test_a_seed_decides_the_mask_and_each_call_has_its_own(threads: None) -> None:
    def draw(seed: int, number: int) -> list[Tensor]:
        torch.set_num_threads(number)
        torch.manual_seed(seed)
        return [dropout(torch.ones(100_000), 0.5) for _ in range(2)]

    first, second = draw(1, 1)
    assert not torch.equal(first, second)
    assert all(map(torch.equal, (first, second), draw(1, 2)))
    assert not torch.equal(first, draw(2, 1)[0])


def test_the_gradient_sees_the_mask_of_the_forward_pass_to_every_order() -> None:
    x = torch.randn(7, 5, dtype=torch.float64).requires_grad_()

    def dropped(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return dropout(x, 0.4).sin()

    assert torch.autograd.gradcheck(dropped, x)
    assert torch.autograd.gradgradcheck(dropped, x)
    assert torch.autograd.gradcheck(dropped, x, check_batched_grad=True)


def test_the_layout_of_the_input_does_not_matter() -> None:
    x = torch.randn(30, 40)
    outs = []
    for same in (x, x.t().contiguous().t(), torch.cat([x, x], 1)[:, :40]):
        torch.manual_seed(0)
        outs.append(dropout(same, 0.5))
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1025,)])
def test_odd_shapes(shape: tuple[int, ...]) -> None:
    out = dropout(torch.ones(shape), 0.5)
    assert out.shape == shape
    assert set(out.flatten().tolist()) <= {0.0, 2.0}


def test_without_training_or_probability_the_input_comes_back() -> None:
    x = torch.ones(3)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert dropout(x, 1.0).tolist() == [0, 0, 0]
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"p is {p}, but must be from 0 to 1"):
            dropout(x, p)


def test_where_pytorch_must_see_every_operation_it_is_pytorchs() -> None:
    x = torch.ones(1000)
    assert in_reach(x)
    assert not in_reach(x.bfloat16()) and not in_reach(x.to("meta")) and not in_reach(x.to_sparse())
    assert dropout(x.bfloat16(), 0.5).dtype == torch.bfloat16
    torch.manual_seed(0)
    gradient = torch.func.grad(lambda x: dropout(x, 0.5).sum())(x)
    torch.manual_seed(0)
    assert torch.equal(gradient, F.dropout(x, 0.5))
    batched = torch.func.vmap(lambda x: dropout(x, 0.5), randomness="different")(torch.ones(4, 50))
    assert set(batched.flatten().tolist()) == {0.0, 2.0}
