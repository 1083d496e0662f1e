"""Settings become a model on a device."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mpnn.datasets import NodeDataset
from mpnn.models import CONVS, GNN
from mpnn.train.errors import RunError
from mpnn.train.settings import Settings


def build_model(settings: Settings, data: NodeDataset) -> GNN:
    """Return an untrained model for the data, its parameters drawn from torch's generator.

    It drops the inputs of all layers but the first: `NodeClassification` does that one, since it knows which
    features are zero.

    Raises:
        RunError: the model is unknown, or an option does not suit it.
    """
    if settings.model not in CONVS:
        raise RunError(f"model is {settings.model!r}, but should be one of {', '.join(CONVS)}")
    options: dict[str, Any] = {}
    if settings.model == "pna":  # the one layer that asks for the degrees of the training graph
        options["deg"] = data.graph.in_degree.bincount()
    attentive = [name for name, conv in CONVS.items() if "heads" in inspect.signature(conv.build).parameters]
    if settings.model in attentive:
        options["attention_dropout"] = settings.dropout
    for name in ("heads", "out_heads"):
        value = getattr(settings, name)
        if value is None:
            continue
        if settings.model not in attentive:
            raise RunError(
                f"{name} is {value}, but {settings.model} has no heads: {', '.join(attentive)} have"
            )
        options[name] = value
    try:
        model = GNN(
            data.num_features,
            settings.hidden * (settings.heads or 1),
            data.num_classes,
            num_layers=settings.layers,
            conv=settings.model,
            norm=settings.norm,
            act=settings.act,
            jk=settings.jk,
            residual=settings.residual,
            **options,
        ).to(data.x.device)
        for layer in [*model.convs[1:], *([] if model.lin is None else [model.lin])]:
            layer.register_forward_pre_hook(partial(_drop_input, settings.dropout))
        with torch.no_grad():
            model.eval()(data.x, data.graph)
    except (ValueError, TypeError) as error:
        raise RunError(f"model {settings.model} cannot be used here: {error}") from error
    return model


def _drop_input(p: float, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return F.dropout(inputs[0], p, layer.training), *inputs[1:]


def find_device(name: str) -> torch.device:
    """Return the device called `name`; `"auto"` is the GPU if there is one.

    Raises:
        RunError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise RunError(f"device is {name!r}, which this machine or this PyTorch does not have") from None
    return device
