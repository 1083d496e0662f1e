"""A node that is linked to all others of its graph, in both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph
from mpnn.aggregate.reduce import pick_rows
from mpnn.models.networks.pooling import GlobalPool
from mpnn.models.parts.checks import at_least, check_probability, ranges
from mpnn.models.parts.linear import Projection, reset


@ranges(channels=at_least(1), num_layers=at_least(0))
class VirtualNode(nn.Module):
    """v_g^k = MLP_k(v_g^{k-1} + Σ_{i in g} h_i^k),   h_i^k <- h_i^k + v_g^k   (Gilmer et al., 2017, 5.2).

    Information from one node reaches every other node in two steps. The form is that of the Open Graph
    Benchmark (Hu et al., 2020): v^0 is learned and starts at 0, and MLP_k has one hidden layer, twice as
    wide. The benchmark normalises that layer over the batch; here it is normalised over the channels, since
    one large graph is no batch.

    Args:
        channels: width of the nodes' states, and of the virtual node's.
        num_layers: the number of calls in a forward pass.
        dropout: probability after each MLP.

    Shapes: h `[num_nodes, channels]`, v `[num_graphs, channels]` -> both again.

    >>> node = VirtualNode(8, num_layers=2)
    >>> edge = Graph(torch.tensor([[0, 1], [1, 0]]))
    >>> batch = Graph.batch([edge, edge, edge])
    >>> h, v = node(0, torch.ones(6, 8), node.start(batch), batch)
    >>> h.shape, v.shape
    (torch.Size([6, 8]), torch.Size([3, 8]))
    """

    def __init__(self, channels: int, num_layers: int, dropout: float = 0.0) -> None:
        check_probability("dropout", dropout)
        super().__init__()
        self.channels, self.dropout = channels, dropout
        self.first = nn.Parameter(torch.zeros(1, channels))
        self.networks = nn.ModuleList(_network(channels) for _ in range(num_layers))
        self.gather = GlobalPool("sum")

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        nn.init.zeros_(self.first)
        for network in self.networks:
            reset(network)

    def start(self, graph: Graph) -> Tensor:
        """v^0 of every graph of a batch, `[num_graphs, channels]`."""
        return self.first.expand(graph.num_graphs, -1)

    def forward(self, k: int, h: Tensor, v: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        v = F.dropout(self.networks[k](v + self.gather(h, graph)), self.dropout, self.training)
        return h + pick_rows(v, 0, graph.graph_index), v

    def extra_repr(self) -> str:
        return f"{self.channels}, dropout={self.dropout}"


def _network(channels: int) -> nn.Sequential:
    return nn.Sequential(
        Projection(channels, 2 * channels),
        nn.LayerNorm(2 * channels),
        nn.ReLU(),
        Projection(2 * channels, channels),
        nn.LayerNorm(channels),
        nn.ReLU(),
    )
