"""The graph convolutional network's layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.weighted import Normalized
from mpnn.models.parts.linear import Projection, zeros_


class GCNConv(Normalized):
    """h' = D^{-1/2} (A + I) D^{-1/2} h W + b   (Kipf and Welling, 2017, eq. 2).

    Args:
        in_channels: width of the input, or -1 to take it from the first input.
        out_channels: width of the output.
        improved: A + 2 I. (PyG does so only if edge weights are given; the equation holds here always.)
        cached: keep the normalised edge weights while the same ones come in. Without edge weights the graph
            keeps them anyway.
        add_self_loops: whether to add I; by default if `normalize`.
        normalize: without it h' = A h W + b.
        bias: whether to add b.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_weight `[num_edges]` -> `[num_nodes, out_channels]`.

    >>> layer = GCNConv(3, 2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        if add_self_loops and not normalize:
            raise ValueError(
                "GCNConv got add_self_loops=True with normalize=False: add them to the graph instead."
            )
        super().__init__(
            improved=improved,
            cached=cached,
            add_self_loops=normalize if add_self_loops is None else add_self_loops,
            normalize=normalize,
            **kwargs,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.lin = Projection(in_channels, out_channels, bias=False, init="glorot")
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        self.lin.reset_parameters()
        zeros_(self.bias)

    def forward(self, x: Tensor, graph: Topology, edge_weight: Tensor | None = None) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        graph, edge_weight = self.normalized(graph, edge_weight, x.dtype)
        out: Tensor = self.propagate(graph, x=self.lin(x), edge_weight=edge_weight)
        return out if self.bias is None else out + self.bias
