"""Compiled programs, called on the memory of tensors."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpnn.backends.c.printer import numbers_of_a_row, print_kernel
from mpnn.backends.run.outputs import Numbers, Outputs
from mpnn.graph.csr import CSR
from mpnn.graph.graph import Graph
from mpnn.native.compiler import load
from mpnn.native.gate import address, address_of_new, buffer
from mpnn.native.row_blocks import row_blocks
from mpnn.native.threads import threads_for
from mpnn.native.toolchain import processor, toolchain
from mpnn.plan.dropout import Seed
from mpnn.plan.homes import Home
from mpnn.plan.ir import Over, Program, compute_type
from mpnn.plan.rows import NotFusableError
from mpnn.plan.stems import MappedRows

MOST_NUMBERS = 1 << 17  # of a row: 1 MB on the stack; a thread has at least 2 MB
HEAVY_DEGREE = 8192  # a row with more edges is split, so that a hub does not leave the other cores idle
EDGES_PER_TASK = 4096
EDGES_PER_TASK_OF_BLOCK = 1024  # smaller tasks, since all threads wait at the end of each block
MOST_TASKS = 512
_NOTHING = ctypes.create_string_buffer(8)
NOTHING = ctypes.addressof(_NOTHING)  # the address that a kernel without scratch space gets
SMALL = 1 << 20  # below this many numbers, a fraction of a millisecond, one thread is fast enough


class Rows(ctypes.Structure):
    """A graph's compressed rows and their tasks, as a kernel reads them; see rows.h."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("indptr", "indices", "edge_ids", "tasks", "heavy")],
        *[(name, ctypes.c_int64) for name in ("num_edges", "num_tasks", "num_heavy", "heavy_degree")],
    ]


@dataclass(frozen=True)
class Tasks:
    """A slice of a graph's rows, cut into tasks of similar work, which threads take one after the other."""

    csr: CSR
    rows: slice  # the slice
    tasks: np.ndarray  # [num_tasks, 4], see rows.h
    heavy: np.ndarray  # [num_heavy, 3]
    num_parts: int
    raw: Rows  # the struct that a kernel reads
    at: int  # its address
    counts: dict[Home, int]  # the number of rows of a tensor, by the tensor's home


def tasks_of(graph: Graph, by: Home) -> Tasks:
    """The tasks of all compressed rows of a graph by one end, kept with the graph."""
    return graph.memo(("tasks", by), lambda: _all_rows(graph, by))


def blocks_of(graph: Graph, by: Home) -> list[Tasks]:
    """The tasks of each block of rows, kept with the graph."""
    blocks = row_blocks(graph.num_dst if by is Home.DST else graph.num_src)
    key = ("tasks of blocks", by, len(blocks))
    return graph.memo(key, lambda: [_divide(graph, by, rows, EDGES_PER_TASK_OF_BLOCK) for rows in blocks])


def _all_rows(graph: Graph, by: Home) -> Tasks:
    num_rows = graph.num_dst if by is Home.DST else graph.num_src
    return _divide(graph, by, slice(0, num_rows), EDGES_PER_TASK)


def _divide(graph: Graph, by: Home, rows: slice, edges_per_task: int) -> Tasks:
    csr = graph.by_dst if by is Home.DST else graph.by_src
    counts = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.EDGE: graph.num_edges, Home.SHARED: 1}
    num_edges, index_type = counts[Home.EDGE], csr.indptr.dtype
    places = [
        address(csr.indptr, index_type, counts[by] + 1),
        address(csr.indices, index_type, num_edges),
        address(csr.edge_ids, index_type, num_edges),
    ]
    if num_edges < min(2 * edges_per_task, HEAVY_DEGREE):  # one task, and no row is heavy
        tasks, heavy, num_parts = np.array([[-1, rows.start, rows.stop, 0]], dtype=np.int64), _NO_ROWS, 0
    else:
        indptr = csr.indptr[rows.start : rows.stop + 1].numpy().astype(np.int64)
        tasks, heavy, num_parts = _pieces(indptr, rows.start, edges_per_task)
    places += [tasks.ctypes.data, heavy.ctypes.data]
    raw = Rows(*places, num_edges, len(tasks), len(heavy), HEAVY_DEGREE)
    return Tasks(csr, rows, tasks, heavy, num_parts, raw, ctypes.addressof(raw), counts)


_NO_ROWS = np.empty((0, 3), dtype=np.int64)


