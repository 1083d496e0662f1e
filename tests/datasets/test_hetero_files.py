"""Typed graphs from tables and N-Triples: what is read is what is there, and what is written comes back."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import networkx
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpnn import HeteroGraph
from mpnn.datasets import (
    DataError,
    HeteroTables,
    load_hetero_folder,
    load_hetero_tables,
    load_triples,
    save_hetero_tables,
    save_triples,
)
from tests.core.graph.hetero_graphs import hetero_graph, same_hetero

TRIPLES = """# people and what they wrote
<http://x/Emmy> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://x/Person> .
<http://x/paper\\u0020one> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://x/Paper> . # a paper

<http://x/Emmy> <http://x/wrote> <http://x/paper\\u0020one> .
<http://x/Emmy>\t<http://x/wrote>   _:b1 .
_:b1 <http://x/year> "1918"^^<http://www.w3.org/2001/XMLSchema#gYear> .
<http://x/Emmy> <http://x/name> "Emmy \\"N.\\""@de-DE .
<http://x/Emmy> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://x/Professor> .
"""


def named(graph: HeteroGraph) -> HeteroTables:
    names = {t: [f'{t} {k}, "{k}"' for k in range(n)] for t, n in graph.num_nodes_dict.items()}
    return HeteroTables(graph, names)


def test_triples_are_typed_edges_between_typed_nodes(tmp_path: Path) -> None:
    (tmp_path / "x.nt").write_text(TRIPLES)
    tables = load_triples(tmp_path / "x.nt")
    assert tables.names == {
        "http://x/Person": ["http://x/Emmy"],
        "http://x/Paper": ["http://x/paper one"],
        "resource": ["_:b1", "http://x/Professor"],
        "literal": ['"1918"^^<http://www.w3.org/2001/XMLSchema#gYear>', '"Emmy \\"N.\\""@de-DE'],
    }
    assert {edge_type: edges.tolist() for edge_type, edges in tables.graph.edge_index_dict.items()} == {
        ("http://x/Person", "http://x/wrote", "http://x/Paper"): [[0], [0]],
        ("http://x/Person", "http://x/wrote", "resource"): [[0], [0]],
        ("resource", "http://x/year", "literal"): [[0], [0]],
        ("http://x/Person", "http://x/name", "literal"): [[0], [1]],
        ("http://x/Person", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "resource"): [[0], [1]],
    }


def test_without_a_predicate_of_types_all_triples_are_edges(tmp_path: Path) -> None:
    (tmp_path / "x.nt.gz").write_bytes(gzip.compress(TRIPLES.encode()))
    tables = load_triples(tmp_path / "x.nt.gz", node_type=None)
    assert set(tables.names) == {"resource", "literal"}
    assert tables.graph.num_edges == 7
    net = tables.graph.to_networkx()
    assert networkx.number_weakly_connected_components(net) == 1


def test_triples_written_come_back(tmp_path: Path) -> None:
    (tmp_path / "x.nt").write_text(TRIPLES)
    tables = load_triples(tmp_path / "x.nt")
    save_triples(tables, tmp_path / "again.nt.gz")
    again = load_triples(tmp_path / "again.nt.gz")
    assert again.names == tables.names
    assert same_hetero(again.graph, tables.graph)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
def test_any_name_comes_back_from_triples(tmp_path: Path, names: list[str]) -> None:
    names = [name for name in names if name.isprintable() and not name.startswith('"')] or ["x"]
    loops = torch.arange(len(names)).repeat(2, 1)
    tables = HeteroTables(HeteroGraph({"a b": len(names)}, {("a b", "to\\", "a b"): loops}), {"a b": names})
    save_triples(tables, tmp_path / "x.nt")
    again = load_triples(tmp_path / "x.nt")
    assert again.names == tables.names
    assert same_hetero(again.graph, tables.graph)


@pytest.mark.parametrize(
    "line",
    [
        "<a> <b> <c>",
        "<a> <b> .",
        "<a> _:b <c> .",
        '"a" <b> <c> .',
        "<a> <b c> <d> .",
        '<a> <b> "c .',
        "<a> <b> <c> . d",
        "<\\uD800> <b> <c> .",
        "<\\U00110000> <b> <c> .",
        "a b c .",
    ],
)
def test_a_line_that_is_no_triple_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.nt").write_text(f"<a> <b> <c> .\n{line}\n")
    with pytest.raises(DataError, match=r"x\.nt line 2: it should be `subject predicate object \.`, but is "):
        load_triples(tmp_path / "x.nt")


def test_tables_written_come_back(tmp_path: Path) -> None:
    graph = hetero_graph()
    tables = named(graph)
    torch.manual_seed(0)
    x = {"author": torch.randn(7, 3)}
    edge_attr = {("author", "writes", "paper"): torch.randn(13, 2)}
    tables = HeteroTables(graph, tables.names, x, edge_attr)
    save_hetero_tables(tables, tmp_path / "folder")
    again = load_hetero_folder(tmp_path / "folder")
    assert again.names == tables.names
    assert {r: e.tolist() for r, e in again.graph.edge_index_dict.items()} == {
        r: e.tolist() for r, e in graph.edge_index_dict.items()
    }
    assert torch.equal(again.x["author"], x["author"]) and set(again.x) == {"author"}
    assert torch.equal(again.edge_attr["author", "writes", "paper"], edge_attr["author", "writes", "paper"])


def test_pandas_tables_are_read_as_their_files(tmp_path: Path) -> None:
    people = pd.DataFrame({"id": [3, 7], "age": [20, 40], "likes": ["tea", "coffee"]})
    knows = pd.DataFrame({"a": [7, 3], "b": [3, 7], "since": [1999.5, 2001.0]})
    people.to_csv(tmp_path / "person.csv", index=False)
    knows.to_csv(tmp_path / "person__knows__person.csv", index=False)
    edge_type = ("person", "knows", "person")
    ours, read = load_hetero_tables({"person": people}, {edge_type: knows}), load_hetero_folder(tmp_path)
    for tables in (ours, read):
        assert tables.names == {"person": ["3", "7"]}
        assert tables.graph[edge_type].edge_index.tolist() == [[1, 0], [0, 1]]
        assert tables.edge_attr[edge_type].tolist() == [[1999.5], [2001.0]]
        assert tables.x["person"][:, 0].tolist() == [20.0, 40.0]
    assert torch.equal(ours.x["person"], read.x["person"])


def one_node(node_type: str, name: str) -> HeteroTables:
    return HeteroTables(HeteroGraph({node_type: 1}, {}), {node_type: [name]})


PEOPLE = pd.DataFrame({"name": ["Emmy", "Max"]})
PAPERS = pd.DataFrame({"title": ["one"]})
WROTE = pd.DataFrame({"who": ["Emmi"], "what": ["one"]})


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (
            lambda folder: load_hetero_tables(
                {"person": PEOPLE, "paper": PAPERS}, {("person", "wrote", "paper"): WROTE}
            ),
            "person__wrote__paper row 0: 'Emmi' is no node of type 'person': did you mean 'Emmy'",
        ),
        (
            lambda folder: load_hetero_tables({"person": PEOPLE}, {("person", "wrote", "paper"): WROTE}),
            r"the edge type \('person', 'wrote', 'paper'\) names the node type 'paper', but the node types",
        ),
        (
            lambda folder: load_hetero_tables({"person": pd.DataFrame({"name": ["a", "b", "a"]})}, {}),
            "person row 2: 'a' is there twice, first in row 0",
        ),
        (
            lambda folder: load_hetero_tables({"person": pd.DataFrame({"name": ["a", ""]})}, {}),
            "person row 1: the node has no name",
        ),
        (
            lambda folder: load_hetero_tables({"person": PEOPLE}, {("person", "knows", "person"): PEOPLE}),
            "should have two columns for the ends of edges, but has name",
        ),
        (lambda folder: load_hetero_folder(folder / "none"), "should be a folder with a table for each type"),
        (lambda folder: load_hetero_folder(folder), "holds no table of nodes, such as author.csv"),
        (lambda folder: load_triples(folder / "none.nt"), "none.nt"),
        (
            lambda folder: save_triples(HeteroTables(hetero_graph(), {}), folder / "x.nt"),
            r"names\['author'\] holds 0 different names, but there are 7 nodes",
        ),
        (
            lambda folder: save_triples(one_node("a", '"x"'), folder / "x.nt"),
            "is a literal, but of type 'a': literals are of type 'literal'",
        ),
        (
            lambda folder: save_hetero_tables(one_node("a", " x"), folder),
            "the node ' x' of type 'a' has a name that a table cannot hold",
        ),
        (
            lambda folder: save_hetero_tables(one_node("a/b", "x"), folder),
            "'a/b' is the name of a type, but suits no file",
        ),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(tmp_path: Path, load: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(tmp_path)


def test_all_that_is_wrong_is_said_at_once() -> None:
    twice = pd.DataFrame({"name": ["a", "a"]})
    with pytest.raises(DataError, match="there are 2 problems"):
        load_hetero_tables({"person": twice, "paper": twice}, {})


def test_a_file_of_another_name_in_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "a__b.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"should be called TYPE\.csv or SOURCE__RELATION__DESTINATION.csv"):
        load_hetero_folder(tmp_path)
