"""What a kernel is given: tensors, and linear maps of them that need not exist as a whole.

A row that is read at the node whose row it is at can be made when its turn comes; one that is gathered,
from the other end of an edge, must be there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.backends.run.plans import Kernel
from mpnn.graph.graph import Graph
from mpnn.plan.dropout import Seed
from mpnn.plan.ir import Program
from mpnn.plan.stems import MappedRows

UNREAD = torch.empty(0, device="cpu")


def gathered(program: Program, inputs: Sequence[Tensor | MappedRows]) -> list[MappedRows]:
    """The maps of which a program reads rows at the other end of an edge."""
    return [
        rows
        for k, (given, rows) in enumerate(zip(program.inputs, inputs, strict=True))
        if isinstance(rows, MappedRows) and given.home is not program.by and k in program.reads
    ]


def ready(program: Program, inputs: Sequence[Tensor | MappedRows]) -> list[Tensor | MappedRows]:
    """The inputs as a kernel takes them: maps only where it reads its own rows, and they are not made yet."""
    for mapped in gathered(program, inputs):
        mapped.made()
    found: list[Tensor | MappedRows] = []
    for k, rows in enumerate(inputs):
        if not isinstance(rows, MappedRows):
            found.append(rows)
        elif k not in program.reads:
            found.append(UNREAD)
        else:
            found.append(rows if rows.tensor is None else rows.tensor)
    return found


def run(kernel: Kernel, graph: Graph, inputs: Sequence[Tensor | MappedRows], seed: Seed) -> list[Tensor]:
    """Run a kernel over all rows."""
    given = ready(kernel.program, inputs)
    tensors = [t for t in given if isinstance(t, Tensor)]
    if len(tensors) == len(given):
        return kernel(graph, tensors, seed)
    *_, (_, outputs) = kernel.blocks(graph, given, seed)
    return outputs


def known(rows: Tensor | MappedRows) -> Tensor | None:
    """All of an input's rows, or None where they have not been made at once."""
    return rows.tensor if isinstance(rows, MappedRows) else rows


def let_go(inputs: Sequence[Tensor | MappedRows], later: Sequence[Program]) -> None:
    """Forget the maps of which no later program gathers rows."""
    needed = [rows for program in later for rows in gathered(program, inputs)]
    for rows in inputs:
        if isinstance(rows, MappedRows) and rows not in needed:
            rows.let_go()
