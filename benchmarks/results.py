"""Published numbers, reproduced: train what the papers trained, and write what came out into docs/results.md.

    make results                                   # every row; what is finished is not done again
    python benchmarks/results.py --only cora-gcn   # some rows
    python benchmarks/results.py --write           # only the tables, of what is finished

Each row is one command, `mpnn train ...`, with its own folder under `runs/results`. An interrupted row
continues where it stopped; a row is finished when its folder has a `results.json`. Delete the folder to train
the row again.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpnn.train.command.cli import main as mpnn
from mpnn.train.runs.folder import CONFIG, RESULTS

HOME = Path(__file__).parents[1]
PAGE = HOME / "docs" / "results.md"
SECONDS = "seconds.json"


@dataclass(frozen=True)
class Row:
    """A published result: the command that reproduces it, its figures by metric, and its source."""

    name: str
    arguments: str
    published: dict[str, float]
    source: str

    @property
    def command(self) -> str:
        """The whole command line."""
        return f"mpnn train {self.arguments}"

    def flag(self, name: str) -> str | None:
        """The value of a flag of the command, or None."""
        words = shlex.split(self.arguments)
        return words[words.index(name) + 1] if name in words else None


@dataclass(frozen=True)
class Metric:
    """How a figure of `results.json` is shown."""

    key: str
    title: str
    scale: float
    digits: int

    def show(self, value: float, sign: str = "") -> str:
        """A published value, or a difference of two with `sign="+"`."""
        return f"{value:{sign}.{self.digits}f}"


METRICS = {
    "accuracy": Metric("test_accuracy", "accuracy", 100, 1),
    "digits": Metric("test_accuracy", "accuracy", 100, 2),
    "auc": Metric("test_auc", "AUC", 100, 1),
    "ap": Metric("test_ap", "AP", 100, 1),
    "micro": Metric("f1_micro", "F1 micro", 100, 1),
    "macro": Metric("f1_macro", "F1 macro", 100, 1),
    "nats": Metric("val_nats", "nats", 1, 3),
}
KIPF_2017, VELICKOVIC = "Kipf and Welling, 2017", "Veličković et al., 2018"
KIPF_2016, SHCHUR, ERRICA = "Kipf and Welling, 2016", "Shchur et al., 2018", "Errica et al., 2020"


def _public(dataset: str, model: str, published: float, source: str) -> Row:
    command = f"node --dataset {dataset} --model {model} --runs 10"
    return Row(f"{dataset}-{model}", command, {"accuracy": published}, source)


def _random(dataset: str, model: str, published: float, runs: int = 10) -> Row:
    command = f"node --dataset {dataset} --model {model} --runs {runs}"
    return Row(f"{dataset}-{model}", command, {"accuracy": published}, SHCHUR)


def _links(dataset: str, model: str, auc: float, ap: float) -> Row:
    command = f"edge --dataset {dataset} --model {model} --runs 10"
    return Row(f"{dataset}-{model}", command, {"auc": auc, "ap": ap}, KIPF_2016)


def _folds(dataset: str, published: float, source: str, more: str) -> Row:
    command = f"graph --dataset {dataset} --model gin --folds 10 {more}"
    return Row(f"{dataset}-gin", command, {"accuracy": published}, source)


INNER = "--batch-size 128 --epochs 200 --patience 50 --monitor accuracy"
GROUPS: dict[str, list[Row]] = {
    "public": [
        _public("cora", "gcn", 81.5, KIPF_2017),
        _public("cora", "gat", 83.0, VELICKOVIC),
        _public("cora", "sage", 83.3, "DGL's example"),
        _public("citeseer", "gcn", 70.3, KIPF_2017),
        _public("citeseer", "gat", 72.5, VELICKOVIC),
        _public("citeseer", "sage", 71.1, "DGL's example"),
    ],
    "links": [
        _links("cora", "gae", 91.0, 92.0),
        _links("cora", "vgae", 91.4, 92.6),
        _links("citeseer", "gae", 89.5, 89.9),
        _links("citeseer", "vgae", 90.8, 92.0),
    ],
    "graphs": [
        _folds("mutag", 89.4, "Xu et al., 2019", "--shared-epoch"),
        _folds("imdb-binary", 71.2, ERRICA, f"--readout mean --hidden 64 {INNER}"),
        _folds("proteins", 73.3, ERRICA, INNER),
        _folds("nci1", 80.0, ERRICA, INNER),
    ],
    "random": [
        _random("amazon-photo", "gcn", 91.2),
        _random("amazon-photo", "gat", 85.7),
        _random("amazon-photo", "sage", 91.4),
        _random("amazon-computers", "gcn", 82.6, 5),
        _random("amazon-computers", "gat", 78.0, 5),
        _random("amazon-computers", "sage", 82.4, 5),
        _random("coauthor-cs", "gcn", 91.1),
        _random("coauthor-cs", "gat", 90.5, 5),
        _random("coauthor-cs", "sage", 91.3, 1),
    ],
    "vectors": [
        Row(
            "blogcatalog-deepwalk",
            "embed --dataset blogcatalog --model deepwalk",
            {"micro": 41.5, "macro": 27.7},
            "DeepWalk's repository",
        ),
        Row(
            "blogcatalog-node2vec",
            "embed --dataset blogcatalog --model node2vec --p 0.25 --q 0.25 --lr 0.05",
            {"macro": 25.8},
            "Grover and Leskovec, 2016",
        ),
    ],
    "images": [
        Row(
            "mnist-lenet",
            "image --dataset mnist --model lenet --runs 3",
            {"digits": 99.05},
            "LeCun et al., 1998",
        ),
    ],
    "texts": [
        Row(
            "shakespeare-transformer",
            "text --dataset shakespeare --model transformer",
            {"nats": 1.88},
            "nanoGPT",
        ),
    ],
}


def run(row: Row, folder: Path) -> int:
    """Train a row, or resume it; return the command's exit code."""
    if (folder / RESULTS).exists():
        return 0
    words = shlex.split(row.arguments)
    where = ["--resume" if (folder / CONFIG).exists() else "--out", str(folder), "--no-pictures"]
    began = time.process_time()
    try:
        return mpnn(["train", *(words[:1] if where[0] == "--resume" else words), *where])
    finally:
        if folder.exists():
            before = json.loads((folder / SECONDS).read_text()) if (folder / SECONDS).exists() else 0.0
            (folder / SECONDS).write_text(json.dumps(before + time.process_time() - began))


