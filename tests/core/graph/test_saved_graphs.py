"""Graphs in files: `torch.load` reads them without running code, and damaged files are refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given

from mpnn import Graph, topology
from tests.core.graphs import graphs, random_graph, same
from tests.core.topology.test_laws import FORWARD


def saved_and_loaded(what: Any) -> Any:
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@given(graphs(timed=None))
def test_a_saved_graph_is_loaded_as_weights_are(graph: Graph) -> None:
    graph.by_dst  # noqa: B018 - what is derived is not saved
    assert same(saved_and_loaded({"graph": graph, "x": torch.ones(2)})["graph"], graph)


@given(graphs(batched=True))
def test_a_saved_batch_is_loaded_as_weights_are(batch: Graph) -> None:
    loaded = saved_and_loaded(batch)
    assert same(loaded, batch) and loaded.is_fleeting


@pytest.mark.parametrize("make", FORWARD)
def test_a_saved_topology_is_loaded_as_weights_are(make: Callable[[], topology.Implicit]) -> None:
    graph = make()
    for one in (graph, graph.reverse()):
        loaded = saved_and_loaded(one)
        assert type(loaded) is type(one) and loaded.is_reversed == one.is_reversed
        assert same(loaded, one) and torch.equal(loaded.in_degree, one.in_degree)
        assert torch.equal(loaded.by_dst.indices, one.by_dst.indices)


def with_state(graph: Graph, **changes: Any) -> bytes:
    """A pickle of a graph with another state."""
    twin = object.__new__(type(graph))
    twin.__dict__.update(graph.__getstate__() | changes)
    return pickle.dumps(twin)


BATCH = Graph.batch([random_graph(), random_graph()])
DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "an index": (
        lambda: with_state(random_graph(), _edge_index=random_graph().edge_index + 5),
        r"edge_index\[0, \d+\] is \d+, but the graph has 9 source nodes",
    ),
    "a type": (
        lambda: with_state(random_graph(), _edge_index=random_graph().edge_index.float()),
        r"edge_index of a saved graph is torch.float32",
    ),
    "its size": (
        lambda: with_state(random_graph(), _facts=random_graph()._facts._replace(size=(3, 3))),
        r"edge_index\[0, \d+\] is \d+, but the graph has 3 source nodes",
    ),
    "facts": (lambda: with_state(random_graph(), _facts=(1, 2)), "should hold its facts, but holds tuple"),
    "a batch": (
        lambda: with_state(random_graph(), _facts=random_graph()._facts._replace(batch=BATCH._facts.batch)),
        "the graphs of a saved batch should have 9 nodes, one after the other",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_graph_is_refused(what: str) -> None:
    make, said = DAMAGED[what]
    content = make()
    with pytest.raises((ValueError, IndexError, TypeError), match=said):
        pickle.loads(content)


@pytest.mark.parametrize("changes", [{"_lengths": ((9,), (9,))}, {"_num_edges": 3}], ids=str)
def test_a_damaged_topology_is_refused_when_its_edges_are_asked_for(changes: dict[str, Any]) -> None:
    graph = topology.causal([4])
    loaded = pickle.loads(with_state(graph, **changes))
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        _ = loaded.by_dst
