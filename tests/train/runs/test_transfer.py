"""A run begins with the weights of a file, and may keep all but those of the last layer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mpnn
from mpnn.models import LeNet, resnet_for
from mpnn.train import Recipe, RunError, Settings, load_model, preset, train
from mpnn.train.command import cli
from mpnn.train.fitting.optimizer import build_optimizer
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on
from tests.train.conftest import Complaint


def published(classes: int = 7, channels: int = 1, model: str = "resnet20") -> dict[str, Tensor]:
    """Weights as a training left them: no statistic is that of a new network."""
    torch.manual_seed(5)
    network = resnet_for(model, channels, (8, 8), classes)
    for _ in range(3):
        network(torch.randn(16, channels, 8, 8) + 0.5)
    return network.state_dict()


def write_safetensors(path: Path, weights: Mapping[str, Tensor]) -> None:
    """By the page of the format alone; tensors here are of float32 and int64."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in weights.items():
        raw = tensor.contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def settings(weights: Path, **more: Any) -> Settings:
    usual = {"epochs": 2, "warmup": 0, "weights": str(weights)}
    return preset("resnet20", task="image", dataset="digits", **usual | more)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_only_the_last_layer_of_a_frozen_network_learns(ending: str, tmp_path: Path) -> None:
    theirs, path = published(), tmp_path / f"published{ending}"
    if ending == ".pth":
        torch.save(theirs, path)
    else:
        write_safetensors(path, theirs)
    with pytest.warns(UserWarning, match="has 7 outputs, but 10 are needed: the last layer, fc, begins anew"):
        train(settings(path, freeze=True), tmp_path / "run", draw=False)
    path.unlink()  # what was trained needs it no more
    ours = load_model(tmp_path / "run")[0].state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, theirs[name]), name
    assert mpnn.load(tmp_path / "run").predict(torch.rand(3, 8, 8))["predicted"].size == 3


def test_what_a_frozen_network_learns_is_regression_on_its_last_hidden_layer(tmp_path: Path) -> None:
    """One step on all images to learn from, against the gradient of a linear layer's loss by PyTorch."""
    torch.save(published(10), tmp_path / "w.pth")
    alike = {"epochs": 1, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 1797}
    with torch.random.fork_rng():
        train(settings(tmp_path / "w.pth", freeze=True, **alike), tmp_path / "run", draw=False)
    model, task, _ = load_model(tmp_path / "run")
    network = resnet_for("resnet20", 1, (8, 8), 10)
    network.load_state_dict(published(10))
    network.eval()
    train_on = task.split.train
    with torch.no_grad():
        hidden = network.embed(task.data.x[train_on])
    network.fc(hidden)
    loss = F.cross_entropy(network.fc(hidden), task.y[train_on])
    (slope,) = torch.autograd.grad(loss, network.fc.weight)
    assert_close(model.state_dict()["fc.weight"], (network.fc.weight - 0.5 * slope).detach(), atol=1e-5)


def test_without_freezing_all_layers_go_on_from_the_file(tmp_path: Path) -> None:
    """At a learning rate of nearly nothing a network says what the one that wrote the file said."""
    theirs = published(10)
    torch.save({"model": theirs, "epoch": 3}, tmp_path / "w.pth")  # a checkpoint with more in it
    still = settings(tmp_path / "w.pth", epochs=1, lr=1e-12, weight_decay=0.0)
    train(still, tmp_path / "run", draw=False)
    model, _, _ = load_model(tmp_path / "run")
    for name, parameter in model.named_parameters():
        assert_close(parameter.detach(), theirs[name], atol=1e-6)
    counts = model.state_dict()["bn1.num_batches_tracked"] - theirs["bn1.num_batches_tracked"]
    assert counts > 0  # and its batch normalisation learns statistics


def test_a_best_model_of_an_earlier_run_is_such_a_file(tmp_path: Path) -> None:
    lenet = preset("lenet", task="image", dataset="digits", epochs=1)
    first = train(lenet, tmp_path / "one", draw=False)
    more = replace(lenet, weights=str(tmp_path / "one" / "best.pt"), freeze=True)
    second = train(more, tmp_path / "two", draw=False)
    assert second.results[0].history[0]["train_loss"] < first.results[0].history[0]["train_loss"]


