"""The flags of `mpnn train`: the same for every task, of which help shows those that apply."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.places import is_there
from mpnn.datasets.problems import nearest
from mpnn.datasets.registry import DATASETS
from mpnn.train.choices import FEATURES, FORMATS, LATTICES, LOGS, LOSSES, PICTURES, RULES, Several, Span
from mpnn.train.errors import RunError
from mpnn.train.kinds.faces import Face, known_faces
from mpnn.train.options import (
    DECAYED,
    DECODERS,
    LEARN,
    MONITORS,
    OPTIMIZERS,
    PREDICTED,
    SCHEDULES,
    SPLITS,
)
from mpnn.train.record import NO_COLUMNS, OF_COLUMNS, gathered

SEVERAL = """several values:
  --lr 0.1,0.01 --model A,B            trains every combination; the best is that of the validation items
  --tune 50 --lr 0.001:0.1 --model A,B searches 50 runs; without such flags, the usual ones"""
# Flags whose commas mean something else, and those that say where and how often, of which a run has one.
NOT_TRIED = {
    "tune",
    "dataset",
    "data",
    "class_weights",
    "learn",
    "augment",
    "weights",
    "fanouts",
    "folds",
    "fold",
    "seed",
    "runs",
    "device",
    *OF_COLUMNS,
}
COLUMNS = {
    "--source": "where an edge comes from (default: first column)",
    "--target": "where it goes to (default: second column)",
    "--node-id": "the name of a node (default: first column of --nodes that holds all ends of edges)",
    "--label": "what is to be learned of nodes or graphs; several divided by commas",
    "--graph-id": "which of several graphs a node or edge is in",
    "--smiles": "a molecule, in a table of them (graph)",
    "--part": "what a node is for: train, val, test or nothing",
    "--edge-label": "what is to be learned of edges",
    "--edge-type": "which relation an edge is",
    "--edge-weight": "how much an edge weighs",
    "--ignore": "no features, several divided by commas",
}


def add_training_flags(parser: argparse.ArgumentParser, face: Face) -> None:
    """Add one flag for each setting, and those that say where files are; settings have the defaults.

    Help leaves out what has no effect on such tasks; who gives it all the same is told which tasks have it.
    """
    datasets = {name: entry.about for name, entry in DATASETS.items() if face.suits(entry)}
    lists = (
        listing(f"data sets (default: {face.dataset}):", datasets),
        listing(f"models (default: {face.model}):", face.models()),
        SEVERAL,
    )
    parser.epilog = "\n".join(lists)
    _add_task_flags(parser, face)
    model = parser.add_argument_group("model")
    _adder(model, face)("--model", metavar="NAME", help="what the model is made of (default: see below)")
    _add_model_flags(model, face)
    _add_recipe_flags(parser, face)


def listing(title: str, about: Mapping[str, str]) -> str:
    """Names and what they stand for, below each other.

    >>> print(listing("models:", {"gcn": "graph convolution", "graph": "sums"}))
    models:
      gcn    graph convolution
      graph  sums
    """
    width = max(map(len, about), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {what}" for name, what in about.items())])


def _adder(group: argparse._ArgumentGroup, face: Face | None) -> Callable[..., Any]:
    """Add flags to a group; help leaves out those that have no effect on tasks with this face."""

    def add(flag: str, **how: Any) -> None:
        name = how.get("dest", flag.removeprefix("--").replace("-", "_"))
        if face is not None and not face.lets_choose(name):
            how["help"] = argparse.SUPPRESS
        if face is not None and "action" not in how and name not in NOT_TRIED:
            choices = how.pop("choices", None)
            how.setdefault("metavar", choices and f"{{{','.join(choices)}}}")
            how["type"] = one_or_several(how.get("type", str), choices)
        group.add_argument(flag, **how)

    return add


def not_one_of(value: object, choices: Iterable[str]) -> str:
    """What is said of a word that is none of some others.

    >>> not_one_of("trian", ["train", "runs"])
    "invalid choice: 'trian' (choose from train, runs): did you mean 'train'?"
    """
    choices = list(choices)
    return f"invalid choice: {value!r} (choose from {', '.join(choices)}){nearest(str(value), choices)}"


def one_or_several(kind: type[str | int | float], choices: Sequence[str] | None) -> Callable[[str], Any]:
    """A reader of a flag's value: one, or several divided by commas, or two with a colon between them.

    >>> one_or_several(float, None)("0.1"), one_or_several(float, None)("0.1,0.01")
    (0.1, (0.1, 0.01))
    """

    def read(text: str) -> Any:
        if kind is not str and ":" in text:
            low, high = (kind(part) for part in text.split(":"))
            if not float(low) < float(high):
                raise argparse.ArgumentTypeError(f"a span goes from low to high, but is {text!r}")
            return Span(low, high)
        values = [kind(part.strip()) for part in text.split(",")]
        for value in values:
            if choices is not None and value not in choices:
                raise argparse.ArgumentTypeError(not_one_of(value, choices))
            if values.count(value) > 1:
                raise argparse.ArgumentTypeError(f"{value!r} is named twice")
        return values[0] if len(values) == 1 else Several(values)

    read.__name__ = kind.__name__  # argparse calls the value of another type so
    return read


def add_inspection_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Add those of `mpnn explain` and `mpnn diagnose`."""
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or the name of a new model")
    parser.add_argument("--task", choices=known_faces(), help="default: what is usually learned of the data")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")
    add_anyway_flag(parser.add_argument)
    parser.add_argument("--seed", type=int, metavar="N", help="of the new model (default: 0)")
    if command == "explain":
        parser.add_argument("--c-code", action="store_true", help="print the generated C too")
    else:
        parser.add_argument("--pictures", choices=FORMATS, help="how pictures are saved (default: png)")
        parser.add_argument("--node", type=int, metavar="N", help="whose output (default: 16 nodes, drawn)")
        parser.add_argument(
            "--out", metavar="DIR", help="where to draw (default: the run's folder, or a new one in runs/)"
        )
    _add_task_flags(parser)
    _add_model_flags(parser.add_argument_group("model"))


