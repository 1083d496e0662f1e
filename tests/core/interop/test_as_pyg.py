"""PyTorch Geometric's tools take layers of this package for its own."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.explain import (
    AttentionExplainer,
    Explainer,
    Explanation,
    GNNExplainer,
    GraphMaskExplainer,
    PGExplainer,
)
from torch_geometric.nn import HeteroConv, to_hetero, to_hetero_with_bases

import mpnn
from mpnn import models
from tests.compare import assert_close, assert_same
from tests.core.graphs import random_graph
from tests.models.graphs import features

Conv = Callable[[Any, Any, int], nn.Module]  # of a library and two widths

# More authors than papers: an edge may come from a node that has no number among its destinations.
SIZES = {"paper": 9, "author": 31}
KINDS = [("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "written_by", "author")]
X = {kind: features(size, 6, seed=k) for k, (kind, size) in enumerate(SIZES.items())}
EDGES = {
    kind: random_graph((SIZES[kind[0]], SIZES[kind[2]]), 40, seed=k).edge_index
    for k, kind in enumerate(KINDS)
}


def mlp(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(in_channels, 5), nn.ReLU(), nn.Linear(5, out_channels))


class Net(nn.Module):
    """Two layers with neurons between them, in either library."""

    def __init__(self, library: Any, conv: Conv) -> None:
        super().__init__()
        self.first, self.last = conv(library, 6, 8), conv(library, 8, 4)
        self.lin = (models.Linear if library is models else nn.Linear)(8, 8)

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.last(self.lin(self.first(x, edge_index).relu()), edge_index)


def with_same_weights(ours: nn.Module, theirs: nn.Module, *given: Any) -> tuple[nn.Module, nn.Module]:
    for model in (ours, theirs):
        model.double()
        with torch.no_grad():
            model(*given)  # lazy layers see their widths
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# Graphs of several kinds of nodes -----------------------------------------------------------------------

HETERO: dict[str, Conv] = {
    "SAGEConv": lambda lib, i, o: lib.SAGEConv((i, i), o),
    "SAGEConv, lazy": lambda lib, i, o: lib.SAGEConv((-1, -1), o),
    "GraphConv": lambda lib, i, o: lib.GraphConv((i, i), o, aggr="max"),
    "GATConv": lambda lib, i, o: lib.GATConv((i, i), o, heads=2, concat=False, add_self_loops=False),
    "GATv2Conv": lambda lib, i, o: lib.GATv2Conv((i, i), o, add_self_loops=False),
    "TransformerConv": lambda lib, i, o: lib.TransformerConv((i, i), o),
    "GINConv": lambda lib, i, o: lib.GINConv(mlp(i, o)),
    "EdgeConv": lambda lib, i, o: lib.EdgeConv(mlp(2 * i, o)),
}


@pytest.mark.parametrize("aggr", ["sum", "mean"])
@pytest.mark.parametrize("conv", HETERO.values(), ids=HETERO)
def test_to_hetero_gives_what_it_gives_of_pygs_layers(conv: Conv, aggr: str) -> None:
    each = (to_hetero(Net(library, conv), (list(SIZES), KINDS), aggr=aggr) for library in (models, pyg))
    assert_same(*with_same_weights(*each, X, EDGES), (X, EDGES))


BASES: dict[str, Conv] = {
    "SAGEConv": lambda lib, i, o: lib.SAGEConv(i, o),
    "GraphConv": lambda lib, i, o: lib.GraphConv(i, o),
    "GCNConv": lambda lib, i, o: lib.GCNConv(i, o, add_self_loops=False),
}


@pytest.mark.parametrize("conv", BASES.values(), ids=BASES)
def test_to_hetero_with_bases_gives_what_it_gives_of_pygs_layers(conv: Conv) -> None:
    each = (
        to_hetero_with_bases(Net(library, conv), (list(SIZES), KINDS), num_bases=3, in_channels={"x": 6})
        for library in (models, pyg)
    )
    assert_same(*with_same_weights(*each, X, EDGES), (X, EDGES))


@pytest.mark.parametrize("conv", HETERO.values(), ids=HETERO)
def test_a_hetero_conv_gives_what_it_gives_of_pygs_layers(conv: Conv) -> None:
    each = (HeteroConv({kind: conv(library, 6, 4) for kind in KINDS}) for library in (models, pyg))
    assert_same(*with_same_weights(*each, X, EDGES), (X, EDGES))


def test_a_hetero_conv_of_several_kinds_of_layers_gives_what_it_gives_of_pygs() -> None:
    def build(lib: Any) -> nn.Module:
        convs = (
            lib.GCNConv(-1, 4),
            lib.SAGEConv((-1, -1), 4),
            lib.GATConv((-1, -1), 4, add_self_loops=False),
        )
        return HeteroConv(dict(zip(KINDS, convs, strict=True)), aggr="mean")

    assert_same(*with_same_weights(build(models), build(pyg), X, EDGES), (X, EDGES))


def test_loops_between_two_kinds_of_nodes_are_refused_as_pyg_refuses_them() -> None:
    with pytest.raises(ValueError, match="add_self_loops"):
        HeteroConv({KINDS[1]: models.GATConv((6, 6), 4)})


# Explainers ---------------------------------------------------------------------------------------------

EDGE_INDEX = random_graph(12, 40, seed=1).edge_index
EXPLAINED: dict[str, Conv] = {
    "GCNConv": lambda lib, i, o: lib.GCNConv(i, o),
    "GATConv": lambda lib, i, o: lib.GATConv(i, o, heads=2, concat=False),
    "GINConv": lambda lib, i, o: lib.GINConv(mlp(i, o)),
}
CLASSES = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}


@pytest.fixture
def _double() -> Iterator[None]:
    """Explainers draw their masks in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def explained(model: nn.Module, algorithm: Any, **options: Any) -> Explanation:
    torch.manual_seed(0)
    explainer = Explainer(model, algorithm, model_config=CLASSES, edge_mask_type="object", **options)
    found = explainer(features(12), EDGE_INDEX, index=3)
    assert isinstance(found, Explanation)
    return found


