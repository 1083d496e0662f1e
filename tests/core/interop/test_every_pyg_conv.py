"""Every public convolution of PyTorch Geometric, in every state of a layer: accelerated equals plain.

Eager, lazily built, copied, replicated, pickled, packaged and compiled. Compiling takes seconds a layer: a
sample of them is compiled, with `fullgraph=True`, where PyTorch Geometric's own layer can be.
"""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import typing
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch_geometric.nn.conv as conv
from torch import Tensor, nn
from torch.package.package_exporter import PackageExporter
from torch.package.package_importer import PackageImporter

import mpnn
from mpnn.interop.accelerated import Accelerated
from tests.compare import assert_same
from tests.core.interop.test_accelerate import ELSEWHERE, MORE
from tests.core.layer.test_ported_layers import (
    CASES,
    EDGE,
    IN,
    NUM_EDGES,
    NUM_NODES,
    OUT,
    Case,
    attributed,
    edge_index,
    node_type,
    randn,
    typed,
    weighted,
    x,
)  # fmt: skip

# Some layers mark overloads for TorchScript, which looks for their source in a file.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to retrieve source for @torch.jit._overload function")

LAYERS = [*CASES, *MORE]
SAMPLE = ["GATConv-bipartite", "SAGEConv", "GINConv", "TransformerConv", "GMMConv", "GraphConv", "CGConv"]


def pair(case: Case) -> tuple[nn.Module, nn.Module]:
    """A layer, and a copy of it accelerated."""
    torch.manual_seed(1)
    plain = case.build(getattr(conv, case.name)).double()
    return plain, mpnn.accelerate(copy.deepcopy(plain))


def taken(module: nn.Module) -> list[str]:
    """Which layers of a module are accelerated, by name."""
    return [one.name for one in mpnn.acceleration(module).layers if not one.reason]


def test_every_public_convolution_is_among_the_layers() -> None:
    assert set(conv.__all__) - {case.name for case in LAYERS} == ELSEWHERE


class Unaggregated(conv.MessagePassing):
    """The base class itself keeps what its first object made for it: its subclasses would find that."""


def test_the_others_are_clearly_refused_or_have_nothing_to_take() -> None:
    """The convolutions that can be built with the installed packages."""
    found = {}
    for name, module in {
        "WLConv": conv.WLConv(),
        "MessagePassing": Unaggregated(aggr=None),
        "HeteroConv": conv.HeteroConv({("a", "to", "a"): conv.SAGEConv(IN, OUT)}),
        "PANConv": conv.PANConv(IN, OUT, 2),
    }.items():
        found[name] = [one.reason for one in mpnn.acceleration(mpnn.accelerate(module)).layers]
    assert found == {
        "WLConv": [],
        "MessagePassing": ["it has no aggregator"],
        "HeteroConv": [""],
        "PANConv": [""],
    }


# States -------------------------------------------------------------------------------------------------


def pickled(module: nn.Module) -> nn.Module:
    return cast(nn.Module, pickle.loads(pickle.dumps(module)))


def saved(module: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return cast(nn.Module, torch.load(buffer, weights_only=False))


STATES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as it is": lambda module: module,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "torch.save": saved,
}


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_in_every_state_a_layer_gives_the_same(case: Case) -> None:
    plain, ours = pair(case)
    assert type(ours).__name__ == type(plain).__name__
    assert isinstance(ours, type(plain))
    names = taken(ours)
    with torch.no_grad():  # some keep what they computed, and could not be copied with its history
        ours(*case.inputs)
    others = {state: change(ours) for state, change in STATES.items()}
    for state, other in others.items():
        assert taken(other) == names, state
        assert_same(other, plain, case.inputs, gradients=state == "pickle")


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_a_replica_uses_its_own_weights(case: Case) -> None:
    """As `DataParallel` makes them for other devices, here with other weights."""
    plain, ours = pair(case)
    ours(*case.inputs)
    for scale in (1.0, 0.5):
        replica, expected = replicated(ours, scale), replicated(plain, scale)
        out, other = replica(*case.inputs), expected(*case.inputs)
        assert_same(lambda out=out: out, lambda other=other: other, (), gradients=False)
        for a, b in zip(gradients(ours, out), gradients(plain, other), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def gradients(module: nn.Module, out: Any) -> list[Tensor]:
    """Of the parameters that a replica was made of; zero where there is none."""
    total = sum(t.square().sum() for t in tensors(out))
    leaves = [p for p in module.parameters() if p.requires_grad]
    if not (isinstance(total, Tensor) and total.requires_grad):
        return []
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for one in value for t in tensors(one)] if isinstance(value, tuple | list) else []


def replicated(module: Any, scale: float) -> Any:
    """What `torch.nn.parallel.replicate` makes, for one device."""
    replica = module._replicate_for_data_parallel()
    for name, parameter in module._parameters.items():
        if parameter is not None:
            replica._parameters.pop(name, None)
            setattr(replica, name, parameter * scale)
        else:
            replica._parameters[name] = None
    for name, child in module._modules.items():
        replica._modules[name] = None if child is None else replicated(child, scale)
    return replica


