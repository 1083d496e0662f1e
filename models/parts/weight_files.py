"""Weights by name from a file: of safetensors, or as `torch.save` writes them. Nothing in a file is run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mpnn import files
from mpnn.models.parts.safetensors import read_safetensors

INSIDE = ("model", "state_dict")  # where a checkpoint of a training program has its weights


def read_weights(path: Path, error: files.Kind) -> dict[str, Tensor]:
    """The tensors of a file by name: a `state_dict`, or a checkpoint that has one inside.

    Args:
        path: of the file: in the format of safetensors if its name ends so, else as by `torch.save`.
        error: what is raised.

    Raises:
        error: the file is missing or damaged, or holds something else.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path, error)
    return read_pickled(path, error)


def read_pickled(path: Path, error: files.Kind) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote; nothing in it is run.

    Raises:
        error: the file is missing or damaged, or holds something else.
    """
    files.has_right_sums(path, error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file of another kind gets a sentence below, and no warning
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # for a damaged file torch.load raises many kinds of errors
        raise error(f"{path} is damaged, or holds more than tensors, which could run code") from None
    held = [found.get(name) for name in INSIDE] if isinstance(found, Mapping) else []
    for weights in (found, *held):
        if isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values()):
            return {str(name): tensor for name, tensor in weights.items()}
    raise error(f"{path} holds no tensors by name")
