"""README, CONTRIBUTING and the set-up files agree with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch import nn

from mpnn import models, topology
from mpnn.aggregate.aggregators import AGGREGATORS
from mpnn.backends.choice import BACKENDS
from mpnn.datasets import DATASETS
from mpnn.train.command import cli
from mpnn.train.kinds.registry import KINDS
from mpnn.train.runs.embed_settings import MODELS as EMBEDDINGS

HOME = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")
TEXT = {page: (HOME / page).read_text() for page in PAGES}
README = TEXT["README.md"]
PROJECT: dict[str, Any] = tomllib.loads((HOME / "pyproject.toml").read_text())
WINGS = ("mpnn", "models", "datasets", "train")

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^    mpnn (.+?)(?:  +#.*)?$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"\w[\w/]*(/|\.(py|md|txt|toml))")
LINK = re.compile(r"\]\(([^)]+)\)")
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def is_module(name: str) -> bool:
    """Whether `mpnn.models` has a layer or model of that name."""
    public = getattr(models, name)
    return isinstance(public, type) and issubclass(public, nn.Module)


# The README ----------------------------------------------------------------------------------------------


def test_the_readmes_python_runs_from_top_to_bottom_and_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # it draws a picture
    code = "".join(BLOCK.findall(README))
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.splitlines() == PRINTED.findall(code)


def test_the_custom_layer_of_the_readme_has_at_most_fifteen_lines() -> None:
    lines = [line for line in BLOCK.findall(README)[0].splitlines() if line.strip()]
    assert len(lines) <= 15


FOLDERS = ("pictures", "scenes")  # of a reader's own


@pytest.mark.parametrize("command", COMMAND.findall(README))
def test_a_command_of_the_readme_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        given = cli.make_parser().parse_args(command.split())
    except SystemExit as stop:  # after --help
        assert stop.code == 0
    else:
        dataset = getattr(given, "dataset", "karate")
        assert dataset in DATASETS or dataset.endswith(".csv") or dataset in FOLDERS
        model, known = getattr(given, "model", "gcn"), {*EMBEDDINGS}
        known |= {name for kind in KINDS.values() for name in kind.models()}
        several = (model,) if isinstance(model, str) else model
        assert all(one in known or one.startswith("runs/") for one in several)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([name for name in models.__all__ if is_module(name)], id="layers and models"),
        pytest.param(models.CONVS, id="names of layers"),
        pytest.param(AGGREGATORS, id="aggregators"),
        pytest.param([name for name in topology.__all__ if name.islower()], id="topologies"),
        pytest.param(BACKENDS, id="backends"),
        pytest.param(DATASETS, id="data sets"),
    ],
)
def test_the_readme_lists_all_there_is(names: list[str]) -> None:
    assert set(names) <= set(QUOTED.findall(README))


def test_the_readmes_table_says_what_a_layer_reads_from_edges() -> None:
    words = {"edge_weight": "weight", "edge_attr": "features", "edge_type": "type"}
    for name, conv in models.CONVS.items():
        (row,) = re.findall(rf"^\| `{conv.layer.__name__}` \| `{name}` \|.*$", README, re.MULTILINE)
        assert row.split("|")[4].strip() == ", ".join(words[kind] for kind in conv.edge_inputs)


# Files and folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    quoted = {name for name in QUOTED.findall(TEXT[page]) if FILE.fullmatch(name)}
    linked = {target for target in LINK.findall(TEXT[page]) if "://" not in target}
    assert quoted
    assert [name for name in quoted | linked if not (HOME / name).exists()] == []


def test_a_picture_is_light_enough_for_a_front_page() -> None:
    pictures = list((HOME / "docs/images").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture.name


def test_every_command_of_the_makefile_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    for page, text in TEXT.items():
        named = set(re.findall(r"(?:^    |`|&& )make (\w+)", text, re.MULTILINE))
        assert named <= targets, page


# The set-up ----------------------------------------------------------------------------------------------


def test_every_folder_of_modules_is_a_package() -> None:
    # setuptools passes over a folder without __init__.py, and a wheel would lack it.
    folders = {module.parent for wing in WINGS for module in (HOME / wing).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def pins() -> dict[str, str]:
    """The pinned versions by name."""
    lines = (HOME / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_dependency_is_pinned_inside_its_range() -> None:
    pinned, project = pins(), PROJECT["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_what_torch_pins_itself_is_not_pinned_again() -> None:
    # The builds for CUDA want one version of each CUDA library; those for the CPU want none. Triton is pinned
    # to the version that the pinned torch wants, because the tests use it with either.
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-"))]


def test_the_types_of_every_file_are_checked() -> None:
    mypy = PROJECT["tool"]["mypy"]
    assert not [one["module"] for one in [mypy, *mypy["overrides"]] if one.get("ignore_errors")]
