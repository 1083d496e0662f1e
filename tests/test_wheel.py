"""A wheel holds every module and the C that it needs, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HOME = Path(__file__).parents[1]
# Where each folder is installed.
INSTALLED = {"mpnn": "mpnn", "models": "mpnn/models", "datasets": "mpnn/datasets", "train": "mpnn/train"}
COMMAND = "mpnn_command.py"


def test_a_wheel_holds_every_source_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in INSTALLED:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(HOME / folder, source / folder, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", COMMAND):
        shutil.copy(HOME / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    build = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr

    sources = {
        f"{place}/{file.relative_to(HOME / folder)}"
        for folder, place in INSTALLED.items()
        for file in (HOME / folder).rglob("*")  # which does not enter the links from mpnn/ to the wings
        if file.is_file() and "__pycache__" not in file.parts
    } | {COMMAND}
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == sources
