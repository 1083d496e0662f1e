"""Every benchmark runs, on the smallest sizes: a script that rots is found before its numbers are wanted.

The scripts run in this process, where importing PyTorch costs nothing any more. Those for a GPU, and what the
tables of two pages are made by, have tests of their own besides.
"""

from __future__ import annotations

import gzip
import re
import runpy
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

HOME = Path(__file__).parents[1]
BENCHMARKS = HOME / "benchmarks"
TREES = "(3 (2 It) (4 (3 works) (2 well)))\n(1 (2 Not) (2 so))\n(2 Fine)\n"

RUNS = {
    "dbn.py": ["--pretrain 1 --epochs 1 --images 100 --data {folder}"],
    "encoder.py": ["--starts 2 --cycles 2"],
    "ising.py": ["--side 4 --sweeps 20 --chains 2"],
    "rbm.py": ["exact --epochs 1 --data {folder}", "annealed --epochs 1 --steps 20 --data {folder}"],
    "autoencoders.py": [
        f"{figure} --dataset digits --epochs 1 --images 40 --pictures {{folder}}"
        for figure in ("vae", "deep", "binarised")
    ],
    "calls.py": ["--layers GCN GAT --rounds 1 --calls 1"],
    "dense.py": ["--tiny --repeats 1", "--one 1", "--one 1 --way layer", "--long-one causal 16"],
    "epochs.py": ["--dataset karate cycles --layers gcn sage --repeats 1"],
    "explanations.py": ["--houses 2 --epochs 2"],
    "hetero.py": ["--nodes 50 --degree 2 --width 16 --repeats 1"],
    "kernels.py": ["--graph tiny --repeats 1"],
    "layers.py": ["--graph tiny --layers GCN RGCN --repeats 1", "--graph tiny --layers GCN --one mpnn"],
    "maps.py": ["--repeats 1 --samples 50 --pictures {folder}"],
    "multi30k.py": [
        f"--data {{folder}} --model {model} --epochs 1 --width 8" for model in ("recurrent", "transformer")
    ],
    "networks.py": ["--repeats 1 --threads 1"],
    "neurons.py": ["--dataset digits --epochs 2 --centers 5", "--dataset digits --only rbf --centers 3"],
    "ravine.py": ["--picture {folder}/ravine.png"],
    "results.py": ["--write --home {folder} --page {folder}/results.md"],
    "sst.py": [f"--data {{folder}} --hidden 3 --epochs 1 --task {task}" for task in ("fine", "binary")],
    "sweeps.py": ["--nodes 30 --chains 1 3 --repeats 1"],
    "tree_lstm.py": ["--data {folder} --batches 1 --repeats 1"],
    "unification.py": ["--only GCNConv"],
    "zoo.py": ["--one resnet18 --way mpnn --mode inference --batch 1"],  # the other way needs torchvision
    "walks.py": ["--graph tiny --walks 10 --length 5 --repeats 1 --threads 1"],
}
# In tests/test_gpu_benchmark.py, tests/test_hopfield_benchmark.py, tests/test_vowels_benchmark.py, and below.
ELSEWHERE = {"gpu.py", "gpu_code.py", "hopfield.py", "vowels.py", "dgl_layers.py"}


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What a script sets for its process is set back."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with np.errstate():
        yield
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)


def write_digits(folder: Path) -> None:
    """The four files of MNIST, with few images."""
    for part, number in (("train", 200), ("t10k", 100)):
        drawn = np.random.default_rng(number)
        images, labels = drawn.integers(0, 256, (number, 28, 28)), drawn.integers(0, 10, number)
        images[0, 0, :2] = 0, 255
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


def run(script: str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(BENCHMARKS / script), *arguments])
        try:
            runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*is not the published file")
@pytest.mark.parametrize(
    ("script", "arguments"), [(script, line) for script, lines in RUNS.items() for line in lines]
)
def test_a_script_runs_to_its_end_and_prints_numbers(
    script: str, arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text(TREES)
    write_digits(tmp_path)
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.txt").write_text(TREES)
    for part in ("train", "val", "test_2016_flickr"):
        for language, text in (("de", "Ein Hund.\nZwei Hunde.\n"), ("en", "A dog.\nTwo dogs.\n")):
            (tmp_path / f"{part}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    shutil.copy(HOME / "docs/results.md", tmp_path)
    run(script, *arguments.format(folder=tmp_path).split())
    printed = capsys.readouterr().out
    assert "nan" not in printed.lower().split()
    assert script == "results.py" or re.search(r"\d", printed)


def test_every_script_is_run() -> None:
    scripts = {file.name for file in BENCHMARKS.glob("*.py") if '__name__ == "__main__"' in file.read_text()}
    assert scripts == RUNS.keys() | ELSEWHERE


def test_what_needs_dgl_says_so_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dgl", None)
    with pytest.raises(SystemExit, match="There is no DGL here: name a Python that has it"):
        run("dgl_layers.py", "tiny", "1")
