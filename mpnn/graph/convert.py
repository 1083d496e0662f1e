"""Graphs from and to networkx, scipy.sparse and PyTorch Geometric, both ways without loss."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import networkx
import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from mpnn.graph.attributes import attribute_rows
from mpnn.graph.graph import Graph, Size
from mpnn.graph.matrix import check_matrix

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData

# A networkx graph iterates its edges by source and knows nothing of two node sets or of batches: these
# attributes, of edges, nodes and the whole graph, carry what would be lost.
EDGE_ID, EDGE_TYPE, EDGE_TIME = "edge_id", "edge_type", "edge_time"
SIZE, NUM_EDGE_TYPES, GRAPH_SIZES = "bipartite_size", "num_edge_types", "graph_sizes"
TIME_DTYPE = "edge_time_dtype"  # of the whole graph: Python has one type of floating-point numbers
SIDE = "bipartite"  # of nodes: 0 sends and 1 receives, as networkx has it
GRAPH_ID = "graph_id"  # of nodes: which graph of a batch
NUM_RELATIONS = "num_relations"  # of PyG's Data, which computes a num_edge_types of its own
TIME = "time"  # PyG's usual name for times, of nodes or of edges


class Attributed(NamedTuple):
    """A graph, and attributes of its nodes and edges as rows of numbers, None for what was not asked for."""

    graph: Graph
    x: Tensor | None
    edge_attr: Tensor | None


def from_networkx(
    graph: networkx.Graph,
    node_attrs: str | Sequence[str] | None = None,
    edge_attrs: str | Sequence[str] | None = None,
) -> Graph | Attributed:
    """A `Graph` with nodes numbered in networkx's node order.

    An undirected edge becomes two directed ones (a self loop one). Edge attributes `edge_type` and
    `edge_time` (on all edges or none) and `edge_id` (the position, as `to_networkx` writes it) are read, and
    the graph attributes that `to_networkx` writes; everything else is a feature and stays with the caller.
    Times are int64 if all are integers, else float64, unless `to_networkx` wrote what they were. Of a
    bipartite graph or a batch, the nodes that `to_networkx` wrote say on which side and in which graph they
    are: a subgraph is bipartite or a batch too, with its nodes in networkx's order within each side, or
    graph.

    Args:
        graph: of any kind.
        node_attrs, edge_attrs: attributes to take as features, in this order; a value is a number, or a row
            of numbers. If one of both is given, the result is `graph, x, edge_attr`: the `Graph`, and the
            features `[num_nodes, channels]` and `[num_edges, channels]`, None for what is not asked for. Of a
            bipartite graph x is of its sources, then of its destinations.

    Raises:
        TypeError: it is no networkx graph, or an attribute is no number.
        ValueError: a node or edge lacks an attribute, or attributes contradict each other.

    >>> Graph.from_networkx(networkx.karate_club_graph())
    Graph(num_nodes=34, num_edges=156)
    >>> graph, x, weight = Graph.from_networkx(networkx.karate_club_graph(), edge_attrs="weight")
    >>> x is None, weight.shape
    (True, torch.Size([156, 1]))
    """
    if not isinstance(graph, networkx.Graph):
        raise TypeError(f"graph must be a networkx graph, got {type(graph).__name__}.")
    facts = graph.graph
    # Side, then graph: what networkx makes of a subgraph keeps no order, and the numbers of the whole graph.
    side = _told(graph, SIDE) if SIZE in facts else None
    owner = _told(graph, GRAPH_ID) if GRAPH_SIZES in facts else None
    order = [part for part in (side, owner) if part is not None]
    nodes = sorted(graph.nodes, key=lambda node: [part[node] for part in order])
    number = {node: k for k, node in enumerate(nodes)}
    edges = [(number[u], number[v], attributes) for u, v, attributes in graph.edges(data=True)]
    if edges and all(EDGE_ID in attributes for *_, attributes in edges):
        edges.sort(key=lambda edge: cast(int, edge[2][EDGE_ID]))
    if not graph.is_directed():
        edges = [
            turned for u, v, a in edges for turned in ([(u, v, a)] if u == v else [(u, v, a), (v, u, a)])
        ]
    ends = torch.tensor([(u, v) for u, v, _ in edges], dtype=torch.int64).reshape(-1, 2).t().contiguous()
    num_nodes: int | Size = len(number)
    if SIZE in facts:
        num_nodes = num_src, num_dst = tuple(facts[SIZE])
        if side is not None:
            num_dst = sum(side.values())
            num_nodes = num_src, num_dst = len(side) - num_dst, num_dst
        if num_src + num_dst != len(number):
            raise ValueError(f"{SIZE} is {facts[SIZE]}, but the networkx graph has {len(number)} nodes.")
        ends[1] -= num_src
    attributes = [a for *_, a in edges]
    edge_type, edge_time = _edge_types(attributes, NUM_EDGE_TYPES in facts), edge_times(attributes, facts)
    out = Graph(ends, num_nodes, edge_type, num_edge_types=facts.get(NUM_EDGE_TYPES), edge_time=edge_time)
    if GRAPH_SIZES in facts:
        sizes: list[Size] = facts[GRAPH_SIZES]
        if owner is not None and (side is not None or SIZE not in facts):
            count = Counter((0 if side is None else side[node], k) for node, k in owner.items())
            sizes = [(count[0, k], count[int(side is not None), k]) for k in range(len(sizes))]
        out = out.as_batch(sizes)
    if node_attrs is None and edge_attrs is None:
        return out
    x = edge_attr = None
    if node_attrs is not None:
        called = ((f"node {node!r}", graph.nodes[node]) for node in nodes)
        x = attribute_rows(called, node_attrs, "node_attrs")
    if edge_attrs is not None:
        named = ((f"edge ({nodes[u]!r}, {nodes[v]!r})", a) for u, v, a in edges)
        edge_attr = attribute_rows(named, edge_attrs, "edge_attrs")
    return Attributed(out, x, edge_attr)


def _told(graph: networkx.Graph, name: str) -> dict[Any, int] | None:
    """An attribute that every node has as a count; None if one has not."""
    told = dict(graph.nodes(data=name))
    return told if all(isinstance(k, int) and k >= 0 for k in told.values()) else None


def _edge_types(attributes: list[dict[str, Any]], typed: bool) -> Tensor | None:
    types = _on_all_edges(attributes, EDGE_TYPE, typed)
    for one in types or ():
        if not isinstance(one, int | np.integer):
            raise TypeError(f"{EDGE_TYPE} must be an integer on every edge, got {one!r}.")
    return None if types is None else torch.tensor(types, dtype=torch.int64)


def edge_times(attributes: list[dict[str, Any]], facts: dict[str, Any]) -> Tensor | None:
    """The times of edges, int64 or what `facts` of their graph say; None where edges have none."""
    times = _on_all_edges(attributes, EDGE_TIME, TIME_DTYPE in facts)
    for one in times or ():
        if isinstance(one, bool) or not isinstance(one, int | float | np.integer | np.floating):
            raise TypeError(f"{EDGE_TIME} must be a number on every edge, got {one!r}.")
    if times is None:
        return None
    are_integers = all(isinstance(one, int | np.integer) for one in times)
    known = TIME_DTYPES.get(facts.get(TIME_DTYPE, ""), torch.int64 if are_integers else torch.float64)
    return torch.tensor(times, dtype=known if known.is_floating_point or are_integers else torch.float64)


TIME_DTYPES = {
    str(dtype): dtype for dtype in (torch.int64, torch.float64, torch.float32, torch.float16, torch.bfloat16)
}


def _on_all_edges(attributes: list[dict[str, Any]], name: str, there: bool) -> list[Any] | None:
    """What all edges have under a name; None if none has, or if there are no edges and it is not `there`."""
    values = [a[name] for a in attributes if name in a]
    if not values and not (there and not attributes):
        return None
    if len(values) != len(attributes):
        raise ValueError(f"{len(values)} of {len(attributes)} edges have an {name}: give one to all or none.")
    return values


def to_networkx(graph: Graph) -> networkx.DiGraph | networkx.MultiDiGraph:
    """A `networkx.DiGraph`, or a `MultiDiGraph` when edges repeat.

    Edges have the attributes `edge_id` and, where there are such, `edge_type` and `edge_time`.

    The destinations of a bipartite graph are numbered behind its sources.
    """
    sources, destinations = graph.edge_index.tolist()
    repeated = len(set(zip(sources, destinations, strict=True))) < graph.num_edges
    out = networkx.MultiDiGraph() if repeated else networkx.DiGraph()
    if graph.is_bipartite:
        out.graph[SIZE] = graph.size
        out.add_nodes_from(range(graph.num_src), **{SIDE: 0})
        out.add_nodes_from(range(graph.num_src, sum(graph.size)), **{SIDE: 1})
        destinations = [graph.num_src + i for i in destinations]
    else:
        out.add_nodes_from(range(graph.num_nodes))
    if graph.edge_type is not None:
        out.graph[NUM_EDGE_TYPES] = graph.num_edge_types
    if graph.edge_time is not None:
        out.graph[TIME_DTYPE] = str(graph.edge_time.dtype)
    if graph.num_graphs > 1:
        out.graph[GRAPH_SIZES] = sizes = graph.graph_sizes
        sides = (0, 1) if graph.is_bipartite else (0,)
        owners = [k for side in sides for k, size in enumerate(sizes) for _ in range(size[side])]
        networkx.set_node_attributes(out, dict(enumerate(owners)), GRAPH_ID)
    attributes = [{EDGE_ID: e} for e in range(graph.num_edges)]
    for name, values in ((EDGE_TYPE, graph.edge_type), (EDGE_TIME, graph.edge_time)):
        if values is not None:
            attributes = [a | {name: value} for a, value in zip(attributes, values.tolist(), strict=True)]
    out.add_edges_from(zip(sources, destinations, attributes, strict=True))
    return out


def from_scipy(matrix: scipy.sparse.sparray) -> tuple[Graph, Tensor]:
    """A `Graph` and its edge values `[num_edges]` from a sparse matrix with entry `[source, destination]`.

    A square matrix gives an ordinary graph, any other a bipartite one. Stored zeros are edges, and entries
    stored twice are two edges.

    Raises:
        TypeError: no sparse matrix of two dimensions.
        ValueError: pointers or indices of the matrix contradict each other.
    """
    check_matrix(matrix)
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


def pyg() -> Any:
    """`torch_geometric.data`, which takes seconds to import and warns of what it does on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch_geometric.data
    return torch_geometric.data


