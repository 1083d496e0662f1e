"""`make test-oldest` installs the oldest versions that pyproject.toml promises, whatever they are."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.oldest import HOME, READERS, oldest, tools

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]


def test_each_library_is_installed_in_the_oldest_version_that_is_promised() -> None:
    found = dict(line.split("==") for line in oldest(PROJECT["dependencies"]))
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        (bound,) = requirement.specifier
        assert bound.operator == ">=" and found[requirement.name] == bound.version
        assert found[requirement.name] in requirement.specifier


def test_a_dependency_without_a_lower_bound_is_told() -> None:
    for text in ("torch", "torch<3", "torch>=2,<3"):
        with pytest.raises(
            ValueError, match=re.escape(repr(text)) + " in pyproject.toml should be a name and"
        ):
            oldest([text])


def test_tools_of_the_tests_are_those_that_are_pinned() -> None:
    pins = (HOME / "constraints.txt").read_text().splitlines()
    names = {pin.split("==")[0] for pin in tools(PROJECT["optional-dependencies"]["dev"], pins)}
    assert names | READERS == {Requirement(text).name for text in PROJECT["optional-dependencies"]["dev"]}


def test_a_commit_is_checked_by_what_make_lint_runs() -> None:
    hooks = (HOME / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: (.+)", hooks) == ["make lint"]
    assert re.search(r"^lint:", (HOME / "Makefile").read_text(), re.MULTILINE)
