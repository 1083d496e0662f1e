"""Regular topologies: graphs whose edges are a formula, made in microseconds however large they are.

Convolution, recurrence and attention are message passing on a grid, a chain and a complete graph. Each of
these is a `Graph` like any other; its `edge_index` is enumerated when it is first asked for.
"""

import torch

from mpnn.topology.adaptive import AdaptiveGrid, adaptive_grid
from mpnn.topology.band import Band, Causal, band, causal
from mpnn.topology.chain import Chain, chain
from mpnn.topology.colouring import colouring
from mpnn.topology.complete import Complete, CompleteBipartite, complete, complete_bipartite
from mpnn.topology.grid import Grid, grid
from mpnn.topology.implicit import Implicit
from mpnn.topology.lattice import Lattice, lattice
from mpnn.topology.product import Product, product
from mpnn.topology.star import Star, star
from mpnn.topology.tree import Tree, tree

__all__ = [
    "AdaptiveGrid",
    "Band",
    "Causal",
    "Chain",
    "Complete",
    "CompleteBipartite",
    "Grid",
    "Implicit",
    "Lattice",
    "Product",
    "Star",
    "Tree",
    "adaptive_grid",
    "band",
    "causal",
    "chain",
    "colouring",
    "complete",
    "complete_bipartite",
    "grid",
    "lattice",
    "product",
    "star",
    "tree",
]

torch.serialization.add_safe_globals(
    [AdaptiveGrid, Band, Causal, Chain, Complete, CompleteBipartite, Grid, Lattice, Product, Star, Tree]
)
