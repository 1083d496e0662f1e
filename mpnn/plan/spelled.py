"""Functions whose C++ code asks for the number of rows, written in operations that do not ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.borrowed import TorchFunctionMode


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    dtype = torch.result_type(x1, x2)
    shape = torch.broadcast_shapes(x1.shape, x2.shape)  # type: ignore[no-untyped-call]
    x1, x2 = x1.to(dtype).expand(shape), x2.to(dtype).expand(shape)

    def normalized(x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, 2, dim, keepdim=True)
        # PyTorch clamps the norm, but not its gradient.
        return x / (norm + (norm.clamp_min(eps) - norm).detach())

    return (normalized(x1) * normalized(x2)).sum(dim)


def _gru_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    of_x, of_h = F.linear(x, w_ih, b_ih).chunk(3, 1), F.linear(h, w_hh, b_hh).chunk(3, 1)
    reset = (of_x[0] + of_h[0]).sigmoid()
    keep = (of_x[1] + of_h[1]).sigmoid()
    new = (of_x[2] + reset * of_h[2]).tanh()
    return (h - new) * keep + new


def _lstm_cell(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    h, c = state
    gates = (F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, 1)
    c = gates[1].sigmoid() * c + gates[0].sigmoid() * gates[2].tanh()
    return gates[3].sigmoid() * c.tanh(), c


def _rnn_cell(activation: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def cell(
        x: Tensor,
        h: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        return activation(F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh))

    return cell


SPELLED: dict[Callable[..., Any], Callable[..., Any]] = {
    F.cosine_similarity: _cosine_similarity,
    torch.gru_cell: _gru_cell,
    torch.lstm_cell: _lstm_cell,
    torch.rnn_tanh_cell: _rnn_cell(torch.tanh),
    torch.rnn_relu_cell: _rnn_cell(torch.relu),
}


class Spelled(TorchFunctionMode):
    """While a message is traced, these functions are replaced by the operations that they consist of."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function, or the operations that it consists of."""
        return SPELLED.get(func, func)(*args, **(kwargs or {}))
