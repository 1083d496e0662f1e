"""A network that learns standardised numbers says them in their own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint


class Unit(nn.Module):
    """Outputs times a scale, plus a mean: one of each for every target, kept with the weights.

    >>> Unit([10.0], [2.0])(torch.tensor([[-1.0], [0.5]])).flatten()
    tensor([ 8., 11.])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, output: Tensor) -> Tensor:
        return output * self.scale + self.mean


def give_unit(model: nn.Module, mean: Sequence[float], scale: Sequence[float]) -> nn.Module:
    """Let a network end in a `Unit`; it stays of its class, with its own methods."""
    model.unit = Unit(mean, scale)
    model.register_forward_hook(_in_unit)
    return model


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a `state_dict`; one of a network without a unit says its numbers as they are."""
    unit = getattr(model, "unit", None)
    if isinstance(unit, Unit):
        plain = {"unit.mean": torch.zeros_like(unit.mean), "unit.scale": torch.ones_like(unit.scale)}
        weights = plain | dict(weights)
    model.load_state_dict(weights)


def _in_unit(model: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    said: Tensor = model.unit(output)  # type: ignore[operator]
    return said


def load_checkpoint(model: nn.Module, state: Mapping[str, Any], path: Path, name: str) -> None:
    """Give a model the weights of a checkpoint.

    Args:
        model: built as the run's settings say.
        state: what the checkpoint holds.
        path: its file, for sentences.
        name: what the model is called.

    Raises:
        RunError: the weights are not finite, or of another model.
    """
    try:
        checkpoint.check_finite(path, state["model"])
        load_weights(model, state["model"])
    except RunError:
        raise
    except (KeyError, RuntimeError, AttributeError) as error:
        raise RunError(f"{path} is not a checkpoint of {name} with these settings") from error
