"""A recurrent network whose neurons each remember themselves alone: an edge weight per channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import as_graph
from mpnn.graph.adjacency import Topology
from mpnn.layer.schedule import States, Topological
from mpnn.models.parts.checks import at_least, check_count, ranges
from mpnn.topology import chain

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


@ranges(input_size=at_least(1), hidden_size=at_least(1))
class DiagonalRNN(Topological):
    """h_i = f(W x_i + u ⊙ Σ_j h_j + b), with one weight u_c for each channel c.

    It is `torch.nn.RNN` with a diagonal matrix: the diagonal recurrent network of Ku and Lee (1995), and with
    a ReLU the IndRNN of Li et al. (2018).

    Args:
        input_size: the width of the input.
        hidden_size: the number of neurons.
        nonlinearity: f, "tanh" or "relu".
        bias: whether to add b.
        batch_first: whether sequences are `[batch, length, _]`.
        truncate: after how many steps gradients are cut; None for never.

    Shapes: input `[length, batch, input_size]`, or `[length, input_size]`; or with a `graph`, any directed
    acyclic one, `[num_nodes, input_size]`. The output has `hidden_size` in place of `input_size`. `weight_hh`
    and `bias` are `[hidden_size]`.

    >>> DiagonalRNN(3, 4)(torch.randn(5, 2, 3)).shape
    torch.Size([5, 2, 4])
    """

    state: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        *,
        truncate: int | None = None,
    ) -> None:
        super().__init__()
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity is {nonlinearity!r}, but must be 'tanh' or 'relu'.")
        if truncate is not None:
            check_count("truncate", truncate, 1)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.nonlinearity, self.batch_first, self.truncate = nonlinearity, batch_first, truncate
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, each within ±1/√hidden_size, as torch.nn.RNN does."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """W x_i + b of all nodes at once."""
        return {"x": F.linear(fields["x"], self.weight_ih, self.bias)}

    def message(self, h_j: Tensor) -> Tensor:
        """The state of the source, each channel times its u_c."""
        return self.weight_hh * h_j

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        """Zeros."""
        return self.weight_hh.new_zeros(num_nodes, self.hidden_size)

    def update(self, inputs: Tensor, x: Tensor) -> States:  # type: ignore[override]
        """f(W x_i + b + Σ_j u ⊙ h_j)."""
        return (NONLINEARITIES[self.nonlinearity](x + inputs),)

    def forward(self, input: Tensor, graph: Topology | None = None) -> Tensor:
        """The state of every node."""
        if (
            input.dim() not in (2, 3)
            or input.size(-1) != self.input_size
            or (input.dim() == 3 and graph is not None)
        ):
            raise ValueError(
                f"input must be [length, batch, {self.input_size}] or [length, {self.input_size}], or with a "
                f"graph [num_nodes, {self.input_size}], got shape {list(input.shape)}."
            )
        if graph is not None:
            found: Tensor = self.propagate(as_graph(graph, len(input)), x=input)[0]
            return found
        if input.dim() == 2:
            alone: Tensor = self.propagate(chain(len(input), device=input.device), x=input)[0]
            return alone
        rows = input if self.batch_first else input.transpose(0, 1)  # one sequence behind the other
        sequences = chain([rows.size(1)] * rows.size(0), device=input.device)
        h: Tensor = self.propagate(sequences, x=rows.reshape(-1, self.input_size))[0]
        h = h.reshape(*rows.shape[:2], self.hidden_size)
        return h if self.batch_first else h.transpose(0, 1)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity!r}"
