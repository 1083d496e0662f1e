"""Random walks: of the first order by the weights of edges, of the second order as node2vec biases them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_int, as_seed
from mpnn.graph.contents import OfTensors
from mpnn.graph.csr import CSR, compress
from mpnn.graph.graph import Graph
from mpnn.native import walks as compiled
from mpnn.native.gpu import has_triton
from mpnn.native.walks import Bias
from mpnn.sampling.splitmix import GOLDEN, mix, mix_int, shift, signed

LOW = 2**32 - 1
MOST_STEPS = 1 << 30  # of a walk
MOST = 10_000.0  # how many times as likely one step may be as another: a step is drawn until it is kept


def random_walks(
    graph: Topology,
    start: Tensor | None,
    length: int,
    *,
    weight: Tensor | None = None,
    p: float = 1.0,
    q: float = 1.0,
    seed: int | None = None,
) -> Tensor:
    """Walk along the edges, from source to destination, at random.

    From v the next node is x with a probability proportional to the weight of the edge v -> x, times, if the
    walk came to v from t,

        1/p  if x is t,    1  if there is an edge t -> x,    1/q  otherwise

    (node2vec, Grover and Leskovec, 2016; with p = q = 1 DeepWalk, Perozzi et al., 2014). From a node that no
    edge of positive weight leaves, a walk does not move: it repeats the node, as in PyG.

    The random numbers are a function of the seed, the walk's position in `start` and its step: walks do not
    depend on the number of threads, nor on the device, nor on whether there is a C compiler.

    On a GPU all steps are one kernel in Triton, and nothing is copied to the host but what a tensor that is
    new needs: a look at a `start`, an alias table for a `weight`. A CUDA graph can capture the call after a
    first one with the same tensors; each replay takes new walks if the seed is None. What `start` holds then
    is not looked at any more, and a walk from what is no node is -1 throughout.

    Args:
        graph: a `Graph` with one set of nodes, or an `edge_index` tensor.
        start: integer `[num_walks]`, where each walk begins; None begins one at every node.
        length: how many steps a walk takes.
        weight: floating point `[num_edges]`, finite and not negative; None weighs all edges alike.
        p: above 1 walks rarely turn back at once.
        q: above 1 they stay near to where they were, below 1 they go far.
        seed: of the random numbers; None draws one from torch's generator, on a GPU from that of the GPU.

    Shapes: -> int64 `[num_walks, length + 1]`, the start and where each step led.

    Raises:
        ValueError: a number or shape that is not as said above, or p and q that make one step more than
            10,000 times as likely as another.
        TypeError: start that holds no integers, weight that holds no floating-point numbers.
        IndexError: a start that is not a node.

    >>> circle = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
    >>> mpnn.random_walks(circle, torch.tensor([0, 2]), 4)
    tensor([[0, 1, 2, 0, 1],
            [2, 0, 1, 2, 0]])
    """
    graph = as_graph(graph)
    graph.require_one_node_set("random_walks()")
    on_gpu = _walks_on_gpu(graph.device)
    start = _checked_start(start, graph, on_gpu)
    length, seed = as_int("length", length, 0), as_seed(seed)
    if length > MOST_STEPS:
        raise ValueError(f"length is {length}, but should be at most {MOST_STEPS:,}.")
    check_biases(p, q)
    first_order = p == q == 1
    if weight is None:
        rows, aliases = graph.by_src if first_order else sorted_rows(graph), None
    else:
        graph, rows, aliases = _weighted(graph, weight, first_order)
    bias = None if first_order else _bias(p, q, folded=weight is None and _is_simple_and_symmetric(graph))
    if on_gpu:
        return _walk_on_gpu(rows, aliases, start, length, seed, bias)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, (), device="cpu"))
    key = mix_int(seed + GOLDEN)
    if rows.indptr.device.type == "cpu":
        links = None if first_order else graph.memo("links", partial(compiled.make_links, *_two(rows)))
        made = compiled.walk(*_two(rows), aliases, start, length, key, bias, links)
        if made is not None:
            return made
    return _walk(rows, aliases, start, length, key, bias)


def walk_rows(rows: CSR, start: Tensor, length: int, p: float, q: float) -> Tensor:
    """`random_walks` along compressed rows on the CPU, int64 `[num_walks, length + 1]`.

    Args:
        rows: whose indices are rows too.
        start: int64 `[num_walks]`, rows.
        length: how many steps a walk takes.
        p: as for `random_walks`.
        q: as there.
    """
    length, seed = as_int("length", length, 0), int(torch.randint(2**63 - 1, (), device="cpu"))
    check_biases(p, q)
    key = mix_int(seed + GOLDEN)
    bias = None if p == q == 1 else _bias(p, q, folded=False)
    links = None
    if bias is not None:
        links = _links_of_rows.get(rows.indices)
        if links is None:
            links = compiled.make_links(*_two(rows))
            if links is not None:
                _links_of_rows.keep(rows.indices, links)
    made = compiled.walk(*_two(rows), None, start, length, key, bias, links)
    if made is not None:
        return made
    row = torch.repeat_interleave(rows.indptr.long().diff())
    order = torch.argsort(rows.indices, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    return _walk(CSR(rows.indptr, rows.indices[order], order), None, start, length, key, bias)


# Of the indices of rows, the hash tables that tell neighbours.
_links_of_rows: OfTensors[Tensor] = OfTensors()


def sorted_rows(graph: Graph) -> CSR:
    """The edges by source, and those of a source by destination: where an edge is can be found by halving."""

    def sort_twice() -> CSR:  # stably, by the second key first
        order = graph.by_dst.edge_ids.long()
        rows = compress(graph.src[order], graph.dst[order], graph.num_src, graph.num_dst)
        return CSR(rows.indptr, rows.indices, order[rows.edge_ids.long()].to(rows.indptr.dtype))

    return graph.memo("rows in order", sort_twice)


def alias_table(rows: CSR, weights: Tensor) -> Tensor:
    """What draws an entry of a row by weight, in constant time (Walker, 1977; Vose, 1991).

    Args:
        rows: of which entries are drawn.
        weights: float64 `[num_slots]`, in the order of the slots; positive.

    Returns:
        `[num_slots, 3]`: threshold, own and other. A slot of the row is drawn, all alike, then a fraction;
        below threshold / 2³² it stands for its own entry, else for the other.
    """
    host = rows.indptr.cpu(), rows.indices.cpu(), weights.cpu().contiguous()
    table = compiled.make_aliases(*host)
    if table is None:
        table = _make_aliases(*host)
    return table.to(rows.indptr.device)


# What is asked for ---------------------------------------------------------------------------------------


# Starts that were looked at, with the number of nodes that they are below.
_seen: OfTensors[int] = OfTensors()


def _checked_start(start: Tensor | None, graph: Graph, on_gpu: bool) -> Tensor:
    if start is None:
        return torch.arange(graph.num_nodes, device=graph.device)
    if not isinstance(start, Tensor) or start.is_floating_point() or start.dtype == torch.bool:
        kind = start.dtype if isinstance(start, Tensor) else type(start).__name__
        raise TypeError(f"start must be an integer tensor [num_walks], got {kind}.")
    if start.dim() != 1:
        raise ValueError(f"start must have shape [num_walks], got {list(start.shape)}.")
    if on_gpu and _seen.get(start) == graph.num_nodes:
        return start.to(torch.int64)
    capturing = start.is_cuda and torch.cuda.is_current_stream_capturing()
    outside = start[:0] if capturing else ((start < 0) | (start >= graph.num_nodes)).nonzero()
    if outside.numel():
        bad = int(outside[0])
        raise IndexError(
            f"start[{bad}] is {int(start[bad])}, but the graph has {graph.num_nodes} nodes "
            f"(0..{graph.num_nodes - 1})."
        )
    if not capturing:
        _seen.keep(start, graph.num_nodes)
    return start.to(graph.device, torch.int64)


def _checked_weight(weight: Tensor, graph: Graph) -> Tensor:
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"weight must be a floating-point tensor [num_edges], got {kind}.")
    if weight.shape != (graph.num_edges,):
        raise ValueError(f"weight must have shape [{graph.num_edges}], got {list(weight.shape)}.")
    bad = (~(weight.isfinite() & (weight >= 0))).nonzero()
    if bad.numel():
        first = int(bad[0])
        raise ValueError(f"weight[{first}] is {float(weight[first])}, but should be finite and at least 0.")
    return weight.detach().to(graph.device, torch.float64)


class _Weighted(NamedTuple):
    """What follows from the weights of a graph's edges."""

    whole: Graph
    graph: Graph  # the edges of positive weight
    values: Tensor
    rows: dict[bool, tuple[CSR, Tensor]]  # for walks of the first order and of the second, with alias tables


