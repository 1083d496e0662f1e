"""Graphs with typed nodes and edges from and to PyTorch Geometric and networkx, both ways without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx
import torch
from torch import Tensor

from mpnn.graph.convert import EDGE_ID, EDGE_TIME, GRAPH_ID, TIME, TIME_DTYPE, edge_times, pyg
from mpnn.graph.hetero import EdgeType, HeteroGraph

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

# Of a whole networkx graph: all types in order, also without nodes or edges, and how many graphs a batch has.
NODE_TYPES, EDGE_TYPES, NUM_GRAPHS = "node_types", "edge_types", "num_graphs"


def from_pyg(data: HeteroData) -> HeteroGraph:
    """A `HeteroGraph` from PyG's `HeteroData`, or from a batch of these.

    Only the topology is taken: `edge_index` of each edge type, how many nodes each type has, where a batch's
    graphs begin, and the times of edges: `edge_time`, or `time` where PyG takes that for theirs.

    Raises:
        TypeError: it is no HeteroData.
        ValueError: an edge type without edge_index.

    >>> from torch_geometric.data import HeteroData
    >>> data = HeteroData()
    >>> data["author"].num_nodes, data["paper"].num_nodes = 2, 3
    >>> data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [2, 0]])
    >>> HeteroGraph.from_pyg(data)
    HeteroGraph(num_nodes={'author': 2, 'paper': 3}, num_edges={('author', 'writes', 'paper'): 2})
    """
    if not isinstance(data, pyg().HeteroData):
        raise TypeError(f"data must be PyG's HeteroData, got {type(data).__name__}.")
    edges: dict[EdgeType, Tensor] = {}
    times: dict[EdgeType, Tensor] = {}
    for edge_type in data.edge_types:
        store = data[edge_type]
        if "edge_index" not in store:
            raise ValueError(f"data[{edge_type!r}] has no edge_index.")
        edges[edge_type] = store.edge_index
        if EDGE_TIME in store:
            times[edge_type] = store[EDGE_TIME]
        elif TIME in store and store.is_edge_attr(TIME):
            times[edge_type] = store[TIME]
    sizes = {node_type: data[node_type].num_nodes for node_type in data.node_types}
    graph = HeteroGraph(sizes, edges, times or None)
    if not isinstance(data, pyg().Batch):
        return graph
    return graph.as_batch({node_type: data[node_type].ptr.diff().tolist() for node_type in sizes})


def to_pyg(graph: HeteroGraph) -> HeteroData:
    """PyG's `HeteroData`; its `Batch` for a batch of graphs. Times of edges are `edge_time`.

    >>> HeteroGraph({"a": 2}, {("a", "to", "a"): torch.tensor([[0], [1]])}).to_pyg()
    HeteroData(
      a={ num_nodes=2 },
      (a, to, a)={ edge_index=[2, 1] }
    )
    """
    if graph.num_graphs > 1:
        return pyg().Batch.from_data_list([to_pyg(one) for one in graph.unbatch()])
    data = pyg().HeteroData()
    for node_type, count in graph.num_nodes_dict.items():
        data[node_type].num_nodes = count
    for edge_type in graph.edge_types:
        data[edge_type].edge_index = graph[edge_type].edge_index
        if graph[edge_type].edge_time is not None:
            data[edge_type].edge_time = graph[edge_type].edge_time
    return data


def from_networkx(graph: networkx.Graph, node_attr: str, edge_attr: str) -> HeteroGraph:
    """A `HeteroGraph` whose nodes of each type are numbered in networkx's node order.

    An undirected edge becomes two directed ones (a self loop one).

    Args:
        graph: of any kind.
        node_attr: the attribute of every node that says its type, a string.
        edge_attr: the attribute of edges that says their relation, a string; "to" where there is none.

    Raises:
        TypeError: it is no networkx graph.
        ValueError: a node without a type, or a type or a relation that is no string.

    >>> net = networkx.DiGraph()
    >>> net.add_node("Emmy", node_type="author")
    >>> net.add_node("Invariante Variationsprobleme", node_type="paper")
    >>> net.add_edge("Emmy", "Invariante Variationsprobleme", relation="writes")
    >>> HeteroGraph.from_networkx(net)
    HeteroGraph(num_nodes={'author': 1, 'paper': 1}, num_edges={('author', 'writes', 'paper'): 1})
    """
    if not isinstance(graph, networkx.Graph):
        raise TypeError(f"graph must be a networkx graph, got {type(graph).__name__}.")
    members: dict[str, list[Any]] = {name: [] for name in graph.graph.get(NODE_TYPES, ())}
    kind: dict[Any, str] = {}
    for node, attributes in graph.nodes(data=True):
        name = attributes.get(node_attr)
        if not isinstance(name, str):
            raise ValueError(f"{node_attr} must be a string at every node, but is {name!r} at node {node!r}.")
        kind[node] = name
        members.setdefault(name, []).append(node)
    num_graphs = graph.graph.get(NUM_GRAPHS, 1)
    if num_graphs > 1:  # a subgraph in networkx keeps no order
        for nodes in members.values():
            nodes.sort(key=lambda node: graph.nodes[node][GRAPH_ID])
    number = {node: k for nodes in members.values() for k, node in enumerate(nodes)}
    edges: dict[EdgeType, list[tuple[int, int, dict[str, Any]]]] = {
        tuple(edge_type): [] for edge_type in graph.graph.get(EDGE_TYPES, ())
    }
    for u, v, attributes in graph.edges(data=True):
        relation = attributes.get(edge_attr, "to")
        if not isinstance(relation, str):
            raise ValueError(f"{edge_attr} must be a string, but is {relation!r} at edge ({u!r}, {v!r}).")
        for a, b in [(u, v)] if graph.is_directed() or u == v else [(u, v), (v, u)]:
            one = (number[a], number[b], attributes)
            edges.setdefault((kind[a], relation, kind[b]), []).append(one)
    index: dict[EdgeType, Tensor] = {}
    times: dict[EdgeType, Tensor] = {}
    for edge_type, found in edges.items():
        if found and all(EDGE_ID in attributes for *_, attributes in found):
            found.sort(key=lambda edge: int(edge[2][EDGE_ID]))
        ends = torch.tensor([edge[:2] for edge in found], dtype=torch.int64)
        index[edge_type] = ends.reshape(-1, 2).t().contiguous()
    joined = edge_times([attributes for found in edges.values() for *_, attributes in found], graph.graph)
    if joined is not None:
        parts = torch.split(joined, [len(found) for found in edges.values()])
        times = dict(zip(edges, parts, strict=True))
    out = HeteroGraph({name: len(nodes) for name, nodes in members.items()}, index, times or None)
    if num_graphs == 1:
        return out
    owner = {name: [graph.nodes[node][GRAPH_ID] for node in nodes] for name, nodes in members.items()}
    return out.as_batch({name: [ids.count(k) for k in range(num_graphs)] for name, ids in owner.items()})


def to_networkx(graph: HeteroGraph, node_attr: str, edge_attr: str) -> networkx.MultiDiGraph:
    """A `networkx.MultiDiGraph` with the rows of `homogeneous` for nodes.

    Args:
        graph: any.
        node_attr: which attribute of nodes says their type.
        edge_attr: which attribute of edges says their relation; `edge_id` numbers them within it.

    >>> net = HeteroGraph({"a": 1, "b": 1}, {("a", "to", "b"): torch.tensor([[0], [0]])}).to_networkx()
    >>> net.nodes(data="node_type"), net.edges(data="relation")
    (NodeDataView({0: 'a', 1: 'b'}, data='node_type'), OutMultiEdgeDataView([(0, 1, 'to')]))
    """
    for argument, name in (("node_attr", node_attr), ("edge_attr", edge_attr)):
        if name in (GRAPH_ID, EDGE_ID, EDGE_TIME):
            raise ValueError(f"{argument} is {name!r}, which has a meaning of its own: choose another.")
    out = networkx.MultiDiGraph()
    out.graph.update({NODE_TYPES: graph.node_types, EDGE_TYPES: graph.edge_types})
    if graph.num_graphs > 1:
        out.graph[NUM_GRAPHS] = graph.num_graphs
    for node_type in graph.node_types:
        rows = graph.nodes(node_type)
        out.add_nodes_from(range(rows.start, rows.stop), **{node_attr: node_type})
        if graph.num_graphs > 1:
            owners = dict(
                zip(range(rows.start, rows.stop), graph.graph_index(node_type).tolist(), strict=True)
            )
            networkx.set_node_attributes(out, owners, GRAPH_ID)
    homogeneous = graph.homogeneous
    times = None if homogeneous.edge_time is None else homogeneous.edge_time.tolist()
    if homogeneous.edge_time is not None:
        out.graph[TIME_DTYPE] = str(homogeneous.edge_time.dtype)
    for edge_type in graph.edge_types:
        own = graph.edges(edge_type)
        ends = homogeneous.edge_index[:, own].t().tolist()
        for k, (source, destination) in enumerate(ends):
            carried = {edge_attr: edge_type[1], EDGE_ID: k}
            if times is not None:
                carried[EDGE_TIME] = times[own.start + k]
            out.add_edge(source, destination, **carried)
    return out
