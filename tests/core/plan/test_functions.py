"""Every function that kernels know, over the whole range of floats: value and gradient are PyTorch's.

One message has many functions, each in a separate column, so that one kernel is compiled for all of them.
They read fields of edges: what depends on a node alone is computed before the kernel, by PyTorch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import CGConv

import mpnn
from mpnn import Graph, topology
from mpnn.plan.decompositions import COMPOSITES
from mpnn.plan.operations import POINT
from tests.compare import assert_same
from tests.core.running import KERNEL, assert_like_eager, assert_runs

Function = Callable[..., Tensor]
NO_LOSS: dict[str, Any] = {"reduction": "none"}
A_MESSAGE = 24  # functions

UNARY: dict[str, Function] = {
    **{
        name: getattr(torch, name)
        for name in [
            "abs", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal",
            "square", "relu", "sigmoid", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
            "asinh", "acosh", "atanh", "erf", "erfc", "floor", "ceil", "round", "trunc", "sign", "sgn", "neg",
            "sinc", "frac", "logit", "nan_to_num", "deg2rad",
        ]
    },
    **{
        name: getattr(F, name)
        for name in [
            "elu", "selu", "celu", "softplus", "mish", "relu6", "hardtanh", "hardsigmoid", "hardswish",
            "silu", "gelu", "leaky_relu", "hardshrink", "softshrink", "tanhshrink", "softsign", "logsigmoid",
        ]
    },
    "elu, another alpha": lambda x: F.elu(x, 0.7),
    "celu, another alpha": lambda x: F.celu(x, 1.5),
    "softplus, another beta": lambda x: F.softplus(x, 2.0, 5.0),
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardtanh between others": lambda x: F.hardtanh(x, -3.0, 0.5),
    "threshold": lambda x: F.threshold(x, 0.5, -1.0),
    "_prelu_kernel": lambda x: F.prelu(x, x.new_full((1,), 0.25)),
    "logit with eps": lambda x: torch.logit(x, 0.1),
    "special_entr": torch.special.entr,
    "ndtr": torch.special.ndtr,
    "x log x": lambda x: torch.xlogy(x, x),
    "clamp": lambda x: x.clamp(-3.0, 6.0),
    "clamp from below": lambda x: x.clamp(min=0.5),
    "clamp from above": lambda x: x.clamp(max=6.0),
    **{f"to the power {p}": lambda x, p=p: x**p for p in (0, 0.5, -0.5, 2, 3, -1, -2, 1.5)},
    "a power of 2": lambda x: 2.0**x,
    "1 - x": lambda x: 1 - x,
    "1 / x": lambda x: 1 / x,
    "x / 3": lambda x: x / 3,
    "x % 3": lambda x: x % 3,
    "fmod 3": lambda x: torch.fmod(x, 3),
    "two decimals": lambda x: torch.round(x, decimals=2),
    "isnan": lambda x: x.isnan().to(x.dtype),
    "isinf": lambda x: x.isinf().to(x.dtype),
    "logical_not": lambda x: x.logical_not().to(x.dtype),
    "bitwise_not": lambda x: (~(x > 1)).to(x.dtype),
    "float": lambda x: (x > 1).to(x.dtype) * x,
}  # fmt: skip

BINARY: dict[str, Function] = {
    **{
        name: getattr(torch, name)
        for name in [
            "add", "sub", "mul", "div", "fmod", "remainder", "atan2", "hypot", "copysign", "pow", "maximum",
            "minimum", "fmax", "fmin", "xlogy", "logaddexp", "logaddexp2",
        ]
    },
    **{
        name: lambda x, y, name=name: getattr(torch, name)(x, y).to(x.dtype)
        for name in ["gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_or", "logical_xor"]
    },
    **{
        name: lambda x, y, name=name: getattr(torch, name)(x > 0, y > 0).to(x.dtype)
        for name in ["bitwise_and", "bitwise_or", "bitwise_xor"]
    },
    "div_floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "div_trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "special_xlog1py": torch.special.xlog1py,
    "huber_loss": lambda x, y: F.huber_loss(x, y, **NO_LOSS),
    "huber_loss, another delta": lambda x, y: F.huber_loss(x, y, delta=3.0, **NO_LOSS),
    "smooth_l1_loss": lambda x, y: F.smooth_l1_loss(x, y, **NO_LOSS),
    "smooth_l1_loss, another beta": lambda x, y: F.smooth_l1_loss(x, y, beta=0.5, **NO_LOSS),
    "mse_loss": lambda x, y: F.mse_loss(x, y, **NO_LOSS),
    "l1_loss": lambda x, y: F.l1_loss(x, y, **NO_LOSS),
    "kl_div": lambda x, y: F.kl_div(x, y, **NO_LOSS),
    "soft_margin_loss": lambda x, y: F.soft_margin_loss(x.clamp(-5, 5), y.detach().clamp(-5, 5), **NO_LOSS),
    "binary_cross_entropy_with_logits": lambda x, y: F.binary_cross_entropy_with_logits(x, y, **NO_LOSS),
    "binary_cross_entropy": lambda x, y: F.binary_cross_entropy(
        x.sigmoid().nan_to_num(0.3), y.sigmoid().nan_to_num(0.3), **NO_LOSS
    ),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "lerp by a tensor": lambda x, y: torch.lerp(x, torch.ones_like(x), y),
    "clamp by a tensor": lambda x, y: torch.clamp(x, min=y),
    "clamp by a tensor from above": lambda x, y: torch.clamp(x, max=y),
    "glu": lambda x, y: F.glu(torch.cat([x, y], -1)),
    "where": lambda x, y: torch.where(x > y, x, y),
    "masked_fill": lambda x, y: x.masked_fill(y > 0, 2.0),
}  # fmt: skip

# Units in the last place by which a value and a gradient may differ; without a line here 4.
ALLOWED: dict[str, tuple[float, float]] = {
    "mish": (110, 110),
    "gelu": (4, 100),  # the derivative has a root near -0.75, where two terms cancel
    "gelu by tanh": (8, 100),
    "expm1": (4, 20),
    "kl_div": (30, 30),
    "hardsigmoid": (4, 2**28),  # PyTorch has a sixth in float32 there, in float64 too
    "binary_cross_entropy": (8, 2**26),  # and 1e-12
}
# Two numbers of this size cancel in these; a unit is then one of theirs, if that is larger.
CANCEL: dict[str, float] = {
    "expm1": 1.0,  # gradient: its value + 1
    "tanh": 1.0,  # gradient: 1 - its square
    "tanhshrink": 1.0,
    "sinc": 1e5,  # gradient: (cos - sin / x) / x, a unit of 1 at x = 1e-4 and less
    "ndtr": 1.0,
    "lerp by a tensor": 1.0,
}

MAGNITUDES = [
    0.0, 1e-45, 1e-38, 1.2e-38, 1e-20, 1e-4, 0.1, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 3.6, 5.0, 5.5, 6.0,
    7.5, 9.0, 10.0, 16.6, 17.4, 20.0, 20.5, 37.0, 50.0, 87.0, 88.7, 88.8, 103.9, 104.0, 150.0, 709.7, 709.8,
    745.0, 746.0, 12345.678, 1e7, 1e10, 1e20, 3e38, torch.inf,
]  # fmt: skip
FEWER = [0.0, 1e-7, 0.5, 1.0, 2.0, 3.0, 6.0, 17.4, 88.8, 104.0, 710.0, 1e10, torch.inf]


class Found(NamedTuple):
    value: Tensor
    gradients: list[Tensor]


def _range(magnitudes: list[float], dtype: torch.dtype) -> Tensor:
    positive = torch.tensor(magnitudes, dtype=dtype)
    return torch.cat([positive, -positive, positive.new_tensor([torch.nan])])


def _run(functions: list[Function], columns: list[Tensor], backend: str) -> Found:
    given = [c.unsqueeze(1).repeat(1, len(functions)).requires_grad_() for c in columns]

    def message(**fields: Tensor) -> Tensor:
        parts = [t.split(1, -1) for t in fields.values()]
        return torch.cat([f(*args) for f, *args in zip(functions, *parts, strict=True)], -1)

    # As many parameters as fields; a message says by its parameters what it reads.
    asked = (lambda x: message(x=x)) if len(columns) == 1 else (lambda x, y: message(x=x, y=y))
    number = torch.arange(given[0].size(0))
    graph = Graph(torch.stack([number, number]), num_nodes=len(number))
    fields: dict[str, Any] = dict(zip("xy", given, strict=False))

    def call() -> Tensor:
        return mpnn.propagate(graph, asked, "sum", **fields)

    with mpnn.backend(backend):
        value = call()
        if backend != "eager":
            assert_runs(KERNEL, call)
    found = torch.autograd.grad(value.sum(), given, allow_unused=True)
    gradients = [torch.zeros_like(x) if g is None else g for x, g in zip(given, found, strict=True)]
    return Found(value.detach(), gradients)


def _units(ours: Tensor, theirs: Tensor, of: float) -> Tensor:
    """The difference of two tensors in units in the last place of `theirs` or of a larger number."""
    limits = torch.finfo(theirs.dtype)
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    same |= (ours.abs() <= limits.tiny) & (theirs.abs() <= limits.tiny)  # which may be flushed
    units = (ours - theirs).abs().double() / (
        theirs.abs().clamp(min=max(of, limits.tiny)).double() * limits.eps
    )
    return torch.where(same, 0.0, units.nan_to_num(torch.inf))


def _batches() -> list[tuple[dict[str, Function], list[str]]]:
    return [
        (table, list(table)[start : start + A_MESSAGE])
        for table in (UNARY, BINARY)
        for start in range(0, len(table), A_MESSAGE)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("table", "names"), _batches(), ids=[names[0] for _, names in _batches()])
def test_every_function_and_its_gradient_are_pytorchs_over_all_floats(
    table: dict[str, Function], names: list[str], dtype: torch.dtype
) -> None:
    if table is UNARY:
        dense = torch.linspace(-12, 12, 481, dtype=dtype)
        columns = [torch.cat([_range(MAGNITUDES, dtype), dense])]
    else:
        pairs = torch.cartesian_prod(_range(FEWER, dtype), _range(FEWER, dtype))
        columns = [pairs[:, 0], pairs[:, 1]]
    functions = [table[name] for name in names]
    ours, theirs = (_run(functions, columns, backend) for backend in ("cpu", "eager"))
    wrong = []
    for k, name in enumerate(names):
        allowed = ALLOWED.get(name, (4, 4))
        compared = [("value", allowed[0], ours.value, theirs.value)]
        compared += [("gradient", allowed[1], *pair) for pair in zip(ours[1], theirs[1], strict=True)]
        for what, most, a, b in compared:
            units = _units(a[:, k], b[:, k], CANCEL.get(name, 0.0))
            at = int(units.argmax())
            if units[at] > most:
                where = ", ".join(str(c[at].item()) for c in columns)
                values = f"{a[at, k].item()}, PyTorch's {b[at, k].item()}"
                wrong.append(f"{what} of {name} at {where} is {values}: {units[at].item():.3g} units")
    assert not wrong, "\n".join(wrong)


def test_the_sweep_is_of_every_function_that_kernels_know() -> None:
    elsewhere = {"_softmax", "_log_softmax", "logsumexp", "var", "std", "var_mean", "std_mean"}  # below
    without_kernel = {"special_log_ndtr"}
    rounding = {"bfloat16", "float16"}  # of operands that are compared; see test_truth_values.py
    other_names = {"log_sigmoid_forward": "logsigmoid"}
    known = (
        {other_names.get(name, name) for name in POINT | COMPOSITES} - elsewhere - without_kernel - rounding
    )
    assert known <= UNARY.keys() | BINARY.keys()


# Functions of a row -------------------------------------------------------------------------------------

ROWS: dict[str, Function] = {
    "softmax": lambda m: m.softmax(-1),
    "log_softmax": lambda m: m.log_softmax(-1),
    "logsumexp": lambda m: m.logsumexp(-1),
    "std": lambda m: m.std(-1),
    "std, biased": lambda m: m.std(-1, correction=0, keepdim=True),
    "var": lambda m: m.var(-1),
    "var_mean": lambda m: torch.cat(torch.var_mean(m, -1, keepdim=True), -1),
    "std_mean": lambda m: torch.cat(torch.std_mean(m, -1, keepdim=True), -1),
    "norm": lambda m: m.norm(dim=-1),
    "norm of order 3": lambda m: m.norm(p=3, dim=-1),
    "largest": lambda m: m.norm(p=torch.inf, dim=-1),
    "normalize": lambda m: F.normalize(m, dim=-1),
    "layer_norm": lambda m: F.layer_norm(m, (3,)),
    "prod": lambda m: m.prod(-1),
}


@pytest.mark.parametrize("name", ROWS)
def test_functions_of_a_row_have_pytorchs_gradients_at_equal_large_and_no_numbers(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(9, 3, dtype=torch.float64, generator=generator)
    rows[0], rows[1], rows[2] = 0.0, 2.5, -1e3
    rows[3:5] *= 300
    rows[5, 1] = 0.0
    if name in ("softmax", "log_softmax", "logsumexp"):
        rows[6, 0] = -torch.inf
    graph = Graph(torch.arange(9).repeat(2, 1), num_nodes=9)
    for message in (lambda x: ROWS[name](x), lambda x: ROWS[name](x * 0.5 + 0.5 * x)):
        assert_like_eager(graph, message, "sum", {"x": rows}, atol=1e-13)


# In messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggr", ["max", "min"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_maximum_over_functions_of_both_ends_keeps_its_gradient(aggr: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    graph = Graph(torch.randint(0, 50, (2, 300)), num_nodes=50)
    x = torch.rand(50, 5, dtype=dtype) + 0.1
    atol = 1e-10 if dtype == torch.float64 else 1e-5
    for message in (
        lambda x_i, x_j: torch.xlogy(x_j, x_i),  # the logarithm is one per node
        lambda x_i, x_j: F.binary_cross_entropy(x_i * 0.5, x_j * 0.5, reduction="none"),
        lambda x_i, x_j: torch.logaddexp(x_i, x_j),
        lambda x_i, x_j: F.elu(x_i - x_j),
        lambda x_i, x_j: torch.lerp(x_i, x_j, x_i),
    ):
        assert_like_eager(graph, message, aggr, {"x": x}, atol=atol)


def test_a_network_of_elus_per_edge_has_finite_gradients_for_large_features() -> None:
    torch.manual_seed(0)
    graph = Graph(torch.randint(0, 20, (2, 80)), num_nodes=20)
    layer = mpnn.models.EdgeConv(nn.Sequential(nn.Linear(8, 16), nn.ELU(), nn.Linear(16, 4)))

    def by(backend: str) -> Callable[..., Any]:
        def run(x: Tensor) -> Tensor:
            with mpnn.backend(backend):
                return layer(x, graph)

        return run

    assert_same(by("auto"), by("eager"), [torch.randn(20, 4) * 150], atol=2e-5)


def test_an_accelerated_cgconv_has_pygs_gradients_for_large_features() -> None:
    torch.manual_seed(0)
    theirs = CGConv(8)  # its gates are sigmoids, its values softpluses
    ours = mpnn.accelerate(copy.deepcopy(theirs))
    edge_index = torch.randint(0, 20, (2, 80))
    x = torch.randn(20, 8) * 100
    assert_same(lambda x: ours(x, edge_index), lambda x: theirs(x, edge_index), [x], atol=1e-5)


def test_functions_of_one_node_have_pytorchs_gradient() -> None:
    x = torch.tensor([[100.0, 0.0, 6.0], [-100.0, 3.0, -3.0]], requires_grad=True)
    graph = Graph(torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    for function in (F.elu, F.softplus, F.mish, F.relu6, F.hardswish, torch.sinc, lambda m: m.std(-1)):
        for backend in ("auto", "eager"):
            with mpnn.backend(backend):
                out = mpnn.propagate(graph, lambda x_j: function(x_j), "sum", x=x)  # noqa: B023
            (found,) = torch.autograd.grad(out.sum(), x)
            (wanted,) = torch.autograd.grad(function(x).sum(), x)
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("function", [F.elu, F.softplus], ids=lambda f: f.__name__)
def test_what_a_dense_kernel_reads_has_pytorchs_gradient(function: Function) -> None:
    torch.manual_seed(0)
    graph = topology.grid((4, 5), kernel_size=3)
    weight = torch.randn(graph.num_edge_types, 3, 2, dtype=torch.float64)
    x = torch.linspace(-1500, 1500, 60, dtype=torch.float64).view(20, 3)

    def message(x_j: Tensor, edge_type: Tensor) -> Tensor:
        return torch.bmm(function(x_j).unsqueeze(1), weight[edge_type]).squeeze(1)

    def by(backend: str) -> Function:
        def run(x: Tensor) -> Tensor:
            with mpnn.backend(backend):
                return mpnn.propagate(graph, message, "sum", x=x, edge_type=graph.edge_type)

        return run

    assert_runs("dense", lambda: by("auto")(x))
    assert_same(by("auto"), by("eager"), [x])


@pytest.mark.parametrize("function", [F.elu, F.softplus, F.silu, F.gelu], ids=lambda f: f.__name__)
def test_second_derivatives_are_pytorchs_where_the_first_are_read_again(function: Function) -> None:
    graph = Graph(torch.arange(3).repeat(2, 1), num_nodes=3)
    found = []
    for backend in ("cpu", "eager"):
        x = torch.tensor([[800.0, -100, 1], [2, 2, 2], [-3, 0.5, 0]], dtype=torch.float64).requires_grad_()
        with mpnn.backend(backend):
            out = mpnn.propagate(graph, lambda x_i, x_j: function(x_i * 0.5 + x_j * 0.5), "sum", x=x)
        (first,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        found.append((first, torch.autograd.grad(first.square().sum(), x)[0]))
    torch.testing.assert_close(*found)