def _add_task_flags(parser: argparse.ArgumentParser, face: Face | None = None) -> None:
    group = parser.add_argument_group("what")
    add_data_flags(group, face)
    add = _adder(group, face)
    add("--largest-component", action="store_true", help="drop nodes that no path joins to most others")
    about = "what is made of features (default: standard of own tables, else given)"
    add("--features", choices=FEATURES, help=about)
    add(
        "--split",
        choices=SPLITS,
        help="which items are for what (default: public if there is one, else random)",
    )
    add("--val-share", type=float, metavar="X", help="share to validate on, of a random split")
    add("--test-share", type=float, metavar="X", help="share to test on, of a random split")
    add("--folds", type=int, metavar="N", help="cross-validation with N folds and an inner validation part")
    add("--fold", type=int, metavar="N", help="only this fold, counted from 0")
    add(
        "--shared-epoch",
        action="store_true",
        help="of all folds, the epoch with the best mean over them",
    )
    add("--predict", choices=PREDICTED, help="which links there are, or labels of edges (edge)")


def _add_model_flags(group: argparse._ArgumentGroup, face: Face | None = None) -> None:
    add = _adder(group, face)
    add("--layers", type=int, metavar="N", help="number of layers")
    add("--hidden", type=int, metavar="N", help="channels of a hidden layer, of each head if it has heads")
    add("--heads", type=int, metavar="N", help="attention heads of hidden layers")
    add("--out-heads", type=int, metavar="N", help="attention heads of the last layer")
    add("--act", metavar="NAME", help="activation: relu, elu, ...")
    add("--norm", metavar="NAME", help="normalisation of hidden layers: batch, layer, graph, pair")
    add("--jk", metavar="NAME", help="jumping knowledge: last, cat, max, lstm")
    add("--residual", action="store_true", help="add the input of hidden layers to their output")
    add("--virtual-node", action="store_true", help="link all nodes through one more, between two layers")
    add("--readout", metavar="NAME", help="how nodes become a graph: sum, mean, max, ... (graph)")
    about = "channels of the vector of a node (edge), or of the code of an image (image)"
    add("--embedding", type=int, metavar="N", help=about)
    add("--map", metavar="RxC", help="rows and columns of a self-organising map (default: 10x10)")
    add("--lattice", choices=LATTICES, help="which of its units are neighbours")
    add("--patterns", type=int, metavar="N", help="how many pictures are remembered (default: 10) (memory)")
    about = "share of pixels that are spoiled before recall (default: 0.1) (memory)"
    add("--noise", type=float, metavar="X", help=about)
    add("--rule", choices=RULES, help="how they are remembered (default: pseudo-inverse) (memory)")
    add("--pretrain", type=int, metavar="N", help="epochs in which each layer of a dbn learns alone")
    add("--decoder", choices=DECODERS, help="how two vectors become a link (edge)")


