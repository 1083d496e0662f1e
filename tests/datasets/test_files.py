"""Whether a file is the one that was published."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from mpnn.datasets import load
from mpnn.datasets.files import published


def test_another_file_of_that_name_gets_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("To be, or not to be\n" * 100)
    with pytest.warns(UserWarning, match=r"input.txt is not the published file \(its SHA-256 differs\)"):
        assert load("shakespeare", tmp_path).name == "shakespeare"


def test_files_of_other_names_and_missing_ones_pass(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("to be")
    assert published(tmp_path / "mine.txt") == tmp_path / "mine.txt"
    assert published(tmp_path / "input.txt") == tmp_path / "input.txt"


@pytest.mark.parametrize("name", ["blogcatalog", "ppi", "mnist", "shakespeare"])
def test_the_published_files_pass(real_data: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(name, real_data)
