"""Every model of images learns, goes on after a break, and answers for new images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mpnn
from mpnn.datasets import ImageDataset, load
from mpnn.train import RunError, Settings, load_model, preset, train
from mpnn.train.kinds.image_faces import CODES, OF_IMAGES
from mpnn.train.learners.learner import CodeLearner
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on

QUICK: dict[str, dict[str, Any]] = {
    "lenet": {"epochs": 2},
    "resnet20": {"epochs": 2, "warmup": 0},
    "mlp": {"epochs": 2, "hidden": 32},
    "perceptron": {"epochs": 2},
    "rbf": {"hidden": 20},
    "dbn": {"epochs": 4, "hidden": 24, "pretrain": 1, "batch_size": 50},
    "rbm": {"epochs": 2, "hidden": 16},
    "autoencoder": {"epochs": 2, "hidden": 32, "embedding": 4},
    "vae": {"epochs": 2, "hidden": 32, "embedding": 3},
    "som": {"epochs": 3, "map": "4x3", "lattice": "hexagonal"},
}


def test_every_model_is_here() -> None:
    """The larger residual networks are of the class of the smallest."""
    assert OF_IMAGES.keys() - QUICK.keys() == {"resnet18", "resnet34", "resnet50"}


def quick(model: str) -> Settings:
    return preset(model, task="image", dataset="digits", **QUICK[model])


def digits() -> ImageDataset:
    data = load("digits")
    assert isinstance(data, ImageDataset)
    return data


@pytest.mark.parametrize("model", QUICK)
def test_a_run_after_a_break_has_the_numbers_of_one_without(model: str, tmp_path: Path) -> None:
    if model == "rbf":  # one epoch has no middle
        train(quick(model), tmp_path / "one", draw=False)
        train(quick(model), tmp_path / "two", draw=False)
        assert (tmp_path / "one" / "metrics.csv").read_bytes() == (
            tmp_path / "two" / "metrics.csv"
        ).read_bytes()
    else:
        assert_goes_on(quick(model), tmp_path, QUICK[model]["epochs"] // 2)


@pytest.mark.parametrize("model", QUICK)
def test_a_loaded_model_says_of_images_from_elsewhere_what_its_run_said(model: str, tmp_path: Path) -> None:
    """Bytes from 0 to 255, as files have them, in place of the numbers of the data set."""
    train(quick(model), tmp_path, draw=False)
    data, (network, task, _) = digits(), load_model(tmp_path)
    mean, deviation = data.read_as["mean"], data.read_as["deviation"]
    pixels = ((data.x[:50, 0] * deviation + mean) * 255).numpy()
    said = mpnn.load(tmp_path).predict(pixels / 255)
    wanted = task.outputs(network)[:50].detach()
    if model in CODES:
        assert said.columns.tolist() == ["image", *task.objective.names]
        assert_close(torch.tensor(said.iloc[:, 1:].to_numpy(np.float64)), wanted.double(), atol=1e-3)
    else:
        assert said["predicted"].tolist() == [str(k) for k in wanted.argmax(1).tolist()]


def test_a_larger_residual_network_learns(tmp_path: Path) -> None:
    report = train(
        preset("resnet18", task="image", dataset="digits", epochs=1, warmup=0), tmp_path, draw=False
    )
    assert report.results[0].history[0]["train_loss"] < 3


@pytest.mark.parametrize(("model", "least"), [("mlp", 0.95), ("perceptron", 0.92), ("rbf", 0.96)])
def test_classes_are_told(model: str, least: float, tmp_path: Path) -> None:
    """Logistic regression tells 96 % of these digits, and the nearest neighbour 98 %."""
    report = train(preset(model, task="image", dataset="digits"), tmp_path, draw=False)
    assert report.test()[0] > least


def test_layers_that_learned_alone_begin_better_than_those_that_did_not(tmp_path: Path) -> None:
    settings = preset("dbn", task="image", dataset="digits", hidden=100, pretrain=8, epochs=19)
    alone = train(settings, tmp_path / "alone", draw=False).results[0].history
    straight = train(replace(settings, pretrain=0, epochs=3), tmp_path / "not", draw=False).results[0].history
    assert [row["val_accuracy"] for row in alone[:16]] == [pytest.approx(0.1, abs=0.01)] * 16
    assert alone[18]["val_accuracy"] > straight[2]["val_accuracy"] + 0.2
    assert alone[0]["train_loss"] > 1.5 * alone[7]["train_loss"]


@pytest.mark.parametrize("model", ["rbm", "autoencoder", "vae", "som"])
def test_codes_are_better_than_the_mean_image(model: str, tmp_path: Path) -> None:
    settings = preset(model, task="image", dataset="digits", epochs=12)
    train(settings, tmp_path, draw=False)
    network, task, _ = load_model(tmp_path)
    assert isinstance(network, CodeLearner)
    images = task.data.x[task.split.test]
    mean = (images - task.data.x.mean(0)).flatten(1).square().sum(1).mean()
    again = (images - network.reconstructed(images)).flatten(1).square().sum(1).mean()
    assert again < 0.75 * mean


def test_all_pictures_of_codes_are_drawn(tmp_path: Path) -> None:
    train(quick("vae"), tmp_path / "vae")
    train(quick("som"), tmp_path / "som")
    for path in ("vae/reconstructions", "vae/samples", "vae/codes", "vae/curves", "som/units", "som/map"):
        assert (tmp_path / f"{path}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("model", "more", "why"),
    [
        ("som", {"map": "10"}, "map is '10', but should be rows and columns, such as 10x10"),
        ("som", {"map": "0x4"}, "map is '0x4', but should be rows and columns"),
        ("som", {"lr": 0.5}, "lr is 0.5, but of som it is always 0.01"),
        ("perceptron", {"hidden": 7}, "hidden is 7, but of perceptron it is always 16"),
        ("rbm", {"learn": "regression"}, "learn is 'regression', but of rbm it is always None"),
        ("vae", {"ensemble": 3}, "ensemble is 3, but of vae it is always None"),
        ("dbn", {"layers": 1}, "layers is 1, but a dbn has a hidden layer and an output"),
        ("rbf", {"hidden": 1795}, "hidden is 1795, which is 180 centres for a class, but class 0 has"),
        ("rbf", {"hidden": 4}, "hidden is 4, but each of 10 classes has a centre"),
    ],
)
def test_what_cannot_be_is_one_sentence(model: str, more: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=why):
        train(replace(quick(model), **more), tmp_path, draw=False)
