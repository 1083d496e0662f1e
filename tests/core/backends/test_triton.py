"""The kernels in Triton: on a GPU where there is one, else in Triton's interpreter, against plain PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mpnn
from mpnn import Graph, propagate
from mpnn.aggregate import aggregators as aggregate
from mpnn.backends.run import rows_op
from mpnn.backends.triton import has_triton, tiles
from tests.compare import assert_close
from tests.core.backends.test_backend_messages import MESSAGES, Message
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, EAGER, KERNEL, assert_like_eager, assert_runs

if not has_triton():
    pytest.skip("Triton is not installed", allow_module_level=True)

from mpnn.backends.triton.kernel import TritonKernel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.float64
NUM_NODES = 9
graph = random_graph(NUM_NODES).to(DEVICE)
generator = torch.Generator().manual_seed(3)


def randn(*shape: int, dtype: torch.dtype = DTYPE) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator).to(DEVICE, dtype)


def there(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: v.to(DEVICE) if isinstance(v, Tensor) else v for name, v in fields.items()}


def assert_right(
    graph: Graph, message: Callable[..., Any], aggr: Any, fields: dict[str, Any], **options: Any
) -> None:
    assert_like_eager(graph, message, aggr, there(fields), backend="triton", **options)


def scored(x_i: Tensor, x_j: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return (x_i * x_j).sum(-1), x_j.unsqueeze(-1) * e


# Every message of the C kernels that is not about what cannot become one.
@pytest.mark.parametrize("message", [m for m in MESSAGES if m.way == KERNEL or not m.way], ids=str)
def test_a_message_equals_plain_pytorch(message: Message) -> None:
    if DEVICE != "cpu" and message.name in ("a literal tensor", "places"):
        pytest.skip("it makes a tensor on the CPU")
    assert_right(graph, message.function, "sum", message.fields, way=message.way or None)


@pytest.mark.parametrize(
    "aggr",
    ["sum", "mean", "max", "min", "mul", "var", "std", "softmax", "powermean", "median",
     ["mean", "max", "std"], ["min", "softmax"], aggregate.Softmax(0.7, learn=True)],
    ids=str,
)  # fmt: skip
def test_an_aggregator_equals_plain_pytorch(aggr: Any) -> None:
    fields = {"x": randn(NUM_NODES, 3), "e": randn(graph.num_edges, 3)}
    if isinstance(aggr, aggregate.Softmax):
        aggr = aggr.to(DEVICE, DTYPE)
    if aggr == "powermean":
        fields = {name: v.abs() + 0.1 for name, v in fields.items()}
    way = {"powermean": EAGER, "median": EAGER}.get(str(aggr), KERNEL)
    assert_right(graph, lambda x_i, x_j, e: x_i * e + x_j, aggr, fields, way=way)


@pytest.mark.parametrize("heads", [(2,), (3, 2), ()], ids=str)
def test_attention_equals_plain_pytorch(heads: tuple[int, ...]) -> None:
    fields = {"x": randn(NUM_NODES, *heads, 5), "e": randn(graph.num_edges, *heads, 5, 3)}
    assert_right(graph, scored, "softmax", fields)


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)], ids=str
)
def test_numbers_of_other_types_are_accumulated_in_float32(
    aggr: str, dtype: torch.dtype, atol: float
) -> None:
    x, e = randn(NUM_NODES, 4, dtype=dtype), randn(graph.num_edges, 4, dtype=dtype)

    def step(backend: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [t.detach().to(dtype).requires_grad_() for t in (x, e)]
        with mpnn.backend(backend):
            out = propagate(graph, lambda x_i, x_j, e: (x_i - x_j) * e, aggr, x=leaves[0], e=leaves[1])
        return [out.detach(), *torch.autograd.grad(out.sum(), leaves)]

    found, exact = step("triton", dtype), step("eager", torch.float64)
    assert found[0].dtype == dtype
    close = [found[0]] if aggr == "max" and dtype != torch.float32 else found  # rounded values may tie
    for one, other in zip(close, exact, strict=False):
        assert_close(one.double(), other, atol)


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
def test_a_maximum_and_its_gradient_see_nan_and_infinity(aggr: str) -> None:
    x = randn(NUM_NODES, 3)
    x[1, 0], x[2, 1], x[3, 2] = torch.nan, torch.inf, -torch.inf
    assert_right(graph, lambda x_j: x_j, aggr, {"x": x}, gradients=False)


@pytest.mark.parametrize(
    "odd",
    [Graph(torch.empty(2, 0, dtype=torch.int64), 4), Graph(torch.empty(2, 0, dtype=torch.int64), 0),
     random_graph((5, 7), 12), Graph(torch.zeros(2, 30, dtype=torch.int64), 3)],
    ids=["no edges", "no nodes", "bipartite", "one pair many times"],
)  # fmt: skip
@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
def test_odd_graphs_equal_plain_pytorch(aggr: str, odd: Graph) -> None:
    fields = {"x": (randn(odd.num_src, 2), randn(odd.num_dst, 2)), "w": randn(2)}
    if not odd.is_bipartite:
        fields["x"] = randn(odd.num_nodes, 2)
    way = KERNEL if odd.num_edges > 1 else EAGER
    assert_like_eager(
        odd.to(DEVICE), lambda x_i, x_j, w: w * (x_i - x_j).tanh(), aggr, fields, backend="triton", way=way
    )


@pytest.mark.parametrize("width", [0, 1, 7, 300])
def test_any_width_will_do(width: int) -> None:
    assert_right(graph, lambda x_i, x_j: x_i - x_j, "sum", {"x": randn(NUM_NODES, width)})


def test_a_message_too_wide_for_a_tile_runs_in_chunks() -> None:
    fields = there({"a": randn(NUM_NODES, 300), "b": randn(NUM_NODES, 300)})

    def wide(a_i: Tensor, b_j: Tensor) -> Tensor:
        return a_i.unsqueeze(-1) * b_j.unsqueeze(-2)

    assert_like_eager(graph, wide, "max", fields, backend="triton", way=CHUNKS, gradients=False)


# The division of rows ------------------------------------------------------------------------------------


def uneven_graph() -> Graph:
    """Rows of 0, 1, 9, 70 and 300 edges, among others."""
    degrees = torch.tensor([300, 0, 1, 9, 70, 3, 8, 64, 65, 129])
    dst = torch.repeat_interleave(torch.arange(10), degrees)
    src = torch.randint(10, dst.shape, generator=generator)
    mixed = torch.randperm(dst.numel(), generator=generator)
    return Graph(torch.stack([src, dst])[:, mixed], 10).to(DEVICE)


@pytest.fixture(params=["known", "bounded"])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make long rows hubs; the CPU knows their number, or launches as many programs as there could be."""
    monkeypatch.setattr(tiles, "HUB", 128)
    monkeypatch.setattr(tiles, "_may_wait", lambda graph: request.param == "known")


