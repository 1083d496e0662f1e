"""Requirements for pip: of each library that the package stands on, the oldest version that it promises.

`make test-oldest` installs these, read from `pyproject.toml`, so that it stays true when a bound moves. The
tools of the tests are of the versions of `constraints.txt`; those that only read text are left out, for they
have dependencies of their own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
READERS = {"ruff", "mypy", "import-linter"}
BOUND = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\w.]+)")


def oldest(dependencies: Iterable[str]) -> list[str]:
    """`name==version` of the lower bound of each.

    Raises:
        ValueError: one has no lower bound, or another besides.
    """
    found = []
    for dependency in dependencies:
        match = BOUND.fullmatch(dependency)
        if match is None:
            raise ValueError(
                f"{dependency!r} in pyproject.toml should be a name and its oldest version, name>=1.0."
            )
        found.append(f"{match['name']}=={match['version']}")
    return found


def tools(dev: Iterable[str], pins: Iterable[str]) -> list[str]:
    """Of some pinned versions those of the tools of development that tests run with."""
    names = {re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in dev} - READERS
    return [pin for pin in pins if pin.split("==")[0] in names]


if __name__ == "__main__":
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    pins = (HOME / "constraints.txt").read_text().split("\n")
    print(
        "\n".join([*oldest(project["dependencies"]), *tools(project["optional-dependencies"]["dev"], pins)])
    )
