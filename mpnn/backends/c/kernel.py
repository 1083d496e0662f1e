"""Compiled programs, called on the tensors' own memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mpnn.backends.c.printer import numbers_of_a_row, print_kernel
from mpnn.backends.outputs import Outputs
from mpnn.csr import CSR
from mpnn.graph import Graph
from mpnn.native.compiler import load
from mpnn.plan.dropout import Seed
from mpnn.plan.homes import Home, NotFusableError
from mpnn.plan.ir import Program, compute_type

MOST_NUMBERS = 1 << 17  # of a row: 1 MB of a stack, of which a thread has 2 MB at least
HEAVY_DEGREE = 8192  # a row with more edges is split, so that a hub does not leave the other cores idle
EDGES_PER_TASK = 4096
MOST_TASKS = 512
NOTHING = torch.empty(1)  # where a kernel has no scratch space
SMALL = 1 << 20  # below this many numbers, a fraction of a millisecond, one thread is surer to be quick


class Rows(ctypes.Structure):
    """A graph's compressed rows and their tasks, as a kernel reads them; see rows.h."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("indptr", "indices", "edge_ids", "tasks", "heavy")],
        *[(name, ctypes.c_int64) for name in ("num_edges", "num_tasks", "num_heavy", "heavy_degree")],
    ]


@dataclass(frozen=True)
class Tasks:
    """The rows of a graph in pieces of similar work: what each thread takes next."""

    csr: CSR
    tasks: np.ndarray  # [num_tasks, 4], see rows.h
    heavy: np.ndarray  # [num_heavy, 3]
    num_parts: int
    rows: Rows  # where all of this is in memory


def tasks_of(graph: Graph, by: Home) -> Tasks:
    """A graph's compressed rows by one end, divided into tasks: kept with the graph."""
    return graph.memo(("tasks", by), lambda: _divide(graph.by_dst if by is Home.DST else graph.by_src))


def _divide(csr: CSR) -> Tasks:
    num_edges = csr.indices.numel()
    if num_edges < 2 * EDGES_PER_TASK:  # one piece, and no row is heavy
        tasks, heavy, num_parts = np.array([[-1, 0, csr.num_rows, 0]], dtype=np.int64), _NO_ROWS, 0
    else:
        tasks, heavy, num_parts = _pieces(csr.indptr.numpy().astype(np.int64), num_edges)
    places = [t.data_ptr() for t in (csr.indptr, csr.indices, csr.edge_ids)]
    places += [tasks.ctypes.data, heavy.ctypes.data]
    rows = Rows(*places, num_edges, len(tasks), len(heavy), HEAVY_DEGREE)
    return Tasks(csr, tasks, heavy, num_parts, rows)


_NO_ROWS = np.empty((0, 3), dtype=np.int64)


def _pieces(indptr: np.ndarray, num_edges: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The tasks, the heavy rows, and into how many parts these are split."""
    num_rows = len(indptr) - 1
    # A row costs something even without edges, so rows count along with edges.
    work = indptr + np.arange(num_rows + 1)
    pieces = min(num_edges // EDGES_PER_TASK, MOST_TASKS)
    bounds = np.unique(np.searchsorted(work, np.linspace(0, work[-1], pieces + 1)))
    bounds[-1:] = num_rows
    light = np.stack([np.full(len(bounds) - 1, -1), bounds[:-1], bounds[1:], np.zeros(len(bounds) - 1)], 1)
    parts: list[tuple[int, ...]] = []
    heavy: list[tuple[int, ...]] = []
    for row in np.flatnonzero(np.diff(indptr) > HEAVY_DEGREE).tolist():
        end = int(indptr[row + 1])
        starts = range(int(indptr[row]), end, HEAVY_DEGREE)
        heavy.append((row, len(parts), len(parts) + len(starts)))
        parts += [
            (len(parts) + k, row, start, min(start + HEAVY_DEGREE, end)) for k, start in enumerate(starts)
        ]
    tasks = np.concatenate([np.array(parts).reshape(-1, 4), light]).astype(np.int64)  # the heavy ones first
    return np.ascontiguousarray(tasks), np.array(heavy, dtype=np.int64).reshape(-1, 3), len(parts)


class Kernel:
    """A program on the CPU: compiled on first use for each index type, then called.

    Raises:
        NotFusableError: a row is too wide for the stack.
    """

    language = "C"

    def __init__(self, program: Program, *, save: bool) -> None:
        self.program, self.save = program, save
        numbers = numbers_of_a_row(program)
        if numbers > MOST_NUMBERS:
            raise NotFusableError(f"a row of {numbers} numbers has no place on the stack")
        self._outputs = Outputs(program, save=save)
        self._libraries: dict[torch.dtype, tuple[Callable[..., None], int]] = {}
        self._lock = threading.Lock()
        self._real = compute_type(program.dtype)
        self._ins = ctypes.c_void_p * max(1, len(program.inputs))
        self._outs = ctypes.c_void_p * max(1, len(program.outputs) * 2)
        self._all = sum(o.value.size for o in program.outputs if o.kind == "all")
        self._work = max([o.value.size for o in program.outputs] + [i.size for i in program.inputs])

    def source(self, index_type: torch.dtype = torch.int32) -> str:
        """The C that runs."""
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
        """Compile for the indices of a graph, if that has not been done."""
        self._library(tasks_of(graph, self.program.by).csr.indptr.dtype)

    def __call__(self, graph: Graph, inputs: Sequence[Tensor], seed: Seed = 0) -> list[Tensor]:
        """Run over all rows: each output, followed by what it saves for the backward pass.

        `seed` decides the dropout inside the message.
        """
        tasks = tasks_of(graph, self.program.by)
        csr, rows = tasks.csr, tasks.rows
        kernel, state_bytes = self._library(csr.indptr.dtype)
        inputs = [t if t.is_contiguous() else t.contiguous() for t in inputs]
        outputs = self._outputs.make(graph, csr.num_rows)
        ins, outs = self._ins(*[t.data_ptr() for t in inputs]), self._outs(*[t.data_ptr() for t in outputs])
        parts = torch.empty(tasks.num_parts * state_bytes, dtype=torch.uint8) if tasks.num_parts else NOTHING
        num_sums = max(1, len(tasks.tasks)) * self._all
        total = torch.empty(num_sums, dtype=self._real) if num_sums else NOTHING
        threads = 1 if graph.num_edges * self._work < SMALL else torch.get_num_threads()
        kernel(ins, outs, ctypes.addressof(rows), parts.data_ptr(), total.data_ptr(), int(seed), threads)
        return outputs
