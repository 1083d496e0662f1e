"""Layers and models: PyTorch Geometric's names, arguments and state_dicts on the one message-passing core."""

from mpnn.models.appnp import APPNP
from mpnn.models.autoencoder import GAE, VGAE, DotProduct, PairMLP
from mpnn.models.causal_transformer import CausalTransformer
from mpnn.models.cheb_conv import ChebConv
from mpnn.models.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from mpnn.models.convs import CONVS, Conv
from mpnn.models.degree_scaler import DegreeScaler, degree_histogram
from mpnn.models.edge_conv import EdgeConv
from mpnn.models.gat_conv import GATConv
from mpnn.models.gated_graph_conv import GatedGraphConv
from mpnn.models.gatv2_conv import GATv2Conv
from mpnn.models.gcn_conv import GCNConv
from mpnn.models.gin_conv import GINConv, GINEConv
from mpnn.models.gnn import GNN
from mpnn.models.gnn_conv import GNNConv
from mpnn.models.graph_classifier import GIN, GraphClassifier
from mpnn.models.graph_conv import GraphConv
from mpnn.models.jumping_knowledge import JumpingKnowledge
from mpnn.models.language_model import LanguageModel
from mpnn.models.lenet import LeNet
from mpnn.models.mpnn_conv import MPNNConv
from mpnn.models.multihead_attention import MultiheadAttention
from mpnn.models.neurons import Linear
from mpnn.models.nn_conv import NNConv
from mpnn.models.node2vec import Node2Vec
from mpnn.models.normalize import gcn_norm, scaled_laplacian
from mpnn.models.norms import NORMS, BatchNorm, GraphNorm, LayerNorm, PairNorm
from mpnn.models.pna_conv import PNAConv
from mpnn.models.pooling import (
    AttentionalAggregation,
    GlobalPool,
    global_add_pool,
    global_max_pool,
    global_mean_pool,
)
from mpnn.models.pooling_grid import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from mpnn.models.recurrent import GRU, LSTM, RNN
from mpnn.models.recurrent_lm import RecurrentLM
from mpnn.models.rgcn_conv import RGCNConv
from mpnn.models.sage_conv import SAGEConv
from mpnn.models.sg_conv import SGConv
from mpnn.models.skip_gram import SkipGram
from mpnn.models.tag_conv import TAGConv
from mpnn.models.topk_pooling import TopKPooling
from mpnn.models.transformer import (
    PositionalEncoding,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from mpnn.models.transformer_conv import TransformerConv
from mpnn.models.virtual_node import VirtualNode

__all__ = [
    "APPNP",
    "CONVS",
    "GAE",
    "GIN",
    "GNN",
    "GRU",
    "LSTM",
    "NORMS",
    "RNN",
    "VGAE",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AttentionalAggregation",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "CausalTransformer",
    "ChebConv",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DegreeScaler",
    "DotProduct",
    "EdgeConv",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "GINEConv",
    "GNNConv",
    "GatedGraphConv",
    "GlobalPool",
    "GraphClassifier",
    "GraphConv",
    "GraphNorm",
    "JumpingKnowledge",
    "LanguageModel",
    "LayerNorm",
    "LeNet",
    "Linear",
    "MPNNConv",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MultiheadAttention",
    "NNConv",
    "Node2Vec",
    "PNAConv",
    "PairMLP",
    "PairNorm",
    "PositionalEncoding",
    "RGCNConv",
    "RecurrentLM",
    "SAGEConv",
    "SGConv",
    "SkipGram",
    "TAGConv",
    "TopKPooling",
    "Transformer",
    "TransformerConv",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "VirtualNode",
    "degree_histogram",
    "gcn_norm",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "scaled_laplacian",
]
