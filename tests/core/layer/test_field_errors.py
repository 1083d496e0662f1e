"""Bad input to propagate: fields that are missing, unused, misspelt, misshapen or elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, propagate
from tests.core.graphs import random_graph


@pytest.fixture(autouse=True, params=["eager", "cpu"])
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs on the oracle and on compiled kernels."""
    with mpnn.backend(request.param):
        yield


graph = random_graph(9, 30)
x, w = torch.randn(9, 3), torch.randn(30, 1)


def weighted(x_j: Tensor, weight: Tensor) -> Tensor:
    return x_j * weight


def test_a_missing_field_is_named_beside_those_that_were_given() -> None:
    text = r"message\(\) asks for 'weight'; propagate\(\) was given x \[9, 3\], weigth \[30, 1\]\."
    with pytest.raises(TypeError, match=text):
        propagate(graph, weighted, x=x, weigth=w)
    with pytest.raises(TypeError, match=r"message\(\) asks for 'x_j'; propagate\(\) was given no fields\."):
        propagate(graph, weighted)


def test_an_unused_field_is_named_beside_those_that_are_asked_for() -> None:
    text = r"'weigth', which no function asks for; message\(\), aggregate\(\), update\(\) ask for .*x_j"
    with pytest.raises(TypeError, match=text):
        propagate(graph, lambda x_j: x_j, x=x, weigth=w)


def test_a_misspelt_field_is_found_where_the_right_one_has_a_default() -> None:
    def message(x_j: Tensor, weight: Tensor | None = None) -> Tensor:
        return x_j if weight is None else x_j * weight

    with pytest.raises(TypeError, match="was given 'weigth', which no function asks for"):
        propagate(graph, message, x=x, weigth=w)
    propagate(graph, message, x=x)
    propagate(graph, message, x=x, weight=None)


def test_an_unused_field_that_is_none_is_no_error() -> None:
    propagate(graph, lambda x_j: x_j, x=x, weight=None)


@pytest.mark.parametrize("name", ["index", "ptr", "dim_size", "edge_index_i", "size_j"])
def test_a_field_cannot_take_the_name_of_a_fact(name: str) -> None:
    misnamed: dict[str, Any] = {name: x}
    with pytest.raises(TypeError, match=f"was given '{name}', a name that stands for a fact about the graph"):
        propagate(graph, lambda x_j: x_j, x=x, **misnamed)


@pytest.mark.parametrize("message", [lambda *args: args[0], lambda x_j, **rest: x_j], ids=["args", "kwargs"])
def test_a_message_names_its_fields(message: Callable[..., Any]) -> None:
    with pytest.raises(
        TypeError, match=r"<lambda>\(\) takes \*\*?\w+: name every field that it needs instead"
    ):
        propagate(graph, message, x=x)


def test_a_function_without_a_signature_is_refused() -> None:
    with pytest.raises(TypeError, match="hypot does not say which parameters it has: wrap it in a function"):
        propagate(graph, math.hypot, x=x)


@pytest.mark.parametrize("given", [graph, graph.edge_index], ids=["Graph", "edge_index"])
def test_a_node_field_has_one_row_per_node(given: Any) -> None:
    def message(x_i: Tensor, y_j: Tensor) -> Tensor:
        return x_i * y_j

    text = r"x has 5 rows \(dimension 0 of \[5, 3\]\), but the graph has 9 destination nodes"
    with pytest.raises((ValueError, IndexError), match=text if given is graph else "has 5 destination nodes"):
        propagate(given, message, x=x[:5], y=x)
    with pytest.raises(
        ValueError, match=r"y has 10 rows \(dimension 0 of \[10, 3\]\), but the graph has 9 source nodes"
    ):
        propagate(given, message, x=x, y=torch.randn(10, 3), size=(9, 9))


def test_an_edge_beyond_the_features_is_named() -> None:
    with pytest.raises(
        IndexError, match=r"edge_index\[1, 0\] is 5, but the graph has 4 destination nodes \(0\.\.3\)"
    ):
        propagate(torch.tensor([[0], [5]]), lambda x_j: x_j, x=x[:4])


@pytest.mark.parametrize(("value", "node_dim"), [(torch.tensor(1.0), 0), (torch.ones(9), -2)], ids=str)
def test_a_node_field_has_the_dimension_of_the_nodes(value: Tensor, node_dim: int) -> None:
    with pytest.raises(
        ValueError, match=rf"x has shape .*, but x_j needs one row per source node in dimension {node_dim}"
    ):
        propagate(graph, lambda x_j: x_j, x=value, node_dim=node_dim)


@pytest.mark.parametrize(
    "value", [3.0, "features", [[1.0]], x.numpy()], ids=["float", "str", "list", "numpy"]
)
def test_a_node_field_is_a_tensor(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="x must be a tensor"):
        propagate(graph, lambda x_j: x_j, x=value)


