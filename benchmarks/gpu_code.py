"""Registers and stack of the kernels for a GPU, compiled on a machine without one.

    PYTHONPATH=. python benchmarks/gpu_code.py               # the layers of benchmarks/gpu.py, 128 channels
    PYTHONPATH=. python benchmarks/gpu_code.py --layers PNA --width 256

For compute capability 9.0. A thread that needs more than 255 registers keeps the rest in memory, its stack.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator

import torch
import triton
from gpu import LAYERS, Case, row, table

import mpnn
import mpnn.models
from mpnn.backends.run.record import recording
from mpnn.backends.triton.ahead import compiled
from mpnn.backends.triton.kernel import TritonKernel
from mpnn.plan.rows import Refused


def kernels(name: str, width: int) -> Iterator[tuple[str, TritonKernel]]:
    """The kernels of a layer, forward and backward."""
    case = Case("tiny", width, torch.device("cpu"))
    edge = [case.edge_attr()] if LAYERS[name][2] else []
    with recording() as ran:
        case.layer(mpnn.models, name)(case.x.requires_grad_(), case.graph, *edge)
    for step in ran:
        fused = step.fused
        if fused is None or isinstance(fused.program, Refused):
            continue
        yield "forward", TritonKernel(fused.program, save=True)
        for program in fused.backward(step.wanted).programs:
            yield f"backward, by {program.by.value}", TritonKernel(program, save=False)


def resources(code: bytes) -> tuple[int, int]:
    """The registers of a thread, and the bytes of its stack."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert found is not None
    return int(found[1]), int(found[2])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--width", type=int, default=128)
    arguments = parser.parse_args()
    table("layer", "pass", "edges of a tile", "of", "registers", "stack", "loads of 16 bytes")
    for name in arguments.layers:
        for which, kernel in kernels(name, arguments.width):
            for form in compiled(kernel):
                wide = len(re.findall(r"ld\.global[.\w]*\.v4", form.assembly))
                row(name, which, kernel.tile.edges, form.name, *resources(form.code), wide)


if __name__ == "__main__":
    main()
