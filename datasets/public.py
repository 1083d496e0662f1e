"""The public names of `mpnn.datasets`."""

from mpnn.datasets.errors import DataError
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.hetero_record import HeteroTables
from mpnn.datasets.hetero_tables import load_hetero_folder, load_hetero_tables, save_hetero_tables
from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.kinds import Dataset
from mpnn.datasets.mask_record import MaskDataset
from mpnn.datasets.own import (
    Columns,
    load_graphs,
    load_images,
    load_masks,
    load_own,
    load_tables,
    read_graphs,
)
from mpnn.datasets.record import NodeDataset, row_normalise
from mpnn.datasets.registry import DATASETS, Entry, called, load
from mpnn.datasets.table_plan import TablePlan
from mpnn.datasets.text_record import TextDataset, load_text
from mpnn.datasets.triples import load_triples, save_triples
from mpnn.datasets.tu import load_tu, read_tu

__all__ = [
    "DATASETS",
    "Columns",
    "DataError",
    "Dataset",
    "Entry",
    "GraphDataset",
    "HeteroTables",
    "ImageDataset",
    "MaskDataset",
    "NodeDataset",
    "TablePlan",
    "TextDataset",
    "called",
    "load",
    "load_graphs",
    "load_hetero_folder",
    "load_hetero_tables",
    "load_images",
    "load_masks",
    "load_own",
    "load_tables",
    "load_text",
    "load_triples",
    "load_tu",
    "read_graphs",
    "read_tu",
    "row_normalise",
    "save_hetero_tables",
    "save_triples",
]