# Of tensors of weights, each for the graph with which it was last given.
_weights: OfTensors[_Weighted] = OfTensors()


def _weighted(graph: Graph, weight: Tensor, first_order: bool) -> tuple[Graph, CSR, Tensor]:
    """The edges of positive weight, as a graph and as rows with their alias table."""
    known = _weights.get(weight) if isinstance(weight, Tensor) else None
    if known is None or known.whole is not graph:
        values, kept = _checked_weight(weight, graph), graph
        if not bool((values > 0).all()):
            kept, values = graph.edge_subgraph(values > 0), values[values > 0]
        known = _Weighted(graph, kept, values, {})
        _weights.keep(weight, known)
    if first_order not in known.rows:
        rows = known.graph.by_src if first_order else sorted_rows(known.graph)
        known.rows[first_order] = rows, alias_table(rows, known.values[rows.edge_ids.long()])
    return known.graph, *known.rows[first_order]


def check_biases(p: float, q: float) -> None:
    """Raise ValueError unless p and q are what `random_walks` takes."""
    given: tuple[tuple[str, Any], ...] = (("p", p), ("q", q))
    for name, value in given:
        if not isinstance(value, Real):
            raise TypeError(f"{name} is {value!r}, but should be a number above 0.")
        if not 0 < float(value) < float("inf"):
            raise ValueError(f"{name} is {value}, but should be above 0 and finite.")
    factors = (1 / p, 1.0, 1 / q)
    if max(factors) > MOST * min(factors):
        raise ValueError(
            f"p is {p} and q is {q}, but should make no step more than {MOST:,.0f} times as likely as "
            "another."
        )


