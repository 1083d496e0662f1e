"""A graph with typed nodes and edges is what PyG's `HeteroData` says, whatever is made of it."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mpnn import Graph, HeteroGraph
from tests.core.graph.hetero_graphs import RELATIONS, TYPES, hetero_graph, hetero_graphs, same_hetero
from tests.core.graphs import same

anything = st.one_of(hetero_graphs(), hetero_graphs(batched=True))


def pygs(graph: HeteroGraph) -> HeteroData:
    """PyG's graph, made of what went into ours."""
    data = HeteroData()
    for name, count in graph.num_nodes_dict.items():
        data[name].num_nodes = count
        data[name].x = torch.arange(count, dtype=torch.float64)[:, None]
    for edge_type, edge_index in graph.edge_index_dict.items():
        data[edge_type].edge_index = edge_index
        data[edge_type].edge_attr = torch.arange(edge_index.size(1))
    return data


def test_the_homogeneous_graph_is_pygs() -> None:
    graph = hetero_graph()
    theirs = pygs(graph).to_homogeneous()
    assert torch.equal(graph.homogeneous.edge_index, theirs.edge_index)
    assert torch.equal(graph.homogeneous.edge_type, theirs.edge_type)  # type: ignore[arg-type]
    assert torch.equal(graph.node_type, theirs.node_type)
    assert torch.equal(graph.join({k: v.x for k, v in pygs(graph).node_items()}), theirs.x)


@given(anything)
def test_relations_are_the_edges_that_were_given(graph: HeteroGraph) -> None:
    edges = {edge_type: graph[edge_type].edge_index for edge_type in graph.edge_types}
    times = {edge_type: graph[edge_type].edge_time for edge_type in graph.edge_types}
    timed: Any = times if graph.homogeneous.edge_time is not None else None
    again = HeteroGraph(graph.num_nodes_dict, edges, timed)
    assert torch.equal(again.homogeneous.edge_index, graph.homogeneous.edge_index)
    for edge_type in graph.edge_types:
        relation = graph[edge_type]
        assert relation.is_bipartite == (edge_type[0] != edge_type[2])
        assert relation.num_graphs == graph.num_graphs
        sizes = graph.num_nodes_dict
        assert relation.size == (sizes[edge_type[0]], sizes[edge_type[2]])


def test_a_subgraph_is_pygs() -> None:
    graph = hetero_graph(timed=True)
    chosen = {"author": torch.tensor([5, 0, 2]), "paper": torch.arange(9) % 3 > 0}
    part, nodes, edges = graph.subgraph(chosen)
    theirs = pygs(graph).subgraph(chosen)
    assert part.num_nodes_dict == {"author": 3, "paper": 6, "venue": 4}
    for name in TYPES:
        assert torch.equal(nodes[name], theirs[name].x[:, 0].long())
    for edge_type in RELATIONS:
        assert torch.equal(part[edge_type].edge_index, theirs[edge_type].edge_index)
        assert torch.equal(edges[edge_type], theirs[edge_type].edge_attr)
        assert torch.equal(part[edge_type].edge_time, edges[edge_type] % 5)  # type: ignore[arg-type]


@given(
    st.lists(hetero_graphs(), min_size=1, max_size=3).filter(
        lambda graphs: len({graph.homogeneous.edge_time is None for graph in graphs}) == 1
    )
)
def test_a_batch_comes_apart_into_its_graphs(graphs: list[HeteroGraph]) -> None:
    batch = HeteroGraph.batch(graphs)
    assert batch.num_graphs == len(graphs)
    assert all(map(same_hetero, batch.unbatch(), graphs))
    again = HeteroGraph.batch([HeteroGraph.batch(graphs), graphs[0]])
    assert all(map(same_hetero, again.unbatch(), [*graphs, graphs[0]]))


def test_a_batch_is_pygs() -> None:
    batch = HeteroGraph.batch([hetero_graph(seed=1), hetero_graph((3, 2, 5), 4, seed=2)])
    theirs = batch.to_pyg()
    for name in TYPES:
        assert torch.equal(batch.graph_index(name), theirs[name].batch)
    for edge_type in RELATIONS:
        assert torch.equal(batch[edge_type].edge_index, theirs[edge_type].edge_index)
        leaves, enters = (batch.graph_index(edge_type[k]) for k in (0, 2))
        assert torch.equal(leaves[batch[edge_type].src], enters[batch[edge_type].dst])


