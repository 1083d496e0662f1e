"""A part of a graph around some nodes, and the draw of some of a node's edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.sampling.splitmix import GOLDEN, mix, mix_int, shift, signed


class Sample(NamedTuple):
    """A part of a graph around some nodes.

    In a padded one `node_mask` and `edge_mask` tell what is of the whole graph; `nodes` and `edges` are 0 for
    padding.
    """

    graph: Graph  # among the nodes of the sample, renumbered
    nodes: Tensor  # [num_nodes]: which node of the whole graph each is; those asked for come first
    edges: Tensor  # [num_edges]: which edge of the whole graph each is
    num_seeds: int  # how many nodes were asked for
    node_mask: Tensor | None = None  # [num_nodes] bool
    edge_mask: Tensor | None = None  # [num_edges] bool


def seed_key(seed: int | Tensor) -> int | Tensor:
    """What the draw of a hop starts from; of a seed on a device, on that device."""
    if isinstance(seed, Tensor):
        return mix(seed + signed(GOLDEN))
    return signed(mix_int(seed + GOLDEN))


def draw(degree: Tensor, nodes: Tensor, fanout: int, key: int | Tensor) -> tuple[Tensor, Tensor]:
    """Draw `fanout` of each node's edges, without repeats; of a node with fewer all.

    Shapes: degree and nodes `[num_nodes]` -> `[num_nodes, fanout]` twice: which of its edges, in their order,
    and whether there is one.
    """
    keys = mix((nodes + 1) * signed(GOLDEN) + key)
    # One number more at a time, from a range that is one larger each time; what was drawn before is replaced
    # by the range's last (Floyd; Bentley, 1987). All subsets are equally likely.
    drawn = degree.new_full((nodes.numel(), fanout), -1)
    for k in range(fanout):
        top = degree - fanout + k
        drawn_now = shift(mix(keys + signed((k + 1) * GOLDEN % 2**64)), 32)
        place = (drawn_now * (top + 1)) >> 32
        again = (drawn[:, :k] == place[:, None]).any(1)
        drawn[:, k] = torch.where(again, top, place)
    places = torch.arange(fanout, device=nodes.device)
    drawn = torch.where(degree[:, None] <= fanout, places, drawn).sort(1).values
    return drawn, places < degree[:, None]
