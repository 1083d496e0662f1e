"""Layers and models: PyTorch Geometric's names, arguments and state_dicts on the one message-passing core."""

from mpnn.models.convs import CONVS, Conv
from mpnn.models.gat_conv import GATConv
from mpnn.models.gatv2_conv import GATv2Conv
from mpnn.models.gcn_conv import GCNConv
from mpnn.models.gin_conv import GINConv, GINEConv
from mpnn.models.gnn import GNN
from mpnn.models.gnn_conv import GNNConv
from mpnn.models.graph_conv import GraphConv
from mpnn.models.jumping_knowledge import JumpingKnowledge
from mpnn.models.normalize import gcn_norm
from mpnn.models.norms import NORMS, BatchNorm, GraphNorm, LayerNorm, PairNorm
from mpnn.models.sage_conv import SAGEConv
from mpnn.models.transformer_conv import TransformerConv

__all__ = [
    "CONVS",
    "GNN",
    "NORMS",
    "BatchNorm",
    "Conv",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "GINEConv",
    "GNNConv",
    "GraphConv",
    "GraphNorm",
    "JumpingKnowledge",
    "LayerNorm",
    "PairNorm",
    "SAGEConv",
    "TransformerConv",
    "gcn_norm",
]
