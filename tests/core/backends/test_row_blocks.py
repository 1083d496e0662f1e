"""Linear maps at the nodes, whose gradients are added up a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
import mpnn.models
from mpnn import Graph, propagate
from mpnn.backends.run.gradients import Gradients
from mpnn.models.parts.linear import Projection
from mpnn.native.row_blocks import row_blocks
from mpnn.plan.stems import ALL, LinearMap
from tests.core.running import assert_like_eager

DTYPE = torch.float64


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[int, int]]]:
    """Set small blocks, hubs and tasks; the list of the blocks that are run."""
    monkeypatch.setattr("mpnn.native.row_blocks.ROWS_AT_ONCE", 7)
    monkeypatch.setattr("mpnn.backends.c.kernel.HEAVY_DEGREE", 16)
    monkeypatch.setattr("mpnn.backends.c.kernel.EDGES_PER_TASK_OF_BLOCK", 5)
    seen = set()
    add_rows = Gradients._add_rows

    def seeing(self: Gradients, k: int, rows: slice, gradient: Tensor) -> None:
        seen.add((rows.start, rows.stop))
        add_rows(self, k, rows, gradient)

    monkeypatch.setattr(Gradients, "_add_rows", seeing)
    yield seen


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


generator = torch.Generator().manual_seed(3)


def hub(num_src: int = 30, num_dst: int = 30, num_edges: int = 150) -> Graph:
    """Random edges, and two nodes with many."""
    edges = torch.stack([torch.randint(n, (num_edges,), generator=generator) for n in (num_src, num_dst)])
    edges[1, :40] = 11
    edges[0, 40:70] = 3
    return Graph(edges, num_src if num_src == num_dst else (num_src, num_dst))


def both_ends(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    query, key = F.linear(x_i, w, b).view(-1, 2, 3), F.linear(x_j, v).view(-1, 2, 3)
    return (query * key).sum(-1), key


def network(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    hidden = F.linear(torch.cat([x_i, x_j - x_i], -1), torch.cat([w, v], 1), b).tanh()
    return F.linear(hidden, w @ v.t())


def of_one_end(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    return F.linear(x_j, w, b) * x_i[:, :1] + F.linear(x_j, v)


def beside_itself(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    return F.linear(x_i, w, b) * x_j.sum(-1, keepdim=True) + x_i[:, :1] * F.linear(x_j, w) * v.sum()


def after_another(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    hidden = F.linear(x_j, w, b).tanh()
    return F.linear(hidden, w @ v.t()) * F.linear(x_i, v)[:, :1]


def one_bias_for_all(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    return (F.linear(x_i, w) + b[:1]) * F.linear(x_j, v, b)


def gated(x_i: Tensor, x_j: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    gate = torch.sigmoid(F.linear(x_i, w) + F.linear(x_j, v, b))
    return gate * (b * gate).sum(-1, keepdim=True)  # and a sum over all edges


def product(x_j: Tensor, weight: Tensor) -> Tensor:
    return x_j * weight.unsqueeze(-1)


MESSAGES: dict[str, tuple[Callable[..., Any], Any]] = {
    "attention": (both_ends, "softmax"),
    "a network of both ends": (network, "max"),
    "two maps of one end": (of_one_end, ["mean", "min"]),
    "maps and their argument": (beside_itself, "sum"),
    "a map after another": (after_another, "std"),
    "a number added to all channels": (one_bias_for_all, "sum"),
    "a shared parameter beside them": (gated, "mean"),
}

OF_ONE_END = ("two maps of one end", "a number added to all channels")  # whose gradient comes in blocks


def fields(num_src: int, num_dst: int) -> dict[str, Any]:
    x = randn(num_src, 4) if num_src == num_dst else (randn(num_src, 4), randn(num_dst, 4))
    return {"x": x, "w": randn(6, 4), "v": randn(6, 4), "b": randn(6)}


@pytest.mark.parametrize("size", [(30, 30), (40, 21)], ids=str)
@pytest.mark.parametrize("name", MESSAGES)
def test_gradients_in_blocks_are_those_of_plain_pytorch(
    name: str, size: tuple[int, int], blocks: set[tuple[int, int]]
) -> None:
    message, aggr = MESSAGES[name]
    assert_like_eager(hub(*size), message, aggr, fields(*size))
    ends = {size[0]} if name in OF_ONE_END else set(size)
    assert blocks == {(b.start, b.stop) for n in ends for b in row_blocks(n)}
    assert len(blocks) > 2


def test_a_graph_with_hardly_an_edge_has_hardly_a_gradient(blocks: set[tuple[int, int]]) -> None:
    graph = Graph(torch.tensor([[0, 1], [1, 1]]), 30)
    assert_like_eager(graph, both_ends, "softmax", fields(30, 30))
    assert blocks


@pytest.mark.parametrize("frozen", ["x", "w", "b"])
def test_what_is_frozen_gets_no_gradient(frozen: str, blocks: set[tuple[int, int]]) -> None:
    graph, given = hub(), fields(30, 30)

    def gradients() -> list[Tensor]:
        inputs = {name: t.clone().requires_grad_(name != frozen) for name, t in given.items()}
        out = propagate(graph, both_ends, "softmax", **inputs)
        out.square().sum().backward()
        assert inputs[frozen].grad is None
        return [t.grad for name, t in inputs.items() if name != frozen and t.grad is not None]

    ours = gradients()
    assert blocks
    with mpnn.backend("eager"):
        torch.testing.assert_close(ours, gradients(), atol=1e-10, rtol=1e-10)


def test_a_part_of_the_gradients_may_be_asked_for() -> None:
    graph = hub()
    inputs = [t.requires_grad_() for t in fields(30, 30).values()]
    out = propagate(graph, both_ends, "softmax", **dict(zip("xwvb", inputs, strict=True)))
    whole = torch.autograd.grad(out.square().sum(), inputs, retain_graph=True)
    for one, expected in zip(inputs, whole, strict=True):
        (alone,) = torch.autograd.grad(out.square().sum(), one, retain_graph=True)
        torch.testing.assert_close(alone, expected, atol=1e-12, rtol=1e-12)


def test_a_retained_graph_goes_back_twice_and_one_that_is_not_once(blocks: set[tuple[int, int]]) -> None:
    inputs = [t.requires_grad_() for t in fields(30, 30).values()]
    out = propagate(hub(), both_ends, "softmax", **dict(zip("xwvb", inputs, strict=True)))
    first = torch.autograd.grad(out.sum(), inputs, retain_graph=True)
    second = torch.autograd.grad(out.sum(), inputs)
    assert blocks
    assert all(map(torch.equal, first, second))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(out.sum(), inputs)


@pytest.mark.parametrize("name", ["attention", "a shared parameter beside them", "maps and their argument"])
def test_derivatives_of_gradients_in_blocks_are_right(name: str) -> None:
    message, aggr = MESSAGES[name]
    graph = hub(16, 16, 60)
    inputs = [t.requires_grad_() for t in fields(16, 16).values()]

    def run(*given: Tensor) -> Tensor:
        fields: dict[str, Any] = dict(zip("xwvb", given, strict=True))
        return propagate(graph, message, aggr, **fields)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.backends.c.kernel.SMALL", 0)
    graph, given = hub(800, 800, 5000), fields(800, 800)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            inputs = [t.clone().requires_grad_() for t in given.values()]
            out = propagate(graph, gated, "mean", **dict(zip("xwvb", inputs, strict=True)))
            found.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_what_the_way_back_does_not_read_is_not_kept() -> None:
    graph, x = hub(), randn(30, 4).requires_grad_()
    weight, factor = randn(150).requires_grad_(), randn(150)
    kept: list[Any] = []
    propagate(graph, product, x=x, weight=factor)  # trace and compile
    propagate(graph, product, x=x, weight=weight)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = propagate(graph, product, x=x, weight=factor)
        assert [t.shape for t in kept] == [factor.shape]
        kept.clear()
        propagate(graph, product, x=x, weight=weight)
        assert {t.shape for t in kept} == {x.shape, weight.shape}
    with torch.no_grad():
        x += 1  # the backward pass does not read x
    out.sum().backward()
    with mpnn.backend("eager"):
        again = propagate(graph, product, x=x, weight=factor)
        torch.testing.assert_close(x.grad, torch.autograd.grad(again.sum(), x)[0])


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, slice]]:
    """The linear maps that are computed: the address of the input, and the rows."""
    computed = []
    compute = LinearMap.__call__

    def seeing(self: LinearMap, tensors: Sequence[Tensor], rows: slice = ALL) -> Tensor:
        computed.append((self.weight, rows))
        return compute(self, tensors, rows)

    monkeypatch.setattr(LinearMap, "__call__", seeing)
    return computed


def test_a_map_that_no_edge_brings_from_elsewhere_is_made_in_blocks(maps: list[tuple[int, slice]]) -> None:
    given, graph = fields(30, 30), hub()
    with torch.no_grad():
        propagate(graph, both_ends, "softmax", **given)
    in_blocks, at_once = [[w for w, r in maps if (r == ALL) == whole] for whole in (False, True)]
    assert [r for _, r in maps if r != ALL] == row_blocks(30)
    assert len(set(in_blocks)) == len(at_once) == 1
    assert {*in_blocks, *at_once} == {w for w, _ in maps}


def test_a_backward_pass_has_the_maps_of_one_end_as_a_whole_at_a_time(maps: list[tuple[int, slice]]) -> None:
    inputs = {name: t.requires_grad_() for name, t in fields(30, 30).items()}
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = propagate(hub(), both_ends, "softmax", **inputs)
    assert sum(t.shape == (30, 2, 3) for t in kept) == 1  # the keys
    (query,), (key,) = [{w for w, r in maps if (r == ALL) == whole} for whole in (False, True)]
    maps.clear()
    out.sum().backward()
    # Over the edges that enter a node, whose query is its own; then over those that leave it, whose key is.
    blocks = row_blocks(30)
    assert maps == [*((query, rows) for rows in blocks), (query, ALL), *((key, rows) for rows in blocks)]


def test_what_is_not_kept_has_derivatives_of_every_order() -> None:
    graph, x, weight = hub(), randn(30, 4).requires_grad_(), randn(150)

    def run(x: Tensor) -> Tensor:
        return propagate(graph, product, x=x, weight=weight).square()

    assert torch.autograd.gradgradcheck(run, [x])


# Layers, which hand their maps to `propagate` -----------------------------------------------------------


def gatv2(**options: Any) -> nn.Module:
    return mpnn.models.GATv2Conv(4, 3, heads=2, **options).double()


def transformer(**options: Any) -> nn.Module:
    return mpnn.models.TransformerConv(4, 3, heads=2, **options).double()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "GATv2": gatv2,
    "GATv2 with one weight": lambda: gatv2(share_weights=True),
    "GATv2 without bias, against the edges": lambda: gatv2(bias=False, flow="target_to_source"),
    "GATv2 of two widths": lambda: mpnn.models.GATv2Conv(
        (4, 5), 3, heads=2, add_self_loops=False, residual=True
    ).double(),
    "GATv2 with a lazy width": lambda: mpnn.models.GATv2Conv(-1, 3, heads=2).double(),
    "Transformer": transformer,
    "Transformer with a gate": lambda: transformer(beta=True, concat=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_blocks_is_the_layer_in_plain_pytorch(name: str, blocks: set[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    graph, x = (hub(), randn(30, 4)) if "widths" not in name else (hub(40, 21), (randn(40, 4), randn(21, 5)))
    with torch.no_grad():
        layer(x, graph)  # takes a lazy width

    def eager(x: Any) -> Any:
        with mpnn.backend("eager"):
            return layer(x, graph)

    def differentiated(run: Callable[[Any], Any]) -> list[Tensor]:
        inputs = [t.clone().requires_grad_() for t in (x if isinstance(x, tuple) else [x])]
        out = run(tuple(inputs) if isinstance(x, tuple) else inputs[0])
        return [out, *torch.autograd.grad(out.square().sum(), [*inputs, *layer.parameters()])]

    ours = differentiated(lambda x: layer(x, graph))
    assert len(blocks) > 2
    torch.testing.assert_close(ours, differentiated(eager), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("make", [gatv2, transformer])
def test_attention_weights_have_gradients_beside_the_output(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer, graph = make(), hub()
    x = randn(30, 4).requires_grad_()

    def gradients() -> list[Tensor]:
        out, (_, weights) = layer(x, graph, return_attention_weights=True)
        total = out.square().sum() + weights.square().sum()
        return list(torch.autograd.grad(total, [x, *layer.parameters()], allow_unused=True))

    ours = gradients()
    with mpnn.backend("eager"):
        torch.testing.assert_close(ours, gradients(), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("make", [gatv2, transformer])
def test_second_derivatives_of_a_layer_in_blocks_are_right(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer, graph = make(), hub(16, 16, 60)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, graph), [randn(16, 4).requires_grad_()])


def test_a_linear_map_that_is_watched_is_called() -> None:
    layer, graph, x = gatv2(), hub(), randn(30, 4)
    calls = []
    layer.get_submodule("lin_l").register_forward_hook(lambda module, inputs, out: calls.append(out.shape))
    layer(x, graph)
    assert calls == [(30, 6)]


def test_a_linear_map_of_ones_own_is_called() -> None:
    class Doubled(Projection):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    torch.manual_seed(0)
    layer, graph, x = gatv2(), hub(), randn(30, 4)
    before = layer(x, graph)
    layer.lin_l = Doubled(4, 6).double()
    layer.lin_l.load_state_dict({k: v / 2 for k, v in layer.lin_l.state_dict().items()})
    own = layer.get_submodule("lin_l")
    with torch.no_grad():
        expected = layer(x, graph)  # where no gradient is asked for, every map is called
    torch.testing.assert_close(layer(x, graph), expected, atol=1e-12, rtol=0)
    assert not torch.equal(before, expected)
    assert isinstance(own, Doubled)


def test_an_update_of_ones_own_gets_tensors() -> None:
    class Kept(mpnn.models.GATv2Conv):
        def update(self, out: Tensor, x: Any) -> Tensor:
            assert all(isinstance(half, Tensor) for half in x)
            return out + x[1]

    torch.manual_seed(0)
    layer, graph, x = Kept(4, 3, heads=2).double(), hub(), randn(30, 4)
    with torch.no_grad():
        expected = layer(x, graph)
    torch.testing.assert_close(layer(x, graph), expected, atol=1e-12, rtol=0)


def test_blocks_of_many_rows_in_single_precision_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.native.row_blocks.ROWS_AT_ONCE", 8192)
    torch.manual_seed(0)
    layer, num_nodes = mpnn.models.GATv2Conv(32, 8, heads=4, add_self_loops=False), 17_000
    graph, x = Graph(torch.randint(num_nodes, (2, 40_000)), num_nodes), torch.randn(num_nodes, 32)

    def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
        x.requires_grad_()
        return list(torch.autograd.grad(layer(x, graph).square().mean(), [x, *layer.parameters()]))

    ours = gradients(layer, x)
    with mpnn.backend("eager"):
        exact = gradients(deepcopy(layer).double(), x.detach().double())
    for one, expected in zip(ours, exact, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(one.double(), expected, atol=1e-5 * scale, rtol=0)  # of float32, summed


def test_a_layer_in_blocks_says_so() -> None:
    text = str(mpnn.explain(gatv2(), randn(30, 4), hub()))
    assert "x_i.weight), once per destination node" in text
