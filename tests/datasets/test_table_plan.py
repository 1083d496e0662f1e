"""Columns become features as scikit-learn's and pandas' own tools make them, and a plan is plain JSON."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mpnn.datasets import DataError, TablePlan
from tests.compare import assert_close

ROWS = 400
TOWNS = ["Bonn", "Ulm", "Köln", "Trier", "Hof"]


def people(seed: int, missing: bool = True) -> pd.DataFrame:
    """Cells as a file holds them: text; with gaps."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 90, ROWS).astype(str),
            "income": np.char.mod("%.2f", draw.lognormal(8, 1, ROWS)),
            "member": draw.choice(["yes", "No"], ROWS),
            "town": draw.choice(
                ["Bonn", "Ulm", "Köln", "Trier", "Hof"], ROWS, p=[0.5, 0.3, 0.17, 0.02, 0.01]
            ),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, ROWS), unit="D"),
            "about": [f"I am number {k} of {seed}" for k in range(ROWS)],
            "country": "DE",
        }
    )
    frame["joined"] = frame.joined.dt.strftime("%Y-%m-%d")
    for column in ("age", "town", "joined"):
        if missing:
            frame.loc[draw.random(ROWS) < 0.1, column] = draw.choice(["", "NA", "nan"])
    return frame


def as_scikit_learn_reads(frame: pd.DataFrame) -> pd.DataFrame:
    """By pandas: numbers, dates as days, NaN where nothing is said."""
    read = frame.replace(["", "NA", "nan"], np.nan)
    days = (pd.to_datetime(read.joined) - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    numbers = {name: pd.to_numeric(read[name]) for name in ("age", "income")}
    return read.assign(**numbers, joined=days)


def test_new_rows_become_what_scikit_learn_makes_of_them() -> None:
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))[:250]
    ours = TablePlan.fit(people(0), rows, standard=True).apply(people(1))
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False)
    theirs = ColumnTransformer(
        [("numbers", numbers, ["age", "joined"]), ("income", StandardScaler(), ["income"])]
    )
    train, new = as_scikit_learn_reads(people(0)).iloc[rows.numpy()], as_scikit_learn_reads(people(1))
    age, joined, no_age, no_joined, income = theirs.fit(train).transform(new).T.copy()
    assert_close(ours[:, 0], torch.from_numpy(age).float())
    assert ours[:, 1].tolist() == new.age.isna().astype(float).tolist()
    assert_close(ours[:, 2], torch.from_numpy(income).float())
    assert ours[:, 3].tolist() == (new.member == "yes").astype(float).tolist()
    there = new.town.notna()
    towns = encoder.fit(train[["town"]].dropna()).transform(new[["town"]][there])
    width = towns.shape[1]
    assert ours[torch.tensor(there.to_numpy()), 4 : 4 + width].tolist() == towns.tolist()
    assert not ours[torch.tensor(~there.to_numpy()), 4 : 4 + width].any()
    assert ours[:, 4 + width].tolist() == (~there).astype(float).tolist()
    assert_close(ours[:, 5 + width], torch.from_numpy(joined).float(), atol=1e-5)
    assert ours.size(1) == 7 + width
    assert {*np.sign(no_age)} == {*np.sign(no_joined)} == {-1.0, 1.0}


def test_a_plan_is_plain_json_and_says_what_it_does() -> None:
    plan = TablePlan.fit(people(0), standard=True)
    again = TablePlan.from_list(json.loads(json.dumps(plan.to_list())))
    assert again == plan and torch.equal(again.apply(people(2)), plan.apply(people(2)))
    about = {column.name: column.about for column in plan.columns}
    assert about["about"] == "left out: text, 400 values in 400 rows"
    assert about["country"] == "left out: always DE"
    assert about["member"] == "0 and 1, from no and yes"
    assert "2024-01-31" in about["joined"] and "rare ones together" in about["town"]
    assert plan.features[:3] == ("age", "age is missing", "income")


@pytest.mark.parametrize(
    "damage",
    [
        {"run": "me"},
        {"kind": "program"},
        {"scale": 0.0},
        {"mean": float("nan")},
        {"fill": "much"},
        {"kind": "date", "form": "%s"},
        {"kind": "truth", "form": "no"},
        {"values": 3},
    ],
    ids=str,
)
def test_a_damaged_plan_gets_one_sentence(damage: dict[str, object]) -> None:
    (age,) = TablePlan.fit(people(0)[["age"]]).to_list()
    with pytest.raises(DataError, match="the plan of a table is damaged"):
        TablePlan.from_list([age | damage])


