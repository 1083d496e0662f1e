"""Formats of weights: folders of Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mpnn.models import Bert
from tests.fuzz_files.format import Format
from tests.models.language.folders import small, write_folder


def _make(pickled: bool) -> Any:
    return lambda folder: write_folder(folder, small().state_dict(), pickled=pickled)


def _read(folder: Path) -> Any:
    """What a network says of a text."""
    with torch.no_grad():
        return Bert.from_pretrained(folder)(torch.tensor([[2, 7, 3]])).last_hidden_state


OF_WEIGHTS = [
    Format("safetensors", "model.safetensors", _make(False), _read),
    Format("weights bin", "pytorch_model.bin", _make(True), _read, sums=True),
    Format("config of weights", "config.json", _make(False), _read),
]
