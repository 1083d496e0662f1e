"""Data as graphs: file format in, `Graph` and tensors out."""

from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.record import DataError, NodeDataset, row_normalise
from mpnn.datasets.registry import DATASETS, Dataset, Entry, load
from mpnn.datasets.tu import load_tu, read_tu

__all__ = [
    "DATASETS",
    "DataError",
    "Dataset",
    "Entry",
    "GraphDataset",
    "NodeDataset",
    "load",
    "load_tu",
    "read_tu",
    "row_normalise",
]
