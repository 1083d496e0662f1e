"""Formats of the cache of kernels: libraries, sums, and what is remembered of a compiler and of trials."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

import mpnn
from mpnn import Graph
from tests.fuzz_files.format import Format


def _make(folder: Path) -> None:
    (folder / "cache").mkdir(mode=0o700)
    _read(folder)


def _read(folder: Path) -> Any:
    """What a kernel computes, in a process that has loaded none."""
    os.environ["MPNN_CACHE"] = str(folder / "cache")
    x = torch.linspace(-1, 1, 24).view(6, 4).requires_grad_()
    graph = Graph(torch.tensor([[0, 1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 0, 3]]), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is compiled again
        out = mpnn.propagate(graph, lambda x_i, x_j: (x_i - x_j).relu(), aggr="sum", x=x)
        out.square().sum().backward()
    return [out, x.grad]


OF_KERNELS = [
    Format(f"kernel {ending}", f"cache/*{ending}", _make, _read, sums=True, heals=True)
    for ending in (".so", ".tools", ".trial")
]