@pytest.mark.parametrize("width", [1, 3, 16, 48, 128, 300, 1024, 5000])
def test_a_tile_is_as_large_as_registers_allow(width: int) -> None:
    lanes = 1 << (width - 1).bit_length()
    edges, warps = tiles.tile_of(lanes)
    assert edges & (edges - 1) == 0 and warps in (1, 2, 4, 8)
    assert edges * lanes <= max(tiles.NUMBERS, lanes) and edges <= tiles.MOST_EDGES
    assert edges in (1, tiles.MOST_EDGES) or edges * lanes == tiles.NUMBERS
    assert edges * lanes <= 64 * 32 * warps or warps == 8  # numbers of a thread


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("aggr", ["mean", "max", "min", "softmax", ["mean", "std"]], ids=str)
def test_long_rows_are_split_and_combined(aggr: Any) -> None:
    uneven = uneven_graph()
    fields = {"x": randn(10, 3), "e": randn(uneven.num_edges, 3), "w": randn(3)}
    division = tiles.division_of(uneven, mpnn.plan.homes.Home.DST)[1]
    assert division.num_parts >= 3 + 2
    assert_right(uneven, lambda x_i, x_j, e, w: w * (x_i - x_j).sin() + e, aggr, fields)


@pytest.mark.usefixtures("small_parts")
def test_scores_of_long_rows_are_combined() -> None:
    uneven = uneven_graph()
    fields = {"x": randn(10, 2, 3), "e": randn(uneven.num_edges, 2, 3, 2)}
    assert_right(uneven, scored, "softmax", fields)


@pytest.mark.usefixtures("small_parts")
def test_every_edge_belongs_to_one_launch() -> None:
    uneven = uneven_graph()
    csr, division = tiles.division_of(uneven, mpnn.plan.homes.Home.DST)
    slots = [
        slot
        for launch in division.launches
        for begin, end in zip(launch.begins.tolist(), launch.ends.tolist(), strict=True)
        for slot in range(begin, end)
    ]
    assert sorted(slots) == list(range(uneven.num_edges))
    whole = torch.cat([one.rows for one in division.launches if not one.part])
    assert division.hubs is not None
    rows = [row for row in (*whole.tolist(), *division.hubs.rows.tolist()) if row >= 0]
    assert sorted(rows) == list(range(csr.num_rows))


@pytest.mark.usefixtures("small_parts")
def test_a_kernel_gives_the_same_bits_every_time() -> None:
    uneven = uneven_graph()
    values = [randn(10, 3), randn(uneven.num_edges, 3), randn(3)]

    def step() -> list[Tensor]:
        leaves = [v.clone().requires_grad_() for v in values]
        with mpnn.backend("triton"):
            x, e, w = leaves
            out = propagate(uneven, lambda x_i, x_j, e, w: (w * x_i, x_j * e), "softmax", x=x, e=e, w=w)
        return [out, *torch.autograd.grad(out.square().sum(), leaves)]

    for one, other in zip(step(), step(), strict=True):
        assert torch.equal(one, other)


def test_large_indices_are_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpnn.graph.csr, "INT32_MAX", 3)
    fresh = random_graph(NUM_NODES, 31).to(DEVICE)
    assert fresh.by_dst.indptr.dtype == torch.int64
    assert_right(fresh, lambda x_i, x_j: x_i * x_j, "max", {"x": randn(NUM_NODES, 3)})


