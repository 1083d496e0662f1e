"""Layers on a graph that is too large for one step: a block of nodes at a time, exactly as on the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mpnn import Graph, sample_neighbors
from mpnn.models import APPNP, GNN, ChebConv, GatedGraphConv, GCNConv, MPNNConv, SGConv, TAGConv

NORMALISED = (GCNConv, SGConv, TAGConv, APPNP)  # they read how many edges enter the nodes that send


def hops(conv: nn.Module) -> int:
    """How far a layer sees: the edges of a path to a node from the farthest one that it depends on."""
    steps = 0
    for layer in conv.modules():
        if isinstance(layer, SGConv | TAGConv | APPNP):
            steps += layer.K
        elif isinstance(layer, ChebConv):
            steps += len(layer.lins) - 1
        elif isinstance(layer, GatedGraphConv):
            steps += layer.num_layers
    return steps or 1


def reads_degrees(conv: nn.Module) -> bool:
    """Whether a layer needs all edges that enter the farthest nodes that it depends on."""
    return any(isinstance(layer, NORMALISED) for layer in conv.modules())


def hops_of(model: GNN, fanouts: tuple[int, ...]) -> list[int]:
    """How many edges are drawn in each hop around a node, from fanouts of layers, the last layer's first.

    With all edges in each layer, what comes of the nodes is what comes of them on the whole graph.
    """
    each = [
        fanout for conv, fanout in zip(reversed(model.convs), fanouts, strict=True) for _ in range(hops(conv))
    ]
    exact = all(fanout == -1 for fanout in fanouts) and any(map(reads_degrees, model.convs))
    return [*each, -1] if exact else each


@contextmanager
def in_blocks(model: GNN, size: int) -> Iterator[None]:
    """Inside, each layer of the model is computed for `size` nodes at a time, from all their edges.

    What stands between layers, such as a norm, is computed for all nodes at once; so is a layer that changes
    what edges carry, or that reads how many edges leave a node, which a sample of entering edges cannot tell.
    """
    convs = [
        conv
        for conv in model.convs
        if not any(isinstance(layer, MPNNConv | ChebConv) for layer in conv.modules())
    ]
    for conv in convs:
        vars(conv)["forward"] = _Blocks(conv, size)
    try:
        yield
    finally:
        for conv in convs:
            del vars(conv)["forward"]


class _Blocks:
    """A layer's `forward`, for a block of nodes at a time; it reads what the layer reads."""

    def __init__(self, conv: nn.Module, size: int) -> None:
        self.__func__: Callable[..., Tensor] = type(conv).forward  # by which a stack knows what it reads
        self.conv, self.size = conv, size
        self.around = [-1] * (hops(conv) + reads_degrees(conv))

    def __call__(self, x: Tensor, graph: Graph, **edges: Tensor) -> Tensor:
        parts = []
        for nodes in torch.split(torch.arange(graph.num_nodes, device=x.device), self.size):
            sample = sample_neighbors(graph, nodes, self.around)
            own = {name: value[sample.edges] for name, value in edges.items()}
            out = self.__func__(self.conv, x[sample.nodes], sample.graph, **own)
            parts.append(out[: sample.num_seeds])
        return torch.cat(parts)
