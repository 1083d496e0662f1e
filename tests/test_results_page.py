"""The page of reproduced numbers, and the script that makes its tables."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import results

from mpnn.train import preset
from mpnn.train.command import cli
from mpnn.train.command.display import Display
from mpnn.train.runs.embed_settings import embed_preset

HOME = Path(__file__).parents[1]
PAGE = (HOME / "docs" / "results.md").read_text()


ROWS = [row for group in results.GROUPS.values() for row in group]
SHORT = results.Row(
    "karate", "node --dataset karate --model gcn --runs 3 --epochs 6", {"accuracy": 90.0}, "us"
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_command_of_a_row_is_one(row: Any) -> None:
    flags = vars(cli.make_parser().parse_args(["train", *shlex.split(row.arguments)]))
    flags.pop("command")
    settings = embed_preset(**flags) if row.arguments.startswith("embed ") else preset(**flags)
    assert (settings.dataset, settings.model) == (row.flag("--dataset"), row.flag("--model"))


def test_names_of_rows_are_those_of_folders() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_the_page_shows_rows_of_the_script_with_their_commands() -> None:
    for group, rows in results.GROUPS.items():
        part = re.search(rf"<!-- {group} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
        assert part is not None
        shown = [line for line in part[1].splitlines() if re.match(r"\| [a-z]", line)][1:]
        commands = [line.strip() for line in part[1].splitlines() if line.startswith("    mpnn ")]
        known = {row.command: row for row in rows}
        assert len(shown) == len(commands), group
        for line, command in zip(shown, commands, strict=True):
            row = known[command]
            figures = {name: row.published.get(name) for name in rows[0].published}
            published = " / ".join(
                "–" if value is None else results.METRICS[name].show(value) for name, value in figures.items()
            )
            assert line.startswith(f"| {row.flag('--dataset')} | {row.flag('--model')} | ")
            assert f" | {published} | " in line and line.endswith(f" | {row.source} |")


def test_an_interrupted_row_goes_on_and_a_finished_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert results.run(SHORT, tmp_path / "whole") == 0
    epochs = 0

    def press(display: Display, row: dict[str, float]) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Display, "epoch", press)
        assert results.run(SHORT, tmp_path / "broken") == 130
        assert not (tmp_path / "broken" / "results.json").exists()
        assert results.table([SHORT], tmp_path / "nowhere") == ""
        assert results.run(SHORT, tmp_path / "broken") == 0
    whole, broken = [
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "broken")
    ]
    assert whole == broken
    before = (tmp_path / "whole" / "results.json").stat().st_mtime_ns
    seconds = (tmp_path / "whole" / "seconds.json").read_text()
    assert results.run(SHORT, tmp_path / "whole") == 0
    assert (tmp_path / "whole" / "results.json").stat().st_mtime_ns == before
    assert (tmp_path / "whole" / "seconds.json").read_text() == seconds


def test_the_table_has_what_the_runs_came_to_and_the_page_keeps_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "karate").mkdir()
    content = {"test_accuracy": {"mean": 0.876, "std": 0.0123}, "runs": [{}, {}, {}]}
    (tmp_path / "karate" / "results.json").write_text(json.dumps(content))
    (tmp_path / "karate" / "seconds.json").write_text("90.0")
    monkeypatch.setattr(results, "GROUPS", {"public": [SHORT]})
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- public -->\nold\n<!-- end -->\nafter\n")
    for _ in range(2):
        results.write(page, tmp_path)
    assert page.read_text() == (
        "before\n<!-- public -->\n\n"
        "| data set | model | accuracy | published | difference | runs | minutes | published by |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| karate | gcn | 87.6 ± 1.2 | 90.0 | -2.4 | 3 | 1.5 | us |\n\n"
        f"    {SHORT.command}\n\n"
        "<!-- end -->\nafter\n"
    )
