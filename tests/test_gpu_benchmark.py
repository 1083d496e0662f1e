"""The benchmarks for GPUs run from end to end without one: in Triton's interpreter, or its compiler alone."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HOME = Path(__file__).parents[1]


def run(*arguments: str, script: str = "gpu.py") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOME / "benchmarks" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    environment.pop("TRITON_INTERPRET", None)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_a_dry_run_fills_every_table() -> None:
    done = run("--dry", "--layers", "GAT", "SAGE-max")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:3] for line in done.stdout.splitlines() if line.startswith("| tiny")]
    assert [(name.strip(), first.strip()) for name, first in rows[:3]] == [
        ("tiny", "8"), ("tiny", "GAT"), ("tiny", "SAGE-max"),
    ]  # fmt: skip
    assert len(rows) == 4


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_what_the_compiler_makes_of_a_layer_is_told_without_a_gpu() -> None:
    done = run("--layers", "GCN", "--width", "4", script="gpu_code.py")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[2:8] for line in done.stdout.splitlines() if line.startswith("| GCN")]
    assert {cells[0].strip() for cells in rows} == {"forward", "backward, by source"}
    assert all(0 < int(cells[3]) <= 255 and int(cells[4]) == 0 for cells in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = run()
    assert done.returncode == 1
    assert done.stderr == "There is no CUDA device here: run it where there is one, or with --dry.\n"


def test_a_bare_machine_can_import_what_it_measures() -> None:
    absent = "scipy", "sklearn", "matplotlib", "rich"
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {absent!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import mpnn.models\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
