"""The card of a run: what was trained on what, how good it is, and how to use it, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from mpnn import __version__
from mpnn.train.fitting.checkpoint import write
from mpnn.train.runs.report import Report, runs_of
from mpnn.train.tasks.task import SupervisedTask

CARD = "README.md"
WORDS = {"train": "to train on", "val": "to validate on", "test": "to test on"}


def write_card(report: Report, task: SupervisedTask, model: nn.Module) -> None:
    """Write `README.md` into the folder of a run.

    Args:
        report: what the run came to.
        task: that of its first seed and fold.
        model: one of the size of those that were trained.
    """
    settings, several = report.settings, len(report.results) > 1
    _, first = next(runs_of(settings, report.folder))
    size = f"{settings.layers} layers, {sum(weight.numel() for weight in model.parameters()):,} parameters"
    parts = ", ".join(
        f"{len(where):,} {WORDS[name]}" for name, where in task.split._asdict().items() if len(where)
    )
    scores = []
    for metric in report.metrics:
        mean, deviation = report.test(metric.name)
        scores.append((metric.title, metric.text(mean, deviation if several else None)))
    given = [(name, value) for name, value in settings.flat().items() if value not in (None, False)]
    blocks = [
        f"# {settings.model} on {task.data.name}",
        f"{task.data!r}. Of its {task.item}s {parts}.",
        f"`{settings.model}`: {size}; mpnn {__version__}, `mpnn train {settings.task}`.",
        *_columns(task),
        "## How good it is",
        _table(("metric", f"{report.part}, {len(report.results)} runs" if several else report.part), scores),
        "## How to use it",
        f"    mpnn evaluate {first}\n    mpnn predict {first} --output answers.csv\n\n"
        f'In Python, `mpnn.load("{first}")` is the model with its preparation, without its training data.',
        "## Settings",
        _table(("setting", "value"), given),
    ]
    write(report.folder / CARD, ("\n\n".join(blocks) + "\n").encode())


def _columns(task: SupervisedTask) -> list[str]:
    """What the columns of own tables are read as, a table for nodes and one for edges."""
    plans = {"nodes": task.preparation.nodes, "edges": task.preparation.edges}
    return [
        _table(
            (f"column of {whose}", "features", "what it is read as"),
            [(column.name, len(column.features), column.about) for column in plan.columns],
        )
        for whose, plan in plans.items()
        if plan is not None and plan.columns
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as Markdown; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
