"""`mpnn why`: which edges, neighbours and features carried a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpnn.datasets import GraphDataset, NodeDataset
from mpnn.train.command import say
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.pictures.style import save_picture
from mpnn.train.runs.folder import inside
from mpnn.train.runs.run import load_model
from mpnn.train.runs.trained import Trained, load
from mpnn.train.runs.why import Why, question_of, why

SHOWN = 8  # rows of each table
FOLDER = "why"  # in that of a run


def explain_prediction(arguments: dict[str, Any]) -> int:
    """Print, write and draw why the model of a run says what it says."""
    home = Path(arguments["run"])
    trained = load(home, arguments.get("device", "auto"), anyway=arguments.get("anyway", False))
    asked: dict[str, Any] = {name: arguments[name] for name in ("node", "graph") if name in arguments}
    if "edge" in arguments:
        ends = [name.strip() for name in arguments["edge"].split(",")]
        if len(ends) != 2:
            raise RunError(f"edge is {arguments['edge']!r}, but should be two names of nodes: ID,ID")
        asked["edge"] = (ends[0], ends[1])
    data = _data(trained, home, arguments)
    question = question_of(trained.settings.task, data, **asked)
    options = {name: arguments[name] for name in ("of", "epochs", "seed") if name in arguments}
    if options.get("epochs", 1) < 1:
        raise RunError(f"epochs is {options['epochs']}, but should be at least 1")
    found = why(trained.model, trained.kept, question, **options)
    places = "-".join(map(str, question.about)) or str(arguments.get("graph"))
    output = Path(arguments.get("output", home / FOLDER / f"{trained.settings.task}-{places}.csv"))
    if output.suffix != ".csv":
        raise RunError(f"output is {str(output)!r}, but should end in .csv")
    if "output" in arguments:
        output.parent.mkdir(parents=True, exist_ok=True)
    else:
        inside(output.parent, home)
    checkpoint.write_output(output, found.table.to_csv(index=False, lineterminator="\n").encode())
    save_picture(found.draw(), output.with_suffix(".png"))
    _print(found, output)
    return 0


def _data(trained: Trained, home: Path, arguments: dict[str, Any]) -> NodeDataset | GraphDataset:
    """The data as the model reads it: what the run has kept, else its data set, prepared again."""
    if trained.known is not None and "data" not in arguments:
        return trained.known.to(trained.device)
    anyway = arguments.get("anyway", False)
    _, task, _ = load_model(home, arguments.get("device", "auto"), arguments.get("data"), anyway=anyway)
    data = task.data
    if not isinstance(data, NodeDataset | GraphDataset):
        raise RunError(f"the model is of {data.what}, but this is for nodes, edges and graphs")
    return data


def _print(found: Why, output: Path) -> None:
    console = say.console()
    console.print(f"{found.item}: {found.said}, {found.score:.4g}", markup=False)
    for frame in (found.edges, found.neighbours, found.features):
        if len(frame):
            table = say.table(*frame.columns)
            for cells in frame[:SHOWN].itertuples(index=False):
                table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells))
            console.print()
            console.print(table)
    more = " and ".join(str(path) for path in (output, output.with_suffix(".png")))
    console.print(f"\nAll of it is in {more}", markup=False, soft_wrap=True)
