"""Every mistake in a file of one's own is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpnn.datasets import Columns, DataError, load
from tests.datasets.own_files import read

BAD: list[tuple[str, str, dict[str, str], str]] = [
    ("net.csv", "a,b\n1,2\n3\n", {}, r"net.csv line 3: it holds 1 cells, but the header holds 2"),
    (
        "net.csv",
        "a,b,c\n" + "".join(f"{k},{k + 1},{k}\n" for k in range(9)) + "9,10,x\n",
        {},
        r"net.csv: c is 'x' in line 11, but 9 of 10 cells are finite numbers: change it, leave it empty, or",
    ),
    ("net.csv", "a,b\n1,2\n", {"source": "c"}, r"net.csv has no column 'c', but a, b"),
    ("net.csv", "a,b\n1,2\n", {"ignore": "c"}, r"ignore names column 'c', which no table has"),
    ("net.csv", "a,b\n", {}, r"net.csv should hold a header and a line of data"),
    ("net.csv", "a,a\n1,2\n", {}, r"net.csv line 1: two columns have the same name"),
    ("net.csv", "a\n1\n", {}, r"net.csv line 1: the header should name two columns"),
    ("net.csv", "a,b,c\n1,2,x\n2,3,\n", {"edge_label": "c"}, r"net.csv line 3: the edge has no c"),
    ("net.csv", "a,b\n1,2\n", {"label": "c"}, r"label is 'c', but there is no table of nodes: give nodes"),
    ("net.csv", "a,b\nann,eve\n", {"nodes": "nodes.csv"}, r"net.csv line 2: node 'eve' is not in the table"),
    ("net.csv", "a,b\nann,bob\n", {"nodes": "none.csv"}, r"none.csv does not exist"),
    ("net.txt", "1 2\n3 x\n", {}, r"net.txt line 2: 'x' should be an integer"),
    ("net.txt", "1 2\n", {"source": "a"}, r"source is 'a', but net.txt has no such columns"),
    (
        "net.txt",
        "1 2 3\n",
        {},
        r"net.txt line 1: it holds 3 numbers, but should hold two, the ends",
    ),
    ("net.graphml", "<graphml", {}, r"net.graphml cannot be read"),
    ("net.gml", "graph [", {}, r"net.gml cannot be read"),
    ("net.gexf", "<gexf", {}, r"net.gexf cannot be read"),
    ("net.json", "{", {}, r"net.json cannot be read"),
    ("net.json", "[]", {}, r"net.json cannot be read: it should hold nodes, and edges or links, as networkx"),
    ("net.json", '{"nodes": [{}], "links": []}', {}, r"net.json cannot be read: id"),
    (
        "net.json",
        '{"nodes": [{"id": 1}], "edges": [{"source": 1, "target": 2}]}',
        {},
        r"net.json cannot be read: edge 1 - 2 ends at no node that is listed",
    ),
    ("net.json", '{"nodes": [{"id": 1}, {"id": "1"}], "links": []}', {}, r"two nodes have the same name"),
    ("net.mtx", "1 2", {}, r"net.mtx is damaged or of another format"),
    ("net.npz", "1 2", {}, r"net.npz is damaged or of another format"),
    ("net.csv", "a,b\r1,2\r3\r", {}, r"net.csv line 3: it holds 1 cells"),
    (
        "net.csv",
        "a,b,c\n1,2,3\n3,4,nan\n",
        {"edge_weight": "c"},
        r"line 3: c is 'nan', but should be",
    ),
    (
        "net.csv",
        "a,b,c\n1,2,3\n2,3,1\n2,1,4\n",
        {},
        r"net.csv line 4: the edge 2 - 1 is there already, in line 2",
    ),
    ("net.csv", "a,b\nx,\ud800\n", {}, r"net.csv line 2: it should be text in UTF-8"),
    ("net.csv.gz", "a,b\n", {}, r"net.csv.gz cannot be read: it is not packed by gzip"),
    ("net.txt", "1 2\n3 99999999999999999999\n", {}, r"net.txt line 2: '9+' should be an integer of at most"),
    ("net.txt", "# nothing\n", {}, r"net.txt is empty"),
    (
        "net.gml",
        'graph [ node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 kind "x" ] ]',
        {},
        r"net.gml .*",
    ),
    (
        "net.mtx",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 nan\n",
        {},
        r"net.mtx.*: the entry at row 0, column 1 is nan, but should be finite",
    ),
    (
        "net.mtx",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 99999999999999999999 1\n",
        {},
        r"net.mtx is damaged or of another format",
    ),
    ("net.pt", "", {}, r"net.pt is damaged or of another format: EOFError"),
    ("net.xlsx", "", {}, r"net.xlsx is of no known kind: its name should end in .csv, .tsv"),
]


@pytest.mark.parametrize(("file", "content", "columns", "sentence"), BAD)
def test_a_mistake_is_named(
    tables: Path, file: str, content: str, columns: dict[str, str], sentence: str
) -> None:
    (tables / file).write_text(content, encoding="utf-8", errors="surrogatepass", newline="")
    if "nodes" in columns:
        columns = columns | {"nodes": str(tables / columns["nodes"])}
    with pytest.raises(DataError, match=sentence):
        read(tables / file, **columns)


def test_other_mistakes_are_named(tables: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(str(tables / "nothing.csv"))
    with pytest.raises(DataError, match=r"data is 'x', but .*net.csv is a path already"):
        load(str(tables / "net.csv"), "x")
    with pytest.raises(DataError, match="columns are named, but karate is no file"):
        load("karate", columns=Columns(label="club"))
    with pytest.raises(DataError, match=r"holds 0 files \*_A.txt"):
        load(str(tables))
    (tables / "nodes.csv").write_text("name,x\nann,1\nann,2\n")
    with pytest.raises(DataError, match=r"nodes.csv line 3: node 'ann' is there already, in line 2"):
        read(tables / "net.csv", nodes=str(tables / "nodes.csv"), edge_label="kind")


def test_a_path_that_cannot_be_one_is_named() -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        load("a" * 300 + ".csv")
