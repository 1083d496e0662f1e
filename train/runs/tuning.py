"""A search for good settings: Optuna proposes what to try next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mpnn.train.choices import Several, Span
from mpnn.train.errors import RunError
from mpnn.train.kinds.faces import Face

if TYPE_CHECKING:
    from mpnn.train.runs.sweep import Outcome, Trial

# What is searched where no flag names anything.
SPACE: dict[str, Several | Span] = {
    "lr": Span(1e-3, 1e-1),
    "weight_decay": Span(1e-6, 1e-2),
    "hidden": Several((16, 32, 64, 128)),
    "layers": Several((1, 2, 3)),
    "dropout": Span(0.0, 0.8),
}


def usual_space(face: Face, given: Mapping[str, Any]) -> dict[str, Several | Span]:
    """What is searched for such tasks where no flag names anything: nothing that is given."""
    taken = given.keys() | face.fixed.get(given.get("model", face.model), {}).keys()
    return {name: axis for name, axis in SPACE.items() if face.lets_choose(name) and name not in taken}


def check_optuna(count: int) -> Any:
    """Return the module of Optuna.

    Raises:
        RunError: it is not installed.
    """
    try:
        return import_module("optuna")
    except ImportError:
        raise RunError(
            f"tune is {count}, but Optuna searches and is not installed: pip install optuna"
        ) from None


def search(
    axes: Mapping[str, Several | Span],
    count: int,
    seed: int,
    before: Sequence[Trial],
    attempt: Callable[[str, dict[str, Any]], Outcome],
) -> None:
    """Try `count` runs; those that were begun before are gone on with, and taught to Optuna.

    Args:
        axes: what is searched.
        count: how many runs.
        seed: of the first proposals; a search that was interrupted goes on with others.
        before: the runs that were begun.
        attempt: trains the run of that name with what was chosen; one that is done already is only read.

    Raises:
        RunError: Optuna is not installed.
    """
    optuna = check_optuna(count)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _distribution(optuna.distributions, axis) for name, axis in axes.items()}
    complete, failed = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed + len(before))
    )
    for trial in before:
        found = attempt(trial.name, trial.chosen)
        done = {"state": failed} if found.val is None else {"state": complete, "value": found.score}
        study.add_trial(optuna.trial.create_trial(params=dict(trial.chosen), distributions=space, **done))
    for number in range(len(before), count):
        asked = study.ask(space)
        found = attempt(f"trial-{number + 1:03d}", dict(asked.params))
        if found.val is None:
            study.tell(asked, state=failed)
        else:
            study.tell(asked, found.score)


def _distribution(kinds: Any, axis: Several | Span) -> Any:
    """A span of which one end is ten times the other is searched by orders of magnitude."""
    if isinstance(axis, Several):
        return kinds.CategoricalDistribution(list(axis))
    low, high = axis
    assert not isinstance(low, str) and not isinstance(high, str)
    whole = isinstance(low, int) and isinstance(high, int)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(low, high, log=low > 0 and high >= 10 * low)
