"""Which reader reads which file. To add a format: a reader in a file of its own, and its line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.list_file import read_edge_list
from mpnn.datasets.own.matrix_file import read_matrix
from mpnn.datasets.own.networkx_file import read_networkx
from mpnn.datasets.own.table_file import read_edge_table
from mpnn.datasets.record import DataError

READERS: dict[str, Callable[[Path, Columns], EdgeList]] = {
    ".csv": read_edge_table,
    ".tsv": read_edge_table,
    ".parquet": read_edge_table,
    ".txt": read_edge_list,
    ".edges": read_edge_list,
    ".graphml": read_networkx,
    ".gml": read_networkx,
    ".gexf": read_networkx,
    ".json": read_networkx,
    ".mtx": read_matrix,
    ".npz": read_matrix,
}
ENDINGS = (*READERS, ".pt")


def read_edges(path: Path, columns: Columns) -> EdgeList:
    """Read the edges of a file by the reader that its ending names.

    Raises:
        DataError: the file is damaged, or of a kind that has no reader.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READERS:
        raise DataError(f"{path} is of no known kind: its name should end in {', '.join(ENDINGS)}")
    return READERS[suffix](path, columns)
