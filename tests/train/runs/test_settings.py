"""Settings survive a file, and refuse what makes no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpnn.datasets import Columns
from mpnn.models import CONVS
from mpnn.train import PRESETS, EmbedSettings, Recipe, RunError, Settings, preset

POSITIVE = st.integers(1, 10**9)
SETTINGS = st.builds(
    Settings,
    lr=st.floats(0, 10),
    patience=st.none() | POSITIVE,
    hidden=POSITIVE,
    heads=st.none() | POSITIVE,
    dropout=st.floats(0, 0.99),
    data=st.none() | st.text(),
    residual=st.booleans(),
    columns=st.builds(Columns, label=st.none() | st.text(), directed=st.booleans()),
)


@given(SETTINGS)
def test_settings_survive_a_file(settings: Settings) -> None:
    assert Settings.from_dict(json.loads(settings.to_json())) == settings


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("epochs", 0, "epochs is 0, but should be at least 1"),
        ("lr", -0.1, "lr is -0.1, but should be at least 0"),
        ("lr", float("nan"), "lr is nan"),
        ("weight_decay", float("inf"), "weight_decay is inf"),
        ("patience", 0, "patience is 0"),
        ("runs", 0, "runs is 0"),
        ("seed", -1, "seed is -1"),
        ("dropout", 1.0, "dropout is 1.0, but should be below 1"),
        ("attention_dropout", 1.0, "attention_dropout is 1.0, but should be below 1"),
        ("monitor", "f1", "monitor is 'f1', but should be one of loss, both, last, accuracy, "),
        ("decayed", "last", "decayed is 'last', but should be one of all, first"),
        ("task", "tree", "task is 'tree', but should be one of node, "),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        Settings(**{field: value})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1], "settings are of type list"),
        ({"epoch": 3}, "settings hold 'epoch', which is none of optimizer,"),
        ({"epochs": "3"}, "setting epochs is '3', but should be of type int"),
        ({"epochs": True}, "setting epochs is True, but should be of type int"),
        ({"lr": None}, "setting lr is None, but should be of type float"),
    ],
)
def test_a_file_with_other_content_is_refused(content: Any, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        Settings.from_dict(content)


@pytest.mark.parametrize("model", CONVS)
def test_every_model_has_settings_to_start_from(model: str) -> None:
    assert preset(model).model == model
    assert preset(model, lr=0.5).lr == 0.5


def test_presets_are_of_models_that_exist() -> None:
    assert set(PRESETS) <= set(CONVS)


def test_presets_are_as_published() -> None:
    gcn, gat = preset("gcn"), preset("gat")
    assert (gcn.hidden, gcn.layers, gcn.dropout, gcn.lr, gcn.weight_decay, gcn.decayed, gcn.epochs) == (
        *(16, 2, 0.5, 0.01, 5e-4, "first", 200),
    )
    assert (gat.hidden, gat.heads, gat.out_heads, gat.dropout, gat.lr, gat.weight_decay, gat.act) == (
        *(8, 8, 1, 0.6, 0.005, 5e-4, "elu"),
    )
    assert (gat.patience, gat.monitor) == (100, "both")


def test_presets_of_random_splits_are_as_published() -> None:
    gcn, gat, sage = (preset(model, dataset="amazon-photo") for model in ("gcn", "gat", "sage"))
    for one in (gcn, gat, sage):
        assert (one.split, one.largest_component, one.patience, one.monitor) == (
            "per-class",
            True,
            50,
            "loss",
        )
    assert (gcn.hidden, gcn.dropout, gcn.lr, gcn.weight_decay) == (64, 0.8, 0.01, 0.001)
    assert (gat.heads, gat.dropout, gat.attention_dropout, gat.lr, gat.weight_decay) == (
        8,
        0.6,
        0.3,
        0.01,
        0.01,
    )
    assert (sage.hidden, sage.dropout, sage.lr, sage.weight_decay) == (32, 0.4, 0.001, 0.1)
    assert preset("gcn", dataset="cora").hidden == 16
    assert preset("gin", dataset="amazon-photo") == replace(preset("gin"), dataset="amazon-photo")
    assert preset("gcn", task="edge", dataset="amazon-photo").split is None


def test_a_preset_lets_its_patience_go_where_every_epoch_is_done() -> None:
    assert preset("gat", monitor="last").patience is None
    assert preset("gin", task="graph", folds=10, shared_epoch=True).patience is None


def test_a_recipe_is_part_of_settings() -> None:
    assert isinstance(preset("gcn"), Recipe)


@pytest.mark.parametrize("kind", [Settings, EmbedSettings])
def test_columns_are_read_one_by_one_as_older_runs_and_toml_files_have_them(kind: type[Settings]) -> None:
    settings = kind(columns=Columns(label="team", directed=True))
    nested = json.loads(settings.to_json())
    older = {name: value for name, value in nested.items() if name != "columns"} | nested["columns"]
    assert older["label"] == "team" and "columns" not in older
    assert kind.from_dict(older) == kind.from_dict(nested) == settings
    assert settings.flat() == older
    assert settings.changed({"label": "club"}).columns == Columns(label="club", directed=True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"columns": "label"}, "setting columns is 'label', but should be a dictionary"),
        ({"columns": {"lable": "a"}}, "settings hold 'lable', which is none of optimizer,"),
        ({"columns": {"label": 3}}, r"setting label is 3, but should be of type str \| None"),
        ({"columns": {"label": "a"}, "label": "b"}, "settings hold 'label' twice"),
    ],
)
def test_columns_with_a_mistake_are_refused(content: Any, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        Settings.from_dict(content)
