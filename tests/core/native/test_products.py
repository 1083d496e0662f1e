"""Products of tall matrices equal PyTorch's, whichever library computes them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.native import products
from mpnn.native.products import added, gram, linear, matmul, multiply

SHAPES = [(1500, 64, 64), (1024, 3, 1), (1111, 37, 22), (1300, 16, 70), (5000, 1, 5), (300, 300, 260)]


@pytest.fixture(autouse=True, params=["oneDNN", "as it is"])
def _all_are_large(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALL", 0)
    if request.param == "oneDNN":  # on processors of Intel's too
        if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            pytest.skip("this PyTorch has no oneDNN")
        monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(
        dtype
    )


def assert_near(ours: Tensor, theirs: Tensor, terms: int) -> None:
    """Both computed from the same numbers; a sum of `terms` products in float32 loses some last bits."""
    tolerance = 1e-10 if ours.dtype == torch.float64 else 1e-6 * terms**0.5
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_linear_map_and_its_gradients_are_those_of_torch(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    rows, width, out = shape
    given = [draw(rows, width), draw(out, width), draw(out)]
    ours = [t.to(dtype).requires_grad_() for t in given]
    theirs = [t.detach().double().requires_grad_() for t in ours]
    gradient = draw(rows, out)
    y = linear(*ours)
    z = F.linear(*theirs)
    assert_near(y, z, width)
    y.backward(gradient.to(dtype))
    z.backward(gradient.double())
    for mine, other, terms in zip(ours, theirs, (out, rows, rows), strict=True):
        assert mine.grad is not None and other.grad is not None
        assert_near(mine.grad, other.grad, terms)


def test_any_layout_in_memory_gives_the_same() -> None:
    wide = draw(900, 48)
    xs = [wide[:, :24], wide[:, ::2], draw(24, 900).t(), draw(1, 24).expand(900, 24), draw(1800, 24)[::2]]
    tall = draw(20, 48)
    weights = [tall[:, :24], tall[:, 1::2], draw(24, 20).t(), draw(1, 1).expand(20, 24)]
    for x in xs:
        for weight in weights:
            assert_near(
                linear(x, weight, draw(40)[::2]),
                F.linear(x.double(), weight.double(), draw(40)[::2].double()),
                24,
            )
            assert_near(gram(x, x[:, 3:7]), x.double().t() @ x.double()[:, 3:7], 900)


def test_part_of_a_matrix_is_no_slower_than_a_whole_one() -> None:
    x, wide = draw(8192, 64), draw(64, 128)

    def seconds(weight: Tensor) -> float:
        linear(x, weight)
        begin = time.perf_counter()
        for _ in range(3):
            linear(x, weight)
            gram(x, x[:, :40])
        return time.perf_counter() - begin

    # oneDNN's code for any strides is a thousand times as slow; a busy machine a few times.
    part, whole = (min(seconds(x) for _ in range(3)) for x in (wide[:, :64], wide[:, :64].contiguous()))
    assert part < 50 * whole


def test_rows_in_several_dimensions() -> None:
    x, weight = draw(4, 5, 60, 8).requires_grad_(), draw(3, 8)
    out = linear(x, weight)
    assert out.shape == (4, 5, 60, 3)
    assert_near(out, F.linear(x.double(), weight.double()), 8)
    (found,) = torch.autograd.grad(out.sum(), x)
    assert_near(found, weight.sum(0).double().expand_as(x), 3)


def test_an_expanded_gradient_and_what_is_frozen() -> None:
    x, weight, bias = draw(700, 6), draw(5, 6).requires_grad_(), draw(5).requires_grad_()
    linear(x, weight, bias).sum().backward()
    assert weight.grad is not None and bias.grad is not None and x.grad is None
    assert_near(weight.grad, x.double().sum(0).expand(5, 6), 700)
    assert_near(bias.grad, torch.full((5,), 700.0), 1)
    with torch.no_grad():
        assert not linear(x, weight, bias).requires_grad


def test_derivatives_of_any_order() -> None:
    x, weight, bias = (draw(*s, dtype=torch.float64).requires_grad_() for s in ((6, 3), (2, 3), (2,)))
    out = draw(6, 2, dtype=torch.float64).requires_grad_()
    for function, inputs in [
        (linear, (x, weight, bias)),
        (lambda o, a, w: added(o * 1, a, w.t()), (out, x, weight)),
    ]:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("into", [False, True])
def test_a_map_added_to_what_is_there(into: bool) -> None:
    leaf, x, weight = (t.requires_grad_() for t in (draw(9000, 7), draw(9000, 5), draw(5, 7)))
    out = leaf * 2
    total = added(out, x, weight, into=into)
    assert (total.data_ptr() == out.data_ptr()) is into
    assert_near(total, (leaf * 2).double() + x.double() @ weight.double(), 5)
    gradient = draw(9000, 7)
    found = torch.autograd.grad(total, (leaf, x, weight), gradient)
    expected = (2 * gradient, gradient @ weight.t(), x.double().t() @ gradient.double())
    for mine, other in zip(found, expected, strict=True):
        assert_near(mine, other, 9000)


def test_products_into_a_given_tensor() -> None:
    x, weight, out = draw(20000, 6), draw(6, 9), torch.full((20000, 9), torch.nan)
    assert multiply(x, weight, out) is out
    assert_near(out, x.double() @ weight.double(), 6)
    multiply(x, weight, out, plus=out)
    assert_near(out, 2 * (x.double() @ weight.double()), 12)
    assert_near(matmul(x, weight), x.double() @ weight.double(), 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", [700, 9000, 1 << 14])
def test_a_product_may_take_the_place_of_its_factor(rows: int, dtype: torch.dtype) -> None:
    x, weight, bias = draw(rows, 64, dtype=dtype), draw(64, 64, dtype=dtype), draw(64, dtype=dtype)
    expected = x.double() @ weight.double() + bias.double()
    multiply(x, weight, x, bias)
    assert_near(x, expected, 64)


@pytest.mark.parametrize("shape", [(70000, 64, 64), (3000, 130, 17), (1025, 7, 200)], ids=str)
def test_the_sum_over_rows_has_the_same_bits_on_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    rows, p, q = shape
    a, b, threads = draw(rows, p), draw(rows, q), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(gram(a, b))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert_near(found[0], a.double().t() @ b.double(), rows)


def test_without_a_compiler_torch_sums_over_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_gram", lambda dtype: None)
    a, b = draw(2000, 9), draw(2000, 4)
    assert_near(gram(a, b), a.double().t() @ b.double(), 2000)


def test_a_width_that_does_not_fit_is_refused_as_torch_does() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        linear(draw(500, 4), draw(3, 5))
    with pytest.raises(RuntimeError, match="expand"):
        linear(draw(500, 4), draw(3, 4), draw(2))
    assert_near(linear(draw(500, 4), draw(3, 4), draw(1)), F.linear(draw(500, 4), draw(3, 4)) + draw(1), 4)
    with pytest.raises(RuntimeError, match=r"must have the same dtype|expected m1 and m2"):
        linear(draw(500, 4), draw(3, 4, dtype=torch.float64))


def test_under_transforms_autocast_and_compile_torch_multiplies() -> None:
    x, weight = draw(40, 30, 8), draw(3, 8)
    expected = F.linear(x, weight)
    torch.testing.assert_close(torch.func.vmap(lambda row: linear(row, weight))(x), expected)
    tangent = torch.func.jvp(lambda w: linear(x, w), (weight,), (torch.ones_like(weight),))[1]
    torch.testing.assert_close(tangent, x.sum(-1, keepdim=True).expand_as(expected))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    compiled = torch.compile(linear, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, weight), expected)


def test_products_of_many_sizes_are_made_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """OneDNN keeps code for each number of rows, and each mini-batch has another number."""
    if not products._mkl_is_slow():
        pytest.skip("oneDNN is not asked here")
    seen, by_onednn = [], products._by_onednn

    def seeing(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(len(x))
        return by_onednn(x, weight, bias)

    monkeypatch.setattr(products, "_by_onednn", seeing)
    monkeypatch.setattr(products, "_sizes", set())
    monkeypatch.setattr(products, "MOST_SIZES", 2)
    weight, bias, sizes = draw(48, 64), draw(48), [30, 997, 1994, *range(2991, 30_000, 997)]
    of_pieces = {rows: linear(draw(rows, 64), weight, bias) for rows in sizes}
    assert len(seen) > 60
    assert set(seen) - {64, 128, 256, 512, *range(1024, 10_241, 1024)} == {30, 997}  # the first two
    monkeypatch.setattr(products, "MOST_SIZES", 100)
    for rows, product in of_pieces.items():  # what was met before changes no bit
        seen.clear()
        x = draw(rows, 64)
        assert torch.equal(linear(x, weight, bias), product)
        assert seen == [rows]
        assert_near(product, F.linear(x, weight, bias), 64)


def test_rows_that_are_left_at_the_end_have_the_same_bits_on_any_number_of_threads() -> None:
    if not products._mkl_is_slow():
        pytest.skip("oneDNN is not asked here")
    weight, threads, found = draw(64, 64), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([linear(draw(1024 + rest, 64), weight) for rest in (1, 7, 33, 71)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
