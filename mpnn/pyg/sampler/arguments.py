"""What samplers are given, checked: compressed rows, seeds, numbers of neighbours, times and weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpnn.graph.contents import OfTensors
from mpnn.sampling.hops import Rows


def checked_rows(name: str, rowptr: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """Pointers and indices of one integer type, contiguous, on the CPU."""
    for what, tensor in ((f"{name}rowptr", rowptr), (f"{name}col", col)):
        if (
            not isinstance(tensor, Tensor)
            or tensor.dim() != 1
            or tensor.dtype not in (torch.int32, torch.int64)
        ):
            kind = (
                f"{tensor.dtype} {list(tensor.shape)}"
                if isinstance(tensor, Tensor)
                else type(tensor).__name__
            )
            raise TypeError(f"{what} must be an int32 or int64 tensor of one dimension, got {kind}.")
        if tensor.device.type != "cpu":
            raise ValueError(f"{what} must be on the CPU, got {tensor.device}.")
    if not rowptr.numel():
        raise ValueError(f"{name}rowptr must have one number more than there are rows, got none.")
    rowptr, col = rowptr.contiguous(), col.to(rowptr.dtype).contiguous()
    if _rows_of.get(rowptr) != col.numel():
        lowest, highest = int(rowptr[0]), int(rowptr[-1])
        if lowest < 0 or highest > col.numel() or bool((rowptr[1:] < rowptr[:-1]).any()):
            raise ValueError(
                f"{name}rowptr must ascend from 0 to {col.numel()}, the length of col, got {lowest} .. "
                f"{highest}."
            )
        _rows_of.keep(rowptr, col.numel())
    return rowptr, col


# Looked at once: for how many entries pointers are good, the largest entry, weights as float64.
_rows_of: OfTensors[int] = OfTensors()
_largest: OfTensors[int] = OfTensors()
_weights: OfTensors[Tensor] = OfTensors()


def largest(name: str, nodes: Tensor) -> int:
    """The largest of some nodes, -1 of none; raises IndexError for one below 0."""
    known = _largest.get(nodes)
    if known is None:
        lowest, known = map(int, torch.stack(torch.aminmax(nodes)).tolist()) if nodes.numel() else (0, -1)
        if lowest < 0:
            raise IndexError(f"{name} holds {lowest}, but nodes are numbered from 0 on.")
        _largest.keep(nodes, known)
    return known


def checked_seed(name: str, seed: Tensor) -> Tensor:
    """Nodes as int64 on the CPU."""
    if (
        not isinstance(seed, Tensor)
        or seed.dim() != 1
        or seed.is_floating_point()
        or seed.dtype == torch.bool
    ):
        raise TypeError(f"{name} must be an integer tensor of one dimension, got {seed!r}.")
    return seed.to("cpu", torch.int64).contiguous()


def checked_counts(name: str, counts: Sequence[int]) -> list[int]:
    """How many neighbours each hop draws; below 0 all."""
    made = list(counts)
    for k, count in enumerate(made):
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"{name}[{k}] must be a number of neighbours, or -1 for all, got {count!r}.")
    return made


def checked_strategy(strategy: str, disjoint: bool, timed: bool, both: bool, weighted: bool) -> bool:
    """Whether the latest neighbours are taken; raises where times cannot be obeyed."""
    if strategy not in ("uniform", "last"):
        raise ValueError(f"temporal_strategy is {strategy!r}, but should be 'uniform' or 'last'.")
    if timed and not disjoint:
        raise ValueError("sampling by time needs disjoint=True: each seed has its own time.")
    if both:
        raise ValueError("times of nodes and of edges were given: give one of them.")
    if timed and weighted:
        raise ValueError("times and edge weights were given: give one of them.")
    return strategy == "last"


def rows_of(
    rowptr: Tensor, col: Tensor, name: str, weight: Tensor | None, time: Tensor | None, time_of_edges: bool
) -> Rows:
    """What is drawn from."""
    indptr, indices = checked_rows(name, rowptr, col)
    if weight is not None:
        if weight.shape != indices.shape:
            raise ValueError(
                f"{name}edge_weight must have shape {list(indices.shape)}, got {list(weight.shape)}."
            )
        known = _weights.get(weight)
        weight = _as_numbers(weight) if known is None else known
    if time is not None and time_of_edges and time.shape != indices.shape:
        raise ValueError(f"{name}edge_time must have shape {list(indices.shape)}, got {list(time.shape)}.")
    if time is not None and not time_of_edges and largest("col", col) >= time.numel():
        raise IndexError(f"{name}col holds {largest('col', col)}, but node_time has {time.numel()} entries.")
    return Rows(indptr, indices, weight, checked_time(f"{name}time", time), time_of_edges)


def _as_numbers(weight: Tensor) -> Tensor:
    return _weights.keep(weight, weight.detach().to(torch.float64).contiguous())


def checked_time(name: str, time: Tensor | None) -> Tensor | None:
    """Times as int64."""
    if time is None:
        return None
    if time.is_floating_point() or time.dim() != 1:
        raise TypeError(f"{name} must hold integers in one dimension, got {time.dtype} {list(time.shape)}.")
    return time.to(torch.int64).contiguous()


def new_seed() -> int:
    """A seed from torch's generator."""
    return int(torch.randint(2**62, (), device="cpu"))
