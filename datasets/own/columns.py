"""Which column of your own tables is what: the one description that files, flags and settings share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpnn.datasets.errors import DataError


@dataclass(frozen=True)
class Columns:
    """Which column, or attribute, is what.

    Args:
        nodes: a table with a header and a row for each node: CSV, TSV or Parquet.
        features_file: features of nodes besides those of their table, see `mpnn.datasets.own.arrays`: a row
            for each node, in the order of the table of nodes; without one, row k is of the node called k.
        source, target: columns of the edge table; by default those of these names, else its first two.
        node_id: column of the node table; by default the first that holds the ends of all edges.
        label: column of the node table, or attribute of the nodes, that is to be learned; several, divided by
            commas, that hold 0 and 1 are labels, and a node may have any of them.
        graph_id: column of the node table that says which of several graphs a node is in; of whole graphs it
            may be of the edge table, or of both.
        graph_labels: a table with a row for each graph, which holds its graph_id and label; without it the
            label is a column of the other tables.
        smiles: column that holds a molecule in each row, a graph of its own; label and graph_id are then
            columns of that table.
        part: column of the node table that says what a node is for: train, val, test, or nothing.
        edge_label: column of the edge table, or attribute of the edges, that is to be learned.
        edge_type: column of the edge table, or attribute of the edges, that says which relation an edge is.
        edge_weight: column of the edge table, or attribute of the edges, that weighs them; other columns of
            numbers must then be named in `ignore`.
        ignore: columns of either table that are no features, divided by commas; of a file of PyTorch
            Geometric, `edge_attr`, `edge_weight` or `edge_type`.
        directed: leave edges as they are; by default each is there in both directions.

    >>> sorted(Columns(ignore="age, height").ignored)
    ['age', 'height']
    """

    nodes: str | None = None
    features_file: str | None = None
    source: str | None = None
    target: str | None = None
    node_id: str | None = None
    label: str | None = None
    graph_id: str | None = None
    graph_labels: str | None = None
    smiles: str | None = None
    part: str | None = None
    edge_label: str | None = None
    edge_type: str | None = None
    edge_weight: str | None = None
    ignore: str | None = None
    directed: bool = False

    @property
    def ignored(self) -> set[str]:
        """The columns that `ignore` names."""
        return set() if self.ignore is None else {name.strip() for name in self.ignore.split(",")}

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Raise DataError if one of these is given; `why` is the second half of the sentence."""
        for name in names:
            if getattr(self, name) is not None:
                raise DataError(f"{name} is {getattr(self, name)!r}, but {why}")
