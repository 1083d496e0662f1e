"""Many runs that differ in some settings: each in a folder of its own, compared by the validation part."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mpnn import files
from mpnn.datasets import DataError
from mpnn.train.choices import Several, Span, Value
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.runs.folder import CONFIG, RESULTS, inside, read_config
from mpnn.train.runs.memory import MAY_CHANGE
from mpnn.train.runs.presets import settings_of
from mpnn.train.runs.run import Listener, train
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.tuning import search
from mpnn.train.tasks.metrics import METRICS, Metric, mean_and_deviation

PLAN, TABLE, PICTURE = "sweep.json", "sweep.csv", "sweep"
Chosen = dict[str, Value]


@dataclass(frozen=True)
class Trial:
    """One of the runs: the name of its folder, what was chosen for it, and why it failed, if it did."""

    name: str
    chosen: Chosen
    error: str | None = None


@dataclass(frozen=True)
class Sweep:
    """What is tried, and what has been.

    Args:
        given: the settings that all runs have, by name, as flags give them; the task among them.
        axes: those that differ: the values of each, or, where runs are searched, its span.
        tune: how many runs are searched; None tries every combination.
        trials: the runs that were begun.
    """

    given: dict[str, Any]
    axes: dict[str, Several | Span]
    tune: int | None = None
    trials: tuple[Trial, ...] = ()

    def combinations(self) -> Iterator[Chosen]:
        """Every combination of values."""
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))

    @property
    def size(self) -> int:
        """How many runs there will be."""
        return self.tune or len(list(self.combinations()))

    def to_json(self) -> str:
        """The text of its file."""
        axes = {
            name: {"low": axis.low, "high": axis.high} if isinstance(axis, Span) else list(axis)
            for name, axis in self.axes.items()
        }
        content = {"given": self.given, "axes": axes, "tune": self.tune}
        return json.dumps(content | {"trials": [asdict(trial) for trial in self.trials]}, indent=2) + "\n"

    @classmethod
    def read(cls, home: Path) -> Sweep:
        """Read what a folder holds.

        Raises:
            RunError: it is damaged.
        """
        try:
            values = files.read_json(home / PLAN, RunError)
            axes = {
                name: Span(**axis) if isinstance(axis, dict) else Several(axis)
                for name, axis in values["axes"].items()
            }
            trials = tuple(Trial(**trial) for trial in values["trials"])
            return cls(dict(values["given"]), axes, values["tune"], trials)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{home / PLAN} cannot be read: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """What a run came to, over its seeds.

    Args:
        trial: which run.
        metric: the one that runs are summed up by.
        val, test: its mean and standard deviation on the validation and the test part; `val` is None if the
            run failed, and `test` if there is no such part.
        runs: how many seeds or folds.
        loss: the mean validation loss.
    """

    trial: Trial
    metric: Metric = METRICS["accuracy"]
    val: tuple[float, float] | None = None
    test: tuple[float, float] | None = None
    runs: int = 0
    loss: float = float("inf")

    @property
    def score(self) -> float:
        """What runs are compared by: the validation part; higher is better. A run that failed is the last."""
        return float("-inf") if self.val is None else self.metric.score(self.val[0])

    @property
    def rank(self) -> tuple[float, float]:
        """What orders runs, the highest first: of equal scores the lower validation loss is better."""
        return self.score, -self.loss


@dataclass
class Outcomes:
    """The outcomes of a sweep, in the order in which the runs were begun."""

    axes: tuple[str, ...]
    found: list[Outcome] = field(default_factory=list)

    @property
    def best(self) -> Outcome | None:
        """The best on the validation part: the test part takes no part in choosing. None if all failed."""
        fine = [outcome for outcome in self.found if outcome.val is not None]
        return max(fine, key=lambda outcome: outcome.rank, default=None)

    def table(self) -> pd.DataFrame:
        """A row for each run."""
        empty = (None, None)
        rows = [
            {"run": one.trial.name}
            | one.trial.chosen
            | {"metric": None if one.val is None else one.metric.name}
            | dict(zip(("val_mean", "val_std"), one.val or empty, strict=True))
            | dict(zip(("test_mean", "test_std"), one.test or empty, strict=True))
            | {"runs": one.runs, "best": one is self.best, "error": one.trial.error}
            for one in self.found
        ]
        return pd.DataFrame(rows)


Ended = Callable[[int, Outcome], None]


def run_sweep(sweep: Sweep, home: Path, listener: Listener, ended: Ended) -> Outcomes:
    """Train every run that is not yet there; one that fails does not end the others.

    The folder holds `sweep.json`, which says what is tried and is what a sweep goes on from, `sweep.csv`, a
    row for each run, and a folder for each run, without pictures.

    Args:
        sweep: what to try.
        home: the folder, which the caller holds.
        listener: its methods are called as each run goes on.
        ended: called with the number of a run, counted from 1, and its outcome.

    Raises:
        RunError: runs are to be searched, and Optuna is not installed.
        KeyboardInterrupt: Ctrl-C, after a checkpoint is written.
    """
    outcomes = Outcomes(tuple(sweep.axes))
    before = list(sweep.trials)
    sweep = replace(sweep, trials=())

    def attempt(name: str, chosen: Chosen) -> Outcome:
        nonlocal sweep
        trial = Trial(name, chosen)
        begun = (*sweep.trials, trial)
        later = [one for one in before if one.name not in {done.name for done in begun}]
        checkpoint.write(home / PLAN, replace(sweep, trials=(*begun, *later)).to_json().encode())
        outcome = _attempt(trial, sweep, home, listener)
        sweep = replace(sweep, trials=(*sweep.trials, outcome.trial))
        outcomes.found.append(outcome)
        checkpoint.write(home / PLAN, replace(sweep, trials=(*sweep.trials, *later)).to_json().encode())
        text = outcomes.table().to_csv(index=False, lineterminator="\n")
        checkpoint.write(home / TABLE, text.encode())
        ended(len(outcomes.found), outcome)
        return outcome

    if sweep.tune is None:
        for chosen in sweep.combinations():
            attempt("-".join(f"{name}-{value}" for name, value in chosen.items()), chosen)
    else:
        search(sweep.axes, sweep.tune, int(sweep.given.get("seed", 0)), before, attempt)
    return outcomes


def _attempt(trial: Trial, sweep: Sweep, home: Path, listener: Listener) -> Outcome:
    place = home / trial.name
    try:
        inside(place, home)
        if not (place / RESULTS).is_file():
            if (place / CONFIG).is_file():
                train(_continued(read_config(place), sweep), resume=place, draw=False, listener=listener)
            else:
                train(settings_of(sweep.given | trial.chosen), place, draw=False, listener=listener)
        return _outcome(trial, place)
    except (RunError, DataError) as error:
        return Outcome(replace(trial, error=str(error)))
    except Exception as error:  # a run that fails does not end the others, whatever it is
        return Outcome(replace(trial, error=f"{type(error).__name__}: {error}"))


def _continued(settings: Settings, sweep: Sweep) -> Settings:
    """The settings of a run that was interrupted, with what may have changed since."""
    return settings.changed({name: value for name, value in sweep.given.items() if name in MAY_CHANGE})


def _outcome(trial: Trial, place: Path) -> Outcome:
    try:
        results: Mapping[str, Any] = files.read_json(place / RESULTS, RunError)
        name = next(name for name in results if name != "runs").partition("_")[2]
        best = [one["best"] for one in results["runs"]]
        val = mean_and_deviation([row[f"val_{name}"] for row in best])
        tested = all(f"test_{name}" in row for row in best)
        test = mean_and_deviation([row[f"test_{name}"] for row in best]) if tested else None
        loss = mean_and_deviation([row["val_loss"] for row in best])[0]
        return Outcome(trial, METRICS[name], val, test, len(best), loss)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise RunError(f"{place / RESULTS} cannot be read: {error}") from error