def _bias(p: float, q: float, folded: bool) -> Bias:
    """See `walk_second_order` in `native/walks.c`; `folded` takes the way back out of the rejection."""
    others = max(1.0, 1 / q)
    extra = max(0.0, (1 / p - others) / others) if folded else 0.0
    most = others if extra else max(1 / p, others)
    back, near, far = (round(min(1.0, factor / most) * 2**32) for factor in (1 / p, 1.0, 1 / q))
    return Bias(back, near, far, extra)


def _is_simple_and_symmetric(graph: Graph) -> bool:
    """Whether every edge has its reverse, and is there once: then the way back is one edge of every row."""

    def compare() -> bool:
        rows, columns = sorted_rows(graph), sorted_rows(graph.reverse())
        source = torch.repeat_interleave(rows.indptr.long().diff())
        repeated = (rows.indices[1:] == rows.indices[:-1]) & (source[1:] == source[:-1])
        same = torch.equal(rows.indptr, columns.indptr) and torch.equal(rows.indices, columns.indices)
        return same and not bool(repeated.any())

    return graph.memo("simple and symmetric", compare)


def _two(rows: CSR) -> tuple[Tensor, Tensor]:
    return rows.indptr, rows.indices


# On a GPU, to the same bits ------------------------------------------------------------------------------


def _walks_on_gpu(device: torch.device) -> bool:
    return device.type == "cuda" and has_triton()


def _walk_on_gpu(
    rows: CSR, aliases: Tensor | None, start: Tensor, length: int, seed: int | None, bias: Bias | None
) -> Tensor:
    from mpnn.native import walks_gpu

    if seed is None:
        key = mix(torch.randint(2**63 - 1, (), device=start.device) + signed(GOLDEN))
    else:
        key = torch.full((), signed(mix_int(seed + GOLDEN)), device=start.device)
    made: Tensor = walks_gpu.launch(*_two(rows), aliases, start, length, key, bias)  # type: ignore[no-untyped-call]
    return made


