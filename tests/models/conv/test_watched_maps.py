"""A linear map inside a layer that is more than its weights is called, as PyTorch Geometric calls it.

Both layers hold the same weights, and get the same change at every linear map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
import torch_geometric.nn.dense.linear as pyg_linear
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from mpnn.models.parts.linear import Projection
from mpnn.native import products
from mpnn.step.plain import weights_of
from tests.compare import assert_same
from tests.models.conv.test_equals_pyg import Case, both, inputs
from tests.models.graphs import GRAPHS

LAYERS = [
    Case("SAGEConv(6, 5)"),
    Case("SAGEConv(6, 8, project=True)"),
    Case("SAGEConv(6, 4, aggr='sum')"),
    Case("GraphConv(6, 4)", "edge_weight"),
    Case("GraphConv(6, 8)"),
    Case("GCNConv(6, 4)"),
    Case("GATConv(6, 4, heads=2, edge_dim=3, residual=True)", "edge_attr"),
    Case("GATConv((6, 6), 4)"),
    Case("GATv2Conv(6, 4, heads=2, edge_dim=3)", "edge_attr"),
    Case("TransformerConv(6, 4, heads=2, edge_dim=3, beta=True)", "edge_attr"),
    Case("GINConv(mlp(6, 4))"),
    Case("GINEConv(mlp(6, 4), edge_dim=3)", "edge_attr"),
    Case("EdgeConv(mlp(12, 4))"),
    Case("NNConv(6, 4, mlp(3, 24))", "edge_attr"),
    Case("PNAConv(6, 4, ['mean', 'max'], ['identity', 'linear'], deg, edge_dim=3, towers=2)", "edge_attr"),
    Case("PNAConv(6, 4, ['mean', 'std'], ['identity', 'attenuation'], deg, post_layers=2)"),
    Case("SGConv(6, 4)"),
    Case("ChebConv(6, 4, 2)"),
]  # PyTorch Geometric's TAGConv calls the `forward` of its maps itself, past their hooks.
KINDS = (Projection, nn.Linear, pyg_linear.Linear)


class LowRank(nn.Module):
    """W x + b + B A x, under the names of a linear map (Hu et al., 2021)."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        out, width = base.weight.shape
        self.a = nn.Parameter(torch.linspace(-1, 1, width, dtype=torch.float64)[None])
        self.b = nn.Parameter(torch.linspace(1, 2, out, dtype=torch.float64)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias) + x @ self.a.t() @ self.b.t()


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class Doubled(pyg_linear.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * nn.functional.linear(x, self.weight, self.bias)


def subclassed(lin: Any) -> nn.Module:
    other = Doubled(lin.weight.size(1), lin.weight.size(0), lin.bias is not None)
    other.weight, other.bias = lin.weight, lin.bias
    return other


def prune_half(lin: nn.Module) -> None:
    prune.l1_unstructured(lin, "weight", 0.5)


def forward_replaced(lin: nn.Module) -> nn.Module:
    plain = lin.forward
    lin.forward = lambda x: plain(x) + 1
    return lin


def changed(act: Callable[[nn.Module], object]) -> Callable[[nn.Module], nn.Module]:
    def change(lin: nn.Module) -> nn.Module:
        act(lin)
        return lin

    return change


def doubling(module: nn.Module, to_input: Any, to_output: Any) -> tuple[Tensor | None, ...]:
    return tuple([None if g is None else 2 * g for g in to_input])


CHANGES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "a forward hook": changed(lambda m: m.register_forward_hook(lambda m, given, out: 2 * out + 1)),
    "a hook before": changed(lambda m: m.register_forward_pre_hook(lambda m, given: (given[0] + 1,))),
    "a backward hook": changed(lambda m: m.register_full_backward_hook(doubling)),
    "pruned": changed(lambda m: prune_half(m)),
    "weight norm": changed(parametrizations.weight_norm),
    "weight norm of old": changed(weight_norm),
    "spectral norm": changed(parametrizations.spectral_norm),
    "parametrized": changed(lambda m: parametrize.register_parametrization(m, "weight", Halved())),
    "an adapter": LowRank,
    "a subclass": subclassed,
    "a replaced forward": forward_replaced,
}
OF_ALL = "a hook of all modules"


