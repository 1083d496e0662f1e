"""The graphs and features on which layers are tested."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph

NODES, SRC, DST = 12, 9, 12
WIDTH, EDGE_WIDTH, RELATIONS = 6, 3, 3


def edges(num_src: int, num_dst: int, num_edges: int, *, seed: int = 0) -> Tensor:
    """Random edges among all but the last two nodes of each side, which stay isolated."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n - 2, (num_edges,), generator=generator) for n in (num_src, num_dst)])


def plain() -> Tensor:
    """Self loops, repeated edges, isolated nodes."""
    drawn = edges(NODES, NODES, 30)
    drawn = drawn[:, drawn[0] != drawn[1]]
    loops = torch.tensor([[2, 7], [2, 7]])
    return torch.cat([drawn, drawn[:, :3], loops], dim=1)


GRAPHS: dict[str, Graph] = {
    "plain": Graph(plain(), NODES),
    "no edges": Graph(torch.empty(2, 0, dtype=torch.int64), NODES),
    "batch": Graph.batch(
        [
            Graph(edges(5, 5, 8, seed=1), 5),
            Graph(torch.empty(2, 0, dtype=torch.int64), 1),
            Graph(torch.tensor([[0, 1, 1], [1, 0, 1]]), 2),
        ]
    ),
    "bipartite": Graph(edges(SRC, DST, 30, seed=2), (SRC, DST)),
}


def features(rows: int, width: int = WIDTH, *, seed: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normally distributed features, the same numbers in every precision."""
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def edge_input(name: str, num_edges: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """What a layer's argument `edge_weight`, `edge_attr` or `edge_type` may hold."""
    generator = torch.Generator().manual_seed(4)
    if name == "edge_weight":
        return torch.rand(num_edges, generator=generator, dtype=torch.float64).to(dtype) + 0.5
    if name == "edge_type":
        return torch.randint(RELATIONS, (num_edges,), generator=generator)
    return features(num_edges, EDGE_WIDTH, seed=5, dtype=dtype)
