"""Features of nodes from a file of numbers, alone and beside the columns of a table."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.preprocessing import StandardScaler

import mpnn
from mpnn.datasets import Columns, DataError, NodeDataset, load_own
from mpnn.train import RunError, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.train.conftest import Complaint, complaint

__all__ = ["complaint"]  # a fixture


@pytest.fixture
def array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Forty people whose team follows from the numbers of a file; ten columns of it are 0 or 1."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    array = np.concatenate([draw.normal(5, 3, (40, 3)), draw.integers(2, size=(40, 10))], axis=1)
    order = draw.permutation(40)
    people = pd.DataFrame({"id": [f"n{k}" for k in order], "age": draw.integers(20, 60, 40)})
    people["team"] = np.where(array[:, 0] > 5, "red", "blue")
    people.to_csv("nodes.csv", index=False)
    ends = draw.integers(40, size=(80, 2))
    pd.DataFrame([f"n{i},n{j}".split(",") for i, j in ends], columns=["u", "v"]).to_csv(
        "net.csv", index=False
    )
    np.save("x.npy", array)
    return array


def read(path: str = "net.csv", **columns: Any) -> NodeDataset:
    data = load_own(Path(path), Columns(**columns))
    assert isinstance(data, NodeDataset)
    return data


def written(kind: str, array: np.ndarray) -> str:
    """The array as a file of that kind, and its name."""
    if kind == "npy":
        np.save("y.npy", array.astype(np.float32))
        return "y.npy"
    if kind == "fortran":
        np.save("y.npy", np.asfortranarray(array))
        return "y.npy"
    arrays: dict[str, Any] = {"npz": {"only": array}, "x": {"x": array, "other": np.ones(3)}}
    if kind in arrays:
        np.savez("y.npz", **arrays[kind])
    else:
        scipy.sparse.save_npz("y.npz", scipy.sparse.coo_array(array))
    return "y.npz"


@pytest.mark.parametrize("kind", ["npy", "fortran", "npz", "x", "sparse"])
def test_rows_are_in_the_order_of_the_table_behind_its_columns(array: np.ndarray, kind: str) -> None:
    data = read(nodes="nodes.csv", label="team", features_file=written(kind, array))
    people = pd.read_csv("nodes.csv")
    assert list(data.node_names) == people.id.tolist() and data.array is not None
    assert_close(data.x, torch.tensor(np.column_stack([people.age, array]), dtype=torch.float32))
    alone = read(nodes="nodes.csv", label="team", ignore="age", features_file="x.npy")
    assert_close(alone.x, torch.tensor(array, dtype=torch.float32))


def test_rows_of_several_graphs_move_with_their_nodes(array: np.ndarray) -> None:
    people = pd.read_csv("nodes.csv").assign(town=[["Bonn", "Ulm"][k % 2] for k in range(40)])
    people.to_csv("nodes.csv", index=False)
    pairs = [(one, other) for one, other in zip(people.id, people.id[2:], strict=False)]
    pd.DataFrame(pairs, columns=["u", "v"]).to_csv("net.csv", index=False)
    data = read(nodes="nodes.csv", label="team", graph_id="town", features_file="x.npy")
    place = {name: row for row, name in enumerate(people.id)}
    expected = array[[place[name] for name in data.node_names]]
    assert data.graph.num_graphs == 2 and data.array is not None
    assert_close(data.array, torch.tensor(expected, dtype=torch.float32))


def test_without_a_table_row_k_is_of_the_node_called_k(array: np.ndarray) -> None:
    """A node without an edge has a row too, and is there."""
    Path("net.txt").write_text("0 7\n3 7\n")
    data = read("net.txt", features_file="x.npy")
    assert data.node_names == tuple(map(str, range(40)))
    assert_close(data.x, torch.tensor(array, dtype=torch.float32))
    assert data.graph.edge_index.unique().tolist() == [0, 3, 7]


def test_lists_of_features_are_ones_by_the_names_of_nodes(array: np.ndarray) -> None:
    people = pd.read_csv("nodes.csv")
    draw = np.random.default_rng(2)
    lists = {name: sorted({*draw.integers(9, size=4).tolist()}) for name in sorted(people.id)} | {"x": [3]}
    Path("x.json").write_text(json.dumps(lists))
    data = read(nodes="nodes.csv", label="team", ignore="age", features_file="x.json")
    assert [row.nonzero().flatten().tolist() for row in data.x] == [lists[name] for name in people.id]


def test_columns_are_standardised_by_the_training_nodes_unless_they_are_0_and_1(array: np.ndarray) -> None:
    own = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team", "features_file": "x.npy"}
    train(preset("sage", **own, epochs=2), "run", draw=False)
    _, task, _ = load_model("run")
    rows = task.split.train.numpy()
    expected = StandardScaler().fit(array[rows, :3]).transform(array[:, :3])
    assert_close(task.data.x[:, 1:4], torch.tensor(expected, dtype=torch.float32), atol=1e-5)
    assert_close(task.data.x[:, 4:], torch.tensor(array[:, 3:], dtype=torch.float32))
    age = pd.read_csv("nodes.csv").age.to_numpy(dtype=float)[:, None]
    scaled = StandardScaler().fit(age[rows]).transform(age)
    assert_close(task.data.x[:, :1], torch.tensor(scaled, dtype=torch.float32), atol=1e-5)
    train(preset("sage", **own, features="given", epochs=2), "given", draw=False)
    assert_close(load_model("given")[1].data.x, torch.tensor(np.column_stack([age, array])).float())


@pytest.mark.parametrize("ignore", [None, "age"])
def test_new_nodes_come_with_features_of_their_own(
    array: np.ndarray, complaint: Complaint, ignore: str | None
) -> None:
    """A new node that is a twin of a known one is said to be the same."""
    flags = ["--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "team", "--features-file", "x.npy"]
    flags += [] if ignore is None else ["--ignore", ignore]
    short = ["--epochs", "3", "--no-pictures", "--model", "sage", "--out", "run"]
    assert cli.main(["train", "node", *flags, *short]) == 0
    people, edges = pd.read_csv("nodes.csv"), pd.read_csv("net.csv")
    known = mpnn.load("run").predict().set_index("node")
    new = people[["id", "age"]][4:7].assign(id=["a", "b", "c"])
    twin = dict(zip(people.id[4:7], new.id, strict=True))
    receives = pd.concat([edges, edges.set_axis(["v", "u"], axis=1)]).query("u in @twin")
    receives = receives[~receives.v.isin(twin)].assign(u=lambda table: table.u.map(twin)).drop_duplicates()
    for name in ("net.csv", "nodes.csv", "x.npy"):
        Path(name).unlink()
    new.to_csv("new.csv", index=False)
    receives.to_csv("new_edges.csv", index=False)
    np.save("new.npy", array[4:7])
    asked = ["predict", "run", "--nodes", "new.csv", "--output", "out.csv"]
    given = ["--dataset", "new_edges.csv", "--features-file", "new.npy"]
    assert cli.main([*asked, *given]) == 0
    said = pd.read_csv("out.csv").set_index("node")
    assert said.index.tolist() == ["a", "b", "c"]
    model = mpnn.load("run")
    frame = model.predict(new, receives, array[4:7]).set_index("node")
    assert said["p(red)"].tolist() == pytest.approx(frame["p(red)"].tolist(), rel=1e-5)
    seen: list[torch.Tensor] = []
    model.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(new, receives, torch.tensor(array[4:7]))
    assert_close(seen[0][-3:], seen[0][4:7], atol=1e-6)
    assert {*known.columns} == {*said.columns}
    assert "was trained with 13 features of a file: give those of the new nodes" in complaint(*asked)
    np.save("new.npy", array[4:6])
    assert "new.npy has 2 rows, but there are 3 nodes: one row for each" in complaint(*asked, *given)
    np.save("new.npy", array[4:7, :2])
    assert "new.npy has 2 columns, but the model was trained with 13" in complaint(*asked, *given)
    with pytest.raises(RunError, match="features are given, but nodes are not given"):
        model.predict(edges=receives, features=array)


def test_a_model_without_such_a_file_takes_none(array: np.ndarray) -> None:
    own = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team"}
    train(preset("sage", **own, epochs=1), "run", draw=False)
    with pytest.raises(RunError, match="features are given, but the model was trained with no features_file"):
        mpnn.load("run").predict("nodes.csv", features=array)


def test_another_file_of_features_is_noticed(array: np.ndarray) -> None:
    own = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team", "features_file": "x.npy"}
    train(preset("sage", **own, epochs=1), "run", draw=False)
    np.save("x.npy", 2 * array)
    with pytest.warns(UserWarning, match="net has changed since the run in run was trained"):
        load_model("run")


class Bomb:
    """Unpickling it would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


