"""Every kind of record that a data set is."""

from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.mask_record import MaskDataset
from mpnn.datasets.record import NodeDataset
from mpnn.datasets.text_record import TextDataset

Dataset = NodeDataset | GraphDataset | ImageDataset | MaskDataset | TextDataset
