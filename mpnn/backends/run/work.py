"""How much work a piece of code is: bytes moved and operations done, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from mpnn.borrowed import TorchDispatchMode, formulas_of_operations

aten = torch.ops.aten


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside a `with` block, what PyTorch's operations read, write and compute.

    An operation reads its arguments and writes its results, views are free. Products, convolutions,
    attention, pooling and fused recurrence have formulas, two operations for a multiplication with an
    addition; any other counts one operation for each number that it writes, making or copying a tensor none.

    >>> with Work() as work:
    ...     product = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> work.operations
    48
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = formulas_of_operations()
        self.bytes_read = self.bytes_written = self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.is_view or func in FREE:
            return out
        written = _tensors(out)
        self.bytes_read += sum(map(_bytes, _tensors([*args, *kwargs.values()])))
        self.bytes_written += sum(map(_bytes, written))
        packet = func.overloadpacket
        if packet in self.flops:
            self.operations += self.flops[packet](*args, **kwargs, out_val=out)
        elif packet in FORMULAS:
            self.operations += FORMULAS[packet](written[0], *args)
        elif packet not in COPIES:
            self.operations += sum(t.numel() for t in written)
        return out


FREE = frozenset([aten.empty.memory_format, aten.detach.default, aten._unsafe_view.default])
COPIES = frozenset(
    [
        *(aten.clone, aten.copy_, aten._to_copy, aten.cat, aten.stack, aten.flip, aten.constant_pad_nd),
        *(aten.zeros, aten.ones, aten.new_zeros, aten.full, aten.fill_, aten.zero_, aten.arange),
        *(aten.index_select, aten.index_copy),
    ]
)


def _pooled(out: Tensor, image: Tensor, kernel_size: Any, *_: Any) -> int:
    dimensions = image.dim() - 2
    sides = kernel_size if len(kernel_size) > 1 else [*kernel_size] * dimensions
    return out.numel() * prod(map(int, sides))


def _attention(out: Tensor, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0, causal: bool = False) -> int:
    pairs = q.size(2) * (q.size(2) + 1) // 2 if causal else q.size(2) * k.size(2)
    return 2 * q.size(0) * q.size(1) * pairs * (k.size(3) + v.size(3))


def _recurrent(out: Tensor, x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any) -> int:
    return int(2 * x.size(0) * x.size(1) * (w_ih.numel() + w_hh.numel()))


FORMULAS: dict[Any, Callable[..., int]] = {
    aten.avg_pool2d: _pooled,
    aten.avg_pool3d: _pooled,
    aten.max_pool2d_with_indices: _pooled,
    aten.max_pool3d_with_indices: _pooled,
    aten._adaptive_avg_pool2d: lambda out, image, *_: image.numel(),
    aten._adaptive_avg_pool3d: lambda out, image, *_: image.numel(),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten.mkldnn_rnn_layer: _recurrent,
}


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _bytes(tensor: Tensor) -> int:
    # What is expanded is stored once.
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