def test_a_subgraph_of_a_batch_is_the_batch_of_subgraphs() -> None:
    graphs = [hetero_graph(seed=1), hetero_graph((3, 2, 5), 4, seed=2)]
    batch = HeteroGraph.batch(graphs)
    part = batch.subgraph({"author": torch.tensor([1, 4, 7, 9]), "venue": torch.tensor([0, 8])}).graph
    apart = [
        graphs[0].subgraph({"author": torch.tensor([1, 4]), "venue": torch.tensor([0])}).graph,
        graphs[1].subgraph({"author": torch.tensor([0, 2]), "venue": torch.tensor([4])}).graph,
    ]
    assert same_hetero(part, HeteroGraph.batch(apart))
    with pytest.raises(ValueError, match=r"nodes\['author'\]\[1\] is 0, of graph 0 of the batch, behind a"):
        batch.subgraph({"author": torch.tensor([8, 0])})


@given(hetero_graphs(), st.randoms(use_true_random=False))
def test_a_typed_graph_is_found_again_among_mixed_nodes_and_edges(graph: HeteroGraph, random: Any) -> None:
    order, edges = list(range(graph.num_nodes)), list(range(graph.num_edges))
    random.shuffle(order)
    random.shuffle(edges)
    new = torch.tensor(order, dtype=torch.int64)
    mixed_types = torch.empty_like(new)
    mixed_types[new] = graph.node_type
    homogeneous, kept = graph.homogeneous, torch.tensor(edges, dtype=torch.int64)
    assert homogeneous.edge_type is not None
    mixed = Graph(
        new[homogeneous.edge_index][:, kept],
        graph.num_nodes,
        homogeneous.edge_type[kept],
        num_edge_types=len(graph.edge_types),
    )
    found, nodes, where = HeteroGraph.from_homogeneous(mixed, mixed_types, *graph.metadata())
    assert found.num_nodes_dict == graph.num_nodes_dict
    for edge_type in graph.edge_types:
        ends = [
            nodes[edge_type[end]][row] for end, row in zip((0, 2), found[edge_type].edge_index, strict=True)
        ]
        assert torch.equal(torch.stack(ends), mixed.edge_index[:, where[edge_type]])
        assert torch.equal(where[edge_type], where[edge_type].sort().values)


def test_rows_by_relation_find_every_edge_again() -> None:
    graph = hetero_graph()
    rows = graph.by_relation(sources=True, destinations=True)
    half = graph.by_relation(sources=True)
    assert half.num_dst == graph.num_nodes
    for edge_type in RELATIONS:
        edges, begin = graph.edges(edge_type), (graph.source_rows, graph.destination_rows)
        shift = torch.tensor([[rows_of[edge_type].start] for rows_of in begin])
        assert torch.equal(rows.edge_index[:, edges] - shift, graph[edge_type].edge_index)
        assert torch.equal(half.src[edges], rows.src[edges])
        assert torch.equal(half.dst[edges], graph.homogeneous.dst[edges])


def test_a_nodes_rows_lie_together_and_each_receives_from_one_relation() -> None:
    graph = hetero_graph()
    rows, begin = graph.by_receiver(), 0
    for name, count in graph.num_nodes_dict.items():
        into = graph.relations_into(name)
        assert into == [edge_type for edge_type in RELATIONS if edge_type[2] == name]
        degree = rows.in_degree[begin : begin + count * len(into)].view(count, len(into))
        for k, edge_type in enumerate(into):
            assert torch.equal(degree[:, k], graph[edge_type].in_degree)
        begin += count * len(into)
    assert rows.num_dst == begin
    assert torch.equal(rows.src, graph.homogeneous.src)


@given(anything)
def test_copies_and_files_hold_the_same(graph: HeteroGraph) -> None:
    file = io.BytesIO()
    torch.save(graph, file)
    file.seek(0)
    for again in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph), torch.load(file)):
        assert same_hetero(again, graph)


def test_a_graph_on_its_device_is_itself_and_elsewhere_the_same() -> None:
    graph = HeteroGraph.batch([hetero_graph(timed=True), hetero_graph(seed=1, timed=True)])
    assert graph.to("cpu") is graph
    there = graph.to("meta")
    assert (there.device.type, there.num_graphs, there.metadata()) == ("meta", 2, graph.metadata())
    assert there.graph_index("paper").device.type == "meta"


