"""Molecules from a column of SMILES, a graph for each row, as PyTorch Geometric and RDKit read them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.naming import check_ignored
from mpnn.datasets.problems import Problems
from mpnn.datasets.record import DataError
from mpnn.datasets.tables import Answers, Table, answers, label_columns
from mpnn.graph.graph import Graph

OTHERS = (
    *("nodes", "features_file", "source", "target", "node_id", "graph_labels", "part"),
    *("edge_label", "edge_type", "edge_weight"),
)
NOT_KNOWN = ("not known",)
SHOWN = 3  # molecules in a sentence


def load_smiles(table: Table, columns: Columns, *, answered: bool = True) -> GraphDataset:
    """Make a graph of each row: atoms are nodes, and a bond is an edge in both directions.

    What PyG's `from_smiles` says of atoms and bonds (element, charge, ring, kind of bond, ...) is one-hot, in
    its order, equally wide for all molecules. Other columns are not used, of which a warning tells.

    Args:
        table: a row for each molecule.
        columns: which column holds the SMILES, which the label, and which, if one does, the names.
        answered: whether there are labels; without, y is 0 everywhere.

    Raises:
        DataError: RDKit is not installed, a column is missing, or a cell is no molecule.
    """
    columns.refuse(OTHERS, "a molecule is read from its SMILES alone")
    if answered and columns.label is None:
        raise DataError("label is not given: it is the column that says what is to be learned of a molecule")
    problems = Problems()
    asked = [] if columns.label is None or not answered else label_columns(table, columns.label)
    named = [str(columns.smiles), *asked, *([] if columns.graph_id is None else [columns.graph_id])]
    for name in named:
        if name not in table.header:
            problems.append(table.lack_of(name))
    if answered:
        with problems.gather():
            check_ignored(columns, table.header)
    problems.raise_all()
    left = [name for name in table.header if name not in {*named} | columns.ignored]
    if left and answered and not (table.nameless and left == [table.header[0]]):
        warnings.warn(
            f"{table.path} has other columns ({', '.join(left)}), which are not used, since a molecule is "
            "read from its SMILES alone: name them in ignore",
            stacklevel=3,
        )
    said = table.column(str(columns.smiles))
    molecules = _molecules(table, said)
    count = len(molecules)
    found = (
        answers(table, str(columns.label))
        if answered
        else Answers(torch.zeros(count, dtype=torch.int64), NOT_KNOWN, torch.ones(count, dtype=torch.bool))
    )
    return GraphDataset(
        table.path.name.split(".")[0],
        tuple(Graph(one.edge_index, one.num_nodes) for one in molecules),
        tuple(_one_hot(one.x, _sizes("x_map")) for one in molecules),
        found.y,
        found.names,
        tuple(_one_hot(one.edge_attr, _sizes("e_map")) for one in molecules),
        known=None if bool(found.known.all()) else found.known,
        graph_names=_names(table, columns, said),
    )


def _molecules(table: Table, said: list[str]) -> list[Any]:
    """PyG's `Data` of each row."""
    from torch_geometric.utils import smiles as theirs  # slow to import: only where it is needed

    try:
        molecules = [theirs.from_smiles(one) for one in said]
    except ImportError:
        raise DataError(
            f"{table.path} holds SMILES, which RDKit reads: install rdkit, or give the graphs as tables"
        ) from None
    bad = [row for row, one in enumerate(molecules) if one.num_nodes == 0]
    if bad:
        shown = ", ".join(f"{said[row]!r} in {table.unit} {table.lines[row]}" for row in bad[:SHOWN])
        raise DataError(
            f"{table.path}: {len(bad)} of {len(said)} cells are no molecules that RDKit understands, such as "
            f"{shown}: mend or remove them"
        )
    return molecules


def _names(table: Table, columns: Columns, said: list[str]) -> tuple[str, ...]:
    """The column that names the molecules, else the SMILES themselves if they are all different."""
    names = said if columns.graph_id is None else table.column(columns.graph_id)
    if len({*names}) == len(names):
        return tuple(names)
    if columns.graph_id is None:
        return ()
    twice = next(row for row, name in enumerate(names) if name in names[:row])
    raise DataError(f"{table.place(twice)}: {columns.graph_id} is {names[twice]!r}, which is there already")


def _sizes(which: str) -> list[int]:
    """How many values each fact of an atom (`x_map`) or bond (`e_map`) may have."""
    from torch_geometric.utils import smiles as theirs

    return [len(values) for values in getattr(theirs, which).values()]


def _one_hot(facts: Tensor, sizes: list[int]) -> Tensor:
    parts = [F.one_hot(column, size) for column, size in zip(facts.T, sizes, strict=True)]
    return torch.cat(parts, dim=1).to(torch.get_default_dtype())
