"""Links to train on, and those that are held out: what a model may see follows from the first alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.datasets import NodeDataset
from mpnn.train.errors import RunError
from mpnn.train.inputs.component import component_nodes
from mpnn.train.tasks.pairs import Pairs
from mpnn.train.tasks.split import Split


class HeldOut(NamedTuple):
    """What a model may see, and the links that it is trained, validated and tested on.

    Args:
        data: the graph of the links to train on, and what is known of its nodes.
        ends: `[2, num_links]`: the nodes of each link, those to train on and the others.
        split: which of them are for what.
        undirected: whether a pair is the same in both directions.
        others: `[2, num_links]`: pairs without a link, one for each link, of its part; None to draw them.
    """

    data: NodeDataset
    ends: Tensor
    split: Split
    undirected: bool
    others: Tensor | None = None


def hold_out(
    data: NodeDataset,
    pairs: Pairs,
    split: Split,
    *,
    connected: bool = False,
    others: Tensor | None = None,
) -> HeldOut:
    """Take the links to validate and to test on out of the graph.

    Whatever is derived from links is derived from those to train on: features that are degrees; the largest
    component; and, if a node is there because a link names it, which nodes there are. Held-out links of other
    nodes are left out: a model that knew of them would know that they are linked.

    Args:
        data: the graph with all links.
        pairs: the links.
        split: positions of links to train, to validate and to test on.
        connected: keep the largest component only.
        others: `[2, num_links]`, see `HeldOut`.

    Raises:
        RunError: no link is left to validate on, or to test on.
    """
    seen = torch.zeros(pairs.ends.size(1), dtype=torch.bool, device=pairs.ends.device)
    seen[split.train] = True
    kept = (seen[pairs.pair] & (pairs.pair >= 0)).nonzero().flatten()
    visible = data.with_edges(kept)
    if not connected and "nodes" not in data.derived:
        return HeldOut(visible, pairs.ends, split, pairs.undirected, others)
    place = torch.full((data.num_nodes,), -1, device=pairs.ends.device)
    nodes = component_nodes(visible.graph) if connected else torch.unique(pairs.ends[:, split.train])
    place[nodes] = torch.arange(len(nodes), device=place.device)
    ends = place[pairs.ends]
    there = (ends >= 0).all(dim=0)
    if others is not None:
        others = place[others]
        there &= (others >= 0).all(dim=0)
        others = others[:, there]
    position = there.cumsum(0) - 1
    parts = [position[part[there[part]]] for part in split]
    for name, part, before in zip(("validate", "test"), parts[1:], split[1:], strict=True):
        if len(before) and not len(part):
            raise RunError(f"the links to train on name no node of a link to {name} on: give more links")
    return HeldOut(visible.with_nodes(nodes), ends[:, there], Split(*parts), pairs.undirected, others)
