"""Neighbours drawn at random around nodes of several types, for every relation by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.graph.checks import checked_positions
from mpnn.graph.hetero import EdgeType, HeteroGraph
from mpnn.graph.hetero_checks import listed
from mpnn.sampling.slots import Numbers, all_slots, checked_fanouts, some_slots


class HeteroSample(NamedTuple):
    """A part of a typed graph around some nodes."""

    graph: HeteroGraph  # among the nodes of the sample, renumbered
    nodes: dict[str, Tensor]  # of each type [num_nodes]: which node each is; those asked for come first
    edges: dict[EdgeType, Tensor]  # of each relation [num_edges]: which edge each is
    num_seeds: dict[str, int]  # how many nodes of each type were asked for


def hetero_sample(graph: HeteroGraph, nodes: Any, fanouts: Any, seed: int | None) -> HeteroSample:
    """See `mpnn.sample_neighbors`.

    Nodes receive in rows (relation, node), so that one draw serves all relations.
    """
    asked, counts = _asked(graph, nodes), _fanouts(graph, fanouts)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, (), device="cpu"))
    rows = graph.by_relation(destinations=True).by_dst
    known = Numbers(torch.cat(list(asked.values())) if asked else torch.empty(0, dtype=torch.int64))
    frontier, drawn = known.nodes[0], [known.nodes[0].new_empty(0)]
    for hop, of_relations in enumerate(counts):
        entered, relation = _rows_of(graph, frontier)
        found = []
        for fanout in sorted(set(of_relations)):
            alike = torch.tensor([one == fanout for one in of_relations], device=graph.device)
            some = entered[alike[relation]]
            found.append(all_slots(rows, some) if fanout < 0 else some_slots(rows, some, fanout, seed + hop))
        slots = torch.cat(found) if found else entered.new_empty(0)
        drawn.append(rows.edge_ids[slots].long())
        frontier = known.add(rows.indices[slots].long())
    edges, around = torch.cat(drawn), torch.cat(known.nodes)
    homogeneous = graph.homogeneous
    ends = known(homogeneous.edge_index[:, edges])
    part = homogeneous.derive(ends, edges, (around, around), fleeting=True)
    return HeteroSample(
        *graph.part(part, around, edges), {name: rows.numel() for name, rows in asked.items()}
    )


def _asked(graph: HeteroGraph, nodes: Any) -> dict[str, Tensor]:
    """The rows of the nodes of each type that are asked for."""
    if not isinstance(nodes, Mapping):
        raise TypeError(f"nodes must be a dictionary by node type, got {type(nodes).__name__}.")
    sizes = graph.num_nodes_dict
    for name in nodes:
        if name not in sizes:
            raise ValueError(f"nodes names {name!r}, which is no node type: these are {listed(sizes)}.")
    return {
        name: graph.nodes(name).start
        + checked_positions(f"nodes[{name!r}]", nodes[name], sizes[name], graph.device)
        for name in sizes
        if name in nodes
    }


def _fanouts(graph: HeteroGraph, fanouts: Any) -> list[list[int]]:
    """Of each hop how many edges of each relation enter a node at most."""
    if not isinstance(fanouts, Mapping):
        return [[fanout] * len(graph.edge_types) for fanout in checked_fanouts(fanouts)]
    for edge_type in fanouts:
        if edge_type not in graph.edge_types:
            raise ValueError(
                f"fanouts names {edge_type!r}, which is no edge type: these are {listed(graph.edge_types)}."
            )
    for edge_type in graph.edge_types:
        if edge_type not in fanouts:
            raise ValueError(f"fanouts lacks {edge_type!r}: give it zeros if no edge of it is to be drawn.")
    each = [checked_fanouts(fanouts[edge_type]) for edge_type in graph.edge_types]
    if len({len(hops) for hops in each}) > 1:
        raise ValueError("fanouts must have equally many hops for each edge type.")
    return [list(of_relations) for of_relations in zip(*each, strict=True)]


def _rows_of(graph: HeteroGraph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (relation, node) in which some nodes receive, and the relation of each; node after node."""
    numbers = {name: k for k, name in enumerate(graph.node_types)}
    entered: Sequence[int] = [numbers[edge_type[2]] for edge_type in graph.edge_types]
    begin = [own.start - graph.nodes(edge_type[2]).start for edge_type, own in graph.destination_rows.items()]
    types = torch.tensor(entered, dtype=torch.int64, device=nodes.device)
    k, relation = (graph.node_type[nodes][:, None] == types).nonzero().unbind(1)
    return nodes[k] + torch.tensor(begin, dtype=torch.int64, device=nodes.device)[relation], relation
