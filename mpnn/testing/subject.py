"""A layer under test, and the graphs and features that it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mpnn.graph.graph import Graph

WIDTH = 6
EdgeInput: TypeAlias = int | range | None  # that many features, a type of these, one positive number

X: TypeAlias = Tensor | tuple[Tensor, Tensor]  # [num_nodes, channels], or of sources and destinations


@dataclass
class Data:
    """A graph and what its nodes and edges carry."""

    graph: Graph | Tensor
    x: X
    edges: dict[str, Tensor] = field(default_factory=dict)  # each [num_edges, ...]

    def to(self, device: torch.device | str) -> Data:
        """The same on a device."""
        x = self.x.to(device) if isinstance(self.x, Tensor) else (self.x[0].to(device), self.x[1].to(device))
        return Data(self.graph.to(device), x, {name: value.to(device) for name, value in self.edges.items()})

    def with_edges_in_order(self, order: Tensor) -> Data:
        """The same edges, listed in another order."""
        graph = self.graph.edge_subgraph(order) if isinstance(self.graph, Graph) else self.graph[:, order]
        return Data(graph, self.x, {name: value[order] for name, value in self.edges.items()})


@dataclass(frozen=True)
class Subject:
    """A layer or model under test, and how it is built and called.

    Args:
        name: what messages call it.
        build: makes it.
        edges: what its `forward` is given of the edges, by name: a number of features, a range of types,
            or None for one positive number.
        in_channels: the width of its node features.
        per_graph: it gives one row per graph, not per node.
        bipartite: it also takes a pair of features and a graph from one node set to another.
        caller: how it is called on features, a graph and what it is given of the edges.
    """

    name: str
    build: Callable[[], nn.Module]
    edges: Mapping[str, EdgeInput] = field(default_factory=dict)
    in_channels: int = WIDTH
    per_graph: bool = False
    bipartite: bool = False
    caller: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """A fresh one with repeatable weights, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.build().to(dtype).eval()
            if any(map(nn.parameter.is_lazy, module.parameters())):
                self.call(module, self.sample(dtype=dtype))
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():  # biases start at zero, which would hide them
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(dtype))
        return module

    def call(self, module: nn.Module, data: Data) -> Tensor:
        """The subject's output on a graph.

        Raises:
            TypeError: it is not one tensor.
        """
        call = self.caller or type(module).__call__
        out = call(module, data.x, data.graph, **{name: data.edges[name] for name in self.edges})
        if not isinstance(out, Tensor):
            raise TypeError(
                f"{self.name} returns a {type(out).__name__}, but the laws are of one tensor: pass call=."
            )
        return out

    def carrying(self, graph: Graph, dtype: torch.dtype = torch.float64, seed: int = 0) -> Data:
        """A graph with random features of the kinds that the subject takes."""
        return carrying(graph, self.edges, dtype, seed, self.in_channels)

    def sample(
        self, num_nodes: int = 10, num_edges: int = 24, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> Data:
        """A random graph with isolated nodes, self loops and repeated edges."""
        return sample(num_nodes, num_edges, seed, dtype, self.edges, self.in_channels)


def carrying(
    graph: Graph,
    edges: Mapping[str, EdgeInput],
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    in_channels: int = WIDTH,
) -> Data:
    """A graph with random features of some kinds; with two node sets a pair of node features."""
    carried = {name: edge_input(kind, graph.num_edges, dtype) for name, kind in edges.items()}
    x = features(graph.num_src, in_channels, seed, dtype)
    if graph.is_bipartite:
        return Data(graph, (x, features(graph.num_dst, in_channels, seed + 1, dtype)), carried)
    return Data(graph, x, carried)


def sample(
    num_nodes: int,
    num_edges: int,
    seed: int,
    dtype: torch.dtype,
    edges: Mapping[str, EdgeInput],
    in_channels: int = WIDTH,
) -> Data:
    """A random graph with isolated nodes, self loops and repeated edges, and what it carries."""
    graph = Graph(random_edges(num_nodes, num_nodes, num_edges, seed), num_nodes)
    return carrying(graph, edges, dtype, seed, in_channels)


def random_edges(num_src: int, num_dst: int, num_edges: int, seed: int = 0) -> Tensor:
    """`[2, num_edges]`, among all but the last two nodes of each side, which stay isolated."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n - 2, (num_edges,), generator=generator) for n in (num_src, num_dst)])


def features(rows: int, width: int, seed: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """`[rows, width]`, normally distributed, the same numbers in every precision."""
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def edge_input(kind: EdgeInput, num_edges: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """`[num_edges, kind]` features, or `[num_edges]` types or positive numbers."""
    generator = torch.Generator().manual_seed(4)
    if kind is None:
        return torch.rand(num_edges, generator=generator, dtype=torch.float64).to(dtype) + 0.5
    if isinstance(kind, range):
        return torch.randint(kind.start, kind.stop, (num_edges,), generator=generator)
    return features(num_edges, kind, 5, dtype)
