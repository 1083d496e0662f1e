"""What holds for every kind of task that the list names."""

from __future__ import annotations

from dataclasses import fields

import pytest

from mpnn.datasets import DATASETS
from mpnn.train import KINDS, Kind, Settings, preset

EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@EVERY
def test_what_is_taken_where_nothing_is_named_fits(kind: Kind) -> None:
    assert kind.suits(DATASETS[kind.dataset])
    assert kind.model in kind.models()
    if kind.model_for is not None:
        assert kind.model_for({"dataset": kind.dataset}) == kind.model


@EVERY
def test_every_model_has_settings_that_its_kind_takes(kind: Kind) -> None:
    for model in kind.models():
        settings = preset(model, task=kind.name, dataset=kind.dataset)
        for name, value in kind.fixed.get(model, {}).items():
            assert getattr(settings, name) == value
    assert kind.fixed.keys() <= kind.models().keys()


@EVERY
def test_options_are_settings_and_pictures_have_names_of_their_own(kind: Kind) -> None:
    assert set(kind.options) <= {field.name for field in fields(Settings)}
    assert len(set(kind.options)) == len(kind.options)
    assert len({picture.name for picture in kind.pictures}) == len(kind.pictures)
