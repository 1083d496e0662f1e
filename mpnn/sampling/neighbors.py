"""Neighbours drawn at random around some nodes: a part of a graph that is too large for one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_seed, checked_positions
from mpnn.graph.contents import OfTensors
from mpnn.graph.graph import Graph
from mpnn.graph.hetero import EdgeType, HeteroGraph
from mpnn.sampling.hetero import HeteroSample, hetero_sample
from mpnn.sampling.padded import padded_sample
from mpnn.sampling.sample import Sample
from mpnn.sampling.slots import Numbers, all_slots, checked_fanouts, some_slots

ROOM = 1 << 27  # edges of a padded sample at most: 1 GB for each number of theirs


@overload
def sample_neighbors(
    graph: Topology,
    nodes: Tensor,
    fanouts: Sequence[int],
    *,
    seed: int | None = None,
    padded: bool = False,
) -> Sample: ...


@overload
def sample_neighbors(
    graph: HeteroGraph,
    nodes: Mapping[str, Tensor],
    fanouts: Sequence[int] | Mapping[EdgeType, Sequence[int]],
    *,
    seed: int | None = None,
) -> HeteroSample: ...


def sample_neighbors(
    graph: Topology | HeteroGraph,
    nodes: Any,
    fanouts: Any,
    *,
    seed: int | None = None,
    padded: bool = False,
) -> Sample | HeteroSample:
    """Draw the edges that bring messages to some nodes, hop by hop (GraphSAGE, Hamilton et al., 2017).

    In hop k every node that the hop before has added, first those asked for, receives by `fanouts[k]` of its
    incoming edges: each subset of that size is equally likely, and a node with fewer has all. So a network
    of `len(fanouts)` layers computes the asked nodes from what was drawn; with fanouts of -1, all edges,
    exactly as on the whole graph.

    Everything stays on the graph's device; the host learns only the sizes, which each hop makes it wait for.
    The random numbers are a function of the seed, the hop and the node: the same on every device.

    With `padded` the host waits for nothing. The sample is as large as it might be: n nodes with f edges
    each add n f edges, and n f + 1 nodes. It holds what it would hold without, in the same order; what is
    left over in each hop is padding, nodes with edges among themselves, one at most to and from each. So
    layers compute the same at all other nodes, and a CUDA graph can capture the draw together with the step;
    only what looks at all nodes, such as batch normalisation, sees the padding.

    Of a `HeteroGraph`, a node receives by `fanouts[k]` edges of each relation, or by `fanouts[relation][k]`,
    and the result is a `HeteroSample`, which is not padded.

    Args:
        graph: a `Graph` with one set of nodes, an `edge_index` tensor, or a `HeteroGraph`.
        nodes: integer `[num_seeds]`, each node once, or a bool mask `[num_nodes]`; by node type of a
            `HeteroGraph`. For a padded sample no
            mask; the tensor is looked at while it is new, and a node that it holds twice is there twice.
        fanouts: of each hop how many edges enter a node at most; -1 for all, but not in a padded sample.
        seed: of the random numbers; None draws one from torch's generator, if padded from the device's.
        padded: whether the sizes are to follow from those of `nodes` and from `fanouts` alone.

    Raises:
        ValueError: a node that is given twice, a fanout below -1, a graph with two sets of nodes.
        TypeError, IndexError: nodes that are none.

    >>> graph = Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 3]]))
    >>> sample = mpnn.sample_neighbors(graph, torch.tensor([2]), [1, 1])
    >>> sample.nodes.tolist(), sample.edges.tolist(), sample.graph.edge_index.tolist()
    ([2, 1, 0], [1, 0], [[1, 2], [0, 1]])
    """
    if isinstance(graph, HeteroGraph):
        if padded:
            raise ValueError("padded is True, but the sample of a HeteroGraph is not padded.")
        return hetero_sample(graph, nodes, fanouts, as_seed(seed))
    graph = as_graph(graph)
    graph.require_one_node_set("sample_neighbors()")
    fanouts, seed = checked_fanouts(fanouts, padded), as_seed(seed)
    if padded:
        nodes = _seen_positions(nodes, graph)
        check_room(nodes.numel(), fanouts)
        return padded_sample(graph, nodes, fanouts, seed)
    return sample_of(graph, checked_positions("nodes", nodes, graph.num_nodes, graph.device), fanouts, seed)


def sample_of(graph: Graph, nodes: Tensor, fanouts: Sequence[int], seed: int | None) -> Sample:
    """`sample_neighbors` of arguments that are checked."""
    known = Numbers(nodes)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, (), device="cpu"))
    rows, frontier, edges = graph.by_dst, nodes, [nodes.new_empty(0)]
    for hop, fanout in enumerate(fanouts):
        slots = all_slots(rows, frontier) if fanout < 0 else some_slots(rows, frontier, fanout, seed + hop)
        edges.append(rows.edge_ids[slots].long())
        frontier = known.add(rows.indices[slots].long())
    drawn, around = torch.cat(edges), torch.cat(known.nodes)
    ends = known(graph.edge_index[:, drawn])
    part = graph.derive(ends, drawn, (around, around), batch=None, fleeting=True)
    return Sample(part, around, drawn, nodes.numel())


# Nodes that were looked at, with the number of nodes that they are below: a GPU's have the host wait.
_seen: OfTensors[int] = OfTensors()


def _seen_positions(nodes: Tensor, graph: Graph) -> Tensor:
    """The nodes that are asked for, looked at if they are new."""
    if isinstance(nodes, Tensor) and nodes.dtype == torch.bool:
        raise ValueError(
            "nodes is a mask, which does not tell how many nodes it chooses: give a padded sample positions."
        )
    if not isinstance(nodes, Tensor) or _seen.get(nodes) != graph.num_nodes:
        checked_positions("nodes", nodes, graph.num_nodes, graph.device)
        _seen.keep(nodes, graph.num_nodes)
    return nodes.long()


def check_room(num_seeds: int, fanouts: Sequence[int]) -> None:
    """Raise ValueError if a padded sample, which has room for all that fanouts allow, would be too large."""
    edges, newest = 0, num_seeds
    for fanout in fanouts:
        edges, newest = edges + newest * fanout, newest * fanout + 1
    if edges > ROOM:
        raise ValueError(
            f"fanouts is {list(fanouts)}, with which a padded sample of {num_seeds} nodes has room for "
            f"{edges:,} edges, but at most {ROOM:,} are possible: choose smaller fanouts, or fewer nodes."
        )
