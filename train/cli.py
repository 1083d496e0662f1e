"""The command `mpnn`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TextIO

from mpnn.datasets import DATASETS, DataError
from mpnn.train.build import models
from mpnn.train.display import Display
from mpnn.train.errors import RunError
from mpnn.train.features import FEATURES
from mpnn.train.folder import read_config
from mpnn.train.objective import LOSSES
from mpnn.train.presets import preset
from mpnn.train.run import runs_of, train
from mpnn.train.settings import DECAYED, DECODERS, MONITORS, OPTIMIZERS, PREDICTED, SCHEDULES, SPLITS

USER_ERROR, INTERRUPTED = 2, 130
ABOUT = {
    "node": "classify the nodes of a graph, or predict their numbers",
    "edge": "predict links, classify edges, or predict their numbers",
    "graph": "classify graphs, or predict their numbers",
}
DEFAULTS = {
    "node": ("karate", "gcn"),
    "edge": ("cora", "gae"),
    "graph": ("mutag", "gin"),
}  # data set and model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C.

    >>> main(["train", "node", "--dataset", "karat"])
    2
    """
    try:
        arguments = vars(_parser().parse_args(argv))
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command = arguments.pop("command")
            return int(command(arguments))
    except (RunError, DataError) as error:
        print(f"mpnn: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("mpnn: interrupted", file=sys.stderr)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every other error does."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"mpnn: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mpnn", description="Graph neural networks: one message-passing core.")
    parser.add_argument("--version", action="version", version=f"mpnn {version('mpnn')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tasks = commands.add_parser("train", help="train a model").add_subparsers(required=True, metavar="TASK")
    for task, about in ABOUT.items():
        one = tasks.add_parser(
            task,
            help=about,
            description=f"Train a model to {about}. What no flag says is as published.",
            epilog=_lists(task),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,  # so that flags that were not given do not override a preset
        )
        one.set_defaults(command=_train, task=task)
        _add_training_flags(one)
    return parser


def _add_training_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what").add_argument
    add("--dataset", metavar="NAME", help="data set (default: see below)")
    add("--data", metavar="DIR", help="folder with its files (default: $MPNN_DATA, else downloaded)")
    add("--features", choices=FEATURES, help="what is made of the node features")
    add(
        "--split",
        choices=SPLITS,
        help="which items are for what (default: public if there is one, else random)",
    )
    add("--val-share", type=float, metavar="X", help="share to validate on, of a random split")
    add("--test-share", type=float, metavar="X", help="share to test on, of a random split")
    add("--folds", type=int, metavar="N", help="cross-validation with N folds and an inner validation part")
    add("--fold", type=int, metavar="N", help="only this fold, counted from 0")
    add = parser.add_argument_group("model").add_argument
    add("--model", metavar="NAME", help="layer that the model is made of (default: see below)")
    add("--layers", type=int, metavar="N", help="number of layers")
    add("--hidden", type=int, metavar="N", help="channels of a hidden layer, of each head if it has heads")
    add("--heads", type=int, metavar="N", help="attention heads of hidden layers")
    add("--out-heads", type=int, metavar="N", help="attention heads of the last layer")
    add("--act", metavar="NAME", help="activation: relu, elu, ...")
    add("--norm", metavar="NAME", help="normalisation of hidden layers: batch, layer, graph, pair")
    add("--jk", metavar="NAME", help="jumping knowledge: last, cat, max, lstm")
    add("--residual", action="store_true", help="add the input of hidden layers to their output")
    add("--readout", metavar="NAME", help="how nodes become a graph: sum, mean, max, ... (graph)")
    add("--embedding", type=int, metavar="N", help="channels of the vector of a node (edge)")
    add("--decoder", choices=DECODERS, help="how two vectors become a link (edge)")
    add = parser.add_argument_group("how").add_argument
    add("--predict", choices=PREDICTED, help="which links there are, or labels of edges (edge)")
    add("--hits", type=int, metavar="K", help="of the metric Hits@K (default: 20) (edge)")
    add("--loss", choices=LOSSES, help="what is made small (default: the first that suits the data)")
    add("--class-weights", metavar="W", help="balanced, or numbers divided by commas")
    add("--batch-size", type=int, metavar="N", help="graphs in a batch (graph)")
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
    add("--patience", type=int, metavar="N", help="stop after N epochs without progress")
    add("--monitor", choices=MONITORS, help="what progress on the validation items is")
    add("--seed", type=int, metavar="N", help="of the first run (default: 0)")
    add("--runs", type=int, metavar="N", help="train N times, with seeds counting up (default: 1)")
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")
    add = parser.add_argument_group("files").add_argument
    add("--out", metavar="DIR", help="run folder, new or empty (default: a new one in runs/)")
    add("--resume", metavar="DIR", help="go on with the interrupted run in DIR")
    add("--no-pictures", action="store_true", help="draw nothing")


def _lists(task: str) -> str:
    dataset, model = DEFAULTS[task]
    rows = [f"data sets (default: {dataset}):"]
    rows += [f"  {name:<12} {entry.about}" for name, entry in DATASETS.items() if task in entry.tasks]
    rows += [
        f"models (default: {model}):",
        *(f"  {name:<12} {about}" for name, about in models(task).items()),
    ]
    return "\n".join(rows)


def _train(flags: dict[str, Any]) -> int:
    out, resume = flags.pop("out", None), flags.pop("resume", None)
    draw = not flags.pop("no_pictures", False)
    if flags.get("data"):
        flags["data"] = str(Path(flags["data"]).absolute())  # so that the run can be resumed from anywhere
    if resume is None:
        dataset, model = DEFAULTS[flags["task"]]
        settings = preset(**{"dataset": dataset, "model": model} | flags)
    else:
        settings = replace(read_config(Path(resume)), **flags)
    with Display(len(list(runs_of(settings, Path())))) as display:
        try:
            report = train(settings, out, resume=resume, draw=draw, listener=display)
        except KeyboardInterrupt:
            if display.folder is not None:
                again = f"mpnn train {settings.task} --resume {display.folder}"
                print(f"mpnn: go on with: {again}", file=sys.stderr)
            raise
    display.summary(report)
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"mpnn: warning: {message}", file=sys.stderr)
