"""A softmax of dot products on complete graphs and sequences is scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.reductions import SOFTMAX
from mpnn.graph.graph import Graph
from mpnn.lowering.banded import Blocks, banded_attention
from mpnn.lowering.batch import Batch
from mpnn.lowering.flexible import Window, flexible_attention, suits
from mpnn.lowering.match import PROBES, factors, fit, foreign, is_source_field, probes, require_real
from mpnn.lowering.reading import Given, Reading
from mpnn.lowering.rule import Lowered, NoMatchError
from mpnn.plan.homes import Home
from mpnn.topology import Band, Causal, Complete, CompleteBipartite


def match_attention(reading: Reading, graph: Graph) -> Lowered:
    """Recognise the score scale · q_i·k_j + biases and the value v_j, in any number of heads."""
    if reading.reductions != (SOFTMAX,):
        raise NoMatchError("the messages are not reduced by one softmax")
    if "kept" in reading.operations:
        raise NoMatchError("the message has dropout, for which the kernel would draw another mask")
    if foreign(reading):
        raise NoMatchError(f"the message uses {foreign(reading)}")
    require_real(reading)
    value_shape, score_shape = reading.shapes
    heads = torch.Size(score_shape).numel()
    if heads != 1 and value_shape[: len(score_shape)] != score_shape:
        raise NoMatchError(f"the score is {list(score_shape)}, the value {list(value_shape)} per edge")
    probed = probes(reading)
    values, scores = zip(*(reading.per_edge(rows, PROBES) for rows in probed), strict=True)
    score = torch.cat(scores).reshape(-1, heads)
    v = is_source_field(reading, probed, values)
    if v is None:
        raise NoMatchError("the value is not a field of the source")
    scales = factors(reading, (1, heads))
    for q, k, factor in product(reading.of(Home.DST), reading.of(Home.SRC), scales):
        if q.size != k.size or q.size % heads:
            continue
        biases = [g for g in reading.given if g not in (q, k) and g.home is not Home.SHARED]
        biases = [g for g in biases if g.size in (1, heads)]
        parts = [_terms(rows, q, k, factor, biases, heads) for rows in probed]
        found = fit(score, [torch.cat(both) for both in zip(*parts, strict=True)])
        if found is not None:
            scale, *weights, _ = found
            kept = [(g, w) for g, w in zip(biases, weights, strict=True) if w]
            return _lowered(q, k, v, scale, factor, kept, heads, value_shape)
    raise NoMatchError("the score is not a scaled dot product with biases")


def _terms(
    rows: Sequence[Tensor], q: Given, k: Given, factor: Given | None, biases: Sequence[Given], heads: int
) -> list[Tensor]:
    """The dot product, the biases and a constant, `[PROBES, heads]` each."""
    query, key = (rows[given.index].reshape(PROBES, heads, -1) for given in (q, k))
    dot = (query * key).sum(-1)
    dot = dot if factor is None else dot * rows[factor.index].reshape(-1)
    terms = [rows[g.index].reshape(PROBES, -1).expand(-1, heads) for g in biases]
    return [dot, *terms, torch.ones_like(dot)]


def fits_attention(graph: Graph) -> None:
    """Require an edge into every node: a softmax over no edges is 0 in mpnn, and NaN in the kernel."""
    src, dst = lengths_of(graph)
    fewest = 2 if isinstance(graph, Complete) and not graph.self_loops else 1
    if min(src, default=0) < fewest or min(dst, default=0) < 1:
        raise NoMatchError("the graph has receivers without senders")


def _lowered(
    q: Given,
    k: Given,
    v: Given,
    scale: float,
    factor: Given | None,
    biases: Sequence[tuple[Given, float]],
    heads: int,
    value_shape: tuple[int, ...],
) -> Lowered:
    def run(graph: Graph, values: Sequence[Tensor]) -> list[Tensor]:
        query, key, value = (values[g.index].reshape(-1, heads, g.size // heads) for g in (q, k, v))
        if factor is not None:  # of each head, or of all
            query = query * values[factor.index].reshape(-1, 1)
        terms: dict[Home, list[Tensor]] = {Home.SRC: [], Home.DST: [], Home.EDGE: []}
        for given, weight in biases:
            bias = values[given.index].reshape(-1, given.size)
            terms[given.home].append(bias if weight == 1 else weight * bias)
        per_key, per_query, per_edge = (_total(terms[home]) for home in (Home.SRC, Home.DST, Home.EDGE))
        out = attend(graph, query, key, value, scale, per_key, per_edge)
        out = out if per_query is None else _biased(out, per_query)
        return [out.reshape(-1, *value_shape)]

    return run


def _total(terms: Sequence[Tensor]) -> Tensor | None:
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _biased(out: Tensor, bias: Tensor) -> Tensor:
    """What a node receives whose scores all have a bias `[num_dst, 1 or heads]`: it cancels where finite."""
    bias = bias.detach()[..., None]
    return (out + (bias - bias)).masked_fill(bias == -torch.inf, 0)


def lengths_of(graph: Graph) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of senders and of receivers of each graph."""
    if isinstance(graph, CompleteBipartite):
        both = graph.src_lengths, graph.dst_lengths
        return both[::-1] if graph.is_reversed else both
    assert isinstance(graph, Complete | Causal | Band)
    return graph.lengths, graph.lengths


