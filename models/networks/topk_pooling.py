"""Pooling a graph to its highest-scoring nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import as_graph, scatter, softmax
from mpnn.graph.adjacency import Topology
from mpnn.layer.names import also_named
from mpnn.models.conv.attention_conv import like
from mpnn.models.parts.activation import Activation, activation
from mpnn.models.parts.checks import at_least, check_number, ranges
from mpnn.models.parts.linear import uniform_


@ranges(in_channels=at_least(1), ratio=check_number, min_score=check_number, multiplier=check_number)
class TopKPooling(nn.Module):
    """Keep the nodes with the highest s_i = σ(h_i·p / ‖p‖), gated by it: h_i' = s_i h_i.

    (Gao and Ji, 2019, eq. 2; Cangea et al., 2018.) Edges between kept nodes are kept. Their number depends on
    the scores, so the CPU waits for a GPU in every step.

    Args:
        in_channels: width of the input.
        ratio: below 1, the share of each graph's nodes that is kept, rounded up; from 1 on, their number.
        min_score: instead of a ratio, keep the nodes with a score above it, and the best node of each graph.
            The score is then softmax_i(h_i·p) over the nodes of the graph.
        multiplier: h_i' = multiplier s_i h_i.
        nonlinearity: σ.

    Shapes: x `[num_nodes, in_channels]`, edge_attr `[num_edges, *]`, batch `[num_nodes]` which graph each
    node belongs to (a graph made by `Graph.batch` knows), attn `[num_nodes, in_channels]` what to score in
    place of x. Returns `(x, graph, edge_attr, batch, perm, score)`: what is left of each,
    `perm [num_kept]` which nodes those are, best first in each graph, and `score [num_kept]`.

    >>> pool = TopKPooling(3, ratio=0.5)
    >>> x, graph, _, _, perm, score = pool(torch.rand(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]]))
    >>> x.shape, perm.shape, score.shape
    (torch.Size([2, 3]), torch.Size([2]), torch.Size([2]))
    """

    def __init__(
        self,
        in_channels: int,
        ratio: float | int = 0.5,
        min_score: float | None = None,
        multiplier: float = 1.0,
        nonlinearity: Activation = "tanh",
    ) -> None:
        super().__init__()
        if ratio <= 0:
            raise ValueError(f"ratio must be a share or a number of nodes above 0, got {ratio}.")
        self.in_channels, self.ratio, self.min_score = in_channels, ratio, min_score
        self.multiplier = multiplier
        self.select = _Score(in_channels, nonlinearity)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw p anew."""
        self.select.reset_parameters()

    @also_named(edge_index="graph")
    def forward(
        self,
        x: Tensor,
        graph: Topology,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        attn: Tensor | None = None,
    ) -> tuple[Tensor, Topology, Tensor | None, Tensor, Tensor, Tensor]:
        given, graph = graph, as_graph(graph, x.size(0))
        if batch is None:
            batch, num_graphs = graph.graph_index, graph.num_graphs
        else:
            num_graphs = int(batch.max()) + 1 if batch.numel() else 0
        scored = x if attn is None else attn
        if self.min_score is None:
            score = self.select(scored)
            perm = _best(score, batch, num_graphs, self.ratio)
        else:
            score = softmax(self.select.product(scored), batch, num_graphs)
            # Slightly below the best score, so that every graph keeps a node.
            best = scatter(score, batch, num_graphs, "max")[batch] - 1e-7
            perm = (score > best.clamp(max=self.min_score)).nonzero().squeeze(1)
        pooled, edges = graph.subgraph(perm)
        kept = x[perm] * score[perm].unsqueeze(1) * self.multiplier
        if edge_attr is not None:
            if edge_attr.size(0) != graph.num_edges:
                raise ValueError(
                    f"TopKPooling got edge_attr for {edge_attr.size(0)} edges, but the graph has "
                    f"{graph.num_edges}."
                )
            edge_attr = edge_attr[edges]
        return kept, like(given, pooled), edge_attr, batch[perm], perm, score[perm]

    def extra_repr(self) -> str:
        chosen = f"ratio={self.ratio}" if self.min_score is None else f"min_score={self.min_score}"
        return f"{self.in_channels}, {chosen}, multiplier={self.multiplier}"


class _Score(nn.Module):
    """σ(h·p / ‖p‖)."""

    def __init__(self, in_channels: int, act: Activation) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.weight = nn.Parameter(torch.empty(1, in_channels))
        self.act = activation(act)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        uniform_(self.in_channels, self.weight)

    def product(self, h: Tensor) -> Tensor:
        """h·p."""
        return (h * self.weight).sum(dim=-1)

    def forward(self, h: Tensor) -> Tensor:
        score: Tensor = self.act(self.product(h) / self.weight.norm(dim=-1))
        return score


def _best(score: Tensor, batch: Tensor, num_graphs: int, ratio: float | int) -> Tensor:
    """The highest-scoring nodes of each graph, graph by graph, best first."""
    sizes = torch.bincount(batch, minlength=num_graphs)
    wanted = torch.full_like(sizes, int(ratio)) if ratio >= 1 else (ratio * sizes.to(score.dtype)).ceil()
    by_score = score.argsort(descending=True, stable=True)
    by_graph = by_score[batch[by_score].argsort(stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(score.numel(), device=score.device) - starts[batch[by_graph]]
    return by_graph[rank < wanted[batch[by_graph]]]
