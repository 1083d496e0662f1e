"""The heterogeneous graph transformer's layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import HeteroGraph, MessagePassing
from mpnn.graph.hetero import EdgeType
from mpnn.graph.hetero_checks import checked_edge_types, listed
from mpnn.layer.names import also_named
from mpnn.models.conv.hetero import HeteroTopology, as_hetero
from mpnn.models.parts.cache import Cache
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.keys import MapsByType, internal_key
from mpnn.models.parts.linear import see, uniform_
from mpnn.plan.typed import linear_rows


class HGTConv(MessagePassing):
    """h_i' = β W_out gelu(Σ_{j→i} α_ij M_r V h_j) + (1 - β) h_i, α_ij = softmax_j (Q h_i)·(A_r K h_j) μ_r/√d.

    (Hu et al., 2020, eq. 3 to 5.) Q, K, V, W_out and β are those of the type of a node, A, M and μ those of
    the relation r of an edge; the softmax is over the edges of all relations into a node. Where the widths
    differ, there is no β and no h_i.

    Args:
        in_channels: width of the input, one for all types of nodes or a dictionary; -1 takes it from the
            first input.
        out_channels: width of the output, shared by the heads.
        metadata: the types of nodes and of edges, as `HeteroGraph.metadata()` gives them.
        heads: how many heads attend.
        **kwargs: `flow` of `MessagePassing`, which must be "source_to_target".

    Shapes: x_dict `[num_nodes, in_channels]` of each node type, and a `HeteroGraph` or of each edge type
    `[2, num_edges]` -> `[num_nodes, out_channels]` of each node type that an edge type enters.

    >>> graph = HeteroGraph(
    ...     {"author": 2, "paper": 3}, {("author", "writes", "paper"): torch.tensor([[0, 1], [2, 0]])}
    ... )
    >>> layer = HGTConv({"author": 4, "paper": 5}, 8, graph.metadata(), heads=2)
    >>> out = layer({"author": torch.ones(2, 4), "paper": torch.ones(3, 5)}, graph)
    >>> {node_type: x.shape for node_type, x in out.items()}
    {'paper': torch.Size([3, 8])}
    """

    has_own_edges = True

    def __init__(
        self,
        in_channels: int | Mapping[str, int],
        out_channels: int,
        metadata: tuple[Sequence[str], Sequence[EdgeType]],
        heads: int = 1,
        **kwargs: Any,
    ) -> None:
        check_count("out_channels", out_channels, 1)
        check_count("heads", heads, 1)
        if out_channels % heads:
            raise ValueError(f"out_channels is {out_channels}, which {heads} heads cannot share evenly.")
        super().__init__("softmax", **kwargs)
        if self.flow != "source_to_target":
            raise ValueError(f"flow is {self.flow!r}, but the edge types of HGTConv say where messages go.")
        self.node_types = list(metadata[0])
        self.edge_types = checked_edge_types(metadata[1], self.node_types)
        if not isinstance(in_channels, Mapping):
            in_channels = dict.fromkeys(self.node_types, in_channels)
        if set(in_channels) != set(self.node_types):
            raise ValueError(
                f"in_channels has widths of {listed(in_channels)}, but the node types are "
                f"{listed(self.node_types)}."
            )
        for width in in_channels.values():
            check_count("in_channels", width, 1, may_be_open=True)
        self.in_channels, self.out_channels, self.heads = dict(in_channels), out_channels, heads
        channels, num_types = out_channels // heads, heads * len(self.edge_types)
        self.kqv_lin = MapsByType(self.in_channels, 3 * out_channels)
        self.out_lin = MapsByType(dict.fromkeys(self.node_types, out_channels), out_channels)
        self.k_rel, self.v_rel = (_Matrices(num_types, channels) for _ in range(2))
        self.skip = nn.ParameterDict(
            {internal_key(name, nn.ParameterDict): torch.empty(1) for name in self.node_types}
        )
        self.p_rel = nn.ParameterDict(
            {_name(edge_type): torch.empty(1, heads) for edge_type in self.edge_types}
        )
        self._graphs = Cache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for module in (self.kqv_lin, self.out_lin, self.k_rel, self.v_rel):
            module.reset_parameters()
        for parameter in (*self.skip.values(), *self.p_rel.values()):
            nn.init.ones_(parameter)

    @also_named(edge_index_dict="graph")
    def forward(self, x_dict: Mapping[str, Tensor], graph: HeteroTopology) -> dict[str, Tensor]:
        graph = as_hetero(graph, x_dict, self._graphs)
        self._check(x_dict, graph)
        query = linear_rows(*self._maps(1, x_dict, [(name, None) for name in graph.node_types]))
        senders = [(edge_type[0], edge_type) for edge_type in graph.edge_types]
        key, value = (linear_rows(*self._maps(k, x_dict, senders)) if senders else query[:0] for k in (0, 2))
        fields = {"query": self._split(query), "key": self._split(key), "value": self._split(value)}
        out: Tensor = self.propagate(graph.by_relation(sources=True), **fields)  # type: ignore[arg-type]
        entered = {edge_type[2] for edge_type in self.edge_types}
        received = {name: x for name, x in graph.split(out.flatten(1)).items() if name in entered}
        return {name: self._updated(name, x, x_dict[name]) for name, x in received.items()}

    def message(  # type: ignore[override]
        self, query_i: Tensor, key_j: Tensor, value_j: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(Q h_i)·(A_r K h_j) μ_r / √d, and M_r V h_j."""
        return (query_i * key_j).sum(-1), value_j

    def _updated(self, node_type: str, received: Tensor, x: Tensor) -> Tensor:
        """β W_out gelu(a_i) + (1 - β) h_i."""
        out: Tensor = self.out_lin[node_type](F.gelu(received))
        if out.size(-1) != x.size(-1):
            return out
        beta = self.skip[internal_key(node_type, nn.ParameterDict)].sigmoid()
        mixed: Tensor = beta * out + (1 - beta) * x
        return mixed

    def _maps(
        self, which: int, x_dict: Mapping[str, Tensor], rows: Sequence[tuple[str, EdgeType | None]]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What `linear_rows` makes rows of: inputs, matrices, biases.

        Args:
            which: 0 for the keys A_r K, with the factor of the scores; 1 for Q; 2 for the values M_r V.
            x_dict: the features.
            rows: of what nodes rows are wanted, and for which relation.
        """
        own = slice(which * self.out_channels, (which + 1) * self.out_channels)
        xs, weights, biases = [], [], []
        for node_type, edge_type in rows:
            lin, x = self.kqv_lin[node_type], x_dict[node_type]
            see(lin, x)
            assert lin.bias is not None
            weight, bias = lin.weight[own], lin.bias[own]
            if edge_type is not None:
                matrix = self._matrix(which, edge_type)  # a map after a map is a map
                weight = (matrix.transpose(1, 2) @ weight.view(self.heads, -1, x.size(-1))).flatten(0, 1)
                bias = (bias.view(self.heads, 1, -1) @ matrix).flatten()
            xs.append(x)
            weights.append(weight)
            biases.append(bias)
        return xs, weights, biases

    def _matrix(self, which: int, edge_type: EdgeType) -> Tensor:
        """A_r μ_r / √d or M_r of each head, `[heads, channels, channels]`."""
        number, count = self.edge_types.index(edge_type), len(self.edge_types)
        if which == 2:
            return self.v_rel.weight[number::count]
        factor = self.p_rel[_name(edge_type)].view(self.heads, 1, 1)
        scaled: Tensor = self.k_rel.weight[number::count] * factor
        return scaled / math.sqrt(self.out_channels // self.heads)

    def _split(self, x: Tensor) -> Tensor:
        """`[*, out_channels]` -> `[*, heads, channels]`."""
        return x.view(-1, self.heads, self.out_channels // self.heads)

    def _check(self, x_dict: Mapping[str, Tensor], graph: HeteroGraph) -> None:
        for kind, known, given in (
            ("node type", self.node_types, graph.node_types),
            ("edge type", self.edge_types, graph.edge_types),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(
                        f"the graph has the {kind} {name!r}, but HGTConv was built with {listed(known)}."
                    )
        for name in graph.node_types:
            if name not in x_dict:
                raise ValueError(f"x_dict lacks the node type {name!r}, which the graph has.")
            width, given_width = self.in_channels[name], x_dict[name].size(-1)
            if width not in (-1, given_width):
                raise ValueError(
                    f"HGTConv got x_dict[{name!r}] of width {given_width} but was built with "
                    f"in_channels={width}."
                )

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"


class _Matrices(nn.Module):
    """A matrix for every head and relation, `[heads * num_relations, channels, channels]`, heads first."""

    def __init__(self, num_types: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_types, channels, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        uniform_(self.weight.size(1), self.weight)


def _name(edge_type: EdgeType) -> str:
    return internal_key("__".join(edge_type), nn.ParameterDict)