WRITES = ("author", "writes", "paper")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: HeteroGraph({"author": 2}, {WRITES: torch.zeros(2, 1, dtype=torch.int64)}),
            ValueError,
            r"the edge type \('author', 'writes', 'paper'\) names the node type 'paper', but the node types "
            r"are 'author'\.",
        ),
        (
            lambda: HeteroGraph({"author": 2, "paper": 3}, {WRITES: torch.tensor([[0, 2], [0, 0]])}),
            IndexError,
            r"edge_index_dict\[\('author', 'writes', 'paper'\)\]\[0, 1\] is 2, but there are 2 nodes of type "
            r"'author' \(0\.\.1\)\.",
        ),
        (
            lambda: HeteroGraph({"author": 2, "paper": 0}, {WRITES: torch.tensor([[0], [0]])}),
            IndexError,
            r"\[1, 0\] is 0, but there are 0 nodes of type 'paper' \(none\)\.",
        ),
        (
            lambda: HeteroGraph({"author": 2, "paper": 3}, {WRITES: torch.zeros(2, 2)}),
            TypeError,
            r"of edge type \('author', 'writes', 'paper'\), edge_index must hold integers",
        ),
        (lambda: HeteroGraph([("author", 2)], {}), TypeError, "num_nodes_dict must tell how many nodes"),  # type: ignore[arg-type]
        (lambda: HeteroGraph({3: 2}, {}), TypeError, "a node type must be a string, got 3"),  # type: ignore[dict-item]
        (lambda: HeteroGraph({"a": -1}, {}), ValueError, r"num_nodes_dict\['a'\] is -1, but should be"),
        (
            lambda: HeteroGraph({"a": 1}, {("a", "a"): torch.zeros(2, 0)}),  # type: ignore[dict-item]
            TypeError,
            r"an edge type must be \(source, relation, destination\), three strings, got \('a', 'a'\)",
        ),
        (lambda: HeteroGraph({"a": 1}, []), TypeError, "edge_index_dict must give the edges"),  # type: ignore[arg-type]
        (
            lambda: HeteroGraph({"a": 1}, {}, {("a", "to", "a"): torch.zeros(1)}),
            ValueError,
            r"edge_time_dict names \('a', 'to', 'a'\), which is no edge type: these are none\.",
        ),
        (
            lambda: HeteroGraph({"a": 1}, {("a", "to", "a"): torch.zeros(2, 1, dtype=torch.int64)}, {}),
            ValueError,
            r"edge_time_dict lacks \('a', 'to', 'a'\): give times to all edge types or none\.",
        ),
        (lambda: hetero_graph()["author", "likes", "paper"], KeyError, r"'likes', 'paper'\) is no edge type"),
        (lambda: hetero_graph().nodes("reader"), KeyError, "'reader' is no node type: these are 'author'"),
        (
            lambda: hetero_graph().join({"reader": torch.ones(1, 1)}),
            ValueError,
            "values names 'reader', which is no node type: these are 'author', 'paper', 'venue'",
        ),
        (
            lambda: hetero_graph().join({"author": torch.ones(8, 1)}),
            ValueError,
            r"values\['author'\] has 8 rows, but there are 7 nodes of that type",
        ),
        (
            lambda: hetero_graph().join({"author": torch.ones(7, 1)}),
            ValueError,
            "there are no values of node type 'paper', only of 'author'",
        ),
        (lambda: hetero_graph().split(torch.ones(8, 1)), ValueError, "rows has 8 rows, but the graph has 20"),
        (
            lambda: hetero_graph().subgraph({"paper": torch.tensor([9])}),
            IndexError,
            r"nodes\['paper'\]\[0\] is 9, but there are only 9 to choose from",
        ),
        (lambda: hetero_graph().subgraph({"reader": torch.tensor([0])}), ValueError, "nodes names 'reader'"),
        (
            lambda: HeteroGraph.batch([hetero_graph(), HeteroGraph({"a": 1}, {})]),
            ValueError,
            "graphs differ in node_types: a batch needs graphs of one kind",
        ),
        (
            lambda: hetero_graph().as_batch({"author": [3, 3], "paper": [4, 5], "venue": [2, 2]}),
            ValueError,
            r"sizes\['author'\] must add up to 7, got \[3, 3\]",
        ),
        (
            lambda: hetero_graph().as_batch({"author": [3, 4], "paper": [4, 5], "venue": [2, 2]}),
            ValueError,
            r"edge \d+ goes from graph \d to graph \d of the batch",
        ),
        (
            lambda: HeteroGraph.from_homogeneous(
                Graph(torch.tensor([[0], [1]]), edge_type=torch.tensor([0])),
                torch.tensor([1, 0]),
                ["author", "paper"],
                [WRITES],
            ),
            ValueError,
            r"edge 0 goes from a node of type 'paper' to one of type 'author', but its edge type is "
            r"\('author', 'writes', 'paper'\)\.",
        ),
        (
            lambda: HeteroGraph.from_homogeneous(
                Graph(torch.tensor([[0], [1]]), edge_type=torch.tensor([0])),
                torch.tensor([2, 0]),
                ["a", "b"],
                [],
            ),
            IndexError,
            r"node_type\[0\] is 2, but there are 2 node_types",
        ),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_relation_is_a_graph_like_any_other() -> None:
    graph = hetero_graph()
    for edge_type in RELATIONS:
        sizes = graph.num_nodes_dict
        size = (sizes[edge_type[0]], sizes[edge_type[2]])
        expected = Graph(graph[edge_type].edge_index, size if edge_type[0] != edge_type[2] else size[0])
        assert same(graph[edge_type], expected)
