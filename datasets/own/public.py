"""The public names of `mpnn.datasets.own`."""

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.graphs import load_graphs, read_graphs
from mpnn.datasets.own.images import load_images
from mpnn.datasets.own.join import NewNodes, join
from mpnn.datasets.own.load import load_own, load_tables
from mpnn.datasets.own.masks import load_masks
from mpnn.datasets.own.molecules import load_smiles
from mpnn.datasets.own.readers import ENDINGS

__all__ = [
    "ENDINGS",
    "Columns",
    "NewNodes",
    "join",
    "load_graphs",
    "load_images",
    "load_masks",
    "load_own",
    "load_smiles",
    "load_tables",
    "read_graphs",
]
