"""Samples of sparse matrices, and `torch_sparse`'s operators for PyTorch Geometric's samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee as reverse_order
from torch import Tensor

from mpnn.pyg.partition import metis
from mpnn.pyg.sampler.arguments import checked_rows, checked_seed, new_seed
from mpnn.pyg.sampler.neighbor import neighbor_sample, sample_by_words
from mpnn.pyg.sampler.subgraph import random_walk as walk
from mpnn.pyg.sampler.subgraph import subgraph
from mpnn.pyg.sparse.select import permute
from mpnn.pyg.sparse.storage import ind2ptr, ptr2ind
from mpnn.pyg.sparse.tensor import SparseTensor
from mpnn.sampling.hops import Frontier, Numbering, Rows, draw_hop

__all__ = ["partition", "random_walk", "reverse_cuthill_mckee", "saint_subgraph", "sample", "sample_adj"]

MOST = 50  # neighbours of a node that HGT's sampler looks at


def random_walk(src: SparseTensor, start: Tensor, walk_length: int) -> Tensor:
    """Random walks along the entries of a square matrix, from row to column."""
    rowptr, col, _ = src.csr()
    return walk(rowptr, col, start, walk_length)


def saint_subgraph(src: SparseTensor, node_idx: Tensor) -> tuple[SparseTensor, Tensor]:
    """The entries among some nodes, and where these are in the whole matrix."""
    rowptr, col, value = src.csr()
    pointers, ends, edges = subgraph(rowptr, col, node_idx)
    assert edges is not None
    size = node_idx.numel()
    value = None if value is None else value[edges]
    row, order = ptr2ind(pointers, ends.numel()), torch.arange(edges.numel())
    order = torch.argsort(row * max(size, 1) + ends, stable=True)
    value = None if value is None else value[order]
    return SparseTensor(row[order], None, ends[order], value, (size, size), True, True), edges[order]


def sample(src: SparseTensor, num_neighbors: int, subset: Tensor | None = None) -> Tensor:
    """Columns of `num_neighbors` entries of each row, drawn with repeats: `[num_rows, num_neighbors]`."""
    rowptr, col, _ = src.csr()
    rows = torch.arange(src.sparse_size(0), device=col.device) if subset is None else subset
    begin, count = rowptr[rows], rowptr[rows + 1] - rowptr[rows]
    if bool((count == 0).any()):
        raise ValueError(f"row {int(rows[count == 0][0])} has no entries, of which none can be drawn.")
    share = torch.rand(rows.numel(), num_neighbors, device=col.device, dtype=torch.float64)
    return col[begin[:, None] + (share * count[:, None]).long()]


def sample_adj(
    src: SparseTensor, subset: Tensor, num_neighbors: int, replace: bool = False
) -> tuple[SparseTensor, Tensor]:
    """Entries drawn from some rows, and the nodes that they reach, `subset` first."""
    rowptr, col, value = src.csr()
    row, ends, nodes, edges, *_ = neighbor_sample(rowptr, col, subset, [num_neighbors], replace=replace)
    assert edges is not None
    value = None if value is None else value[edges]
    return SparseTensor(row, None, ends, value, (subset.numel(), nodes.numel())), nodes


def partition(
    src: SparseTensor,
    num_parts: int,
    recursive: bool = False,
    weighted: bool = False,
    node_weight: Tensor | None = None,
    balance_edge: bool = False,
) -> tuple[SparseTensor, Tensor, Tensor]:
    """A square matrix ordered by parts with few entries between them, where parts begin, and the order."""
    if balance_edge and node_weight is not None:
        raise ValueError("balance_edge=True and node_weight were given: choose one of them.")
    rowptr, col, value = (None if one is None else one.cpu() for one in src.csr())
    assert rowptr is not None
    assert col is not None
    if balance_edge:
        node_weight = torch.bincount(col, minlength=src.sparse_size(0))
    cluster = metis(rowptr, col, num_parts, node_weight, value if weighted else None, recursive)
    part, order = torch.sort(cluster.to(src.device()), stable=True)
    return permute(src, order), ind2ptr(part, num_parts), order


def reverse_cuthill_mckee(src: SparseTensor, is_symmetric: bool | None = None) -> tuple[SparseTensor, Tensor]:
    """A square matrix with its entries near the diagonal, and the order (Cuthill and McKee, 1969)."""
    symmetric = src.is_symmetric() if is_symmetric is None else is_symmetric
    src = src if symmetric else src.to_symmetric()
    order = torch.from_numpy(reverse_order(src.to_scipy("csr"), symmetric_mode=True).copy()).long()
    order = order.to(src.device())
    return permute(src, order), order


# Operators, as PyTorch Geometric calls them --------------------------------------------------------------


def old_neighbor_sample(
    colptr: Tensor, row: Tensor, seed: Tensor, num_neighbors: Sequence[int], replace: bool, directed: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nodes, rows, columns and edges of a sampled neighbourhood."""
    found = neighbor_sample(colptr, row, seed, num_neighbors, csc=True, replace=replace, directed=directed)
    assert found[3] is not None
    return found[2], found[0], found[1], found[3]


