"""What a graph is besides its edges."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.batch import Batch
from mpnn.graph.checks import (
    Size,
    checked_edge_index,
    checked_edge_type,
    checked_num_edge_types,
    checked_size,
)
from mpnn.graph.edges import lasting


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


def check_restored(edge_index: Tensor | None, facts: Facts) -> None:
    """Raise unless what a file says of a graph fits together: see `Graph` for the errors."""
    if type(facts) is not Facts or type(facts.size) is not tuple:
        raise TypeError(f"a saved graph should hold its facts, but holds {type(facts).__name__}.")
    if facts.batch is not None:
        for ptr, count in zip(facts.batch, facts.size, strict=True):
            if ptr.is_meta:
                continue
            if ptr.dim() != 1 or int(ptr[0]) != 0 or int(ptr[-1]) != count or bool((ptr.diff() < 0).any()):
                raise ValueError(
                    f"the graphs of a saved batch should have {count} nodes, one after the other."
                )
    if edge_index is None or type(edge_index) is not Tensor:
        return
    for name, index in (("edge_index", edge_index), ("loopless", facts.loopless)):
        if index is not None and (index.dtype != torch.int64 or index.shape != edge_index.shape):
            raise ValueError(f"{name} of a saved graph is {index.dtype} {list(index.shape)}.")
        if index is not None:
            checked_size(facts.size, checked_edge_index(index))
    edge_type = checked_edge_type(facts.edge_type, edge_index)
    if edge_type is not None:
        checked_num_edge_types(facts.num_edge_types, edge_type)