def _pieces(indptr: np.ndarray, first_row: int, edges_per_task: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The tasks, the heavy rows, and the number of parts of the heavy rows."""
    num_rows, num_edges = len(indptr) - 1, int(indptr[-1] - indptr[0])
    # A row without edges costs time too, so a task is limited in rows and edges together.
    work = indptr - indptr[0] + np.arange(num_rows + 1)
    pieces = int(np.clip(num_edges // edges_per_task, 1, MOST_TASKS))
    bounds = np.unique(np.searchsorted(work, np.linspace(0, work[-1], pieces + 1)))
    bounds[-1:] = num_rows
    bounds += first_row
    light = np.stack([np.full(len(bounds) - 1, -1), bounds[:-1], bounds[1:], np.zeros(len(bounds) - 1)], 1)
    parts: list[tuple[int, ...]] = []
    heavy: list[tuple[int, ...]] = []
    for k in np.flatnonzero(np.diff(indptr) > HEAVY_DEGREE).tolist():
        row, end = first_row + k, int(indptr[k + 1])
        starts = range(int(indptr[k]), end, HEAVY_DEGREE)
        heavy.append((row, len(parts), len(parts) + len(starts)))
        parts += [
            (len(parts) + part, row, start, min(start + HEAVY_DEGREE, end))
            for part, start in enumerate(starts)
        ]
    tasks = np.concatenate([np.array(parts).reshape(-1, 4), light]).astype(np.int64)  # heavy rows first
    return np.ascontiguousarray(tasks), np.array(heavy, dtype=np.int64).reshape(-1, 3), len(parts)


class CKernel:
    """A program on the CPU: compiled on first use for each index type, then called.

    Raises:
        NotFusableError: a row is too wide for the stack.
    """

    language = "C"

    def __init__(self, program: Program, *, save: bool) -> None:
        self.program, self.save = program, save
        numbers = numbers_of_a_row(program)
        if numbers > MOST_NUMBERS:
            raise NotFusableError(f"a row of {numbers} numbers does not fit on the stack")
        self._outputs = Outputs(program, save=save)
        self._libraries: dict[torch.dtype, tuple[Callable[..., None], int]] = {}
        self._lock = threading.Lock()
        self._real = compute_type(program.dtype)
        self._ins = ctypes.c_void_p * max(1, len(program.inputs))
        self._outs = ctypes.c_void_p * max(1, program.num_tensors)
        self._all = sum(o.value.size for o in program.outputs if o.over is Over.ALL)
        self._work = max([o.value.size for o in program.outputs] + [i.size for i in program.inputs])
        self._known: tuple[object, list[Numbers], list[Numbers]] = (None, [], [])

    def identity(self) -> str:
        """What distinguishes this kernel from others: its code, and the compiler and its flags."""
        tools = toolchain()
        return "\n".join([self.source(), tools.compiler, tools.version, *tools.flags, processor()])

    def source(self, index_type: torch.dtype = torch.int32) -> str:
        """The C source."""
        return print_kernel(self.program, index_type, save=self.save)

    def _library(self, index_type: torch.dtype) -> tuple[Callable[..., None], int]:
        known = self._libraries.get(index_type)
        if known is None:
            with self._lock:
                library = load(self.source(index_type), exact=self.program.exact)
                library.state_bytes.restype = ctypes.c_int64
                library.kernel.restype = None
                library.kernel.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_uint32, ctypes.c_int]
                known = self._libraries[index_type] = (library.kernel, library.state_bytes())
        return known

    def prepare(self, graph: Graph) -> None:
        """Compile for the index type of a graph, unless that is done."""
        self._library(tasks_of(graph, self.program.by).csr.indptr.dtype)

    def __call__(self, graph: Graph, inputs: Sequence[Tensor], seed: Seed = 0) -> list[Tensor]:
        """Run over all rows; return each output, followed by the tensors that it saves for the backward pass.

        `seed` determines the dropout inside the message.
        """
        tasks = tasks_of(graph, self.program.by)
        reads, writes = self._numbers(tasks.counts)
        outputs = self._outputs.make(graph, repeat(tasks.counts[self.program.by]))
        inputs = [t if t.is_contiguous() else t.contiguous() for t in inputs]
        ins, outs = self._ins(), self._outs()
        for k, dtype, length in reads:
            ins[k] = address(inputs[k], dtype, length)
        for k, _, _ in writes:
            outs[k] = address_of_new(outputs[k])
        kernel, state_bytes = self._library(tasks.csr.indptr.dtype)
        scratch = self._scratch(state_bytes, tasks.num_parts, len(tasks.tasks))
        threads = self._threads(tasks.counts)
        kernel(ins, outs, tasks.at, scratch.parts, scratch.total, int(seed), threads)
        return outputs

    def blocks(
        self,
        graph: Graph,
        inputs: Sequence[Tensor | MappedRows],
        seed: Seed = 0,
        streamed: Sequence[bool] = (),
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """Run over one block of rows after the other; yield the slice of rows and the outputs.

        A `streamed` output has the rows of the block only, in memory that the next block overwrites; the
        others are complete after the last block. A `MappedRows` input that is read at the row's own node is
        computed for each block. Only a program whose reductions save nothing can stream an output.
        """
        blocks, outputs = blocks_of(graph, self.program.by), self.program.outputs
        counts, longest = blocks[0].counts, max(b.rows.stop - b.rows.start for b in blocks)
        partly = [*streamed, *repeat(False, self.program.num_tensors - len(streamed))]
        lengths = [longest if part else counts[self.program.by] for part in partly]
        made = self._outputs.make(graph, lengths)
        totals = {
            k: torch.zeros_like(made[k], dtype=self._real)
            for k in (self.program.tensor_of(k) for k, o in enumerate(outputs) if o.over is Over.ALL)
        }
        num_parts, num_tasks = max(b.num_parts for b in blocks), max(len(b.tasks) for b in blocks)
        kernel, state_bytes = self._library(blocks[0].csr.indptr.dtype)
        scratch, threads = self._scratch(state_bytes, num_parts, num_tasks), self._threads(counts)
        given = [t if isinstance(t, MappedRows) or t.is_contiguous() else t.contiguous() for t in inputs]
        reads, _ = self._numbers(counts)
        writes = self._outputs.numbers(counts[Home.EDGE], lengths)
        ins, outs = self._ins(), self._outs()
        for k, dtype, length in reads:
            if isinstance(one := given[k], Tensor):
                ins[k] = address(one, dtype, length)
        places = [(k, address(made[k], dtype, length)) for k, dtype, length in writes]
        for block in blocks:
            first, length = block.rows.start, block.rows.stop - block.rows.start
            # The address of row 0, also for tensors that begin with another row of the graph.
            here = [None if isinstance(t, Tensor) else t[block.rows] for t in given]
            for k, dtype, whole in reads:
                if (part := here[k]) is not None:
                    row = whole // max(1, counts[self.program.by])
                    ins[k] = address(part, dtype, length * row) - first * row * part.itemsize
            for k, place in places:
                row_bytes = prod(made[k].shape[1:]) * made[k].itemsize
                outs[k] = place - first * row_bytes if partly[k] else place
            kernel(ins, outs, block.at, scratch.parts, scratch.total, int(seed), threads)
            del here  # frees these rows before the next ones are made
            found = [t[:length] if part else t for t, part in zip(made, partly, strict=True)]
            for k, total in totals.items():
                total += made[k]
                found[k] = total.to(made[k].dtype)
            yield block.rows, found

    def _numbers(self, counts: dict[Home, int]) -> tuple[list[Numbers], list[Numbers]]:
        """The numbers that a kernel reads and writes, on a graph with these counts of nodes and edges."""
        known, reads, writes = self._known
        if known is not counts:
            reads = [
                (k, one.dtype, counts[one.home] * one.size)
                for k, one in enumerate(self.program.inputs)
                if k in self.program.reads
            ]
            writes = self._outputs.numbers(counts[Home.EDGE], repeat(counts[self.program.by]))
            self._known = counts, reads, writes
        return reads, writes

    def _threads(self, counts: dict[Home, int]) -> int:
        return threads_for(counts[Home.EDGE] * self._work, SMALL)

    def _scratch(self, state_bytes: int, num_parts: int, num_tasks: int) -> _Scratch:
        """Scratch space for `num_parts` parts of heavy rows, and for the sums of `num_tasks` tasks."""
        if not num_parts and not self._all:
            return _NO_SCRATCH
        parts, sums = num_parts * state_bytes, max(1, num_tasks) * self._all
        kept = buffer(parts, torch.uint8), buffer(sums, self._real)
        places = address(kept[0], torch.uint8, parts), address(kept[1], self._real, sums)
        return _Scratch(places[0] or NOTHING, places[1] or NOTHING, kept)


class _Scratch(NamedTuple):
    """Addresses of a kernel's scratch space, and the tensors that own the memory."""

    parts: int
    total: int
    kept: tuple[Tensor, ...]


_NO_SCRATCH = _Scratch(NOTHING, NOTHING, ())
