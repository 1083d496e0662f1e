"""The command `mpnn`: its words are understood before anything is imported that trains."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

from mpnn import __version__
from mpnn.datasets.errors import DataError
from mpnn.datasets.problems import nearest
from mpnn.train.command.flags import add_inspection_flags, add_training_flags, not_one_of
from mpnn.train.command.more_flags import (
    add_cache_flags,
    add_communities_flags,
    add_embed_flags,
    add_evaluate_flags,
    add_export_flags,
    add_info_flags,
    add_predict_flags,
    add_runs_flags,
    add_why_flags,
)
from mpnn.train.command.output import Output, forgiving, without_a_window
from mpnn.train.errors import DivergedError, RunError, Stopped, is_out_of_memory
from mpnn.train.kinds.faces import Face, known_faces

DIVERGED, USER_ERROR, SIGNALLED = 1, 2, 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    It is 0, or 1 for a training that diverged, 2 for a mistake of the user, 128 and the number of a signal.

    >>> main(["train", "node", "--dataset", "karat"])
    2
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a letter that the output's encoding lacks is no error
    with forgiving() as output, without_a_window():
        return _answer(argv, output)


def _answer(argv: Sequence[str] | None, output: Output) -> int:
    try:
        arguments = vars(make_parser().parse_args(argv))
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command = arguments.pop("command")
            code = _called(command)(arguments)
            output.check(is_warning=command in TRAINING)
            return code
    except DivergedError as error:
        print(f"mpnn: {error}", file=sys.stderr)
        return DIVERGED
    except (RunError, DataError) as error:
        print(f"mpnn: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        what = f"{error.filename} cannot be used" if error.filename else "the output cannot be written"
        print(f"mpnn: {what}: {error.strerror or error}", file=sys.stderr)
        return USER_ERROR
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        print("mpnn: memory is used up: take less at once, by hidden, layers or batch_size", file=sys.stderr)
        return USER_ERROR
    except Stopped as stop:
        print(f"mpnn: ended by {signal.Signals(stop.number).name}", file=sys.stderr)
        return SIGNALLED + stop.number
    except KeyboardInterrupt:
        print("mpnn: interrupted", file=sys.stderr)
        return SIGNALLED + signal.SIGINT


def _called(name: str) -> Callable[[dict[str, Any]], int]:
    """The function that a command is, as `module:function` of this room; from here on PyTorch is there."""
    from mpnn.native.memory import keep_freed_memory

    keep_freed_memory()
    module, _, function = name.partition(":")
    found: Callable[[dict[str, Any]], int] = getattr(import_module(f"mpnn.train.command.{module}"), function)
    return found


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every other error does, and knows its flags when it is asked."""

    add_flags: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.add_flags is not None:
            add, self.add_flags = self.add_flags, None
            add(self)
        known, others = super().parse_known_args(args, namespace)
        if others:
            nearest_flag = nearest(others[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(others)}{nearest_flag}")
        return known, others

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, not_one_of(value, action.choices))

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"mpnn: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="mpnn", description="Graph neural networks: one message-passing core.")
    parser.add_argument("--version", action="version", version=f"mpnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tasks = commands.add_parser("train", help="train a model").add_subparsers(required=True, metavar="TASK")
    for face in known_faces().values():
        one = _add(tasks, face.name, "train_command:run", face.about, _training_flags(face))
        one.description = f"Train a model to {face.about}. What no flag says is as published."
        one.set_defaults(task=face.name)
    about = "make vectors of the nodes of a graph by random walks"
    one = _add(tasks, "embed", "embed_command:run", about, add_embed_flags)
    one.description = f"Train a model to {about}. What no flag says is as published."
    for name, (function, about, add_flags) in COMMANDS.items():
        _add(commands, name, function, about, add_flags)
    return parser


def _add(
    commands: Any,
    name: str,
    function: str,
    about: str,
    add_flags: Callable[[argparse.ArgumentParser], None] | None,
) -> argparse.ArgumentParser:
    """Add a command that calls a function with the flags that were given, and no others."""
    parser: _Parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(command=function)
    parser.add_flags = add_flags
    return parser


def _training_flags(face: Face) -> Callable[[argparse.ArgumentParser], None]:
    return lambda parser: add_training_flags(parser, face)


TRAINING = ("train_command:run", "embed_command:run")  # which goes on where nothing can be printed
# What each command calls, as `module:function` of this room, and what adds its flags.
COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None] | None]] = {
    "communities": (
        "communities_command:run",
        "divide the nodes of a graph into communities, and compare them with the known classes",
        add_communities_flags,
    ),
    "runs": ("runs_command:run", "list all runs with their settings and results", add_runs_flags),
    "why": (
        "why_command:explain_prediction",
        "which edges, neighbours and features carried a prediction",
        add_why_flags,
    ),
    "export": (
        "export_command:run",
        "write the model of a run as a file that runs without mpnn",
        add_export_flags,
    ),
    "datasets": ("commands:list_datasets", "list the data sets", None),
    "models": ("commands:list_models", "list the models", None),
    "info": ("commands:print_info", "print versions, devices and backends, and test them", add_info_flags),
    "cache": (
        "cache_command:clear",
        "empty the folder of compiled kernels: mpnn cache clear",
        add_cache_flags,
    ),
    "evaluate": ("commands:evaluate", "print how good the model of a run is", add_evaluate_flags),
    "predict": (
        "predict_command:predict",
        "write what the model of a run says of every item, or of new nodes",
        add_predict_flags,
    ),
    "explain": (
        "inspection:explain",
        "print the kernels that a model runs on",
        lambda parser: add_inspection_flags(parser, "explain"),
    ),
    "diagnose": (
        "inspection:diagnose",
        "measure and draw over-smoothing and over-squashing of a model",
        lambda parser: add_inspection_flags(parser, "diagnose"),
    ),
}


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"mpnn: warning: {message}", file=sys.stderr)
