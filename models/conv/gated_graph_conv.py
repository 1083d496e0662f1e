"""The gated graph neural network: one matrix and one GRU, applied over and over."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.functional import matmul
from mpnn.graph.adjacency import Topology
from mpnn.models.conv.weighted import Weighted
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import uniform_


class GatedGraphConv(Weighted):
    """h_i^{l+1} = GRU(Σ_{j→i} e_ij W_l h_j^l, h_i^l), from h_i^0 = h_i ‖ 0   (Li et al., 2016, eq. 1 to 6).

    Args:
        out_channels: width of the state; the input may be narrower.
        num_layers: how many steps.
        aggr: what takes the place of Σ.
        bias: whether the GRU has biases.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, at most out_channels]`, edge_weight `[num_edges]` -> `[num_nodes, out_channels]`.

    >>> layer = GatedGraphConv(4, num_layers=2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 4])
    """

    several_sets = False

    def __init__(
        self, out_channels: int, num_layers: int, aggr: str = "add", bias: bool = True, **kwargs: Any
    ) -> None:
        check_count("out_channels", out_channels, 1)
        check_count("num_layers", num_layers, 0)
        super().__init__(aggr, **kwargs)
        self.out_channels, self.num_layers = out_channels, num_layers
        self.weight = nn.Parameter(torch.empty(num_layers, out_channels, out_channels))
        self.rnn = nn.GRUCell(out_channels, out_channels, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        uniform_(self.out_channels, self.weight)
        self.rnn.reset_parameters()

    def forward(self, x: Tensor, graph: Topology, edge_weight: Tensor | None = None) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        edge_weight = self.read_edge_weight(edge_weight, graph)
        if x.size(-1) > self.out_channels:
            raise ValueError(
                f"GatedGraphConv got x of width {x.size(-1)}, but its state is only {self.out_channels} wide."
            )
        h = F.pad(x, (0, self.out_channels - x.size(-1)))
        for weight in self.weight:
            h = self.rnn(self.propagate(graph, x=matmul(h, weight), edge_weight=edge_weight), h)
        return h

    def extra_repr(self) -> str:
        return f"{self.out_channels}, num_layers={self.num_layers}"
