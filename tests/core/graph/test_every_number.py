"""Every number of graphs, topologies and samples at odd values: a sentence with its name, or a result."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mpnn
from mpnn import Graph, NeighborLoader, topology

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
GRAPH = Graph(EDGES, 3)
TYPES = torch.zeros(3, dtype=torch.int64)
FIRST = torch.tensor([0])
ODD = [-1, 0, 1, 2, 2.5, math.nan, math.inf, "8", None, torch.tensor(2), torch.tensor(2.5), 2**100]
HUGE = 10**9  # where nothing is made that is as large
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "num_nodes of Graph": lambda v: Graph(EDGES, v),
    "num_edge_types of Graph": lambda v: Graph(EDGES, 3, TYPES, num_edge_types=v),
    "lengths of band": lambda v: topology.band(v, 2),
    "window of band": lambda v: topology.band(5, v),
    "dilation of band": lambda v: topology.band(5, 2, dilation=v),
    "lengths of causal": topology.causal,
    "lengths of chain": topology.chain,
    "lengths of complete": topology.complete,
    "src_lengths of complete_bipartite": lambda v: topology.complete_bipartite(v, 3),
    "dst_lengths of complete_bipartite": lambda v: topology.complete_bipartite(3, v),
    "leaves of star": topology.star,
    "shape of grid": lambda v: topology.grid(v, 2),
    "kernel_size of grid": lambda v: topology.grid(5, v),
    "stride of grid": lambda v: topology.grid(5, 2, v),
    "padding of grid": lambda v: topology.grid(5, 2, 1, v),
    "dilation of grid": lambda v: topology.grid(5, 2, dilation=v),
    "batch of grid": lambda v: topology.grid(5, 2, batch=v),
    "shape of adaptive_grid": lambda v: topology.adaptive_grid(v, 2),
    "out_shape of adaptive_grid": lambda v: topology.adaptive_grid(4, v),
    "batch of adaptive_grid": lambda v: topology.adaptive_grid(4, 2, batch=v),
    "shape of lattice": topology.lattice,
    "parents of tree": topology.tree,
    "fanouts of NeighborLoader": lambda v: list(NeighborLoader(GRAPH, [v, v], batch_size=2)),
    "fanouts of a padded NeighborLoader": lambda v: list(
        NeighborLoader(GRAPH, [v, v], batch_size=2, padded=True)
    ),
    "batch_size of NeighborLoader": lambda v: list(NeighborLoader(GRAPH, [2], batch_size=v)),
    "fanouts of sample_neighbors": lambda v: mpnn.sample_neighbors(GRAPH, FIRST, [v]),
    "seed of sample_neighbors": lambda v: mpnn.sample_neighbors(GRAPH, FIRST, [2], seed=v),
    "p of random_walks": lambda v: mpnn.random_walks(GRAPH, FIRST, 3, p=v),
    "q of random_walks": lambda v: mpnn.random_walks(GRAPH, FIRST, 3, q=v),
    "seed of random_walks": lambda v: mpnn.random_walks(GRAPH, FIRST, 3, seed=v),
}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_gives_a_sentence_or_a_result(number: str) -> None:
    faults = [fault for value in [*ODD, HUGE] if (fault := fault_of(number, value))]
    assert not faults, "\n".join(faults)


def test_a_walk_has_a_length() -> None:
    faults = [fault for value in ODD if (fault := fault_of("length", value))]
    assert not faults, "\n".join(faults)


def fault_of(number: str, value: Any) -> str | None:
    name = number.split()[0]
    call = NUMBERS.get(number, lambda v: mpnn.random_walks(GRAPH, FIRST, v))
    try:
        call(value)
    except (ValueError, TypeError, IndexError) as error:
        said = str(error)
        about = (name, "fanout", "nodes", "types", "kernel_size")
        return (
            None
            if any(re.search(rf"\b{word}", said) for word in about) and "\n" not in said
            else f"{value!r}: {said}"
        )
    except Exception as error:
        return f"{value!r}: {error!r}"
    return None


@pytest.mark.parametrize("given", [5, "words", None, [], torch.ones(3)])
def test_what_is_no_graph_of_networkx_is_named(given: Any) -> None:
    with pytest.raises(TypeError, match="networkx") as raised:
        Graph.from_networkx(given)
    assert "\n" not in str(raised.value)