def apply(model: nn.Module, change: Callable[[nn.Module], nn.Module]) -> None:
    for name, module in list(model.named_modules()):
        if type(module) in KINDS and "aggr_module" not in name:
            parent, _, last = name.rpartition(".")
            torch.manual_seed(len(name))  # the layers may hold their maps in another order
            setattr(model.get_submodule(parent), last, change(module))


@pytest.fixture
def hook_of_all() -> Iterator[None]:
    handle = register_module_forward_hook(lambda m, given, out: 2 * out if type(m) in KINDS else None)
    yield
    handle.remove()


def trained_alike(ours: nn.Module, theirs: nn.Module, given: dict[str, Any]) -> None:
    assert_same(ours, theirs, given)
    assert_same(ours, theirs, given)  # a plan is known now
    for _ in range(2):
        for model in (ours, theirs):
            torch.manual_seed(1)
            for parameter in model.parameters():
                parameter.grad = None
            model(*given.values()).square().mean().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(1e-4 * parameter.grad)  # nothing diverges
    assert_same(ours, theirs, given)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", LAYERS, ids=str)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing when gradients are computed:UserWarning")
def test_a_changed_map_is_called(case: Case, change: str) -> None:
    ours, theirs = both(case)
    given = inputs(case, GRAPHS["plain"])
    assert_same(ours, theirs, given)
    for model in (ours, theirs):
        apply(model, CHANGES[change])
        model.train()
    trained_alike(ours, theirs, given)


@pytest.mark.parametrize("case", LAYERS, ids=str)
@pytest.mark.usefixtures("hook_of_all")
def test_a_hook_of_all_modules_is_called(case: Case) -> None:
    ours, theirs = both(case)
    trained_alike(ours, theirs, inputs(case, GRAPHS["plain"]))


@pytest.mark.parametrize("change", ["a forward hook", "a hook before", "an adapter"])
@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_also_where_products_are_large(case: Case, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALL", 0)
    ours, theirs = both(case)
    for model in (ours, theirs):
        apply(model, CHANGES[change])
    assert_same(ours, theirs, inputs(case, GRAPHS["plain"]))


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_every_map_of_a_layer_is_called_where_a_hook_waits(case: Case) -> None:
    seen: list[str] = []
    ours, theirs = both(case)
    names: list[list[str]] = []
    for model in (ours, theirs):
        seen.clear()
        for name, module in model.named_modules():
            if type(module) in KINDS:
                module.register_forward_hook(lambda m, given, out, name=name: seen.append(name))
        for _ in range(2):
            model(*inputs(case, GRAPHS["plain"]).values())
        names.append(sorted(seen))
    assert set(names[0]) == set(names[1])


# What may be read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Projection, nn.Linear])
def test_a_plain_map_may_be_read(make: type[nn.Module]) -> None:
    module = make(3, 2)
    known = weights_of(module)
    assert known is not None
    assert known.weight is module.weight
    assert known.bias is module.bias


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_a_changed_map_may_not_be_read(change: str) -> None:
    assert weights_of(CHANGES[change](Projection(3, 2))) is None


@pytest.mark.usefixtures("hook_of_all")
def test_no_map_may_be_read_while_a_hook_is_on_all_modules() -> None:
    assert weights_of(Projection(3, 2)) is None


def test_a_map_without_a_shape_or_of_a_changed_class_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_of(Projection(-1, 2)) is None
    monkeypatch.setattr(Projection, "forward", lambda self, x: x)
    assert weights_of(Projection(3, 2)) is None


def test_a_map_whose_weight_is_of_a_subclass_may_not_be_read() -> None:
    class Quantized(Tensor):
        pass

    module = Projection(3, 2)
    module.weight = nn.Parameter(cast(Tensor, torch.ones(2, 3).as_subclass(Quantized)))
    assert weights_of(module) is None


def test_a_map_that_is_ordinary_again_may_be_read() -> None:
    module = nn.Linear(3, 2)
    prune_half(module)
    assert weights_of(module) is None
    prune.remove(module, "weight")
    assert weights_of(module) is not None
