"""The class of every pixel: trained, judged, drawn and predicted, on drawn shapes and on own folders."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score

import mpnn
from mpnn.datasets import DataError, MaskDataset, load, load_masks
from mpnn.models import fcn_for, fcn_resnet50
from mpnn.train import RunError, Settings, load_model, preset, train
from mpnn.train.command import cli
from mpnn.train.pictures.masks import overlaid, palette
from mpnn.train.tasks.segment_task import PixelClasses, SegmentTask
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on
from tests.train.conftest import Complaint


def settings(**more: Any) -> Settings:
    return preset("fcn20", task="segment", dataset="shapes", **{"epochs": 2} | more)


def shapes() -> MaskDataset:
    data = load("shapes")
    assert isinstance(data, MaskDataset)
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty grey pictures of 12 × 10 pixels: what is bright on the left is 1, on the right 2."""
    draw = np.random.default_rng(3)
    for name in ("images", "masks"):
        (tmp_path / "own" / name).mkdir(parents=True)
    for k in range(20):
        bright = draw.random((12, 10)) < 0.4
        mask = np.where(bright, np.where(np.arange(10) < 5, 1, 2), 0).astype(np.uint8)
        mask[0, 0] = 255
        pixels = (bright * 180 + draw.integers(0, 40, (12, 10))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "own" / "images" / f"p{k:02}.png")
        Image.fromarray(mask).save(tmp_path / "own" / "masks" / f"p{k:02}.png")
    return tmp_path / "own"


def test_scores_are_those_of_scikit_learn() -> None:
    """Over all pixels of all images together; those of unknown class take no part."""
    torch.manual_seed(1)
    logits, y = torch.randn(5, 4, 7, 6), torch.randint(-1, 4, (5, 7, 6))
    aim = PixelClasses(("a", "b", "c", "d"), range(4))
    scores = aim.scores(logits, y)
    known = y >= 0
    right, said = y[known].numpy(), logits.argmax(1)[known].numpy()
    assert scores["pixels"] == pytest.approx(accuracy_score(right, said))
    each = jaccard_score(right, said, average=None)
    assert [scores[f"iou_{name}"] for name in "abcd"] == pytest.approx(list(each))
    assert scores["iou"] == pytest.approx(jaccard_score(right, said, average="macro"))
    assert_close(aim.loss(logits, y), F.cross_entropy(logits, y, ignore_index=-1), atol=1e-6)


def test_a_class_that_is_nowhere_takes_no_part_in_the_mean() -> None:
    logits = F.one_hot(torch.tensor([[[0, 1], [1, 1]]]), 3).permute(0, 3, 1, 2).float()
    scores = PixelClasses(("a", "b", "c")).scores(logits, torch.tensor([[[0, 0], [1, -1]]]))
    assert scores == {"iou": pytest.approx(0.5), "pixels": pytest.approx(2 / 3)}
    nothing = PixelClasses(("a", "b", "c")).loss(logits, torch.full((1, 2, 2), -1))
    assert float(nothing) == 0


def test_the_network_is_that_of_the_layers_of_torchvisions() -> None:
    """`fcn` has the state_dict of `fcn_resnet50`, and says what it says."""
    torch.manual_seed(0)
    ours, theirs = fcn_for("fcn", 3, 4).double().eval(), fcn_resnet50(num_classes=4).double().eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 32, 40, dtype=torch.float64)
    assert_close(ours(x), theirs(x)["out"], atol=1e-12)
    with pytest.raises(ValueError, match="model is 'unet', but must be one of fcn, fcn20"):
        fcn_for("unet", 3, 4)


