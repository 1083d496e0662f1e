"""Data as graphs: file format in, `Graph` and tensors out."""

from mpnn.datasets.record import DataError, NodeDataset, row_normalise
from mpnn.datasets.registry import DATASETS, Entry, load

__all__ = ["DATASETS", "DataError", "Entry", "NodeDataset", "load", "row_normalise"]
