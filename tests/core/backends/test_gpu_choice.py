"""The kernels that a GPU gets, asked for with empty tensors that claim to be on one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mpnn import Graph, topology
from mpnn.backends import choice, triton
from mpnn.backends.run import rows_op
from mpnn.backends.triton import has_triton
from mpnn.lowering import dot_product_attention, flexible
from mpnn.plan import typed
from mpnn.step.schedule import PARALLEL


@pytest.fixture
def _hopper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(flexible, "has_triton", lambda: True)
    with FakeTensorMode():
        yield


def on_gpu(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cuda")


class OnGPU(Graph):
    """A graph that claims to be on a GPU."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", 0)

    @property
    def is_on_cpu(self) -> bool:
        return False


def test_a_step_on_a_gpu_is_for_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "run_if_it_can", lambda step: "by Triton")
    graph = OnGPU(torch.tensor([[0, 1], [1, 0]]))
    step: Any = SimpleNamespace(fields=SimpleNamespace(graph=graph), schedule=PARALLEL)
    assert choice._auto(step) == "by Triton"


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_a_compiled_function_on_a_gpu_runs_kernels_in_triton() -> None:
    from mpnn.backends.triton.kernel import TritonKernel

    assert rows_op.kernels_for(torch.device("cuda", 1)) is TritonKernel


@pytest.mark.usefixtures("_hopper")
@pytest.mark.parametrize(
    ("x", "weight", "grouped"),
    [
        ((torch.bfloat16, 8, 16), 16, True),
        ((torch.bfloat16, 8, 16), 12, False),  # rows of 24 bytes
        ((torch.bfloat16, 8, 20), 16, False),
        ((torch.bfloat16, 0, 16), 16, False),
        ((torch.float32, 8, 16), 16, False),
    ],
)
def test_products_by_type_are_one_kernel_on_tensor_cores(x: Any, weight: int, grouped: bool) -> None:
    dtype, rows, width = x
    assert typed._suits_one_kernel(
        on_gpu(rows, width, dtype=dtype), on_gpu(3, width, weight, dtype=dtype)
    ) == (grouped and hasattr(torch.nn.functional, "grouped_mm"))


@pytest.mark.usefixtures("_hopper")
@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="this PyTorch has none")
def test_products_by_type_are_one_kernel_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(typed, "_ends", lambda counts, device: counts)
    asked: list[Any] = []

    def grouped(x: Tensor, weight: Tensor, offs: Any) -> Tensor:
        asked.append((x.dtype, weight.dtype, offs))
        return x.new_empty(8, 16)

    monkeypatch.setattr(torch.nn.functional, "grouped_mm", grouped)
    with torch.no_grad():
        x, weight = on_gpu(8, 32, dtype=torch.float32), on_gpu(2, 32, 16, dtype=torch.float32)
        assert typed.grouped_linear(x, weight, [3, 5]).dtype == torch.bfloat16
    assert asked == [(torch.bfloat16, torch.bfloat16, (3, 5))]


@pytest.mark.usefixtures("_hopper")
def test_products_by_type_need_a_gpu_of_this_decade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not typed._suits_one_kernel(on_gpu(8, 16), on_gpu(3, 16, 16))


# That they get it, `test_flex_attention_in_a_window_equals_eager` shows.
@pytest.mark.usefixtures("_hopper")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_windows_and_blocks_are_for_flex_attention(dtype: torch.dtype) -> None:
    assert flexible.suits(on_gpu(5, 2, 16, dtype=dtype), on_gpu(5, 2, 32, dtype=dtype))


@pytest.mark.usefixtures("_hopper")
def test_narrow_heads_and_double_precision_are_not() -> None:
    assert not flexible.suits(on_gpu(5, 2, 8), on_gpu(5, 2, 8))
    assert not flexible.suits(on_gpu(5, 2, 16, dtype=torch.float64), on_gpu(5, 2, 16))


@pytest.mark.parametrize(
    ("graph", "causal"),
    [
        (topology.complete([6, 6]), False),
        (topology.complete_bipartite([6, 6], [4, 4]), False),
        (topology.causal([6, 6]), True),
        (topology.causal([6, 3]), True),
        (topology.causal([6, 6]).reverse(), True),
    ],
    ids=["complete", "bipartite", "causal", "causal and ragged", "causal, reversed"],
)
def test_a_flag_and_no_mask_lets_flash_attention_run(
    graph: Any, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its kernels take no mask of pairs, and tensors [batch, heads, length, channels].
    asked: list[tuple[Any, bool, int, int]] = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def noted(q: Tensor, k: Tensor, v: Tensor, mask: Any = None, *, is_causal: bool, scale: float) -> Tensor:
        asked.append((mask, is_causal, q.dim(), q.stride(-1)))
        return kernel(q, k, v, mask, is_causal=is_causal, scale=scale)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    src, dst = graph.size
    dot_product_attention.attend(
        graph, torch.randn(dst, 2, 16), torch.randn(src, 2, 16), torch.randn(src, 2, 16), 0.25
    )
    assert asked == [(None, causal, 4, 1)]