def _add_recipe_flags(parser: argparse.ArgumentParser, face: Face) -> None:
    add = _adder(parser.add_argument_group("how"), face)
    add("--hits", type=int, metavar="K", help="of the metric Hits@K (default: 20) (edge)")
    add("--self-links", action="store_true", help="in training, each node is linked with itself too (edge)")
    about = "whether answers are classes or numbers (default: numbers if one has a decimal point)"
    add("--task", dest="learn", choices=LEARN, help=about)
    add("--loss", choices=LOSSES, help="what is made small (default: the first that suits the data)")
    add("--class-weights", metavar="W", help="balanced, or numbers divided by commas")
    add("--known-counts", action="store_true", help="predict as many labels of an item as it truly has")
    add("--batch-size", type=int, metavar="N", help="graphs, nodes, images or pieces of text in a batch")
    about = "how images to learn from are changed: crop, shift, flip, rotate, zoom, erase, divided by commas"
    add("--augment", metavar="NAME,NAME", help=about)
    add(
        "--weights",
        metavar="FILE",
        help="begin with these: .pth or .safetensors, such as torchvision's (image, segment)",
    )
    about = "only the last layer learns; the others keep their weights and statistics"
    add("--freeze", action="store_true", help=about)
    add("--ensemble", type=int, metavar="N", help="N networks from other starts; their mean is the answer")
    about = "with --batch-size: edges drawn for a node in each layer, the last first (default: 10,10; all)"
    add("--fanouts", metavar="N,N", help=about)
    add("--context", type=int, metavar="N", help="characters in a piece of text (text)")
    add("--steps", type=int, metavar="N", help="batches in an epoch (text)")
    add("--epochs", type=int, metavar="N", help="how many at most")
    add("--optimizer", choices=OPTIMIZERS, help="default: adam")
    add("--lr", type=float, metavar="X", help="learning rate")
    add("--momentum", type=float, metavar="X", help="of sgd and rmsprop")
    add("--nesterov", action="store_true", help="look ahead by the momentum, with sgd")
    add("--schedule", choices=SCHEDULES, help="of the learning rate")
    add("--decay", type=float, metavar="X", help="factor of step and plateau (default: 0.5)")
    add("--decay-every", type=int, metavar="N", help="epochs of a step (50), or of waiting on a plateau (10)")
    add("--warmup", type=int, metavar="N", help="epochs in which the learning rate rises")
    add("--weight-decay", type=float, metavar="X", help="L2 penalty")
    add("--decayed", choices=DECAYED, help="whose weights have the penalty")
    add("--l1", type=float, metavar="X", help="L1 penalty")
    add("--clip", type=float, metavar="X", help="largest norm of the gradient")
    add("--dropout", type=float, metavar="P", help="dropout of every layer's input and of attention")
    add("--attention-dropout", type=float, metavar="P", help="of attention weights, where it is another")
    add("--patience", type=int, metavar="N", help="stop after N epochs without progress")
    add("--monitor", choices=MONITORS, help="what progress on the validation items is")
    add("--tune", type=int, metavar="N", help="search N runs by Optuna, the best by validation (see below)")
    add("--seed", type=int, metavar="N", help="of the first run (default: 0)")
    add("--runs", type=int, metavar="N", help="train N times, with seeds counting up (default: 1)")
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")
    add = parser.add_argument_group("files").add_argument
    add("--log", choices=LOGS, help="tell it the numbers of every epoch too, if it is installed")
    add_file_flags(add)


