"""R-GCN on a graph that is made for one step: PyG's results, without waiting for a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg

from mpnn import Graph, models
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.waiting import no_waiting
from tests.elsewhere import by_plan, elsewhere

TYPES = 5
LAYERS: list[dict[str, Any]] = [
    {},
    {"aggr": "sum", "num_bases": 2},
    {"aggr": "max", "num_bases": 2, "bias": False},
    {"aggr": "mul"},
    {"num_blocks": 2},
    {"aggr": "max", "num_blocks": 2, "root_weight": False},
    {"flow": "target_to_source", "num_blocks": 2},
]


def batch(size: Any) -> Graph:
    """Two graphs, and one of the relations has no edge."""
    parts = []
    for seed, num_edges in enumerate((12, 9)):
        graph = random_graph(size, num_edges, seed)
        types = torch.arange(num_edges) * 7 % (TYPES - 1)
        parts.append(Graph(graph.edge_index, size, types, num_edge_types=TYPES))
    return Graph.batch(parts)


def found(
    layer: nn.Module, x: Any, *edges: Any, watch: AbstractContextManager[None] | None = None
) -> list[Tensor]:
    """The output, and the gradients at the parameters and at x where it has any."""
    inputs = [t for t in (x if isinstance(x, tuple) else (x,)) if t is not None and t.is_floating_point()]
    weighted = [*inputs, *(parameter for _, parameter in sorted(layer.named_parameters()))]
    with watch or nullcontext():
        out = layer(x, *edges)
        gradients = torch.autograd.grad(out.square().sum(), weighted, materialize_grads=True)
    return [out, *gradients]


def assert_is_pygs(
    options: dict[str, Any], in_channels: Any, x: Any, graph: Graph, watch: AbstractContextManager[None]
) -> None:
    torch.manual_seed(0)
    theirs = pyg.RGCNConv(in_channels, 6, TYPES, **options).double()
    ours = models.RGCNConv(in_channels, 6, TYPES, **options).double()
    ours.load_state_dict(theirs.state_dict())
    expected = found(theirs, x, graph.edge_index, graph.edge_type)
    with elsewhere() as device:

        def there(t: Tensor | None) -> Tensor | None:
            return t if t is None else t.detach().to(device).requires_grad_(t.requires_grad)

        moved = tuple(map(there, x)) if isinstance(x, tuple) else there(x)
        for one, other in zip(
            found(ours.to(device), moved, graph.to(device), watch=watch), expected, strict=True
        ):
            assert_close(one.cpu(), other)


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_a_new_graph_is_not_waited_for(options: dict[str, Any]) -> None:
    x = torch.randn(12, 4, dtype=torch.float64, requires_grad=True)
    assert_is_pygs(options, 4, x, batch(6), no_waiting(on_cpu=False))


@pytest.mark.parametrize("options", LAYERS[:6], ids=str)
def test_a_new_bipartite_graph_is_not_waited_for(options: dict[str, Any]) -> None:
    x = tuple(
        torch.randn(n, width, dtype=torch.float64, requires_grad=True) for n, width in ((12, 4), (18, 3))
    )
    assert_is_pygs(options, (4, 3), x, batch((6, 9)), no_waiting(on_cpu=False))


def test_only_types_outside_the_graph_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = batch(6)
    graph = Graph.batch([Graph(part.edge_index, 6) for part in typed.unbatch()])
    layer, x = models.RGCNConv(4, 6, TYPES).double(), torch.randn(12, 4, dtype=torch.float64)
    expected = found(layer, x.requires_grad_(), typed)
    assert typed.edge_type is not None
    with elsewhere() as device:
        there = graph.to(device), typed.edge_type.to(device)
        layer, x = layer.to(device), x.detach().to(device).requires_grad_()
        with pytest.raises(AssertionError, match="waits for the device"):
            found(layer, x, *there, watch=no_waiting(on_cpu=False))
        monkeypatch.setattr("mpnn.graph.graph.checked_num_edge_types", lambda count, _: count)
        for one, other in zip(found(layer, x, *there, watch=no_waiting(on_cpu=False)), expected, strict=True):
            assert_close(one.cpu(), other)


@pytest.mark.parametrize("options", [{}, {"num_bases": 2}], ids=str)
def test_a_new_graph_is_not_waited_for_without_node_features(options: dict[str, Any]) -> None:
    assert_is_pygs(options, 12, None, batch(6), no_waiting(on_cpu=False))


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_a_new_graph_gives_pygs_results_without_triton(options: dict[str, Any]) -> None:
    x = torch.randn(12, 4, dtype=torch.float64, requires_grad=True)
    with by_plan():
        assert_is_pygs(options, 4, x, batch(6), nullcontext())


@pytest.mark.parametrize("options", LAYERS[:6], ids=str)
def test_with_too_many_pairs_the_graph_is_waited_for(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpnn.layer.typed.WITHOUT_A_LOOK", 12 * TYPES * 4 - 1)
    x = torch.randn(12, 4, dtype=torch.float64, requires_grad=True)
    assert_is_pygs(options, 4, x, batch(6), nullcontext())
    if options.get("aggr") == "mul":  # the product over no edges is 1
        return
    with pytest.raises(AssertionError, match="waits for the device"):
        assert_is_pygs(options, 4, x, batch(6), no_waiting(on_cpu=False))
