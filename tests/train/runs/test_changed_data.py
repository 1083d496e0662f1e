"""Own tables whose rows, columns or answers change after a run: its numbers stay, or it says what changed."""

from __future__ import annotations

import csv
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler

from mpnn.datasets import DataError, NodeDataset
from mpnn.datasets.synthetic import load_sbm
from mpnn.train import LinkTask, NodeTask, RunError, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close

COLUMNS = ["age", "height", "town", "member", "noise"]
FLAGS: dict[str, Any] = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team", "features": "standard"}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two blocks of nodes as tables: age and height tell the blocks apart, and are of other sizes."""
    data = load_sbm(blocks=2, size=60, within=0.1)
    assert data.y is not None
    draw = np.random.default_rng(0)
    block = data.y.numpy()
    frame = pd.DataFrame(
        {
            "id": [f"n{k}" for k in range(len(block))],
            "age": 40 + 10 * block + draw.normal(size=len(block)),
            "height": 1000 - 300 * block + 30 * draw.normal(size=len(block)),
            "town": draw.choice(["Bonn", "Ulm", "Trier"], len(block)),
            "member": draw.choice(["yes", "no"], len(block)),
            "noise": draw.normal(size=len(block)),
            "team": np.array(["red", "blue"])[block],
        }
    )
    frame.to_csv(tmp_path / "nodes.csv", index=False)
    half = data.graph.src < data.graph.dst
    ends = data.graph.edge_index[:, half].T.tolist()
    rows = [(f"n{i}", f"n{j}") for i, j in ends]
    pd.DataFrame(rows, columns=["u", "v"]).to_csv(tmp_path / "net.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(out: str, **options: Any) -> float:
    report = train(preset("gcn", **FLAGS | {"epochs": 40} | options), out, draw=False)
    return report.test()[0]


def rewrite(change: Callable[[pd.DataFrame], pd.DataFrame], file: str = "nodes.csv") -> None:
    change(pd.read_csv(file, dtype=str, keep_default_na=False)).to_csv(file, index=False)


def reverse_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[::-1]


def reverse_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["id", *COLUMNS[::-1], "team"]]


def evaluated(run: str) -> tuple[float, NodeTask]:
    """The test accuracy by scikit-learn, of the names that `split.csv` holds."""
    model, task, _ = load_model(run)
    assert isinstance(task, NodeTask)
    said = pd.read_csv(f"{run}/split.csv")
    tested = said.node[said.part == "test"]
    truth = pd.read_csv("nodes.csv").set_index("id").team
    with torch.no_grad():
        predicted = np.array(task.objective.names)[task.outputs(model).argmax(dim=1).numpy()]
    found = dict(zip(task.data.node_names, predicted, strict=True))
    accuracy = float(accuracy_score(truth[tested], [found[name] for name in tested]))
    assert task.evaluate(model)["test_accuracy"] == pytest.approx(accuracy)
    return accuracy, task


