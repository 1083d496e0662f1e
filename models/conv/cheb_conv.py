"""The layer of spectral graph convolutions by Chebyshev polynomials."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.graph.adjacency import Topology
from mpnn.models.conv.normalize import scaled_laplacian
from mpnn.models.conv.weighted import Weighted
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Projection, reset, zeros_


class ChebConv(Weighted):
    """h' = Σ_{k<K} T_k(2 L / λ_max - I) h W_k + b   (Defferrard, Bresson and Vandergheynst, 2016, eq. 4).

    T_k are the Chebyshev polynomials, L is the graph's Laplacian; see `scaled_laplacian`.

    Args:
        in_channels: width of the input, or -1 to take it from the first input.
        out_channels: width of the output.
        K: how many polynomials: the layer sees K - 1 hops.
        normalization: L is D - A (None), I - D^{-1/2} A D^{-1/2} ("sym") or I - D^{-1} A ("rw").
        bias: whether to add b.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_weight `[num_edges]`, batch `[num_nodes]` and lambda_max
    `[num_graphs]`, or one number -> `[num_nodes, out_channels]`. A graph made by `Graph.batch` brings its
    own batch.

    >>> layer = ChebConv(3, 2, K=3)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        K: int,
        normalization: str | None = "sym",
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_count("K", K, 1)
        if normalization not in (None, "sym", "rw"):
            raise ValueError(f"normalization is {normalization!r}, but must be None, 'sym' or 'rw'.")
        super().__init__(**kwargs)
        self.in_channels, self.out_channels, self.normalization = in_channels, out_channels, normalization
        self.lins = nn.ModuleList(
            Projection(in_channels, out_channels, bias=False, init="glorot") for _ in range(K)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for linear in self.lins:
            reset(linear)
        zeros_(self.bias)

    def forward(
        self,
        x: Tensor,
        graph: Topology,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        lambda_max: Tensor | float | None = None,
    ) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        edge_weight = self.read_edge_weight(edge_weight, graph)
        laplacian, weight = self._laplacian(graph, edge_weight, batch, lambda_max, x.dtype)

        def apply(h: Tensor) -> Tensor:
            spread: Tensor = self.propagate(laplacian, x=h, edge_weight=weight)
            return spread

        previous, current = x, x
        first, *others = self.lins
        out: Tensor = first(x)
        for k, linear in enumerate(others, start=1):
            # T_1 = L, and T_k = 2 L T_{k-1} - T_{k-2}
            step = apply(current)
            previous, current = current, step if k == 1 else 2.0 * step - previous
            out = out + linear(current)
        return out if self.bias is None else out + self.bias

    def _laplacian(
        self,
        graph: Graph,
        edge_weight: Tensor | None,
        batch: Tensor | None,
        lambda_max: Tensor | float | None,
        dtype: torch.dtype,
    ) -> tuple[Graph, Tensor]:
        if edge_weight is None and not isinstance(lambda_max, Tensor):
            key = ("scaled_laplacian", self.normalization, lambda_max, dtype)
            ones = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
            return graph.memo(key, lambda: scaled_laplacian(graph, ones, self.normalization, lambda_max))
        if edge_weight is None:
            edge_weight = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        if batch is None and graph.num_graphs > 1:
            batch = graph.graph_index
        return scaled_laplacian(graph, edge_weight, self.normalization, lambda_max, batch)