def test_a_run_learns_and_writes_everything(tmp_path: Path) -> None:
    report = train(settings(epochs=8), tmp_path)
    history = report.results[0].history
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    for name in ("curves", "classes", "overlays"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    model, task, _ = load_model(tmp_path)
    assert isinstance(task, SegmentTask)
    test = task.split.test
    right, said = task.y[test].flatten().numpy(), task.outputs(model)[test].flatten().numpy()
    assert report.test()[0] == pytest.approx(jaccard_score(right, said, average="macro", zero_division=0))


def test_a_run_after_a_break_has_the_numbers_of_one_without(tmp_path: Path) -> None:
    assert_goes_on(settings(), tmp_path, 1)


def test_your_own_folder_is_trained_on_and_masks_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "classes.txt").write_text("dark\nleft\nright\n")
    words = ["train", "segment", "--dataset", "own", "--epochs", "12", "--out", "run", "--batch-size", "4"]
    assert cli.main(words) == 0
    assert cli.main(["evaluate", "run"]) == 0 and "IoU of left" in capsys.readouterr().out
    assert cli.main(["predict", "run", "--output", "each.csv"]) == 0
    rows = list(csv.DictReader(Path("each.csv").read_text().splitlines()))
    assert list(rows[0]) == ["image", "part", "pixels", "iou(dark)", "iou(left)", "iou(right)"]
    assert [row["image"] for row in rows] == [f"p{k:02}" for k in range(20)]
    assert cli.main(["predict", "run", "--images", "own/images", "--output", "said"]) == 0
    assert "20 images is written to said, a mask for each" in capsys.readouterr().out
    model, task, _ = load_model("run")
    wanted = task.outputs(model)
    for k, file in enumerate(sorted(Path("said").iterdir())):
        with Image.open(file) as picture:
            assert file.name == f"p{k:02}.png" and picture.mode == "P"
            assert np.array_equal(np.array(picture), wanted[k].numpy())
    classes, names = mpnn.load("run").masks(["own/images/p03.png"])
    assert names == ["p03.png"] and torch.equal(classes[0], wanted[3])


def test_masks_are_read_as_they_were_drawn(folder: Path) -> None:
    data = load_masks(folder)
    with Image.open(folder / "masks" / "p07.png") as picture:
        numbers = np.array(picture).astype(np.int64)
    assert data.y[7, 0, 0] == -1 and np.array_equal(data.y[7].flatten()[1:], numbers.flatten()[1:])
    assert data.class_names == ("0", "1", "2") and data.size == (12, 10)
    assert repr(data) == "own: 20 images of 12 × 10 pixels and 1 channel, 3 classes of pixels"


def test_masks_of_black_and_white_have_two_classes(folder: Path) -> None:
    for file in (folder / "masks").iterdir():
        with Image.open(file) as picture:
            white = np.array(picture) == 1
        Image.fromarray(white.astype(np.uint8) * 255).save(file)
    data = load_masks(folder)
    assert data.class_names == ("0", "1") and set(data.y.unique().tolist()) == {0, 1}


def _no_mask(folder: Path) -> None:
    (folder / "masks" / "p04.png").unlink()


def _no_image(folder: Path) -> None:
    (folder / "images" / "p04.png").unlink()


def _other_size(folder: Path) -> None:
    Image.new("L", (10, 11)).save(folder / "masks" / "p04.png")


def _colour(folder: Path) -> None:
    Image.new("RGB", (10, 12)).save(folder / "masks" / "p04.png")


def _cut(folder: Path) -> None:
    file = folder / "masks" / "p04.png"
    file.write_bytes(file.read_bytes()[:60])


def _few_names(folder: Path) -> None:
    (folder / "classes.txt").write_text("dark\nleft\n")


def _no_folder(folder: Path) -> None:
    (folder / "masks").rename(folder / "answers")


