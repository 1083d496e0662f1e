"""Twelve steps from tables to predictions that can be trusted, by the command and in Python, on real data.

The data are those that the libraries bring: the friendships of a karate club, the characters of a novel that
appear together, the wines of scikit-learn, its digits, and small molecules.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.neighbors import kneighbors_graph

import mpnn
from mpnn.train.command.cli import main

NEW = ("wine-170", "wine-171", "wine-60", "wine-61")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of 178 wines: what is in them, where they are from, which are alike."""
    home = tmp_path_factory.mktemp("tables")
    wine = load_wine(as_frame=True)
    names = [f"wine-{k}" for k in range(len(wine.frame))]
    people = wine.frame.rename(columns={"target": "cultivar"})
    people["cultivar"] = people["cultivar"].map({0: "red", 1: "green", 2: "blue"})
    people.insert(0, "name", names)
    people.loc[::9, "ash"] = np.nan  # tables have gaps
    people["old"] = people["proline"] > 700
    scaled = (wine.data - wine.data.mean()) / wine.data.std()
    alike = kneighbors_graph(scaled, 5).tocoo()
    edges = pd.DataFrame({"one": [names[i] for i in alike.row], "other": [names[j] for j in alike.col]})
    edges = edges[edges.index < edges.index.max() + 1]
    pairs = {tuple(sorted(pair)) for pair in edges.itertuples(index=False)}
    known = [pair for pair in sorted(pairs) if not {*pair} & {*NEW}]
    pd.DataFrame(known, columns=["one", "other"]).to_csv(home / "alike.csv", index=False)
    new = [pair for pair in sorted(pairs) if {*pair} & {*NEW}]
    pd.DataFrame(new, columns=["one", "other"]).to_csv(home / "new_alike.csv", index=False, sep=";")
    people[~people["name"].isin(NEW)].to_csv(home / "wines.csv", index=False)
    # The columns in another order, and without that of where they are from.
    later = people[people["name"].isin(NEW)].drop(columns="cultivar")
    later[[*reversed(later.columns)]].to_csv(home / "new_wines.csv", index=False)
    return home


def run(*words: str | Path) -> None:
    """One command."""
    assert main([*map(str, words)]) == 0


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """Step 1: a table becomes a model."""
    run(*train_wines(home), "--out", home / "run")
    return home / "run"


def train_wines(home: Path) -> list[str]:
    """The command that learns from where the wines are."""
    tables = ["--dataset", home / "alike.csv", "--nodes", home / "wines.csv"]
    return ["train", "node", *map(str, tables), "--label", "cultivar", "--model", "sage", "--epochs", "60"]


