"""Global pooling: messages from the nodes of each graph to one node for the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing
from mpnn.aggregate.aggregators import Aggr
from mpnn.layer.names import also_named, deprecated
from mpnn.models.parts.linear import reset
from mpnn.models.parts.membership import Membership, members


def membership(x: Tensor, graph: Membership, num_graphs: int | None = None) -> Graph:
    """The bipartite graph with an edge from every node to the graph that it belongs to.

    Args:
        x: `[num_nodes, ...]`, the features to pool.
        graph: a `Graph` (made by `Graph.batch` if there are several), or `[num_nodes]`, or None.
        num_graphs: the number of graphs; needed where a tensor is given and the last graphs have no nodes.

    >>> membership(torch.ones(3, 8), torch.tensor([0, 0, 1])).edge_index.tolist()
    [[0, 1, 2], [0, 0, 1]]
    """
    index, count = members(graph, x.size(0), num_graphs, x)
    return _membership_of(graph) if isinstance(graph, Graph) else Graph(_edges(index), (x.size(0), count))


def _membership_of(batch: Graph) -> Graph:
    size = batch.num_dst, batch.num_graphs
    return batch.memo("membership", lambda: batch.bipartite_with(_edges(batch.graph_index), size))


def _edges(graph_index: Tensor) -> Tensor:
    return torch.stack([torch.arange(graph_index.numel(), device=graph_index.device), graph_index])


class GlobalPool(MessagePassing):
    """x_g = aggregate { x_i : node i belongs to graph g }.

    Args:
        aggr: any aggregator: "sum", "mean", "max", "std", a list of them, ...
        **kwargs: options of `MessagePassing`.

    Shapes: x `[num_nodes, channels]`, graph a `Graph`, or `[num_nodes]`, or None -> `[num_graphs, channels]`.

    >>> GlobalPool("mean")(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
    tensor([[2.],
            [5.]])
    """

    has_own_edges = True

    def __init__(self, aggr: Aggr = "sum", **kwargs: Any) -> None:
        super().__init__(aggr, **kwargs)

    def forward(self, x: Tensor, graph: Membership = None, size: int | None = None) -> Tensor:
        pooled: Tensor = self.propagate(membership(x, graph, size), x=x)
        return pooled


class AttentionalAggregation(MessagePassing):
    """x_g = Σ_{i in g} softmax_i(gate(x_i)) f(x_i)   (Li et al., 2016, eq. 7).

    Args:
        gate_nn: a network to `[num_nodes, 1]`, or to one score for each channel.
        nn: f, by default the identity.

    Shapes: x `[..., num_nodes, channels]`, graph a `Graph`, or `[num_nodes]` (also as `index`), or None; or
    ptr `[num_graphs + 1]`, where the nodes of each graph begin; dim_size (also as `size`) the number of
    graphs; dim the dimension of the nodes, the last but one -> `[..., num_graphs, *]`.

    >>> pool = AttentionalAggregation(torch.nn.Linear(3, 1))
    >>> pool(torch.ones(4, 3), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([2, 3])
    """

    has_own_edges = True

    def __init__(self, gate_nn: nn.Module, nn: nn.Module | None = None) -> None:
        super().__init__("softmax")
        self.gate_nn, self.nn = gate_nn, nn

    def reset_parameters(self) -> None:
        """Draw the parameters of both networks anew."""
        for network in (self.gate_nn, self.nn):
            if network is not None:
                reset(network)

    @also_named(index="graph", size="dim_size")
    def forward(
        self,
        x: Tensor,
        graph: Membership = None,
        ptr: Tensor | int | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        if isinstance(ptr, int):
            deprecated("AttentionalAggregation(x, graph, size) is now written (x, graph, size=size)", 5)
            ptr, dim_size = None, ptr
        if dim not in (-2, x.dim() - 2):
            raise ValueError(f"dim is {dim}, but must be -2, the nodes of x [..., nodes, channels].")
        if ptr is not None:
            graph = torch.arange(ptr.numel() - 1, device=ptr.device).repeat_interleave(ptr.diff())
            dim_size = ptr.numel() - 1
        gate, value = self.gate_nn(x), x if self.nn is None else self.nn(x)
        gate, value = gate.movedim(-2, 0), value.movedim(-2, 0)
        if gate.size(-1) == 1:
            gate = gate.squeeze(-1)  # one score for the whole value
        pooled: Tensor = self.propagate(membership(value, graph, dim_size), gate=gate, value=value)
        return pooled.movedim(0, -2)

    def message(self, gate_j: Tensor, value_j: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The score and the value of a node."""
        return gate_j, value_j


def global_add_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The sum over each graph's nodes: `[..., num_nodes, channels]` -> `[..., num_graphs, channels]`."""
    return _pool("sum", x, batch, size)


def global_mean_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The mean over each graph's nodes: `[..., num_nodes, channels]` -> `[..., num_graphs, channels]`."""
    return _pool("mean", x, batch, size)


def global_max_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The largest over each graph's nodes: `[..., num_nodes, channels]` -> `[..., num_graphs, channels]`."""
    return _pool("max", x, batch, size)


def _pool(aggr: str, x: Tensor, batch: Membership, size: int | None) -> Tensor:
    if x.dim() < 3:
        pooled: Tensor = GlobalPool(aggr)(x, batch, size)
        return pooled
    pooled = GlobalPool(aggr)(x.movedim(-2, 0), batch, size).movedim(0, -2)
    return pooled.squeeze(-2) if batch is None else pooled  # as PyG: without the dimension of one graph
