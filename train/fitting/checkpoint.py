"""Files that are written whole or not at all, and read without running anything in them."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpnn import files
from mpnn.train.errors import RunError


def write(path: Path, content: bytes) -> None:
    """Replace a file of a run at once; see `mpnn.files.write`.

    Raises:
        RunError: it cannot be written; what was there before is still there.
    """
    files.write(path, content, RunError)


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the user names: behind a link, and into a pipe or a device, such as `/dev/stdout`.

    Raises:
        RunError: it cannot be written; what was there before is still there.
    """
    files.write(path, content, RunError, follow=True)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write(path, buffer.getvalue())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save` wrote. Nothing in the file is run.

    Raises:
        RunError: there is no such file, or it is damaged or something else.
    """
    if not path.exists():
        raise RunError(f"{path} does not exist: there is no checkpoint to go on from")
    files.has_right_sums(path, RunError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file of another kind gets a sentence below, and no warning
            state = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except Exception:  # for a damaged file torch.load raises many kinds of errors
        raise RunError(f"{path} is not a checkpoint of mpnn, or is damaged") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is not a checkpoint of mpnn: it holds a {type(state).__name__}")
    return state


def check_finite(path: Path, weights: Mapping[str, Any]) -> None:
    """Refuse the parameters of a model whose training had diverged.

    Raises:
        RunError: one holds NaN, or is no tensor.
    """
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise RunError(f"{path} is damaged: its weight {name} is a {type(value).__name__}")
        if value.is_floating_point() and value.isnan().any():
            raise RunError(f"{path} holds NaN in its weight {name}: the training that wrote it had diverged")


def write_table(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows of numbers as CSV, six significant digits each; a number that a row lacks is left empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    write(path, text.getvalue().encode())


def random_state() -> dict[str, Any]:
    """State of the generators that training draws from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put the generators back into a state that `random_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
