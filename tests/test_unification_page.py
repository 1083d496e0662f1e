"""The page of all architectures: its links lead somewhere, its examples run, its numbers are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import unification
from architectures import NONE, ROWS

import mpnn
from mpnn.backends.run.record import recording

HOME = Path(__file__).parents[1]
PAGE = (HOME / "docs" / "unification.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
CLASS = re.compile(r"`([A-Z]\w+)`")


def test_the_examples_run_from_top_to_bottom_and_print_what_they_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = "".join(BLOCK.findall(PAGE))
    exec(compile(code, "unification.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == PRINTED.findall(code)


@pytest.mark.parametrize(("text", "target"), sorted(set(LINK.findall(PAGE))))
def test_a_link_leads_to_a_file_that_defines_what_it_names(text: str, target: str) -> None:
    path = HOME / "docs" / target
    assert path.exists()
    for name in CLASS.findall(text):
        assert re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE)


def test_the_page_shows_the_tables_of_the_script() -> None:
    assert unification.descriptions() in PAGE
    for row in ROWS:
        assert f"| {row.name} | {row.equation} | {row.oracle} | " in PAGE


def test_every_number_of_the_page_is_rounding() -> None:
    section = PAGE.split("## How far")[1].split("\n## ")[0]
    numbers = re.findall(r"\| (\S+) \| (\S+) \|$", section, re.MULTILINE)[1:]
    assert len(numbers) == len(ROWS)
    assert all(float(number) < 1e-13 for pair in numbers for number in pair)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_runs_on_what_it_says_and_equals_its_oracle(row: Any) -> None:
    assert max(unification.measure(row)) < 1e-12
    if row.kernel.startswith("[") or row.kernel == NONE:
        wanted = "dense" if row.kernel.startswith("[") else "plan"
        torch.manual_seed(0)
        for case in row.cases():
            with mpnn.backend("auto"), recording() as ran:
                case.ours(*case.inputs)
            assert {one.how for one in ran} == {wanted}
