"""`mpnn.testing.check_layer` lets right layers through and refuses broken ones by the law that they break."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, models
from mpnn.testing import LAWS, check_layer, laws
from mpnn.testing.laws import Law

QUICK = laws("torch compile changes nothing")


class Weighted(MessagePassing):
    """h_i' = Σ_j e_ij W h_j, as a layer outside of this repository would be written."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(aggr="sum")
        self.in_channels = in_channels
        self.lin = nn.Linear(in_channels, out_channels)

    def message(self, h_j: Tensor, weight: Tensor) -> Tensor:
        return weight * h_j

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        if edge_weight is None:
            edge_weight = x.new_ones(graph.num_edges)
        out: Tensor = self.propagate(graph, h=self.lin(x), weight=edge_weight.view(-1, 1))
        return out


def test_a_right_layer_passes_every_law() -> None:
    check_layer(Weighted(8, 8))


def test_a_function_that_makes_it_passes_as_well() -> None:
    check_layer(lambda: Weighted(8, 5), laws=QUICK)


@pytest.mark.parametrize("law", laws(), ids=str)
def test_a_layer_is_put_through_one_law(law: Law) -> None:
    check_layer(models.SAGEConv(8, 4), laws=[law], bipartite=True)


def test_a_layer_with_edge_features_and_one_with_types() -> None:
    check_layer(models.GATConv(8, 4, edge_dim=3), laws=QUICK)
    check_layer(models.RGCNConv(8, 4, num_relations=3), laws=QUICK)


def test_a_layer_of_pyg_is_called_its_own_way() -> None:
    from torch_geometric.nn import GCNConv

    def call(layer: nn.Module, x: Tensor, graph: Any, edge_weight: Tensor) -> Tensor:
        out: Tensor = layer(x, graph.edge_index if isinstance(graph, Graph) else graph, edge_weight)
        return out

    check_layer(GCNConv(8, 4), call=call, laws=QUICK)


# Broken ones -------------------------------------------------------------------------------------------


class Positional(Weighted):
    """It knows which node is the first."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph, edge_weight) + torch.arange(len(x)).to(x).view(-1, 1)


class FirstEdge(Weighted):
    """It knows which edge is the first."""

    def message(self, h_j: Tensor, weight: Tensor) -> Tensor:
        place = torch.arange(len(h_j)).to(h_j).view(-1, 1)
        return weight * h_j * (1 + place)


class Unweighted(Weighted):
    """It takes weights and does nothing with them."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph)


class NeedsEdges(Weighted):
    """The largest weight of none."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        if edge_weight is not None:
            edge_weight = edge_weight / edge_weight.max().detach()
        return super().forward(x, graph, edge_weight)


class Dividing(Weighted):
    """The mean over as many edges as there may be none."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        total = super().forward(x, graph, edge_weight)
        return total / graph.in_degree.to(x).view(-1, 1)


class Counting(Weighted):
    """Its calls are part of its output."""

    calls = 0

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        self.calls += 1
        return super().forward(x, graph, edge_weight) * self.calls


class Writing(Weighted):
    """It doubles what it is given, for its caller too."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        out = super().forward(x, graph, edge_weight)
        with torch.no_grad():
            x.detach().mul_(0.5).mul_(0.5)
        return out * 1


class Mixing(Weighted):
    """Graphs of a batch see each other's mean."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        out = super().forward(x, graph, edge_weight)
        return out - out.sum(0) / max(len(out), 1)


class OnlyGraphs(Weighted):
    """It cannot be given an edge_index."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph.reverse().reverse(), edge_weight)


class InDouble(Weighted):
    """It makes float64 of everything."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph, edge_weight).double()


class Rounding(Weighted):
    """It computes in bfloat16, if it is not given float64."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        out = super().forward(x, graph, edge_weight)
        return out if x.dtype is torch.float64 else out.bfloat16().to(x.dtype)


class Detached(Weighted):
    """No gradient reaches its weights."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph, edge_weight).detach() + x[:, :4].sum(1, keepdim=True)


class Unregistered(Weighted):
    """A part of it is not in the state_dict."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.shift = torch.randn(out_channels, dtype=torch.float64)

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        return super().forward(x, graph, edge_weight) + self.shift.to(x.dtype)


class Unpicklable(Weighted):
    """It holds a function without a name."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.act = lambda x: x


