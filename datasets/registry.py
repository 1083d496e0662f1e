"""Every data set by name. To add one: a loader in a file of its own, and its line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpnn.datasets.errors import DataError
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.places import is_there
from mpnn.datasets.problems import nearest

if TYPE_CHECKING:
    from mpnn.datasets.kinds import Dataset


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


def _by(module: str, function: str, *names: str, **options: Any) -> Callable[..., Dataset]:
    """A loader whose module is imported when it is called: a list of all data sets does not wait for it."""

    def load(*data: str | Path | None) -> Dataset:
        found: Dataset = getattr(import_module(f"mpnn.datasets.{module}"), function)(*names, *data, **options)
        return found

    return load


def _planetoid(name: str, about: str) -> Entry:
    return Entry(_by("planetoid", "load_planetoid", name), about, True)


def _tu(name: str, about: str, attributes: bool = False) -> Entry:
    return Entry(_by("tu", "load_tu", name, attributes=attributes), about, True, ("graph",))


def _shchur(name: str, about: str) -> Entry:
    return Entry(_by("shchur", "load_shchur", name), about, True)


def _drawn(name: str, about: str, *tasks: str, edge_labels: bool = False) -> Entry:
    return Entry(_by("synthetic", f"load_{name}"), f"{about}; drawn", False, tasks, edge_labels)


DATASETS = {
    "karate": Entry(
        _by("karate", "load_karate"), "Zachary's karate club: 34 members, 2 clubs; embedded, no files", False
    ),
    "cora": _planetoid("cora", "2,708 papers on machine learning, 7 subjects"),
    "citeseer": _planetoid("citeseer", "3,327 papers on computing, 6 subjects"),
    "pubmed": _planetoid("pubmed", "19,717 papers on diabetes, 3 kinds of it"),
    "amazon-computers": _shchur("amazon-computers", "13,752 goods bought together, 10 categories"),
    "amazon-photo": _shchur("amazon-photo", "7,650 goods bought together, 8 categories"),
    "coauthor-cs": _shchur("coauthor-cs", "18,333 computer scientists, 15 fields"),
    "coauthor-physics": _shchur("coauthor-physics", "34,493 physicists, 5 fields"),
    "blogcatalog": Entry(
        _by("mat", "load_mat", "blogcatalog"), "10,312 bloggers, 39 groups, several each", True
    ),
    "ppi": Entry(_by("mat", "load_mat", "ppi"), "3,890 human proteins, 50 states, several each", True),
    "sbm": _drawn("sbm", "300 nodes in 3 blocks; edges within or between", "node", "edge", edge_labels=True),
    "grid": _drawn("grid", "400 nodes, each with the mean of its neighbours", "node", "edge"),
    "crowds": _drawn("crowds", "24 graphs, 20 to train on; nodes with several labels each", "node"),
    "trees": _drawn("trees", "200 trees, each with its number of leaves", "graph"),
    "cycles": _drawn("cycles", "200 trees, half of them closed to a cycle", "graph"),
    "mutag": _tu("MUTAG", "188 molecules, mutagenic or not"),
    "proteins": _tu("PROTEINS", "1,113 proteins, enzymes or not"),
    "enzymes": _tu("ENZYMES", "600 enzymes, 6 classes of them; with node attributes", attributes=True),
    "nci1": _tu("NCI1", "4,110 compounds, active against lung cancer or not"),
    "imdb-binary": _tu("IMDB-BINARY", "1,000 casts, action or romance; features are degrees"),
    "digits": Entry(
        _by("digits", "load_digits"),
        "1,797 handwritten digits of 8 × 8 pixels; embedded",
        False,
        ("image",),
    ),
    "mnist": Entry(
        _by("digits", "load_mnist"), "70,000 handwritten digits of 28 × 28 pixels", True, ("image",)
    ),
    "fashion-mnist": Entry(
        _by("digits", "load_fashion_mnist"), "70,000 garments of 28 × 28 pixels, 10 kinds", True, ("image",)
    ),
    "cifar10": Entry(
        _by("cifar", "load_cifar10"), "60,000 pictures of 32 × 32 pixels, 10 kinds", True, ("image",)
    ),
    "shapes": Entry(
        _by("shapes", "load_shapes"),
        "400 images of 32 × 32 pixels with circles, squares, triangles; drawn",
        False,
        ("segment",),
    ),
    "shakespeare": Entry(
        _by("text_record", "load_shakespeare"), "1,115,394 characters of plays", True, ("text",)
    ),
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
    read: Callable[[Path, Columns], Dataset] | None = None,
) -> Dataset:
    """Return the data set called `name`, one of `DATASETS`, or the one in a file or folder of yours.

    Args:
        name: which one, or the path of a file or folder of yours.
        data: the folder with the files of a data set; by default the one that the environment variable
            `MPNN_DATA` names; without either they are downloaded.
        columns: which column of your file is what.
        read: reads your file; by default `load_own`.

    Raises:
        DataError: the name is unknown, or files are missing or damaged.

    >>> load("karate").class_names
    ('Mr. Hi', 'Officer')
    """
    name = called(name)
    if name not in DATASETS and (is_there(Path(name)) or Path(name).suffix or "/" in name):
        if data is not None:
            raise DataError(f"data is {str(data)!r}, but {name} is a path already: leave it out")
        from mpnn.datasets.own.load import load_own

        return (read or load_own)(Path(name), columns or Columns())
    if columns not in (None, Columns()):
        from mpnn.datasets.own.readers import ENDINGS

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