def test_a_pair_has_two_halves() -> None:
    with pytest.raises(
        ValueError, match=r"x must be a tensor or a pair \(sources, destinations\) for x_j, got 3 values"
    ):
        propagate(graph, lambda x_j: x_j, x=(x, x, x))


@pytest.mark.parametrize("size", [9, (9,), (9, 9, 9)], ids=str)
def test_a_size_is_a_pair(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be a pair \(num_src, num_dst\), got"):
        propagate(graph, lambda x_j: x_j, size=size, x=x)


def test_a_size_is_that_of_the_graph() -> None:
    with pytest.raises(ValueError, match=r"size is \(9, 8\), but the graph has size \(9, 9\)"):
        propagate(graph, lambda x_j: x_j, size=(9, 8), x=x)


def test_a_node_field_is_on_the_device_of_the_graph() -> None:
    with pytest.raises(ValueError, match="x is on meta, but the graph is on cpu"):
        propagate(graph, lambda x_j: x_j, x=x.to("meta"))
    with pytest.raises(ValueError, match="x is on cpu, but the graph is on meta"):
        propagate(graph.to("meta"), lambda x_j: x_j, x=x)


# Fields per edge: what does not fit is named, what is shared by all edges is legal ------------------------


class Weighted(MessagePassing):
    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return x_j * weight

    def edge_update(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return x_j * weight


@pytest.mark.parametrize("method", ["propagate", "edge_updater"])
def test_a_field_per_edge_of_another_length_is_named(method: str) -> None:
    text = r"\(\) failed \(.*\); a field per edge needs 30 rows on cpu, but weight has shape \[31, 1\]\."
    with pytest.raises(ValueError, match=text):
        getattr(Weighted(), method)(graph, x=x, weight=torch.randn(31, 1))


@pytest.mark.parametrize("method", ["propagate", "edge_updater"])
def test_a_field_per_edge_on_another_device_is_named(method: str) -> None:
    with pytest.raises(ValueError, match=r"needs 30 rows on cpu, but weight is on meta\."):
        getattr(Weighted(), method)(graph, x=x, weight=w.to("meta"))


def test_a_message_that_broadcast_to_another_length_is_refused() -> None:
    single = Graph(torch.tensor([[0], [1]]), 9)
    with pytest.raises(
        ValueError, match=r"must have 1 entries, one for each index, in dimension 0, got shape \[7, 3\]"
    ):
        propagate(single, weighted, x=x, weight=torch.randn(7, 1))
    with pytest.raises(
        ValueError, match=r"must have 30 entries, one for each index, in dimension 0, got shape \[3\]"
    ):
        propagate(graph, lambda x_j: x_j.sum(0), x=x)


def test_what_all_edges_share_is_legal() -> None:
    matrix, bias, one = torch.randn(3, 5), torch.randn(5), torch.tensor(2.0)
    out = propagate(
        graph,
        lambda x_j, matrix, bias, one: one * (x_j @ matrix + bias),
        x=x,
        matrix=matrix,
        bias=bias,
        one=one,
    )
    assert out.shape == (9, 5)


def test_an_error_in_a_message_that_no_field_explains_stays_as_it_is() -> None:
    def message(x_j: Tensor, weight: Tensor) -> Tensor:
        raise RuntimeError("of my own")

    with pytest.raises(RuntimeError, match=r"^of my own$"):
        propagate(graph, message, x=x, weight=w)


# The layer itself ----------------------------------------------------------------------------------------


def test_an_unknown_flow_is_refused() -> None:
    with pytest.raises(
        ValueError, match="flow is 'backwards', but must be one of source_to_target, target_to_source"
    ):
        MessagePassing(flow="backwards")


def test_a_layer_without_an_aggregator_defines_aggregate() -> None:
    with pytest.raises(
        ValueError, match=r"MessagePassing was built with aggr=None and defines no aggregate\(\)"
    ):
        MessagePassing(aggr=None).propagate(graph, x=x)


def test_a_layer_without_edge_update_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"MessagePassing defines no edge_update\(\)"):
        MessagePassing().edge_updater(graph)


def test_a_pair_for_a_message_needs_softmax() -> None:
    with pytest.raises(TypeError, match="aggregator 'mean' takes one tensor for a message, got tuple"):
        propagate(graph, lambda x_j: (x_j, x_j), "mean", x=x)


def test_pygs_aggregators_work_on_a_graph_in_any_order_and_without_edges() -> None:
    out = propagate(graph, lambda x_j: x_j, "median", x=x)
    expected = [
        x[graph.src[graph.dst == i]].quantile(0.5, dim=0, interpolation="lower") for i in graph.dst.unique()
    ]
    assert torch.equal(out[graph.dst.unique()], torch.stack(expected))
    nothing = propagate(torch.empty(2, 0, dtype=torch.int64), lambda x_j: x_j, "median", x=x)
    assert torch.equal(nothing, torch.zeros_like(x))
