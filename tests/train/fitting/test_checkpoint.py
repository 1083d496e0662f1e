"""Files are whole or not there; what is no checkpoint is refused and never run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from mpnn.models import GNN
from mpnn.train import Recipe, RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.optimizer import build_optimizer
from mpnn.train.fitting.state import State
from mpnn.train.fitting.stopping import EarlyStopping


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.path,)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = {"weights": torch.rand(3), "history": [{"loss": 0.1}], "epoch": 4}
    checkpoint.save(tmp_path / "a.pt", state)
    loaded = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))  # type: ignore[arg-type]
    assert loaded == state
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"model": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    (tmp_path / "odd.pt").write_bytes(b"\x80\x02q\x00.")  # a pickle that keeps what is not there
    for name in ("bomb.pt", "plain.pt", "odd.pt"):
        with pytest.raises(RunError, match=rf"{name[:-3]}\.pt is not a checkpoint of mpnn, or is damaged"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"weights": torch.rand(100)})
    content = path.read_bytes()
    for length in (0, 1, 50, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(RunError, match=r"a\.pt is not a checkpoint of mpnn, or is damaged"):
            checkpoint.load(path)


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    torch.save(torch.rand(3), tmp_path / "a.pt")
    with pytest.raises(RunError, match="it holds a Tensor"):
        checkpoint.load(tmp_path / "a.pt")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.pt does not exist"):
        checkpoint.load(tmp_path / "a.pt")
    with pytest.raises(RunError, match="is a folder, but should be a file"):
        checkpoint.load(tmp_path)


def test_what_an_optimiser_kept_is_found_where_parameters_had_another_order(tmp_path: Path) -> None:
    def state() -> State:
        model = GNN(3, 4, 2, conv="gat", norm="batch")
        optimizer = build_optimizer(model, Recipe(lr=0.01, decayed="first"))
        return State(model, optimizer, EarlyStopping("loss", 5), {})

    then = state()
    sum((p * p).sum() for p in then.model.parameters()).backward()  # type: ignore[union-attr]
    then.optimizer.step()
    then.note({"val_loss": 1.0}, 0.5)
    then.save(tmp_path)
    last = checkpoint.load(tmp_path / "last.pt")
    # As version 0.1.0 wrote it: other places, and a norm's parameters under its own name.
    last["model"] = {name.replace(".module.", "."): last["model"][name] for name in reversed(last["model"])}
    groups, kept = last["optimizer"]["param_groups"], last["optimizer"]["state"]
    last["optimizer"]["state"] = {
        place: kept[other]
        for group in groups
        for place, other in zip(group["params"], reversed(group["params"]), strict=True)
    }
    checkpoint.save(tmp_path / "last.pt", last)
    now = state()
    now.load(tmp_path)
    before, found = (
        {name: one.optimizer.state[p]["exp_avg"] for name, p in one.model.named_parameters()}
        for one in (then, now)
    )
    assert before.keys() == found.keys() and all(torch.equal(before[name], found[name]) for name in before)
