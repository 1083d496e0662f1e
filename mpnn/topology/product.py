"""One graph in every direction: a graph in space times a chain in time."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.topology.implicit import Implicit


class Product(Implicit):
    """The Cartesian product: each pair of nodes is a node, and moves along one factor at a time.

    Node (u, v) has number `u * second.num_nodes + v`. First come the edges of the first factor, edge e
    once for every v, with its own type; then those of the second, for every u, whose types are counted on.
    """

    first: Graph
    second: Graph

    _by_destination = False

    def __init__(self, first: Graph, second: Graph) -> None:
        num_first, num_second = first.num_src, second.num_src
        num_nodes = num_first * num_second
        super().__init__(
            (num_nodes, num_nodes),
            first.num_edges * num_second + num_first * second.num_edges,
            device=first.device,
            num_edge_types=first.num_edge_types + second.num_edge_types,
            sizes=[(num_src * num_second, num_dst * num_second) for num_src, num_dst in first.graph_sizes],
            first=first,
            second=second,
        )

    def _forward_edges(self) -> Tensor:
        num_first, num_second = self.first.num_src, self.second.num_src
        along_first = self.first.edge_index[:, :, None] * num_second + self._range(num_second)
        along_second = self._range(num_first)[:, None] * num_second + self.second.edge_index[:, None, :]
        return torch.cat([along_first.flatten(1), along_second.flatten(1)], dim=1)

    def _forward_types(self) -> Tensor:
        of_first, of_second = (
            self._range(0).new_zeros(factor.num_edges) if factor.edge_type is None else factor.edge_type
            for factor in (self.first, self.second)
        )
        along_first = of_first.repeat_interleave(self.second.num_src)
        along_second = of_second.repeat(self.first.num_src) + self.first.num_edge_types
        return torch.cat([along_first, along_second])

    def _forward_in_degree(self) -> Tensor:
        return (self.first.in_degree[:, None] + self.second.in_degree).flatten()

    def _forward_out_degree(self) -> Tensor:
        return (self.first.out_degree[:, None] + self.second.out_degree).flatten()

    def _range(self, stop: int) -> Tensor:
        return torch.arange(stop, device=self.device)


def product(first: Graph, second: Graph) -> Product:
    """The Cartesian product of two graphs, such as one in space and one in time, edges typed by factor.

    Node u of the first at node v of the second is node `u * second.num_nodes + v`: features
    `[first.num_nodes, second.num_nodes, channels]`, flattened. Edges along the first factor keep their types
    (0 where it has none); those of the second are counted on behind them.

    Args:
        first: any graph. A bipartite one, such as a grid with padding="same", counts as one set of nodes
            where both of its sides have the same size. If it is a batch, so is the product.
        second: likewise; if it is a batch, it is taken as one graph.

    Raises:
        ValueError: a factor with two sides of unequal size or with times of its edges, or two factors on
            unequal devices.

    >>> from mpnn.topology import chain
    >>> ring = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
    >>> over_time = product(ring, chain(2))
    >>> over_time.edge_index
    tensor([[0, 1, 2, 3, 4, 5, 0, 2, 4],
            [2, 3, 4, 5, 0, 1, 1, 3, 5]])
    >>> over_time.edge_type
    tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])
    """
    for name, factor in (("first", first), ("second", second)):
        if factor.num_src != factor.num_dst:
            raise ValueError(
                f"{name} is bipartite {factor.size}, but a factor of a product has one set of nodes."
            )
        if factor.edge_time is not None:
            raise ValueError(f"{name} has edge_time, which a product does not keep: give it without times.")
    if first.device != second.device:
        raise ValueError(f"first is on {first.device}, but second is on {second.device}.")
    return Product(first, second)
