"""Molecules from SMILES: by RDKit where it is installed, and by a stand-in for it everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import smiles as pyg

import mpnn
from mpnn.datasets import Columns, DataError, GraphDataset, read_graphs
from mpnn.train.command import cli
from tests.train.conftest import Complaint, complaint

__all__ = ["complaint"]  # a fixture
FLAGS = ["train", "graph", "--dataset", "all.csv", "--smiles", "smiles"]


def chain(smiles: str, *_: Any) -> Data:
    """A stand-in for PyG's `from_smiles` and RDKit: letters are atoms in a chain; no molecule has an X."""
    atoms = "" if "X" in smiles else smiles
    x = torch.zeros(len(atoms), 9, dtype=torch.int64)
    x[:, 0] = torch.tensor([{"C": 6, "N": 7, "O": 8}[atom] for atom in atoms], dtype=torch.int64)
    nodes = torch.arange(len(atoms))
    ends = torch.stack([nodes[:-1], nodes[1:]])
    edge_index = torch.cat([ends, ends.flip(0)], dim=1)
    return Data(x=x, edge_index=edge_index, edge_attr=torch.ones(edge_index.size(1), 3, dtype=torch.int64))


@pytest.fixture
def molecules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    said: dict[str, None] = {}
    while len(said) < 60:
        said["".join(draw.choice([*"CNO"], size=int(draw.integers(2, 9))))] = None
    frame = pd.DataFrame({"smiles": list(said)})
    frame["oxygens"] = frame.smiles.str.count("O")
    frame["acid"] = np.where(frame.oxygens > 1, "yes", "no")
    frame.to_csv("all.csv", index=False)
    return frame


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyg, "from_smiles", chain)


@pytest.mark.usefixtures("stand_in")
def test_molecules_are_trained_on_and_new_ones_predicted(
    molecules: pd.DataFrame, complaint: Complaint
) -> None:
    flags = ["--label", "acid", "--ignore", "oxygens", "--epochs", "30", "--no-pictures", "--out", "run"]
    assert cli.main([*FLAGS, *flags, "--model", "gine"]) == 0
    Path("all.csv").unlink()
    new = pd.DataFrame({"other": [1, 2], "smiles": ["CCCCC", "COOOO"]})
    new.to_csv("new.csv", index=False)
    assert cli.main(["predict", "run", "--graphs", "new.csv", "--output", "out.csv"]) == 0
    said = pd.read_csv("out.csv")
    assert said.graph.tolist() == ["CCCCC", "COOOO"] and said.predicted.tolist() == ["no", "yes"]
    frame = mpnn.load("run").predict(new)
    assert frame["p(yes)"].tolist() == pytest.approx(said["p(yes)"].tolist(), rel=1e-5)
    asked = ["predict", "run", "--graphs", "new.csv", "--output", "out.csv"]
    pd.DataFrame({"smiles": ["CX", "CC"]}).to_csv("new.csv", index=False)
    assert "1 of 2 cells are no molecules that RDKit understands, such as 'CX' in line 2" in complaint(*asked)
    pd.DataFrame({"smile": ["CC"]}).to_csv("new.csv", index=False)
    assert "has no column 'smiles', but smile: did you mean 'smile'?" in complaint(*asked)


@pytest.mark.usefixtures("stand_in")
def test_facts_of_atoms_and_bonds_are_one_hot_and_equally_wide_for_all(molecules: pd.DataFrame) -> None:
    columns = Columns(smiles="smiles", label="oxygens", ignore="acid")
    data = read_graphs(Path("all.csv"), columns)
    assert isinstance(data, GraphDataset) and data.edge_attr is not None
    sizes = [len(values) for values in pyg.x_map.values()]
    assert data.num_features == sum(sizes) and data.edge_dim == sum(map(len, pyg.e_map.values()))
    for x, edge_attr, graph, said in zip(data.x, data.edge_attr, data.graphs, molecules.smiles, strict=True):
        theirs = chain(said)
        for ours, facts in (
            (x.split(sizes, 1), theirs.x),
            (edge_attr.split([22, 6, 2], 1), theirs.edge_attr),
        ):
            assert torch.equal(torch.stack([part.argmax(1) for part in ours], 1), facts)
        assert torch.equal(graph.edge_index, theirs.edge_index)


@pytest.mark.usefixtures("stand_in")
def test_what_is_not_used_or_wrong_is_said(molecules: pd.DataFrame, complaint: Complaint) -> None:
    with pytest.warns(UserWarning, match=r"has other columns \(oxygens\), which are not used"):
        read_graphs(Path("all.csv"), Columns(smiles="smiles", label="acid"))
    for flags, sentence in (
        ([], "label is not given: it is the column that says what is to be learned of a molecule"),
        (["--label", "Acid", "--ignore", "x"], "there are 2 problems:"),
        (["--label", "acid", "--nodes", "x"], "but a molecule is read from its SMILES alone"),
        (["--label", "oxygens", "--graph-id", "acid"], "line 4: acid is "),
    ):
        argv = [*FLAGS, *flags]
        if "problems" in sentence:
            assert cli.main(argv) == 2
        else:
            assert sentence in complaint(*argv, silent=False)
    said = complaint("train", "node", *FLAGS[2:], "--label", "acid")
    assert "smiles is 'smiles', but that is of many graphs, which mpnn train graph reads" in said


def test_without_rdkit_one_sentence_says_what_to_install(
    molecules: pd.DataFrame, complaint: Complaint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    said = complaint(*FLAGS, "--label", "acid", "--ignore", "oxygens")
    assert "all.csv holds SMILES, which RDKit reads: install rdkit, or give the graphs as tables" in said


def test_rdkit_reads_real_molecules() -> None:
    """Caffeine, benzene and aspirin, whose counts of atoms and bonds are known."""
    Chem = pytest.importorskip("rdkit.Chem")
    said = ["CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O"]
    frame = pd.DataFrame({"smiles": said, "name": ["caffeine", "benzene", "aspirin"], "rings": [2, 1, 1]})
    from mpnn.datasets.own import load_smiles
    from mpnn.datasets.tables import as_table

    data = load_smiles(as_table(frame, "molecules"), Columns(smiles="smiles", label="rings", graph_id="name"))
    assert [graph.num_nodes for graph in data.graphs] == [14, 6, 13]
    assert [graph.num_edges for graph in data.graphs] == [2 * 15, 2 * 6, 2 * 13]
    assert data.graph_names == ("caffeine", "benzene", "aspirin") and data.y.tolist() == [1, 0, 0]
    for x, one in zip(data.x, said, strict=True):
        numbers = [atom.GetAtomicNum() for atom in Chem.MolFromSmiles(one).GetAtoms()]
        assert x[:, : len(pyg.x_map["atomic_num"])].argmax(dim=1).tolist() == numbers
    with pytest.raises(
        DataError, match="1 of 1 cells are no molecules that RDKit understands, such as 'C1C'"
    ):
        load_smiles(
            as_table(pd.DataFrame({"smiles": ["C1C"], "y": [1]}), "m"), Columns(smiles="smiles", label="y")
        )
