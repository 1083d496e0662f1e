"""The textbook GNN layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.layer import Features, Layer
from mpnn.models.parts.activation import Activation, activation
from mpnn.models.parts.linear import Projection, zeros_


class GNNConv(Layer):
    """h_i' = σ(W h_i + mean_{j→i} W h_j + b): one matrix for a node and for its neighbours.

    The layer with which textbooks introduce graph neural networks (Scarselli et al., 2009; Hamilton,
    "Graph Representation Learning", 2020, section 5.1.3, with a mean for the sum).

    Args:
        in_channels: width of the input, or -1 to take it from the first input.
        out_channels: width of the output.
        act: σ, a name, a function, or None.
        bias: whether to add b.
        aggr: what takes the place of the mean.

    Shapes: x `[num_nodes, in_channels]`, or a pair `([num_src, in_channels], [num_dst, in_channels])` ->
    `[num_dst, out_channels]`.

    >>> layer = GNNConv(3, 2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        act: Activation = "relu",
        bias: bool = True,
        aggr: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.lin = Projection(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.act = activation(act)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        self.lin.reset_parameters()
        zeros_(self.bias)

    def forward(self, x: Features, graph: Topology, size: Size | None = None) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        h_src = self.lin(x_src)
        out = self.propagate(graph, x=h_src)
        if x_dst is not None:
            out = out + (h_src if x_dst is x_src else self.lin(x_dst))
        activated: Tensor = self.act(out if self.bias is None else out + self.bias)
        return activated
