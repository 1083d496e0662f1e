"""Over-squashing: how little a node's output depends on far nodes, and which edges are the bottlenecks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from mpnn import Graph


def jacobian_norms(function: Callable[[Tensor], Tensor], x: Tensor, node: int) -> Tensor:
    """How much the output of one node depends on the input of each: ‖ ∂h_node / ∂x_j ‖_F for all j.

    Topping et al. (2022) call it over-squashing where these fall fast with the distance of j.

    Args:
        function: from x to `[num_nodes, channels]`: a model in evaluation mode on some graph.
        x: `[num_nodes, in_channels]`, where the derivative is taken.
        node: the node whose output it is.

    Returns:
        `[num_nodes]`, 0 where the output does not depend on j.

    >>> path = Graph(torch.tensor([[0, 1], [1, 2]]), num_nodes=3)
    >>> import mpnn
    >>> add = lambda x: 3 * mpnn.propagate(path, lambda x_j: x_j, x=x)
    >>> jacobian_norms(add, torch.ones(3, 1), node=2)
    tensor([0., 3., 0.])
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        out = function(x)[node].flatten()
        total = x.new_zeros(x.size(0))
        for channel in range(out.numel()):
            (slope,) = torch.autograd.grad(
                out[channel], x, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            total += slope.flatten(1).square().sum(dim=1)
    return total.sqrt()


def distances_to(graph: Graph, node: int) -> Tensor:
    """How many edges a message of each node takes to `node`, `[num_nodes]`; -1 if it never arrives.

    >>> distances_to(Graph(torch.tensor([[0, 1], [1, 2]]), num_nodes=4), node=2)
    tensor([ 2,  1,  0, -1])
    """
    ends = graph.edge_index.cpu().numpy()
    backwards = csr_array((np.ones(graph.num_edges), (ends[1], ends[0])), shape=(graph.num_nodes,) * 2)
    far = shortest_path(backwards, unweighted=True, indices=node)
    return torch.from_numpy(np.where(np.isinf(far), -1, far)).long()


def influence_by_distance(
    function: Callable[[Tensor], Tensor], x: Tensor, graph: Graph, nodes: Sequence[int]
) -> list[tuple[int, float, int]]:
    """The mean Jacobian norm between two nodes by their distance.

    Args:
        function, x: see `jacobian_norms`.
        graph: what distances are measured on.
        nodes: the nodes whose outputs are derived.

    Returns:
        Distance, mean norm and number of pairs, from distance 0 on.
    """
    norms = torch.cat([jacobian_norms(function, x, node).cpu() for node in nodes])
    far = torch.cat([distances_to(graph, node) for node in nodes])
    there = far >= 0
    pairs = far[there].bincount()
    total = torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, far[there], norms[there].double())
    means = (total / pairs).tolist()
    return [
        (distance, means[distance], int(pairs[distance])) for distance in range(len(pairs)) if pairs[distance]
    ]


def balanced_forman_curvature(graph: Graph, edges: Tensor | None = None) -> Tensor:
    """Balanced Forman curvature of edges (Topping et al., 2022, definition 1).

        Ric(i, j) = 2/d_i + 2/d_j - 2 + 2 |#△|/max(d_i, d_j) + |#△|/min(d_i, d_j)
                    + (|#□^i| + |#□^j|) / (γ_max max(d_i, d_j)),      0 if min(d_i, d_j) = 1.

    #△ are the common neighbours of i and j, #□^i the neighbours of i that close a 4-cycle over the edge
    without a diagonal, and γ_max is the most such cycles through one of them. The more negative an edge, the
    more of a bottleneck.

    Args:
        graph: taken as undirected and simple: directions, repeated edges and self loops do not count.
        edges: `[count]`, which edges; None: all. A self loop has curvature NaN.

    Returns:
        `[count]`, float64.

    >>> triangle = Graph(torch.tensor([[0, 1, 1, 2, 2, 0], [1, 0, 2, 1, 0, 2]]))
    >>> balanced_forman_curvature(triangle, torch.tensor([0]))
    tensor([1.5000], dtype=torch.float64)
    """
    near = neighbour_sets(graph)
    ends = graph.edge_index if edges is None else graph.edge_index[:, edges]
    known: dict[tuple[int, int], float] = {}
    values = []
    for i, j in ends.T.tolist():
        key = (min(i, j), max(i, j))
        if key not in known:
            known[key] = _curvature(near, *key) if i != j else float("nan")
        values.append(known[key])
    return torch.tensor(values, dtype=torch.float64)


def neighbour_sets(graph: Graph) -> list[set[int]]:
    """The neighbours of each node in either direction, without the node itself."""
    near: list[set[int]] = [set() for _ in range(graph.num_nodes)]
    for i, j in graph.edge_index.T.tolist():
        if i != j:
            near[i].add(j)
            near[j].add(i)
    return near


def _curvature(near: list[set[int]], i: int, j: int) -> float:
    small, large = sorted((len(near[i]), len(near[j])))
    if small == 1:
        return 0.0
    triangles = len(near[i] & near[j])
    curvature = 2 / small + 2 / large - 2 + 2 * triangles / large + triangles / small
    cycles = _squares(near, i, j) + _squares(near, j, i)
    return curvature + (len(cycles) / (max(cycles) * large) if cycles else 0.0)


def _squares(near: list[set[int]], i: int, j: int) -> list[int]:
    """Of each neighbour k of i in #□^i, how many 4-cycles i - k - w - j - i without a diagonal it is in."""
    beyond = near[j] - near[i] - {i}
    counts = (len(near[k] & beyond) for k in near[i] - near[j] - {j})
    return [count for count in counts if count]