def both(conv: Conv) -> tuple[Any, Any]:
    given = (features(12), EDGE_INDEX)
    ours, theirs = with_same_weights(Net(models, conv), Net(pyg, conv), *given)
    return ours.eval(), theirs.eval()


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("conv", EXPLAINED.values(), ids=EXPLAINED)
def test_gnn_explainer_finds_the_masks_that_it_finds_of_pygs_layers(conv: Conv) -> None:
    ours, theirs = (
        explained(model, GNNExplainer(epochs=8), explanation_type="model", node_mask_type="attributes")
        for model in both(conv)
    )
    assert_close(ours.edge_mask, theirs.edge_mask)
    assert_close(ours.node_mask, theirs.node_mask)
    assert ours.edge_mask.count_nonzero() > 5


@pytest.mark.usefixtures("_double")
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar")  # theirs does
def test_pg_explainer_finds_the_mask_that_it_finds_of_pygs_layers() -> None:
    found = []
    for model in both(EXPLAINED["GCNConv"]):
        torch.manual_seed(0)
        algorithm = PGExplainer(epochs=3)
        options: dict[str, Any] = {"explanation_type": "phenomenon", "edge_mask_type": "object"}
        explainer = Explainer(model, algorithm, model_config=CLASSES, **options)
        target = torch.arange(12) % 4
        for epoch in range(3):
            algorithm.train(epoch, model, features(12), EDGE_INDEX, target=target, index=3)
        found.append(explainer(features(12), EDGE_INDEX, target=target, index=3).edge_mask)
    assert_close(*found)


@pytest.mark.usefixtures("_double")
def test_attention_explainer_finds_the_mask_that_it_finds_of_pygs_layers() -> None:
    ours, theirs = (
        explained(model, AttentionExplainer(), explanation_type="model")
        for model in both(EXPLAINED["GATConv"])
    )
    assert_close(ours.edge_mask, theirs.edge_mask)


def test_after_an_explainer_a_model_is_as_before() -> None:
    model, _ = both(EXPLAINED["GCNConv"])
    before = model(features(12), EDGE_INDEX)
    explained(model, GNNExplainer(epochs=2), explanation_type="model")
    assert_close(model(features(12), EDGE_INDEX), before, atol=0)
    assert "first._edge_mask" not in model.state_dict()