def old_hetero_neighbor_sample(
    node_types: Sequence[str],
    edge_types: Sequence[tuple[str, str, str]],
    colptr: Mapping[str, Tensor],
    row: Mapping[str, Tensor],
    seed: Mapping[str, Tensor],
    num_neighbors: Mapping[str, Sequence[int]],
    num_hops: int,
    replace: bool,
    directed: bool,
) -> tuple[dict[str, Tensor], ...]:
    """The same of a graph with types."""
    counts = {word: list(given)[:num_hops] for word, given in num_neighbors.items()}
    found = sample_by_words(node_types, edge_types, colptr, row, seed, counts, csc=True, replace=replace)
    ends, others, nodes, edges = found[:4]
    if not directed:
        for word, (source, _, target) in {"__".join(kind): kind for kind in edge_types}.items():
            others[word], ends[word], edges[word] = _among(
                colptr[word], row[word], nodes[target], nodes[source]
            )
    return nodes, ends, others, edges


def _among(colptr: Tensor, row: Tensor, of_columns: Tensor, of_rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All entries among some columns and rows: their columns and rows in these, and their places."""
    numbering = Numbering()
    numbering.fill(of_rows)
    whole = Frontier(of_columns, 0)
    found = draw_hop(Rows(colptr, row), whole, -1, replace=False, last=False, stride=1, seed=0)
    number = numbering.get(found.ends)
    kept = number >= 0
    return found.rows[kept], number[kept], found.slots[kept]


def ego_k_hop_sample_adj(
    rowptr: Tensor, col: Tensor, idx: Tensor, depth: int, num_neighbors: int, replace: bool
) -> tuple[Tensor, ...]:
    """The subgraph around each of some nodes, one after the other: ShaDow (Zeng et al., 2021)."""
    rowptr, col = checked_rows("", rowptr, col)
    size, roots = rowptr.numel() - 1, checked_seed("idx", idx)
    found = neighbor_sample(rowptr, col, roots, [num_neighbors] * depth, replace=replace, disjoint=True)
    keys = torch.sort(found[2][:, 0] * size + found[2][:, 1])[0]  # example by example, nodes in order
    example, node = keys // size, keys % size
    whole = Frontier(node, 0, example)
    numbering = Numbering()
    numbering.fill(keys)
    drawn = draw_hop(Rows(rowptr, col), whole, -1, replace=False, last=False, stride=size, seed=0)
    number = numbering.get(drawn.ends)
    kept = number >= 0
    pointers = ind2ptr(drawn.rows[kept], keys.numel())
    starts = ind2ptr(example, roots.numel())
    root = numbering.get(torch.arange(roots.numel()) * size + roots)
    return pointers, number[kept], node, drawn.slots[kept], starts, root


def hgt_sample(
    colptr_dict: Mapping[str, Tensor],
    row_dict: Mapping[str, Tensor],
    input_node_dict: Mapping[str, Tensor],
    num_samples_dict: Mapping[str, Sequence[int]],
    num_hops: int,
) -> tuple[dict[str, Tensor], ...]:
    """Nodes of each type, drawn by how much the nodes before ask for them (Hu et al., 2020, alg. 1)."""
    kinds = {word: (word.split("__")[0], word.split("__")[-1]) for word in colptr_dict}
    rows = {word: Rows(*checked_rows(f"{word}: ", colptr_dict[word], row_dict[word])) for word in kinds}
    nodes = {kind: [checked_seed("input_node", input_node_dict[kind])] if kind in input_node_dict else []
             for kind in num_samples_dict}  # fmt: skip
    budget: dict[str, Tensor] = {kind: torch.zeros(0, dtype=torch.float64) for kind in num_samples_dict}
    seed = new_seed()

    def ask(fresh: Mapping[str, Tensor]) -> None:
        nonlocal seed
        for word, (source, target) in kinds.items():
            if target in fresh and fresh[target].numel():
                seed += 1
                whole = Frontier(fresh[target], 0)
                found = draw_hop(rows[word], whole, MOST, replace=False, last=False, stride=1, seed=seed)
                share = 1 / torch.bincount(found.rows, minlength=fresh[target].numel()).clamp(min=1).double()
                size = max(
                    [budget[source].numel(), *(int(one.max()) + 1 for one in nodes[source] if one.numel())]
                )
                size = max(size, int(found.ends.max()) + 1 if found.ends.numel() else 0)
                grown = torch.zeros(size, dtype=torch.float64)
                grown[: budget[source].numel()] = budget[source]
                budget[source] = grown.index_add(0, found.ends, share[found.rows])

    ask({kind: found[0] for kind, found in nodes.items() if found})
    for hop in range(num_hops):
        fresh = {}
        for kind, asked in budget.items():
            chance = asked.square()
            for one in nodes[kind]:
                chance[one[one < chance.numel()]] = 0
            wanted = min(num_samples_dict[kind][hop], int((chance > 0).sum()))
            fresh[kind] = torch.multinomial(chance, wanted) if wanted else torch.empty(0, dtype=torch.int64)
            nodes[kind].append(fresh[kind])
        if hop < num_hops - 1:
            ask(fresh)
    whole = {
        kind: torch.cat(found) if found else torch.empty(0, dtype=torch.int64)
        for kind, found in nodes.items()
    }
    ends: dict[str, dict[str, Tensor]] = {"row": {}, "col": {}, "edge": {}}
    for word, (source, target) in kinds.items():
        numbering, around = Numbering(), Frontier(whole[target], 0)
        numbering.fill(whole[source])
        seed += 1
        found = draw_hop(rows[word], around, MOST, replace=False, last=False, stride=1, seed=seed)
        number = numbering.get(found.ends)
        kept = number >= 0
        ends["row"][word], ends["col"][word] = number[kept], found.rows[kept]
        ends["edge"][word] = found.slots[kept]
    return {kind: one for kind, one in whole.items() if one.numel()}, ends["row"], ends["col"], ends["edge"]


def old_partition(
    rowptr: Tensor, col: Tensor, value: Tensor | None, num_parts: int, recursive: bool = False
) -> Tensor:
    """`metis` with edge weights in the third place."""
    return metis(rowptr, col, num_parts, None, value, recursive)


def spmm_operators() -> dict[str, Any]:
    """Products by compressed rows: `spmm_sum(row, rowptr, col, value, ...)` and its kin."""
    from mpnn.pyg.sparse.arithmetic import spmm

    def made(reduce: str, with_arg: bool) -> Any:
        def product(rowptr: Tensor, col: Tensor, value: Tensor | None, other: Tensor) -> Any:
            sizes = rowptr.numel() - 1, other.size(-2)
            result = spmm(SparseTensor(None, rowptr, col, value, sizes, True, True), other, reduce)
            return (result, None) if with_arg else result

        return product

    def total(row: Tensor | None, rowptr: Tensor, col: Tensor, value: Tensor | None, colptr: Tensor | None,
              csr2csc: Tensor | None, other: Tensor) -> Any:  # fmt: skip
        return made("sum", False)(rowptr, col, value, other)

    def average(row: Tensor | None, rowptr: Tensor, col: Tensor, value: Tensor | None, count: Tensor | None,
                colptr: Tensor | None, csr2csc: Tensor | None, other: Tensor) -> Any:  # fmt: skip
        return made("mean", False)(rowptr, col, value, other)

    return {
        "spmm_sum": total,
        "spmm_mean": average,
        "spmm_min": made("min", True),
        "spmm_max": made("max", True),
    }