BAD = [
    ("x.npy", np.zeros((39, 2)), "x.npy has 39 rows, but there are 40 nodes: one row for each"),
    (
        "x.npy",
        np.full((40, 2), np.nan),
        r"x.npy: row 0 \(node .*\) holds nan in column 0, but should hold numb",
    ),
    ("x.npy", np.full((40, 2), 1e60), r"holds 1e\+60 in column 0, but should hold numbers that are finite"),
    ("x.npy", np.zeros((40, 2, 2)), r"x.npy holds float64 \[40, 2, 2\], but should hold numbers"),
    ("x.npy", np.zeros((40, 0)), r"x.npy holds float64 \[40, 0\], but should hold numbers"),
    ("x.npy", np.array(["a"] * 40), "but should hold numbers"),
    ("x.npy", np.zeros(40, dtype=complex), "x.npy holds complex128"),
    ("x.npy", b"no array", "x.npy is damaged"),
    ("x.npz", b"PK no zip", "x.npz is damaged"),
    (
        "x.npz",
        {"a": np.zeros(2), "b": np.zeros(2)},
        "x.npz holds a, b, but should hold one array, or one called",
    ),
    ("x.json", b"{", "x.json is damaged"),
    ("x.json", b"[1]", "x.json is damaged: it should hold names and values, but holds a list"),
    ("x.json", b'{"n0": [-1]}', "x.json should hold a list of features for each node"),
    ("x.json", b'{"n0": [0]}', "x.json has lists for 1 nodes, but none for node 'n"),
    ("x.txt", b"1", "features_file is 'x.txt', but its name should end in .npy, .npz, .json"),
    ("gone.npy", None, "gone.npy does not exist"),
    ("x.npy", Bomb(), "x.npy is damaged"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), BAD)
