"""Laws of the kernels: derivatives of every order, repeatable bits, dropout, processes, any expression."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.data import DataLoader

import mpnn
from mpnn import Graph, propagate
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, KERNEL, assert_like_eager, assert_runs, ways

DTYPE = torch.float64
graph = random_graph(6, 14)
generator = torch.Generator().manual_seed(5)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


x, edge = randn(6, 3), randn(14, 3)


def smooth(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
    return torch.tanh(x_i - x_j) * e + x_j


def scored(x_i: Tensor, x_j: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return (x_i * x_j).sum(-1), x_j * e


def smooth_score(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
    return (x_i[:, :4] * x_j[:, :4]).sum(-1), x_j


def run(x: Tensor, e: Tensor, aggr: Any = "sum", message: Callable[..., Any] = smooth) -> Tensor:
    return propagate(graph, message, aggr, x=x, e=e)


def leaves() -> tuple[Tensor, Tensor]:
    return x.clone().requires_grad_(), edge.clone().requires_grad_()


# Derivatives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "aggr",
    ["sum", "mean", "max", "min", "mul", "logsumexp", "var", "std", "softmax", ["mean", "max"]],
    ids=str,
)
def test_gradients_are_those_of_finite_differences(aggr: Any) -> None:
    assert torch.autograd.gradcheck(lambda x, e: run(x, e, aggr), leaves())


@pytest.mark.parametrize("aggr", ["max", "softmax"])
def test_rows_too_wide_for_the_stack_go_another_way(aggr: str) -> None:
    square = Graph(torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]]), 4)
    wide = {"x": torch.randn(4, 1_500_000)}
    score = smooth_score if aggr == "softmax" else (lambda x_i, x_j: x_i * x_j)
    assert_like_eager(square, score, aggr, wide, atol=1e-5, way=CHUNKS)


@pytest.mark.parametrize("aggr", ["sum", "max", "mul", "logsumexp", "softmax"])
def test_second_gradients_too(aggr: str) -> None:
    assert torch.autograd.gradgradcheck(lambda x, e: run(x, e, aggr), leaves())


def test_scores_have_gradients_of_both_orders() -> None:
    assert torch.autograd.gradcheck(lambda x, e: run(x, e, "softmax", scored), leaves())
    assert torch.autograd.gradgradcheck(lambda x, e: run(x, e, "softmax", scored), leaves())


@pytest.mark.parametrize("aggr", ["sum", "max"])
def test_a_gradient_penalty_trains(aggr: str) -> None:
    def penalty() -> list[Tensor]:
        own = leaves()
        gradient = torch.autograd.grad(run(*own, aggr).square().sum(), own[0], create_graph=True)[0]
        return list(torch.autograd.grad(gradient.square().sum(), own))

    ours = penalty()
    with mpnn.backend("eager"):
        for one, other in zip(ours, penalty(), strict=True):
            assert_close(one, other)


def test_a_graph_that_is_kept_can_be_walked_twice() -> None:
    own = leaves()
    out = run(*own, "max").sum()
    first = torch.autograd.grad(out, own, retain_graph=True)
    second = torch.autograd.grad(out, own)
    assert all(map(torch.equal, first, second))


def test_functional_transforms_fall_back() -> None:
    with mpnn.backend("eager"):
        expected = torch.func.jacrev(run)(x, edge)
    assert_close(torch.func.jacrev(run)(x, edge), expected)
    assert_close(torch.func.jacfwd(run)(x, edge), expected)
    stacked = torch.stack([x, 2 * x])
    each = torch.func.vmap(lambda one: run(one, edge))(stacked)
    assert_close(each, torch.stack([run(x, edge), run(2 * x, edge)]))


def test_forward_mode_falls_back() -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangent = forward_ad.unpack_dual(run(dual, edge)).tangent
    expected = torch.func.jvp(lambda x: run(x, edge), (x,), (torch.ones_like(x),))[1]
    assert_close(tangent, expected)


# Bits ---------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
def test_bits_repeat_over_runs_and_threads(aggr: str, threads: Callable[[int], None]) -> None:
    source = torch.randint(300, (40_000,), generator=generator)
    # A hub with more edges than one task takes, and rows that two threads share out.
    target = torch.where(torch.arange(40_000) < 20_000, 0, torch.randint(300, (40_000,), generator=generator))
    large = Graph(torch.stack([source, target]), 300)
    values = torch.randn(300, 8, generator=generator)
    weight = torch.randn(8, generator=generator)

    def message(x_i: Tensor, x_j: Tensor, w: Tensor) -> Tensor:
        return (x_i - x_j).relu() * w

    def once() -> list[Tensor]:
        own = [values.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = propagate(large, message, aggr, x=own[0], w=own[1])
        return [out, *torch.autograd.grad(out.sin().sum(), own)]

    threads(1)
    assert_runs(KERNEL, once)
    first = once()
    for number in (1, 2, 2):
        threads(number)
        assert all(map(torch.equal, first, once())), f"other bits on {number} threads"


# Dropout ------------------------------------------------------------------------------------------------


def dropped(x_i: Tensor, x_j: Tensor) -> Tensor:
    return torch.nn.functional.dropout(x_j + 0 * x_i, 0.25, training=True)


def test_dropout_keeps_the_mean_and_scales_what_is_left() -> None:
    ring = Graph(torch.stack([torch.arange(4000), torch.arange(4000).roll(1)]), 4000)
    assert ways(lambda: propagate(ring, dropped, x=torch.ones(4000, 5))) == [KERNEL]
    out = propagate(ring, dropped, x=torch.ones(4000, 5))
    assert set(out.unique().tolist()) == {0.0, out.max().item()}
    assert out.max().item() == pytest.approx(4 / 3)
    # 20000 draws: the mean of the mask is within five standard deviations of 0.75.
    assert (out > 0).double().mean().item() == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 20_000) ** 0.5)


def test_the_gradient_sees_the_mask_of_the_forward_pass() -> None:
    own = x.clone().requires_grad_()
    ring = Graph(torch.stack([torch.arange(6), torch.arange(6).roll(1)]), 6)
    out = propagate(ring, dropped, x=own)
    (gradient,) = torch.autograd.grad(out.sum(), own)
    assert_close(gradient[ring.src] * own.detach()[ring.src], out.detach()[ring.dst])


def test_a_seed_decides_the_mask() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return propagate(graph, dropped, x=torch.ones(6, 8))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    first, second = (propagate(graph, dropped, x=torch.ones(6, 8)) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("dims", "channels"), [(1, (3,)), (2, (3,)), (3, (3,)), (1, ()), (2, ()), (3, ())])
def test_dropout_of_channels_drops_each_whole(dims: int, channels: tuple[int, ...]) -> None:
    drop = getattr(torch.nn.functional, f"dropout{dims}d")
    shape = (2000, *channels, *[4] * dims) if channels else (2000, *[4] * dims)
    ring = Graph(torch.stack([torch.arange(2000), torch.arange(2000).roll(1)]), 2000)

    def message(x_j: Tensor) -> Tensor:
        return drop(x_j, 0.25, training=True)

    own = torch.ones(shape, requires_grad=True)
    assert ways(lambda: propagate(ring, message, x=own)) == [KERNEL]
    out = propagate(ring, message, x=own)
    rows = out.detach().flatten(len(channels) + 1)
    assert rows.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert bool((rows == rows[..., :1]).all())
    draws = rows[..., 0].numel()
    kept = (rows[..., 0] > 0).double().mean().item()
    assert kept == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / draws) ** 0.5)
    (gradient,) = torch.autograd.grad(out.sum(), own)
    assert torch.equal(gradient[ring.src], out.detach()[ring.dst])


def test_two_dropouts_in_a_message_are_independent() -> None:
    def twice(x_j: Tensor) -> Tensor:
        first, second = (torch.nn.functional.dropout(x_j, 0.5, training=True) for _ in range(2))
        return torch.cat([first, second], -1)

    ring = Graph(torch.stack([torch.arange(2000), torch.arange(2000).roll(1)]), 2000)
    first, second = (propagate(ring, twice, x=torch.ones(2000, 4)) > 0).double().chunk(2, -1)
    agree = (first == second).double().mean().item()
    assert agree == pytest.approx(0.5, abs=5 * (0.25 / 8000) ** 0.5)


# Processes ----------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset[Tensor]):
    """Message passing inside a worker process."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, k: int) -> Tensor:
        large = random_graph(200, 8000)
        return propagate(large, smooth_pair, x=torch.full((200, 16), float(k)))