def test_files_of_old_versions_without_counts_of_batches_are_read(tmp_path: Path) -> None:
    old = {name: w for name, w in published(10).items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    train(settings(tmp_path / "w.pth", freeze=True, epochs=1), tmp_path / "run", draw=False)
    found = load_model(tmp_path / "run")[0].state_dict()
    assert torch.equal(found["bn1.running_var"], old["bn1.running_var"])


@pytest.mark.parametrize("freeze", [False, True])
def test_a_run_after_a_break_has_the_numbers_of_one_without(freeze: bool, tmp_path: Path) -> None:
    torch.save(published(10), tmp_path / "w.pth")
    assert_goes_on(settings(tmp_path / "w.pth", freeze=freeze), tmp_path, 1)


def test_a_run_that_began_before_there_was_freezing_goes_on(tmp_path: Path) -> None:
    asked = preset("resnet20", task="image", dataset="digits", epochs=1, warmup=0, schedule="constant")
    train(asked, tmp_path, draw=False)
    old = torch.load(tmp_path / "last.pt", weights_only=True)
    for name in ("weights", "freeze"):
        del old["settings"][name]
    torch.save(old, tmp_path / "last.pt")
    report = train(replace(asked, epochs=2), resume=tmp_path, draw=False)
    assert len(report.results[0].history) == 2


def test_networks_that_answer_together_share_frozen_layers_and_differ_in_the_last(tmp_path: Path) -> None:
    torch.save(published(7), tmp_path / "w.pth")
    both = settings(tmp_path / "w.pth", freeze=True, ensemble=2, epochs=1)
    with pytest.warns(UserWarning, match="begins anew"):
        train(both, tmp_path / "run", draw=False)
    one, two = (member.state_dict() for member in load_model(tmp_path / "run")[0].members)  # type: ignore[union-attr]
    assert torch.equal(one["conv1.weight"], two["conv1.weight"])
    assert not torch.equal(one["fc.weight"], two["fc.weight"])


@pytest.mark.filterwarnings("always:.*begins anew")
def test_the_command_takes_a_file_and_says_what_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(published(7), "w.pth")
    words = ["train", "image", "--dataset", "digits", "--model", "resnet20", "--epochs", "1", "--no-pictures"]
    assert cli.main([*words, "--weights", "w.pth", "--freeze", "--out", "run"]) == 0
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("mpnn: warning: ") and "w.pth has 7 outputs, but 10 are needed" in said
    assert json.loads(Path("run/config.json").read_text())["weights"] == str(tmp_path / "w.pth")


class Runs:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def _write(path: Path, what: str) -> None:
    weights: dict[str, Any] = published(10)
    if what == "code":
        weights["conv1.weight"] = Runs()
    elif what == "nan":
        weights["conv1.weight"][0, 0, 0, 0] = torch.nan
    elif what == "lenet":
        weights = LeNet(size=(8, 8)).state_dict()
    elif what == "resnet18":
        weights = published(10, model="resnet18")
    elif what == "colour":
        weights = published(10, channels=3)
    elif what == "list":
        weights = [1, 2]  # type: ignore[assignment]
    torch.save(weights, path)
    if what == "cut":
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("code", "w.pth is damaged, or holds more than tensors, which could run code"),
        ("nan", "w.pth holds NaN in its weight conv1.weight"),
        (
            "lenet",
            "another architecture than resnet20 here: it lacks 'conv1.weight' and 94 more, and it has ",
        ),
        ("resnet18", "another architecture than resnet20 here: it lacks 'layer1.2.conv1.weight'"),
        (
            "colour",
            "here: 'conv1.weight' is of other shapes, \\[16, 3, 3, 3\\] in place of \\[16, 1, 3, 3\\]",
        ),
        ("list", "w.pth holds no tensors by name"),
        ("cut", "w.pth is damaged"),
    ],
)
def test_another_file_is_one_sentence_and_leaves_no_folder(
    what: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "w.pth", what)
    with pytest.raises(RunError, match=why) as error:
        train(settings(tmp_path / "w.pth"), tmp_path / "run", draw=False)
    assert "\n" not in str(error.value) and [one.name for one in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--freeze"], "freeze is set, but weights is not given"),
        (["--weights", "nowhere.pth"], "nowhere.pth does not exist"),
        (["--model", "mlp", "--weights", "w.pth"], "of mlp it is always None"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    flags: list[str], why: str, complaint: Complaint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = flags if "--model" in flags else ["--model", "resnet20", *flags]
    assert why in complaint("train", "image", "--dataset", "digits", *flags)


def test_a_network_with_the_last_layer_cannot_be_several(tmp_path: Path) -> None:
    torch.save(published(10), tmp_path / "w.pth")
    with pytest.raises(RunError, match=r"ensemble is 2, but .*w.pth has the last layer too"):
        train(settings(tmp_path / "w.pth", ensemble=2), tmp_path / "run", draw=False)


def test_a_model_with_nothing_to_learn_is_one_sentence() -> None:
    with pytest.raises(RunError, match="Linear has no parameters to train"):
        build_optimizer(torch.nn.Linear(2, 2).requires_grad_(False), Recipe())