def test_an_explainer_that_replaces_messages_is_refused() -> None:
    model, _ = both(EXPLAINED["GCNConv"])
    with pytest.raises(
        TypeError, match=r"GCNConv was given an explain_message\(\), as by GraphMaskExplainer"
    ):
        explained(model, GraphMaskExplainer(2, epochs=1, log=False), explanation_type="model")


# Hooks --------------------------------------------------------------------------------------------------


def test_a_hook_on_messages_may_change_them() -> None:
    ours, theirs = both(EXPLAINED["GCNConv"])
    seen: list[dict[str, Any]] = []
    handles = []
    for model in (ours, theirs):
        handles.append(model.first.register_message_forward_hook(lambda _, given, out: 2 * out))
        handles.append(model.first.register_message_forward_hook(lambda _, given, out: seen.append(given[0])))
    assert_same(ours, theirs, (features(12), EDGE_INDEX))
    assert_close(seen[0]["x_j"], seen[1]["x_j"])
    for handle in handles:
        handle.remove()
    assert_same(ours, theirs, (features(12), EDGE_INDEX))


def test_other_hooks_of_pyg_are_refused() -> None:
    with pytest.raises(TypeError, match=r"register_aggregate_forward_hook\(\) is not for GCNConv"):
        cast(Any, models.GCNConv(3, 2)).register_aggregate_forward_hook(print)


# Classes ------------------------------------------------------------------------------------------------


class Ported(mpnn.MessagePassing, nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.propagate(edge_index, x=x)


def test_a_users_layer_is_one_of_pygs() -> None:
    assert isinstance(Ported(), pyg.MessagePassing)
    assert repr(Ported()) == "Ported(\n  (aggr_module): Sum()\n)"
    assert copy.deepcopy(Ported()).explain is None


def test_neurons_windows_and_readouts_are_none_of_pygs() -> None:
    own = (models.Linear, models.Conv2d, models.MaxPool2d, models.MultiheadAttention, models.GlobalPool)
    for kind in own:
        assert issubclass(kind, mpnn.MessagePassing) and not issubclass(kind, pyg.MessagePassing), kind


ORDERS = {
    "this package first": "import mpnn.models, sys; assert 'torch_geometric' not in sys.modules;"
    "layer = mpnn.models.GCNConv(3, 2); import torch_geometric.nn as pyg",
    "PyTorch Geometric first": "import torch_geometric.nn as pyg; import mpnn.models;"
    "layer = mpnn.models.GCNConv(3, 2)",
}


@pytest.mark.parametrize("program", ORDERS.values(), ids=ORDERS)
def test_either_package_may_be_imported_first(program: str) -> None:
    check = "assert isinstance(layer, pyg.MessagePassing)"
    subprocess.run([sys.executable, "-c", f"{program}; {check}"], check=True)


# Replicas -----------------------------------------------------------------------------------------------


def replicated(module: Any, scale: float) -> Any:
    """What `torch.nn.parallel.replicate`, and so `DataParallel`, makes for one device; with other weights."""
    replica = module._replicate_for_data_parallel()
    for name, parameter in module._parameters.items():
        replica._parameters.pop(name, None)
        setattr(replica, name, None if parameter is None else parameter * scale)
    for name, child in module._modules.items():
        replica._modules[name] = None if child is None else replicated(child, scale)
    return replica


@pytest.mark.parametrize("conv", [*EXPLAINED.values(), *HETERO.values()], ids=[*EXPLAINED, *HETERO])
def test_replicas_of_data_parallel_use_their_own_weights_in_their_own_threads(conv: Conv) -> None:
    found = []
    for model in both(conv):
        with ThreadPoolExecutor(2) as threads:
            replicas = [replicated(model, scale) for scale in (1.0, 0.5)]
            outs = list(threads.map(lambda one: one(features(12), EDGE_INDEX), replicas))
        total = (outs[0] + 3 * outs[1]).square().sum()
        names, parameters = zip(*model.named_parameters(), strict=True)
        found.append(dict(zip(names, torch.autograd.grad(total, parameters), strict=True)) | {"out": outs[1]})
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_close(ours[name], theirs[name], name=name)
