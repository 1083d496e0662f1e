"""A graph given by its compressed rows is the graph with these edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph
from mpnn.graph.compressed import Compressed

SRC = torch.tensor([3, 1, 0, 2, 2, 3, 1])
INDPTR = torch.tensor([0, 2, 2, 5, 7])  # the second node has no incoming edge
DST = torch.tensor([0, 0, 2, 2, 2, 3, 3])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_a_compressed_graph_equals_the_graph_with_these_edges(dtype: torch.dtype) -> None:
    ours, theirs = Compressed(INDPTR.to(dtype), SRC.to(dtype), 5), Graph(torch.stack([SRC, DST]), (5, 4))
    assert ours.size == theirs.size and ours.num_edges == theirs.num_edges and ours.is_bipartite
    assert ours.device == theirs.device
    for name in ("edge_index", "src", "dst", "in_degree", "out_degree"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    for name in ("by_dst", "by_src"):
        one, other = getattr(ours, name), getattr(theirs, name)
        for part in ("indptr", "indices", "edge_ids"):
            assert torch.equal(getattr(one, part).long(), getattr(other, part).long()), (name, part)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("aggr", ["sum", "mean", "max"])
def test_messages_on_a_compressed_graph_equal_those_on_a_graph(aggr: str, backend: str) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    gradient = torch.randn(4, 3, dtype=torch.float64)

    def results(graph: Graph) -> list[Tensor]:
        given = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        with mpnn.backend(backend):
            out = mpnn.propagate(graph, lambda x_j, w: w * x_j, aggr, x=given[0], w=given[1])
            return [out, *torch.autograd.grad(out, given, gradient)]

    ours, theirs = results(Compressed(INDPTR, SRC, 5)), results(Graph(torch.stack([SRC, DST]), (5, 4)))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
