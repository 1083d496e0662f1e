"""One's own graph from tables: names, directions, labels, marks of other systems."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mpnn.datasets import DataError
from tests.compare import assert_close
from tests.datasets.own_files import EDGES, links, read


def test_tables_of_edges_and_nodes_become_one_graph(tables: Path) -> None:
    data = read(tables / "net.csv", nodes=str(tables / "nodes.csv"), label="team", edge_label="kind")
    assert data.node_names == ("dan", "ann", "bob", "cid")
    one_way = {("ann", "bob"), ("bob", "cid"), ("cid", "dan")}
    assert links(data) == one_way | {(j, i) for i, j in one_way}
    assert_close(data.x, torch.tensor([[4, 1.5], [1, 1.1], [2, 1.2], [3, 1.3]]))
    assert data.class_names == ("blue", "red") and data.y is not None and data.y.tolist() == [1, 1, 0, -1]
    assert data.known is not None and data.known.tolist() == [True, True, True, False]
    assert data.edge_y is not None and data.edge_attr is not None
    assert data.edge_class_names == ("foe", "friend")
    for (i, j), kind, (weight,) in zip(
        data.graph.edge_index.T.tolist(), data.edge_y.tolist(), data.edge_attr.tolist(), strict=True
    ):
        pair = {data.node_names[i], data.node_names[j]}
        assert (kind, weight) == {"ann": (1, 0.5), "cid": (1, 2.0)}.get(
            min(pair) if "dan" not in pair else "cid", (0, 1.0)
        )


def test_columns_may_be_named_and_edges_may_go_one_way(tables: Path) -> None:
    (tables / "net.tsv").write_text("id\tv\tu\n7\t2\t10\n8\t1\t2\n")
    data = read(tables / "net.tsv", source="u", target="v", directed=True)
    assert data.node_names == ("1", "2", "10")  # in the order of numbers
    assert links(data) == {("10", "2"), ("2", "1")}
    assert data.edge_attr is None  # a column of ids is no feature
    assert data.y is None and data.x.size(1) == 2  # degrees 0 and 1


def test_labels_with_a_decimal_point_are_numbers(tables: Path) -> None:
    nodes = str(tables / "nodes.csv")
    data = read(tables / "net.csv", nodes=nodes, label="height", edge_label="weight", ignore="kind, team")
    assert data.y is not None and data.edge_y is not None
    assert data.y.flatten().tolist() == pytest.approx([1.5, 1.1, 1.2, 1.3])
    assert data.edge_y.shape == (6, 1) and data.x.flatten().tolist() == [4, 1, 2, 3]


def test_marks_and_line_ends_of_other_systems_change_nothing(tables: Path) -> None:
    (tables / "other.csv").write_text("\ufeff" + EDGES, encoding="utf-8", newline="\r\n")
    ours, theirs = (
        read(tables / name, source="from", edge_label="kind") for name in ("net.csv", "other.csv")
    )
    assert theirs.node_names == ours.node_names and links(theirs) == links(ours)


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_the_index_that_pandas_writes_is_no_end_of_an_edge_and_no_feature(tmp_path: Path, index: str) -> None:
    path = tmp_path / "net.csv"
    path.write_text(f"{index},source,target,weight\n0,a,b,1.5\n1,b,c,2.5\n")
    for options in ({}, {"source": "source"}, {"target": "target", "source": "source"}):
        data = read(path, **options)
        assert links(data) == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
        assert data.edge_dim == 1
    path.write_text(f"{index},from,to\n0,a,b\n1,b,c\n")
    assert links(read(path, directed=True)) == {("a", "b"), ("b", "c")}


def test_columns_called_source_and_target_are_the_ends_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("weight,target,source\n1.5,b,a\n2.5,c,b\n")
    data = read(path, directed=True)
    assert links(data) == {("a", "b"), ("b", "c")} and data.edge_dim == 1
    path.write_text("from,to,weight\na,b,1.5\nb,c,2.5\n")
    assert links(read(path, source="to", directed=True)) == {("b", "a"), ("c", "b")}
    with pytest.raises(DataError, match="source and target are both 'to', but should be two columns"):
        read(path, source="to", target="to")


def test_of_two_columns_the_first_may_have_no_name(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(",to\na,b\nb,c\n")
    assert links(read(path, directed=True)) == {("a", "b"), ("b", "c")}