# In plain PyTorch, to the same bits ----------------------------------------------------------------------


def _walk(
    rows: CSR, aliases: Tensor | None, start: Tensor, length: int, key: int, bias: Bias | None
) -> Tensor:
    """What the compiled walks do, all walks a step at a time."""
    number = torch.arange(1, start.numel() + 1, device=start.device)
    keys, draws = mix(number * signed(GOLDEN) + signed(key)), torch.zeros_like(start)
    indptr, before, node = rows.indptr.long(), torch.full_like(start, -1), start
    linked = None if bias is None else _Links(rows)

    def draw(walks: Tensor) -> Tensor:
        draws[walks] += 1
        return mix(keys[walks] + draws[walks] * signed(GOLDEN))

    path = [start]
    for _ in range(length):
        begin, degree = indptr[node], indptr[node + 1] - indptr[node]
        reached = node.clone()
        walks = (degree > 0).nonzero().flatten()  # those that have not taken this step yet
        while walks.numel():
            if bias is not None and bias.extra:
                came = walks[before[walks] >= 0]
                share = bias.extra / (degree[came].double() + bias.extra)
                returns = came[shift(draw(came), 32) < (share * 2**32).long()]
                reached[returns] = before[returns]
                walks = walks[~torch.isin(walks, returns)]
            drawn = draw(walks)
            place = shift(drawn, 32) * degree[walks]
            slot, fraction, chance = begin[walks] + (place >> 32), place & LOW, drawn & LOW
            if aliases is None:
                candidate = rows.indices[slot].long()
            else:
                threshold, own, other = aliases[slot].long().unbind(1)
                candidate = torch.where(fraction < threshold & LOW, own, other)
            kept = torch.ones_like(walks, dtype=torch.bool)
            if bias is not None and linked is not None:
                t = before[walks]
                needed = torch.where(linked(t.clamp(min=0), candidate), bias.near, bias.far)
                needed = torch.where(candidate == t, bias.back, needed)
                kept = (t < 0) | (degree[walks] == 1) | (chance < needed)
            reached[walks[kept]] = candidate[kept]
            walks = walks[~kept]
        before, node = node, reached
        path.append(node)
    return torch.stack(path, dim=1)


class _Links:
    """Whether there are edges t -> x."""

    def __init__(self, rows: CSR) -> None:
        """Args: rows in order."""
        self.rows = rows
        longest = int(rows.indptr.diff().max()) if rows.num_rows else 0
        self.halvings = longest.bit_length()

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        # By halving: a key t * num_nodes + x for each edge would not fit in 64 bits in the largest graphs.
        indices, low, end = self.rows.indices, self.rows.indptr[t].long(), self.rows.indptr[t + 1].long()
        high, last = end, indices.numel() - 1
        for _ in range(self.halvings):
            middle = (low + high) // 2
            before = (low < high) & (indices[middle.clamp(max=last)] < x)
            low, high = torch.where(before, middle + 1, low), torch.where(before, high, middle)
        return (low < end) & (indices[low.clamp(max=last)] == x)


def _make_aliases(indptr: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    weight, table = weights.tolist(), [[0, node, node] for node in indices.tolist()]
    bounds = indptr.tolist()
    for begin, end in pairwise(bounds):
        total = 0.0
        for value in weight[begin:end]:
            total += value
        share = [value / total * (end - begin) for value in weight[begin:end]]
        small = [k for k, value in enumerate(share) if value < 1]
        large = [k for k, value in enumerate(share) if not value < 1]
        while small and large:
            less, more = small.pop(), large[-1]
            threshold = int(share[less] * 2**32)
            table[begin + less] = [
                threshold - 2**32 * (threshold >= 2**31),
                table[begin + less][1],
                table[begin + more][1],
            ]
            share[more] -= 1 - share[less]
            if share[more] < 1:
                small.append(large.pop())
    return torch.tensor(table, dtype=indptr.dtype, device=indptr.device).reshape(-1, 3)
