"""A weight per edge between two full layers of neurons is a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.reductions import SUM
from mpnn.graph.graph import Graph
from mpnn.lowering.dot_product_attention import fits_attention, lengths_of
from mpnn.lowering.match import PROBES, factors, fit, foreign, probes, require_real
from mpnn.lowering.reading import Given, Reading
from mpnn.lowering.rule import Lowered, NoMatchError
from mpnn.plan.homes import Home
from mpnn.topology import Complete


def match_linear(reading: Reading, graph: Graph) -> Lowered:
    """Recognise the message w_e x_j, with one number w_e per edge."""
    if reading.reductions != (SUM,):
        raise NoMatchError("the messages are not reduced by one sum")
    if foreign(reading):
        raise NoMatchError(f"the message uses {foreign(reading)}")
    require_real(reading)
    probed = probes(reading)
    message = torch.cat([_flat(reading, rows) for rows in probed])
    for weight in reading.of(Home.EDGE):
        for x in reading.of(Home.SRC):
            if weight.size != 1 or x.size != message.size(1) or weight.is_type:
                continue
            for factor in factors(reading, [1]):
                product = torch.cat([_product(rows, weight, x, factor) for rows in probed])
                found = fit(message, [product])
                if found is not None:
                    return _lowered(weight, x, found[0], factor, reading.shapes[0])
    raise NoMatchError("the message is not w_e x_j")


def _flat(reading: Reading, rows: Sequence[Tensor]) -> Tensor:
    (message,) = reading.per_edge(rows, PROBES)
    return message.flatten(1) if message.dim() > 1 else message[:, None]


def _product(rows: Sequence[Tensor], weight: Given, x: Given, factor: Given | None) -> Tensor:
    product = rows[weight.index].reshape(-1, 1) * rows[x.index].reshape(PROBES, -1)
    return product if factor is None else rows[factor.index].reshape(()) * product


def _lowered(weight: Given, x: Given, number: float, factor: Given | None, shape: tuple[int, ...]) -> Lowered:
    def run(graph: Graph, values: Sequence[Tensor]) -> list[Tensor]:
        (sources, *_), _ = lengths_of(graph)
        out = _matrices(graph, values[weight.index]) @ values[x.index].reshape(-1, sources, x.size)
        out = out if number == 1 else number * out
        out = out if factor is None else values[factor.index].reshape(()) * out
        return [out.reshape(-1, *shape)]

    return run


def _matrices(graph: Graph, weights: Tensor) -> Tensor:
    """`[num_graphs, destinations, sources]`, from one weight per edge, row by row of the forward graph."""
    (sources, *_), (destinations, *_) = lengths_of(graph)
    rows, columns = (sources, destinations) if graph.is_reversed else (destinations, sources)  # type: ignore[attr-defined]
    if isinstance(graph, Complete) and not graph.self_loops:
        # Rows without the diagonal are n - 1 times n numbers: before each n, one of the diagonal is put.
        n = rows
        matrices = F.pad(weights.reshape(-1, n - 1, n), (1, 0, 0, 1)).flatten(1)[:, : n * n].reshape(-1, n, n)
    else:
        matrices = weights.reshape(-1, rows, columns)
    return matrices.mT if graph.is_reversed else matrices  # type: ignore[attr-defined]


def fits_linear(graph: Graph) -> None:
    """Require that the edges are the entries of a matrix, in order, with or without those of the diagonal."""
    fits_attention(graph)
    if any(len(set(lengths)) > 1 for lengths in lengths_of(graph)):
        raise NoMatchError("the graphs of the batch differ in size")
