"""What a `Graph` is made of is checked here; each error is one sentence."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, TypeVar

import numpy as np
import torch
from torch import Tensor

from mpnn.graph.distinct import INT64_MAX
from mpnn.native.gate import has_data
from mpnn.native.reach import calls_ours, stands_alone

Size = tuple[int, int]
T = TypeVar("T")

INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def checked_edge_index(edge_index: Tensor) -> Tensor:
    """An integer tensor `[2, num_edges]`, as int64."""
    if not isinstance(edge_index, Tensor):
        raise TypeError(f"edge_index must be a tensor [2, num_edges], got {type(edge_index).__name__}.")
    if edge_index.layout != torch.strided:
        raise TypeError(
            f"edge_index must be a dense tensor [2, num_edges], got a tensor of layout {edge_index.layout}: "
            "convert a sparse matrix with Graph.from_scipy."
        )
    if edge_index.dtype not in INTEGER_TYPES:
        raise TypeError(f"edge_index must hold integers (int64), got {edge_index.dtype}.")
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"edge_index must have shape [2, num_edges], got {list(edge_index.shape)}.")
    return edge_index.to(torch.int64)


def checked_size(num_nodes: SupportsIndex | Size | None, edge_index: Tensor) -> Size:
    """`(num_src, num_dst)`, with every index below it."""
    if num_nodes is not None:
        pair = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
        counts = [_count(n) for n in pair]
        if len(counts) != 2 or min(counts) < 0:
            raise ValueError(f"num_nodes must be one count or a pair (num_src, num_dst), got {num_nodes!r}.")
        size = (counts[0], counts[1])
        if torch.compiler.is_compiling():
            return size  # there are no data yet: whatever reads the compiled graph checks them
        if max(counts) > INT64_MAX:
            raise ValueError(f"num_nodes is {num_nodes}, but a graph has at most 2**63 - 1 nodes.")
    if edge_index.numel() == 0:
        return (0, 0) if num_nodes is None else size
    if not has_data(edge_index):
        if num_nodes is None:
            raise ValueError("num_nodes must be given where edge_index has no data.")
        return size
    # One reduction and one transfer, also on a GPU, where an unchecked index would end in an assert.
    lowest, highest = torch.aminmax(edge_index, dim=1)
    bounds = torch.stack([lowest, highest]).tolist()
    if num_nodes is None:
        size = (max(bounds[1]) + 1,) * 2
    for row, kind in ((0, "source"), (1, "destination")):
        if bounds[0][row] < 0 or bounds[1][row] >= size[row]:
            bad = _first_outside(edge_index[row], size[row])
            valid = f"(0..{size[row] - 1})" if size[row] > 0 else "(none)"
            raise IndexError(
                f"edge_index[{row}, {bad}] is {int(edge_index[row, bad])}, but the graph has "
                f"{max(size[row], 0)} {kind} nodes {valid}."
            )
    return size


def _count(number: SupportsIndex) -> int:
    """A count as an int (numpy has its own), -1 for what is none."""
    if isinstance(number, bool | np.bool_):
        return -1
    if isinstance(number, int | torch.SymInt):  # a symbol of PyTorch's compiler must not become a number
        return number  # type: ignore[return-value]
    if isinstance(number, Tensor) and stands_alone():  # nor what `torch.jit.trace` knows of a shape
        return number  # type: ignore[return-value]
    try:
        return operator.index(number)
    except TypeError:
        return -1


def as_int(name: str, value: SupportsIndex, at_least: int | None = None) -> int:
    """An integer, numpy's too, as Python's; TypeError or ValueError names what is none or too small."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, but should be an integer.") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} is {number}, but should be at least {at_least}.")
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError(f"{name} is {number}, but should be an integer of 64 bits.")
    return number


def as_seed(seed: SupportsIndex | None) -> int | None:
    """The seed of random numbers, numpy's too, as Python's; None for none."""
    return None if seed is None else as_int("seed", seed)


def _first_outside(index: Tensor, size: int) -> int:
    return int(((index < 0) | (index >= size)).nonzero()[0])


def checked_edge_type(edge_type: Tensor, edge_index: Tensor) -> Tensor:
    """An integer tensor `[num_edges]`, as int64, beside `edge_index`."""
    if not isinstance(edge_type, Tensor) or edge_type.dtype not in INTEGER_TYPES:
        raise TypeError(f"edge_type must be a tensor of integers [num_edges], got {_kind(edge_type)}.")
    _check_per_edge("edge_type", edge_type, edge_index)
    return edge_type.to(torch.int64)


def checked_edge_time(edge_time: Tensor, edge_index: Tensor) -> Tensor:
    """A tensor of real numbers `[num_edges]`, integers as int64, beside `edge_index`; NaN is no time."""
    is_time = isinstance(edge_time, Tensor) and (
        edge_time.dtype in INTEGER_TYPES or edge_time.is_floating_point()
    )
    if not is_time:
        raise TypeError(f"edge_time must be a tensor of numbers [num_edges], got {_kind(edge_time)}.")
    _check_per_edge("edge_time", edge_time, edge_index)
    if not edge_time.is_floating_point():
        return edge_time.to(torch.int64)
    edge_time = edge_time.detach()
    if not torch.compiler.is_compiling() and has_data(edge_time) and bool(edge_time.isnan().any()):
        bad = int(edge_time.isnan().nonzero()[0])
        raise ValueError(f"edge_time[{bad}] is nan, but should be a number.")
    return edge_time


