"""What a checkpoint is of: its settings, the names of classes and features, and the data.

All of it is kept as plain values in the checkpoint. What is used with a checkpoint is compared with it: a
file beside it may be of another run, and data may have changed since.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpnn.train.errors import RunError

CONTENT, CLASSES, FEATURES = "content", "classes", "features_read"
# A checkpoint of mpnn 0.1 has none of the first three, or another content; one before "freeze" froze nothing.
LATER = (CONTENT, CLASSES, FEATURES, "freeze")
CLOSE = 1e-5  # of the norm: the last digits of numbers that are scaled while they are read differ by machine
WORDS = {
    "graph": "edges",
    "graphs": "edges",
    "x": "features",
    "y": "answers",
    "edge_attr": "features of edges",
    "edge_y": "answers of edges",
    "edge_table": "columns of edges",
    "table": "columns",
    "array": "features of a file",
    "class_names": "names of classes",
    "edge_class_names": "names of classes of edges",
    "node_names": "names of nodes",
    "graph_names": "names of graphs",
}


def insist(
    path: Path, theirs: Any, ours: Mapping[str, Any], here: str, *, anyway: bool, all_names: bool = False
) -> None:
    """Compare what a checkpoint is of with what it is to be used with.

    Args:
        path: the checkpoint.
        theirs: what it is of.
        ours: what it is used with; names that only the checkpoint has are not compared.
        here: where `ours` is from, in words.
        anyway: warn in place of raising.
        all_names: a name that only `ours` has is another; else an older mpnn did not know it.

    Raises:
        RunError: something is another.
    """
    if not isinstance(theirs, Mapping):
        raise RunError(f"{path} is not a checkpoint of a run, or is damaged")
    names = [name for name in ours if name in theirs or (all_names and name not in LATER)]
    told = [_difference(name, theirs.get(name), ours[name], here) for name in names if name != CONTENT]
    found = [f"of another run: {'; '.join(filter(None, told))}"] if any(told) else []
    if CONTENT in names and (changed := changed_parts(theirs[CONTENT], ours[CONTENT])):
        found.append(f"of a run on other data, which has changed since in its {changed}")
    if found and not anyway:
        raise RunError(f"{path} is {', and '.join(found)}: put it back, start anew, or go on by --anyway")
    if found:
        warnings.warn(f"{path} is {', and '.join(found)}: it is used anyway", stacklevel=3)


def _difference(name: str, theirs: Any, ours: Any, here: str) -> str:
    """What is another, in words, or ""."""
    if theirs == ours:
        return ""
    if isinstance(theirs, list) and isinstance(ours, list):
        first = next((k for k, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
        if first is None:
            return f"it has {len(theirs)} {name}, {here} there are {len(ours)}"
        name, theirs, ours = f"{name}[{first}]", theirs[first], ours[first]
    return f"its {name} is {_short(theirs)}, {here} it is {_short(ours)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def changed_parts(theirs: Any, ours: Any) -> str:
    """Which parts of data are others, from what `fingerprint` made of them, in words, or ""."""
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return ""  # of mpnn 0.1, which summed up the data in another way
    names = sorted(
        name for name in theirs.keys() | ours.keys() if not _is_same(theirs.get(name), ours.get(name))
    )
    words = list(dict.fromkeys(WORDS.get(name, name) for name in names))
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _is_same(theirs: Any, ours: Any) -> bool:
    """Whether two summaries are of the same value: text and counts to the bit, sums nearly."""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        numbers = [value for value in (*theirs, *ours) if isinstance(value, float)]
        norm = max(map(abs, numbers), default=0.0)
        return all(
            math.isclose(a, b, rel_tol=0, abs_tol=CLOSE * norm)
            if isinstance(a, float) and isinstance(b, float)
            else _is_same(a, b)
            for a, b in zip(theirs, ours, strict=True)
        )
    return bool(theirs == ours)
