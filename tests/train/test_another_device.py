"""`--device` is all that a run needs to be elsewhere, and what it saves is read anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map

from mpnn.train import load_model, preset, train
from tests.compare import assert_close
from tests.elsewhere import DEVICE, Far, by_plan, elsewhere

RUNS: dict[str, dict[str, Any]] = {
    "node": {"model": "gat", "dataset": "karate"},
    "deep": {"model": "gcn", "dataset": "karate", "norm": "batch", "layers": 3, "folds": 2},
    "edge": {"model": "vgae", "task": "edge", "dataset": "karate"},
    "graph": {"model": "gin", "task": "graph", "dataset": "cycles"},
}


@pytest.fixture
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch writes tensors of any device of its own, and reads them to another."""
    save, load = torch.save, torch.load

    def here(value: Any) -> Any:
        return value.cpu() if isinstance(value, Far) else value

    def load_to(file: Any, map_location: Any = "cpu", **options: Any) -> Any:
        read = load(file, map_location="cpu", **options)
        return tree_map(lambda v: v.to(map_location) if isinstance(v, torch.Tensor) else v, read)

    monkeypatch.setattr(torch, "save", lambda state, file: save(tree_map(here, state), file))
    monkeypatch.setattr(torch, "load", load_to)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_stays_on_its_device(name: str, tmp_path: Path) -> None:
    options = dict(RUNS[name])
    settings = preset(options.pop("model"), epochs=2, device=str(DEVICE), **options)
    with elsewhere(), by_plan():
        report = train(settings, tmp_path)
        assert len(report.results[0].history) == 2
        longer = train(replace(settings, epochs=3), resume=tmp_path, draw=False)
        assert len(longer.results[0].history) == 3
        place = next(tmp_path.glob("**/best.pt")).parent
        model, _, _ = load_model(place, str(DEVICE))
        assert {p.device for p in model.parameters()} == {DEVICE}
        there = {key: value.cpu() for key, value in model.state_dict().items()}
    back, _, _ = load_model(place, "cpu")
    for key, value in back.state_dict().items():
        assert_close(value, there[key], name=key)
