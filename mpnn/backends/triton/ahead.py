"""Kernels compiled for a GPU on a machine without one, to inspect the machine code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mpnn.backends.triton import source
from mpnn.backends.triton.kernel import TritonKernel
from mpnn.plan.ir import compute_type

HOPPER = GPUTarget("cuda", 90, 32)
POINTERS = {
    torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16",
    torch.bool: "*u8",
}  # fmt: skip
ALIGNED = [["tt.divisibility", 16]]  # the alignment of PyTorch's tensors


class Form(NamedTuple):
    """One of the ways in which a kernel is launched, as machine code."""

    name: str
    assembly: str
    code: bytes


def compiled(kernel: TritonKernel, target: GPUTarget = HOPPER, slots: Sequence[int] = ()) -> Iterator[Form]:
    """Every form of a kernel for graphs with 32-bit indices, for some numbers of `slots` or for all.

    Raises:
        RuntimeError: Triton interprets its kernels, and compiles nothing.
    """
    program, tile, module = kernel.program, kernel.tile, source.load(kernel.source())
    if not isinstance(module.rows, triton.JITFunction):
        raise RuntimeError("TRITON_INTERPRET is set: Triton compiles nothing.")
    real, outs = POINTERS[compute_type(program.dtype)], dict[str, str]()
    for output in program.outputs:
        outs[f"out{len(outs)}"] = POINTERS[output.dtype]
        for _ in range(output.saves):
            outs[f"out{len(outs)}"] = real
    types = {f"in{k}": POINTERS[one.dtype] for k, one in enumerate(program.inputs)} | outs
    types |= {"parts": real, "totals": real, "seed": "*i64", "num_tasks": "i32", "first": "i32"}
    types |= dict.fromkeys(("rows", "begins", "ends", "indices", "edge_ids"), "*i32")
    options = {"num_warps": tile.warps, "enable_fp_fusion": not program.exact}

    def made(name: str, function: triton.JITFunction, types: dict[str, str], fixed: dict[str, int]) -> Form:
        names = function.arg_names
        signature = {one: types.get(one, "constexpr") for one in names}
        aligned = {(k,): ALIGNED for k, one in enumerate(names) if signature[one].startswith("*")}
        found = triton.compile(ASTSource(function, signature, fixed, aligned), target=target, options=options)
        return Form(name, found.asm["ptx"], found.asm["cubin"])

    for number in sorted(set(slots or (1, 1 << (tile.edges.bit_length() - 1) // 2, tile.edges))):
        fixed = {"ROWS": tile.edges // number, "SLOTS": number, "PART": False}
        yield made(f"{tile.edges // number} rows", module.rows, types, fixed)
    yield made("a part", module.rows, types, {"ROWS": 1, "SLOTS": tile.edges, "PART": True})
    if hasattr(module, "hubs"):
        hubs = outs | {"parts": real, "rows": "*i32", "begins": "*i64", "ends": "*i64", "counts": "*i32"}
        yield made("a hub", module.hubs, hubs, {})