def from_pyg(data: Data | HeteroData) -> Graph:
    """A `Graph` from PyG's `Data`, `Batch`, or a `HeteroData` with one edge type, bipartite if that has two
    node types.

    Only the topology is taken: `edge_index`, `num_nodes`, `edge_type`, where a batch's graphs begin, and the
    times of edges: `edge_time`, or `time` where PyG itself takes that for an attribute of edges.
    """
    if not isinstance(data, pyg().Data | pyg().HeteroData):
        raise TypeError(f"data must be PyG's Data or HeteroData, got {type(data).__name__}.")
    pointers = (data, data)
    num_nodes: int | Size | None
    if isinstance(data, pyg().HeteroData):
        if len(data.edge_types) != 1:
            raise ValueError(f"data has edge types {data.edge_types}: a Graph holds exactly one of them.")
        source, _, destination = data.edge_types[0]
        store, pointers = data[data.edge_types[0]], (data[source], data[destination])
        if source == destination:
            num_nodes = data[source].num_nodes
        else:
            num_nodes = (data[source].num_nodes, data[destination].num_nodes)
    else:
        store, num_nodes = data, data.num_nodes
    edge_index = store.get("edge_index")
    if edge_index is None:
        raise ValueError("data has no edge_index.")
    edge_type, relations = store.get(EDGE_TYPE), store.get(NUM_RELATIONS)
    if relations is not None:
        relations = int(torch.as_tensor(relations).max())  # a batch has one entry per graph
    edge_time = store.get(EDGE_TIME)
    if edge_time is None and TIME in store and store.is_edge_attr(TIME):
        edge_time = store[TIME]
    graph = Graph(edge_index, num_nodes, edge_type, num_edge_types=relations, edge_time=edge_time)
    if not isinstance(data, pyg().Batch):
        return graph
    return graph.as_batch(list(zip(*(end.ptr.diff().tolist() for end in pointers), strict=True)))


def to_pyg(graph: Graph) -> Data | HeteroData:
    """PyG's `Data`; its `Batch` for a batch of graphs; a `HeteroData` from "src" to "dst" when bipartite.

    A typed graph's number of relations is kept as `num_relations`, the times of edges as `edge_time`, which
    PyG's loaders take as `time_attr="edge_time"`.
    """
    if graph.num_graphs > 1:
        return pyg().Batch.from_data_list([to_pyg(one) for one in graph.unbatch()])
    carried: dict[str, Any] = {}
    if graph.edge_type is not None:
        carried = {EDGE_TYPE: graph.edge_type, NUM_RELATIONS: graph.num_edge_types}
    if graph.edge_time is not None:
        carried[EDGE_TIME] = graph.edge_time
    if not graph.is_bipartite:
        return pyg().Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes, **carried)
    data = pyg().HeteroData()
    data["src"].num_nodes, data["dst"].num_nodes = graph.size
    store = data["src", "to", "dst"]
    store.edge_index = graph.edge_index
    for name, value in carried.items():
        store[name] = value
    return data
