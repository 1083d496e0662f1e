"""The tensors that every backend's kernels write."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import prod

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.native.pool import empty
from mpnn.plan.ir import Over, Program, compute_type

Numbers = tuple[int, torch.dtype, int]  # of which tensor, of which type, how many


class Outputs:
    """What the kernels of a program write: each output, followed by what it saves for the backward pass."""

    def __init__(self, program: Program, *, save: bool) -> None:
        # The shape of a row, None of what would be saved if there were a way back.
        self._tensors: list[tuple[Over, tuple[int, ...] | None, torch.dtype]] = []
        for output in program.outputs:
            self._tensors.append((output.over, output.value.shape, output.dtype))
            saved = output.saved_shape if save else None
            self._tensors += [(Over.ROW, saved, compute_type(program.dtype))] * output.saves

    def make(self, graph: Graph, num_rows: Iterable[int]) -> list[Tensor]:
        """Tensors for a graph, each with its number of rows, where it has one for every node."""
        device, made = graph.device, []
        for (over, shape, dtype), number in zip(self._tensors, num_rows, strict=False):
            if shape is None:
                made.append(_nothing(dtype, device))
                continue
            if over is not Over.ALL:
                shape = (graph.num_edges if over is Over.EDGE else number, *shape)
            made.append(empty(shape, dtype, device))
        return made

    def numbers(self, num_edges: int, num_rows: Iterable[int]) -> list[Numbers]:
        """The same tensors as numbers in memory, without those that are empty."""
        found = []
        for k, ((over, shape, dtype), number) in enumerate(zip(self._tensors, num_rows, strict=False)):
            if shape is None:
                continue
            length = prod(shape) * {Over.EDGE: num_edges, Over.ALL: 1, Over.ROW: number}[over]
            if length:
                found.append((k, dtype, length))
        return found


@cache
def _nothing(dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor without numbers, in the place of one that is not saved: to make one takes a microsecond."""
    return torch.empty(0, dtype=dtype, device=device)
