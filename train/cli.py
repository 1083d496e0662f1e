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
from mpnn.models import CONVS
from mpnn.train.display import Display
from mpnn.train.errors import RunError
from mpnn.train.folder import read_config
from mpnn.train.presets import preset
from mpnn.train.run import train
from mpnn.train.settings import DECAYED, MONITORS

USER_ERROR, INTERRUPTED = 2, 130


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
    node = tasks.add_parser(
        "node",
        help="classify the nodes of a graph",
        description="Train a model that classifies the nodes of a graph. What no flag says is as published.",
        epilog=_lists(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # so that flags that were not given do not override a preset
    )
    node.set_defaults(command=_train, task="node")
    _add_training_flags(node)
    return parser


def _add_training_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what").add_argument
    add("--dataset", metavar="NAME", help="data set (default: karate)")
    add("--data", metavar="DIR", help="folder with its files (default: $MPNN_DATA, else downloaded)")
    add("--model", metavar="NAME", help="layer that the model is made of (default: gcn)")
    add("--layers", type=int, metavar="N", help="number of layers (default: 2)")
    add("--hidden", type=int, metavar="N", help="channels of a hidden layer, of each head if it has heads")
    add("--heads", type=int, metavar="N", help="attention heads of hidden layers")
    add("--out-heads", type=int, metavar="N", help="attention heads of the last layer")
    add("--act", metavar="NAME", help="activation: relu, elu, ...")
    add("--norm", metavar="NAME", help="normalisation of hidden layers: batch, layer, graph, pair")
    add("--jk", metavar="NAME", help="jumping knowledge: last, cat, max, lstm")
    add("--residual", action="store_true", help="add the input of hidden layers to their output")
    add = parser.add_argument_group("how").add_argument
    add("--epochs", type=int, metavar="N", help="how many at most")
    add("--lr", type=float, metavar="X", help="learning rate")
    add("--weight-decay", type=float, metavar="X", help="L2 penalty")
    add("--decayed", choices=DECAYED, help="whose weights have the penalty")
    add("--dropout", type=float, metavar="P", help="dropout of every layer's input and of attention")
    add("--patience", type=int, metavar="N", help="stop after N epochs without progress")
    add("--monitor", choices=MONITORS, help="what progress on the validation nodes is")
    add("--seed", type=int, metavar="N", help="of the first run (default: 0)")
    add("--runs", type=int, metavar="N", help="train N times, with seeds counting up (default: 1)")
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)")
    add = parser.add_argument_group("files").add_argument
    add("--out", metavar="DIR", help="run folder, new or empty (default: a new one in runs/)")
    add("--resume", metavar="DIR", help="go on with the interrupted run in DIR")
    add("--no-pictures", action="store_true", help="draw nothing")


def _lists() -> str:
    rows = ["data sets:", *(f"  {name:<12} {entry.about}" for name, entry in DATASETS.items())]
    rows += ["models:", *(f"  {name:<12} {conv.description}" for name, conv in CONVS.items())]
    return "\n".join(rows)


def _train(flags: dict[str, Any]) -> int:
    out, resume = flags.pop("out", None), flags.pop("resume", None)
    draw = not flags.pop("no_pictures", False)
    if flags.get("data"):
        flags["data"] = str(Path(flags["data"]).absolute())  # so that the run can be resumed from anywhere
    if resume is None:
        settings = preset(flags.pop("model", "gcn"), **flags)
    else:
        settings = replace(read_config(Path(resume)), **flags)
    with Display(settings.runs) as display:
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
