"""Compile generated kernels down to a GPU's own code, without a GPU; a test runs it in another process.

With --all, the kernels of every message of the tests, and of every aggregator in every type: some minutes.

    PYTHONPATH=. python -m tests.core.compile_for_a_gpu --all
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import mpnn
from mpnn.backends.record import recording
from mpnn.backends.triton import source
from mpnn.backends.triton.kernel import Kernel
from mpnn.native import walks_gpu
from mpnn.plan.ir import compute_type
from mpnn.plan.plan import Plan
from tests.core.running import KERNEL
from tests.core.test_backend_messages import MESSAGES, NUM_EDGES, NUM_NODES, graph

TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
TYPES |= {torch.bool: "*u8"}
HOPPER = GPUTarget("cuda", 90, 32)


def attention(x_i: Tensor, x_j: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return (F.dropout(x_i, 0.5) * x_j).sum(-1), x_j + e


def difference(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
    return torch.cat([(x_i - x_j).tanh(), e * x_j], -1)


def programs(
    message: Callable[..., object], aggr: Any, dtype: torch.dtype, fields: dict[str, Any] | None = None
) -> Iterator[Kernel]:
    """The kernels of a message, forward and backward; none if it has none in that type."""
    if fields is None:
        fields = {"x": torch.rand(NUM_NODES, 2, 3), "e": torch.rand(NUM_EDGES, 2, 3)}
    given = {name: _leaf(value, dtype) for name, value in fields.items()}
    with recording() as ran:
        mpnn.propagate(graph, message, aggr, **given)
    plan: Plan = ran[0].fused.plan
    if isinstance(plan.program, str):
        return
    yield Kernel(plan.program, save=True)
    for program in plan.backward(ran[0].wanted).programs:
        yield Kernel(program, save=False)


def _leaf(value: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().to(dtype).requires_grad_() if floats else value


def compile_for_a_gpu(kernel: Kernel) -> None:
    """Every form in which a kernel is launched."""
    program, tile = kernel.program, kernel.tile
    real = TYPES[compute_type(program.dtype)]
    outs: dict[str, str] = {}
    for output in program.outputs:
        outs[f"out{len(outs)}"] = TYPES[program.dtype]
        if output.kind in ("max", "min", "softmax"):
            outs[f"out{len(outs)}"] = real
    rows = {f"in{k}": TYPES[one.dtype] for k, one in enumerate(program.inputs)} | outs
    rows |= {"parts": real, "totals": real, "seed": "*i64", "num_tasks": "i32", "first": "i32"}
    rows |= dict.fromkeys(("rows", "begins", "ends", "indices", "edge_ids"), "*i32")
    module = source.load(kernel.source())
    options = {"num_warps": tile.warps, "enable_fp_fusion": not program.exact}
    for slots, part in ((1, False), (tile.edges, True)):
        fixed = {"ROWS": tile.edges // slots, "SLOTS": slots, "PART": part}
        signature = {name: rows.get(name, "constexpr") for name in module.rows.arg_names}
        made = triton.compile(ASTSource(module.rows, signature, fixed), target=HOPPER, options=options)
        assert made.asm["cubin"]
        assert "atom." not in made.asm["ptx"]
    if hasattr(module, "hubs"):
        hubs = outs | {"parts": real, "rows": "*i32", "begins": "*i64", "ends": "*i64"}
        hubs["counts"] = "*i32"
        signature = {name: hubs[name] for name in module.hubs.arg_names}
        assert triton.compile(ASTSource(module.hubs, signature), target=HOPPER, options=options).asm["cubin"]


def compile_walks() -> None:
    """Walks of the first order along weights, and of the second."""
    names = "indptr", "indices", "aliases"
    signature = dict.fromkeys(names, "*i32") | dict.fromkeys(("start", "walks", "seed"), "*i64")
    signature |= {"chances": "*fp64", "num_walks": "i32", "length": "i32", "num_nodes": "i32"}
    for second in (False, True):
        fixed = {"WEIGHTED": not second, "SECOND": second, "LANES": walks_gpu.LANES}
        types = {name: signature.get(name, "constexpr") for name in walks_gpu.walk.arg_names}
        made = triton.compile(ASTSource(walks_gpu.walk, types, fixed), target=HOPPER)
        assert made.asm["cubin"]
        assert "atom." not in made.asm["ptx"]


if __name__ == "__main__":
    compile_walks()
    compiled = 0
    cases: list[tuple[Any, ...]]
    cases = [(attention, "softmax", torch.float32), (difference, "max", torch.bfloat16)]
    if "--all" in sys.argv:
        cases += [(m.function, "sum", torch.float32, m.fields) for m in MESSAGES if m.way == KERNEL]
        aggregators = [
            "sum",
            "mean",
            "max",
            "min",
            "softmax",
            "std",
            ["mean", "max", "std"],
            ["min", "softmax"],
        ]
        cases += product([difference], aggregators, [dtype for dtype in TYPES if dtype.is_floating_point])
        cases += product([attention], ["softmax"], [dtype for dtype in TYPES if dtype.is_floating_point])
    for case in cases:
        for kernel in programs(*case):
            compile_for_a_gpu(kernel)
            compiled += 1
    print(compiled)
