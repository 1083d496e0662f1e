"""Global pooling: messages from the nodes of each graph to one node for the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing
from mpnn.aggregate.aggregators import Aggr
from mpnn.models.parts.linear import reset

# A (batched) graph; or `[num_nodes]`, the graph that each node belongs to; or None: all nodes belong to one
# graph.
Membership = Graph | Tensor | None


def membership(x: Tensor, graph: Membership, num_graphs: int | None = None) -> Graph:
    """The bipartite graph with an edge from every node to the graph that it belongs to.

    Args:
        x: `[num_nodes, ...]`, the features to pool.
        graph: a `Graph` (made by `Graph.batch` if there are several), or `[num_nodes]`, or None.
        num_graphs: the number of graphs; needed where a tensor is given and the last graphs have no nodes.

    >>> membership(torch.ones(3, 8), torch.tensor([0, 0, 1])).edge_index.tolist()
    [[0, 1, 2], [0, 0, 1]]
    """
    num_nodes = x.size(0)
    if isinstance(graph, Graph):
        if num_graphs is not None and num_graphs != graph.num_graphs:
            raise ValueError(f"size is {num_graphs}, but the batch has {graph.num_graphs} graphs.")
        if num_nodes != graph.num_dst:
            raise ValueError(f"x has {num_nodes} rows, but the graph has {graph.num_dst} nodes.")
        return _membership_of(graph)
    if graph is None:
        graph = torch.zeros(num_nodes, dtype=torch.int64, device=x.device)
        num_graphs = 1 if num_graphs is None else num_graphs
    if graph.shape != (num_nodes,):
        raise ValueError(
            f"batch must be [{num_nodes}], one graph for each row of x, got {list(graph.shape)}."
        )
    if num_graphs is None:
        num_graphs = int(graph.max()) + 1 if num_nodes else 0
    return Graph(_edges(graph), (num_nodes, num_graphs))


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

    Shapes: x `[num_nodes, channels]`, graph a `Graph`, or `[num_nodes]`, or None -> `[num_graphs, *]`.

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

    def forward(self, x: Tensor, graph: Membership = None, size: int | None = None) -> Tensor:
        gate, value = self.gate_nn(x), x if self.nn is None else self.nn(x)
        if gate.size(-1) == 1:
            gate = gate.squeeze(-1)  # one score for the whole value
        pooled: Tensor = self.propagate(membership(x, graph, size), gate=gate, value=value)
        return pooled

    def message(self, gate_j: Tensor, value_j: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The score and the value of a node."""
        return gate_j, value_j


def global_add_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The sum over the nodes of each graph: `[num_nodes, channels]` -> `[num_graphs, channels]`."""
    return _pool("sum", x, batch, size)


def global_mean_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The mean over the nodes of each graph: `[num_nodes, channels]` -> `[num_graphs, channels]`."""
    return _pool("mean", x, batch, size)


def global_max_pool(x: Tensor, batch: Membership, size: int | None = None) -> Tensor:
    """The largest over the nodes of each graph: `[num_nodes, channels]` -> `[num_graphs, channels]`."""
    return _pool("max", x, batch, size)


def _pool(aggr: str, x: Tensor, batch: Membership, size: int | None) -> Tensor:
    pooled: Tensor = GlobalPool(aggr)(x, batch, size)
    return pooled
