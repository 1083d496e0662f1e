"""New graphs and images are predicted without the files that the model was trained on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv, global_mean_pool

import mpnn
from mpnn.datasets import DataError, GraphDataset, load
from mpnn.train import RunError, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.datasets.conftest import small_tu
from tests.train.conftest import Complaint

pytestmark = pytest.mark.filterwarnings("ignore:.* are not used, since graphs have no features")
__all__ = ["small_tu"]  # a fixture
OWN: dict[str, Any] = {
    "dataset": "bonds.csv",
    "nodes": "atoms.csv",
    "graph_id": "mol",
    "graph_labels": "kinds.csv",
    "label": "kind",
}
NEW = 10  # molecules that are left out of training


@pytest.fixture
def molecules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rings and chains; the last ten are tables of their own, `new_*.csv`, without labels."""
    draw = np.random.default_rng(1)
    bonds, atoms, kinds = [], [], []
    for k in range(70):
        size = int(draw.integers(5, 12))
        graph = nx.cycle_graph(size) if k % 2 else nx.path_graph(size)
        for i, j in graph.edges:
            bonds.append((f"m{k}", i, j, "double" if k < 60 and i % 3 == 0 else "single"))
        atoms += [(f"m{k}", i, "CNO"[int(draw.integers(3))], round(float(draw.normal()), 3)) for i in graph]
        kinds.append((f"m{k}", ("chain", "ring")[k % 2], size))
    tables = {
        "bonds": pd.DataFrame(bonds, columns=["mol", "u", "v", "bond"]),
        "atoms": pd.DataFrame(atoms, columns=["mol", "atom", "element", "charge"]),
        "kinds": pd.DataFrame(kinds, columns=["mol", "kind", "size"]),
    }
    held = {f"m{k}" for k in range(60, 70)}
    for name, table in tables.items():
        new = table.mol.isin(held)
        table[~new].to_csv(tmp_path / f"{name}.csv", index=False)
        table[new].sample(frac=1, random_state=0).to_csv(tmp_path / f"new_{name}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_training_files() -> None:
    for name in ("bonds", "atoms", "kinds"):
        Path(f"{name}.csv").unlink()


@pytest.mark.parametrize(("model", "columns"), [("gin", {}), ("gine", {}), ("rgcn", {"edge_type": "bond"})])
def test_new_graphs_are_predicted_as_if_they_had_been_there(
    molecules: Path, model: str, columns: dict[str, str]
) -> None:
    """As by a run's own task on all graphs at once, with features by the training part's numbers."""
    options = OWN | columns | ({"ignore": "bond"} if model == "gin" else {})
    train(preset(model, task="graph", **options, epochs=5), "run", draw=False)
    both = {}
    for name in ("bonds", "atoms", "kinds"):
        both[name] = pd.concat([pd.read_csv(f"{name}.csv"), pd.read_csv(f"new_{name}.csv")])
    without_training_files()
    said = mpnn.load("run").predict("new_atoms.csv", "new_bonds.csv").set_index("graph")
    assert {*said.index} == {f"m{k}" for k in range(60, 70)}
    for name, table in both.items():
        table.to_csv(f"{name}.csv", index=False)
    with pytest.warns(UserWarning, match="its items are known by name"):
        network, task, _ = load_model("run")
    with torch.no_grad():
        p = task.outputs(network).softmax(dim=1)
    names = task.names()["graph"]
    for k, name in enumerate(task.objective.names):
        ours = torch.tensor(said[f"p({name})"].to_numpy())
        theirs = p[[names.index(graph) for graph in said.index], k].double()
        assert_close(ours, theirs, atol=1e-5)
    frames = [pd.read_csv("new_atoms.csv"), pd.read_csv("new_bonds.csv")]
    pd.testing.assert_frame_equal(mpnn.load("run").predict(*frames).set_index("graph"), said)


def test_new_graphs_are_predicted_as_in_pyg(molecules: Path) -> None:
    """Layers and readout of PyG with the run's weights, on features that are made by hand."""
    options = OWN | {"ignore": "bond", "norm": None, "epochs": 5}
    train(preset("gcn", task="graph", **options), "run", draw=False)
    said = mpnn.load("run").predict("new_atoms.csv", "new_bonds.csv")
    atoms, bonds = pd.read_csv("new_atoms.csv"), pd.read_csv("new_bonds.csv")
    parts = pd.read_csv("atoms.csv").merge(pd.read_csv("run/split.csv"), left_on="mol", right_on="graph")
    charge = parts[parts.part == "train"].charge
    graphs = []
    for name in said.graph:
        part = atoms[atoms.mol == name].reset_index(drop=True)
        place = {atom: k for k, atom in enumerate(part.atom)}
        ends = bonds[bonds.mol == name][["u", "v"]].map(place.__getitem__).to_numpy().T
        columns = [part.element == element for element in "CNO"]
        columns.append((part.charge - charge.mean()) / charge.std(ddof=0))
        x = torch.tensor(np.stack(columns, axis=1).astype(np.float32))
        graphs.append(Data(x=x, edge_index=torch.tensor(np.concatenate([ends, ends[::-1]], axis=1))))
    batch = Batch.from_data_list(graphs)
    weights = torch.load("run/best.pt", weights_only=True)["model"]
    h = batch.x
    for k, width in enumerate((4, 64, 64)):
        layer = GCNConv(width, 64)
        layer.load_state_dict(
            {name: weights[f"convs.{k}.{name}"] for name in ("lin.weight", "bias")}, strict=True
        )
        h = layer(h, batch.edge_index).relu()
    logits = F.linear(global_mean_pool(h, batch.batch), weights["lin.weight"], weights["lin.bias"])
    theirs = logits.softmax(dim=1).detach()
    assert_close(torch.tensor(said["p(ring)"].to_numpy()), theirs[:, 1].double(), atol=1e-5)


def test_degrees_of_new_graphs_count_as_where_the_model_was_trained(molecules: Path) -> None:
    options = {name: value for name, value in OWN.items() if name != "nodes"} | {"ignore": "bond"}
    train(preset("gin", task="graph", **options, epochs=3), "run", draw=False)
    model, seen = mpnn.load("run"), []
    model.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    said = model.predict("new_bonds.csv")
    x, graph = seen[0]
    assert x.argmax(dim=1).tolist() == graph.in_degree.tolist()
    assert len(said) == NEW


def test_a_run_knows_its_graphs_by_name(molecules: Path) -> None:
    """Rows in another order, and a graph whose class is new: the parts and the figures stay."""
    report = train(preset("gin", task="graph", **OWN, ignore="bond", epochs=3), "run", draw=False)
    for name in ("bonds", "atoms", "kinds"):
        pd.read_csv(f"{name}.csv").sample(frac=1, random_state=3).to_csv(f"{name}.csv", index=False)
    pd.concat(
        [pd.read_csv("kinds.csv"), pd.DataFrame([("x", "knot", 3)], columns=["mol", "kind", "size"])]
    ).to_csv("kinds.csv", index=False)
    more = pd.concat(
        [pd.read_csv("bonds.csv"), pd.DataFrame([("x", 0, 1, "single")], columns=["mol", "u", "v", "bond"])]
    )
    more.to_csv("bonds.csv", index=False)
    atoms = [("x", 0, "C", 0.5), ("x", 1, "C", 0.5)]
    pd.concat(
        [pd.read_csv("atoms.csv"), pd.DataFrame(atoms, columns=["mol", "atom", "element", "charge"])]
    ).to_csv("atoms.csv", index=False)
    with pytest.warns(UserWarning) as warned:
        network, task, _ = load_model("run")
    assert any(
        "has 1 graphs of classes that the model was not trained on" in str(one.message) for one in warned
    )
    scores = task.evaluate(network)
    for part in ("train", "val", "test"):
        assert scores[f"{part}_accuracy"] == pytest.approx(report.results[0].best[f"{part}_accuracy"])
    split = pd.read_csv("run/split.csv").set_index("graph").part
    parts = dict(zip(task.names()["graph"], task.parts(), strict=True))
    assert parts.pop("x") == "" and parts == split.to_dict()


def test_graphs_without_a_label_are_in_no_part_and_predicted_all_the_same(molecules: Path) -> None:
    kinds = pd.read_csv("kinds.csv")
    kinds.loc[kinds.mol.isin(["m3", "m8"]), "kind"] = None
    kinds.to_csv("kinds.csv", index=False)
    assert cli.main(["train", "graph", *flags(), "--ignore", "bond", "--epochs", "3", "--out", "run"]) == 0
    assert cli.main(["predict", "run", "--output", "out.csv"]) == 0
    said = pd.read_csv("out.csv", keep_default_na=False).set_index("graph")
    assert {*said.index[said.part == ""]} == {"m3", "m8"} == {*said.index[said.true == ""]}
    assert {*said.predicted} <= {"ring", "chain"}


def flags() -> list[str]:
    return [part for name, value in OWN.items() for part in (f"--{name.replace('_', '-')}", value)]


def test_the_command_predicts_new_graphs_and_their_numbers(molecules: Path, complaint: Complaint) -> None:
    asked = [*flags(), "--ignore", "bond", "--no-pictures", "--epochs", "3", "--label", "size"]
    assert cli.main(["train", "graph", *asked, "--task", "regression", "--out", "run"]) == 0
    without_training_files()
    new = ["--graphs", "new_bonds.csv", "--nodes", "new_atoms.csv", "--output", "out.csv"]
    assert cli.main(["predict", "run", *new]) == 0
    said = pd.read_csv("out.csv")
    assert said.columns.tolist() == ["graph", "predicted size"] and len(said) == NEW
    expected = mpnn.load("run").predict("new_atoms.csv", "new_bonds.csv")
    pd.testing.assert_frame_equal(said, expected, check_dtype=False, rtol=1e-5)
    out = ["--output", "out.csv"]
    for given, sentence in (
        (["--images", "x"], "images is 'x', but for graph tasks new data is given by nodes and graphs"),
        (["--dataset", "x"], "dataset is 'x', but for graph tasks new data is given by nodes and graphs"),
        (["--nodes", "x"], "nodes is 'x', but graphs is not given: the table of their edges"),
        (["--graphs", "new_bonds.csv"], "has no table, but the model was trained with its columns"),
        (["--graphs", "."], "is a folder, but the model was not trained on graphs of the TU format"),
        (["--graphs", "x.csv"], "x.csv does not exist"),
    ):
        assert sentence in complaint("predict", "run", *given, *out)


def test_types_of_edges_have_the_numbers_of_training(molecules: Path) -> None:
    """The new molecules have single bonds alone, whose number would be 0 if they were read by themselves."""
    train(preset("rgcn", task="graph", **OWN, edge_type="bond", epochs=1), "run", draw=False)
    model, seen = mpnn.load("run"), []
    model.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    model.predict("new_atoms.csv", "new_bonds.csv")
    assert seen[0].edge_type.unique().tolist() == [1]
    strange = pd.read_csv("new_bonds.csv").replace("single", "triple")
    with pytest.raises(
        DataError, match="line 0: the edge is 'triple', which is none of the types double, single"
    ):
        model.predict("new_atoms.csv", strange)


def test_a_folder_in_the_tu_format_is_predicted_with_the_labels_of_training(small_tu: Path) -> None:
    """Some of the graphs alone, whose labels span another range, are read as among all."""
    raw = small_tu / "TOY" / "raw"
    train(preset("gine", task="graph", dataset=str(raw), epochs=1), small_tu / "run", draw=False)
    model = mpnn.load(small_tu / "run")
    data = load(str(raw))
    assert isinstance(data, GraphDataset)
    everything = model.predict(raw)
    pd.testing.assert_frame_equal(everything, model.predict(data))
    owner = np.loadtxt(raw / "TOY_graph_indicator.txt", dtype=int)
    labels = np.loadtxt(raw / "TOY_node_labels.txt", dtype=int)
    few = small_tu / "few"
    few.mkdir()
    first = 1 + int(
        max(owner[labels == labels.min()].min() - 1, 0)
    )  # the graphs before this one lack a label
    count = int((owner <= first).sum())
    for name in ("graph_indicator", "node_labels", "node_attributes"):
        lines = (raw / f"TOY_{name}.txt").read_text().splitlines()[:count]
        (few / f"FEW_{name}.txt").write_text("\n".join(lines) + "\n")
    edges = (raw / "TOY_A.txt").read_text().splitlines()
    inside = [k for k, line in enumerate(edges) if int(line.split(",")[0]) <= count]
    for name in ("A", "edge_labels"):
        lines = (raw / f"TOY_{name}.txt").read_text().splitlines()
        (few / f"FEW_{name}.txt").write_text("\n".join(lines[k] for k in inside) + "\n")
    said = model.predict(few)
    pd.testing.assert_frame_equal(said, everything.iloc[:first], check_exact=False, atol=1e-5)
    (few / "FEW_node_labels.txt").write_text("9\n" * count)
    with pytest.raises(
        DataError, match=r"FEW_node_labels.txt line 1: 9 is no label that the model was trained"
    ):
        model.predict(few)
    shutil.rmtree(few)
    with pytest.raises(
        RunError, match="the model was trained on a folder in the TU format: give such graphs"
    ):
        model.predict(small_tu / "new.csv")
    with pytest.raises(RunError, match="TOY has 1 features of nodes, but the model reads 5"):
        model.predict(replace(data, x=tuple(x[:, :1] for x in data.x)))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A run on digits, and some of these as pictures."""
    train(preset("lenet", task="image", dataset="digits", epochs=1), tmp_path / "run", draw=False)
    from sklearn.datasets import load_digits

    (tmp_path / "new").mkdir()
    for k, image in enumerate(load_digits().images[:12]):
        Image.fromarray((image / 16 * 255).round().astype(np.uint8)).save(tmp_path / "new" / f"{k:02}.png")
    return tmp_path


def test_pictures_are_predicted_as_the_data_set_is(digits: Path) -> None:
    model = mpnn.load(digits / "run")
    data = load("digits")
    expected = model.predict(data)
    network, task, _ = load_model(digits / "run")
    with torch.no_grad():
        p = task.outputs(network).softmax(dim=1)
    assert_close(torch.tensor(expected["p(3)"].to_numpy()), p[:, 3].double(), atol=1e-5)
    said = model.predict(digits / "new")
    assert said.image.tolist() == [f"{k:02}.png" for k in range(12)]
    numbers = said.columns[2:]
    # A picture has 256 steps of grey in place of 17.
    assert np.abs(said[numbers].to_numpy() - expected[numbers][:12].to_numpy()).max() < 0.02
    from sklearn.datasets import load_digits

    pixels = load_digits().images / 16
    arrays = (pixels, torch.tensor(pixels), pixels[:, None])
    for array in arrays:
        frame = model.predict(array)
        np.testing.assert_allclose(frame[numbers], expected[numbers], atol=1e-5)
    np.save(digits / "new.npy", np.array([np.array(Image.open(digits / "new" / "03.png"))]))
    one = model.predict(digits / "new.npy")
    np.testing.assert_allclose(one[numbers], said[numbers][3:4], atol=1e-5)
    files = [digits / "new" / "05.png", str(digits / "new" / "01.png")]
    assert model.predict(files)["p(3)"].tolist() == pytest.approx(said["p(3)"][[5, 1]].tolist(), abs=1e-5)


@pytest.mark.parametrize(("name", "value"), [("read_as", 3), ("array", "x")])
def test_a_damaged_memory_is_one_sentence(digits: Path, name: str, value: object) -> None:
    path = digits / "run" / "model.json"
    kept = json.loads(path.read_text())
    kept["preparation"][name] = value
    path.write_text(json.dumps(kept))
    with pytest.raises(RunError, match=f"what a run says of its features is damaged: {name} is {value!r}"):
        mpnn.load(digits / "run")


def test_the_command_predicts_pictures(digits: Path, complaint: Complaint) -> None:
    run, out = str(digits / "run"), str(digits / "out.csv")
    assert cli.main(["predict", run, "--images", str(digits / "new"), "--output", out]) == 0
    said = pd.read_csv(out, dtype={"predicted": str})
    expected = mpnn.load(run).predict(digits / "new")
    pd.testing.assert_frame_equal(said, expected, check_dtype=False, rtol=1e-5)
    Image.new("L", (9, 8)).save(digits / "wide.png")
    (digits / "bad.png").write_bytes(b"no picture")
    (digits / "empty").mkdir()
    np.save(digits / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(digits / "large.npy", np.full((1, 8, 8), 7.0))
    (digits / "both").mkdir()
    for k, width in enumerate((8, 9)):
        Image.new("L", (width, 8)).save(digits / "both" / f"{k}.png")
    for name, sentence in (
        ("wide.png", "images are [1, 8, 9], but the model reads [1, 8, 8]: channels, height and width"),
        ("bad.png", "bad.png cannot be read: cannot identify image file"),
        ("empty", "empty holds no picture: names should end in .png, .jpg"),
        ("both", "1.png has 8 × 9 pixels, but "),
        (
            "objects.npy",
            "objects.npy is damaged or of another format: it holds Python objects, which could run code",
        ),
        ("large.npy", "large.npy should hold bytes, or numbers between 0 and 1, which is white"),
        ("none.png", "none.png does not exist"),
        ("run/config.json", "config.json is no image: its name should end in"),
    ):
        assert sentence in complaint("predict", run, "--images", str(digits / name), "--output", out)
    said_of_nodes = complaint("predict", run, "--nodes", "x", "--output", out)
    assert "nodes is 'x', but for image tasks new data is given by images" in said_of_nodes
