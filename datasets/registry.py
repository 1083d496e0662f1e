"""Every data set by name. To add one: a loader in a file of its own, and its line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.karate import load_karate
from mpnn.datasets.planetoid import load_planetoid
from mpnn.datasets.record import DataError, NodeDataset
from mpnn.datasets.tu import load_tu

Dataset = NodeDataset | GraphDataset


@dataclass(frozen=True)
class Entry:
    """A loader, one line about what it loads, whether it reads files (then it takes `data`), and for what."""

    load: Callable[..., Dataset]
    about: str
    reads_files: bool
    tasks: tuple[str, ...] = ("node", "edge")


def _tu(name: str, about: str, attributes: bool = False) -> Entry:
    return Entry(partial(load_tu, name, attributes=attributes), about, True, ("graph",))


DATASETS = {
    "karate": Entry(load_karate, "Zachary's karate club: 34 members, 2 clubs; embedded, no files", False),
    "cora": Entry(partial(load_planetoid, "cora"), "2,708 papers on machine learning, 7 subjects", True),
    "citeseer": Entry(partial(load_planetoid, "citeseer"), "3,327 papers on computing, 6 subjects", True),
    "pubmed": Entry(partial(load_planetoid, "pubmed"), "19,717 papers on diabetes, 3 kinds of it", True),
    "mutag": _tu("MUTAG", "188 molecules, mutagenic or not"),
    "proteins": _tu("PROTEINS", "1,113 proteins, enzymes or not"),
    "enzymes": _tu("ENZYMES", "600 enzymes, 6 classes of them; with node attributes", attributes=True),
    "nci1": _tu("NCI1", "4,110 compounds, active against lung cancer or not"),
    "imdb-binary": _tu("IMDB-BINARY", "1,000 casts, action or romance; features are degrees"),
}


def load(name: str, data: str | Path | None = None) -> Dataset:
    """Return the data set called `name`, one of `DATASETS`.

    Args:
        name: which one.
        data: the folder with its files; by default the one that the environment variable `MPNN_DATA` names,
            else they are downloaded.

    Raises:
        DataError: the name is unknown, or files are missing or damaged.

    >>> load("karate").class_names
    ('Mr. Hi', 'Officer')
    """
    if name not in DATASETS:
        raise DataError(f"dataset is {name!r}, but should be one of {', '.join(DATASETS)}")
    entry = DATASETS[name]
    if entry.reads_files:
        return entry.load(data)
    if data is not None:
        raise DataError(f"data is {str(data)!r}, but {name} is embedded and reads no files: leave it out")
    return entry.load()