def attend(
    graph: Graph,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    key_bias: Tensor | None = None,
    edge_bias: Tensor | None = None,
) -> Tensor:
    """Softmax over j of (scale · query_i·key_j + biases) times value_j.

    Shapes: query `[num_dst, heads, channels]`, key and value `[num_src, heads, channels]`, key_bias
    `[num_src, 1 or heads]`, edge_bias `[num_edges, 1 or heads]`.
    """
    if scale <= 0:  # a kernel with a causal flag multiplies -inf by it
        query, scale = scale * query, 1.0
    src_lengths, dst_lengths = lengths_of(graph)
    device = query.device
    src: Batch = graph.memo(("batch of sources", device), lambda: Batch.of(src_lengths, device))
    dst: Batch = graph.memo(("batch of destinations", device), lambda: Batch.of(dst_lengths, device))
    # [batch, heads, length, channels]
    q, k, v = (b.pad(x).transpose(1, 2) for b, x in ((dst, query), (src, key), (src, value)))
    bias = None if key_bias is None else src.pad(key_bias).transpose(1, 2)[:, :, None]
    window = Window.of(graph, dst.longest)
    if window is not None and bias is None and edge_bias is None and suits(q, v):
        out = flexible_attention(graph, q, k, v, window, dst.lengths, scale)
        return dst.unpad(out.transpose(1, 2))
    if isinstance(graph, Band):
        blocks = Blocks.of(dst.longest, _reach(graph), graph.dilation)
        lengths = None if src.is_padding is None else (~src.is_padding).sum(1)
        per_edge = None
        if edge_bias is not None:
            slots = graph.memo(("slots in blocks", device), lambda: blocks.slots(graph, dst.lengths))
            per_edge = blocks.spread(edge_bias, slots, len(dst.lengths))
        out = banded_attention(q, k, v, blocks, scale, lengths, bias, per_edge)
        return dst.unpad(out.transpose(1, 2))
    backwards = isinstance(graph, Causal) and graph.is_reversed
    if backwards and bias is None and edge_bias is None and src.is_padding is None:
        turned = F.scaled_dot_product_attention(q.flip(2), k.flip(2), v.flip(2), is_causal=True, scale=scale)
        out = turned.flip(2)
        return dst.unpad(out.transpose(1, 2))
    is_causal = isinstance(graph, Causal) and not backwards
    if edge_bias is not None:
        bias = _plus(bias, _dense_bias(graph, edge_bias, src, dst))
    elif not (is_causal and bias is None):
        # A causal flag needs no mask of lengths: the padding comes after all queries that are not padding.
        if src.is_padding is not None:
            hidden = src.is_padding[:, None, None]
            if backwards:  # else queries of the padding would have no key, and NaN gradients
                hidden = hidden & ~src.is_padding[:, None, :, None]
            bias = _plus(bias, _forbidden(hidden, q))
        if isinstance(graph, Complete) and not graph.self_loops:
            bias = _plus(bias, _forbidden(torch.eye(src.longest, dtype=torch.bool, device=device), q))
        if isinstance(graph, Causal):
            later = torch.ones(src.longest, src.longest, dtype=torch.bool, device=device)
            bias = _plus(bias, _forbidden(later.tril(-1) if backwards else later.triu(1), q))
    flag = is_causal and bias is None
    out = F.scaled_dot_product_attention(q, k, v, bias, is_causal=flag, scale=scale)
    return dst.unpad(out.transpose(1, 2))


def _reach(graph: Band) -> tuple[int, int]:
    return (graph.right, graph.left) if graph.is_reversed else (graph.left, graph.right)


def _plus(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b


def _forbidden(where: Tensor, like: Tensor) -> Tensor:
    return like.new_zeros(where.shape).masked_fill(where, -torch.inf)


def _dense_bias(graph: Graph, bias: Tensor, src: Batch, dst: Batch) -> Tensor:
    """`[num_edges, heads]` -> `[batch, heads, queries, keys]`, -inf where there is no edge."""
    shape = (len(dst.lengths), dst.longest, src.longest, bias.size(1))
    slots = graph.memo("slots of the edges", lambda: _slots(graph, src, dst))
    if slots is None:
        return bias.view(shape).permute(0, 3, 1, 2)
    dense = bias.new_full((shape[0] * shape[1] * shape[2], shape[3]), -torch.inf)
    if dst.is_padding is not None:
        # The rows of the padding, which are cut off, must have a key: else their gradients would be NaN.
        dense = dense.masked_fill(dst.is_padding.flatten().repeat_interleave(src.longest)[:, None], 0)
    return dense.index_copy(0, slots, bias).view(shape).permute(0, 3, 1, 2)


def _slots(graph: Graph, src: Batch, dst: Batch) -> Tensor | None:
    all_pairs = src.slots is None and dst.slots is None and not isinstance(graph, Causal)
    if all_pairs and not graph.is_reversed and not (isinstance(graph, Complete) and not graph.self_loops):  # type: ignore[attr-defined]
        return None  # the edges are the entries of the matrix, in order
    sender = graph.src if src.slots is None else src.slots[graph.src]
    receiver = graph.dst if dst.slots is None else dst.slots[graph.dst]
    return receiver * src.longest + sender % src.longest