# Lazily built -------------------------------------------------------------------------------------------

pseudo = randn(NUM_EDGES, 2)
kinds = (node_type, typed[2], attributed[2])
LAZY = [
    Case("SAGEConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("SAGEConv", lambda c: c((-1, -1), OUT, project=False), (x, edge_index), "pair"),
    Case("GCNConv", lambda c: c(-1, OUT), weighted),
    Case("GraphConv", lambda c: c(-1, OUT), weighted),
    Case("GATConv", lambda c: c(-1, OUT, heads=2, edge_dim=EDGE), attributed),
    Case("GATConv", lambda c: c((-1, -1), OUT, add_self_loops=False), ((x, x), edge_index), "pair"),
    Case("GATv2Conv", lambda c: c(-1, OUT, heads=2), (x, edge_index)),
    Case("TransformerConv", lambda c: c(-1, OUT, heads=2), (x, edge_index)),
    Case("GMMConv", lambda c: c(-1, OUT, 2, 3), (x, edge_index, pseudo)),
    Case("GMMConv", lambda c: c(-1, OUT, 2, 3, separate_gaussians=True), (x, edge_index, pseudo), "separate"),
    Case("ARMAConv", lambda c: c(-1, OUT, num_stacks=2), weighted),
    Case("ChebConv", lambda c: c(-1, OUT, 2), (x, edge_index)),
    Case("ClusterGCNConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("FeaStConv", lambda c: c(-1, OUT, 2), (x, edge_index)),
    Case("FiLMConv", lambda c: c(-1, OUT, 3), typed),
    Case("GENConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("GeneralConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("HypergraphConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("LEConv", lambda c: c(-1, OUT), weighted),
    Case("MFConv", lambda c: c(-1, OUT, max_degree=4), (x, edge_index)),
    Case("ResGatedGraphConv", lambda c: c(-1, OUT), (x, edge_index)),
    Case("SGConv", lambda c: c(-1, OUT, 2), weighted),
    Case("SSGConv", lambda c: c(-1, OUT, 0.1, 2), weighted),
    Case("SignedConv", lambda c: c(-1, OUT, first_aggr=True), (x, edge_index, edge_index.flip(0))),
    Case("SuperGATConv", lambda c: c(-1, OUT, heads=2).eval(), (x, edge_index)),
    Case("HEATConv", lambda c: c(-1, OUT, 2, 3, 4, EDGE, 5), (x, edge_index, *kinds)),
    Case("PointTransformerConv", lambda c: c(-1, OUT), (x, randn(NUM_NODES, 3), edge_index)),
]  # fmt: skip  # others cannot be built so, or not called: MixHopConv, NNConv, PDNConv, TAGConv, ...


@pytest.mark.parametrize("case", LAZY, ids=str)
def test_a_lazily_built_layer_takes_its_widths_from_the_first_call(case: Case) -> None:
    plain = case.build(getattr(conv, case.name))
    ours = mpnn.accelerate(copy.deepcopy(plain))
    assert taken(ours)
    layers = [plain, ours, copy.deepcopy(ours), pickled(ours)]
    for layer in layers:
        layer(*single(case.inputs))
    weights = plain.state_dict()
    for layer in layers:
        layer.load_state_dict(weights)
        layer.double()
    for layer in layers[1:]:
        assert_same(layer, plain, case.inputs)


def single(value: Any) -> Any:
    """A layer and its accelerated copy in single precision, which is that of lazy weights."""
    if isinstance(value, tuple):
        return tuple(map(single, value))
    return value.float() if value.is_floating_point() else value


# Packaged, compiled, scripted, traced -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SAGEConv", "GATv2Conv"])
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
def test_a_layer_can_be_packaged(name: str) -> None:
    (case,) = [case for case in LAYERS if str(case) == name]
    plain, ours = pair(case)
    ours(*case.inputs)
    buffer = io.BytesIO()
    with PackageExporter(buffer) as exporter:
        exporter.extern(["torch_geometric.**", "mpnn.**", "torch.**", "numpy.**"])
        exporter.save_pickle("models", "model.pkl", ours)
    buffer.seek(0)
    loaded = PackageImporter(buffer).load_pickle("models", "model.pkl")
    assert isinstance(loaded, Accelerated)
    assert_same(loaded, plain, case.inputs)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_compiled_layer_breaks_no_graph(name: str) -> None:
    (case,) = [case for case in LAYERS if str(case) == name]
    plain, ours = pair(case)
    torch.compiler.reset()
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*case.inputs), plain(*case.inputs), rtol=0, atol=1e-10)
    torch.compiler.reset()


def test_a_layer_that_breaks_a_graph_breaks_it_no_more_often() -> None:
    from torch._dynamo import explain

    (case,) = [case for case in LAYERS if str(case) == "AGNNConv"]
    breaks = []
    for layer in pair(case):
        torch.compiler.reset()
        breaks.append(explain(layer)(*case.inputs).graph_break_count)
    torch.compiler.reset()
    assert breaks[0] == breaks[1]


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_torchscript_gets_the_layers_own_code() -> None:
    plain, ours = pair(Case("SAGEConv", lambda c: c(IN, OUT), (x, edge_index)))
    assert_same(torch.jit.script(ours), plain, (x, edge_index))
    assert taken(ours)


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_tracing_gets_the_layers_own_code() -> None:
    plain, ours = pair(Case("SAGEConv", lambda c: c(IN, OUT), (x, edge_index)))
    for _ in range(2):
        traced = torch.jit.trace(ours, (x, edge_index))
        torch.testing.assert_close(traced(2 * x, edge_index), plain(2 * x, edge_index), rtol=0, atol=1e-10)


# Changed afterwards -------------------------------------------------------------------------------------


def test_a_copy_that_is_changed_leaves_the_other_as_it_is() -> None:
    plain = conv.GATConv(IN, OUT, heads=2).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    ours(x, edge_index)
    for copied in (copy.copy, copy.deepcopy):
        changed, expected = copied(ours), copied(plain)
        for one in (changed, expected):
            one.negative_slope = 0.7
        assert_same(changed, expected, (x, edge_index))
        assert_same(ours, plain, (x, edge_index))


def test_another_aggregator_is_seen() -> None:
    plain = conv.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for aggr in (conv.SAGEConv(1, 1, aggr="max").aggr_module, conv.SAGEConv(1, 1, aggr="median").aggr_module):
        for one in (plain, ours):
            one(x, edge_index)
            one.aggr_module = copy.deepcopy(aggr)
        assert_same(ours, plain, (x, edge_index))


@pytest.mark.parametrize("aggr", ["mean", ["mean", "max"]])
def test_a_hook_on_an_aggregator_is_called(aggr: Any) -> None:
    plain = conv.SAGEConv(IN, OUT, aggr=aggr).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    ours(x, edge_index)
    for one in (plain, ours):
        module = one.aggr_module if aggr == "mean" else one.aggr_module.aggrs[1]
        module.register_forward_hook(lambda m, given, out: 2 * out)
    assert_same(ours, plain, (x, edge_index))


@pytest.mark.parametrize("watch", ["a hook", "a parametrization"])
def test_a_module_with_hooks_in_a_message_is_called(watch: str) -> None:
    plain = conv.CGConv(IN, EDGE).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    assert_same(ours, plain, attributed)
    for one in (plain, ours):
        if watch == "a hook":
            one.lin_f.register_forward_hook(lambda m, given, out: 2 * out)
        else:
            torch.manual_seed(1)
            torch.nn.utils.parametrizations.spectral_norm(one.lin_f)
    assert_same(ours, plain, attributed)


def test_an_aggregate_of_its_own_is_obeyed() -> None:
    plain = conv.SAGEConv(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    for one in (plain, ours):
        one.aggregate = lambda inputs, index, ptr=None, dim_size=None: inputs.new_ones(dim_size, IN)
    assert_same(ours, plain, (x, edge_index))


def test_after_an_explainer_the_layer_is_accelerated_again() -> None:
    plain, ours = pair(Case("SAGEConv", lambda c: c(IN, OUT), (x, edge_index)))
    for explain in (True, False):
        for layer in (plain, ours):
            layer.explain = explain  # type: ignore[assignment]
            cast(Any, layer)._edge_mask = nn.Parameter(torch.linspace(-1, 1, NUM_EDGES).double())
            cast(Any, layer)._loop_mask = torch.ones(NUM_EDGES, dtype=torch.bool)
        assert_same(ours, plain, (x, edge_index), gradients=False)
    assert taken(ours) == [""]
    assert "propagate" not in vars(ours)


def test_a_signature_is_that_of_the_layer() -> None:
    for make in (conv.GATConv, conv.SAGEConv):
        plain = make(IN, OUT)
        ours = mpnn.accelerate(make(IN, OUT))
        assert inspect.signature(ours.forward) == inspect.signature(plain.forward)
        assert typing.get_type_hints(type(ours).forward) == typing.get_type_hints(type(plain).forward)
        assert repr(ours) == repr(plain)


def test_a_class_that_refuses_subclasses_is_refused() -> None:
    class Alone(conv.SAGEConv):
        def __init_subclass__(cls) -> None:
            raise TypeError("nothing comes after Alone")

    plain = Alone(IN, OUT).double()
    ours = mpnn.accelerate(copy.deepcopy(plain))
    (report,) = mpnn.acceleration(ours).layers
    assert report.reason == "its class allows no subclass: nothing comes after Alone"
    assert_same(ours, plain, (x, edge_index))
