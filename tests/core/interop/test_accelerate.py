"""PyTorch Geometric's layers give the same results accelerated and plain."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any, cast

import pytest
import torch
import torch_geometric.nn as theirs
import torch_geometric.nn.conv as conv
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing as PyGMessagePassing

import mpnn
from mpnn.backends.run.record import recording
from mpnn.step.step import Step
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.layer.test_ported_layers import (
    CASES,
    DTYPE,
    EDGE,
    IN,
    NUM_EDGES,
    NUM_NODES,
    OUT,
    Case,
    edge_index,
    mlp,
    randn,
    typed,
    x,
)  # fmt: skip
from tests.core.running import KERNEL, ways

LEARNT: dict[str, Any] = {"aggr": "softmax", "aggr_kwargs": {"learn": True}}
SCALED = (["sum", "min"], ["attenuation", "linear", "inverse_linear"], torch.ones(5))
KINDS = (["a", "b"], [("a", "to", "b"), ("b", "to", "a")])
BY_KIND = ({"a": x, "b": x + 1}, {("a", "to", "b"): edge_index, ("b", "to", "a"): edge_index})

MORE = [
    Case("HANConv", lambda c: c(IN, OUT, KINDS, heads=2), BY_KIND),
    Case("HGTConv", lambda c: c(IN, OUT, KINDS, heads=2), BY_KIND),
    Case("AntiSymmetricConv", lambda c: c(IN), (x, edge_index)),
    Case("DirGNNConv", lambda c: c(conv.SAGEConv(IN, OUT)), (x, edge_index)),
    Case("FastRGCNConv", lambda c: c(IN, OUT, 3, num_bases=2), typed),
    Case("GPSConv", lambda c: c(4, conv.GINConv(mlp(4, 4)), heads=2, dropout=0.0).eval(), (x, edge_index)),
    Case("GCN2Conv", lambda c: c(IN, 0.1, theta=0.5, layer=2), (x, x, edge_index)),
    Case("SAGEConv", lambda c: c(IN, OUT, **LEARNT), (x, edge_index), "softmax"),
    Case("SAGEConv", lambda c: c(IN, OUT, aggr=["mean", "max", "std"]), (x, edge_index), "several"),
    Case("SAGEConv", lambda c: c(IN, OUT, aggr="lstm"), (x, edge_index.sort(dim=1)[0]), "lstm"),
    Case("PNAConv", lambda c: c(IN, OUT, *SCALED, train_norm=True), (x, edge_index), "every scaler"),
    Case("ResGatedGraphConv", lambda c: c((IN, IN), OUT), ((x, x), edge_index), "pair"),
    Case("EdgeConv", lambda c: c(mlp(2 * IN, OUT), aggr="max"), ((x, x), edge_index), "pair"),
]  # fmt: skip
# What PyTorch Geometric has besides: layers of other packages, of other hardware, or of other inputs.
ELSEWHERE = {
    "CuGraphGATConv", "CuGraphRGCNConv", "CuGraphSAGEConv", "DynamicEdgeConv", "FusedGATConv", "GravNetConv",
    "HeteroConv", "MeshCNNConv", "MessagePassing", "PANConv", "SplineConv", "WLConv", "XConv",
}  # fmt: skip


@pytest.mark.parametrize("case", [*CASES, *MORE], ids=str)
def test_a_layer_accelerated_gives_the_same(case: Case) -> None:
    torch.manual_seed(1)
    plain = case.build(getattr(conv, case.name)).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert_same(ours, plain, case.inputs)


def test_no_convolution_of_pyg_is_forgotten() -> None:
    tested = {case.name for case in (*CASES, *MORE)}
    assert set(conv.__all__) - tested <= ELSEWHERE, set(conv.__all__) - tested - ELSEWHERE


def test_heterogeneous_models_are_accelerated_inside() -> None:
    torch.manual_seed(1)
    attention = theirs.GATConv((IN, IN), OUT, add_self_loops=False)
    layers = {("a", "to", "b"): theirs.SAGEConv((IN, IN), OUT), ("b", "to", "a"): attention}
    plain = theirs.HeteroConv(layers).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    assert [one.reason for one in mpnn.acceleration(ours).layers] == ["", ""]
    assert_same(ours, plain, BY_KIND)


class Users(PyGMessagePassing):
    """A layer that a user wrote."""

    def __init__(self) -> None:
        super().__init__(aggr="max")
        self.lin = nn.Linear(IN, OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.propagate(edge_index, x=self.lin(x))
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return (x_i - x_j).relu()

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return inputs + x


@pytest.fixture
def users() -> Users:
    torch.manual_seed(1)
    return Users().double()


def test_users_layers_run_on_kernels(users: Users) -> None:
    plain = users(x, edge_index)
    mpnn.accelerate(users)
    assert ways(lambda: users(x, edge_index)) == [KERNEL]
    torch.testing.assert_close(users(x, edge_index), plain, rtol=0, atol=1e-10)


def network() -> nn.Module:
    torch.manual_seed(2)
    return theirs.Sequential(
        "x, edge_index",
        [
            (theirs.GCNConv(IN, OUT), "x, edge_index -> x"),
            nn.ReLU(),
            (theirs.SAGEConv(OUT, OUT, aggr="max"), "x, edge_index -> x"),
            (OwnAggregateOf(OUT), "x, edge_index -> x"),
        ],
    ).double()


class OwnAggregateOf(PyGMessagePassing):
    """A layer that cannot be taken."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.propagate(edge_index, x=x)
        return out

    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int | None = None) -> Tensor:
        return mpnn.scatter(inputs, index, dim_size or 0)


