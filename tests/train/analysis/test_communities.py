"""Communities without labels, against the groups that are known."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import networkx as nx
import pytest
import torch

from mpnn import Graph
from mpnn.datasets import NodeDataset, load
from mpnn.train import COMMUNITIES, modularity, nmi
from mpnn.train.analysis.communities import communities
from mpnn.train.command import cli
from mpnn.train.errors import RunError
from tests.train.conftest import Complaint
from tests.train.toys import two_blocks


@pytest.fixture(scope="module", name="club")
def _club() -> NodeDataset:
    club = load("karate")
    assert isinstance(club, NodeDataset)
    return club


def found_by(method: str, data: NodeDataset) -> torch.Tensor:
    """The communities, their number given where a method needs it."""
    return communities(data.graph, method, data.num_classes if COMMUNITIES[method][0] else None)


@pytest.mark.parametrize(
    ("method", "least"),
    [
        ("label-propagation", 0.4),
        ("greedy-modularity", 0.5),
        ("louvain", 0.5),
        ("spectral", 0.7),
        ("deepwalk", 0.7),
    ],
)
def test_every_method_finds_the_two_clubs_about(club: NodeDataset, method: str, least: float) -> None:
    found = found_by(method, club)
    assert found.shape == (34,) and found.min() == 0 and len(found.unique()) == found.max() + 1
    assert club.y is not None and nmi(found, club.y) > least


@pytest.mark.parametrize("method", ["greedy-modularity", "louvain", "spectral", "deepwalk"])
def test_the_blocks_of_a_stochastic_block_model_are_found(method: str) -> None:
    blocks = load("sbm")
    assert isinstance(blocks, NodeDataset) and blocks.y is not None
    assert nmi(found_by(method, blocks), blocks.y) > 0.8


def test_modularity_is_that_of_its_formula(club: NodeDataset) -> None:
    assert club.y is not None
    adjacency = torch.zeros(34, 34, dtype=torch.float64)
    adjacency[club.graph.src, club.graph.dst] = 1
    degree, total = adjacency.sum(1), adjacency.sum()
    same = club.y[:, None] == club.y[None, :]
    expected = ((adjacency - degree[:, None] * degree[None, :] / total) * same).sum() / total
    assert modularity(club.graph, club.y) == pytest.approx(float(expected), abs=1e-12)


def test_directions_loops_and_repeats_make_no_difference(club: NodeDataset) -> None:
    half = club.graph.src < club.graph.dst
    ends = club.graph.edge_index[:, half]
    loop = torch.tensor([[5], [5]])
    odd = Graph(torch.cat([ends, ends[:, :9], loop], dim=1), 34)
    for method in COMMUNITIES:
        count = 2 if COMMUNITIES[method][0] else None
        ours, theirs = (communities(graph, method, count, seed=1) for graph in (odd, club.graph))
        # The vectors follow the order in which edges are listed; all else does not.
        assert nmi(ours, theirs) > (0.5 if method == "deepwalk" else 0.999)


def test_label_propagation_is_networkxs(club: NodeDataset) -> None:
    theirs = nx.community.asyn_lpa_communities(nx.karate_club_graph(), weight=None, seed=3)
    ours = communities(club.graph, "label-propagation", seed=3)
    assert {frozenset(group) for group in theirs} == {
        frozenset((ours == k).nonzero().flatten().tolist()) for k in range(int(ours.max()) + 1)
    }


def test_what_cannot_be_done_gets_one_sentence(club: NodeDataset) -> None:
    with pytest.raises(RunError, match="method is 'leiden', but should be one of label-propagation"):
        communities(club.graph, "leiden")
    with pytest.raises(RunError, match=r"count is 40, but spectral divides 34 nodes into 1\.\.34 groups"):
        communities(club.graph, "spectral", 40)
    with pytest.raises(RunError, match="count is 2, but louvain finds out how many"):
        communities(club.graph, "louvain", 2)


def test_the_command_compares_all_methods_and_writes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "groups.csv"
    assert cli.main(["communities", "--dataset", "karate", "--output", str(output)]) == 0
    out = capsys.readouterr().out
    for method in COMMUNITIES:
        assert re.search(rf"^{method} +\d+ +[01]\.\d{{3}} +0\.\d{{3}} +\d+\.\d\d", out, re.MULTILINE)
    with output.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["node", *COMMUNITIES] and len(rows) == 35


def test_without_classes_there_is_modularity_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mpnn.train.command.communities_command.load", lambda *_: two_blocks())
    assert cli.main(["communities"]) == 0
    out = capsys.readouterr().out
    assert "louvain" in out and "spectral" not in out
    assert cli.main(["communities", "--method", "spectral"]) == 2
    assert "count is None, but spectral divides 60 nodes" in capsys.readouterr().err
    assert cli.main(["communities", "--method", "spectral", "--count", "2"]) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--dataset", "mutag-like"], "dataset is 'mutag-like', but should be one of"),
        (["--dataset", "cycles"], "cycles is 200 graphs, but communities are of one graph's nodes"),
        (["--method", "louvain", "--count", "3"], "count is 3, but louvain finds out"),
        (["--method", "spectral", "--output", "/no/where.csv"], "cannot be written: No such file"),
    ],
    ids=" ".join,
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    complaint: Complaint, flags: list[str], sentence: str
) -> None:
    assert sentence in complaint("communities", *flags, silent="--output" not in flags)
