"""Settings become a model on a device."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from mpnn.models import (
    CONVS,
    GAE,
    GIN,
    GNN,
    VGAE,
    CausalTransformer,
    GraphClassifier,
    LeNet,
    PairMLP,
    RecurrentLM,
)
from mpnn.native.dropout import dropout
from mpnn.train.errors import RunError
from mpnn.train.inputs.edge_inputs import num_relations
from mpnn.train.settings import AUTOENCODERS, Settings
from mpnn.train.tasks.edge_task import EdgeTask
from mpnn.train.tasks.task import SupervisedTask
from mpnn.train.tasks.text_task import CONTEXT

# What cannot be set of a model, and what it is there.
FIXED: dict[tuple[str, str], dict[str, Any]] = {
    ("image", "lenet"): {"hidden": 84, "layers": 5, "act": "tanh", "dropout": 0.0},
    ("text", "transformer"): {"act": "gelu"},
    ("text", "lstm"): {"act": "tanh", "heads": None},
}


def models(task: str) -> dict[str, str]:
    """Every model for a task by name, with a line about it.

    >>> models("graph")["gin"]
    'GIN with its readout: sums over every layer (Xu et al., 2019)'
    """
    if task == "image":
        return {"lenet": "LeNet-5: two convolutions, three linear layers (LeCun et al., 1998)"}
    if task == "text":
        return {
            "transformer": "attention to the characters before: GPT-2 in small (Radford et al., 2019)",
            "lstm": "a recurrent network with a memory (Graves, 2013)",
        }
    known = {name: conv.description for name, conv in CONVS.items()}
    if task == "graph":
        known["gin"] = "GIN with its readout: sums over every layer (Xu et al., 2019)"
    if task == "edge":
        known |= {
            "gae": "graph autoencoder: GCN, links by dot products (Kipf and Welling, 2016)",
            "vgae": "its variational form, which draws the vectors (Kipf and Welling, 2016)",
        }
    return known


def build_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    """Return an untrained model for the task, its parameters drawn from torch's generator.

    Raises:
        RunError: the model is unknown, or an option does not suit it.
    """
    known = models(settings.task)
    if settings.model not in known:
        raise RunError(f"model is {settings.model!r}, but should be one of {', '.join(known)}")
    for name, value in FIXED.get((settings.task, settings.model), {}).items():
        if getattr(settings, name) != value:
            raise RunError(
                f"{name} is {getattr(settings, name)!r}, but of {settings.model} it is always {value!r}"
            )
    try:
        model = BUILD[settings.task](settings, task).to(task.device)
        with torch.no_grad():
            task.attempt(model.eval())
    except (ValueError, TypeError) as error:
        raise RunError(f"model {settings.model} cannot be used here: {error}") from error
    return model


def _options(settings: Settings, task: SupervisedTask) -> dict[str, Any]:
    """What a stack of layers of this model takes."""
    options: dict[str, Any] = {
        "num_layers": settings.layers,
        "conv": "gcn" if settings.model in AUTOENCODERS else settings.model,
        "norm": settings.norm,
        "act": settings.act,
        "residual": settings.residual,
        "virtual_node": settings.virtual_node,
    }
    if settings.model == "pna":  # the one layer that asks for the degrees of the training graphs
        options["deg"] = task.degrees()
    conv = CONVS.get(options["conv"])
    takes = {} if conv is None else inspect.signature(conv.build).parameters
    if "num_relations" in takes:
        options["num_relations"] = max(1, num_relations(task.data))
    if "edge_dim" in takes and takes["edge_dim"].default is inspect.Parameter.empty and task.edge_dim is None:
        raise RunError(
            f"model is {settings.model!r}, which reads edge features, but {task.data.name} has none"
        )
    if task.edge_dim is not None:
        options["edge_dim"] = task.edge_dim
    attentive = [name for name, conv in CONVS.items() if "heads" in inspect.signature(conv.build).parameters]
    if settings.model in attentive:
        options["attention_dropout"] = settings.dropout
    for name in ("heads", "out_heads", "attention_dropout"):
        value = getattr(settings, name)
        if value is None:
            continue
        if settings.model not in attentive:
            raise RunError(
                f"{name} is {value}, but {settings.model} has no heads: {', '.join(attentive)} have"
            )
        options[name] = value
    return options


def _node_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    """It drops the inputs of all layers but the first: the task does that one, knowing which are zero."""
    options = _options(settings, task)
    model = GNN(task.num_features, _width(settings), task.out_channels, jk=settings.jk, **options)
    for layer in [*model.convs[1:], *([] if model.lin is None else [model.lin])]:
        layer.register_forward_pre_hook(partial(_drop_input, settings.dropout))
    return model


def _graph_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    options = _options(settings, task)
    if settings.out_heads is not None:
        raise RunError(f"out_heads is {settings.out_heads}, but all layers are hidden ones in graph tasks")
    options |= {
        "jk": settings.jk or "last",
        "readout": settings.readout or "sum",
        "dropout": settings.dropout,
    }
    kind: type[GraphClassifier] = GraphClassifier
    if settings.model == "gin":
        kind = GIN
        del options["conv"]
    return kind(task.num_features, _width(settings), task.out_channels, **options)


def _edge_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    options = _options(settings, task)
    labels = isinstance(task, EdgeTask)
    if labels and settings.model in AUTOENCODERS:
        raise RunError(f"model is {settings.model!r}, but that predicts links: take a layer for labels")
    if settings.model in AUTOENCODERS and settings.decoder == "mlp":
        raise RunError(f"decoder is 'mlp', but {settings.model} has dot: take a layer, such as gcn, for mlp")
    embedding = settings.embedding or settings.hidden
    variational = settings.model == "vgae"
    encoder = GNN(
        task.num_features,
        _width(settings),
        2 * embedding if variational else embedding,
        jk=settings.jk,
        dropout=settings.dropout,
        **options,
    )
    decoder = PairMLP(embedding, task.out_channels) if labels or settings.decoder == "mlp" else None
    return VGAE(encoder, decoder) if variational else GAE(encoder, decoder)


def _image_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    return LeNet(task.num_features, task.out_channels, task.data.size)


def _text_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    size = (task.out_channels, settings.hidden)
    if settings.model == "lstm":
        return RecurrentLM(*size, settings.layers, settings.dropout)
    context = settings.context or CONTEXT
    return CausalTransformer(*size, settings.heads or 1, settings.layers, context, settings.dropout)


BUILD: dict[str, Callable[[Settings, SupervisedTask], nn.Module]] = {
    "node": _node_model,
    "edge": _edge_model,
    "graph": _graph_model,
    "image": _image_model,
    "text": _text_model,
}


def _width(settings: Settings) -> int:
    return settings.hidden * (settings.heads or 1)


def _drop_input(p: float, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return dropout(inputs[0], p, layer.training), *inputs[1:]


def find_device(name: str) -> torch.device:
    """Return the device called `name`; `"auto"` is the GPU if there is one.

    Raises:
        RunError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        float(torch.zeros(1, device=device))  # some devices only tell shapes
    except (RuntimeError, AssertionError, NotImplementedError):
        raise RunError(f"device is {name!r}, which this machine or this PyTorch does not have") from None
    return device
