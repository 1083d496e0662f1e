"""The tensors that every backend's kernels write."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph import Graph
from mpnn.plan.adjoint import SAVED
from mpnn.plan.ir import Program, compute_type


def make_outputs(program: Program, graph: Graph, num_rows: int, *, save: bool) -> list[Tensor]:
    """Each output, followed by what it saves for the backward pass (nothing without `save`)."""
    outputs = []
    for output in program.outputs:
        rows = {"all": (), "edge": (graph.num_edges,)}.get(output.kind, (num_rows,))
        outputs.append(torch.empty((*rows, *output.value.shape), dtype=output.dtype, device=graph.device))
        if SAVED.get(output.kind):
            saved = output.value if output.score is None else output.score
            shape = (num_rows, *saved.shape) if save else (0,)
            outputs.append(torch.empty(shape, dtype=compute_type(program.dtype), device=graph.device))
    return outputs
