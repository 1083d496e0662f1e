"""Programs printed as Triton, and their launches over the rows of a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import repeat
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mpnn.backends.run.outputs import Outputs
from mpnn.backends.triton import source
from mpnn.backends.triton.printer import Printed, print_kernel
from mpnn.backends.triton.tiles import MOST_NUMBERS, Division, division_of, tile_of
from mpnn.graph.graph import Graph
from mpnn.plan.dropout import Seed
from mpnn.plan.ir import Over, Program, compute_type
from mpnn.plan.rows import NotFusableError
from mpnn.plan.stems import MappedRows


class TritonKernel:
    """A program on the GPU, or in Triton's interpreter: compiled by Triton on first use.

    Raises:
        NotFusableError: a message is too wide for a tile.
    """

    language = "Triton"

    def __init__(self, program: Program, *, save: bool) -> None:
        self.program, self.save = program, save
        self._outputs = Outputs(program, save=save)
        self._printed: Printed = print_kernel(program, save=save)
        if self._printed.lanes > MOST_NUMBERS:
            raise NotFusableError(f"a message of {self._printed.lanes} numbers does not fit into a tile")
        self.tile = tile_of(self._printed.lanes)

    def source(self) -> str:
        """The Triton source."""
        return self._printed.source

    @cached_property
    def _module(self) -> ModuleType:
        return source.load(self._printed.source)

    def prepare(self, graph: Graph) -> None:
        """Do nothing: Triton compiles at the first launch."""

    def __call__(self, graph: Graph, inputs: Sequence[Tensor], seed: Seed = 0) -> list[Tensor]:
        """Run over all rows; return each output, followed by the tensors that it saves for the backward pass.

        `seed` determines the dropout inside the message; a tensor of one integer stays on its device.
        """
        csr, division = division_of(graph, self.program.by)
        outputs = self._outputs.make(graph, repeat(csr.num_rows))
        programs = self._programs(division)
        real = compute_type(self.program.dtype)
        device = graph.device
        parts = torch.empty(division.num_parts * self._printed.state, dtype=real, device=device)
        totals = torch.empty(sum(programs), self._printed.totals, dtype=real, device=device)
        if not isinstance(seed, Tensor):
            # Most programs have no dropout, and need no launch to make a seed.
            seed = _number(seed, device) if seed else graph.memo("no seed", lambda: _number(0, device))
        tensors = [*(_plain(t, device) for t in inputs), *outputs]
        with _on(device):
            first = 0
            for launch, number in zip(division.launches, programs, strict=True):
                slots = launch.slots(self.tile.edges)
                self._module.rows[(number,)](
                    *tensors, parts, totals, launch.rows, launch.begins, launch.ends,
                    csr.indices, csr.edge_ids, seed, launch.rows.numel(), first,
                    ROWS=self.tile.edges // slots, SLOTS=slots, PART=launch.part,
                    num_warps=self.tile.warps, enable_fp_fusion=not self.program.exact,
                )  # fmt: skip
                first += number
            if division.hubs is not None and self._printed.state:
                hubs = division.hubs
                self._module.hubs[(hubs.rows.numel(),)](
                    *outputs, parts, hubs.rows, hubs.begins, hubs.ends, hubs.counts,
                    num_warps=self.tile.warps, enable_fp_fusion=not self.program.exact,
                )  # fmt: skip
        if self._printed.totals:
            self._finish_totals(outputs, totals)
        return outputs

    def blocks(
        self,
        graph: Graph,
        inputs: Sequence[Tensor | MappedRows],
        seed: Seed = 0,
        streamed: Sequence[bool] = (),
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """All rows as one block."""
        yield slice(None), self(graph, [t.made() if isinstance(t, MappedRows) else t for t in inputs], seed)

    def _programs(self, division: Division) -> list[int]:
        return [
            -(-one.rows.numel() * one.slots(self.tile.edges) // self.tile.edges) for one in division.launches
        ]

    def _finish_totals(self, outputs: list[Tensor], totals: Tensor) -> None:
        """The sums of all programs over their edges, added in a fixed order."""
        sums, start = totals.sum(0), 0
        for k, output in enumerate(self.program.outputs):
            if output.over is Over.ALL:
                value = sums[start : start + output.value.size]
                start += output.value.size
                outputs[self.program.tensor_of(k)].copy_(value.view(output.value.shape))


def _number(value: int, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=torch.int64, device=device)


def _plain(tensor: Tensor, device: torch.device) -> Tensor:
    """A contiguous tensor on a device, with bool as bytes."""
    # As in PyTorch, a tensor of one number may be on the CPU.
    place = device if tensor.dim() == 0 else tensor.device
    tensor = tensor.detach().to(place, non_blocking=True).contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
    else:
        with np.errstate(all="ignore"):  # the padding of a tile computes with arbitrary numbers
            yield
