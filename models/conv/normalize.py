"""Edge weights that follow from degrees: the GCN's normalisation and the scaled Laplacian."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.aggregate.reduce import pick_rows, scatter_known
from mpnn.models.conv.self_loops import with_remaining_self_loops, without_self_loops


def gcn_norm(
    graph: Graph,
    edge_weight: Tensor | None = None,
    improved: bool = False,
    add_self_loops: bool = True,
    flow: str = "source_to_target",
    dtype: torch.dtype = torch.float32,
) -> tuple[Graph, Tensor]:
    """D^{-1/2} (A + I) D^{-1/2}, with D the weighted in-degrees of A + I (Kipf and Welling, 2017).

    Args:
        graph: A.
        edge_weight: `[num_edges]`, the entries of A; one each by default.
        improved: A + 2 I.
        add_self_loops: A itself if not. A loop that is there already keeps its weight.
        flow: "target_to_source" takes out-degrees.
        dtype: of the result, when there are no edge weights to say.

    Returns:
        The graph with its loops and the weights `[num_edges']` of its edges. Without `edge_weight` both
        follow from the topology, and the graph keeps them (`Graph.memo`).

    >>> graph, weight = gcn_norm(Graph(torch.tensor([[0, 1], [1, 0]])))
    >>> weight
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    if edge_weight is not None:
        return _gcn_norm(graph, edge_weight, improved, add_self_loops, flow)

    def compute() -> tuple[Graph, Tensor]:
        # Half precision cannot count beyond 2048 neighbours (bfloat16: 256).
        ones = torch.ones(
            graph.num_edges, dtype=torch.promote_types(dtype, torch.float32), device=graph.device
        )
        looped, weight = _gcn_norm(graph, ones, improved, add_self_loops, flow)
        return looped, weight.to(dtype)

    return graph.memo(("gcn_norm", improved, add_self_loops, flow, dtype), compute)


def _gcn_norm(
    graph: Graph, edge_weight: Tensor, improved: bool, add_self_loops: bool, flow: str
) -> tuple[Graph, Tensor]:
    if add_self_loops:
        graph, edge_weight = with_remaining_self_loops(graph, edge_weight, 2.0 if improved else 1.0)
    receiver = graph.dst if flow == "source_to_target" else graph.src
    scale = power(scatter_known(edge_weight, receiver, graph.num_nodes), -0.5)
    return graph, _both_ends(scale, graph, edge_weight)


def scaled_laplacian(
    graph: Graph,
    edge_weight: Tensor,
    normalization: str | None = "sym",
    lambda_max: Tensor | float | None = None,
    batch: Tensor | None = None,
) -> tuple[Graph, Tensor]:
    """2 L / λ_max - I, whose eigenvalues lie in [-1, 1].

    L is D - A (None), I - D^{-1/2} A D^{-1/2} ("sym") or I - D^{-1} A ("rw"), with the out-degrees D.

    Args:
        graph: A; its self loops are dropped.
        edge_weight: `[num_edges]`, the entries of A.
        normalization: None, "sym" or "rw".
        lambda_max: the largest eigenvalue of L, or one for each graph of a batch; by default twice the
            largest entry of L.
        batch: `[num_nodes]`, which graph each node belongs to.

    Returns:
        The graph of L and the weights `[num_edges']` of its edges; the loops come last.
    """
    graph, edge_weight = without_self_loops(graph, edge_weight)
    degree = scatter_known(edge_weight, graph.src, graph.num_nodes)
    if normalization == "sym":
        scale = power(degree, -0.5)
        edge_weight = _both_ends(scale, graph, edge_weight)
    elif normalization == "rw":
        edge_weight = pick_rows(power(degree, -1.0), 0, graph.src) * edge_weight
    diagonal = degree if normalization is None else torch.ones_like(degree)
    laplacian = torch.cat([-edge_weight, diagonal])
    graph = graph.with_self_loops()
    if lambda_max is None:
        # Without asking whether there is any entry, which a traced function could not.
        lambda_max = 2.0 * torch.cat([laplacian, laplacian.new_full((1,), -torch.inf)]).max()
    largest = torch.as_tensor(lambda_max, dtype=laplacian.dtype, device=laplacian.device)
    if largest.numel() > 1:
        if batch is None:
            raise ValueError(
                f"lambda_max has {largest.numel()} entries, one per graph, but no batch says which graph a "
                "node belongs to."
            )
        largest = pick_rows(largest, 0, batch[graph.src])
    scaled = 2.0 * laplacian * power(largest, -1.0)
    return graph, torch.cat([scaled[: edge_weight.numel()], scaled[edge_weight.numel() :] - 1.0])


def _both_ends(scale: Tensor, graph: Graph, edge_weight: Tensor) -> Tensor:
    """s_j w_ij s_i, with gradients at s that several threads add up in one order."""
    return pick_rows(scale, 0, graph.src) * edge_weight * pick_rows(scale, 0, graph.dst)


def power(x: Tensor, exponent: float) -> Tensor:
    """x^exponent for a negative exponent, and 0 with gradient 0 where x is 0."""
    zero = x == 0
    return x.masked_fill(zero, 1.0).pow(exponent).masked_fill(zero, 0.0)
