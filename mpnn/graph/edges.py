"""Edges made from edges: plain functions of `edge_index [2, num_edges]`, which `Graph` wraps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

from mpnn.graph.checks import Size, check_distinct
from mpnn.graph.distinct import first_of_each
from mpnn.native.gate import has_data
from mpnn.native.reach import imagines


def relooped(
    edge_index: Tensor,
    size: Size,
    loops: str,
    loopless: Tensor | None = None,
    num_loops: int | None = None,
) -> tuple[Tensor, Tensor]:
    """See `Graph.relooped`: the edges with other self loops, and `[num_edges']` where each is from.

    `loopless` are as many edges without any, if such are known; so may the number of loops be.
    """
    num_edges, device = edge_index.size(1), edge_index.device
    if loops == "more" or loopless is not None:
        origin = torch.arange(num_edges, device=device)
        edge_index = edge_index if loops == "more" or loopless is None else loopless
    else:
        is_loop = edge_index[0] == edge_index[1]
        if not has_data(edge_index):  # how many loops there are decides about no node's shape
            origin = torch.arange(num_edges, device=device)
        elif num_loops is None:
            origin = (~is_loop).nonzero().squeeze(1)
        else:
            origin = is_loop.byte().argsort(stable=True)[: num_edges - num_loops]
        edge_index = edge_index[:, origin]
    if loops != "none":
        nodes = torch.arange(min(size), device=device)
        edge_index = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
        origin = torch.cat([origin, nodes + num_edges])
    return edge_index, origin


def induced(edge_index: Tensor, kept: tuple[Tensor, Tensor], size: Size) -> tuple[Tensor, Tensor]:
    """The edges between the kept nodes, renumbered in their order, and `[num_kept_edges]` which they are."""
    rows = []
    for row, chosen, count in zip(edge_index, kept, size, strict=True):
        check_distinct("nodes", chosen, count)
        new_number = torch.full((count,), -1, dtype=torch.int64, device=row.device)
        new_number[chosen] = torch.arange(chosen.numel(), device=row.device)
        rows.append(new_number[row])
    edges = ((rows[0] >= 0) & (rows[1] >= 0)).nonzero().squeeze(1)
    return torch.stack([rows[0][edges], rows[1][edges]]), edges


def coalesced(
    edge_index: Tensor, size: Size, edge_type: Tensor | None, num_edge_types: int
) -> tuple[Tensor, Tensor]:
    """Of equal edges the first, by destination, then source, then type; and what each edge became."""
    (src, dst), (num_src, num_dst) = edge_index, size
    if edge_type is None:
        return first_of_each((dst, src), (num_dst, num_src))
    return first_of_each((dst, src, edge_type), (num_dst, num_src, num_edge_types))


def breadth_first(edge_index: Tensor, num_nodes: int) -> Tensor:
    """`[num_nodes]`: the nodes by reverse Cuthill-McKee (1969), neighbours close to each other."""
    import numpy
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    if num_nodes == 0:
        return edge_index.new_empty(0)
    ends = edge_index.cpu().numpy()
    matrix = coo_array((numpy.ones(ends.shape[1]), (ends[1], ends[0])), shape=(num_nodes, num_nodes)).tocsr()
    order = reverse_cuthill_mckee(matrix + matrix.T, symmetric_mode=True)
    return torch.from_numpy(order.astype("int64")).to(edge_index.device)


def lasting(index: Tensor) -> Tensor:
    """A tensor that autograd may save, also when it was made under `torch.inference_mode`."""
    if torch.compiler.is_compiling() or not index.is_inference():
        return index
    with torch.inference_mode(False):
        return index.clone()


_AS_IT_IS = nullcontext()


def outliving(edge_index: Tensor | None) -> AbstractContextManager[None]:
    """What the block computes from a topology outlives the evaluation or the transform that is going on.

    So does what is made of edges that are there while other tensors are only imagined.
    """
    if torch.is_inference_mode_enabled() or torch._C._functorch.maybe_current_level() is not None:
        return _outside()
    if imagines() and (edge_index is None or has_data(edge_index)):
        return _disable_current_modes()
    return _AS_IT_IS


@contextmanager
def _outside() -> Iterator[None]:
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if torch._C._functorch.maybe_current_level() is not None:
            stack.enter_context(temporarily_clear_interpreter_stack())
        yield
