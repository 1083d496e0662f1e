"""Every data set by name. To add one: a loader in a file of its own, and its line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mpnn.datasets.digits import load_digits, load_mnist
from mpnn.datasets.files import is_there
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.karate import load_karate
from mpnn.datasets.mat import load_mat
from mpnn.datasets.own import ENDINGS, Columns, load_own
from mpnn.datasets.planetoid import load_planetoid
from mpnn.datasets.problems import nearest
from mpnn.datasets.record import DataError, NodeDataset
from mpnn.datasets.shchur import load_shchur
from mpnn.datasets.synthetic import load_crowds, load_cycles, load_grid, load_sbm, load_trees
from mpnn.datasets.text_record import TextDataset, load_shakespeare
from mpnn.datasets.tu import load_tu

Dataset = NodeDataset | GraphDataset | ImageDataset | TextDataset


@dataclass(frozen=True)
class Entry:
    """A data set.

    Args:
        load: returns it.
        about: what it is, in a line.
        reads_files: whether it is read from files; then `load` takes `data`.
        tasks: the kinds of tasks that it is for.
        edge_labels: whether its edges have classes, labels or numbers to learn.
    """

    load: Callable[..., Dataset]
    about: str
    reads_files: bool
    tasks: tuple[str, ...] = ("node", "edge")
    edge_labels: bool = False


def _tu(name: str, about: str, attributes: bool = False) -> Entry:
    return Entry(partial(load_tu, name, attributes=attributes), about, True, ("graph",))


def _shchur(name: str, about: str) -> Entry:
    return Entry(partial(load_shchur, name), about, True)


DATASETS = {
    "karate": Entry(load_karate, "Zachary's karate club: 34 members, 2 clubs; embedded, no files", False),
    "cora": Entry(partial(load_planetoid, "cora"), "2,708 papers on machine learning, 7 subjects", True),
    "citeseer": Entry(partial(load_planetoid, "citeseer"), "3,327 papers on computing, 6 subjects", True),
    "pubmed": Entry(partial(load_planetoid, "pubmed"), "19,717 papers on diabetes, 3 kinds of it", True),
    "amazon-computers": _shchur("amazon-computers", "13,752 goods bought together, 10 categories"),
    "amazon-photo": _shchur("amazon-photo", "7,650 goods bought together, 8 categories"),
    "coauthor-cs": _shchur("coauthor-cs", "18,333 computer scientists, 15 fields"),
    "coauthor-physics": _shchur("coauthor-physics", "34,493 physicists, 5 fields"),
    "blogcatalog": Entry(partial(load_mat, "blogcatalog"), "10,312 bloggers, 39 groups, several each", True),
    "ppi": Entry(partial(load_mat, "ppi"), "3,890 human proteins, 50 states, several each", True),
    "sbm": Entry(load_sbm, "300 nodes in 3 blocks, drawn; edges within or between", False, edge_labels=True),
    "grid": Entry(load_grid, "400 nodes, each with the mean of its neighbours; drawn", False),
    "crowds": Entry(
        load_crowds, "24 graphs, 20 to train on; nodes with several labels each; drawn", False, ("node",)
    ),
    "trees": Entry(load_trees, "200 trees, each with its number of leaves; drawn", False, ("graph",)),
    "cycles": Entry(load_cycles, "200 trees, half of them closed to a cycle; drawn", False, ("graph",)),
    "mutag": _tu("MUTAG", "188 molecules, mutagenic or not"),
    "proteins": _tu("PROTEINS", "1,113 proteins, enzymes or not"),
    "enzymes": _tu("ENZYMES", "600 enzymes, 6 classes of them; with node attributes", attributes=True),
    "nci1": _tu("NCI1", "4,110 compounds, active against lung cancer or not"),
    "imdb-binary": _tu("IMDB-BINARY", "1,000 casts, action or romance; features are degrees"),
    "digits": Entry(load_digits, "1,797 handwritten digits of 8 × 8 pixels; embedded", False, ("image",)),
    "mnist": Entry(load_mnist, "70,000 handwritten digits of 28 × 28 pixels", True, ("image",)),
    "shakespeare": Entry(load_shakespeare, "1,115,394 characters of plays", True, ("text",)),
}


def called(name: str) -> str:
    """The name of a data set as `DATASETS` has it, whose letters may be large or small; others stay.

    >>> called("Cora")
    'cora'
    """
    return name.lower() if name.lower() in DATASETS and not is_there(Path(name)) else name


def load(
    name: str,
    data: str | Path | None = None,
    columns: Columns | None = None,
    *,
    read: Callable[[Path, Columns], Dataset] = load_own,
) -> Dataset:
    """Return the data set called `name`, one of `DATASETS`, or the one in a file or folder of yours.

    Args:
        name: which one, or the path of a file or folder of yours.
        data: the folder with the files of a data set; by default the one that the environment variable
            `MPNN_DATA` names; without either they are downloaded.
        columns: which column of your file is what.
        read: reads your file.

    Raises:
        DataError: the name is unknown, or files are missing or damaged.

    >>> load("karate").class_names
    ('Mr. Hi', 'Officer')
    """
    name = called(name)
    if name not in DATASETS and (is_there(Path(name)) or Path(name).suffix or "/" in name):
        if data is not None:
            raise DataError(f"data is {str(data)!r}, but {name} is a path already: leave it out")
        return read(Path(name), columns or Columns())
    if columns not in (None, Columns()):
        raise DataError(
            f"columns are named, but {name} is no file of yours: they are for {', '.join(ENDINGS)}"
        )
    if name not in DATASETS:
        raise DataError(
            f"dataset is {name!r}, but should be one of {', '.join(DATASETS)}{nearest(name, DATASETS)}"
        )
    entry = DATASETS[name]
    if entry.reads_files:
        return entry.load(data)
    if data is not None:
        raise DataError(f"data is {str(data)!r}, but {name} is embedded and reads no files: leave it out")
    return entry.load()
