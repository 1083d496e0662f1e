"""Attention as message passing equals torch.nn.MultiheadAttention, by its kernel and edge by edge."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

import mpnn
from mpnn import MessagePassing, topology
from mpnn.models import MultiheadAttention
from tests.compare import assert_close, assert_same

BACKENDS = ["dense", "eager"]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "other widths": {"kdim": 5, "vdim": 3},
    "other widths, no bias": {"kdim": 5, "vdim": 3, "bias": False},
    "bias_k": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True},
    "bias_k and zero": {"add_bias_kv": True, "add_zero_attn": True},
}


class Call(nn.Module):
    """A module called with the same options every time, on a backend."""

    def __init__(self, module: nn.Module, backend: str = "auto", **options: Any) -> None:
        super().__init__()
        self.module, self.backend, self.options = module, backend, options

    def forward(self, *inputs: Tensor) -> Any:
        if len(inputs) == 1:
            inputs = inputs * 3  # self-attention, on one and the same tensor
        with mpnn.backend(self.backend):
            return self.module(*inputs, **self.options)


def pair(**options: Any) -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    ours = MultiheadAttention(8, 2, **options, dtype=torch.float64)
    theirs = nn.MultiheadAttention(8, 2, **options, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_equal_modules(
    ours: nn.Module, theirs: nn.Module, inputs: Any, backend: str, **options: Any
) -> None:
    assert_same(Call(ours, backend, **options), Call(theirs, **options), inputs)


def sequences(
    queries: int, keys: int, kind: dict[str, Any], batch_first: bool, batch: int | None = 3
) -> list[Tensor]:
    widths = ((queries, 8), (keys, kind.get("kdim", 8)), (keys, kind.get("vdim", 8)))
    shapes = [(n, w) if batch is None else (batch, n, w) if batch_first else (n, batch, w) for n, w in widths]
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


def masks(queries: int, keys: int, batch: int = 3) -> dict[str, dict[str, Tensor]]:
    square = torch.rand(queries, keys) < 0.4
    square[:, 0] = False
    padding = torch.rand(batch, keys) < 0.4
    padding[:, 0] = False
    each = torch.randn(batch * 2, queries, keys, dtype=torch.float64)
    return {
        "none": {},
        "square": {"attn_mask": square},
        "float": {"attn_mask": torch.randn(queries, keys, dtype=torch.float64)},
        "per head": {"attn_mask": each},
        "padding": {"key_padding_mask": padding},
        "float padding": {"key_padding_mask": torch.randn(batch, keys, dtype=torch.float64)},
        "square and padding": {"attn_mask": square, "key_padding_mask": padding},
        "per head and padding": {
            "attn_mask": each,
            "key_padding_mask": torch.zeros(batch, keys, dtype=torch.float64).masked_fill(
                padding, -torch.inf
            ),
        },
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_every_kind_with_every_mask_equals_torch(kind: str, batch_first: bool, backend: str) -> None:
    ours, theirs = pair(**KINDS[kind], batch_first=batch_first)
    inputs = sequences(4, 5, KINDS[kind], batch_first)
    for (name, mask), need_weights in product(masks(4, 5).items(), [True, False]):
        average = name != "square"
        options = {**mask, "need_weights": need_weights, "average_attn_weights": average}
        assert_equal_modules(ours, theirs, inputs, backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["plain", "no bias", "bias_k and zero"])
def test_one_sequence_and_self_attention_equal_torch(kind: str, need_weights: bool, backend: str) -> None:
    ours, theirs = pair(**KINDS[kind])
    x = torch.randn(5, 8, dtype=torch.float64)
    options = {
        "need_weights": need_weights,
        "key_padding_mask": torch.tensor([False, True, False, True, False]),
    }
    assert_equal_modules(ours, theirs, [x], backend, **options)
    assert_equal_modules(
        ours, theirs, [torch.randn(5, 3, 8, dtype=torch.float64)], backend, need_weights=need_weights
    )
    key = torch.randn(7, 8, dtype=torch.float64)
    same_key = Call(lambda q, k, _: ours(q, k, k, need_weights=need_weights), backend)  # type: ignore[arg-type]
    theirs_same = Call(lambda q, k, _: theirs(q, k, k, need_weights=need_weights))  # type: ignore[arg-type]
    assert_same(same_key, theirs_same, [x, key, key])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_causal_attention_equals_torch_with_a_mask(padded: bool, need_weights: bool, backend: str) -> None:
    ours, theirs = pair(batch_first=True)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    padding: dict[str, Any] = {}
    if padded:
        padding["key_padding_mask"] = torch.arange(6) >= torch.tensor([[6], [4], [1]])
    x = [torch.randn(3, 6, 8, dtype=torch.float64)]
    wanted = Call(theirs, attn_mask=mask, need_weights=need_weights, **padding)
    assert_same(Call(ours, backend, is_causal=True, need_weights=need_weights, **padding), wanted, x)
    hinted = Call(ours, backend, is_causal=True, attn_mask=mask, need_weights=need_weights, **padding)
    assert_same(hinted, wanted, x)


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_drops_what_torch_drops(need_weights: bool) -> None:
    ours, theirs = pair(dropout=0.5)
    x = [torch.randn(5, 3, 8, dtype=torch.float64)]
    assert_equal_modules(ours, theirs, x, "dense", need_weights=need_weights)


def test_dropout_of_messages_keeps_the_mean() -> None:
    ours, _ = pair(dropout=0.3)
    x = torch.randn(4, 2000, 8, dtype=torch.float64)[:, :1].expand(-1, 2000, -1)
    with mpnn.backend("eager"):
        dropped = ours(x, x, x, need_weights=False)[0].mean(1)
        ours.eval()
        kept = ours(x[:, :1], x[:, :1], x[:, :1], need_weights=False)[0].squeeze(1)
    assert_close(dropped, kept, atol=0.05)  # a mean of 2000 draws


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize(
    "graph",
    [
        topology.complete([3, 4]),
        topology.causal([3, 4]),
        topology.band([3, 4], 1),
        topology.star([2, 3], both_ways=True),
    ],
    ids=lambda g: type(g).__name__,
)
def test_on_a_graph_a_query_attends_to_its_neighbours_only(graph: mpnn.Graph, backend: str) -> None:
    ours, theirs = pair()
    mask = torch.ones(7, 7, dtype=torch.bool)
    mask[graph.dst, graph.src] = False
    lonely = mask.all(1)
    mask[lonely] = False
    x = torch.randn(7, 8, dtype=torch.float64)
    with mpnn.backend(backend):
        out, weights = ours(x, x, x, graph=graph)
        alone, none = ours(x, x, x, graph=graph, need_weights=False)
    wanted, wanted_weights = theirs(x, x, x, attn_mask=mask)
    assert none is None
    assert_close(out[~lonely], wanted[~lonely])
    assert_close(alone, out)
    kept = ~lonely[graph.dst]
    assert_close(weights[kept], wanted_weights[graph.dst, graph.src][kept])


def test_its_own_message_is_lowered_on_every_topology_it_makes() -> None:
    ours, _ = pair()
    x = torch.randn(6, 8, dtype=torch.float64)
    for graph in (
        topology.complete(6),
        topology.causal(6),
        topology.band(6, 2),
        topology.complete_bipartite(6, 6),
    ):
        with mpnn.backend("dense"):
            assert torch.isfinite(ours(x, x, x, graph=graph, need_weights=False)[0]).all()


def test_a_subclass_with_another_message_runs_its_message() -> None:
    class Twice(MultiheadAttention):
        def message(self, q_i: Tensor, k_j: Tensor, v_j: Tensor, bias: Tensor | None = None) -> Any:
            return self.edge_update(q_i, k_j, bias), 2 * v_j

    x = torch.randn(5, 3, 8)
    twice, once = Twice(8, 2, bias=False), MultiheadAttention(8, 2, bias=False)
    twice.load_state_dict(once.state_dict())
    assert_close(twice(x, x, x)[0], 2 * once(x, x, x)[0], atol=1e-6)  # float32


def test_a_users_own_layer_runs_on_the_attention_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr="softmax")
            self.key = nn.Linear(8, 8, dtype=torch.float64)

        def message(self, x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
            return torch.einsum("ec,ec->e", x_i, self.key(x_j)) * 0.1, x_j

        def forward(self, x: Tensor, graph: mpnn.Graph) -> Tensor:
            out: Tensor = self.propagate(graph, x=x)
            return out

    calls = []
    kernel = nn.functional.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(kwargs["is_causal"])
        return kernel(*args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", counted)
    layer, graph = Mine(), topology.causal(9)
    x = [torch.randn(9, 8, dtype=torch.float64)]

    class On(nn.Module):
        def __init__(self, backend: str) -> None:
            super().__init__()
            self.layer, self.backend = layer, backend

        def forward(self, x: Tensor) -> Tensor:
            with mpnn.backend(self.backend):
                return self.layer(x, graph)

    assert_same(On("auto"), On("eager"), x)
    assert calls == [True]


@pytest.mark.parametrize(
    "graph", [topology.causal(8192), topology.band(8192, 128, causal=True)], ids=["causal", "band"]
)
def test_long_sequences_never_make_a_square(graph: mpnn.Graph) -> None:
    layer = MultiheadAttention(4, 1)
    x = torch.randn(8192, 4)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            nonlocal largest
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, Tensor) and not tensor.is_meta and not isinstance(tensor, FakeTensor):
                    largest = max(largest, tensor.untyped_storage().nbytes())
            return out

    with Watch():
        layer(x, x, x, graph=graph, need_weights=False)[0].sum().backward()
    assert largest < 8192 * 8192 // 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attn_mask": torch.zeros(3, 3)}, r"attn_mask has shape \[3, 3\], but must be \[4, 4\]"),
        (
            {"key_padding_mask": torch.zeros(2, 4)},
            r"key_padding_mask has shape \[2, 4\], but must be \[3, 4\]",
        ),
        ({"graph": topology.complete(12)}, r"with a graph must be \[num_dst, embed_dim\]"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], sentence: str) -> None:
    x = torch.randn(3, 4, 8)
    with pytest.raises(ValueError, match=sentence):
        MultiheadAttention(8, 2, batch_first=True)(x, x, x, **options)


def test_options_without_meaning_on_a_graph_are_refused() -> None:
    x, graph = torch.randn(4, 8), topology.complete(4)
    layer = MultiheadAttention(8, 2)
    refused: list[tuple[str, Callable[[], Any]]] = [
        ("is_causal", lambda: layer(x, x, x, graph=graph, is_causal=True)),
        ("key_padding_mask", lambda: layer(x, x, x, graph=graph, key_padding_mask=torch.zeros(4))),
        ("add_zero_attn", lambda: MultiheadAttention(8, 2, add_zero_attn=True)(x, x, x, graph=graph)),
        ("add_bias_kv", lambda: MultiheadAttention(8, 2, add_bias_kv=True)(x, x, x, graph=graph)),
    ]
    for name, call in refused:
        with pytest.raises(ValueError, match=f"{name} was given with a graph"):
            call()
    with pytest.raises(ValueError, match=r"attn_mask has shape \[3\]"):
        layer(x, x, x, graph=graph, attn_mask=torch.zeros(3))