@pytest.mark.parametrize("change", [reverse_columns, reverse_rows], ids=["columns", "rows"])
def test_columns_are_known_by_name_and_nodes_too(
    tables: Path, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """In another order they give the same numbers, without a word."""
    right = trained("run")
    rewrite(change)
    if change is reverse_rows:
        rewrite(reverse_rows, "net.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accuracy, task = evaluated("run")
    assert accuracy == pytest.approx(right) and right > 0.9
    assert {*task.parts()} == {"train", "val", "test"}


def test_no_node_changes_its_part_when_rows_are_shuffled_and_removed(tables: Path) -> None:
    trained("run")
    kept = dict(zip(*pd.read_csv("run/split.csv")[["node", "part"]].to_numpy().T, strict=True))
    gone = {"n3", "n70"}
    rewrite(lambda frame: frame[~frame.id.isin(gone)].sample(frac=1, random_state=1))
    rewrite(lambda frame: frame[~frame.u.isin(gone) & ~frame.v.isin(gone)], "net.csv")
    with pytest.warns(UserWarning) as said:
        _, task, _ = load_model("run")
    assert [str(one.message) for one in said] == [
        "net has changed since the run in run was trained, in its edges, names of nodes, columns and "
        "answers: its items are known by name",
        "net lacks 2 of the 120 nodes that the run had",
    ]
    parts = dict(zip(task.data.node_names, task.parts(), strict=True))
    assert parts == {name: part for name, part in kept.items() if name not in gone}


def test_a_new_node_is_predicted_and_in_no_part(tables: Path) -> None:
    trained("run")
    new = {"id": "new", "age": "51", "height": "700", "town": "Bonn", "member": "no", "noise": "0"}
    rewrite(lambda frame: pd.concat([pd.DataFrame([new | {"team": "green"}]), frame]))
    with pytest.warns(UserWarning) as said:
        _, task, _ = load_model("run")
    strange = "net has 1 nodes of classes that the model was not trained on: they are in no part"
    assert strange in [str(one.message) for one in said]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["predict", "run", "--output", "out.csv"]) == 0
    assert task.objective.names == ("blue", "red")
    first = next(csv.DictReader((tables / "out.csv").read_text().splitlines()))
    assert (first["node"], first["part"], first["true"], first["predicted"]) == ("new", "", "", "blue")


def test_standard_features_are_those_of_scikit_learn_fitted_on_the_training_nodes(tables: Path) -> None:
    trained("run")
    _, task, _ = load_model("run")
    frame = pd.read_csv("nodes.csv").set_index("id").loc[list(task.data.node_names)]
    rows = task.split.train.numpy()
    for name in ("age", "height", "noise"):
        scaler = StandardScaler().fit(frame[[name]].iloc[rows])
        place = task.preparation.nodes.features.index(name)  # type: ignore[union-attr]
        assert_close(task.data.x[:, place], torch.from_numpy(scaler.transform(frame[[name]])[:, 0]).float())
    towns = pd.get_dummies(frame.town)
    for town in ("Bonn", "Trier", "Ulm"):
        place = task.preparation.nodes.features.index(f"town={town}")  # type: ignore[union-attr]
        assert task.data.x[:, place].tolist() == towns[town].astype(float).tolist()


def test_what_a_run_kept_is_used_on_other_numbers(tables: Path) -> None:
    """The mean of the training nodes is subtracted, also where the other nodes have changed since."""
    trained("run")
    _, task, _ = load_model("run")
    tested = {task.data.node_names[k] for k in task.split.test.tolist()}
    before = dict(zip(task.data.node_names, task.data.x.tolist(), strict=True))
    rewrite(lambda frame: frame.assign(age=frame.age.where(~frame.id.isin(tested), "1000")))
    with pytest.warns(UserWarning, match="net has changed"):
        _, task, _ = load_model("run")
    for name, row in zip(task.data.node_names, task.data.x.tolist(), strict=True):
        assert name in tested or row == before[name]


def test_all_that_a_table_lacks_is_said_at_once(tables: Path) -> None:
    trained("run")
    rewrite(lambda frame: frame.drop(columns=["age", "town"]))
    with pytest.raises(DataError) as error, pytest.warns(UserWarning, match="net has changed"):
        load_model("run")
    assert "no column 'age', which the model was trained with" in str(error.value)
    assert "no column 'town', which the model was trained with" in str(error.value)


def test_standard_features_of_published_data_are_part_of_the_model(tmp_path: Path) -> None:
    """`model.json` holds mean and deviation of the training nodes: by hand they give the same outputs."""
    settings = preset("gcn", dataset="sbm", features="standard", epochs=10)
    train(settings, tmp_path / "run", draw=False)
    model, task, _ = load_model(tmp_path / "run")
    raw = load_sbm().x
    scaler = StandardScaler().fit(raw[task.split.train].double().numpy())
    by_hand = torch.from_numpy(scaler.transform(raw.double().numpy())).float()
    assert_close(task.data.x, by_hand, atol=1e-6)
    with torch.no_grad():
        assert_close(task.outputs(model), model(by_hand, task.data.graph), atol=1e-5)


def test_data_without_names_must_be_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mpnn.datasets import Entry
    from mpnn.datasets.registry import DATASETS

    drawn: list[NodeDataset] = [load_sbm()]
    monkeypatch.setitem(DATASETS, "drawn", Entry(lambda: drawn[-1], "drawn", False))
    train(preset("gcn", dataset="drawn", epochs=2), tmp_path / "run", draw=False)
    load_model(tmp_path / "run")
    drawn.append(load_sbm(seed=1))
    with pytest.raises(
        RunError, match=r"sbm is not what the run in .* was trained on: .*edges and features changed"
    ):
        load_model(tmp_path / "run")


def test_links_keep_their_parts_by_name(tables: Path) -> None:
    settings = preset("gae", task="edge", dataset="net.csv", nodes="nodes.csv", ignore="team", epochs=5)
    train(settings, "links", draw=False)
    model, task, _ = load_model("links")
    before = _parts_of_pairs(task)
    scores = task.evaluate(model)
    shuffled = random.Random(1)
    rows = (tables / "net.csv").read_text().splitlines()
    swapped = [",".join(row.split(",")[:: shuffled.choice((1, -1))]) for row in rows[1:]]
    shuffled.shuffle(swapped)
    (tables / "net.csv").write_text("\n".join([rows[0], *swapped]))
    rewrite(reverse_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, task, _ = load_model("links")
    assert _parts_of_pairs(task) == before
    again = task.evaluate(model)
    assert again["test_auc"] == pytest.approx(scores["test_auc"])
    rewrite(lambda frame: pd.concat([frame.iloc[5:], pd.DataFrame({"u": ["n1"], "v": ["n119"]})]), "net.csv")
    with pytest.warns(UserWarning) as said:
        _, task, _ = load_model("links")
    lost = "net lacks 5 links of the run, and 1 of its links are new: both are left out"
    assert lost in [str(one.message) for one in said]
    assert _parts_of_pairs(task).items() <= before.items()


def _parts_of_pairs(task: object) -> dict[tuple[frozenset[str], bool], str]:
    assert isinstance(task, LinkTask)
    names = zip(*task.names().values(), strict=True)
    pairs = [frozenset(pair) for pair in names]
    return dict(zip(zip(pairs, task.y.flatten().tolist(), strict=True), task.parts(), strict=True))


def test_labels_of_edges_keep_their_parts_by_name(tables: Path) -> None:
    frame = pd.read_csv("net.csv")
    frame["same"] = np.where(
        (frame.u.str[1:].astype(int) < 60) == (frame.v.str[1:].astype(int) < 60), "in", "out"
    )
    frame.to_csv("net.csv", index=False)
    options = {"nodes": "nodes.csv", "ignore": "team", "edge_label": "same", "epochs": 5}
    train(preset("gcn", task="edge", dataset="net.csv", **options), "labels", draw=False)
    before, rows = _answers("labels")
    rewrite(reverse_rows, "net.csv")
    rewrite(reverse_rows)
    after, again = _answers("labels")
    assert after == pytest.approx(before) and rows == again


def _answers(run: str) -> tuple[float, dict[frozenset[str], tuple[str, str]]]:
    model, task, _ = load_model(run)
    names = zip(*task.names().values(), strict=True)
    true = [task.objective.names[k] for k in task.y.tolist()]
    return task.evaluate(model)["test_accuracy"], dict(
        zip(map(frozenset, names), zip(task.parts(), true, strict=True), strict=True)
    )


def test_a_run_without_its_memory_says_how_to_get_it(tables: Path) -> None:
    trained("run")
    (tables / "run" / "model.json").unlink()
    with pytest.raises(RunError, match=r"model.json does not exist, .* go on with it by --resume run"):
        load_model("run")
    train(None, resume="run", draw=False)
    load_model("run")


def test_a_run_of_mpnn_0_1_is_read_with_a_warning(tmp_path: Path) -> None:
    train(preset("gcn", dataset="sbm", epochs=2), tmp_path / "run", draw=False)
    _, before, _ = load_model(tmp_path / "run")
    (tmp_path / "run" / "model.json").unlink()
    with pytest.warns(UserWarning, match="is of mpnn 0.1, which did not keep what each item was for"):
        _, after, _ = load_model(tmp_path / "run")
    assert after.parts() == before.parts()


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("model.json", '{"version": 2}', "model.json is of version 2, but this mpnn reads version 1"),
        ("model.json", "{", "model.json is damaged: Expecting property name"),
        ("model.json", "[]", "model.json is damaged: it should hold names and values, but holds a list"),
        ("model.json", "{}", "model.json is damaged: 'preparation'"),
        ("split.csv", "node\nn1\n", "split.csv is damaged: it should hold a part for each item"),
        ("split.csv", "node,part\nn1,exam\n", "split.csv is damaged: it holds a part 'exam'"),
    ],
)
def test_a_damaged_memory_gets_one_sentence(tables: Path, file: str, text: str, sentence: str) -> None:
    trained("run", epochs=2)
    (tables / "run" / file).write_text(text)
    with pytest.raises(RunError, match=sentence):
        load_model("run")
