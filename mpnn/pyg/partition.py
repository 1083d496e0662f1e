"""Graphs cut into parts of equal size with few edges between them: by METIS, or by our own algorithm."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from mpnn.pyg.sampler.arguments import checked_rows, largest

__all__ = ["metis"]

ROUNDS = 20  # of moving nodes
SLACK = 1.03  # how much heavier than the mean a part may become, as METIS allows


def metis(
    rowptr: Tensor,
    col: Tensor,
    num_partitions: int,
    node_weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    recursive: bool = False,
) -> Tensor:
    """The part of each node, int64 `[num_nodes]`.

    With the package pymetis (`pip install pymetis`) METIS cuts the graph (Karypis and Kumar, 1998).
    Without it the nodes are put in an order in which neighbours are near (Cuthill and McKee, 1969), the
    order is cut into parts of equal weight, and nodes move to the part of most of their neighbours while
    that has room. This cuts more edges than METIS does.

    Args:
        rowptr: `[num_nodes + 1]`, int32 or int64.
        col: `[num_edges]`.
        num_partitions: how many parts.
        node_weight: whole numbers `[num_nodes]`; the parts have nearly equal sums.
        edge_weight: whole numbers `[num_edges]`; the sum of those that are cut is to be small.
        recursive: whether METIS cuts in two again and again; it changes nothing without pymetis.

    >>> part = metis(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1, 0, 3, 2]), 2).tolist()
    >>> part in ([0, 0, 1, 1], [1, 1, 0, 0])
    True
    """
    indptr, indices = checked_rows("", rowptr, col)
    number = indptr.numel() - 1
    if largest("col", col) >= number:
        raise IndexError(f"col holds {largest('col', col)}, but there are {number} nodes.")
    if num_partitions < 1:
        raise ValueError(f"num_partitions is {num_partitions}, but should be at least 1.")
    for name, weight, length in (("node", node_weight, number), ("edge", edge_weight, col.numel())):
        if weight is not None and weight.shape != (length,):
            raise ValueError(f"{name}_weight must have shape [{length}], got {list(weight.shape)}.")
    if num_partitions == 1 or number == 0:
        return torch.zeros(number, dtype=torch.int64)
    if has_pymetis():
        _, parts = importlib.import_module("pymetis").part_graph(
            num_partitions,
            xadj=indptr.tolist(),
            adjncy=indices.tolist(),
            vweights=None if node_weight is None else node_weight.tolist(),
            eweights=None if edge_weight is None else edge_weight.tolist(),
            recursive=recursive,
        )
        return torch.tensor(parts, dtype=torch.int64)
    values = np.ones(col.numel()) if edge_weight is None else edge_weight.double().numpy()
    matrix = sparse.csr_matrix((values, indices.numpy(), indptr.numpy()), shape=(number, number))
    weights = np.ones(number) if node_weight is None else node_weight.double().numpy()
    return torch.from_numpy(_cut(matrix + matrix.T, weights, num_partitions))


def has_pymetis() -> bool:
    """Whether METIS is there."""
    return importlib.util.find_spec("pymetis") is not None


def _cut(matrix: sparse.csr_matrix, weights: NDArray[np.float64], parts: int) -> NDArray[np.int64]:
    order = reverse_cuthill_mckee(matrix, symmetric_mode=True)
    middle = np.cumsum(weights[order]) - weights[order] / 2
    part = np.empty(len(weights), dtype=np.int64)
    part[order] = np.minimum(middle * parts // max(weights.sum(), 1e-300), parts - 1)
    return _improved(matrix, weights, part, parts)


def _improved(
    matrix: sparse.csr_matrix, weights: NDArray[np.float64], part: NDArray[np.int64], parts: int
) -> NDArray[np.int64]:
    """Nodes moved to the part of most of their neighbours while that has room."""
    room = max(SLACK * weights.sum() / parts, weights.sum() / parts + weights.max())
    everyone = np.arange(len(weights))
    for turn in range(ROUNDS):
        member = sparse.csr_matrix((np.ones(len(part)), (everyone, part)), shape=(len(part), parts))
        ties = (matrix @ member).tocsr()
        best = np.asarray(ties.argmax(axis=1)).ravel()
        gain = np.asarray(ties.max(axis=1).todense()).ravel() - np.asarray(ties[everyone, part]).ravel()
        # Of two neighbours that would change places only one moves in a turn.
        movers = np.flatnonzero((gain > 0) & (everyone % 2 == turn % 2))
        movers = movers[np.lexsort((-gain[movers], best[movers]))]
        load = np.bincount(part, weights, minlength=parts)
        arriving = np.cumsum(weights[movers])
        first = np.searchsorted(best[movers], best[movers])
        within = arriving - (arriving - weights[movers])[first] if len(movers) else arriving
        movers = movers[load[best[movers]] + within <= room]
        part[movers] = best[movers]
    return part