class Flat(Weighted):
    """It reads memory as if rows lay one behind the other."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        rows = torch.as_strided(x, x.shape, (x.shape[1], 1), x.storage_offset())
        return super().forward(rows, graph, edge_weight)


class Global(MessagePassing):
    """Its message asks which backend runs."""

    def __init__(self) -> None:
        super().__init__(aggr="sum")
        self.in_channels = 4

    def aggregate(
        self, inputs: Any, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None
    ) -> Tensor:
        from mpnn.backends.choice import BACKENDS, current

        out = super().aggregate(inputs, index, ptr, dim_size)
        return out * 2 if current() is BACKENDS["eager"] else out

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        out: Tensor = self.propagate(graph, x=x)
        return out


class OneRowTooMany(Weighted):
    """It has a row for nodes that do not exist."""

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        out = super().forward(x, graph, edge_weight)
        return torch.cat([out, out[:1] if len(out) else out.new_zeros(1, out.shape[1])])


BROKEN: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: Positional(8, 4), "node order changes nothing: output differs by up to"),
    (lambda: FirstEdge(8, 4), "edge order changes nothing: output differs by up to"),
    (
        lambda: Unweighted(8, 4),
        "what edges carry is read: another edge_weight changes the output by 0:",
    ),
    (
        lambda: NeedsEdges(8, 4),
        r"odd graphs work: on 5 nodes with edges \[\] it raised RuntimeError: ",
    ),
    (lambda: Dividing(8, 4), r"odd graphs work: on 5 nodes with edges \[\] the output is not finite"),
    (lambda: Counting(8, 4), "a call depends on its input alone: output of a second call differs"),
    (
        lambda: OneRowTooMany(8, 4),
        r"odd graphs work: on 5 nodes with edges \[\] the output has shape",
    ),
    (lambda: Mixing(8, 4), "a batch equals one by one: output differs by up to"),
    (
        lambda: OnlyGraphs(8, 4),
        "an edge index equals its graph: it raised AttributeError: ",
    ),
    (lambda: InDouble(8, 4), "single precision is near double: of float32 it makes torch.float64"),
    (lambda: Detached(8, 4), "a gradient reaches every parameter: no gradient reaches lin.weight"),
    (lambda: Unpicklable(8, 4), "a copy is equal and independent: it raised"),
    (Global, "every backend gives the same: output differs by up to"),
]


@pytest.mark.parametrize(("build", "sentence"), BROKEN)
def test_a_broken_layer_is_refused_by_the_law_that_it_breaks(
    build: Callable[[], nn.Module], sentence: str
) -> None:
    with pytest.raises(AssertionError, match=rf"^{type(build()).__name__} breaks the law that {sentence}"):
        check_layer(build(), laws=QUICK)


def test_what_a_call_writes_into_is_told() -> None:
    law = [one for one in LAWS if one.name == "what is given stays as it is"]
    with pytest.raises(AssertionError, match="stays as it is: x after a call differs by up to"):
        check_layer(Writing(8, 4), laws=law)


def test_a_layer_that_reads_memory_as_it_lies_is_told() -> None:
    law = [one for one in LAWS if one.name == "the order of memory changes nothing"]
    with pytest.raises(AssertionError, match="the order of memory changes nothing: output differs by up to"):
        check_layer(Flat(8, 4), laws=law)


def test_a_layer_that_rounds_is_told() -> None:
    law = [one for one in LAWS if one.name == "single precision is near double"]
    with pytest.raises(AssertionError, match="single precision is near double: output differs by up to"):
        check_layer(Rounding(8, 4), laws=law)


def test_what_a_state_dict_leaves_out_is_told_of_a_function() -> None:
    law = [one for one in LAWS if one.name == "a saved one gives the same"]
    with pytest.raises(AssertionError, match="a saved one gives the same: output differs by up to"):
        check_layer(lambda: Unregistered(8, 4), laws=law)


def test_a_layer_of_one_node_set_is_told() -> None:
    law = [one for one in LAWS if one.name == "two node sets work"]
    with pytest.raises(AssertionError, match="GCNConv breaks the law that two node sets work: it raised"):
        check_layer(models.GCNConv(8, 4), laws=law, bipartite=True)


# Arguments ---------------------------------------------------------------------------------------------


def test_a_width_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"^Linear.in_channels is None, which .*: pass in_channels=\.$"):
        check_layer(nn.Linear(2, 2))


def test_what_is_not_known_of_the_edges_is_asked_for() -> None:
    class Distances(Weighted):
        def forward(self, x: Tensor, graph: Graph, distance: Tensor) -> Tensor:
            return super().forward(x, graph, distance)

    with pytest.raises(ValueError, match=r"^Distances.forward takes distance, .* edges={'distance': 3}"):
        check_layer(Distances(8, 4))
    check_layer(Distances(8, 4), edges={"distance": None}, laws=QUICK)


def test_more_than_one_tensor_is_asked_to_be_one() -> None:
    class Two(Weighted):
        def forward(self, x: Tensor, graph: Graph) -> Any:
            return x, graph

    with pytest.raises(AssertionError, match="Two returns a tuple, but the laws are of one tensor"):
        check_layer(Two(8, 4))


def test_a_law_that_does_not_exist_is_told() -> None:
    with pytest.raises(ValueError, match="there is no law 'gravity': the laws are 'a call depends"):
        laws("gravity")


def test_every_law_says_what_it_is() -> None:
    assert len({law.name for law in LAWS}) == len(LAWS)
    for law in LAWS:
        assert law.about.endswith("."), law.name


def test_a_layer_is_left_as_it_was() -> None:
    layer = Weighted(8, 4)
    before = [p.detach().clone() for p in layer.parameters()]
    check_layer(layer, laws=QUICK)
    assert layer.training
    for now, then in itertools.zip_longest(layer.parameters(), before):
        assert now.dtype is torch.float32 and torch.equal(now, then) and now.grad is None
