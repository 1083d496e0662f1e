"""Graphs from and to networkx, scipy.sparse and PyTorch Geometric, both ways without loss."""

from __future__ import annotations

from typing import cast

import networkx
import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from mpnn.graph import Graph

# A networkx graph iterates its edges by source; these attributes carry what that order loses.
EDGE_ID, EDGE_TYPE, SIZE = "edge_id", "edge_type", "bipartite_size"


def from_networkx(graph: networkx.Graph) -> Graph:
    """A `Graph` with nodes numbered in networkx's node order.

    An undirected edge becomes two directed ones (a self loop one). Edge attributes `edge_type` (on all edges
    or none) and `edge_id` (the position, as `to_networkx` writes it) are read; everything else is a feature
    and stays with the caller.

    >>> Graph.from_networkx(networkx.karate_club_graph())
    Graph(num_nodes=34, num_edges=156)
    """
    number = {node: k for k, node in enumerate(graph.nodes)}
    size = graph.graph.get(SIZE)
    edges = [(number[u], number[v], attributes) for u, v, attributes in graph.edges(data=True)]
    if edges and all(EDGE_ID in attributes for *_, attributes in edges):
        edges.sort(key=lambda edge: cast(int, edge[2][EDGE_ID]))
    if not graph.is_directed():
        edges = [
            turned for u, v, a in edges for turned in ([(u, v, a)] if u == v else [(u, v, a), (v, u, a)])
        ]
    ends = torch.tensor([(u, v) for u, v, _ in edges], dtype=torch.int64).reshape(-1, 2).t().contiguous()
    types = [attributes[EDGE_TYPE] for *_, attributes in edges if EDGE_TYPE in attributes]
    if types and len(types) != len(edges):
        raise ValueError(f"{len(types)} of {len(edges)} edges have an {EDGE_TYPE}: give one to all or none.")
    if size is not None:
        ends[1] -= size[0]
    edge_type = torch.tensor(types, dtype=torch.int64) if types else None
    return Graph(ends, len(number) if size is None else tuple(size), edge_type)


def to_networkx(graph: Graph) -> networkx.DiGraph | networkx.MultiDiGraph:
    """A `networkx.DiGraph`, or a `MultiDiGraph` when edges repeat, with `edge_id` and `edge_type` attributes.

    The destinations of a bipartite graph are numbered behind its sources.
    """
    edge_index = graph.edge_index.cpu()
    repeated = torch.unique(edge_index, dim=1).size(1) < graph.num_edges
    out = networkx.MultiDiGraph() if repeated else networkx.DiGraph()
    sources, destinations = edge_index.tolist()
    if graph.is_bipartite:
        out.graph[SIZE] = graph.size
        out.add_nodes_from(range(graph.num_src), bipartite=0)
        out.add_nodes_from(range(graph.num_src, sum(graph.size)), bipartite=1)
        destinations = [graph.num_src + i for i in destinations]
    else:
        out.add_nodes_from(range(graph.num_nodes))
    attributes = [{EDGE_ID: e} for e in range(graph.num_edges)]
    if graph.edge_type is not None:
        attributes = [a | {EDGE_TYPE: t} for a, t in zip(attributes, graph.edge_type.tolist(), strict=True)]
    out.add_edges_from(zip(sources, destinations, attributes, strict=True))
    return out


def from_scipy(matrix: scipy.sparse.sparray) -> tuple[Graph, Tensor]:
    """A `Graph` and its edge values `[num_edges]` from a sparse matrix with entry `[source, destination]`.

    A square matrix gives an ordinary graph, any other a bipartite one. Stored zeros are edges, and entries
    stored twice are two edges.
    """
    coo = matrix.tocoo()
    edge_index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    num_src, num_dst = coo.shape
    graph = Graph(edge_index, num_src if num_src == num_dst else (num_src, num_dst))
    return graph, torch.from_numpy(np.array(coo.data))


def to_scipy(graph: Graph, values: Tensor | None = None) -> scipy.sparse.coo_array:
    """A `scipy.sparse.coo_array` with entry `[source, destination]`, edges in their order.

    Args:
        graph: any graph.
        values: `[num_edges]`, what to store; by default the edge types, or ones where there are none.
    """
    if values is None:
        values = torch.ones(graph.num_edges) if graph.edge_type is None else graph.edge_type
    if values.shape != (graph.num_edges,):
        raise ValueError(f"values must have shape [{graph.num_edges}], got {list(values.shape)}.")
    sources, destinations = graph.edge_index.cpu().numpy()
    return scipy.sparse.coo_array((values.detach().cpu().numpy(), (sources, destinations)), shape=graph.size)


def from_pyg(data: Data | HeteroData) -> Graph:
    """A `Graph` from PyG's `Data`, `Batch`, or a `HeteroData` with one edge type (as a bipartite graph).

    Only the topology is taken: `edge_index`, `num_nodes`, `edge_type` and where a batch's graphs begin.
    """
    if isinstance(data, HeteroData):
        if len(data.edge_types) != 1:
            raise ValueError(f"data has edge types {data.edge_types}: a Graph holds exactly one of them.")
        source, _, destination = edge = data.edge_types[0]
        store = data[edge]
        size = (data[source].num_nodes, data[destination].num_nodes)
        return Graph(store.edge_index, size, store.get(EDGE_TYPE))
    if data.edge_index is None:
        raise ValueError("data has no edge_index.")
    if isinstance(data, Batch):
        return Graph.batch([from_pyg(one) for one in data.to_data_list()])
    return Graph(data.edge_index, data.num_nodes, data.get(EDGE_TYPE))


def to_pyg(graph: Graph) -> Data | HeteroData:
    """PyG's `Data`; its `Batch` for a batch of graphs; a `HeteroData` from "src" to "dst" when bipartite."""
    if graph.num_graphs > 1:
        return Batch.from_data_list([to_pyg(one) for one in graph.unbatch()])
    types = {} if graph.edge_type is None else {EDGE_TYPE: graph.edge_type}
    if not graph.is_bipartite:
        return Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes, **types)
    data = HeteroData()
    data["src"].num_nodes, data["dst"].num_nodes = graph.size
    store = data["src", "to", "dst"]
    store.edge_index = graph.edge_index
    for name, value in types.items():
        store[name] = value
    return data
