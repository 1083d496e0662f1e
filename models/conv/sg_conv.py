"""The GCN without its nonlinearities."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mpnn.graph.adjacency import Topology
from mpnn.layer.watched import is_watched
from mpnn.models.conv.weighted import Normalized
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Projection


class SGConv(Normalized):
    """h' = (D^{-1/2} (A + I) D^{-1/2})^K h W + b   (Wu et al., 2019, eq. 8).

    Args:
        in_channels: width of the input, or -1 to take it from the first input.
        out_channels: width of the output.
        K: how many hops.
        cached: keep the features after K hops for as long as the same features, graph and edge weights come
            in, and no gradient must flow to them.
        add_self_loops: whether to add I.
        bias: whether to add b.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_weight `[num_edges]` -> `[num_nodes, out_channels]`.

    >>> layer = SGConv(3, 2, K=2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        K: int = 1,
        cached: bool = False,
        add_self_loops: bool = True,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_count("K", K, 0)
        super().__init__(cached=cached, add_self_loops=add_self_loops, **kwargs)
        self.in_channels, self.out_channels, self.K = in_channels, out_channels, K
        self.lin = Projection(in_channels, out_channels, bias)
        self._spread = Cache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew and forget what was cached."""
        super().reset_parameters()
        self.lin.reset_parameters()
        self._spread.clear()

    def forward(self, x: Tensor, graph: Topology, edge_weight: Tensor | None = None) -> Tensor:
        x, read = self.read_nodes(x, graph)

        def spread() -> Tensor:
            hops, weight = self.normalized(read, edge_weight, x.dtype)
            h = x
            for _ in range(self.K):
                h = self.propagate(hops, x=h, edge_weight=weight)
            return h

        keeps = self.cached and not is_watched(self)
        out: Tensor = self.lin(self._spread(spread, x, read, edge_weight) if keeps else spread())
        return out
