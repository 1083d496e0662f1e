"""A table: what becomes of every fact of a graph, whichever way another graph is made of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, topology
from mpnn.graph.compressed import Compressed
from mpnn.graph.facts import EdgeFacts, Facts
from mpnn.graph.graph import Size
from tests.core.graphs import random_graph

NODES = 9
SOME_NODES = torch.tensor([6, 0, 1, 2])
IN_ORDER = torch.tensor([0, 1, 2, 10, 11, 17])  # of a batch of two

# Graphs, each of which has one fact that a plain graph has not ------------------------------------------


def plain() -> Graph:
    return random_graph(NODES)


def times() -> Tensor:
    return (torch.arange(plain().num_edges) % 4) / 3


def types() -> Tensor:
    return torch.arange(plain().num_edges) % 3


def padded(graph: Graph) -> Graph:
    return mpnn.sample_neighbors(graph, torch.arange(4), [3, 2], seed=1, padded=True).graph


# An entry for every fact that edges may carry: what new ones are tested with.
CARRIED: dict[str, Callable[[], Tensor]] = {"edge_type": types, "edge_time": times}


def carrying(name: str) -> Graph:
    fact: dict[str, Any] = {name: CARRIED[name]()}
    return plain().carrying(**fact)


WITH: dict[str, Callable[[], Graph]] = {
    "size": plain,
    "bipartite": lambda: Graph(plain().edge_index, (NODES, NODES + 2)),
    **{name: partial(carrying, name) for name in CARRIED},
    "num_edge_types": lambda: plain().carrying(edge_type=types(), num_edge_types=7),
    "batch": lambda: Graph.batch([plain(), random_graph(NODES, 12, seed=3)]),
    "fleeting": lambda: mpnn.sample_neighbors(plain(), torch.arange(6), [3], seed=0).graph,
    "loopless": lambda: padded(plain()),
}


def fact(graph: Graph, name: str) -> Any:
    """What a graph has; of a batch where its graphs begin, `[2, num_graphs + 1]`."""
    if name == "batch":
        batch = graph._facts.batch
        return None if batch is None else torch.stack(tuple(batch))
    if name == "loopless":
        return graph._facts.loopless
    return getattr(graph, {"bipartite": "is_bipartite", "fleeting": "is_fleeting"}.get(name, name))


# What is made of them, and what each edge and node of it was ---------------------------------------------


class Made(NamedTuple):
    graph: Graph
    origin: Tensor  # [num_edges'], of each edge
    nodes: Tensor | None = None  # [num_nodes'], of each node; None where they are the same


def everything(graph: Graph) -> Tensor:
    return torch.arange(graph.num_edges)


def part(graph: Graph) -> Made:
    nodes = IN_ORDER if graph.num_graphs > 1 else SOME_NODES
    made, edges = graph.subgraph((nodes, nodes) if graph.is_bipartite else nodes)
    return Made(made, edges, nodes)


def merged(graph: Graph) -> Made:
    made, which = graph.coalesce()
    return Made(made, torch.tensor([which.tolist().index(k) for k in range(made.num_edges)]))


def renumbered(graph: Graph) -> Made:
    made, order = graph.reordered()
    return Made(made, everything(graph), order)


def sampled(graph: Graph, **options: bool) -> Made:
    sample = mpnn.sample_neighbors(graph, torch.arange(3), [2, 2], seed=5, **options)
    return Made(sample.graph, sample.edges, sample.nodes)


def other_edges(graph: Graph) -> Made:
    return Made(graph.bipartite_with(torch.tensor([[0, 1], [2, 2]]), (2, 3)), torch.tensor([0, 0]))


def same_edges(make: Callable[[Graph], Graph]) -> Callable[[Graph], Made]:
    return lambda graph: Made(make(graph), everything(graph))


def some(graph: Graph) -> Tensor:
    return torch.arange(0, graph.num_edges, 2).flip(0)


# The table ------------------------------------------------------------------------------------------------

KEPT, GONE, REFUSED = "kept", "gone", "refused"

# What it is instead, computed here from the graph that there was and from what was made.
Recomputed = Callable[[Graph, Made], Any]
Fate = str | Recomputed


class Method(NamedTuple):
    make: Callable[[Graph], Made]
    fates: dict[str, Fate]  # of facts that are not kept


def ends_of(graph: Graph, made: Made) -> Tensor:
    """Edges without loops after the nodes were renumbered."""
    assert made.nodes is not None
    number = torch.argsort(made.nodes)
    return number[fact(graph, "loopless")]


def pointers(sizes: list[Size]) -> Tensor:
    return torch.tensor([(0, 0), *sizes]).cumsum(0).t()


def kept_of_each(graph: Graph, made: Made) -> Tensor | None:
    if graph.num_graphs == 1:
        return None
    counts = torch.bincount(graph.graph_index[made.nodes]).tolist()
    return pointers([(count, count) for count in counts])


def each_reversed(graph: Graph, made: Made) -> Tensor | None:
    sizes = [(num_dst, num_src) for num_src, num_dst in graph.graph_sizes]
    return pointers(sizes) if graph.num_graphs > 1 else None


def as_many_nodes(graph: Graph, made: Made) -> Any:
    assert made.nodes is not None
    return made.nodes.numel(), made.nodes.numel()


def no_loops(graph: Graph, made: Made) -> Tensor:
    """Its edges are all known to be no loops."""
    assert not bool((made.graph.src == made.graph.dst).any())
    return made.graph.edge_index


def padding(graph: Graph, made: Made) -> Tensor:
    """The edges of a padded sample without loops, which lead through its padding."""
    loopless: Tensor = fact(made.graph, "loopless")
    assert loopless.shape == made.graph.edge_index.shape and not bool((loopless[0] == loopless[1]).any())
    return loopless


ONE_SET: dict[str, Fate] = {"bipartite": REFUSED}
NEW_LOOPS: dict[str, Fate] = ONE_SET | dict.fromkeys([*EdgeFacts._fields, "num_edge_types"], REFUSED)
SAMPLE: dict[str, Fate] = ONE_SET | {"size": as_many_nodes, "batch": GONE, "fleeting": lambda g, m: True}
CONVERTED: dict[str, Fate] = {"fleeting": GONE, "loopless": GONE}

METHODS: dict[str, Method] = {
    "reverse": Method(
        same_edges(Graph.reverse),
        {
            "size": lambda g, m: g.size[::-1],
            "batch": each_reversed,
            "loopless": lambda g, m: fact(g, "loopless").flip(0),
        },
    ),
    "with_self_loops": Method(same_edges(Graph.with_self_loops), NEW_LOOPS | {"loopless": GONE}),
    "with_remaining_self_loops": Method(
        same_edges(Graph.with_remaining_self_loops), NEW_LOOPS | {"loopless": GONE}
    ),
    "without_self_loops": Method(
        lambda g: Made(g.without_self_loops(), g.relooped("none")[1]), ONE_SET | {"loopless": no_loops}
    ),
    "edge_subgraph": Method(lambda g: Made(g.edge_subgraph(some(g)), some(g)), {}),
    "subgraph": Method(part, {"size": as_many_nodes, "batch": kept_of_each, "loopless": GONE}),
    "coalesce": Method(merged, {}),
    "reordered": Method(renumbered, ONE_SET | {"batch": REFUSED, "loopless": ends_of}),
    "to": Method(same_edges(lambda g: g.to("meta")), {}),
    "as_batch": Method(
        same_edges(lambda g: g.as_batch(g.graph_sizes)), {"batch": lambda g, m: pointers(g.graph_sizes)}
    ),
    "batch": Method(
        lambda g: Made(Graph.batch([g, g]), everything(g).repeat(2)),
        {
            "size": lambda g, m: (2 * g.num_src, 2 * g.num_dst),
            "batch": lambda g, m: pointers(g.graph_sizes * 2),
            "fleeting": lambda g, m: True,
            "loopless": GONE,
        },
    ),
    "unbatch": Method(
        lambda g: Made(Graph.batch([g, g]).unbatch()[0], edges_of_first(g)),
        {
            "size": lambda g, m: g.graph_sizes[0],
            "batch": GONE,
            "fleeting": lambda g, m: True,
            "loopless": GONE,
        },
    ),
    "carrying": Method(same_edges(lambda g: g.carrying()), {}),
    "derive": Method(lambda g: Made(g.derive(origin=some(g)), some(g)), {}),
    "bipartite_with": Method(
        other_edges,
        {
            **dict.fromkeys([*EdgeFacts._fields, "num_edge_types", "batch", "loopless"], GONE),
            "size": lambda g, m: (2, 3),
            "bipartite": lambda g, m: True,
        },
    ),
    "sample_neighbors": Method(sampled, SAMPLE | {"loopless": GONE}),
    "padded sample": Method(lambda g: sampled(g, padded=True), SAMPLE | {"loopless": padding}),
    "pickle": Method(same_edges(lambda g: pickle.loads(pickle.dumps(g))), {}),
    "copy": Method(same_edges(copy.copy), {}),
    "deepcopy": Method(same_edges(copy.deepcopy), {}),
    "networkx": Method(same_edges(lambda g: Graph.from_networkx(g.to_networkx())), CONVERTED),
    "pyg": Method(same_edges(lambda g: Graph.from_pyg(g.to_pyg())), CONVERTED),
}


def edges_of_first(graph: Graph) -> Tensor:
    first = graph.graph_sizes[0][1]
    return (graph.dst < first).nonzero().squeeze(1)


def check_equal(ours: Any, expected: Any) -> None:
    if not isinstance(expected, Tensor):
        assert ours == expected
    elif ours.is_meta:
        assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    else:
        assert ours.dtype == expected.dtype and torch.equal(ours, expected)


def check_fate(name: str, method: Method, graph: Graph) -> None:
    fate = method.fates.get(name, KEPT)
    if fate == REFUSED:
        with pytest.raises(ValueError, match=r"edge_\w+: no|one set of nodes|would mix the graphs"):
            method.make(graph)
        return
    made, had = method.make(graph), fact(graph, name)
    if callable(fate):
        had = fate(graph, made)
    elif fate == GONE:
        had = Facts._field_defaults.get(name)
    elif name in EdgeFacts._fields:
        had = had[made.origin]
    elif name == "loopless":
        had = had[:, made.origin]
    check_equal(fact(made.graph, name), had)


@pytest.mark.parametrize("name", WITH)
@pytest.mark.parametrize("how", METHODS)
def test_a_graph_made_of_another_has_each_fact_as_the_table_says(how: str, name: str) -> None:
    graph = WITH[name]()
    default = Facts._field_defaults.get(name)
    assert name == "size" or fact(graph, name) is not default  # or nothing would be tested
    check_fate(name, METHODS[how], graph)


def test_the_table_has_every_fact_and_every_method_that_makes_a_graph() -> None:
    assert set(WITH) == (set(Facts._fields) - {"edges"}) | set(EdgeFacts._fields)
    assert set(CARRIED) == set(EdgeFacts._fields)
    made = {
        name
        for name, method in vars(Graph).items()
        if not name.startswith("_") and "Graph" in getattr(method, "__annotations__", {}).get("return", "")
    }
    others = {"relooped", "from_networkx", "from_scipy", "from_pyg", "to_networkx"}  # by other names above
    assert made - others <= set(METHODS)


FORMULAS: dict[str, Graph] = {
    "grid": topology.grid((3, 4), 3, padding="same", batch=2),
    "reversed grid": topology.grid((3, 4), 3, stride=2, batch=2).reverse(),
    "chain": topology.chain([4, 3, 2]),
    "product": topology.product(topology.chain(4), topology.complete(3)),
    "compressed": Compressed(torch.tensor([0, 2, 2, 3]), torch.tensor([1, 0, 2]), 3),
}
ANY_EDGES = [
    "reverse",
    "edge_subgraph",
    "coalesce",
    "as_batch",
    "batch",
    "carrying",
    "pickle",
    "derive",
]


@pytest.mark.parametrize("how", ANY_EDGES)
@pytest.mark.parametrize("kind", FORMULAS)
def test_a_graph_that_lists_no_edges_is_taken_over_alike(kind: str, how: str) -> None:
    for name in WITH:
        if fact(FORMULAS[kind], name) is not Facts._field_defaults.get(name):
            check_fate(name, METHODS[how], FORMULAS[kind])
