"""What a graph is besides its edges."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor

from mpnn.batch import Batch
from mpnn.edges import lasting
from mpnn.graph_checks import Size


class Facts(NamedTuple):
    """What a graph is besides its edges; what is made of one keeps all that is not said to be different."""

    size: Size  # (num_src, num_dst)
    bipartite: bool  # whether sources and destinations are two sets of nodes
    edge_type: Tensor | None = None  # [num_edges]
    num_edge_types: int = 1
    batch: Batch | None = None  # where the graphs begin that it is a batch of
    fleeting: bool = False  # whether it is made for one step
    loopless: Tensor | None = None  # as many edges without loops: a padded sample has those in its padding

    def of_edges(self, origin: Tensor, but: Collection[str]) -> Facts:
        """The same of other edges, those numbered `origin`; what `but` names is not looked at."""
        edge_type = None if self.edge_type is None or "edge_type" in but else lasting(self.edge_type[origin])
        loopless = None if self.loopless is None or "loopless" in but else lasting(self.loopless[:, origin])
        return self._replace(edge_type=edge_type, loopless=loopless)
