"""Recurrent layers equal torch.nn's, by their kernels and node by node; and read trees."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import mpnn
from mpnn import models, topology
from mpnn.layer.schedule import Topological
from mpnn.models.dense.recurrent import LSTMStep
from tests.compare import assert_close, assert_same

BACKENDS = ["dense", "eager"]
OPTIONS: list[dict[str, Any]] = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
    for layers, both, (bias, first) in product([1, 2], [False, True], [(True, True), (False, False)])
]
CASES = [(name, options) for name in ("RNN", "GRU", "LSTM") for options in OPTIONS]
CASES += [
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {**OPTIONS[-1], "proj_size": 3}),
]


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    ours = getattr(models, name)(3, 4, **options, dtype=torch.float64)
    theirs = getattr(nn, name)(3, 4, **options, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


class On(nn.Module):
    """A module on a backend, with its results as plain tensors."""

    def __init__(self, module: nn.Module, backend: str = "auto", **options: Any) -> None:
        super().__init__()
        self.module, self.backend, self.options = module, backend, options

    def forward(self, x: Any, hx: Any = None) -> Any:
        with mpnn.backend(self.backend):
            out, hidden = self.module(x, hx, **self.options)
        return (out.data, out.batch_sizes, hidden) if isinstance(out, PackedSequence) else (out, hidden)


def states(name: str, options: dict[str, Any], batch: int) -> Any:
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    h = torch.randn(count, batch, options.get("proj_size", 4), dtype=torch.float64)
    return (h, torch.randn(count, batch, 4, dtype=torch.float64)) if name == "LSTM" else h


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_option_equals_torch(name: str, options: dict[str, Any], backend: str) -> None:
    ours, theirs = pair(name, **options)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    x = x if options.get("batch_first") else x.transpose(0, 1)
    for inputs in ([x], [x, states(name, options, 2)]):
        assert_same(On(ours, backend), On(theirs), inputs)
    one = states(name, options, 1)
    one = tuple(h[:, 0] for h in one) if isinstance(one, tuple) else one[:, 0]
    for inputs in ([x[0]], [x[0], one]):
        assert_same(On(ours, backend), On(theirs), inputs)


def packed(layer: nn.Module, backend: str, is_sorted: bool) -> Any:
    def run(hx: Any, *parts: Tensor) -> Any:
        return On(layer, backend)(pack_sequence([*parts], enforce_sorted=is_sorted), hx)

    return run


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "options"), [CASES[k] for k in (2, 9, 14, 17, 22)], ids=str)
def test_packed_batches_equal_torch(name: str, options: dict[str, Any], backend: str) -> None:
    ours, theirs = pair(name, **options)
    for lengths, is_sorted in (((4, 2, 1), True), ((2, 5, 1), False)):
        parts = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
        for hx in (None, states(name, options, 3)):
            found = packed(ours, backend, is_sorted)
            assert_same(found, packed(theirs, "auto", is_sorted), [hx, *parts])


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_dropout_between_layers_drops_what_torch_drops(name: str) -> None:
    ours, theirs = pair(name, num_layers=3, dropout=0.4)
    assert_same(On(ours), On(theirs), [torch.randn(5, 2, 3, dtype=torch.float64)])


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("lengths", [(4, 4), (3, 5, 1)])
def test_a_chain_is_a_batch_of_sequences(name: str, lengths: tuple[int, ...]) -> None:
    ours, theirs = pair(name, num_layers=2, bidirectional=True)
    graph = topology.chain(list(lengths))
    x = torch.randn(sum(lengths), 3, dtype=torch.float64)
    assert_same(On(ours, "dense", graph=graph), On(ours, "eager", graph=graph), [x])
    out, hidden = theirs(pack_sequence(x.split(lengths), enforce_sorted=False))
    rows, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    found, states = ours(x, graph=graph)
    assert_close(found, torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)]))
    ours_h, theirs_h = (s if isinstance(s, Tensor) else s[0] for s in (states, hidden))
    assert_close(ours_h, theirs_h)


class InPieces(nn.Module):
    """Truncated backpropagation through time as one writes it with torch.nn: states handed on, detached."""

    def __init__(self, layer: Any, steps: int) -> None:
        super().__init__()
        self.module, self.steps = layer, steps

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        outs = []
        for part in x.split(self.steps):
            hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx if hx is None else hx.detach()
            out, hx = self.module(part, hx)
            outs.append(out)
        return torch.cat(outs), hx


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_truncated_backpropagation_equals_torch_in_pieces(name: str) -> None:
    ours, theirs = pair(name)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    assert_same(On(ours, truncate=3), InPieces(theirs, 3), [x])
    assert_same(On(ours, truncate=7), On(theirs), [x])
    chain = topology.chain([7, 7])
    rows = On(ours, graph=chain, truncate=3)(x.transpose(0, 1).flatten(0, 1))[0]
    assert_close(rows.view(2, 7, 4).transpose(0, 1), theirs(x)[0])
    (step, *_) = mpnn.explain(ours, rows[:, :3], graph=chain, truncate=3).steps
    assert step.way == "levels"
    assert "gradients are cut every 3 levels" in step.reason
    with pytest.raises(ValueError, match="truncate is 0, but must be a number of levels, at least 1"):
        ours(x, truncate=0)


def test_on_a_tree_gradients_are_cut_between_levels() -> None:
    lstm = models.LSTM(3, 4, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    path = topology.tree([-1, 0, 1, 2, 3])  # node 4 comes first, node 0 last
    (gradient,) = torch.autograd.grad(lstm(x, graph=path, truncate=2)[0][0].sum(), x)
    assert gradient.abs().sum(1).gt(0).tolist() == [True, False, False, False, False]
    (gradient,) = torch.autograd.grad(lstm(x, graph=path, truncate=2)[0][1].sum(), x)
    assert gradient.abs().sum(1).gt(0).tolist() == [False, True, True, False, False]


def tree_lstm(lstm: nn.LSTM, x: Tensor, parents: list[int]) -> Tensor:
    """The equations of Tai et al. (2015), child-sum, node by node."""
    ((w_x, w_h, b_x, b_h),) = lstm.all_weights
    w, u, b = w_x.chunk(4), w_h.chunk(4), (b_x + b_h).chunk(4)
    h: dict[int, Tensor] = {}
    c: dict[int, Tensor] = {}

    def visit(node: int) -> None:
        children = [k for k, parent in enumerate(parents) if parent == node]
        for child in children:
            visit(child)
        total = sum((h[k] for k in children), x.new_zeros(lstm.hidden_size))
        i, f, g, o = (w[k] @ x[node] + b[k] for k in range(4))
        kept = sum((torch.sigmoid(f + u[1] @ h[k]) * c[k] for k in children), x.new_zeros(lstm.hidden_size))
        c[node] = torch.sigmoid(i + u[0] @ total) * torch.tanh(g + u[2] @ total) + kept
        h[node] = torch.sigmoid(o + u[3] @ total) * torch.tanh(c[node])

    for node, parent in enumerate(parents):
        if parent < 0:
            visit(node)
    return torch.stack([h[k] for k in range(len(parents))])


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_on_a_tree_it_is_the_child_sum_tree_lstm(backend: str) -> None:
    parents = [-1, 0, 0, 1, 1, 1, 3, -1, 7, 5, 2]
    ours, _ = pair("LSTM")
    x = [torch.randn(len(parents), 3, dtype=torch.float64)]

    class Ours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = ours

        def forward(self, x: Tensor) -> Tensor:
            with mpnn.backend(backend):
                out: Tensor = self.lstm(x, graph=topology.tree(parents))[0]
            return out

    class Theirs(Ours):
        def forward(self, x: Tensor) -> Tensor:
            return tree_lstm(self.lstm, x, parents)

    assert_same(Ours(), Theirs(), x)


def test_the_last_nodes_of_a_tree_are_its_roots() -> None:
    lstm = models.LSTM(3, 4, bidirectional=True)
    x = torch.randn(5, 3)
    out, (h, c) = lstm(x, graph=topology.tree([-1, 0, 0, 1, -1]))
    assert [tuple(part.shape) for part in h] == [(2, 4), (3, 4)]  # roots going up; leaves going down
    assert_close(h[0], out[[0, 4], :4])
    assert_close(h[1], out[[2, 3, 4], 4:])
    assert len(c) == 2


def test_a_users_step_is_run() -> None:
    class Forgetful(LSTMStep):
        def forget(self, x: Tensor, h: Tensor) -> Tensor:
            return torch.zeros_like(super().forget(x, h))

    class ForgetfulLSTM(models.LSTM):
        step = Forgetful

    layer, x = ForgetfulLSTM(3, 4), torch.randn(5, 3)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").zero_()
    alone = torch.cat([layer(x[k : k + 1])[0] for k in range(5)])
    assert_close(layer(x)[0], alone, atol=1e-6)  # float32


def test_paths_through_a_graph_are_counted_in_order() -> None:
    class Paths(Topological):
        state = ("count",)

        def message(self, count_j: Tensor, weight: Tensor, x_j: Tensor, y_i: Tensor) -> Tensor:
            return count_j * weight + 0 * (x_j + y_i)

        def update(self, inputs: Tensor, start: Tensor) -> tuple[Tensor]:
            return (inputs + start,)

    generator = torch.Generator().manual_seed(3)
    matrix = torch.rand(9, 9, generator=generator, dtype=torch.float64).triu(1)
    matrix = matrix * (matrix > 0.4)
    order = torch.randperm(9, generator=generator)
    src, dst = matrix.nonzero().T
    graph = mpnn.Graph(order[torch.stack([src, dst])], 9)
    start = torch.rand(9, dtype=torch.float64, generator=generator)
    zero = torch.zeros(9, dtype=torch.float64)

    def ours(weight: Tensor, start: Tensor) -> Tensor:
        count: Tensor = Paths().propagate(graph, weight=weight, start=start, x=zero, y=zero)[0]
        return count

    def theirs(weight: Tensor, start: Tensor) -> Tensor:
        full = torch.zeros(9, 9, dtype=torch.float64).index_put((graph.dst, graph.src), weight)
        return torch.linalg.solve(torch.eye(9, dtype=torch.float64) - full, start)

    assert_same(ours, theirs, [matrix[src, dst], start])


def test_what_does_not_fit_is_refused() -> None:
    layer, x = models.GRU(3, 4), torch.randn(3, 3)
    with pytest.raises(ValueError, match="graph has a cycle"):
        layer(x, graph=torch.tensor([[0, 1, 2], [1, 2, 0]]))
    with mpnn.backend("eager"), pytest.raises(ValueError, match="input must have at least one step, got"):
        layer(torch.zeros(0, 2, 3))
    with pytest.raises(ValueError, match="hx was given with a graph"):
        layer(x, torch.zeros(1, 1, 4), graph=topology.chain(3))
    with pytest.raises(ValueError, match=r"with a graph of 4 nodes, input must be \[num_nodes, input_size\]"):
        layer(x, graph=topology.chain(4))
