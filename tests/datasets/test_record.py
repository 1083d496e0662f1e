"""A record of a data set is whole, or is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.preprocessing import normalize

from mpnn.datasets import DATASETS, DataError, load, row_normalise
from mpnn.datasets.karate import load_karate
from mpnn.datasets.record import MASKS
from tests.compare import assert_close

WHERE = torch.zeros(34, dtype=torch.bool)
BAD = [
    ("x", torch.ones(33, 5), r"x is torch.float32 \[33, 5\], but should be floating point \[34, channels\]"),
    ("x", torch.ones(34), r"x is torch.float32 \[34\]"),
    ("x", torch.ones(34, 5, dtype=torch.int64), "x is torch.int64"),
    ("y", torch.zeros(33, dtype=torch.int64), r"y is torch.int64 \[33\], but should be torch.int64 \[34\]"),
    ("y", torch.zeros(34), "y is torch.float32"),
    ("y", torch.full((34,), 2), r"y\[0\] is 2, but should be a class, 0..1"),
    ("y", torch.full((34,), -1), r"y\[0\] is -1"),
    ("val_mask", torch.arange(34), "val_mask is torch.int64"),
    ("test_mask", torch.ones(3, dtype=torch.bool), r"test_mask is torch.bool \[3\]"),
    ("train_mask", WHERE, "train_mask selects no node"),
    ("train_mask", ~WHERE, "node 1 is in several of"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), BAD)
def test_a_field_that_does_not_fit_is_named(field: str, value: torch.Tensor, sentence: str) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(DataError, match=sentence):
        replace(load_karate(), **wrong)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load_karate().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_record_moves_to_another_device_whole(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    moved = load_karate().to(device)
    tensors = [getattr(moved, name) for name in ("x", "y", *MASKS)]
    assert {moved.graph.device.type, *(tensor.device.type for tensor in tensors)} == {device}
    assert repr(moved) == repr(load_karate())


def test_rows_are_normalised_as_by_scikit_learn() -> None:
    x = torch.rand(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[3] = 0
    assert_close(row_normalise(x), torch.from_numpy(normalize(x.numpy(), norm="l1")))


def test_every_data_set_has_a_line_about_it() -> None:
    assert all(entry.about and len(entry.about) < 80 for entry in DATASETS.values())


def test_an_unknown_name_lists_those_that_are_known() -> None:
    with pytest.raises(DataError, match="dataset is 'coral', but should be one of karate, cora"):
        load("coral")


def test_a_folder_for_embedded_data_is_refused() -> None:
    with pytest.raises(DataError, match="karate is embedded and reads no files"):
        load("karate", data=".")
