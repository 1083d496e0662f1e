"""PyTorch Geometric's networks and tools with layers of this package in the place of its own."""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn.models import basic_gnn

from mpnn import models
from tests.compare import assert_close, assert_same

N = 9
X = torch.randn(N, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
EDGE_INDEX = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 5], [1, 2, 0, 4, 5, 3, 7, 8, 6, 5, 4]])
WEIGHT = torch.rand(EDGE_INDEX.size(1), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
BATCH = torch.arange(N) // 3
CONVS = ("EdgeConv", "GATConv", "GATv2Conv", "GCNConv", "GINConv", "PNAConv", "SAGEConv")
PNA = {"aggregators": ["mean", "std"], "scalers": ["identity"], "deg": torch.tensor([0, 7, 2])}
NETWORKS: dict[str, dict[str, Any]] = {
    "GCN": {"norm": "GraphNorm", "dropout": 0.5},
    "GraphSAGE": {"jk": "cat", "act": "elu"},
    "GIN": {"norm": "BatchNorm", "jk": "lstm"},
    "GAT": {"heads": 2, "jk": "max"},
    "GAT, v2": {"heads": 2, "v2": True},
    "PNA": PNA,
    "EdgeCNN": {"norm": "BatchNorm"},
}


def with_our_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyG's networks build these layers of ours."""
    for name in CONVS:
        monkeypatch.setattr(basic_gnn, name, getattr(models, name))


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    kind = getattr(pyg, name.partition(",")[0])
    network: nn.Module = kind(6, 8, num_layers=3, out_channels=4, **NETWORKS[name]).double()
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_pygs_gives_the_same_with_our_layers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = built(name).eval()
    with_our_layers(monkeypatch)
    ours = built(name).eval()
    assert all(type(conv).__module__.startswith("mpnn.") for conv in ours.convs)  # type: ignore[union-attr]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, weight in ours.state_dict().items():  # of the same seed
        assert_close(weight, theirs.state_dict()[key], atol=0.0)
    assert_same(ours, theirs, [X, EDGE_INDEX, WEIGHT if name == "GCN" else None])
    with torch.no_grad():
        given = {"x": X, "edge_index": EDGE_INDEX, "batch": BATCH}
        assert_close(ours(**given), theirs(**given), atol=1e-10)


def test_an_optimiser_of_pygs_network_goes_on_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(X, EDGE_INDEX).square().sum().backward()
        optimizer.step()

    theirs = built("GAT")
    adam = torch.optim.Adam(theirs.parameters(), 0.1)
    step(theirs, adam)
    with_our_layers(monkeypatch)
    ours = built("GAT")
    ours.load_state_dict(theirs.state_dict())
    own = torch.optim.Adam(ours.parameters(), 0.1)
    own.load_state_dict(copy.deepcopy(adam.state_dict()))
    for model, optimizer in ((theirs, adam), (ours, own)):
        step(model, optimizer)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine, other, atol=1e-10)


def sequential(library: Any) -> nn.Module:
    torch.manual_seed(0)
    layers = [
        (library.GCNConv(6, 8), "x, edge_index, edge_weight -> x1"),
        nn.ReLU(inplace=True),
        (library.LayerNorm(8), "x1, batch -> x1"),
        (library.SAGEConv(8, 8), "x1, edge_index -> x2"),
        (lambda a, b: [a, b], "x1, x2 -> xs"),
        (library.JumpingKnowledge("cat"), "xs -> x"),
        (library.GraphNorm(16), "x, batch -> x"),
        (library.global_mean_pool, "x, batch -> x"),
        nn.Linear(16, 2),
    ]
    network: nn.Module = pyg.Sequential("x, edge_index, edge_weight, batch", layers).double()
    return network


def test_pygs_sequential_takes_our_layers_norms_and_pools() -> None:
    ours, theirs = sequential(models), sequential(pyg)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same(ours, theirs, [X, EDGE_INDEX, WEIGHT, BATCH])


def test_pygs_summary_has_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = SimpleNamespace(tabulate=lambda rows, **_: repr(rows))  # the library draws the table only
    monkeypatch.setitem(sys.modules, "tabulate", rows)
    theirs = pyg.summary(built("GCN"), X, EDGE_INDEX)
    assert "GCNConv" in theirs
    with_our_layers(monkeypatch)
    assert pyg.summary(built("GCN"), X, EDGE_INDEX) == theirs


def replica(module: nn.Module) -> nn.Module:
    """A copy for another device, as `torch.nn.parallel.replicate` makes it, but in the same memory.

    Its parameters are tensors that were computed from the module's, and no parameters of its own.
    """
    copies = {one: one._replicate_for_data_parallel() for one in module.modules()}
    for one, twin in copies.items():
        for name, child in one._modules.items():
            twin._modules[name] = None if child is None else copies[child]
        for name, parameter in one._parameters.items():
            if parameter is None:
                twin._parameters[name] = None
            else:
                setattr(twin, name, parameter * 1)
    return copies[module]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_replica_of_data_parallel_gives_the_same_and_sends_gradients(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Parallel(pyg.DataParallel):
        """PyG's on two devices, both of them the CPU."""

        def __init__(self, module: nn.Module) -> None:
            nn.Module.__init__(self)
            self.module, self.device_ids, self.output_device = module, [0, 1], 0
            self.src_device = torch.device("cpu")

        def scatter(self, data_list: list[Data], device_ids: list[int]) -> list[Any]:
            return [Batch.from_data_list(part) for part in (data_list[:1], data_list[1:])]

        def replicate(self, module: nn.Module, device_ids: list[int]) -> list[nn.Module]:
            return [replica(module) for _ in device_ids]

        def parallel_apply(self, replicas: list[nn.Module], inputs: list[Any], kwargs: None) -> list[Tensor]:
            return [one(batch) for one, batch in zip(replicas, inputs, strict=True)]

        def gather(self, outputs: list[Tensor], device: int) -> Tensor:
            return torch.cat(outputs)

    class OfData(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, data: Any) -> Any:
            return self.network(data.x, data.edge_index, batch=data.batch)

    with_our_layers(monkeypatch)
    network = built(name).eval()
    data = [Data(x=X + k, edge_index=EDGE_INDEX) for k in range(3)]
    plain = OfData(network)(Batch.from_data_list(data))
    gradients = torch.autograd.grad(plain.square().sum(), tuple(network.parameters()))
    parallel = Parallel(OfData(network))(data)
    assert_close(parallel, plain, atol=1e-10)
    for mine, other in zip(
        torch.autograd.grad(parallel.square().sum(), tuple(network.parameters())), gradients, strict=True
    ):
        assert_close(mine, other, atol=1e-10)


def test_every_layer_of_pygs_networks_is_put_in() -> None:
    used = {name for name in vars(basic_gnn) if name.endswith("Conv") and hasattr(pyg, name)}
    assert used == {*CONVS}