# Dropout --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropout_takes_the_mask_of_the_c_kernel(p: float) -> None:
    if DEVICE != "cpu":
        pytest.skip("the C kernel runs on the CPU")
    values = [randn(NUM_NODES, 5), randn(graph.num_edges, 5)]

    def step(backend: str) -> list[Tensor]:
        leaves = [v.clone().requires_grad_() for v in values]
        torch.manual_seed(11)
        with mpnn.backend(backend):
            out = propagate(
                graph, lambda x_j, e: F.dropout(x_j * e, p) + F.dropout(e, p), "sum", x=leaves[0], e=leaves[1]
            )
        return [out, *torch.autograd.grad(out.square().sum(), leaves)]

    for one, other in zip(step("triton"), step("cpu"), strict=True):
        assert_close(one, other)


# Compiled and exported functions ----------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let compiled functions run the Triton kernels on any device; each run is appended to the list."""
    ran: list[str] = []

    class Counted(TritonKernel):
        def __call__(self, *args: Any) -> list[Tensor]:
            ran.append(self.program.by.value)
            return super().__call__(*args)

    monkeypatch.setattr(rows_op, "kernels_for", lambda device: Counted)
    rows_op.fused_of.cache_clear()
    torch._dynamo.reset()
    yield ran
    rows_op.fused_of.cache_clear()
    torch._dynamo.reset()


def test_a_compiled_function_runs_them(launched: list[str]) -> None:
    layer = mpnn.models.GATv2Conv(4, 3, heads=2).to(DEVICE, DTYPE)
    x = randn(NUM_NODES, 4)

    def step(function: Any) -> list[Tensor]:
        leaves = [x.clone().requires_grad_(), *layer.parameters()]
        out = function(leaves[0], graph.edge_index)
        return [out, *torch.autograd.grad(out.sin().sum(), leaves)]

    with mpnn.backend("triton"):
        found = step(torch.compile(layer, fullgraph=True, backend="aot_eager"))
    assert set(launched) == {"destination", "source"}
    with mpnn.backend("eager"):
        expected = step(layer)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


def test_an_exported_function_runs_them(launched: list[str]) -> None:
    layer = mpnn.models.SAGEConv(4, 3, aggr="max").to(DEVICE, DTYPE)
    inputs = randn(NUM_NODES, 4), graph.edge_index
    sizes = ({0: torch.export.Dim.DYNAMIC}, {1: torch.export.Dim.DYNAMIC})
    program = torch.export.export(layer, inputs, dynamic_shapes=sizes).module()
    assert_close(program(*inputs), layer(*inputs))
    assert launched == ["destination"]


def test_dropout_in_a_compiled_function_is_the_same_on_the_way_back(launched: list[str]) -> None:
    x = randn(NUM_NODES, 4).requires_grad_()

    def dropped(x_j: Tensor) -> Tensor:
        return F.dropout(x_j, 0.5)

    def call(x: Tensor) -> Tensor:
        return propagate(graph, dropped, "sum", x=x)

    out = torch.compile(call, fullgraph=True, backend="aot_eager")(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert_close((gradient * x).sum(), out.sum())  # linear in x, with the mask of the forward pass
    assert len(launched) == 2


# Dispatch -------------------------------------------------------------------------------------------------


def test_an_error_says_where_triton_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    ring = Graph(torch.tensor([[0, 1], [1, 0]]))
    with (
        mpnn.backend("triton"),
        pytest.raises(ValueError, match="runs on CUDA tensors, but the graph is on cpu"),
    ):
        propagate(ring, lambda x_j: x_j, x=torch.ones(2, 1))


def test_an_error_says_that_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpnn.backends.triton, "has_triton", lambda: False)
    with mpnn.backend("triton"), pytest.raises(ValueError, match="needs the package triton"):
        propagate(graph, lambda x_j: x_j, x=randn(NUM_NODES, 1))


def test_explain_names_it_and_shows_its_source() -> None:
    with mpnn.backend("triton"):
        explained = mpnn.explain(
            lambda x: propagate(graph, lambda x_i, x_j: x_i * x_j, x=x), randn(NUM_NODES, 2)
        )
    assert "as a kernel in Triton" in str(explained)
    assert "@triton.jit" in explained.source
    assert "out0 = sum of in0 * in1" in explained.source


def test_a_model_trains_on_it() -> None:
    model = mpnn.models.GNN(4, 8, 3, conv="gat").to(DEVICE, DTYPE)
    x = randn(NUM_NODES, 4)
    with mpnn.backend("triton"):
        assert_runs(KERNEL, lambda: model(x, graph).square().sum().backward())


def test_kernels_compile_for_a_gpu_and_hold_no_atomic_operation(tmp_path: Path) -> None:
    # A fresh process, because Triton either interprets or compiles in a process.
    home = Path(__file__).parents[3]
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(home),
    }
    command = [sys.executable, str(Path(__file__).parents[1] / "compile_for_a_gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 9
