"""Settings become a model on a device."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from mpnn.datasets import NodeDataset
from mpnn.models import CONVS, GNN
from mpnn.train.errors import RunError
from mpnn.train.settings import Settings


def build_model(settings: Settings, data: NodeDataset) -> GNN:
    """Return an untrained model for the data, its parameters drawn from torch's generator.

    Raises:
        RunError: the model is unknown, or an option does not suit it.
    """
    if settings.model not in CONVS:
        raise RunError(f"model is {settings.model!r}, but should be one of {', '.join(CONVS)}")
    options: dict[str, Any] = {}
    with_heads = [name for name, conv in CONVS.items() if "heads" in inspect.signature(conv.build).parameters]
    for name in ("heads", "out_heads"):
        value = getattr(settings, name)
        if value is not None and settings.model not in with_heads:
            raise RunError(f"{name} is {value}, but {settings.model} has none: {', '.join(with_heads)} have")
        if value is not None:
            options[name] = value
    try:
        model = GNN(
            data.num_features,
            settings.hidden * (settings.heads or 1),
            data.num_classes,
            num_layers=settings.layers,
            conv=settings.model,
            dropout=settings.dropout,
            norm=settings.norm,
            act=settings.act,
            jk=settings.jk,
            residual=settings.residual,
            **options,
        ).to(data.x.device)
        with torch.no_grad():
            model.eval()(data.x, data.graph)
    except ValueError as error:
        raise RunError(f"model {settings.model} cannot be used here: {error}") from error
    return model


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
