"""A compiled sweep, called on the memory of tensors."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from mpnn.backends.c.in_order import block_of, print_in_order
from mpnn.graph.graph import Graph
from mpnn.native.compiler import load
from mpnn.native.gate import address, buffer
from mpnn.native.pool import empty
from mpnn.native.threads import threads_for
from mpnn.native.toolchain import processor, toolchain
from mpnn.plan.homes import Home
from mpnn.plan.in_order import InOrder
from mpnn.step.order import Order

SMALL = 1 << 20  # below this many numbers, a fraction of a millisecond, one thread is fast enough
# Of a node: what it becomes, for some of the numbers of its row, from those that it has received.
Ask = Callable[[int, slice, Tensor], Sequence[Tensor]]


class Sweep(ctypes.Structure):
    """What a kernel reads and writes; see in_order.h."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("inputs", "states", "pending", "answers", "received")],
        *[(name, ctypes.c_void_p) for name in ("indptr", "indices", "edge_ids", "order", "spans")],
        ("count", ctypes.c_int64),
    ]


class SweepKernel:
    """A sweep on the CPU: compiled on first use for each index type, then called.

    Raises:
        NotFusableError: the program cannot be printed.
    """

    def __init__(self, program: InOrder) -> None:
        self.program, self.size = program, prod(program.shape)
        self.dtype = program.received_program.dtype
        self._block = block_of(self.size, self.dtype)
        self._given = [*program.received_program.inputs, *program.updated_program.inputs]
        self._functions: dict[torch.dtype, Callable[..., None]] = {}
        self._lock = threading.Lock()
        self.source()

    def identity(self) -> str:
        """What distinguishes this kernel from others: its code, and the compiler and its flags."""
        tools = toolchain()
        return "\n".join([self.source(), tools.compiler, tools.version, *tools.flags, processor()])

    def source(self, index_type: torch.dtype = torch.int32) -> str:
        """The C source."""
        return print_in_order(self.program, index_type)

    def __call__(
        self, graph: Graph, order: Order, before: Sequence[Tensor], inputs: Sequence[Tensor | None], ask: Ask
    ) -> tuple[Tensor, ...]:
        """The states after a sweep.

        Args:
            graph: whose nodes are updated.
            order: in which.
            before: the states before the sweep, `[num_nodes, ...]` each.
            inputs: what the two programs read, contiguous; None in the places of states and of what a node
                has received.
            ask: computes some numbers of a node where the last bits of a function decide.
        """
        states = [empty(state.shape, self.dtype).copy_(state.detach()) for state in before]
        waiting = 0 if order.spans is None else order.largest
        pending = [buffer(waiting * self.size, self.dtype) for _ in before]
        answers = [buffer(self.size, self.dtype) for _ in before]
        received = buffer(self.size, self.dtype)
        count, csr, numbers = len(order.nodes), graph.by_dst, graph.num_nodes * self.size
        index_type = csr.indptr.dtype
        tables = [
            _table(self._places(graph, inputs)),
            _table([address(t, self.dtype, numbers) for t in states]),
            _table([address(t, self.dtype, waiting * self.size) for t in pending]),
            _table([address(t, self.dtype, self.size) for t in answers]),
        ]
        sweep = Sweep(
            *map(ctypes.addressof, tables),
            address(received, self.dtype, self.size),
            address(csr.indptr, index_type, graph.num_nodes + 1),
            address(csr.indices, index_type, graph.num_edges),
            address(csr.edge_ids, index_type, graph.num_edges),
            address(order.nodes, torch.int64, count),
            None if order.spans is None else address(order.spans, torch.int64, 2 * count),
            count,
        )
        blocks, threads = -(-self.size // self._block), threads_for(graph.num_edges * self.size, SMALL)
        width = -(-blocks // threads) * self._block
        parts = -(-self.size // width)
        at, answered = (ctypes.c_int64 * parts)(), (ctypes.c_uint8 * parts)()
        function = self._function(index_type)
        function(ctypes.byref(sweep), at, answered, parts, width, parts)
        while any(place < count for place in at):
            for k, place in enumerate(at):
                answered[k] = place < count
                if answered[k]:
                    columns = slice(k * width, (k + 1) * width)
                    for answer, state in zip(
                        answers, ask(int(order.nodes[place]), columns, received), strict=True
                    ):
                        answer[columns] = state
            function(ctypes.byref(sweep), at, answered, parts, width, parts)
        return tuple(states)

    def _places(self, graph: Graph, inputs: Sequence[Tensor | None]) -> list[int | None]:
        edges, nodes = graph.num_edges, graph.num_nodes
        rows = {Home.SRC: nodes, Home.DST: nodes, Home.EDGE: edges, Home.SHARED: 1}
        return [
            None if tensor is None else address(tensor, one.dtype, rows[one.home] * one.size)
            for tensor, one in zip(inputs, self._given, strict=True)
        ]

    def _function(self, index_type: torch.dtype) -> Callable[..., None]:
        known = self._functions.get(index_type)
        if known is None:
            with self._lock:
                function = load(self.source(index_type), exact=True).kernel
                function.restype = None
                function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 + [ctypes.c_int]
                known = self._functions[index_type] = function
        return known


def _table(addresses: Sequence[int | None]) -> Any:
    return (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