def _twice(folder: Path) -> None:
    Image.new("L", (10, 12)).save(folder / "images" / "p04.bmp")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_no_mask, "p04.png has no mask of its name in .*masks"),
        (_no_image, "p04.png has no image of its name in .*images"),
        (_other_size, "p04.png has 11 × 10 pixels, but .*p04.png has 12 × 10"),
        (_colour, "p04.png is a picture of kind RGB, but a mask is grey or has a palette"),
        (_cut, "p04.png cannot be read"),
        (_few_names, "classes.txt has 2 different names, but masks have classes 0 to 2"),
        (_no_folder, "masks is no folder, but images with masks are two: images and masks"),
        (_twice, "have one name: masks are found by names"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_cannot_be_read_is_one_sentence(spoil: Callable[[Path], None], why: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=why) as error:
        load_masks(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--model", "unet"], "model is 'unet', but should be one of fcn20, fcn"),
        (["--dataset", "digits"], "task is 'segment', but digits is images: train image or memory on it"),
        (["--heads", "2"], "heads is 2, but segment tasks have none"),
        (["--dropout", "0.5"], "dropout is 0.5, but of fcn20 it is always 0.1"),
        (["--split", "public"], "split is 'public', but these images have none"),
        (["--dataset", "nowhere/"], "nowhere/images is no folder"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(flags: list[str], why: str, complaint: Complaint) -> None:
    assert why in complaint("train", "segment", *flags)


def test_the_record_names_what_does_not_fit() -> None:
    x, y = torch.zeros(2, 1, 3, 4), torch.zeros(2, 3, 4, dtype=torch.int64)
    with pytest.raises(DataError, match=r"y is torch.int64 \[2, 4, 3\], but should be int64 \[2, 3, 4\]"):
        MaskDataset("a", x, y.transpose(1, 2), ("a", "b"), ("1", "2"))
    with pytest.raises(DataError, match="y has classes from 0 to 2, but should have 0 to 1"):
        MaskDataset("a", x, y.index_fill(2, torch.tensor([1]), 2), ("a", "b"), ("1", "2"))
    with pytest.raises(DataError, match="image_names are 1, but should be 2"):
        MaskDataset("a", x, y, ("a", "b"), ("1",))
    with pytest.raises(DataError, match=r"x is torch.int64 \[2, 3, 4\], but should be floating point"):
        MaskDataset("a", y, y, ("a", "b"), ("1", "2"))


def test_another_model_writes_no_masks(tmp_path: Path) -> None:
    train(preset("lenet", task="image", dataset="digits", epochs=1), tmp_path, draw=False)
    with pytest.raises(RunError, match="the model is of a run of mpnn train image, but this is for segment"):
        mpnn.load(tmp_path).masks(torch.zeros(1, 8, 8))


def test_masks_of_images_of_one_name_are_one_sentence(tmp_path: Path, complaint: Complaint) -> None:
    train(settings(epochs=1), tmp_path / "run", draw=False)
    (tmp_path / "new").mkdir()
    for name in ("a.png", "a.bmp"):
        Image.new("RGB", (32, 32)).save(tmp_path / "new" / name)
    said = complaint("predict", str(tmp_path / "run"), "--images", str(tmp_path / "new"), "--output", "out")
    assert "is not the only image called a: their masks would be one file" in said
    Image.new("RGB", (30, 32)).save(tmp_path / "b.png")
    said = complaint("predict", str(tmp_path / "run"), "--images", str(tmp_path / "b.png"), "--output", "out")
    assert "images are [3, 32, 30], but the model reads [3, 32, 32]" in said


def test_weights_of_a_file_are_taken_and_frozen(tmp_path: Path) -> None:
    torch.save(fcn_for("fcn20", 3, 6).state_dict(), tmp_path / "w.pth")
    asked = settings(weights=str(tmp_path / "w.pth"), freeze=True, epochs=1)
    with pytest.warns(UserWarning, match=r"has 6 outputs, but 4 are needed: .*classifier.4, begins anew"):
        train(asked, tmp_path / "run", draw=False)
    found = load_model(tmp_path / "run")[0].state_dict()
    theirs = torch.load(tmp_path / "w.pth", weights_only=True)
    for name in ("backbone.conv1.weight", "backbone.bn1.running_var", "classifier.0.weight"):
        assert torch.equal(found[name], theirs[name])


def test_colours_are_those_of_the_voc_challenge() -> None:
    """The first colours as the challenge's development kit lists them."""
    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]]
    assert palette(9).tolist() == [*first, [128, 128, 128], [64, 0, 0]]


def test_background_and_unknown_pixels_stay_as_they_are() -> None:
    pixels = torch.rand(1, 1, 2, 2)
    shown = overlaid(pixels, torch.tensor([[[0, -1], [1, 2]]]), 3)
    assert torch.equal(shown[0, 0], pixels[0].permute(1, 2, 0)[0].expand(-1, 3))
    assert shown[0, 1, 0, 0] > shown[0, 1, 0, 1] and shown[0, 1, 1, 1] > shown[0, 1, 1, 0]


def test_shapes_hide_no_class_and_have_all_of_them() -> None:
    data = shapes()
    share = data.y.flatten().bincount().double() / data.y.numel()
    assert len(share) == 4 and float(share[1:].min()) > 0.05
    assert torch.equal(data.x, shapes().x)
