"""The relational graph attention network's layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, propagate
from mpnn.aggregate.reduce import pick_rows
from mpnn.functional import linear, matmul
from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.layer.typed_rows import TypedEnds
from mpnn.models.conv.attention_conv import Attention, Weights, like
from mpnn.models.conv.edge_types import typed_edges, weight_shape
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.checks import check_count, check_number
from mpnn.models.parts.linear import Projection, glorot_, see, zeros_

MODS = (None, "additive", "scaled", "f-additive", "f-scaled")
MECHANISMS = ("across-relation", "within-relation")
MODES = ("additive-self-attention", "multiplicative-self-attention")


class RGATConv(Attention):
    """h_i' = Σ_r Σ_{j→i of type r} α_ij W_r h_j + b, α_ij = softmax_j LeakyReLU(Q·W_r h_i + K·W_r h_j).

    (Busbridge et al., 2019, eq. 1 to 6.) The softmax is over all edges into i ("across-relation"), or over
    those of each relation ("within-relation"). Many relations would mean many parameters: bases and blocks
    are those of `RGCNConv`.

    Args:
        in_channels: width of the input.
        out_channels: width of each head's output.
        num_relations: how many edge types there are.
        num_bases: number of V_b, for the basis decomposition.
        num_blocks: number B of blocks, for the block-diagonal one.
        mod: how a node is told how many neighbours it has (Zhang and Xie, 2020): "additive", "scaled",
            "f-additive" or "f-scaled"; None for not.
        attention_mechanism: "across-relation" or "within-relation".
        attention_mode: "additive-self-attention", or "multiplicative-self-attention", where the score is the
            product (Q·W_r h_i) (K·W_r h_j).
        heads: how many heads attend.
        dim: how many scores a head has, each with an output of its own; of the multiplicative mode.
        concat: put heads side by side, or average them.
        negative_slope: of the LeakyReLU.
        dropout: probability of dropping an attention weight in training; without `mod`.
        edge_dim: width of the edge features, if there are any: E·W_e e_ij is another summand, or factor.
        bias: whether to add b.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_type `[num_edges]`, unless the graph has it, edge_attr
    `[num_edges, edge_dim]` -> `[num_nodes, heads * dim * out_channels]`, without concat
    `[num_nodes, dim * out_channels]`. With `return_attention_weights=True` also `(graph, α)`, α
    `[num_edges, heads * dim]` before dropout.

    >>> layer = RGATConv(3, 2, num_relations=2, heads=4)
    >>> graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4, edge_type=torch.tensor([0, 1, 0]))
    >>> layer(torch.ones(4, 3), graph).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_relations: int,
        num_bases: int | None = None,
        num_blocks: int | None = None,
        mod: str | None = None,
        attention_mechanism: str = "across-relation",
        attention_mode: str = "additive-self-attention",
        heads: int = 1,
        dim: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        edge_dim: int | None = None,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_count("in_channels", in_channels, 1)
        check_count("dim", dim, 1)
        check_number("negative_slope", negative_slope)
        super().__init__(in_channels, out_channels, heads, concat, dropout, edge_dim, **kwargs)
        self.num_relations, self.num_bases, self.num_blocks = num_relations, num_bases, num_blocks
        self.mod, self.dim, self.negative_slope = mod, dim, negative_slope
        self.attention_mechanism, self.attention_mode = attention_mechanism, attention_mode
        self._check_options()
        width, scores = heads * out_channels, heads * dim
        weight = nn.Parameter(
            torch.empty(weight_shape(in_channels, width, num_relations, num_bases, num_blocks))
        )
        self.q, self.k = (nn.Parameter(torch.empty(width, scores)) for _ in range(2))
        self.bias = nn.Parameter(torch.empty(self.total_channels)) if bias else None
        self.lin_edge = None if edge_dim is None else Projection(edge_dim, width, bias=False, init="glorot")
        self.e = None if edge_dim is None else nn.Parameter(torch.empty(width, scores))
        if num_bases is None:
            self.weight = weight
        else:
            self.att = nn.Parameter(torch.empty(num_relations, num_bases))
            self.basis = weight
        self.w = nn.Parameter(torch.ones(out_channels))
        self.l1, self.b1 = (nn.Parameter(torch.empty(1, out_channels)) for _ in range(2))
        self.l2 = nn.Parameter(torch.empty(out_channels, out_channels))
        self.b2 = nn.Parameter(torch.empty(1, out_channels))
        # A layer of its own, so that masks and hooks reach the values that are added to the weighted ones.
        self.total = _Total(flow=self.flow) if mod in ("additive", "f-additive") else None
        self._typed = Cache()
        self.reset_parameters()

    def _check_options(self) -> None:
        for name, known in (
            ("mod", MODS),
            ("attention_mechanism", MECHANISMS),
            ("attention_mode", MODES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(map(str, known))}."
                )
        if self.attention_mode == MODES[0] and self.dim > 1:
            raise ValueError(f"dim is {self.dim}, but {MODES[0]} has one score a head: choose {MODES[1]}.")
        if self.mod is not None and self.dropout > 0:
            raise ValueError(
                f"RGATConv got mod={self.mod!r} with dropout={self.dropout}: choose one of them."
            )

    @property
    def total_channels(self) -> int:
        """The width of the output."""
        return super().total_channels * self.dim

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for parameter in (*reversed(self._matrices()), self.q, self.k):
            glorot_(parameter)
        if self.lin_edge is not None:
            self.lin_edge.reset_parameters()
            glorot_(self.e)
        zeros_(self.bias)
        zeros_(self.b1)
        zeros_(self.b2)
        nn.init.ones_(self.w)
        nn.init.ones_(self.l1)
        nn.init.constant_(self.l2, 1 / self.out_channels)

    def _matrices(self) -> list[Tensor]:
        return [self.weight] if self.num_bases is None else [self.att, self.basis]

    def forward(
        self,
        x: Tensor,
        graph: Topology,
        edge_type: Tensor | None = None,
        edge_attr: Tensor | None = None,
        size: Size | None = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, Weights]:
        given = graph
        x, graph = self.read_nodes(x, graph)
        if size is not None:
            self.read(x, graph, size)
        ends = TypedEnds.of(typed_edges(self, graph, edge_type, self.num_relations, self._typed))
        # What depends on a node and a relation is computed there: a score is then a sum of three numbers.
        sent = ends.senders.mapped(x, self._weights())
        fields: dict[str, Any] = {
            "key": matmul(sent, self.k),
            "query": pick_rows(self._queries(x, ends), 0, ends.receivers.of_edge),
            "edge": self._edge_score(self.read_edge_attr(edge_attr, graph, self.edge_dim)),
        }
        value = self.split(sent) if self.dim == 1 else self.split(sent).repeat_interleave(self.dim, 1)
        within = self.attention_mechanism == "within-relation"
        rows = ends.to_rows if within else ends.to_nodes
        received = self.propagate(rows, value=value, **fields)
        if within:
            received = self._sum(ends.from_rows, received)
        out = self._finish(received, value, ends)
        return (out, (like(given, graph), self.weights(rows, **fields))) if return_attention_weights else out

    def _weights(self) -> Tensor:
        """W_r, or the blocks of each, for every relation."""
        if self.num_bases is None:
            return self.weight
        return torch.einsum("rb,bio->rio", self.att, self.basis)

    def _queries(self, x: Tensor, ends: TypedEnds) -> Tensor:
        """Q·W_r h_i of every row (relation, receiver)."""
        weight = self._weights()
        if weight.dim() == 4:
            return matmul(ends.receivers.mapped(x, weight), self.q)
        return ends.receivers.mapped(x, weight @ self.q)

    def _edge_score(self, edge: Tensor | None) -> Tensor | None:
        """E·W_e e_ij for each head."""
        if edge is None or self.lin_edge is None or self.e is None:
            return None
        see(self.lin_edge, edge)
        return linear(edge, self.e.t() @ self.lin_edge.weight)

    def _finish(self, received: Tensor, value: Tensor, ends: TypedEnds) -> Tensor:
        """What the number of neighbours adds, the heads joined, and the bias."""
        if self.total is not None:
            total = self.total(value, ends.to_nodes)
            received = received + (self.w * total if self.mod == "additive" else total)
        elif self.mod is not None:
            degree = self._forward(ends.to_nodes).in_degree.to(received.dtype)[:, None]
            if self.mod == "scaled":
                degree = (degree * self.l1 + self.b1).relu() @ self.l2 + self.b2
            received = received * degree[:, None]
        out = received.flatten(1)
        if not self.concat:
            out = out.view(-1, self.heads, self.dim * self.out_channels).mean(1)
        return out if self.bias is None else out + self.bias

    def _sum(self, graph: Graph, h: Tensor) -> Tensor:
        """The sum of what nodes receive."""
        return propagate(self._forward(graph), lambda h_j: h_j, h=h)

    def _forward(self, graph: Graph) -> Graph:
        """The graph with its edges in the direction of messages."""
        return graph if self.flow == "source_to_target" else graph.reverse()

    def edge_update(  # type: ignore[override]
        self, key_j: Tensor, query: Tensor, edge: Tensor | None
    ) -> Tensor:
        """LeakyReLU(Q·W_r h_i + K·W_r h_j + E·W_e e_ij), or the product of the three."""
        if self.attention_mode == "multiplicative-self-attention":
            product = query * key_j
            return product if edge is None else product * edge
        summed = query + key_j
        return F.leaky_relu(summed if edge is None else summed + edge, self.negative_slope)

    def message(  # type: ignore[override]
        self, value_j: Tensor, key_j: Tensor, query: Tensor, edge: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Score and value."""
        return self.edge_update(key_j, query, edge), self.drop(value_j)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"


class _Total(MessagePassing):
    """The sum of what the nodes receive."""

    def forward(self, value: Tensor, graph: Graph) -> Tensor:
        out: Tensor = self.propagate(graph, value=value)
        return out

    def message(self, value_j: Tensor) -> Tensor:
        return value_j
