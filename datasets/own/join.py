"""New nodes and edges, in tables of your own, join a graph that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.own.arrays import read_features
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.connect import each_once
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.naming import check_names
from mpnn.datasets.own.nodes import name_column, names_of
from mpnn.datasets.own.table_file import edges_of_table
from mpnn.datasets.problems import raise_all
from mpnn.datasets.record import NodeDataset
from mpnn.datasets.tables import TableOrPath, as_table
from mpnn.graph.graph import Graph


@dataclass(frozen=True)
class NewNodes:
    """A graph that has grown.

    Args:
        graph: known nodes and edges first, and new ones behind them.
        names: of the nodes.
        rows: positions of the nodes that the new table holds, in its order.
        table: its columns, or None without a table.
        array: features of its nodes besides its columns, or None.
        origin: of each edge, its position among the known edges and, behind them, the new ones.
        edge_table: columns of the new edges, or None.
        edge_weight: their weights, or None.
    """

    graph: Graph
    names: tuple[str, ...]
    rows: list[int]
    table: pd.DataFrame | None
    origin: Tensor
    edge_table: pd.DataFrame | None = None
    edge_weight: Tensor | None = None
    array: Tensor | None = None


def join(
    known: NodeDataset,
    nodes: TableOrPath | None,
    edges: TableOrPath | None,
    columns: Columns,
    features: Any = None,
    width: int = 0,
) -> NewNodes:
    """Add nodes and edges to a graph; an edge that is there already stays as it was.

    Args:
        known: the graph, whose nodes have names.
        nodes: a table of nodes, or None: then the answers are for all ends of the edges.
        edges: a table of edges, or None.
        columns: which column is what; labels are not needed.
        features: of the new nodes besides their columns, see `read_features`, or None.
        width: how many of these the model reads.

    Raises:
        DataError: an edge ends at a node that is neither known nor new; it names all of them.
    """
    columns = replace(columns, label=None, edge_label=None, part=None)
    listed = EdgeList([], []) if edges is None else edges_of_table(as_table(edges, "edges"), columns)
    place = {name: k for k, name in enumerate(known.node_names)}
    table = None if nodes is None else as_table(nodes, "nodes")
    asked = listed.names
    if table is not None:
        strange = [name for name in listed.names if name not in place]
        if columns.node_id is None:
            columns = replace(columns, node_id=known.node_column or name_column(table, columns, strange))
        check_names(table, columns, ("node_id",))
        asked = names_of(table, columns)
        for name in asked:
            place.setdefault(name, len(place))
    raise_all(
        f"{listed.path}{listed.line(k)}: node {name!r} is neither among the new nodes nor among those that "
        "the model was trained on"
        for k, ends in enumerate(listed.ends)
        for name in ends
        if name not in place
    )
    ends = [[place[i], place[j]] for i, j in listed.ends]
    new = torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).T
    row = torch.arange(new.size(1)) + known.graph.num_edges
    if not columns.directed:
        new, row = torch.cat([new, new.flip(0)], dim=1), row.repeat(2)
    edge_index = torch.cat([known.graph.edge_index.cpu(), new], dim=1)
    first, _ = each_once(edge_index, len(place), None, 1)
    origin = torch.cat([torch.arange(known.graph.num_edges), row])[first]
    return NewNodes(
        Graph(edge_index[:, first].contiguous(), len(place)),
        tuple(place),
        [place[name] for name in asked],
        None if table is None else table.features({columns.node_id}),
        origin,
        listed.table,
        listed.attr,
        None if features is None else read_features(features, asked, width),
    )
