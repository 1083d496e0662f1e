"""A name that is PyTorch Geometric's is called as PyTorch Geometric's: one walk over both packages.

Layers of a graph are compared with every option in `tests/models/conv/test_equals_pyg.py`; here each public
name is called as a program written for PyG calls it, by place and by PyG's names.
"""

from __future__ import annotations

import copy
import inspect
import random
import warnings
from typing import Any, NamedTuple

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.nn.models import node2vec

import mpnn
from mpnn import Graph
from mpnn import models as names_of_mpnn
from tests.compare import assert_close, assert_same

# What is another thing: it keeps its name for the reason that stands here.
OTHER = {
    "Linear": "torch.nn's, as all dense layers are: PyG's initial weights and lazy width are not its own",
    "functional": "a module of each package, with other functions",
}
# What had a name of PyG's in version 0.1.0, and says in one sentence what it is called now.
RENAMED = {"GIN": "GINClassifier"}
# Our names of PyG's arguments: those of PyG are accepted, as the calls below show.
OURS = {
    "edge_index": "graph",
    "edge_index_dict": "graph",
    "index": "graph",
    "xs": "states",
}
# Defaults that differ, and why.
DEFAULTS = {("MessagePassing", "node_dim"): "0 is PyG's -2 for [nodes, channels]; both say what does not fit"}

models: Any = names_of_mpnn  # called by names that are not in its signatures
torch.manual_seed(0)
N = 8
X = torch.randn(N, 6, dtype=torch.float64)
X3 = torch.randn(2, N, 6, dtype=torch.float64)  # several sets of features on one graph
X8 = torch.randn(N, 8, dtype=torch.float64)
EDGE_INDEX = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 1, 3, 5], [1, 2, 0, 4, 5, 3, 7, 6, 0, 5, 4]])
OTHERS = torch.tensor([[0, 1, 6], [3, 7, 2]])
E = EDGE_INDEX.size(1)
WEIGHT = torch.rand(E, dtype=torch.float64) + 0.5
ATTR = torch.randn(E, 3, dtype=torch.float64)
TYPE = torch.arange(E) % 3
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 3, 3])  # graph 2 has no nodes
HISTOGRAM = torch.tensor([0, 5, 3])
GRAPH = {"x": X, "edge_index": EDGE_INDEX}
RELATIONS = {
    ("a", "to", "a"): EDGE_INDEX % 5,
    ("a", "to", "b"): EDGE_INDEX % 4,
    ("b", "back", "a"): OTHERS % 4,
}
TYPED: dict[str, Any] = {"x_dict": {"a": X, "b": X[:4]}, "edge_index_dict": RELATIONS}


def mlp(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(in_channels, 7), nn.ReLU(), nn.Linear(7, out_channels))


