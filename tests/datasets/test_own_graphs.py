"""Many graphs of one's own from tables: of edges, with or without those of nodes and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

from mpnn.datasets import Columns, DataError, GraphDataset, NodeDataset, load_graphs, read_graphs
from tests.compare import assert_close

pytestmark = pytest.mark.filterwarnings("ignore:.* are not used, since graphs have no features")
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
KINDS = Columns(graph_id="mol", label="kind")


def drawn() -> tuple[dict[str, nx.Graph], Tables]:
    """Molecules as networkx has them, and as tables whose rows are mixed up; names are local to a graph."""
    draw = np.random.default_rng(1)
    graphs: dict[str, nx.Graph] = {}
    for k in range(12):
        graph = nx.gnm_random_graph(int(draw.integers(3, 8)), 5 + k % 3, seed=k)
        for node in graph:
            graph.nodes[node]["mass"] = round(float(draw.normal()), 3)
        for i, j in graph.edges:
            graph.edges[i, j]["length"] = round(float(draw.normal()), 3)
        graphs[f"m{k}"] = graph
    bonds = pd.DataFrame(
        [
            {"mol": name, "to": j, "from": i, **a}
            for name, graph in graphs.items()
            for i, j, a in graph.edges(data=True)
        ]
    )
    atoms = pd.DataFrame(
        [
            {"mass": a["mass"], "mol": name, "atom": i}
            for name, graph in graphs.items()
            for i, a in graph.nodes(data=True)
        ]
    )
    kinds = pd.DataFrame({"mol": list(graphs), "kind": [["acid", "base"][k % 2] for k in range(12)]})
    mixed = (table.sample(frac=1, random_state=0) for table in (bonds, atoms, kinds))
    return graphs, tuple(mixed)


def as_networkx(data: GraphDataset, name: str, feature: str | None = None) -> nx.Graph:
    k = data.graph_names.index(name)
    graph = nx.Graph()
    graph.add_nodes_from(range(data.graphs[k].num_nodes))
    if feature is not None:
        nx.set_node_attributes(graph, dict(enumerate(data.x[k].flatten().tolist())), feature)
    attr = None if data.edge_attr is None else data.edge_attr[k].flatten().tolist()
    for e, (i, j) in enumerate(data.graphs[k].edge_index.T.tolist()):
        graph.add_edge(i, j, **({} if attr is None else {"length": attr[e]}))
    return graph


def same(ours: nx.Graph, theirs: nx.Graph, *features: str) -> bool:
    """Isomorphic, with equal lengths of edges and, if asked, equal masses of nodes."""

    def near(a: dict[str, float], b: dict[str, float]) -> bool:
        return all(abs(a[name] - b[name]) < 1e-5 for name in {*a} & {*b} & {*features})

    return bool(nx.is_isomorphic(ours, theirs, near, near))


def test_each_graph_is_the_one_that_networkx_has() -> None:
    graphs, (bonds, atoms, kinds) = drawn()
    data = load_graphs(bonds, atoms, kinds, KINDS)
    assert {*data.graph_names} == {*graphs} and data.num_features == 1 and data.edge_dim == 1
    label = kinds.set_index("mol").kind
    for k, name in enumerate(data.graph_names):
        assert same(as_networkx(data, name, "mass"), graphs[name], "mass", "length")
        assert data.class_names[int(data.y[k])] == label[name]


def test_without_a_table_of_nodes_they_are_the_ends_of_edges_and_have_degrees() -> None:
    graphs, (bonds, _, kinds) = drawn()
    data = load_graphs(bonds, labels=kinds, columns=KINDS)
    for name in data.graph_names:
        ours = as_networkx(data, name)
        theirs = graphs[name].subgraph([node for node, degree in graphs[name].degree if degree])
        assert same(ours, theirs, "length")
        x = data.x[data.graph_names.index(name)]
        assert x.argmax(dim=1).tolist() == [degree for _, degree in ours.degree]


def names_of_their_own(tables: Tables) -> Tables:
    """The same molecules, no two of which have a name of a node in common."""
    bonds, atoms, kinds = (table.copy() for table in tables)
    bonds["from"], bonds["to"] = (bonds.mol + "-" + bonds[end].astype(str) for end in ("from", "to"))
    atoms["atom"] = atoms.mol + "-" + atoms.atom.astype(str)
    return bonds, atoms, kinds


def test_the_graph_may_be_a_column_of_one_table_alone() -> None:
    graphs, tables = drawn()
    bonds, atoms, kinds = names_of_their_own(tables)
    for edges, nodes in ((bonds.drop(columns="mol"), atoms), (bonds, atoms)):
        data = load_graphs(edges, nodes, kinds, KINDS)
        for name in data.graph_names:
            assert same(as_networkx(data, name, "mass"), graphs[name], "mass", "length")
    linked = {*bonds["from"], *bonds["to"]}
    data = load_graphs(bonds, atoms[atoms.atom.isin(linked)].drop(columns="mol"), kinds, KINDS)
    for name in data.graph_names:
        theirs = graphs[name].subgraph([node for node, degree in graphs[name].degree if degree])
        assert same(as_networkx(data, name, "mass"), theirs, "mass", "length")


@pytest.mark.parametrize("where", ["edges", "nodes"])
def test_the_label_may_stand_in_every_row_of_a_graph(where: str) -> None:
    _, (bonds, atoms, kinds) = drawn()
    apart = load_graphs(bonds, atoms, kinds, KINDS)
    edges, nodes = (
        table.merge(kinds, on="mol") if where == name else table
        for name, table in (("edges", bonds), ("nodes", atoms))
    )
    data = load_graphs(edges, nodes, columns=KINDS)
    said = dict(zip(data.graph_names, data.y.tolist(), strict=True))
    assert said == dict(zip(apart.graph_names, apart.y.tolist(), strict=True))
    assert data.num_features == 1 and data.edge_dim == 1


def test_graphs_without_a_label_are_not_known_and_labels_without_a_graph_are_left_out() -> None:
    _, (bonds, atoms, kinds) = drawn()
    kinds = kinds.sort_values("mol").assign(kind=lambda table: table.kind.where(table.mol != "m3"))
    more = pd.concat([kinds[kinds.mol != "m5"], pd.DataFrame({"mol": ["x"], "kind": ["acid"]})])
    with pytest.warns(UserWarning, match="labels of 1 graphs without an edge or node, such as x"):
        data = load_graphs(bonds, atoms, more, KINDS)
    assert data.known is not None
    unknown = {name for name, there in zip(data.graph_names, data.known.tolist(), strict=True) if not there}
    assert unknown == {"m3", "m5"} and data.y[~data.known].tolist() == [-1, -1]


def test_columns_of_labels_that_are_not_used_are_named() -> None:
    _, (bonds, atoms, kinds) = drawn()
    with pytest.warns(UserWarning, match=r"labels has other columns \(size, year\), which are not used"):
        load_graphs(bonds, atoms, kinds.assign(year=1, size=2), KINDS)


def test_edges_may_weigh_or_have_types_and_a_graph_may_have_no_edge() -> None:
    _, (bonds, atoms, kinds) = drawn()
    weighed = load_graphs(bonds, atoms, kinds, Columns(graph_id="mol", label="kind", edge_weight="length"))
    assert weighed.weighted
    bonds["type"] = ["single", "double"] * (len(bonds) // 2) + ["single"] * (len(bonds) % 2)
    typed = load_graphs(bonds, atoms, kinds, Columns(graph_id="mol", label="kind", edge_type="type"))
    assert all(graph.is_typed and graph.num_edge_types == 2 for graph in typed.graphs)
    lone = pd.concat([atoms, pd.DataFrame({"mass": [1.0], "mol": ["m99"], "atom": [0]})])
    more = pd.concat([kinds, pd.DataFrame({"mol": ["m99"], "kind": ["acid"]})])
    data = load_graphs(bonds, lone, more, KINDS)
    alone = data.graphs[data.graph_names.index("m99")]
    assert (alone.num_nodes, alone.num_edges) == (1, 0)


def test_numbers_of_graphs_are_read_as_those_of_nodes(tmp_path: Path) -> None:
    _, (bonds, _, kinds) = drawn()
    kinds["size"] = np.arange(12) / 4
    bonds.to_csv(tmp_path / "bonds.csv", index=False)
    kinds.to_csv(tmp_path / "kinds.csv", index=False)
    columns = Columns(graph_id="mol", label="size", graph_labels=str(tmp_path / "kinds.csv"))
    data = read_graphs(tmp_path / "bonds.csv", columns)
    assert isinstance(data, GraphDataset) and data.name == "bonds"
    said = dict(zip(data.graph_names, data.y.flatten().tolist(), strict=True))
    assert said == pytest.approx(dict(zip(kinds.mol, kinds["size"], strict=True)))
    ends = Columns(source="from", target="to", ignore="mol,length")
    assert isinstance(read_graphs(tmp_path / "bonds.csv", ends), NodeDataset)  # without a graph_id one graph


def test_some_graphs_in_another_order_keep_what_is_theirs() -> None:
    _, (bonds, atoms, kinds) = drawn()
    data = load_graphs(bonds, atoms, kinds, KINDS)
    some = data.with_graphs(torch.tensor([7, 2]))
    assert some.graph_names == (data.graph_names[7], data.graph_names[2])
    assert some.table is not None and some.edge_table is not None
    assert_close(torch.tensor(some.table["mass"].astype(float).to_numpy()).float(), torch.cat(some.x)[:, 0])
    attr = some.edge_attr
    assert attr is not None
    lengths = torch.tensor(some.edge_table["length"].astype(float).to_numpy()).float()
    assert_close(lengths, torch.cat(attr)[:, 0])


def changed(**cells: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: pd.concat([table, pd.DataFrame([cells])], ignore_index=True)


Change = Callable[[pd.DataFrame], pd.DataFrame]
BAD: list[tuple[dict[str, Change], dict[str, Any], str]] = [
    ({}, {"graph_id": None}, "graph_id is not given: it is the column that says which graph"),
    ({}, {"graph_id": "mole"}, "have the column 'mole', which is graph_id: did you mean 'mol'"),
    ({}, {"label": None}, "label is not given: it is the column that says what is to be learned of a graph"),
    ({}, {"label": "kinds"}, "no table has the column 'kinds', which is label: did you mean 'kind'"),
    ({}, {"part": "mol"}, "part is 'mol', but graphs have no such columns"),
    ({}, {"ignore": "x"}, "ignore names column 'x', which no table has"),
    ({}, {"source": "x", "label": "y"}, r"there are 2 problems:(.|\n)*no column 'x'(.|\n)*the column 'y'"),
    ({"edges": changed(mol="m1", to=99, **{"from": 0}, length=1)}, {}, "node '99 of m1' is not in the table"),
    (
        {"nodes": changed(mass=1, mol="m1", atom=0)},
        {},
        "row .*: node '0' of mol 'm1' is there already, in row",
    ),
    ({"labels": changed(mol="m1", kind="acid")}, {}, "row 12: graph 'm1' is there already, in row"),
    (
        {"labels": lambda table: table.assign(mol="no " + table.mol)},
        {},
        "no graph has a label: graph_id of the tables",
    ),
    ({"nodes": lambda table: table.drop(columns="mol")}, {"node_id": "atom"}, "has edges in .* and in"),
]


@pytest.mark.filterwarnings("ignore:labels has labels")
@pytest.mark.parametrize(("changes", "named", "sentence"), BAD)
def test_what_is_wrong_is_one_sentence(
    changes: dict[str, Change], named: dict[str, Any], sentence: str
) -> None:
    tables = dict(zip(("edges", "nodes", "labels"), drawn()[1], strict=True))
    for name, change in changes.items():
        tables[name] = change(tables[name])
    columns: dict[str, Any] = {"graph_id": "mol", "label": "kind"} | named
    with pytest.raises(DataError, match=sentence):
        load_graphs(**tables, columns=Columns(**columns))


def test_rows_of_a_graph_that_say_different_labels_are_refused() -> None:
    _, (bonds, atoms, kinds) = drawn()
    atoms = atoms.merge(kinds, on="mol").sort_values("mol", ignore_index=True)
    atoms.loc[1, "kind"] = "salt"
    with pytest.raises(DataError, match=r"nodes row 1: kind is 'salt', but '.*' in row 0: a graph has one"):
        load_graphs(bonds, atoms, columns=KINDS)
