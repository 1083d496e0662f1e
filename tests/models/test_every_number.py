"""Every number that a constructor takes, at odd values: one sentence with its name, or a layer that works."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, models

EDGES = torch.tensor([[0, 1, 2, 3, 4, 1, 0], [1, 2, 3, 4, 0, 3, 2]])
GRAPH = Graph(EDGES, 5)
RING = Graph(torch.cat([EDGES, EDGES.flip(0)], dim=1)[:, [0, 1, 2, 3, 7, 8, 9, 10]], 5)
DAG = Graph(EDGES[:, [0, 1, 2, 3]], 5)
VALUES: list[Any] = [
    -1,
    0,
    1,
    2,
    2.5,
    math.nan,
    math.inf,
    "8",
    [],
    torch.tensor(2),
    torch.ones(3),
    10**9,
    2**100,
]
Options = dict[str, Any]


class Case(NamedTuple):
    """How a class is built, and used with what it was built of."""

    options: Options
    call: Callable[[Any, Options], Any]


def width(given: Any, open_width: int = 3) -> int:
    return open_width if given == -1 else int(given)


def x(channels: Any) -> Tensor:
    return torch.linspace(-1, 1, 5 * width(channels)).view(5, -1) if width(channels) else torch.ones(5, 0)


def on_graph(layer: Any, o: Options) -> Any:
    return layer(x(o["in_channels"]), GRAPH)


def with_edges(layer: Any, o: Options) -> Any:
    return layer(x(o["in_channels"]), GRAPH, torch.ones(7, width(o["edge_dim"])))


def image(dimensions: int, channels: str = "in_channels") -> Callable[[Any, Options], Any]:
    return lambda layer, o: layer(torch.ones(2, o.get(channels, 4), *[9] * dimensions))


def sequence(layer: Any, o: Options) -> Any:
    return layer(torch.ones(3, 2, o["input_size"]))


def transformed(layer: Any, o: Options) -> Any:
    return layer(torch.ones(4, 2, o["d_model"]), torch.ones(3, 2, o["d_model"]))


def tokens(layer: Any, o: Options) -> Any:
    return layer(torch.zeros(2, min(5, o.get("context", 5)), dtype=torch.int64))[0]


def translated(layer: Any, o: Options) -> Any:
    words = torch.tensor([[0 if o["pad"] else 1, o["pad"]]])  # a word, and padding
    return layer(words, torch.zeros_like(words) if o["pad"] else words)


def small_bert() -> nn.Module:
    return models.Bert(**BERT)


SPECIAL = {"pad": 1, "bos": 2, "eos": 3}
BERT: Options = {
    "vocab_size": 7,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 4,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 5,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
ATTENTION = {"in_channels": 6, "out_channels": 4, "heads": 2, "dropout": 0.1, "edge_dim": 3, "node_dim": 0}
SLOPE = ATTENTION | {"negative_slope": 0.2, "fill_value": 0.5}
PNA = {"aggregators": ["mean"], "scalers": ["identity"], "deg": torch.tensor([1, 3])}
POOL = {"kernel_size": 3, "stride": 2, "padding": 1}
CONV = {
    "in_channels": 4,
    "out_channels": 8,
    "kernel_size": 3,
    "stride": 1,
    "padding": 1,
    "dilation": 1,
    "groups": 1,
}
TRANSPOSED = CONV | {"output_padding": 0}
RECURRENT = {"input_size": 3, "hidden_size": 4, "num_layers": 2, "dropout": 0.1}
LAYER = {"d_model": 8, "nhead": 2, "dim_feedforward": 8, "dropout": 0.1, "layer_norm_eps": 1e-5}
NORM = {"num_features": 4, "eps": 1e-5, "momentum": 0.1}
HOPFIELD = {
    "input_size": 4,
    "hidden_size": 3,
    "output_size": 5,
    "num_heads": 2,
    "scaling": 0.5,
    "update_steps_max": 2,
    "update_steps_eps": 1e-3,
}
normed = lambda layer, o: layer(x(o.get("num_features", o.get("in_channels", 4))), GRAPH)  # noqa: E731

BLOCK = {"inplanes": 4, "planes": 4, "stride": 1, "groups": 1, "base_width": 64, "dilation": 1}
blocked = lambda layer, o: layer(torch.ones(2, o["inplanes"], 9, 9))  # noqa: E731

CASES: dict[str, Case] = {
    "Bert": Case(BERT, lambda layer, o: layer(torch.zeros(2, 3, dtype=torch.int64)).last_hidden_state),
    "BertForSequenceClassification": Case(
        {"bert": small_bert(), "num_labels": 3, "dropout": 0.1},
        lambda layer, o: layer(torch.ones(2, 3, dtype=torch.int64)).logits,
    ),
    "NaryTreeLSTM": Case(
        {"input_size": 3, "hidden_size": 4, "num_children": 2},
        lambda layer, o: layer(torch.ones(3, o["input_size"]), mpnn.topology.tree([-1, 0, 1])),
    ),
    "TreeLSTM": Case(
        {
            "num_words": 7,
            "input_size": 3,
            "hidden_size": 4,
            "num_classes": 5,
            "num_children": 2,
            "dropout": 0.1,
        },
        lambda layer, o: layer(torch.tensor([-1, -1, 0]), mpnn.topology.tree([-1, 0, 1])),
    ),
    "Seq2Seq": Case(
        SPECIAL | {"width": 3, "hidden_size": 4, "dropout": 0.1, "num_source": 7, "num_target": 8}, translated
    ),
    "TranslationTransformer": Case(
        SPECIAL
        | {
            "num_source": 7,
            "num_target": 8,
            "d_model": 8,
            "nhead": 2,
            "num_layers": 1,
            "dim_feedforward": 4,
            "dropout": 0.1,
            "max_positions": 9,
        },
        translated,
    ),
    "BoltzmannMachine": Case(
        {"graph": RING, "num_units": 5, "weight": 0.1, "bias": 0.1},
        lambda layer, o: layer.weight.sum(),
    ),
    "DBN": Case({"sizes": [3, 2]}, lambda layer, o: layer(torch.ones(2, 3))),
    "RBM": Case(
        {"num_visible": 3, "num_hidden": 2},
        lambda layer, o: layer.hidden(torch.ones(2, int(o["num_visible"]))),
    ),
    "HopfieldNetwork": Case({"num_neurons": 5}, lambda layer, o: layer(torch.ones(int(o["num_neurons"])))),
    "DiagonalRNN": Case({"input_size": 3, "hidden_size": 4, "truncate": None}, sequence),
    "ModernHopfieldNetwork": Case(
        {"scaling": 2.0}, lambda layer, o: layer.fit(torch.ones(2, 3))(torch.ones(1, 3))
    ),
    "Hopfield": Case(HOPFIELD, lambda layer, o: layer(torch.ones(2, 3, o["input_size"]))),
    "HopfieldPooling": Case(
        {"input_size": 4, "quantity": 2}, lambda layer, o: layer(torch.ones(2, 3, o["input_size"]))
    ),
    "HopfieldLayer": Case(
        {"input_size": 4, "quantity": 2}, lambda layer, o: layer(torch.ones(2, 3, o["input_size"]))
    ),
    "NeuronGraph": Case({"graph": DAG, "num_neurons": 5}, lambda layer, o: layer(torch.ones(4))),
    "APPNP": Case({"K": 2, "alpha": 0.1, "dropout": 0.1, "node_dim": 0}, lambda layer, o: layer(x(6), GRAPH)),
    "Autoencoder": Case(
        {"widths": [6, 3], "corruption": 0.1}, lambda layer, o: layer(torch.ones(2, o["widths"][0]))
    ),
    "AutoencoderLayer": Case(
        {"in_features": 6, "out_features": 3, "corruption": 0.1},
        lambda layer, o: layer(x(o["in_features"])),
    ),
    "MaskingNoise": Case({"p": 0.1}, lambda layer, o: layer(x(6))),
    "SelfOrganisingMap": Case(
        {"graph": RING, "in_features": 6, "sigma": 1.0, "learning_rate": 0.5},
        lambda layer, o: layer.fit_batch(x(o["in_features"]), 1)(x(o["in_features"])),
    ),
    "VariationalAutoencoder": Case(
        {"in_features": 6, "hidden_features": 8, "latent_features": 2, "deviation": 1.0},
        lambda layer, o: layer(x(o["in_features"]))[0],
    ),
    "AttentionalAggregation": Case({"gate_nn": nn.Linear(6, 1)}, lambda layer, o: layer(x(6), GRAPH)),
    "BasicBlock": Case(BLOCK, blocked),
    "BatchNorm": Case({"in_channels": 4, "eps": 1e-5, "momentum": 0.1}, normed),
    "BatchNorm2d": Case(NORM, image(2, "num_features")),
    "Bottleneck": Case(BLOCK | {"inplanes": 16}, blocked),
    "CausalTransformer": Case(
        {"num_tokens": 7, "channels": 8, "heads": 2, "num_layers": 2, "context": 5, "dropout": 0.1}, tokens
    ),
    "ChebConv": Case({"in_channels": 6, "out_channels": 4, "K": 2, "node_dim": 0}, on_graph),
    **{f"Conv{d}d": Case(CONV, image(d)) for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": Case(TRANSPOSED, image(d)) for d in (1, 2, 3)},
    **{f"AdaptiveAvgPool{d}d": Case({"output_size": 3}, image(d)) for d in (1, 2, 3)},
    **{f"MaxPool{d}d": Case(POOL | {"dilation": 1}, image(d)) for d in (1, 2, 3)},
    "AvgPool1d": Case(POOL, image(1)),
    **{f"AvgPool{d}d": Case(POOL | {"divisor_override": 2}, image(d)) for d in (2, 3)},
    "EdgeConv": Case({"nn": nn.Linear(12, 4), "node_dim": 0}, lambda layer, o: layer(x(6), GRAPH)),
    **{name: Case(SLOPE, with_edges) for name in ("GATConv", "GATv2Conv")},
    "TransformerConv": Case(ATTENTION, with_edges),
    "GCNConv": Case({"in_channels": 6, "out_channels": 4, "node_dim": 0}, on_graph),
    "GINClassifier": Case(
        {"in_channels": 6, "hidden_channels": 8, "out_channels": 4, "num_layers": 2, "dropout": 0.1}, on_graph
    ),
    "GINConv": Case({"nn": nn.Linear(6, 4), "eps": 0.1, "node_dim": 0}, lambda layer, o: layer(x(6), GRAPH)),
    "GINEConv": Case(
        {"nn": nn.Linear(6, 4), "eps": 0.1, "edge_dim": 3, "node_dim": 0},
        lambda layer, o: layer(x(6), GRAPH, torch.ones(7, width(o["edge_dim"]))),
    ),
    "GNN": Case(
        {
            "in_channels": 6,
            "hidden_channels": 8,
            "out_channels": 4,
            "num_layers": 2,
            "dropout": 0.1,
            "heads": 2,
            "conv": "gat",
        },
        on_graph,
    ),
    "GNNConv": Case({"in_channels": 6, "out_channels": 4, "node_dim": 0}, on_graph),
    "GatedGraphConv": Case(
        {"out_channels": 6, "num_layers": 2, "node_dim": 0},
        lambda layer, o: layer(x(min(o["out_channels"], 6)), GRAPH),
    ),
    "GlobalPool": Case({"node_dim": 0}, lambda layer, o: layer(x(6), GRAPH)),
    "GraphClassifier": Case(
        {
            "in_channels": 6,
            "hidden_channels": 8,
            "out_channels": 4,
            "num_layers": 2,
            "dropout": 0.1,
            "readout_dropout": 0.1,
        },
        on_graph,
    ),
    "GraphConv": Case({"in_channels": 6, "out_channels": 4, "node_dim": 0}, on_graph),
    "GoogLeNet": Case(
        {"num_classes": 4, "dropout": 0.1, "dropout_aux": 0.1},
        lambda layer, o: layer(torch.ones(2, 3, 15, 15)),
    ),
    "GraphNorm": Case({"in_channels": 4, "eps": 1e-5}, normed),
    **{
        name: Case(RECURRENT | ({"proj_size": 2} if name == "LSTM" else {}), sequence)
        for name in ("RNN", "GRU", "LSTM")
    },
    "JumpingKnowledge": Case(
        {"mode": "lstm", "channels": 4, "num_layers": 2},
        lambda layer, o: layer([x(o["channels"])] * o["num_layers"]),
    ),
    "LayerNorm": Case(
        {"in_channels": 4, "eps": 1e-5, "mode": "graph"}, lambda layer, o: layer(x(o["in_channels"]), GRAPH)
    ),
    "LeNet": Case(
        {"in_channels": 1, "num_classes": 10}, lambda layer, o: layer(torch.ones(2, o["in_channels"], 28, 28))
    ),
    "Linear": Case({"in_features": 6, "out_features": 4}, lambda layer, o: layer(x(o["in_features"]))),
    "MPNNConv": Case(
        {"in_channels": 6, "out_channels": 4, "edge_dim": 3, "edge_out_channels": 2, "node_dim": 0},
        lambda layer, o: layer(x(o["in_channels"]), GRAPH, torch.ones(7, width(o["edge_dim"]))),
    ),
    "MultiheadAttention": Case(
        {"embed_dim": 8, "num_heads": 2, "dropout": 0.1, "kdim": 3, "vdim": 3},
        lambda layer, o: layer(
            torch.ones(4, 2, o["embed_dim"]), torch.ones(5, 2, o["kdim"]), torch.ones(5, 2, o["vdim"])
        )[0],
    ),
    "NNConv": Case(
        {"in_channels": 6, "out_channels": 4, "nn": nn.Linear(3, 24), "node_dim": 0},
        lambda layer, o: layer(x(o["in_channels"]), GRAPH, torch.ones(7, 3)),
    ),
    "Node2Vec": Case(
        {
            "graph": GRAPH,
            "embedding_dim": 4,
            "walk_length": 5,
            "context_size": 3,
            "walks_per_node": 1,
            "p": 1.0,
            "q": 1.0,
            "num_negative_samples": 1,
            "num_nodes": 5,
        },
        lambda layer, o: layer(),
    ),
    "PNAConv": Case(
        PNA
        | {
            "in_channels": 6,
            "out_channels": 4,
            "edge_dim": 3,
            "towers": 2,
            "pre_layers": 2,
            "post_layers": 2,
            "node_dim": 0,
        },
        with_edges,
    ),
    "Perceptron": Case({"in_features": 6, "out_features": 4}, lambda layer, o: layer(x(o["in_features"]))),
    "RBFNetwork": Case(
        {"in_features": 6, "out_features": 4, "num_centers": 3, "epsilon": 1.0},
        lambda layer, o: layer(x(o["in_features"])),
    ),
    "PairMLP": Case({"channels": 4, "out_channels": 2}, lambda layer, o: layer(x(o["channels"]), EDGES)),
    "PairNorm": Case({"scale": 1.0, "eps": 1e-5}, normed),
    "PolynomialKernel": Case(
        {"degree": 2, "offset": 1.0, "scale": 1.0},
        lambda layer, o: layer.matrix(x(6), x(6)) + layer(x(6), x(6)),
    ),
    "RadialKernel": Case(
        {"name": "gaussian", "epsilon": 1.0}, lambda layer, o: layer.matrix(x(6), x(6)) + layer(x(6), x(6))
    ),
    "PositionalEncoding": Case(
        {"out_channels": 8, "base_freq": 0.1, "granularity": 1.0, "dropout": 0.0},
        lambda layer, o: layer(torch.arange(5.0)),
    ),
    "SinusoidalPositions": Case(
        {"d_model": 8, "dropout": 0.1}, lambda layer, o: layer(torch.ones(4, 2, o["d_model"]))
    ),
    "RGCNConv": Case(
        {
            "in_channels": 6,
            "out_channels": 4,
            "num_relations": 1,
            "num_bases": 2,
            "num_blocks": None,
            "node_dim": 0,
        },
        lambda layer, o: layer(
            x(o["in_channels"]),
            Graph(EDGES, 5, torch.zeros(7, dtype=torch.int64), num_edge_types=o["num_relations"]),
        ),
    ),
    "HGTConv": Case(
        {"in_channels": 6, "out_channels": 4, "metadata": (["a"], [("a", "to", "a")]), "heads": 2},
        lambda layer, o: layer({"a": x(o["in_channels"])}, {("a", "to", "a"): EDGES})["a"],
    ),
    "RGATConv": Case(
        {
            "in_channels": 6,
            "out_channels": 4,
            "num_relations": 1,
            "num_bases": 2,
            "num_blocks": None,
            "heads": 2,
            "dim": 1,
            "negative_slope": 0.2,
            "dropout": 0.1,
            "edge_dim": None,
            "node_dim": 0,
        },
        lambda layer, o: layer(
            x(o["in_channels"]),
            Graph(EDGES, 5, torch.zeros(7, dtype=torch.int64), num_edge_types=o["num_relations"]),
            None,
            *([torch.ones(7, width(o["edge_dim"]))] if o["edge_dim"] else []),
        ),
    ),
    "RecurrentLM": Case({"num_tokens": 7, "channels": 8, "num_layers": 2, "dropout": 0.1}, tokens),
    "ResNet": Case(
        {
            "block": models.Bottleneck,
            "layers": [1, 1],
            "num_classes": 4,
            "groups": 1,
            "width_per_group": 64,
            "in_channels": 3,
            "width": 8,
        },
        lambda layer, o: layer(torch.ones(2, o["in_channels"], 9, 9)),
    ),
    "SAGEConv": Case({"in_channels": 6, "out_channels": 4, "node_dim": 0}, on_graph),
    **{
        name: Case({"in_channels": 6, "out_channels": 4, "K": 2, "node_dim": 0}, on_graph)
        for name in ("SGConv", "TAGConv")
    },
    "SkipGram": Case(
        {
            "graph": GRAPH,
            "channels": 4,
            "rounds": 2,
            "length": 4,
            "window": 2,
            "negatives": 1,
            "p": 1.0,
            "q": 1.0,
            "lr": 0.02,
            "seed": 0,
        },
        lambda layer, o: torch.tensor(layer.step() if o["lr"] < 1 else 0.0),
    ),
    "TopKPooling": Case({"in_channels": 6, "ratio": 0.5, "min_score": None, "multiplier": 1.0}, on_graph),
    "Transformer": Case(LAYER | {"num_encoder_layers": 2, "num_decoder_layers": 2}, transformed),
    "TransformerEncoderLayer": Case(LAYER, lambda layer, o: layer(torch.ones(4, 2, o["d_model"]))),
    "TransformerDecoderLayer": Case(LAYER, transformed),
    "TransformerEncoder": Case(
        {"encoder_layer": models.TransformerEncoderLayer(8, 2, 8), "num_layers": 2},
        lambda layer, o: layer(torch.ones(4, 2, 8)),
    ),
    "TransformerDecoder": Case(
        {"decoder_layer": models.TransformerDecoderLayer(8, 2, 8), "num_layers": 2},
        lambda layer, o: layer(torch.ones(4, 2, 8), torch.ones(3, 2, 8)),
    ),
    "VirtualNode": Case(
        {"channels": 4, "num_layers": 2, "dropout": 0.1},
        lambda layer, o: layer.first.sum() + sum(p.sum() for p in layer.parameters()),
    ),
}
WITHOUT = {
    "HeteroConv",
    "BertForMaskedLM",
    "DegreeScaler",
    "DotProduct",
    "Ensemble",
    "FCN",
    "GAE",
    "GIN",  # another name of GINClassifier
    "InnerProductDecoder",
    "KernelPerceptron",
    "LanguageModel",
    "SentenceEncoder",
    "VGAE",
}  # take modules and names only
NUMBERS = [
    (name, option)
    for name, case in CASES.items()
    for option, value in case.options.items()
    if (isinstance(value, int | float) or value is None) and not isinstance(value, bool)
]


def test_every_class_is_here_with_every_number_that_it_takes() -> None:
    classes = {
        name
        for name in models.__all__
        if inspect.isclass(getattr(models, name)) and issubclass(getattr(models, name), nn.Module)
    }
    assert classes == {*CASES} | WITHOUT
    for name in sorted(classes - WITHOUT):
        for option, parameter in inspect.signature(getattr(models, name)).parameters.items():
            kind = str(parameter.annotation)
            if any(word in kind for word in ("int", "float", "_size_")) and option not in (
                "device",
                "dtype",
                "size",
                "inplace",
            ):
                assert option in CASES[name].options, f"{name}({option}: {kind})"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    with warnings.catch_warnings(), mpnn.backend("eager"), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_a_number_gives_a_sentence_with_its_name_or_a_layer_that_works(name: str, option: str) -> None:
    kind, case = getattr(models, name), CASES[name]
    with quietly():
        faults = [fault for value in VALUES if (fault := fault_of(kind, case, option, value))]
    assert not faults, "\n".join(faults)


def is_sentence(said: str, options: Options, option: str) -> bool:
    """Whether it names the argument and its value, or two arguments that do not go together."""
    named = {name for name in options if re.search(rf"\b{name}\b", said)}
    told = str(options[option]) in said or isinstance(options[option], Tensor)
    return "\n" not in said and ((option in named and told) or len(named) > 1)


def does_not_go(said: str, options: Options, option: str) -> bool:
    """Whether it names an argument that does not go with the input, or with another argument."""
    named = {name for name in options if re.search(rf"\b{name}\b", said)}
    return "\n" not in said and bool(named or (option == "node_dim" and "dimension" in said))


def fault_of(kind: Any, case: Case, option: str, value: Any) -> str | None:
    options = case.options | {option: value}
    try:
        layer = kind(**options).eval()
    except (ValueError, TypeError) as error:
        return None if is_sentence(str(error), options, option) else f"{option}={value!r}: {error!r}"
    except Exception as error:
        return f"{option}={value!r}: {type(error).__name__}: {error}"
    try:
        with torch.no_grad():
            out = case.call(layer, options)
    except ValueError as error:
        if does_not_go(str(error), options, option):
            return None
        return f"{option}={value!r} is taken, then: {error!r}"
    except Exception as error:
        return f"{option}={value!r} is taken, then: {type(error).__name__}: {error}"
    out = out[0] if isinstance(out, tuple) else out
    return None if out.isfinite().all() else f"{option}={value!r} is taken, then gives {out.flatten()[:4]}"
