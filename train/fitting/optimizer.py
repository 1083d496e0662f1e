"""The recipe becomes one of torch's optimisers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mpnn.models import Ensemble
from mpnn.train.errors import RunError
from mpnn.train.learners.learner import Learner
from mpnn.train.options import Recipe

KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}
FUSED = ("adam", "adamw", "sgd", "adagrad")


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a model's parameters.

    Raises:
        RunError: there are none, or no first layer where the penalty is to fall on it only.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters and isinstance(model, Learner):  # its rule needs none, but the loop has one
        parameters = [nn.Parameter(torch.zeros(0))]
    if not parameters:
        raise RunError(f"{type(model).__name__} has no parameters to train")
    options: dict[str, Any] = {"lr": recipe.lr}
    if recipe.optimizer in ("sgd", "rmsprop"):
        options["momentum"] = recipe.momentum
    if recipe.optimizer == "sgd":
        options["nesterov"] = recipe.nesterov
    groups: list[dict[str, Any]] = [{"params": parameters, "weight_decay": recipe.weight_decay}]
    if recipe.decayed == "first":
        first = {id(p) for member in members_of(model) for p in _first_layer(member).parameters()}
        groups[0]["params"] = [p for p in parameters if id(p) in first]
        groups.append({"params": [p for p in parameters if id(p) not in first], "weight_decay": 0.0})
    if recipe.optimizer in FUSED and {parameter.device.type for parameter in parameters} <= {"cpu", "cuda"}:
        options["fused"] = True  # one pass over all parameters in place of a dozen operations on each
    return KINDS[recipe.optimizer]([group for group in groups if group["params"]], **options)


def members_of(model: nn.Module) -> list[nn.Module]:
    """The networks that learn, each by itself: those of an ensemble, or the model."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


def _first_layer(model: nn.Module) -> nn.Module:
    convs = getattr(model, "convs", None)
    if not isinstance(convs, nn.ModuleList):
        raise RunError(f"decayed is 'first', but {type(model).__name__} has no list `convs`: use 'all'")
    return convs[0]
