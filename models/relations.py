"""Message passing by the type of an edge: who hears by which relation, and what of it goes into a sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mpnn import Graph, propagate
from mpnn.native.products import gram, matmul, multiply
from mpnn.native.reach import only_autograd_follows
from mpnn.typed import grouped_linear

MANY = 1 << 22  # numbers, 16 MB of float32: tensors of at least so many are rather computed twice than kept
PAIRS_AT_ONCE = 1 << 13


class Relations(NamedTuple):
    """Message passing by type, in two rounds over all types: edges to pairs (type, node), pairs to nodes.

    Only the pairs that an edge enters count, ordered by type.
    """

    heard: Graph  # from the nodes to the pairs; or from a table with a row for every type and node
    joined: Graph  # from the pairs to their nodes
    counts: list[int]  # pairs of each type

    @classmethod
    def of(cls, graph: Graph, types: Tensor, num_types: int, forward: bool, table: bool) -> Relations:
        """Those of a graph, whose edges carry messages forward or backward, maybe from a table."""
        (senders, receivers), (num_senders, num_receivers) = (graph.src, graph.dst), graph.size
        if not forward:
            senders, receivers, num_senders, num_receivers = receivers, senders, num_receivers, num_senders
        pair_of_edge = types * num_receivers + receivers
        if torch.compiler.is_compiling():  # how many pairs hear anything only the data will tell: all count
            pairs, counts = (
                torch.arange(num_types * num_receivers, device=types.device),
                [num_receivers] * num_types,
            )
        else:
            pairs, pair_of_edge = torch.unique(pair_of_edge, return_inverse=True)
            counts = torch.bincount(pairs // max(num_receivers, 1), minlength=num_types).tolist()
        num_pairs = pairs.numel()
        if table:
            senders, num_senders = types * num_senders + senders, num_types * num_senders
        if forward:
            heard = Graph(torch.stack([senders, pair_of_edge]), (num_senders, num_pairs))
        else:
            heard = Graph(torch.stack([pair_of_edge, senders]), (num_pairs, num_senders))
        everyone = torch.arange(num_pairs, device=pairs.device)
        return cls(
            heard,
            Graph(torch.stack([everyone, pairs % max(num_receivers, 1)]), (num_pairs, num_receivers)),
            counts,
        )


def transformed_sum(
    x: Tensor, weight: Tensor, listen: Callable[[Tensor], Tensor], relations: Relations, linear: bool
) -> Tensor:
    """Σ_r W_r of what every node hears by relation r.

    Aggregating before multiplying takes one small product for each node and relation that hears anything, not
    one for each edge.

    Args:
        x: `[num_senders, in]`.
        weight: `[num_relations, in, out]`.
        listen: from x to what the pairs of relation and node hear, `[num_pairs, in]`.
        relations: who hears by which.
        linear: whether `listen` is a linear function.

    Returns:
        `[num_receivers, out]`.
    """
    special = (
        not linear
        or not x.is_cpu
        or relations.heard.num_edges == 0
        or sum(relations.counts) * x.size(1) < MANY
        or not only_autograd_follows(x)
    )
    if special:
        return _plain(x, weight, listen, relations)
    return cast(Tensor, _Twice.apply(x, weight, listen, relations))  # type: ignore[no-untyped-call]


def joined_sum(heard: Tensor, relations: Relations) -> Tensor:
    """What all pairs `[num_pairs, ...]` of a node heard, summed: `[num_receivers, ...]`."""
    return propagate(relations.joined, lambda h_j: h_j, "sum", h=heard)


def _plain(x: Tensor, weight: Tensor, listen: Callable[[Tensor], Tensor], relations: Relations) -> Tensor:
    return joined_sum(grouped_linear(listen(x), weight, relations.counts), relations)


class _Twice(torch.autograd.Function):
    """The same, where what the pairs hear is not kept: the backward pass listens again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, listen: Callable[[Tensor], Tensor], relations: Relations
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.listen, ctx.relations = listen, relations
        heard = listen(x)
        product = heard if weight.size(1) == weight.size(2) else heard.new_empty(len(heard), weight.size(2))
        for k, rows in _pieces(relations):
            product[rows] = matmul(heard[rows], weight[k])
        del heard
        return joined_sum(product, relations)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), (x, weight), relations = gradients, ctx.saved_tensors, ctx.relations
        want_x, want_weight = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # to be differentiated again
            x = x.view_as(x)
            asked = [t for t, want in ((x, want_x), (weight, want_weight)) if want]
            out = _plain(x, weight, ctx.listen, relations)
            each = iter(torch.autograd.grad(out, asked, gradient, create_graph=True))
            return next(each) if want_x else None, next(each) if want_weight else None, None, None
        x = x.detach().requires_grad_(want_x)
        with torch.enable_grad():
            heard = ctx.listen(x)
        # The gradient of what a relation's pairs heard takes the place of what they heard.
        place, of_weight = heard.detach(), torch.zeros_like(weight, memory_format=torch.contiguous_format)
        for k, rows in _pieces(relations):
            sent = gradient.index_select(0, relations.joined.dst[rows])
            if want_weight:
                of_weight[k] += gram(place[rows], sent)
            if want_x:
                multiply(sent, weight[k].t(), place[rows])
            del sent
        of_x = torch.autograd.grad(heard, x, place)[0] if want_x else None
        return of_x, of_weight if want_weight else None, None, None


def _pieces(relations: Relations) -> Iterator[tuple[int, slice]]:
    """Pairs of one relation each, as many as a cache holds, with the number of the relation."""
    for k, (end, count) in enumerate(zip(accumulate(relations.counts), relations.counts, strict=True)):
        for start in range(end - count, end, PAIRS_AT_ONCE):
            yield k, slice(start, min(start + PAIRS_AT_ONCE, end))
