"""The listings in the pages under docs/ are what the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ravine
import torch

import mpnn
from mpnn.backends.triton import interprets
from mpnn.models import GATv2Conv

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def test_the_page_of_optimisers_shows_the_steps_that_each_takes() -> None:
    page = (DOCS / "optimisers.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (.+) \| ([\d.]+) \| (\d+) \|$", page, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == list(ravine.OPTIMISERS)
    for name, formula, lr, steps in rows:
        settings, expected = ravine.OPTIMISERS[name]
        assert formula == expected
        # Rounding in single precision may move the last step.
        assert abs(ravine.steps_down(ravine.path(settings, float(lr))) - int(steps)) <= 1


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_how_it_works_shows_the_code_that_is_generated() -> None:
    layer, x = GATv2Conv(16, 8, heads=2, add_self_loops=False), torch.randn(50, 16, requires_grad=True)
    explanation = mpnn.explain(layer, x, mpnn.Graph(torch.randint(50, (2, 300)), 50))
    page = (DOCS / "how-it-works.md").read_text()
    shown = re.findall(r"```c\n(.*?)```", page, flags=re.DOTALL)
    generated = set(lines_of(explanation.source))
    assert len(shown) == 7
    assert [line for block in shown for line in lines_of(block) if line not in generated] == []
    words = re.search(r"```\n(step 1:.*?)```", page, flags=re.DOTALL)
    assert words is not None
    assert [line for line in lines_of(words[1]) if line not in lines_of(str(explanation))] == []


@pytest.mark.skipif(not interprets(), reason="Triton's interpreter is not at hand")
def test_how_it_works_shows_the_triton_that_is_generated() -> None:
    layer, graph = (
        GATv2Conv(16, 8, heads=2, add_self_loops=False),
        mpnn.Graph(torch.randint(50, (2, 300)), 50),
    )
    with mpnn.backend("triton"):
        generated = lines_of(mpnn.explain(layer, torch.randn(50, 16), graph).source)
    page = (DOCS / "how-it-works.md").read_text()
    (shown,) = [
        block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "tl." in block
    ]
    assert [line for line in lines_of(shown) if line not in generated] == []


@pytest.mark.parametrize("page", ["backpropagation.md", "gallery.md", "heterogeneous.md", "overfitting.md"])
def test_a_page_runs_from_top_to_bottom_and_prints_what_it_says(
    page: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "".join(BLOCK.findall((DOCS / page).read_text()))
    exec(compile(code, page, "exec"), {"__name__": "page"})
    printed = PRINTED.findall(code)
    assert printed and capsys.readouterr().out.splitlines() == printed


def test_the_picture_of_backpropagation_is_of_the_network_of_its_page() -> None:
    page, drawing = (DOCS / "backpropagation.md").read_text(), (DOCS / "pictures.py").read_text()
    for on_page, drawn in (("src", "SOURCES"), ("dst", "TARGETS")):
        (there,) = re.findall(rf"^{on_page} = (.*)$", page, re.MULTILINE)
        assert f"{drawn} = {there}\n" in drawing
