"""Every way of writing a message: kernels give the outputs and gradients of plain PyTorch, float64, 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mpnn
from mpnn import MessagePassing
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, EAGER, KERNEL, assert_like_eager, assert_runs

DTYPE = torch.float64
NUM_NODES = 9
graph = random_graph(NUM_NODES)
NUM_EDGES = graph.num_edges
generator = torch.Generator().manual_seed(0)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


class Message(NamedTuple):
    name: str
    function: Callable[..., Any]
    fields: dict[str, Any]
    way: str = KERNEL

    def __str__(self) -> str:
        return self.name


def activations(x_i: Tensor, x_j: Tensor) -> Tensor:
    smooth = (
        F.gelu(x_i + x_j) + F.silu(x_i * x_j) + F.elu(x_j - x_i) + F.softplus(x_i - x_j) + F.mish(x_j * x_i)
    )
    return smooth + F.logsigmoid(x_i - x_j) + F.selu(x_i * x_j) + F.celu(x_i + x_j) + torch.sigmoid(x_i + x_j)


def kinks(x_i: Tensor, x_j: Tensor) -> Tensor:
    bent = (
        F.leaky_relu(x_i + x_j, 0.2)
        + F.hardtanh(x_i)
        + F.hardswish(x_i + x_j)
        + F.relu6(x_i)
        + (x_i - x_j).abs()
    )
    return bent + torch.maximum(x_i, x_j) + torch.minimum(2 * x_i, x_j).clamp(-1, 0.5)


def functions(x_i: Tensor, x_j: Tensor) -> Tensor:
    waves = (x_i * x_j).sin() + (x_i - x_j).cos() + torch.erf(x_i + x_j) + (x_i + 2 * x_j).tanh()
    return waves + (x_i * x_j).abs().log1p() + torch.expm1(-((x_i - x_j) ** 2))


def powers(x_i: Tensor, x_j: Tensor) -> Tensor:
    positive = x_i.abs() + x_j.abs() + 1
    return (
        positive**1.5 + positive.rsqrt() + positive.log() + (x_i * x_j) ** 2 + (x_i - x_j) ** 3 + 1 / positive
    )


def in_place(x_i: Tensor, x_j: Tensor) -> Tensor:
    out = x_i * x_j
    out += 1
    return out.mul_(x_j)


def branches(x_j: Tensor, scale: float, flag: bool, mode: str = "double") -> Tensor:
    out = x_j * scale if flag else x_j
    return 2 * out if mode == "double" else out


def rounded(x_i: Tensor, x_j: Tensor) -> Tensor:
    x = 3 * x_i * x_j
    whole = x.floor() + 2 * x.ceil() - x.round() + x.trunc() + x.frac() + x.round(decimals=1)
    return whole * x_j


def rests(x_i: Tensor, x_j: Tensor) -> Tensor:
    by = x_j.abs() + 0.3
    whole = torch.div(x_i, x_j, rounding_mode="floor") + torch.div(x_i, x_j, rounding_mode="trunc")
    return torch.remainder(x_i, -by) + torch.fmod(x_i, by) + (x_i * x_j) % 0.7 + whole * x_j


def angles(x_i: Tensor, x_j: Tensor) -> Tensor:
    inside = 0.9 * (x_i * x_j).tanh()
    return torch.atan2(x_i, x_j) + inside.asin() + inside.acos() + (x_i * x_j).atan() + inside.tan()


def hyperbolas(x_i: Tensor, x_j: Tensor) -> Tensor:
    x = x_i * x_j
    return x.tanh().sinh() + x.tanh().cosh() + x.asinh() + (x.abs() + 1.5).acosh() + (0.9 * x.tanh()).atanh()


def logarithms(x: Tensor) -> Tensor:
    return x.log2() + x.log10() + (-x).exp2() + torch.erfc(x) + torch.logaddexp(x, 2 * x) + torch.xlogy(x, x)


def pairs(x_i: Tensor, x_j: Tensor) -> Tensor:
    return torch.hypot(x_i, x_j) + torch.fmax(x_i, 2 * x_j) + torch.fmin(x_i, x_j) + torch.copysign(x_i, x_j)


def logic(x_i: Tensor, x_j: Tensor) -> Tensor:
    either = (x_i > 0) ^ (x_j > 0)
    odd = torch.logical_xor(x_i > 0.5, x_j > 0.5)
    finite = torch.isfinite(x_i * x_j) & ~torch.isinf(x_j)
    return torch.where(either, x_i, x_j) * torch.where(odd & finite, 2.0, x_j)


def moments(x_i: Tensor, x_j: Tensor) -> Tensor:
    x = x_i * x_j
    spread, centre = torch.var_mean(x, -1, keepdim=True)
    return x.std(-1, keepdim=True) * x + spread * centre + x.var(-1, unbiased=False, keepdim=True)


def attention_inside(x_i: Tensor, x_j: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x_i, x_j, x_j)


def entries_written_where(x_i: Tensor, x_j: Tensor) -> Tensor:
    out = (x_i * x_j).clone()
    out[out < 0] = 0.25
    out[:, 2:4] = x_j[:, :2]
    return out


def entries_written(x_i: Tensor, x_j: Tensor) -> Tensor:
    out = (x_i * x_j).clone()
    out[:, 0] = 1.0
    return out


def gradient_stopped(x_i: Tensor, x_j: Tensor) -> Tensor:
    with torch.no_grad():
        gate = (x_i * x_j).sigmoid()
    return gate * x_j


class Straight(torch.autograd.Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


x, heads, square = {"x": randn(NUM_NODES, 6)}, randn(NUM_NODES, 2, 3), {"x": randn(NUM_NODES, 3, 3)}
kind, keep = torch.arange(NUM_EDGES) % 3, torch.arange(NUM_EDGES) % 3 == 0


def in_groups(x: Tensor, w: Tensor) -> Tensor:
    """A product with a matrix for each group of features, as a batch of products."""
    groups = x.view(-1, w.size(0), w.size(1)).transpose(0, 1).contiguous()
    return torch.matmul(groups, w).transpose(0, 1).contiguous().view(-1, w.size(0) * w.size(2))


MESSAGES = [
    Message("a field of the source", lambda x_j: x_j, x),
    Message("a field of the destination", lambda x_i: 2 * x_i, x),
    Message("a field of the edge", lambda e: e * 2, {"e": randn(NUM_EDGES, 3)}),
    Message("a constant", lambda x_j: torch.ones_like(x_j), x),
    Message("smooth activations", activations, x),
    Message("activations with kinks", kinks, x),
    Message("functions", functions, x),
    Message("powers", powers, x),
    Message("in place", in_place, x),
    Message("a choice", lambda x_i, x_j: torch.where(x_i > x_j, 2 * x_i, x_j.exp()), x),
    Message("a dot product", lambda x_i, x_j: (x_i * x_j).sum(-1, keepdim=True) * x_j, x),
    Message("a norm", lambda x_i, x_j: (x_i - x_j) / ((x_i - x_j).norm(dim=-1, keepdim=True) + 1), x),
    Message("a norm that is zero on loops", lambda x_i, x_j: (x_i - x_j).norm(dim=-1), x),
    Message("other norms", lambda x_i, x_j: (x_i - x_j).norm(1, -1) + (x_i + x_j).norm(torch.inf, -1), x),
    Message("a distance", lambda x_i, x_j: torch.pairwise_distance(x_i, x_j).unsqueeze(-1) * x_j, x),
    Message("a direction", lambda x_i, x_j: F.normalize(x_i + 2 * x_j, dim=-1), x),
    Message("the largest feature", lambda x_i, x_j: (x_i * x_j).amax(-1, keepdim=True) * x_j, x),
    Message("softmax over features", lambda x_i, x_j: (x_i * x_j).softmax(-1), x),
    Message(
        "radial functions",
        lambda x_i, x_j, centres: torch.exp(-(((x_i - x_j).norm(dim=-1, keepdim=True) - centres) ** 2)),
        {**x, "centres": randn(7)},
    ),
    Message(
        "concatenation",
        lambda x_i, x_j, e: torch.cat([x_i * x_j, e, x_j], -1),
        {**x, "e": randn(NUM_EDGES, 3)},
    ),
    Message("a stack", lambda x_i, x_j: torch.stack([x_i * x_j, x_i - x_j], 1), x),
    Message("slices", lambda x_i, x_j: x_i[:, 1:4] * x_j[:, :3] + x_j[:, 2:3] * x_i[:, 0, None], x),
    Message("slices with a step", lambda x_i, x_j: x_i[:, ::2] * x_j[:, ::2], x),
    Message("the middle with a step", lambda x_i, x_j: (x_i * x_j)[:, 1:5:3] * x_j[:, ::3], x),
    Message("rounded", rounded, x),
    Message("rests of division", rests, x),
    Message("angles", angles, x),
    Message("hyperbolas", hyperbolas, x),
    Message("logarithms", lambda x_i, x_j: logarithms(x_i.abs() + x_j.abs() + 0.5), x),
    Message("two numbers to one", pairs, x),
    Message("logic", logic, x),
    Message("moments over features", moments, x),
    Message(
        "a layer norm",
        lambda x_i, x_j, w, b: F.layer_norm(x_i * x_j, (6,), w, b),
        {**x, "w": randn(6), "b": randn(6)},
    ),
    Message("a group norm", lambda x_i, x_j: F.group_norm(x_i * x_j, 2), x),
    Message("a norm by root mean square", lambda x_i, x_j: F.rms_norm(x_i * x_j, (6,)), x),
    Message(
        "norms of any order",
        lambda x_i, x_j: (x_i * x_j).norm(3, -1) + (x_i - 2 * x_j).norm(-torch.inf, -1),
        x,
    ),
    Message("a product of features", lambda x_i, x_j: (x_i * x_j).prod(-1, keepdim=True) * x_j, x),
    Message(
        "any and all",
        lambda x_i, x_j: (
            torch.where((x_i > x_j).any(-1, keepdim=True), x_i, x_j) * (x_i > -1).all(-1, keepdim=True)
        ),
        x,
    ),
    Message(
        "features turned round", lambda x_i, x_j: (x_i * x_j).flip(-1) * x_j + (x_i - x_j).roll(2, -1), x
    ),
    Message("features again and again", lambda x_i, x_j: (x_i * x_j).repeat(1, 2) + (x_i - x_j).tile(2), x),
    Message("features by number", lambda x_i, x_j: (x_i * x_j)[:, [0, 2, 2]] * x_j[..., [5, 1, -1]], x),
    Message("padding", lambda x_i, x_j: F.pad(x_i * x_j, (1, 2)) + F.pad(x_i - x_j, (2, 1), value=0.5), x),
    Message("a part left out", lambda x_i, x_j: F.pad(x_i * x_j, (-1, 0)), x),
    Message("cross products", lambda x_i, x_j: torch.linalg.cross(x_i[:, :3], x_j[:, 3:]), x),
    Message("a cosine", lambda x_i, x_j: F.cosine_similarity(x_i, x_j).unsqueeze(-1) * x_j, x),
    Message("a bilinear map", lambda x_i, x_j, w: F.bilinear(x_i, x_j, w), {**x, "w": randn(2, 6, 6)}),
    Message("places", lambda x_i, x_j: x_i * x_j * torch.arange(6, dtype=DTYPE), x),
    Message("attention inside an edge", attention_inside, {"x": randn(NUM_NODES, 2, 3)}),
    Message("entries written", entries_written, x),
    Message("entries written where", entries_written_where, x),
    Message("chunks", lambda x_i, x_j: torch.mul(*(x_i + x_j * x_i).chunk(2, -1)), x),
    Message("a gated half", lambda x_i, x_j: F.glu(x_i * x_j), x),
    Message("features repeated", lambda x_i, x_j: (x_i * x_j).repeat_interleave(2, -1), x),
    Message(
        "heads",
        lambda q_i, k_j, v_j: (q_i * k_j).sum(-1, keepdim=True) * v_j,
        {"q": heads, "k": heads + 1, "v": heads * 2},
    ),
    Message(
        "heads by view",
        lambda x_i, x_j: ((x_i * x_j).view(-1, 2, 3).sum(-1, keepdim=True) * x_j.view(-1, 2, 3)).flatten(1),
        x,
    ),
    Message(
        "a weight per head", lambda x_j, w: x_j * w.unsqueeze(-1), {"x": heads, "w": randn(NUM_EDGES, 2)}
    ),
    Message("transposed", lambda x_i, x_j: x_i * x_j.transpose(1, 2), square),
    Message(
        "an outer product", lambda x_i, x_j: x_i.unsqueeze(-1) * x_j.unsqueeze(-2), {"x": randn(NUM_NODES, 3)}
    ),
    Message(
        "a matrix per edge",
        lambda x_j, w: torch.bmm(w, x_j.unsqueeze(-1)).squeeze(-1),
        {**x, "w": randn(NUM_EDGES, 3, 6)},
    ),
    Message(
        "a matrix per edge by @",
        lambda x_j, w: (x_j.unsqueeze(1) @ w).squeeze(1),
        {**x, "w": randn(NUM_EDGES, 6, 3)},
    ),
    Message(
        "a matrix per edge by einsum",
        lambda x_j, w: torch.einsum("eio,ei->eo", w, x_j),
        {**x, "w": randn(NUM_EDGES, 6, 3)},
    ),
    Message(
        "a linear map of a concatenation",
        lambda x_i, x_j, w, b: F.linear(torch.cat([x_i, x_j - x_i], -1), w, b),
        {**x, "w": randn(3, 12), "b": randn(3)},
    ),
    Message(
        "a bilinear form",
        lambda x_i, x_j, w: ((x_i @ w) * x_j).sum(-1, keepdim=True) * x_j,
        {**x, "w": randn(6, 6)},
    ),
    Message(
        "a shared matrix of a nonlinear pair",
        lambda x_i, x_j, w: torch.tanh(x_i - x_j) @ w,
        {**x, "w": randn(6, 3)},
        "",
    ),
    Message(
        "a perceptron on the pair",
        lambda x_i, x_j, w, v: torch.relu(torch.cat([x_i, x_j], -1) @ w) @ v,
        {**x, "w": randn(12, 5), "v": randn(5, 2)},
        "",
    ),
    Message("weights by type", lambda x_j, w, kind: w[kind] * x_j, {**x, "w": randn(3, 6), "kind": kind}, ""),
    Message(
        "matrices by type",
        lambda x_j, w, kind: torch.bmm(x_j.unsqueeze(1), w[kind]).squeeze(1),
        {**x, "w": randn(3, 6, 2), "kind": kind},
        "",
    ),
    Message("whether an edge counts", lambda x_j, keep: x_j * keep.unsqueeze(-1), {**x, "keep": keep}),
    Message(
        "whether a node counts",
        lambda x_j, on_i: torch.where(on_i.unsqueeze(-1), x_j, 0.0),
        {**x, "on": torch.arange(NUM_NODES) % 3 == 0},
    ),
    Message("masked", lambda x_j, keep: x_j.masked_fill(keep.unsqueeze(-1), 0.5), {**x, "keep": keep}),
    Message("a whole number per edge", lambda x_j, kind: x_j * kind.unsqueeze(-1), {**x, "kind": kind}, ""),
    Message("numbers, flags and words", branches, {**x, "scale": 0.5, "flag": True}),
    Message("a tensor of one number", lambda x_j, scale: x_j * scale, {**x, "scale": randn(1).reshape(())}),
    Message("a shared row", lambda x_j, w: x_j * w, {**x, "w": randn(1, 6)}),
    Message("a literal tensor", lambda x_j: x_j[:, :3] * torch.tensor([1.0, 2.0, 3.0], dtype=DTYPE), x),
    Message("one number per node", lambda x_i, x_j: x_i * x_j, {"x": randn(NUM_NODES)}),
    Message("matrices at the nodes", lambda x_i, x_j: x_i * x_j.tanh(), square),
    Message("two names for one tensor", lambda a_i, b_j: a_i * b_j.tanh(), {"a": x["x"], "b": x["x"]}),
    Message(
        "a shared number that learns",
        lambda x_i, x_j, slope: F.prelu(x_i * x_j, slope),
        {**x, "slope": randn(1)},
    ),
    Message("a stopped gradient", lambda x_i, x_j: (x_i * x_j).detach() * x_j, x),
    Message("the index", lambda x_j, index: x_j * index.unsqueeze(-1), x, ""),
    # Operations without a kernel that do not mix edges.
    Message("features in order", lambda x_i, x_j: (x_i * x_j).cumsum(-1), x, CHUNKS),
    Message("the largest feature", lambda x_i, x_j: (x_i * x_j).max(-1, keepdim=True)[0] * x_i, x, CHUNKS),
    Message("where it is", lambda x_i, x_j: x_j * (x_i * x_j).argmax(-1, keepdim=True), x, CHUNKS),
    Message("sorted features", lambda x_i, x_j: (x_i * x_j).sort(-1)[0], x, CHUNKS),
    Message("the largest two", lambda x_i, x_j: (x_i * x_j).topk(2)[0], x, CHUNKS),
    Message("the median feature", lambda x_i, x_j: (x_i * x_j).median(1)[0].unsqueeze(-1), x, CHUNKS),
    Message(
        "features that the edge picks",
        lambda x_i, x_j, kind: (x_i * x_j).gather(1, kind.unsqueeze(-1)),
        {**x, "kind": kind},
        CHUNKS,
    ),
    Message(
        "matrices selected by type",
        lambda x_j, w, kind: torch.bmm(x_j.unsqueeze(1), w.index_select(0, kind)).squeeze(1),
        {**x, "w": randn(3, 6, 2), "kind": kind},
        CHUNKS,
    ),
    Message(
        "a table's rows",
        lambda x_j, w, kind: F.embedding(kind, w) * x_j,
        {**x, "w": randn(3, 6), "kind": kind},
        CHUNKS,
    ),
    Message("features of a source in order", lambda x_i, x_j: x_i * x_j.cumsum(-1), x),
    Message(
        "a matrix for each group", lambda x_i, x_j, w: x_i * in_groups(x_j, w), {**x, "w": randn(2, 3, 3)}
    ),
    Message(
        "a matrix for each group of a pair",
        lambda x_i, x_j, w: in_groups(x_i * x_j, w),
        {**x, "w": randn(2, 3, 3)},
        CHUNKS,
    ),
    # What must not become a kernel.
    Message("edges in order", lambda x_i, x_j: (x_i * x_j).cumsum(0), x, EAGER),
    Message("sorted edges", lambda x_i, x_j: (x_i * x_j).sort(0)[0], x, EAGER),
    Message("a mean over all edges", lambda x_i, x_j: x_i * x_j - (x_i * x_j).mean(0), x, EAGER),
    Message(
        "normalised over all edges",
        lambda x_i, x_j: F.batch_norm(x_i * x_j, None, None, training=True),
        x,
        EAGER,
    ),
    Message("no gradient inside", gradient_stopped, x, EAGER),
    Message("an autograd function", lambda x_i, x_j: Straight.apply(x_i * x_j), x, EAGER),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_a_message_on_kernels_equals_plain_pytorch(message: Message) -> None:
    assert_like_eager(graph, message.function, "sum", message.fields, way=message.way or None)


@pytest.mark.parametrize("message", MESSAGES[3:12], ids=str)
def test_the_largest_message_has_its_gradient(message: Message) -> None:
    assert_like_eager(graph, message.function, "max", message.fields)


class Layer(MessagePassing):
    """A message that reads its layer's parameters, modules and buffers."""

    offset: Tensor

    def __init__(self, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__("sum")
        self.att, self.lin = nn.Parameter(randn(6)), nn.Linear(6, 6).to(DTYPE)
        self.register_buffer("offset", randn(6))
        self.activation = activation

    def forward(self, x: Tensor, graph: Any) -> Tensor:
        out: Tensor = self.propagate(graph, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.att * self.activation(self.lin(x_j) - x_i) + self.offset


def on_eager(module: nn.Module) -> Callable[..., Tensor]:
    def call(*inputs: Any) -> Tensor:
        with mpnn.backend("eager"):
            out: Tensor = module(*inputs)
            return out

    return call


def test_parameters_of_the_layer_get_their_gradients() -> None:
    layer = Layer()

    def gradients(call: Callable[..., Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(call(x["x"], graph).square().sum(), list(layer.parameters())))

    assert_runs(KERNEL, lambda: layer(x["x"], graph))
    for ours, theirs in zip(gradients(layer), gradients(on_eager(layer)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_what_a_function_closes_over_gets_its_gradient() -> None:
    def run(x: Tensor, weight: Tensor) -> Tensor:
        return mpnn.propagate(graph, lambda x_i, x_j: weight * (x_i - x_j).relu(), "sum", x=x)

    def eager(x: Tensor, weight: Tensor) -> Tensor:
        with mpnn.backend("eager"):
            return run(x, weight)

    assert_same(run, eager, [x["x"], randn(6)])


@pytest.mark.parametrize("wanted", [(), ("x",), ("e",), ("w",), ("x", "w"), ("e", "w")], ids=str)
@pytest.mark.parametrize("aggr", ["sum", "max"])
def test_only_the_gradients_that_are_asked_for_are_computed(aggr: str, wanted: tuple[str, ...]) -> None:
    values = {"x": randn(NUM_NODES, 4), "e": randn(NUM_EDGES, 4), "w": randn(4)}

    def gradients() -> list[Tensor]:
        fields: dict[str, Any] = {n: v.clone().requires_grad_(n in wanted) for n, v in values.items()}
        out = mpnn.propagate(graph, lambda x_i, x_j, e, w: w * (x_i - x_j + e).tanh(), aggr, **fields)
        assert out.requires_grad == bool(wanted)
        return list(torch.autograd.grad(out.square().sum(), [fields[n] for n in wanted])) if wanted else [out]

    with mpnn.backend("cpu"):
        ours = gradients()
    with mpnn.backend("eager"):
        theirs = gradients()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