def table(rows: list[Row], home: Path) -> str:
    """A Markdown table of the finished rows, then their commands."""
    lines, commands = [], []
    for row in rows:
        folder = home / row.name
        if not (folder / RESULTS).exists():
            continue
        found = json.loads((folder / RESULTS).read_text())
        ours, theirs, off = [], [], []
        for name in rows[0].published:
            metric, value = METRICS[name], row.published.get(name)
            mean, deviation = (metric.scale * found[metric.key][part] for part in ("mean", "std"))
            spread = f" ± {metric.show(deviation)}" if times(found) > 1 else ""
            ours.append(f"{metric.show(mean)}{spread}")
            theirs.append("–" if value is None else metric.show(value))
            off.append("–" if value is None else metric.show(mean - value, "+"))
        cells = [row.flag("--dataset"), row.flag("--model"), *map(" / ".join, (ours, theirs, off))]
        minutes = json.loads((folder / SECONDS).read_text()) / 60
        lines.append(f"| {' | '.join(map(str, cells))} | {times(found)} | {minutes:.1f} | {row.source} |")
        commands.append(f"    {row.command}")
    if not lines:
        return ""
    names = " / ".join(METRICS[name].title for name in rows[0].published)
    head = f"| data set | model | {names} | published | difference | runs | minutes | published by |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines, "", *commands])


def times(found: dict[str, Any]) -> int:
    """The number of values behind a mean: runs, or the splits on which one set of vectors was tested."""
    return len(found["runs"]) if "runs" in found else len(found["splits"]["f1_macro"])


def write(page: Path, home: Path) -> None:
    """Write the table of each group between its marks in the page."""
    text = page.read_text()
    for group, rows in GROUPS.items():
        parts = re.split(rf"(<!-- {group} -->\n)(?:.*?)(<!-- end -->)", text, flags=re.DOTALL)
        if len(parts) != 4:
            raise SystemExit(f"{page} has {len(parts) // 3} places for the group {group}, but should have 1.")
        before, start, end, after = parts
        text = f"{before}{start}\n{table(rows, home)}\n\n{end}{after}"
    page.write_text(text)


def main() -> int:
    """Read the command line."""
    rows = {row.name: row for group in GROUPS.values() for row in group}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=rows, default=list(rows), metavar="ROW", help=", ".join(rows))
    add("--write", action="store_true", help="train nothing")
    add("--home", type=Path, default=HOME / "runs" / "results", help="where the run folders are")
    add("--page", type=Path, default=PAGE, help="what the tables are written into")
    arguments = parser.parse_args()
    code = 0
    for name in [] if arguments.write else arguments.only:
        code = run(rows[name], arguments.home / name)
        if code:
            break
        write(arguments.page, arguments.home)
    write(arguments.page, arguments.home)
    return code


if __name__ == "__main__":
    sys.exit(main())