def add_data_flags(group: argparse._ArgumentGroup, face: Face | None = None) -> None:
    """Add the flags that say what the data is; help leaves out those of tasks with another face."""
    add = _adder(group, face)
    add("--dataset", metavar="NAME", help="data set, or a file of your own (default: see below)")
    add("--data", metavar="DIR", help="folder with its files (default: $MPNN_DATA, else downloaded)")
    add("--nodes", metavar="FILE", help="of a file of your own: table of its nodes")
    about = "of a file of your own: features of nodes, .npy, .npz or .json, rows in the order of --nodes"
    add("--features-file", metavar="FILE", help=about)
    add(
        "--graph-labels",
        metavar="FILE",
        help="of a file of your own: table with a row for each graph (graph)",
    )
    for flag, what in COLUMNS.items():
        add(flag, metavar="COLUMN", help=f"of a file of your own: {what}")
    add("--directed", action="store_true", help="of a file of your own: edges go one way")


def add_file_flags(add: Callable[..., Any]) -> None:
    """Add the flags that say where the run's files are."""
    add("--config", metavar="FILE", help="settings from a TOML file or a config.json")
    add("--out", metavar="DIR", help="run folder, new or empty (default: a new one in runs/)")
    add("--resume", metavar="DIR", help="go on with the interrupted run in DIR")
    add_anyway_flag(add)
    add("--pictures", choices=PICTURES, help="how pictures are saved (default: png)")
    add("--no-pictures", action="store_true", help="draw nothing: as --pictures none")


def add_anyway_flag(add: Callable[..., Any]) -> None:
    """Add the flag that uses a checkpoint with other data or settings."""
    about = "warn, in place of stopping, where data or settings are not those of the checkpoint"
    add("--anyway", action="store_true", help=about)


def taken_anyway(flags: dict[str, Any], resume: str | None) -> bool:
    """Take the flag `anyway` out of the flags; only a resumed run has a checkpoint."""
    anyway: bool = flags.pop("anyway", False)
    if anyway and resume is None:
        raise RunError("anyway is given, but no run is resumed: leave it out")
    return anyway


def with_pictures(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags with the setting that the flags of pictures are: a resumed run draws as it did."""
    flags = dict(flags)
    if flags.pop("no_pictures", False):
        kind = flags.setdefault("pictures", "none")
        if kind != "none":
            raise RunError(
                f"pictures is {kind!r}, but with no_pictures nothing is drawn: leave one of them out"
            )
    return flags


def absolute_paths(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags with whole paths, so that a run can be resumed from anywhere."""
    flags = dict(flags)
    for name in ("data", "nodes", "features_file", "graph_labels", "weights", "dataset"):
        given = flags.get(name)
        if given and given not in DATASETS and (name != "dataset" or is_there(Path(given))):
            flags[name] = str(Path(given).absolute())
    return flags


def columns_of(flags: dict[str, Any]) -> Columns:
    """Which column of your own file is what, from the flags."""
    columns: Columns = gathered(flags).get("columns", NO_COLUMNS)
    return columns