def _check_per_edge(name: str, values: Tensor, edge_index: Tensor) -> None:
    if values.shape != (edge_index.size(1),):
        raise ValueError(
            f"{name} must have shape [{edge_index.size(1)}], one entry per edge, got {list(values.shape)}."
        )
    if values.device != edge_index.device:
        raise ValueError(f"{name} is on {values.device}, but edge_index is on {edge_index.device}.")


def _kind(values: object) -> object:
    return values.dtype if isinstance(values, Tensor) else type(values).__name__


def checked_num_edge_types(num_edge_types: int | None, edge_type: Tensor | None) -> int:
    """How many relations there are, more than every edge type."""
    if edge_type is None:
        if num_edge_types is not None:
            raise ValueError(f"num_edge_types is {num_edge_types}, but no edge_type was given.")
        return 1
    if num_edge_types is not None:
        if _count(num_edge_types) < 0:
            raise ValueError(f"num_edge_types must be a count, got {num_edge_types!r}.")
        num_edge_types = _count(num_edge_types)
        if num_edge_types > INT64_MAX:
            raise ValueError(f"num_edge_types is {num_edge_types}, but there are at most 2**63 - 1 types.")
    if num_edge_types is not None and torch.compiler.is_compiling():
        return num_edge_types
    if edge_type.numel() == 0:
        return num_edge_types or 0
    if not has_data(edge_type):
        if num_edge_types is None:
            raise ValueError("num_edge_types must be given where edge_type has no data.")
        return num_edge_types
    lowest, highest = torch.stack(torch.aminmax(edge_type)).tolist()
    count = highest + 1 if num_edge_types is None else num_edge_types
    if lowest < 0 or highest >= count:
        bad = _first_outside(edge_type, count)
        valid = f"(0..{count - 1})" if count > 0 else "(none)"
        raise IndexError(
            f"edge_type[{bad}] is {int(edge_type[bad])}, but there are {max(count, 0)} types {valid}."
        )
    return int(count)


def checked_positions(name: str, chosen: Tensor, size: int, device: torch.device) -> Tensor:
    """Positions `[num_chosen]` below `size`, from themselves or from a mask `[size]`."""
    if not isinstance(chosen, Tensor):
        raise TypeError(f"{name} must be a tensor of positions or a bool mask, got {type(chosen).__name__}.")
    if chosen.dim() != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {list(chosen.shape)}.")
    if chosen.device != device:
        raise ValueError(f"{name} is on {chosen.device}, but the graph is on {device}.")
    if chosen.dtype == torch.bool:
        if chosen.numel() != size:
            raise ValueError(
                f"{name} is a mask of {chosen.numel()} entries, but there are {size} to choose from."
            )
        if calls_ours():
            positions: Tensor = torch.ops.mpnn.positions(chosen)
            return positions
        return chosen.nonzero().squeeze(1)
    if chosen.dtype not in INTEGER_TYPES:
        raise TypeError(f"{name} must be a bool mask or integer positions, got {chosen.dtype}.")
    if torch.compiler.is_compiling():
        return chosen.to(torch.int64)
    if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= size):
        bad = _first_outside(chosen, size)
        raise IndexError(f"{name}[{bad}] is {int(chosen[bad])}, but there are only {size} to choose from.")
    return chosen.to(torch.int64)


def check_distinct(name: str, chosen: Tensor, size: int) -> None:
    """No position twice."""
    times = torch.bincount(chosen, minlength=size)
    if chosen.numel() and int(times.max()) > 1:
        node = int((times > 1).nonzero()[0])
        raise ValueError(f"{name} holds {node} {int(times[node])} times: choose each once.")


def check_grouped(name: str, chosen: Tensor, owner: Tensor) -> None:
    """The nodes of each graph of a batch together, and the graphs in their order."""
    if not bool((owner.diff() >= 0).all()):
        bad = int((owner.diff() < 0).nonzero()[0]) + 1
        raise ValueError(
            f"{name}[{bad}] is {int(chosen[bad])}, of graph {int(owner[bad])} of the batch, behind a node of "
            f"graph {int(owner[bad - 1])}: give the nodes in the order of their graphs."
        )


def checked_kind(
    graphs: Iterable[T], of: type[T], kinds: Sequence[str] = ("is_bipartite", "device")
) -> list[T]:
    """One graph or more that are alike in these properties: all bipartite or none, all on one device."""
    if not isinstance(graphs, Iterable):
        raise TypeError(f"graphs must be a sequence of graphs, got {type(graphs).__name__}.")
    graphs = list(graphs)
    if not graphs:
        raise ValueError("graphs is empty: a batch needs at least one graph.")
    for k, graph in enumerate(graphs):
        if not isinstance(graph, of):
            raise TypeError(f"graphs[{k}] must be a {of.__name__}, got {type(graph).__name__}.")
    for kind in kinds:
        if any(getattr(graph, kind) != getattr(graphs[0], kind) for graph in graphs):
            raise ValueError(f"graphs differ in {kind}: a batch needs graphs of one kind.")
    return graphs
