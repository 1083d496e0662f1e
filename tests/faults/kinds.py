"""Short runs of every kind, and whether two run folders hold the same."""

from __future__ import annotations

import json
import random
import re
import shutil
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.faults.child import Ended, Fault, run
from tests.train.breaks import assert_same_content

FEW = ["--epochs", "3"]
KINDS: dict[str, list[str]] = {
    "node": ["node", "--dataset", "karate", "--hidden", "4", *FEW],
    "seeds": ["node", "--dataset", "karate", "--hidden", "4", "--runs", "2", *FEW],
    "folds": ["node", "--dataset", "karate", "--hidden", "4", "--folds", "2", *FEW],
    "own": ["node", "--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "team", "--hidden", "4", *FEW],
    "edge": ["edge", "--dataset", "karate", "--hidden", "4", *FEW],
    "graph": ["graph", "--dataset", "cycles", "--hidden", "4", "--layers", "2", "--epochs", "2"],
    "image": ["image", "--dataset", "digits", "--epochs", "1"],
    "text": [
        *("text", "--dataset", "play.txt", "--epochs", "2", "--steps", "2", "--context", "8"),
        *("--batch-size", "4", "--hidden", "8", "--layers", "1"),
    ],
    "embed": ["embed", "--dataset", "karate", "--walks", "4", "--dimensions", "4", "--length", "8"],
}


def write_data(folder: Path) -> None:
    """The files that the runs read."""
    draw = random.Random(0)
    rows = [f"n{k},{draw.random():.3f},{'red' if k < 15 else 'blue'}" for k in range(30)]
    (folder / "nodes.csv").write_text("\n".join(["id,size,team", *rows]) + "\n")
    ends = [f"n{k},n{(k + way) % 30}" for k in range(30) for way in (1, 7)]
    (folder / "net.csv").write_text("\n".join(["source,target", *ends]) + "\n")
    (folder / "play.txt").write_text("".join(draw.choices(string.ascii_lowercase + " \n", k=4000)))


def begin(kind: str, home: Path, *flags: str) -> list[str]:
    """The words that begin a run in a folder."""
    return ["train", *KINDS[kind], "--out", str(home), *(flags or ["--no-pictures"])]


def go_on(kind: str, home: Path, *flags: str) -> list[str]:
    """The words that resume it."""
    return ["train", KINDS[kind][0], "--resume", str(home), *(flags or ["--no-pictures"])]


class Whole:
    """A run without a break: its files, and how many steps of writing it took."""

    def __init__(self, kind: str, home: Path, *flags: str) -> None:
        self.kind, self.home, self.flags = kind, home, flags
        write_data(home.parent)
        run(begin(kind, home, *flags), home)  # kernels are compiled now
        shutil.rmtree(home)
        ended = run(begin(kind, home, *flags), home)
        assert ended.code == 0, ended.err
        self.steps, self.files = ended.steps, contents(home)
        shutil.rmtree(home)

    def broken(self, fault: Fault) -> Ended:
        """The run in which something goes wrong."""
        shutil.rmtree(self.home, ignore_errors=True)
        return run(begin(self.kind, self.home, *self.flags), self.home, fault)

    def check_goes_on(self) -> None:
        """Raise unless the run, begun again or resumed, comes to the same files."""
        there = (self.home / "config.json").exists()
        words = (go_on if there else begin)(self.kind, self.home, *self.flags)
        ended = run(words, self.home)
        assert ended.code == 0, f"{' '.join(words)}: exit {ended.code}: {ended.err}"
        self.check_same()

    def check_same(self) -> None:
        """Raise unless the folder holds what that of the run without a break did."""
        found = contents(self.home)
        assert found.keys() == self.files.keys(), found.keys() ^ self.files.keys()
        for name, content in found.items():
            assert_same_content(content, self.files[name], name)


def contents(home: Path) -> dict[str, Any]:
    """What the files of a run hold, by their names; of a damaged one this raises."""
    return {str(path.relative_to(home)): _content(path) for path in sorted(home.rglob("*")) if path.is_file()}


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays}
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return path.read_bytes()


def check_visible(home: Path) -> None:
    """Raise unless every file that is no draft can be read whole."""
    for path in home.rglob("*") if home.exists() else ():
        if path.is_file() and not path.name.endswith(".draft"):
            assert path.stat().st_size, f"{path} is empty"
            _content(path)


def check_sentence(ended: Ended) -> None:
    """Raise unless a process ended well, or with one sentence."""
    assert ended.code in (0, 2), f"exit {ended.code}: {ended.err}"
    assert "Traceback" not in ended.err, ended.err
    others = (
        "mpnn: warning: ",
        r"(training|walks|run \d+/\d+): +\d+/\d+ ",  # of a slow run
        "Error in cpuinfo: ",  # of a library of PyTorch's
        r"W\d{4} .* torch/fx/",  # of PyTorch, where it lacks memory
    )
    said = [line for line in ended.err.splitlines() if not re.match("|".join(others), line)]
    assert len(said) == (ended.code == 2) and all(line.startswith("mpnn: ") for line in said), ended.err
