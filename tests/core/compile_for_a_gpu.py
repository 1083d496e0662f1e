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
from triton.compiler import ASTSource

import mpnn
from mpnn.backends.run.plans import Fused
from mpnn.backends.run.record import recording
from mpnn.backends.triton.ahead import HOPPER, compiled
from mpnn.backends.triton.kernel import TritonKernel
from mpnn.native import walks_gpu
from mpnn.plan.rows import Refused
from tests.core.backends.test_backend_messages import MESSAGES, NUM_EDGES, NUM_NODES, graph
from tests.core.running import KERNEL

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def attention(x_i: Tensor, x_j: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return (F.dropout(x_i, 0.5) * x_j).sum(-1), x_j + e


def difference(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
    return torch.cat([(x_i - x_j).tanh(), e * x_j], -1)


def programs(
    message: Callable[..., object], aggr: Any, dtype: torch.dtype, fields: dict[str, Any] | None = None
) -> Iterator[TritonKernel]:
    """The kernels of a message, forward and backward; none if it has none in that type."""
    if fields is None:
        fields = {"x": torch.rand(NUM_NODES, 2, 3), "e": torch.rand(NUM_EDGES, 2, 3)}
    given = {name: _leaf(value, dtype) for name, value in fields.items()}
    with recording() as ran:
        mpnn.propagate(graph, message, aggr, **given)
    fused: Fused = ran[0].fused
    if isinstance(fused.program, Refused):
        return
    yield TritonKernel(fused.program, save=True)
    for program in fused.backward(ran[0].wanted).programs:
        yield TritonKernel(program, save=False)


def _leaf(value: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().to(dtype).requires_grad_() if floats else value


def compile_for_a_gpu(kernel: TritonKernel) -> None:
    """The forms in which a kernel is launched."""
    for form in compiled(kernel, slots=(1, kernel.tile.edges)):
        assert form.code
        assert "atom." not in form.assembly


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
    number = 0
    cases: list[tuple[Any, ...]]
    cases = [(attention, "softmax", torch.float32), (difference, "max", torch.bfloat16)]
    cases += [(difference, "logsumexp", torch.float32)]
    if "--all" in sys.argv:
        cases += [(m.function, "sum", torch.float32, m.fields) for m in MESSAGES if m.way == KERNEL]
        several = ["mean", "max", "std"], ["min", "softmax"]
        aggregators = ["sum", "mean", "max", "min", "mul", "logsumexp", "softmax", "std", *several]
        cases += product([difference], aggregators, TYPES)
        cases += product([attention], ["softmax"], TYPES)
    for case in cases:
        for kernel in programs(*case):
            compile_for_a_gpu(kernel)
            number += 1
    print(number)
