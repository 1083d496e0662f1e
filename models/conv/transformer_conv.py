"""The graph transformer's layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.attention_conv import Attention, Weights, like
from mpnn.models.conv.layer import Features, Widths, pair
from mpnn.models.parts.linear import Projection, see


class TransformerConv(Attention):
    """h_i' = W_1 h_i + Σ_j α_ij (W_2 h_j + W_6 e_ij), α_ij = softmax_j (W_3 h_i)·(W_4 h_j + W_6 e_ij) / √d.

    (Shi et al., 2021, eq. 3 and 4: the Transformer's attention, over the edges into a node.)

    Args:
        in_channels: width of the input, or a pair for sources and destinations; -1 takes it from the first
            input.
        out_channels: width d of each head's output.
        heads: how many heads attend.
        concat: put heads side by side, or average them.
        beta: mix both summands by a learned gate, β h + (1 - β) Σ (eq. 5).
        dropout: probability of dropping an attention weight in training.
        edge_dim: width of the edge features, if there are any.
        bias: whether the linear maps have biases.
        root_weight: whether W_1 h_i is added.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: as `GATConv`.

    >>> layer = TransformerConv(3, 2, heads=4)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        beta: bool = False,
        dropout: float = 0.0,
        edge_dim: int | None = None,
        bias: bool = True,
        root_weight: bool = True,
        **kwargs: Any,
    ) -> None:
        if beta and not root_weight:
            raise ValueError("TransformerConv got beta=True with root_weight=False: there is nothing to mix.")
        super().__init__(in_channels, out_channels, heads, concat, dropout, edge_dim, **kwargs)
        self.beta, self.root_weight = beta, root_weight
        src_channels, dst_channels = pair(in_channels)
        width = heads * out_channels
        self.lin_key = Projection(src_channels, width, bias)
        self.lin_query = Projection(dst_channels, width, bias)
        self.lin_value = Projection(src_channels, width, bias)
        self.lin_edge = None if edge_dim is None else Projection(edge_dim, width, bias=False)
        self.lin_skip = Projection(dst_channels, self.total_channels, bias)
        self.lin_beta = Projection(3 * self.total_channels, 1, bias=False) if beta else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for linear in (module for module in self.children() if isinstance(module, Projection)):
            linear.reset_parameters()

    def forward(
        self,
        x: Features,
        graph: Topology,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, Weights]:
        given = graph
        x_src, x_dst, graph = self.read(x, graph)
        if x_dst is None:
            raise ValueError("TransformerConv needs x[1], the features of the destinations, but got none.")
        edge = None
        if self.lin_edge is not None:
            edge = self.need_edge_attr(self.read_edge_attr(edge_attr, graph, self.edge_dim))
            see(self.lin_edge, edge)
        else:
            self.read_edge_attr(edge_attr, graph, None)
        fields: dict[str, Any] = {
            "query": self.mapped(self.lin_query, x_dst, graph),
            "key": self.mapped(self.lin_key, x_src, graph),
            "edge": edge,
        }
        value = self.mapped(self.lin_value, x_src, graph)
        out = self.propagate(graph, value=value, root=x_dst if self.root_weight else None, **fields)
        return (out, (like(given, graph), self.weights(graph, **fields))) if return_attention_weights else out

    def update(self, inputs: Tensor, root: Tensor | None) -> Tensor:  # type: ignore[override]
        """W_1 h_i + a_i, or the two mixed by β."""
        out = self.join(inputs)
        if root is None:
            return out
        own: Tensor = self.lin_skip(root)
        if self.lin_beta is None:
            return own + out
        beta = self.lin_beta(torch.cat([out, own, out - own], dim=-1)).sigmoid()
        mixed: Tensor = beta * own + (1 - beta) * out
        return mixed

    def edge_update(  # type: ignore[override]
        self, query_i: Tensor, key_j: Tensor, edge: Tensor | None
    ) -> Tensor:
        """q_i·(k_j + W_6 e_ij) / √d."""
        key = self._with_edge(key_j, self._mapped_edge(edge))
        return (query_i * key).sum(-1) / math.sqrt(self.out_channels)

    def message(  # type: ignore[override]
        self, query_i: Tensor, key_j: Tensor, value_j: Tensor, edge: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Score and value; W_6 e_ij is in both."""
        own = self._mapped_edge(edge)
        score = self.edge_update(query_i, self._with_edge(key_j, own), None)
        return score, self.drop(self._with_edge(value_j, own))

    def _mapped_edge(self, edge: Tensor | None) -> Tensor | None:
        """W_6 e_ij."""
        return None if edge is None or self.lin_edge is None else self.split(self.lin_edge(edge))

    def _with_edge(self, x: Tensor, own: Tensor | None) -> Tensor:
        """X + W_6 e_ij."""
        return x if own is None else x + own
