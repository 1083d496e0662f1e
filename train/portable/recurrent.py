"""Recurrent layers in a traced program: one operation each, for sequences of any length.

`torch.export` unrolls PyTorch's fused recurrent kernels step by step, for the length of the example alone.
While a model is traced these operations stand in their place; the program gets PyTorch's own back, and ONNX
its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from mpnn.borrowed import TorchFunctionMode, gru, lstm, rnn_relu, rnn_tanh

Three = tuple[Tensor, Tensor, Tensor]
Two = tuple[Tensor, Tensor]


@torch.library.custom_op("mpnn::traced_lstm", mutates_args=())
def traced_lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.nn.LSTM` on tensors."""
    sizes = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
    found: Three = lstm(input, list(hx), list(params), *sizes)
    return found


@traced_lstm.register_fake
def _(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    h, c = hx
    return _output(input, h, bidirectional), torch.empty_like(h), torch.empty_like(c)


def _output(input: Tensor, h: Tensor, bidirectional: bool) -> Tensor:
    return input.new_empty((*input.shape[:2], h.size(-1) * (1 + bidirectional)))


def _of_one_state(name: str, kernel: Callable[..., Any]) -> Any:
    """The same for a kernel whose state is one tensor."""

    def run(
        input: Tensor,
        hx: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor]:
        sizes = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        found: Two = kernel(input, hx, list(params), *sizes)
        return found

    operation = torch.library.custom_op(f"mpnn::traced_{name}", run, mutates_args=())

    @operation.register_fake
    def _(input: Tensor, hx: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return _output(input, hx, rest[-2]), torch.empty_like(hx)

    return operation


_of_one_state("gru", gru)
_of_one_state("rnn_tanh", rnn_tanh)
_of_one_state("rnn_relu", rnn_relu)

# What is called, what stands for it in a trace, and what it is in a program.
STANDS_FOR: Mapping[str, tuple[Callable[..., Any], Any, Any]] = {
    "lstm": (lstm, torch.ops.mpnn.traced_lstm.default, torch.ops.aten.lstm.input),
    "gru": (gru, torch.ops.mpnn.traced_gru.default, torch.ops.aten.gru.input),
    "rnn_tanh": (rnn_tanh, torch.ops.mpnn.traced_rnn_tanh.default, torch.ops.aten.rnn_tanh.input),
    "rnn_relu": (rnn_relu, torch.ops.mpnn.traced_rnn_relu.default, torch.ops.aten.rnn_relu.input),
}
TRACED = {traced: own for _, traced, own in STANDS_FOR.values()}


class InOne(TorchFunctionMode):
    """In this context the operations above stand for PyTorch's kernels."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call what stands for a function, or the function; packed sequences have no flag in fourth place."""
        for kernel, traced, _ in STANDS_FOR.values():
            if func == kernel and isinstance(args[3], bool):
                return traced(*args)
        return func(*args, **(kwargs or {}))


def with_own(program: ExportedProgram) -> ExportedProgram:
    """The program with PyTorch's own operations in their places."""
    for node in program.graph.nodes:
        node.target = TRACED.get(node.target, node.target)
    program.graph_module.recompile()
    return program


def of_onnx() -> dict[Any, Any]:
    """What the package onnxscript makes of each, where it knows it."""
    from onnxscript.function_libs.torch_lib.ops import core

    known = {traced: getattr(core, f"aten_{name}", None) for name, (_, traced, _) in STANDS_FOR.items()}
    return {traced: made for traced, made in known.items() if made is not None}