def smooth_pair(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i + x_j).tanh()


def test_forked_workers_compute_what_the_parent_does(threads: Callable[[int], None]) -> None:
    threads(2)
    here = [Rows()[k] for k in range(4)]  # the parent's threads are running when it forks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        there = list(DataLoader(Rows(), batch_size=None, num_workers=2, timeout=60))
    assert all(map(torch.equal, here, there))


# Any expression -----------------------------------------------------------------------------------------

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "neg": torch.neg, "sin": torch.sin, "relu": torch.relu,
    "square": torch.square, "abs": torch.abs, "softmax": lambda x: x.softmax(-1),
    "log1p": lambda x: x.abs().log1p(), "sum": lambda x: x.sum(-1, keepdim=True),
    "mean": lambda x: x.mean(-1, keepdim=True), "first": lambda x: x[..., :1],
    "norm": lambda x: x.norm(dim=-1, keepdim=True),
    "largest": lambda x: x.amax(-1, keepdim=True),
    "twice": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "atan": torch.atan, "round": lambda x: (3 * x).round() * x, "frac": lambda x: (1.7 * x + 0.1).frac(),
    "log2": lambda x: (x.abs() + 1).log2(), "erfc": torch.erfc, "sinh": lambda x: x.tanh().sinh(),
    "layer norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "flip": lambda x: x.flip(-1), "roll": lambda x: x.roll(1, -1), "prod": lambda x: x.prod(-1, keepdim=True),
    "var": lambda x: x.var(-1, unbiased=False, keepdim=True),
    "pad": lambda x: torch.nn.functional.pad(x, (1, 0))[..., : x.shape[-1]],
    "steps": lambda x: x[..., ::2].sum(-1, keepdim=True),
    "columns": lambda x: x[..., [-1, 0]].sum(-1, keepdim=True),
    "any": lambda x: x * (x > 0.2).any(-1, keepdim=True),
    "repeat": lambda x: x.repeat(*[1] * (x.dim() - 1), 2)[..., : x.shape[-1]],
    "stop": torch.detach, "leaky": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
}  # fmt: skip
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum,
    "atan2": torch.atan2, "hypot": torch.hypot, "fmin": torch.fmin,
    "remainder": lambda a, b: torch.remainder(a, b.abs() + 0.7),
    "fmod": lambda a, b: torch.fmod(a, b.abs() + 0.7),
    "ratio": lambda a, b: a / (b.abs() + 1), "choice": lambda a, b: torch.where(a > 0.3, a, b),
}  # fmt: skip
LEAVES = ["x_i", "x_j", "e", "w", "s_j"]

trees = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
    ),
    max_leaves=6,
)


def evaluate(tree: Any, values: dict[str, Tensor]) -> Tensor:
    if isinstance(tree, str):
        return values[tree]
    if len(tree) == 2:
        return UNARY[tree[0]](evaluate(tree[1], values))
    return BINARY[tree[0]](evaluate(tree[1], values), evaluate(tree[2], values))


@settings(max_examples=25, derandomize=True)
@given(trees, st.sampled_from(["sum", "max", "softmax"]))
def test_any_expression_equals_plain_pytorch(tree: Any, aggr: str) -> None:
    def message(x_i: Tensor, x_j: Tensor, e: Tensor, w: Tensor, s_j: Tensor) -> Tensor:
        out = evaluate(tree, {"x_i": x_i, "x_j": x_j, "e": e, "w": w, "s_j": s_j})
        return out.expand(*e.shape[:1], *out.shape[1:]) if out.dim() > 1 else out + 0 * e

    fields = {"x": x, "e": edge, "w": randn(3), "s": randn(6, 1)}
    assert_like_eager(graph, message, aggr, fields, way=None)