def test_what_is_wrong_with_a_file_is_one_sentence(
    array: np.ndarray, name: str, content: Any, sentence: str
) -> None:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif isinstance(content, dict):
        np.savez(name, **content)
    elif isinstance(content, Bomb):
        Path(name).write_bytes(pickle.dumps(content))
    elif content is not None:
        np.save(name, content)
    with pytest.raises(DataError, match=sentence) as caught:
        read(nodes="nodes.csv", label="team", features_file=name)
    assert "\n" not in str(caught.value) and not Path("exploded").exists()


def test_nodes_that_have_no_row_are_named(array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"x.npy has 40 rows, but node 'n0' is none of 0..39: give nodes"):
        read(features_file="x.npy")


def test_lists_of_the_published_graphs_are_read_whole(real_data: Path) -> None:
    """The counts are those that the authors publish; a row has as many ones as its list has features."""
    home = real_data / "more" / "tables"
    for edges, nodes, lists, label, count, width in (
        (
            "chameleon/chameleon_edges.csv",
            "chameleon/chameleon_target.csv",
            "chameleon.json",
            "target",
            2277,
            3132,
        ),
        ("twitch_ENGB/ENGB_edges.csv", "twitch_ENGB/ENGB_target.csv", "ENGB.json", "mature", 7126, 3170),
    ):
        path = (home / edges).with_name(lists)
        data = load_own(home / edges, Columns(nodes=str(home / nodes), label=label, features_file=str(path)))
        assert isinstance(data, NodeDataset) and data.array is not None
        assert data.array.shape == (count, width)
        found = json.loads(path.read_text())
        assert data.array.sum(dim=1).tolist() == [len({*found[name]}) for name in data.node_names]
