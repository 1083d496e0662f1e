"""The command `mpnn`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from mpnn import __version__, keep_freed_memory
from mpnn.datasets import DATASETS, DataError, called
from mpnn.train.command import say
from mpnn.train.command.commands import COMMANDS
from mpnn.train.command.communities_command import add_communities_command
from mpnn.train.command.display import Display
from mpnn.train.command.embed_command import add_embed_command
from mpnn.train.command.export_command import add_export_command
from mpnn.train.command.flags import (
    absolute_paths,
    add_command,
    add_inspection_flags,
    add_training_flags,
    drawn,
)
from mpnn.train.command.inspection import INSPECTIONS
from mpnn.train.command.runs_command import add_runs_command
from mpnn.train.command.why_command import add_why_command
from mpnn.train.errors import RunError, is_out_of_memory
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.registry import KINDS, kind_called
from mpnn.train.record import gathered
from mpnn.train.runs.folder import read_config, read_settings_file
from mpnn.train.runs.presets import preset
from mpnn.train.runs.run import train

USER_ERROR, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C.

    >>> main(["train", "node", "--dataset", "karat"])
    2
    """
    keep_freed_memory()
    say.replace_strange_letters()
    try:
        arguments = vars(make_parser().parse_args(argv))
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command = arguments.pop("command")
            return int(command(arguments))
    except (RunError, DataError) as error:
        print(f"mpnn: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        what = f"{error.filename} cannot be used" if error.filename else "the output cannot be written"
        print(f"mpnn: {what}: {error.strerror or error}", file=sys.stderr)
        return USER_ERROR
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print("mpnn: memory is used up: take less at once, by hidden, layers or batch_size", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("mpnn: interrupted", file=sys.stderr)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every other error does."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"mpnn: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="mpnn", description="Graph neural networks: one message-passing core.")
    parser.add_argument("--version", action="version", version=f"mpnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tasks = commands.add_parser("train", help="train a model").add_subparsers(required=True, metavar="TASK")
    for kind in KINDS.values():
        description = f"Train a model to {kind.about}. What no flag says is as published."
        one = add_command(tasks, kind.name, _train, kind.about, description, _lists(kind))
        one.set_defaults(task=kind.name)
        add_training_flags(one)
    add_embed_command(tasks)
    add_communities_command(commands)
    add_runs_command(commands)
    add_why_command(commands)
    add_export_command(commands)
    for name, (command, about) in COMMANDS.items():
        one = add_command(commands, name, command, about)
        if name in ("evaluate", "predict"):
            one.add_argument("run", metavar="RUN", help="folder of a run")
            one.add_argument("--data", metavar="DIR", help="folder with the data (default: that of the run)")
            one.add_argument(
                "--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if there is one)"
            )
        if name == "predict":
            one.add_argument(
                "--nodes",
                metavar="FILE",
                help="table of new nodes, which join those of the run (node), or are of new graphs (graph)",
            )
            one.add_argument("--dataset", metavar="FILE", help="table of the edges of new nodes (node)")
            about = "features of new nodes, of a run with --features-file (node)"
            one.add_argument("--features-file", metavar="FILE", help=about)
            about = "table of the edges of new graphs, or a folder in the TU format (graph)"
            one.add_argument("--graphs", metavar="FILE", help=about)
            one.add_argument("--images", metavar="FILE", help="a picture, a folder of them, or .npy (image)")
            one.add_argument("--for", metavar="ID,ID", help="rank the missing links of these nodes (edge)")
            one.add_argument("--top", type=int, metavar="N", help="how many missing links (default: 20)")
            about = "where to write the table: CSV, or Parquet by its ending"
            one.add_argument("--output", metavar="FILE", required=True, help=about)
    for name, (command, about) in INSPECTIONS.items():
        add_inspection_flags(add_command(commands, name, command, about), name)
    return parser


def _lists(kind: Kind) -> str:
    datasets = {name: entry.about for name, entry in DATASETS.items() if kind.suits(entry)}
    return "\n".join(
        [
            say.listing(f"data sets (default: {kind.dataset}):", datasets),
            say.listing(f"models (default: {kind.model}):", kind.models()),
        ]
    )


def _train(flags: dict[str, Any]) -> int:
    out, resume, config = (flags.pop(name, None) for name in ("out", "resume", "config"))
    draw = drawn(flags)
    flags = absolute_paths(flags)
    if resume is None:
        kind = kind_called(flags["task"])
        given = {} if config is None else read_settings_file(Path(config), kind.name)
        asked = {"dataset": kind.dataset} | gathered(given | flags)
        asked["dataset"] = called(asked["dataset"])
        model = kind.model if kind.model_for is None else kind.model_for(asked)
        settings = preset(**{"model": model} | asked)
    else:
        if config is not None:
            raise RunError(f"config is {config!r}, but a resumed run has its own: leave it out")
        settings = read_config(Path(resume)).changed(flags)
    with Display(settings.num_runs) as display:
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