def test_2_the_run_remembers_what_it_was_and_how_good_it_is(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["test_accuracy"]["mean"] > 0.9  # the wines are easy; three kinds, so chance is a third
    card = (trained / "README.md").read_text()
    assert "cultivar" in card
    assert "accuracy" in card.lower()
    for name in ("config.json", "model.json", "split.csv", "metrics.csv", "curves.png", "confusion.png"):
        assert (trained / name).is_file()


def test_3_all_runs_are_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("runs", trained.parent, "--csv", trained.parent / "runs.csv")
    table = pd.read_csv(trained.parent / "runs.csv")
    assert "sage" in set(table["model"])
    assert "sage" in capsys.readouterr().out


def test_4_evaluation_gives_the_figure_of_the_training(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", trained)
    results = json.loads((trained / "results.json").read_text())
    assert f"{100 * results['test_accuracy']['mean']:.1f}" in capsys.readouterr().out


def test_5_new_wines_are_told_from_their_columns_by_name(trained: Path, home: Path) -> None:
    answers = home / "answers.csv"
    run(
        "predict", trained, "--nodes", home / "new_wines.csv", "--dataset", home / "new_alike.csv",
        "--output", answers,
    )  # fmt: skip
    said = pd.read_csv(answers).set_index("node")
    assert sorted(said.index) == sorted(NEW)
    right = {"wine-170": "blue", "wine-171": "blue", "wine-60": "green", "wine-61": "green"}
    assert sum(said.loc[name, "predicted"] == cultivar for name, cultivar in right.items()) >= 3
    model = mpnn.load(trained)
    table = model.predict(pd.read_csv(home / "new_wines.csv"), pd.read_csv(home / "new_alike.csv", sep=";"))
    assert list(table["predicted"]) == list(said.loc[table["node"], "predicted"])


def test_6_why_names_edges_and_columns(trained: Path, home: Path) -> None:
    why = mpnn.load(trained).why("wine-100", epochs=20)
    assert {"proline", "flavanoids", "old"} <= set(why.features["feature"].astype(str))
    assert len(why.edges)
    run("why", trained, "--node", "wine-100", "--epochs", "20", "--output", home / "why.csv")
    assert (home / "why.csv").is_file()


def test_7_a_model_is_a_file_that_needs_no_mpnn(trained: Path, home: Path) -> None:
    run("export", trained, "--to", "torchscript", "--output", home / "model.pt")
    script = """
import sys, torch
sys.modules["mpnn"] = None  # importing it is an error from here on
model = torch.jit.load(sys.argv[1])
x, edges = torch.zeros(3, int(sys.argv[2])), torch.tensor([[0, 1], [1, 2]])
print(list(model(x, edges).shape))
"""
    width = mpnn.load(trained).model.in_channels
    command = [sys.executable, "-c", script, str(home / "model.pt"), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[3, 3]", done.stderr


def test_8_missing_links_are_ranked(home: Path) -> None:
    novel = nx.les_miserables_graph()
    links = pd.DataFrame(novel.edges(), columns=["one", "other"])
    links.to_csv(home / "novel.csv", index=False)
    run(
        "train", "edge", "--dataset", home / "novel.csv", "--model", "gcn", "--epochs", "40",
        "--no-pictures", "--out", home / "links",
    )  # fmt: skip
    run("predict", home / "links", "--for", "Valjean", "--top", "5", "--output", home / "links.csv")
    said = pd.read_csv(home / "links.csv")
    assert len(said) == 5
    assert not any(novel.has_edge("Valjean", other) for other in said["target"])
    assert list(said["p(link)"]) == sorted(said["p(link)"], reverse=True)


def test_9_graphs_come_from_one_table(home: Path) -> None:
    atlas = [graph for graph in nx.graph_atlas_g()[100:300] if graph.number_of_edges()]
    edges = [(k, i, j) for k, graph in enumerate(atlas) for i, j in graph.edges()]
    pd.DataFrame(edges, columns=["graph", "one", "other"]).to_csv(home / "atlas.csv", index=False)
    answers = [(k, "tree" if nx.is_forest(graph) else "cycle") for k, graph in enumerate(atlas)]
    pd.DataFrame(answers, columns=["graph", "kind"]).to_csv(home / "kinds.csv", index=False)
    run(
        "train", "graph", "--dataset", home / "atlas.csv", "--graph-id", "graph", "--graph-labels",
        home / "kinds.csv", "--label", "kind", "--model", "gin", "--epochs", "20",
        "--no-pictures", "--out", home / "graphs",
    )  # fmt: skip
    new = [(0, "a", "b"), (0, "b", "c"), (1, "a", "b"), (1, "b", "c"), (1, "c", "a")]
    pd.DataFrame(new, columns=["graph", "one", "other"]).to_csv(home / "new_graphs.csv", index=False)
    run("predict", home / "graphs", "--graphs", home / "new_graphs.csv", "--output", home / "graphs.csv")
    assert len(pd.read_csv(home / "graphs.csv")) == 2


def test_10_images_are_graphs_too(home: Path) -> None:
    run("train", "image", "--dataset", "digits", "--epochs", "1", "--no-pictures", "--out", home / "images")
    pixels = load_digits().images[:3] / 16
    np.save(home / "three.npy", pixels.astype(np.float32))
    run("predict", home / "images", "--images", home / "three.npy", "--output", home / "images.csv")
    assert len(pd.read_csv(home / "images.csv")) == 3


def test_11_a_figure_is_regressed(home: Path) -> None:
    run(
        "train", "node", "--dataset", home / "alike.csv", "--nodes", home / "wines.csv", "--label", "proline",
        "--task", "regression", "--ignore", "cultivar,old", "--model", "sage", "--epochs", "60",
        "--no-pictures", "--out", home / "number",
    )  # fmt: skip
    model = mpnn.load(home / "number")
    said = model.predict(pd.read_csv(home / "new_wines.csv"), pd.read_csv(home / "new_alike.csv", sep=";"))
    told = said.set_index("node")["predicted proline"]
    real = load_wine(as_frame=True).frame["proline"]
    errors = [abs(told[name] - real[int(name.removeprefix("wine-"))]) for name in NEW]
    assert np.mean(errors) < real.std()  # better than to say the mean always


def test_12_the_same_command_gives_the_same_run(trained: Path, home: Path) -> None:
    run(*train_wines(home), "--no-pictures", "--out", home / "again")
    before, after = (torch.load(place / "best.pt", weights_only=True) for place in (trained, home / "again"))
    for name, weight in before["model"].items():
        assert torch.equal(weight, after["model"][name])