def test_what_cannot_be_taken_is_listed() -> None:
    model = mpnn.accelerate(network())
    report = mpnn.acceleration(model)
    assert [(r.layer, r.reason) for r in report.layers] == [
        ("GCNConv", ""),
        ("SAGEConv", ""),
        ("OwnAggregateOf", "it has an aggregate() of its own"),
    ]
    assert "taken" in str(report)
    assert "aggregate() of its own" in str(report)
    assert_same(model, network(), (x, edge_index))


def test_a_module_without_layers_is_left_as_it_is() -> None:
    assert str(mpnn.acceleration(mpnn.accelerate(nn.Linear(2, 2)))) == "no layers"


def test_only_modules_can_be_accelerated() -> None:
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got function"):
        mpnn.accelerate(lambda x: x)  # type: ignore[type-var]


def test_accelerating_twice_equals_accelerating_once() -> None:
    model = mpnn.accelerate(mpnn.accelerate(network()))
    assert_same(model, network(), (x, edge_index))


def test_training_shares_the_weights() -> None:
    model, plain = mpnn.accelerate(network()), network()
    for one in (model, plain):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            one(x, edge_index).square().mean().backward()
            optimizer.step()
    assert_same(model, plain, (x, edge_index))
    fresh = network()
    fresh.load_state_dict(model.state_dict())
    assert_same(model, fresh, (x, edge_index))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: saved(m)]
)
def test_copies_are_models_of_their_own(copied: Any) -> None:
    first: Any = mpnn.accelerate(nn.ModuleList([theirs.SAGEConv(IN, OUT, **LEARNT)]).double())
    first[0](x, edge_index)
    second = copied(first)
    assert_same(second[0], first[0], (x, edge_index))
    with torch.no_grad():
        second[0].lin_l.weight.zero_()
        second[0].aggr_module.t.fill_(3.0)
    plain = theirs.SAGEConv(IN, OUT, **LEARNT).double()
    plain.load_state_dict(second[0].state_dict())
    assert_same(second[0], plain, (x, edge_index))
    assert first[0].lin_l.weight.abs().sum() > 0


def saved(module: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def test_edges_that_change_are_seen() -> None:
    plain, edges = theirs.GCNConv(IN, OUT).double(), edge_index.clone()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for change in (lambda: None, lambda: edges.__setitem__((0, 0), 5), lambda: edges.copy_(edges.flip(1))):
        change()
        assert_same(ours, plain, (x, edges))
        assert_same(ours, plain, (x, edges.clone()))
        assert_same(ours, plain, (x, edges[:, :-3]))


def test_the_same_edges_among_more_nodes_are_another_graph() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for num_nodes in (NUM_NODES, NUM_NODES + 3, NUM_NODES):
        assert_same(ours, plain, (randn(num_nodes, IN), edge_index.clone()))


def test_layers_that_make_the_same_edges_share_one_graph() -> None:
    plain = theirs.Sequential(
        "x, edge_index",
        [
            (theirs.GCNConv(IN, OUT), "x, edge_index -> x"),
            (theirs.SAGEConv(OUT, OUT), "x, edge_index -> x"),
            (theirs.GATConv(OUT, OUT), "x, edge_index -> x"),
        ],
    ).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for one in (ours, copy.deepcopy(ours)):
        for _ in range(2):  # a second batch of the same size
            edges = torch.randint(NUM_NODES, (2, NUM_EDGES))
            assert_same(one, plain, (x, edges))
            with recording() as ran:
                one(x, edges)
                one(x, edges.clone())
            graphs = [cast(Step, r.what).fields.graph for r in ran]
            assert [graph is graphs[0] for graph in graphs] == [True, False, True] * 2
            assert graphs[4] is graphs[1]


def test_edges_of_another_type_are_read_anew() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for _ in range(2):
        assert_same(ours, plain, (x, edge_index.clone()))
        ours(x, edge_index.int())


def test_hooks_on_messages_are_obeyed() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for layer in (plain, ours):
        layer.register_message_forward_hook(lambda _, inputs, out: 2 * out)
    assert_same(ours, plain, (x, edge_index))
    assert ways(lambda: ours(x, edge_index)) == []


def test_an_explainer_gets_the_layers_own_code() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for layer in (plain, ours):
        theirs_mask = torch.linspace(-1, 1, NUM_EDGES, dtype=DTYPE)
        layer.explain, layer._edge_mask = True, nn.Parameter(theirs_mask)
        layer._loop_mask = torch.ones(NUM_EDGES, dtype=torch.bool)
    assert_same(ours, plain, (x, edge_index), gradients=False)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sparse_matrices_get_the_layers_own_code() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    adjacency = torch.sparse_coo_tensor(
        edge_index.flip(0), torch.ones(NUM_EDGES, dtype=DTYPE), (NUM_NODES,) * 2
    )
    torch.testing.assert_close(ours(x, adjacency), plain(x, adjacency), rtol=0, atol=1e-10)


def test_nodes_in_another_dimension_get_the_layers_own_code() -> None:
    plain = theirs.SAGEConv(IN, OUT).double()
    assert_same(mpnn.accelerate(copy.deepcopy(plain)), plain, (randn(2, NUM_NODES, IN), edge_index))


def test_bad_input_is_named_in_the_layers_own_words() -> None:
    ours = mpnn.accelerate(theirs.SAGEConv(IN, OUT).double())
    with pytest.raises(IndexError, match="Found indices in 'edge_index' that are larger than 8"):
        ours(x, torch.tensor([[9], [0]]))


def test_on_large_graphs_layers_equal_pygs() -> None:
    graph = random_graph(500, 4000)
    plain = theirs.GATConv(IN, OUT, heads=2, edge_dim=EDGE).double()
    inputs = (randn(500, IN), graph.edge_index, randn(4000, EDGE))
    assert_same(mpnn.accelerate(copy.deepcopy(plain)), plain, inputs)
