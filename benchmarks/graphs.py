"""The graphs that the benchmarks run on: made from a seed, in the shapes of well-known data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """How many nodes and edges, and how uneven the in-degrees are."""

    num_nodes: int
    num_edges: int
    skew: float  # the exponent of a power law of in-degrees; 0 for uniform ones


SHAPES = {
    "tiny": Shape(10, 20, 0.0),
    "cora": Shape(2_708, 10_556, 0.5),
    "coauthor": Shape(18_333, 163_788, 0.5),
    "arxiv": Shape(169_343, 1_166_243, 0.8),
    "reddit10": Shape(232_965, 11_460_000, 0.8),
    "reddit": Shape(232_965, 114_615_892, 0.8),
    "large": Shape(8_000_000, 64_000_000, 0.8),
}


def make(name: str, seed: int = 0) -> np.ndarray:
    """`edge_index [2, num_edges]` int64: sources uniform, destinations by a power law, in random order."""
    shape = SHAPES[name]
    rng = np.random.default_rng(seed)
    weight = np.cumsum((np.arange(shape.num_nodes) + 10.0) ** -shape.skew)
    ranks = np.searchsorted(weight, rng.random(shape.num_edges) * weight[-1])
    destinations = rng.permutation(shape.num_nodes)[np.minimum(ranks, shape.num_nodes - 1)]
    sources = rng.integers(0, shape.num_nodes, shape.num_edges)
    return np.stack([sources, destinations])
