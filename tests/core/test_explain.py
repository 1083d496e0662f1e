"""`mpnn.explain` reports how a layer is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, MessagePassing
from mpnn.models import GATv2Conv, GCNConv
from tests.core.graphs import random_graph

graph, x = random_graph(), torch.randn(9, 4)


class Difference(MessagePassing):
    """relu(W x_i - W x_j), the largest."""

    def __init__(self) -> None:
        super().__init__("max")
        self.lin = nn.Linear(4, 3)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        out: Tensor = self.propagate(graph, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return (self.lin(x_i) - self.lin(x_j)).relu()


def test_the_program_and_what_is_hoisted_are_shown() -> None:
    text = str(mpnn.explain(Difference(), x, graph))
    assert "Difference.message(), Max() on Graph(num_nodes=9, num_edges=30)" in text
    assert "runs     as a kernel in C" in text
    assert "once per source node" in text
    assert "once per destination node" in text
    assert "per edge max of relu(" in text
    assert "backward" in text


def test_the_estimates_are_those_of_a_count_by_hand() -> None:
    (step,) = mpnn.explain(
        lambda: mpnn.propagate(graph, lambda x_j, w: w * x_j, x=x, w=torch.ones(30, 1))
    ).steps
    index, weights, row = 30 * 2 * 4, 30 * 4, 4 * 4
    assert step.bytes_without_reuse == index + weights + 30 * row
    assert step.bytes_at_least == index + weights + 9 * row
    assert step.bytes_written == 9 * row
    assert step.operations == 30 * (4 + 4)


def test_every_step_of_a_model_is_shown() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = GCNConv(4, 4), GATv2Conv(4, 4)

        def forward(self, x: Tensor, graph: Graph) -> Tensor:
            out: Tensor = self.second(self.first(x, graph), graph)
            return out

    found = mpnn.explain(Two(), x, graph)
    assert [step.way for step in found.steps] == ["kernel", "kernel"]
    assert "step 1: GCNConv" in repr(found)
    assert "step 2: GATv2Conv" in repr(found)
    assert "softmax of" in repr(found)


def test_the_source_is_the_c_that_runs() -> None:
    found = mpnn.explain(Difference(), x, graph)
    assert found.source.count("void kernel(") == 3  # forward; backward over the edges in and out
    with torch.no_grad():
        assert mpnn.explain(Difference(), x, graph).source.count("void kernel(") == 1


def test_a_message_that_has_no_kernel_is_shown_with_the_reason() -> None:
    (step,) = mpnn.explain(lambda: mpnn.propagate(graph, lambda x_j: x_j.cumsum(0), x=x)).steps
    assert step.way == "eager"
    assert "cumsum mixes" in str(step)
    with mpnn.backend("eager"):
        (step,) = mpnn.explain(GCNConv(4, 4), x, graph).steps
    assert "it was asked for" in str(step)
    assert mpnn.explain(nn.Linear(4, 4), x).steps == []
    assert "No message passing" in str(mpnn.explain(nn.Linear(4, 4), x))


def test_a_regular_topology_names_its_rule() -> None:
    chain = mpnn.topology.complete(5)
    (step,) = mpnn.explain(lambda: mpnn.propagate(chain, lambda x_j: x_j, x=torch.randn(5, 4))).steps
    assert step.way in ("dense", "kernel")
    assert "step" not in str(step)


def test_explaining_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    mpnn.explain(lambda: mpnn.propagate(graph, lambda x_j: torch.dropout(x_j, 0.5, True), x=x))
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_not_explained_is_not_recorded(inside: bool) -> None:
    layer = Difference()
    found = mpnn.explain(layer, x, graph)
    layer(x, graph)
    assert len(found.steps) == 1


def test_a_layer_that_calls_its_kernel_itself_is_shown_with_its_rule() -> None:
    convolution = mpnn.models.Conv2d(2, 4, 3)
    (step,) = mpnn.explain(convolution, torch.randn(1, 2, 9, 9)).steps
    assert (step.way, step.reason.partition(":")[0]) == ("dense", "convolution")
    assert step.operations == 2 * 49 * 9 * 2 * 4
    assert step.bytes_written == 49 * 4 * 4
    assert step.bytes_at_least == 4 * (81 * 2 + 9 * 2 * 4 + 4)
    (step,) = mpnn.explain(mpnn.models.LSTM(3, 4), torch.randn(5, 2, 3)).steps
    assert step.reason.startswith("recurrence: ")


def test_attention_counts_what_it_multiplies() -> None:
    def dot(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * x_j).sum(-1), x_j

    rows = torch.randn(6, 1, 4)
    (step,) = mpnn.explain(lambda: mpnn.propagate(mpnn.topology.complete(6), dot, "softmax", x=rows)).steps
    assert step.reason.startswith("attention: ")
    products = 2 * 6 * 6 * (4 + 4)
    assert products <= step.operations < 1.2 * products  # and some numbers for each node


def test_why_no_rule_matched_is_shown() -> None:
    (step,) = mpnn.explain(
        lambda: mpnn.propagate(
            mpnn.topology.complete(5), lambda x_i, x_j: (x_i - x_j).abs(), x=torch.randn(5, 4)
        )
    ).steps
    assert "because  no dense kernel: " in str(step)
    assert "linear map: the message uses abs" in str(step)