class Encoder(nn.Module):
    """One layer, or two for μ and log σ, of either library."""

    def __init__(self, library: Any, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(library.GCNConv(6, 4) for _ in range(count))

    def reset_parameters(self) -> None:
        for conv in self.convs:
            conv.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        out = tuple(conv(x, edge_index) for conv in self.convs)
        return out if len(out) > 1 else out[0]


class Call(NamedTuple):
    """A class as it is built, with positional arguments as a reader of PyG's pages would, and its inputs."""

    build: str
    inputs: dict[str, Any] = GRAPH
    training: bool = False

    @property
    def name(self) -> str:
        return self.build.partition("(")[0]

    def __str__(self) -> str:
        return f"{self.build}({', '.join(self.inputs)}){' in training' * self.training}"


NORM: dict[str, Any] = {"x": X8, "batch": BATCH}
CLASSES = [
    Call("APPNP(3, 0.2)", GRAPH | {"edge_weight": WEIGHT}),
    Call("AttentionalAggregation(mlp(6, 1))", {"x": X, "index": BATCH}),
    Call("AttentionalAggregation(mlp(6, 1), mlp(6, 4))", {"x": X, "index": BATCH, "dim_size": 5}),
    Call("AttentionalAggregation(mlp(6, 6))", {"x": X, "ptr": torch.tensor([0, 3, 6, 6, 8])}),
    Call("AttentionalAggregation(mlp(6, 1))", {"x": X.expand(2, N, 6), "index": BATCH, "dim": -2}),
    Call("AttentionalAggregation(mlp(6, 1))", {"x": X}),
    Call("BatchNorm(8)", {"x": X8}),
    Call("BatchNorm(8)", {"x": X8}, training=True),
    Call("BatchNorm(8, 1e-3, None, False)", {"x": X8}, training=True),
    Call("BatchNorm(8, 1e-3, 0.2, True, False)", {"x": X8}),
    Call("BatchNorm(8, allow_single_element=True)", {"x": X8[:1]}, training=True),
    Call("ChebConv(6, 4, 3)", GRAPH | {"edge_weight": WEIGHT}),
    Call(
        "ChebConv(6, 4, 3, None)", GRAPH | {"batch": BATCH, "lambda_max": torch.tensor([2.0, 3.0, 1.0, 4.0])}
    ),
    Call("EdgeConv(mlp(12, 4))"),
    Call("EdgeConv(mlp(12, 4), 'mean')", {"x": (X, X[:5]), "edge_index": EDGE_INDEX % 5}),
    Call("GAE(Encoder(1))"),
    Call("GATConv(6, 4, 2)", GRAPH | {"return_attention_weights": True}),
    Call("GATConv(6, 4, 2, edge_dim=3)", GRAPH | {"edge_attr": ATTR}),
    Call("GATConv((6, 8), 4, 2, False)", {"x": (X, X8[:5]), "edge_index": EDGE_INDEX % 5, "size": (8, 5)}),
    Call("GATv2Conv(6, 4, 2)", GRAPH | {"return_attention_weights": True}),
    Call("GATv2Conv(6, 4, 2, edge_dim=3)", GRAPH | {"edge_attr": ATTR}),
    Call("GCNConv(6, 4)", GRAPH | {"edge_weight": WEIGHT}),
    Call("GCNConv(6, 4, True)", GRAPH | {"edge_weight": WEIGHT}),
    Call("GINConv(mlp(6, 4))", {"x": (X, X[:5]), "edge_index": EDGE_INDEX % 5, "size": (8, 5)}),
    Call("GINConv(mlp(6, 4), 0.5, True)"),
    Call("GINEConv(mlp(6, 4), 0.5, True, 3)", GRAPH | {"edge_attr": ATTR, "size": (8, 8)}),
    Call("GatedGraphConv(8, 2)", GRAPH | {"edge_weight": WEIGHT}),
    Call("GraphConv(6, 4)", GRAPH | {"edge_weight": WEIGHT, "size": (8, 8)}),
    Call("GraphNorm(8)", {"x": X8}),
    Call("GraphNorm(8, 1e-3)", NORM),
    Call("GraphNorm(8)", NORM | {"batch_size": 5}),
    Call("JumpingKnowledge('max')", {"xs": [X, 2 * X]}),
    Call("JumpingKnowledge('cat')", {"xs": [X, 2 * X]}),
    Call("JumpingKnowledge('lstm', 6, 2)", {"xs": [X, 2 * X]}),
    Call("LayerNorm(8)", {"x": X8}),
    Call("LayerNorm(8)", NORM),
    Call("LayerNorm(8, 1e-3, False)", NORM | {"batch_size": 5}),
    Call("LayerNorm(8, 1e-3, True, 'node')", NORM),
    Call("NNConv(6, 4, mlp(3, 24))", GRAPH | {"edge_attr": ATTR, "size": (8, 8)}),
    Call(
        "PNAConv(6, 4, ['mean', 'std'], ['identity', 'amplification'], HISTOGRAM, 3)",
        GRAPH | {"edge_attr": ATTR},
    ),
    Call("PairNorm()", {"x": X8}),
    Call("PairNorm(2.0)", NORM),
    Call("PairNorm(2.0, True)", NORM | {"batch_size": 4}),
    Call("PositionalEncoding(16)", {"x": torch.arange(5, dtype=torch.float64)}),
    Call("PositionalEncoding(16, 1e-3, 0.1)", {"x": torch.rand(5, dtype=torch.float64)}),
    Call("RGCNConv(6, 4, 3)", GRAPH | {"edge_type": TYPE}),
    Call("RGCNConv(8, 4, 3, 2)", {"x": None, "edge_index": EDGE_INDEX, "edge_type": TYPE}),
    Call("SAGEConv(6, 4)", GRAPH | {"size": (8, 8)}),
    Call("SAGEConv((6, 8), 4, 'max')", {"x": (X, X8[:5]), "edge_index": EDGE_INDEX % 5, "size": (8, 5)}),
    Call("SGConv(6, 4, 2)", GRAPH | {"edge_weight": WEIGHT}),
    Call("TAGConv(6, 4, 2)", GRAPH | {"edge_weight": WEIGHT}),
    Call("TopKPooling(6)", GRAPH | {"edge_attr": ATTR, "batch": torch.arange(N) // 3}),
    Call("TopKPooling(6, 0.5, 0.2, 2.0)", GRAPH | {"attn": 2 * X}),
    Call("TransformerConv(6, 4, 2)", GRAPH | {"return_attention_weights": True}),
    Call("TransformerConv(6, 4, 2, False, True, 0.0, 3)", GRAPH | {"edge_attr": ATTR}),
    *(
        Call(build, {"x": X3, "edge_index": EDGE_INDEX})
        for build in (
            "APPNP(3, 0.2)",
            "ChebConv(6, 4, 3)",
            "EdgeConv(mlp(12, 4))",
            "GCNConv(6, 4)",
            "GINConv(mlp(6, 4))",
            "GraphConv(6, 4)",
            "SAGEConv(6, 4)",
            "SGConv(6, 4, 2)",
            "TAGConv(6, 4, 2)",
        )
    ),
    Call("SAGEConv(6, 4)", {"x": (X3, X3[:, :5]), "edge_index": EDGE_INDEX % 5, "size": [8, 5]}),
    Call("HGTConv(6, 4, (['a', 'b'], [*RELATIONS]), 2)", TYPED),
    Call("HeteroConv({key: SAGEConv(6, 4) for key in RELATIONS}, 'mean')", TYPED),
    Call("RGATConv(6, 4, 3)", GRAPH | {"edge_type": TYPE}),
    Call("RGATConv(6, 4, 3, 2, edge_dim=3)", GRAPH | {"edge_type": TYPE, "edge_attr": ATTR}),
    Call("VGAE(Encoder(2))"),
    Call("VGAE(Encoder(2))", training=True),
]
FUNCTIONS: dict[str, list[dict[str, Any]]] = {
    name: [
        {"x": X, "batch": BATCH},
        {"x": X, "batch": BATCH, "size": 6},
        {"x": X, "batch": None},
        {"x": X[:, 0], "batch": BATCH},
        {"x": X.expand(3, N, 6), "batch": BATCH},
        {"x": X.expand(3, N, 6), "batch": None},
    ]
    for name in ("global_add_pool", "global_max_pool", "global_mean_pool")
}
ALONE = {"InnerProductDecoder", "MessagePassing", "Node2Vec"}  # have tests of their own below


def shared() -> set[str]:
    """The public names that both packages have."""
    theirs = {name for name in dir(pyg) if not name.startswith("_")}
    return theirs & {*models.__all__, *mpnn.__all__}


def found(library: Any, name: str) -> Any:
    return getattr(library if hasattr(library, name) else mpnn, name)


def build(call: Call, library: Any) -> nn.Module:
    torch.manual_seed(0)
    names = {"mlp": mlp, "HISTOGRAM": HISTOGRAM, "Encoder": lambda count: Encoder(library, count)}
    names |= {name: found(library, name) for name in (call.name, "SAGEConv")} | {"RELATIONS": RELATIONS}
    module: nn.Module = eval(call.build, names)
    return module.double().train(call.training)


def flat(result: Any) -> list[Tensor]:
    if isinstance(result, dict):
        return flat([result[key] for key in sorted(result)])
    if isinstance(result, tuple | list):
        return [one for part in result for one in flat(part)]
    return [] if result is None else [result]


def test_every_name_that_both_have_is_called_here() -> None:
    called = {call.name for call in CLASSES} | {*FUNCTIONS} | ALONE
    assert shared() == called | {*OTHER} | {*RENAMED}
    assert not called & ({*OTHER} | {*RENAMED})


def signatures(name: str) -> list[tuple[Any, Any]]:
    """What is called by this name, in both packages: the constructor, and the `forward` of what it builds."""
    each = [(found(models, name), getattr(pyg, name))]
    if inspect.isclass(each[0][0]) and name not in (
        "MessagePassing",
        "HeteroConv",
        "GAE",
        "VGAE",
    ):  # which take anything
        each += [tuple(kind.forward for kind in each[0])]
    return each


@pytest.mark.parametrize("name", sorted(shared() - {*OTHER} - {*RENAMED}))
def test_arguments_have_pygs_order_and_defaults(name: str) -> None:
    for ours, theirs in signatures(name):
        mine = list(inspect.signature(ours).parameters.values())
        fixed = [p for p in inspect.signature(theirs).parameters.values() if p.kind is not p.VAR_KEYWORD]
        for place, parameter in enumerate(fixed):
            own = next((p for p in mine if p.name in (parameter.name, OURS.get(parameter.name))), None)
            assert own is not None, f"{name} has no {parameter.name}"
            if parameter.kind is not parameter.KEYWORD_ONLY:
                assert mine.index(own) == place, f"{name}: {own.name} is argument {mine.index(own)}"
            if (name, parameter.name) not in DEFAULTS:
                required = parameter.default is parameter.empty
                assert required or own.default == parameter.default, f"{name}: {own}, PyG's {parameter}"


@pytest.mark.parametrize("call", CLASSES, ids=str)
def test_weights_of_the_same_seed_have_pygs_names_shapes_and_order(call: Call) -> None:
    ours, theirs = build(call, models), build(call, pyg)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for name, weight in ours.state_dict().items():
        if (call.name, name) != ("RGATConv", "l2"):  # PyG leaves it as it finds the memory
            assert_close(weight, expected[name], atol=0.0)


@pytest.mark.parametrize("call", CLASSES, ids=str)
def test_pygs_call_gives_pygs_result(call: Call) -> None:
    ours, theirs = build(call, models), build(call, pyg)

    def run(module: nn.Module, *args: Any, **kwargs: Any) -> list[Tensor]:
        torch.manual_seed(1)
        return flat(module(*args, **kwargs))

    wanted = run(theirs, **call.inputs)
    by_name = run(ours, **call.inputs)
    assert len(by_name) == len(wanted)
    for mine, other in zip(by_name, wanted, strict=True):
        assert_close(mine, other, atol=1e-10)
    names = list(inspect.signature(theirs.forward).parameters)
    if [*call.inputs] == names[: len(call.inputs)]:
        for mine, other in zip(run(ours, *call.inputs.values()), wanted, strict=True):
            assert_close(mine, other, atol=1e-10)


@pytest.mark.parametrize(("name", "given"), [(name, one) for name, each in FUNCTIONS.items() for one in each])
def test_pygs_call_of_a_function_gives_pygs_result(name: str, given: dict[str, Any]) -> None:
    ours, theirs = getattr(models, name), getattr(pyg, name)
    options = {key: value for key, value in given.items() if key != "x"}
    assert_same(lambda x: ours(x=x, **options), lambda x: theirs(x=x, **options), [given["x"]])
    assert_same(lambda x: ours(x, *options.values()), lambda x: theirs(x, *options.values()), [given["x"]])


def test_a_graph_has_one_name_in_a_call() -> None:
    conv = models.GCNConv(6, 4).double()
    sentence = r"GCNConv\.forward\(\) got graph and edge_index, which are one argument\."
    with pytest.raises(TypeError, match=sentence):
        conv(X, graph=EDGE_INDEX, edge_index=EDGE_INDEX)
    with pytest.raises(TypeError, match="multiple values for argument 'graph'"):
        conv(X, EDGE_INDEX, edge_index=EDGE_INDEX)


def test_networks_of_layers_take_edge_index_by_name() -> None:
    graph = Graph(EDGE_INDEX, N)
    for network in (models.GNN(6, 8, 4).double(), models.GraphClassifier(6, 8, 4).double()):
        expected = network(X, graph)
        assert_close(network(x=X, edge_index=EDGE_INDEX), expected, atol=0.0)
        assert_close(network.embed(X, edge_index=EDGE_INDEX), network.embed(X, graph), atol=0.0)


# Autoencoders -------------------------------------------------------------------------------------------


def autoencoders(name: str, count: int) -> list[Any]:
    return [build(Call(f"{name}(Encoder({count}))"), library) for library in (models, pyg)]


def test_an_autoencoder_has_pygs_losses_and_scores() -> None:
    for ours, theirs in (autoencoders("GAE", 1), autoencoders("VGAE", 2)):
        z = [one.encode(X, EDGE_INDEX) for one in (ours, theirs)]
        assert_close(z[0], z[1], atol=1e-10)
        for method in ("decode", "recon_loss", "test"):
            more = (OTHERS,) if method != "decode" else ()
            mine, other = (getattr(one, method)(z[1], EDGE_INDEX, *more) for one in (ours, theirs))
            assert_close(torch.as_tensor(mine), torch.as_tensor(other), atol=1e-10)
        assert_close(ours.decoder.forward_all(z[1]), theirs.decoder.forward_all(z[1]), atol=1e-10)
        for sigmoid in (False, True):
            mine, other = (one.decode(z[1], EDGE_INDEX, sigmoid=sigmoid) for one in (ours, theirs))
            assert_close(mine, other, atol=1e-10)


def test_other_pairs_of_a_loss_are_drawn_as_pygs() -> None:
    losses = []
    for model in autoencoders("GAE", 1):
        z = model.encode(X, EDGE_INDEX)
        torch.manual_seed(2)
        random.seed(2)
        losses.append(model.recon_loss(z, EDGE_INDEX))
    assert_close(losses[0], losses[1], atol=1e-10)


def test_a_variational_autoencoder_draws_and_diverges_as_pygs() -> None:
    ours, theirs = autoencoders("VGAE", 2)
    for training in (True, False):
        losses = []
        for model in (ours.train(training), theirs.train(training)):
            torch.manual_seed(3)
            z = model.encode(X, EDGE_INDEX)
            losses.append(model.recon_loss(z, EDGE_INDEX, OTHERS) + model.kl_loss() / N)
        assert_close(losses[0], losses[1], atol=1e-10)
        found = [
            torch.autograd.grad(loss, tuple(model.parameters()))
            for loss, model in zip(losses, (ours, theirs), strict=True)
        ]
        for mine, other in zip(*found, strict=True):
            assert_close(mine, other, atol=1e-10)
    assert copy.deepcopy(ours)(X, EDGE_INDEX)[0].shape == (N, 4)  # no copy of what was computed
    mu, logstd = torch.randn(2, N, 4, dtype=torch.float64) * 8
    assert_close(ours.kl_loss(mu, logstd), theirs.kl_loss(mu, logstd), atol=1e-10)
    sentence = r"^kl_loss\(\) needs mu and logstd, or a call of encode\(\) before it\.$"
    with pytest.raises(ValueError, match=sentence):
        models.VGAE(nn.Identity()).kl_loss()


def test_decoders_of_this_package_have_pygs_losses_too() -> None:
    encoder = Encoder(models, 1).double()
    z, plain = torch.randn(N, 4, dtype=torch.float64), models.GAE(encoder)
    for decoder in (models.DotProduct(), models.PairMLP(4, 1).double()):
        ours = models.GAE(encoder, decoder)
        assert ours(X, EDGE_INDEX, OTHERS).shape == ours(X, EDGE_INDEX, pairs=OTHERS).shape == (3, 1)
        assert ours.recon_loss(z, EDGE_INDEX, OTHERS).shape == ()
    ours = models.GAE(encoder, models.DotProduct())
    assert_close(ours.recon_loss(z, EDGE_INDEX, OTHERS), plain.recon_loss(z, EDGE_INDEX, OTHERS), atol=1e-10)
    assert ours.test(z, EDGE_INDEX, OTHERS) == plain.test(z, EDGE_INDEX, OTHERS)
    assert_close(ours(X, EDGE_INDEX, OTHERS), plain(X, EDGE_INDEX, OTHERS), atol=1e-10)


# What is drawn at random, and layers of a program's own --------------------------------------------------


def test_node2vec_takes_pygs_arguments_and_begins_with_its_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node2vec, "WITH_PYG_LIB", True)  # whose walks are not called here
    monkeypatch.setattr(torch.ops.pyg, "random_walk", None, raising=False)
    built = []
    for library in (models, pyg):
        torch.manual_seed(0)
        built.append(library.Node2Vec(edge_index=EDGE_INDEX, embedding_dim=4, walk_length=5, context_size=3))
    ours, theirs = built
    assert_close(ours.state_dict()["embedding.weight"], theirs.state_dict()["embedding.weight"], atol=0.0)
    nodes = torch.tensor([1, 5])
    assert_close(ours(batch=nodes), theirs(batch=nodes), atol=0.0)


def test_a_layer_written_for_pygs_base_class_takes_its_arguments() -> None:
    def layer(base: type[Any]) -> nn.Module:
        class Mean(base):
            def __init__(self) -> None:
                super().__init__("mean", flow="source_to_target", node_dim=-2, decomposed_layers=2)

            def forward(self, x: Tensor, edge_index: Tensor) -> Any:
                return self.propagate(edge_index=edge_index, size=None, x=x)

            def message(self, x_j: Tensor, x_i: Tensor) -> Tensor:
                return x_j * x_i

        made: nn.Module = Mean()
        return made

    assert_same(layer(mpnn.MessagePassing), layer(pyg.MessagePassing), [X, EDGE_INDEX])
    with pytest.raises(ValueError, match=r"^decomposed_layers is 0, but should be at least 1\.$"):
        mpnn.MessagePassing(decomposed_layers=0)


def test_a_linear_map_has_pygs_names_of_its_widths() -> None:
    torch.manual_seed(0)
    ours = models.Linear(in_channels=6, out_channels=4)
    torch.manual_seed(0)
    assert [*ours.state_dict()] == [*pyg.Linear(6, 4).state_dict()]
    assert ours.weight.shape == (4, 6)


# What was called otherwise in version 0.1.0 --------------------------------------------------------------

BEFORE: dict[str, tuple[Any, Any]] = {
    "GIN is now called GINClassifier": (
        lambda: models.GIN(6, 8, 4, 2).double()(X, EDGE_INDEX),
        lambda: models.GINClassifier(6, 8, 4, 2).double()(X, EDGE_INDEX),
    ),
    "LayerNorm(x, graph) will normalise each graph": (
        lambda: models.LayerNorm(8).double()(X8, Graph(EDGE_INDEX, N)),
        lambda: models.LayerNorm(8, mode="node").double()(X8, Graph(EDGE_INDEX, N)),
    ),
    "normalized_shape is now called in_channels": (
        lambda: models.LayerNorm(normalized_shape=8).double()(X8),
        lambda: models.LayerNorm(8).double()(X8),
    ),
    "elementwise_affine is now called affine": (
        lambda: models.LayerNorm(8, elementwise_affine=False)(X8),
        lambda: models.LayerNorm(8, affine=False)(X8),
    ),
    "num_features is now called in_channels": (
        lambda: models.BatchNorm(num_features=8).double()(X8, Graph(EDGE_INDEX, N)),
        lambda: models.BatchNorm(in_channels=8).double()(X8),
    ),
    "PositionalEncoding(x) is PyG's now": (
        lambda: models.PositionalEncoding(6, 0.0, True)(X.expand(2, N, 6)),
        lambda: models.SinusoidalPositions(6, 0.0, True)(X.expand(2, N, 6)),
    ),
    "PositionalEncoding(x) is PyG's now: to add waves": (
        lambda: models.PositionalEncoding(6, dropout=0.5).train()(X),
        lambda: models.SinusoidalPositions(6, dropout=0.5).train()(X),
    ),
    "d_model is now called out_channels": (
        lambda: models.PositionalEncoding(d_model=8)(torch.arange(3.0)),
        lambda: models.PositionalEncoding(8)(torch.arange(3.0)),
    ),
    "AttentionalAggregation(x, graph, size) is now written (x, graph, size=size)": (
        lambda: models.AttentionalAggregation(nn.Linear(6, 1).double())(X, BATCH, 5),
        lambda: models.AttentionalAggregation(nn.Linear(6, 1).double())(X, BATCH, size=5),
    ),
}


@pytest.mark.parametrize("sentence", BEFORE)
def test_what_was_called_otherwise_works_for_a_release_and_says_what_to_write(sentence: str) -> None:
    before, now = BEFORE[sentence]
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        old = before()
    assert [one.category for one in said] == [DeprecationWarning]
    assert str(said[0].message).startswith(sentence) and str(said[0].message).endswith(".")
    assert said[0].filename == __file__  # at the caller's line
    torch.manual_seed(0)
    assert_close(old, now(), atol=0.0)


def test_norms_read_weights_that_version_0_1_0_saved() -> None:
    before = nn.BatchNorm1d(8)
    before(torch.randn(5, 8))
    norm = models.BatchNorm(8)
    norm.load_state_dict(before.state_dict())
    for name, value in before.state_dict().items():
        assert_close(norm.state_dict()[f"module.{name}"], value, atol=0.0)
    stack = models.GNN(6, 8, 4, norm="batch")
    saved = {name.replace(".module.", "."): 2 * value for name, value in stack.state_dict().items()}
    stack.load_state_dict(saved)
    assert_close(stack.norms[0].module.weight, torch.full((8,), 2.0), atol=0.0)
    models.PositionalEncoding(4).load_state_dict({})


def test_arguments_that_cannot_be_are_refused_in_a_sentence() -> None:
    for call, sentence in (
        (lambda: models.LayerNorm(8, 1e-5, True, "rows"), "mode is 'rows', but must be one of graph, node."),
        (
            lambda: models.BatchNorm(8, allow_single_element=True, track_running_stats=False),
            "BatchNorm got allow_single_element=True with track_running_stats=False.",
        ),
        (
            lambda: models.BatchNorm(8, 1e-5, 0.1, True, True, "cpu"),
            "allow_single_element must be True or False, got 'cpu'.",
        ),
        (
            lambda: models.GraphNorm(8)(X8, BATCH[:5]),
            "batch must be [8], one graph for each row of x, got [5].",
        ),
        (
            lambda: models.PairNorm()(X8, BATCH, 2),
            "batch goes from 0 to 3, but should be within 0 to 1.",
        ),
        (
            lambda: models.LayerNorm(8)(X8, BATCH.double()),
            "batch must be whole numbers, one graph for each row of x, got torch.float64.",
        ),
        (
            lambda: models.JumpingKnowledge("lstm"),
            "JumpingKnowledge('lstm') needs channels and num_layers, got None and None.",
        ),
        (
            lambda: models.JumpingKnowledge("cat").out_channels,
            "JumpingKnowledge('cat') was built without channels and num_layers.",
        ),
        (
            lambda: models.PositionalEncoding(7)(torch.arange(3.0)),
            "out_channels is 7, but must be even: sines and cosines.",
        ),
        (
            lambda: models.AttentionalAggregation(nn.Linear(6, 1).double())(X, BATCH, dim=1),
            "dim is 1, but must be -2, the nodes of x [..., nodes, channels].",
        ),
    ):
        with pytest.raises((TypeError, ValueError, IndexError)) as refused:
            call()
        assert str(refused.value) == sentence
