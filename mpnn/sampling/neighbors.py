"""Neighbours drawn at random around some nodes: a part of a graph that is too large for one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_seed, checked_positions
from mpnn.graph.contents import OfTensors
from mpnn.graph.csr import CSR
from mpnn.graph.graph import Graph
from mpnn.sampling.padded import padded_sample
from mpnn.sampling.sample import Sample, draw, seed_key

ROOM = 1 << 27  # edges of a padded sample at most: 1 GB for each number of theirs
FEW = 64  # edges: so much room for each node is not worth a look at what is needed, which a GPU waits for


def sample_neighbors(
    graph: Topology,
    nodes: Tensor,
    fanouts: Sequence[int],
    *,
    seed: int | None = None,
    padded: bool = False,
) -> Sample:
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

    Args:
        graph: a `Graph` with one set of nodes, or an `edge_index` tensor.
        nodes: integer `[num_seeds]`, each node once, or a bool mask `[num_nodes]`. For a padded sample no
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
    known = _Numbers(nodes)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, (), device="cpu"))
    rows, frontier, edges = graph.by_dst, nodes, [nodes.new_empty(0)]
    for hop, fanout in enumerate(fanouts):
        slots = _all_slots(rows, frontier) if fanout < 0 else _slots(rows, frontier, fanout, seed + hop)
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


def checked_fanouts(fanouts: Sequence[int], padded: bool = False) -> list[int]:
    """Numbers of edges, -1 for all."""
    if not isinstance(fanouts, Sequence | np.ndarray):
        raise TypeError(f"fanouts must be a sequence, a number of edges for each hop, got {fanouts!r}.")
    for k, fanout in enumerate(fanouts):
        if padded and fanout == -1:
            raise ValueError(
                f"fanouts[{k}] is -1, for all edges, but a padded sample needs a number of them."
            )
        if isinstance(fanout, bool) or not isinstance(fanout, int | np.integer) or fanout < -1:
            raise ValueError(
                f"fanouts[{k}] is {fanout!r}, but should be a number of edges, or -1 for all of them."
            )
    return [int(fanout) for fanout in fanouts]


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


class _Numbers:
    """The numbers of the sample's nodes, in the order in which they were added."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = [nodes]
        self._sorted, self._number = torch.sort(nodes)
        again = (self._sorted[1:] == self._sorted[:-1]).nonzero()
        if again.numel():
            raise ValueError(
                f"nodes holds {int(self._sorted[again[0]])} more than once: choose each node once."
            )

    def add(self, found: Tensor) -> Tensor:
        """Number the nodes among these that are new, and return them."""
        found = torch.unique(found)
        if self._sorted.numel():
            place = torch.searchsorted(self._sorted, found).clamp_(max=self._sorted.numel() - 1)
            found = found[self._sorted[place] != found]
        number = torch.arange(found.numel(), device=found.device) + self._sorted.numel()
        self.nodes.append(found)
        self._sorted, order = torch.sort(torch.cat([self._sorted, found]))
        self._number = torch.cat([self._number, number])[order]
        return found

    def __call__(self, nodes: Tensor) -> Tensor:
        return self._number[torch.searchsorted(self._sorted, nodes.contiguous())]


def _all_slots(rows: CSR, nodes: Tensor) -> Tensor:
    """The slots of whole rows, one behind the other."""
    begin, degree = rows.indptr[nodes].long(), (rows.indptr[nodes + 1] - rows.indptr[nodes]).long()
    last = degree.cumsum(0)
    total = int(last[-1]) if last.numel() else 0
    start = torch.repeat_interleave(begin - last + degree, degree, output_size=total)
    return start + torch.arange(total, device=nodes.device)


def _slots(rows: CSR, nodes: Tensor, fanout: int, seed: int) -> Tensor:
    """`fanout` slots of each row, drawn without repeats, in their order; of a shorter row all."""
    begin, degree = rows.indptr[nodes].long(), (rows.indptr[nodes + 1] - rows.indptr[nodes]).long()
    if fanout > FEW:  # no more room is needed than the largest row has
        fanout = min(fanout, int(degree.max()) if degree.numel() else 0)
    drawn, there = draw(degree, nodes, fanout, seed_key(seed))
    slots: Tensor = (begin[:, None] + drawn)[there]
    return slots