def test_a_number_that_float32_does_not_hold_is_named() -> None:
    frame = pd.DataFrame({"size": [*map(str, range(20)), "1e39"]})
    with pytest.raises(DataError, match="size is '1e39' in line 20, but 20 of 21 cells are finite numbers"):
        TablePlan.fit(frame)


def test_the_order_of_columns_changes_nothing_and_others_are_not_read() -> None:
    plan, new = TablePlan.fit(people(0)), people(1)
    other = new[[*new.columns[::-1]]].assign(more="x")
    assert torch.equal(plan.apply(other), plan.apply(new))


def test_all_cells_that_do_not_suit_are_named_at_once() -> None:
    plan = TablePlan.fit(people(0, missing=False))
    bad = people(1, missing=False)
    bad.loc[3, "age"], bad.loc[5, "joined"], bad.loc[7, "member"] = "old", "yesterday", "maybe"
    with pytest.raises(DataError) as error:
        plan.apply(bad)
    for sentence in (
        "there are 3 problems",
        "age is 'old' in line 3, but should be a finite number",
        "joined is 'yesterday' in line 5, but should be a date such as 2024-01-31",
        "member is 'maybe' in line 7, but should be no or yes",
    ):
        assert sentence in str(error.value)
    with pytest.raises(
        DataError, match="no column 'age', which the model was trained with: did you mean 'Age'"
    ):
        plan.apply(bad.rename(columns={"age": "Age"}))


def test_dates_whose_day_and_month_cannot_be_told_apart_are_refused() -> None:
    frame = pd.DataFrame({"when": ["01/02/2024", "03/04/2023"]})
    with pytest.raises(DataError, match="written as 31/01/2024 or 01/31/2024: write them as 2024-01-31"):
        TablePlan.fit(frame)
    plan = TablePlan.fit(pd.DataFrame({"when": ["01/02/2024", "30/04/2023"]}))
    days = [(pd.Timestamp(day) - pd.Timestamp("1970-01-01")).days for day in ("2024-02-01", "2023-04-30")]
    assert plan.apply(pd.DataFrame({"when": ["01/02/2024", "30/04/2023"]})).flatten().tolist() == days


def test_columns_with_types_are_read_as_text_is() -> None:
    typed = pd.DataFrame(
        {
            "ok": [True, False, True],
            "size": [1.5, np.nan, 3.0],
            "when": pd.to_datetime(["2024-01-01"] * 2 + [None]),
        }
    )
    text = pd.DataFrame(
        {"ok": ["True", "False", "True"], "size": ["1.5", "", "3"], "when": ["2024-01-01"] * 2 + [""]}
    )
    assert torch.equal(TablePlan.fit(typed).apply(typed), TablePlan.fit(text).apply(text))


def test_a_column_of_ids_is_left_out() -> None:
    frame = pd.DataFrame({"user_id": ["70", "12", "31"], "paid": ["70", "12", "31"], "Id": ["1", "1", "2"]})
    plan = TablePlan.fit(frame)
    assert plan.features == ("paid", "Id")
    assert plan.columns[0].about == "left out: it names each row"


def test_what_is_constant_where_it_is_learned_is_left_out() -> None:
    frame = pd.DataFrame({"size": ["1", "1", "2"], "age": ["4", "5", "6"]})
    assert TablePlan.fit(frame, torch.tensor([0, 1])).features == ("age",)


def test_text_that_is_a_year_far_away_is_text_and_dates_far_away_are_dates() -> None:
    """Of 40,000 names some are numbers such as 7772, which is beyond what nanoseconds can count."""
    names = pd.DataFrame({"name": [f"user{k}" for k in range(50)] + ["7772", "1600"]})
    assert TablePlan.fit(names).columns[0].kind == "left out"
    far = ["1000-01-01", "7772-05-04", "", "1970-01-02"]
    plan = TablePlan.fit(pd.DataFrame({"when": far}))
    days = [(date.fromisoformat(one) - date(1970, 1, 1)).days if one else None for one in far]
    made = plan.apply(pd.DataFrame({"when": far}))
    assert plan.columns[0].kind == "date" and made[:, 1].tolist() == [0, 0, 1, 0]
    assert [made[k, 0].item() for k in (0, 1, 3)] == [days[k] for k in (0, 1, 3)]
