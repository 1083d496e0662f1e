"""Message passing by the type of an edge: what a node receives by each relation, and the sum over these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Mean, Sum
from mpnn.aggregate.reduce import pick_rows
from mpnn.graph.compressed import Compressed
from mpnn.graph.csr import CSR, compress
from mpnn.graph.distinct import distinct_rows
from mpnn.graph.graph import Graph
from mpnn.layer.message_passing import MessagePassing, propagate
from mpnn.native.pool import empty
from mpnn.native.products import gram, multiply
from mpnn.native.reach import is_single, only_autograd_follows
from mpnn.native.row_blocks import rows_at_a_time
from mpnn.plan.typed import grouped_linear

# Numbers, 16 MB of float32: messages that together are larger are computed for some receivers at a time.
MANY = 1 << 22
PAIRS_AT_ONCE = 1 << 13
SENDERS_AT_ONCE = 1 << 14
# Numbers, 256 MB of float32, that all pairs may receive on a GPU before the host looks which do.
WITHOUT_A_LOOK = 1 << 26


class Relations(NamedTuple):
    """Message passing by type, in two rounds over all types: edges to pairs (type, node), pairs to nodes.

    Only the pairs that an edge enters count, ordered by type.
    """

    into_pairs: Graph  # from the nodes to the pairs; or from a table with a row for every type and node
    from_pairs: Graph  # from the pairs to their nodes
    counts: list[int]  # pairs of each type

    @classmethod
    def of(cls, graph: Graph, types: Tensor, num_types: int, forward: bool, table: bool) -> Relations:
        """The relations of a graph; messages go forward or backward along its edges, maybe from a table."""
        (senders, receivers), (num_senders, num_receivers) = _by_direction(graph, forward)
        (type_of_pair, of_pair), pair_of_edge = distinct_rows((types, receivers), (num_types, num_receivers))
        counts = torch.bincount(type_of_pair, minlength=num_types).tolist()
        num_pairs = of_pair.numel()
        if table:
            senders, num_senders = types * num_senders + senders, num_types * num_senders
        if forward:
            into_pairs = Graph(torch.stack([senders, pair_of_edge]), (num_senders, num_pairs))
        else:
            into_pairs = Graph(torch.stack([pair_of_edge, senders]), (num_pairs, num_senders))
        everyone = torch.arange(num_pairs, device=of_pair.device)
        return cls(
            into_pairs,
            Graph(torch.stack([everyone, of_pair]), (num_pairs, num_receivers)),
            counts,
        )

    def total(self, received: Tensor) -> Tensor:
        """What all pairs `[num_pairs, ...]` of a node received, summed: `[num_receivers, ...]`."""
        return joined_sum(received, self)

    def transformed(self, received: Tensor, weight: Tensor) -> Tensor:
        """The same after a map for each type: `[num_types, in, out]`, or `[num_types, blocks, in, out]`."""
        if weight.dim() == 4:
            received = received.view(received.size(0), weight.size(1), weight.size(2))
        product = grouped_linear(received, weight, self.counts)
        return self.total(product.flatten(1))


class AllPairs(NamedTuple):
    """The same with all pairs, of every node and type, ordered by node, whether an edge enters them or not.

    How many there are is known without a look at the edges: the host waits for no GPU, and what a compiled
    function does is the same for all graphs.
    """

    into_pairs: Graph  # from the nodes to the pairs; or from a table with a row for every type and node
    num_receivers: int
    num_types: int

    @classmethod
    def of(cls, graph: Graph, types: Tensor, num_types: int, forward: bool, table: bool) -> AllPairs:
        """The relations of a graph; messages go forward or backward along its edges, maybe from a table."""
        (senders, receivers), (num_senders, num_receivers) = _by_direction(graph, forward)
        pair_of_edge, num_pairs = receivers * num_types + types, num_receivers * num_types
        if table:
            senders, num_senders = types * num_senders + senders, num_types * num_senders
        if forward:
            ends, size = (senders, pair_of_edge), (num_senders, num_pairs)
        else:
            ends, size = (pair_of_edge, senders), (num_pairs, num_senders)
        return cls(graph.bipartite_with(torch.stack(ends), size), num_receivers, num_types)

    def total(self, received: Tensor) -> Tensor:
        """See `Relations.total`."""
        return received.reshape(self.num_receivers, self.num_types, received.size(1)).sum(1)

    def transformed(self, received: Tensor, weight: Tensor) -> Tensor:
        """See `Relations.transformed`; one product sums over the types as well."""
        blocks = weight if weight.dim() == 4 else weight.unsqueeze(1)
        received = received.reshape(self.num_receivers, *blocks.shape[:3])
        return torch.einsum("nrbi,rbio->nbo", received, blocks).flatten(1)


def _by_direction(graph: Graph, forward: bool) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """The sender and the receiver of each edge, `[num_edges]` each, and how many of both there are."""
    ends, size = (graph.src, graph.dst), graph.size
    return (ends, size) if forward else (ends[::-1], size[::-1])


class Part(NamedTuple):
    """`Relations` of some of the receivers, and only of them."""

    receivers: slice
    into_pairs: Compressed  # from all nodes to the pairs
    from_pairs: Compressed  # from the pairs to the receivers
    receiver_of_pair: Tensor  # `[num_pairs]`, counted from the first of them
    counts: list[int]  # pairs of each type
    back: list[tuple[slice, Compressed]]  # from the pairs to the senders, and to some of these at a time

    @classmethod
    def of(cls, graph: Graph, types: Tensor, num_types: int, forward: bool) -> list[Part]:
        """All of them in order: in each about as many pairs receive something as there are receivers."""
        (senders, receivers), (num_senders, num_receivers) = _by_direction(graph, forward)
        (of_pair, type_of_pair), pair_of_edge = distinct_rows((receivers, types), (num_receivers, num_types))
        num_pairs = of_pair.numel()
        first_pair = torch.zeros(num_receivers + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(of_pair, minlength=num_receivers), 0, out=first_pair[1:])
        count = max(1, round(num_pairs / num_receivers))
        cuts = torch.searchsorted(first_pair, torch.tensor([k * num_pairs // count for k in range(1, count)]))
        found = []
        for first, last in pairwise(sorted({0, *cuts.tolist(), num_receivers})):
            begin, end = first_pair[[first, last]].tolist()
            here = (pair_of_edge >= begin) & (pair_of_edge < end)
            order = torch.argsort(type_of_pair[begin:end], stable=True)
            place = torch.empty_like(order)
            place[order] = torch.arange(end - begin)
            sent, entered = senders[here], place[pair_of_edge[here] - begin]
            rows = compress(entered, sent, end - begin, num_senders)
            kind = rows.indptr.dtype
            found.append(
                cls(
                    slice(first, last),
                    Compressed(rows.indptr, rows.indices, num_senders),
                    Compressed((first_pair[first : last + 1] - begin).to(kind), place.to(kind), end - begin),
                    (of_pair[begin:end][order] - first).to(kind),
                    torch.bincount(type_of_pair[begin:end], minlength=num_types).tolist(),
                    _some_rows(compress(sent, entered, num_senders, end - begin), end - begin),
                )
            )
        return found


def _some_rows(csr: CSR, num_columns: int) -> list[tuple[slice, Compressed]]:
    """Rows, some at a time, as graphs."""
    found = []
    for rows in rows_at_a_time(csr.num_rows, SENDERS_AT_ONCE):
        indptr = csr.indptr[rows.start : rows.stop + 1]
        begin, end = int(indptr[0]), int(indptr[-1])
        found.append((rows, Compressed(indptr - begin, csr.indices[begin:end], num_columns)))
    return found


@dataclass(frozen=True)
class TypedEdges:
    """The edges of a graph with the type of each, and whether messages go forward along them or backward."""

    graph: Graph
    types: Tensor  # `[num_edges]`
    num_types: int
    forward: bool

    everywhere: bool = (
        False  # whether a pair that no edge enters counts: it receives 1 where messages are multiplied
    )

    def relations(self, channels: int, *, table: bool = False) -> Relations | AllPairs:
        """The pairs that receive `channels` numbers each; with `table`, from rows by type and node."""
        kind: type[AllPairs | Relations] = AllPairs if self._are_all_pairs(channels) else Relations
        key = (kind, self.num_types, self.forward, table)
        given = (self.graph, self.types, self.num_types, self.forward)
        return self.graph.memo(key, lambda: kind.of(*given, table))

    def _are_all_pairs(self, channels: int) -> bool:
        """Whether to keep all pairs: to find those that an edge enters takes time once, and saves memory."""
        if torch.compiler.is_compiling() or self.everywhere:
            return True
        if self.graph.device.type == "cpu" or not self.graph.is_fleeting:
            return False
        pairs = self.num_types * self.graph.size[self.forward]
        return pairs * channels <= WITHOUT_A_LOOK or pairs <= 2 * self.graph.num_edges

    def parts(self) -> list[Part]:
        """`Relations`, some of the receivers at a time."""
        key = ("parts of relations", self.num_types, self.forward)
        given = (self.graph, self.types, self.num_types, self.forward)
        return self.graph.memo(key, lambda: Part.of(*given))


def propagate_by_type(
    layer: MessagePassing, edges: TypedEdges, x: Tensor, weight: Tensor, out: Tensor
) -> Tensor:
    """`out` + Σ_r W_r aggregate { message_ij : j → i of type r }, with the functions of a layer.

    Aggregating before multiplying takes one small product for each node and type that receives anything, not
    one for each edge.

    Args:
        layer: says what a message is, a function of x_j, and how they are aggregated.
        edges: the edges with their types.
        x: `[num_senders, in]`; or numbers of nodes `[num_senders]`, of which W_r has a row each.
        weight: W_r, `[num_types, in, out]`, or in blocks `[num_types, blocks, in / blocks, out / blocks]`.
        out: `[num_receivers, out]`, a result that only this sum reads: it may become the sum.

    Returns:
        `[num_receivers, out]`.
    """
    numbered = not x.is_floating_point()

    def at_once(x: Tensor, weight: Tensor) -> Tensor:
        relations = edges.relations(out.size(1) if numbered else x.size(1), table=numbered)
        if numbered:
            rows = pick_rows(weight, 1, x).flatten(0, 1)
            return relations.total(layer.propagate(relations.into_pairs, x=rows))
        return relations.transformed(layer.propagate(relations.into_pairs, x=x), weight)

    aggregator = layer.aggr_module
    plain = _is_plain(type(layer)) and type(aggregator) in (Sum, Mean) and weight.dim() == 3
    exact = x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64)  # added up in parts
    compiling = torch.compiler.is_compiling()  # to a function for any number of edges
    many = x.is_cpu and not compiling and edges.graph.num_edges * weight.size(1) >= MANY
    if plain and exact and many and only_autograd_follows(x):
        aggr = cast(Sum, aggregator).name
        return cast(Tensor, _AddInParts.apply(out, x, weight, aggr, edges.parts(), at_once))  # type: ignore[no-untyped-call]
    total = at_once(x, weight)
    return out.add_(total) if only_autograd_follows(out) else out + total


def _is_plain(kind: type[MessagePassing]) -> bool:
    """Whether the layers of a class send x_j, and a node becomes what it receives."""
    said = ("message", "aggregate", "update")
    return all(getattr(kind, name) is getattr(MessagePassing, name) for name in said)


def joined_sum(received: Tensor, relations: Relations | Part) -> Tensor:
    """What all pairs `[num_pairs, ...]` of a node received, summed: `[num_receivers, ...]`."""
    return _aggregate(relations.from_pairs, received)


def _aggregate(graph: Graph, h: Tensor, aggr: str = "sum") -> Tensor:
    out: Tensor = propagate(graph, lambda h_j: h_j, aggr, h=h)
    return out


class _AddInParts(torch.autograd.Function):
    """The same for some receivers at a time; what they receive is not kept: the way back gathers it again."""

    @staticmethod
    def forward(
        ctx: Any,
        out: Tensor,
        x: Tensor,
        weight: Tensor,
        aggr: str,
        parts: list[Part],
        at_once: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.aggr, ctx.parts, ctx.at_once = aggr, parts, at_once
        ctx.mark_dirty(out)
        for part in parts:
            received = _aggregate(part.into_pairs, x, aggr)
            product = (
                received
                if weight.size(1) == weight.size(2)
                else received.new_empty(len(received), weight.size(2))
            )
            for k, rows in _pieces(part):
                multiply(received[rows], weight[k], product[rows])
            out[part.receivers].add_(joined_sum(product, part))
            del received, product
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        want_x, want_weight = ctx.needs_input_grad[1:3]
        again = torch.is_grad_enabled()
        if again or not is_single(gradient):  # to be differentiated again, or several gradients at once
            with torch.enable_grad():
                x = x.view_as(x)
                out = ctx.at_once(x, weight)
            asked = [t for t, want in ((x, want_x), (weight, want_weight)) if want]
            each = iter(torch.autograd.grad(out, asked, gradient, create_graph=again))
            found = [next(each) if want else None for want in (want_x, want_weight)]
            return gradient, *found, None, None, None
        of_x = empty(x.shape, x.dtype) if want_x else None
        of_weight = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        for part in ctx.parts:
            # The gradient of what a relation's pairs received takes the place of what they received.
            place, received = _aggregate(part.into_pairs, x, ctx.aggr), gradient[part.receivers]
            for k, rows in _pieces(part):
                sent = received.index_select(0, part.receiver_of_pair[rows])
                if want_weight:
                    of_weight[k] += gram(place[rows], sent)
                if of_x is not None:
                    multiply(sent, weight[k].t(), place[rows])
                    if ctx.aggr == "mean":
                        place[rows].div_(part.into_pairs.in_degree[rows].unsqueeze(1))
                del sent
            if of_x is not None:
                for senders, graph in part.back:
                    sums = _aggregate(graph, place)
                    of_x[senders].copy_(sums) if part is ctx.parts[0] else of_x[senders].add_(sums)
            del place
        return gradient, of_x, of_weight if want_weight else None, None, None, None


def _pieces(part: Part) -> Iterator[tuple[int, slice]]:
    """Ranges of pairs of one relation that fit into a cache, each with the number of its relation."""
    for k, (end, count) in enumerate(zip(accumulate(part.counts), part.counts, strict=True)):
        for start in range(end - count, end, PAIRS_AT_ONCE):
            yield k, slice(start, min(start + PAIRS_AT_ONCE, end))
