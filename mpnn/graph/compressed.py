"""A graph that is given by its compressed rows."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.csr import CSR, compress
from mpnn.graph.facts import Facts
from mpnn.graph.unlisted import Unlisted


class Compressed(Unlisted):
    """A bipartite graph whose edges lie by destination already; edge e is the one in slot e.

    Nothing is sorted for that end, and no `edge_index` is kept before it is asked for.

    Args:
        indptr: `[num_dst + 1]`: node i is entered by the edges `indptr[i] .. indptr[i + 1]`.
        indices: `[num_edges]`, the source of each edge, in the type of `indptr`.
        num_src: how many nodes can send.

    >>> graph = Compressed(torch.tensor([0, 2, 3]), torch.tensor([1, 0, 2]), 3)
    >>> graph.edge_index
    tensor([[1, 0, 2],
            [0, 0, 1]])
    """

    def __init__(self, indptr: Tensor, indices: Tensor, num_src: int) -> None:
        facts = Facts((num_src, indptr.numel() - 1), bipartite=True)
        super().__init__(facts, indices.numel(), indptr.device)
        edge_ids = torch.arange(indices.numel(), dtype=indptr.dtype, device=indptr.device)
        self._rows = CSR(indptr, indices, edge_ids)

    @property
    def in_degree(self) -> Tensor:
        """`[num_dst]` int64: how many edges enter each node."""
        return self.memo("in_degree", lambda: self._rows.indptr.diff().long())

    @property
    def by_dst(self) -> CSR:
        """The edges that enter each node: row i lists the sources of i."""
        return self._rows

    @property
    def by_src(self) -> CSR:
        """The edges that leave each node: row j lists the destinations of j."""
        return self.memo("by_src", self._sort_by_source)

    def _sort_by_source(self) -> CSR:
        src, dst = self._enumerate_edges()  # which is not kept
        return compress(src, dst, self.num_src, self.num_dst)

    def _enumerate_edges(self) -> Tensor:
        rows = torch.arange(self.num_dst, device=self.device).repeat_interleave(self.in_degree)
        return torch.stack([self._rows.indices.long(), rows])
