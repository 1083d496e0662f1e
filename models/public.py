"""The public names of `mpnn.models`."""

from mpnn.models.conv.appnp import APPNP
from mpnn.models.conv.cheb_conv import ChebConv
from mpnn.models.conv.degree_scaler import DegreeScaler, degree_histogram
from mpnn.models.conv.edge_conv import EdgeConv
from mpnn.models.conv.gat_conv import GATConv
from mpnn.models.conv.gated_graph_conv import GatedGraphConv
from mpnn.models.conv.gatv2_conv import GATv2Conv
from mpnn.models.conv.gcn_conv import GCNConv
from mpnn.models.conv.gin_conv import GINConv, GINEConv
from mpnn.models.conv.gnn_conv import GNNConv
from mpnn.models.conv.graph_conv import GraphConv
from mpnn.models.conv.hetero_conv import HeteroConv
from mpnn.models.conv.hgt_conv import HGTConv
from mpnn.models.conv.mpnn_conv import MPNNConv
from mpnn.models.conv.nn_conv import NNConv
from mpnn.models.conv.normalize import gcn_norm, scaled_laplacian
from mpnn.models.conv.pna_conv import PNAConv
from mpnn.models.conv.registry import CONVS, Conv
from mpnn.models.conv.rgat_conv import RGATConv
from mpnn.models.conv.rgcn_conv import RGCNConv
from mpnn.models.conv.sage_conv import SAGEConv
from mpnn.models.conv.sg_conv import SGConv
from mpnn.models.conv.tag_conv import TAGConv
from mpnn.models.conv.transformer_conv import TransformerConv
from mpnn.models.dense.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from mpnn.models.dense.diagonal_rnn import DiagonalRNN
from mpnn.models.dense.key_values import KeyValues
from mpnn.models.dense.multihead_attention import MultiheadAttention
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.dense.pooling_grid import (
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
from mpnn.models.dense.positions import PositionalEncoding, SinusoidalPositions
from mpnn.models.dense.recurrent import GRU, LSTM, RNN
from mpnn.models.dense.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from mpnn.models.embedding.node2vec import Node2Vec
from mpnn.models.embedding.skip_gram import SkipGram
from mpnn.models.energy.annealed import Annealed, annealed_log_partition
from mpnn.models.energy.boltzmann_learning import BoltzmannLearning, noisy
from mpnn.models.energy.boltzmann_machine import BoltzmannMachine
from mpnn.models.energy.contrastive import ContrastiveDivergence
from mpnn.models.energy.dbn import DBN
from mpnn.models.energy.hopfield import HopfieldNetwork
from mpnn.models.energy.hopfield_layers import Hopfield, HopfieldLayer, HopfieldPooling
from mpnn.models.energy.modern_hopfield import ModernHopfieldNetwork
from mpnn.models.energy.rbm import RBM
from mpnn.models.language.bert import Bert
from mpnn.models.language.bert_heads import BertForMaskedLM, BertForSequenceClassification
from mpnn.models.language.sentences import SentenceEncoder
from mpnn.models.language.translation import Seq2Seq
from mpnn.models.language.translation_transformer import TranslationTransformer
from mpnn.models.language.tree_lstm import NaryTreeLSTM, TreeLSTM
from mpnn.models.language.word_pieces import WordPieces
from mpnn.models.networks.autoencoder import GAE, VGAE, DotProduct, InnerProductDecoder, PairMLP
from mpnn.models.networks.causal_transformer import CausalTransformer
from mpnn.models.networks.ensemble import Ensemble
from mpnn.models.networks.gnn import GNN
from mpnn.models.networks.graph_classifier import GIN, GINClassifier, GraphClassifier
from mpnn.models.networks.jumping_knowledge import JumpingKnowledge
from mpnn.models.networks.language_model import LanguageModel
from mpnn.models.networks.lenet import LeNet
from mpnn.models.networks.norms import NORMS, BatchNorm, GraphNorm, LayerNorm, PairNorm
from mpnn.models.networks.pooling import (
    AttentionalAggregation,
    GlobalPool,
    global_add_pool,
    global_max_pool,
    global_mean_pool,
)
from mpnn.models.networks.recurrent_lm import RecurrentLM
from mpnn.models.networks.topk_pooling import TopKPooling
from mpnn.models.networks.virtual_node import VirtualNode
from mpnn.models.neurons.autoencoder import Autoencoder, AutoencoderLayer, MaskingNoise
from mpnn.models.neurons.kernel_perceptron import KernelPerceptron
from mpnn.models.neurons.kernels import PolynomialKernel, RadialKernel
from mpnn.models.neurons.neuron_graph import Backpropagated, NeuronGraph, layered
from mpnn.models.neurons.perceptron import Perceptron
from mpnn.models.neurons.rbf_network import RBFNetwork
from mpnn.models.neurons.som import SelfOrganisingMap
from mpnn.models.neurons.vae import VariationalAutoencoder
from mpnn.models.vision.blocks import BasicBlock, Bottleneck
from mpnn.models.vision.fcn import FCN, fcn_for, fcn_resnet50
from mpnn.models.vision.googlenet import GoogLeNet, googlenet
from mpnn.models.vision.pixels import Hexagons, Pixels
from mpnn.models.vision.points import Points
from mpnn.models.vision.resnet import (
    ResNet,
    resnet18,
    resnet20,
    resnet34,
    resnet50,
    resnet_for,
)

__all__ = [
    "APPNP",
    "CONVS",
    "DBN",
    "FCN",
    "GAE",
    "GIN",
    "GNN",
    "GRU",
    "LSTM",
    "NORMS",
    "RBM",
    "RNN",
    "VGAE",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "Annealed",
    "AttentionalAggregation",
    "Autoencoder",
    "AutoencoderLayer",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Backpropagated",
    "BasicBlock",
    "BatchNorm",
    "BatchNorm2d",
    "Bert",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BoltzmannLearning",
    "BoltzmannMachine",
    "Bottleneck",
    "CausalTransformer",
    "ChebConv",
    "ContrastiveDivergence",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DegreeScaler",
    "DiagonalRNN",
    "DotProduct",
    "EdgeConv",
    "Ensemble",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINClassifier",
    "GINConv",
    "GINEConv",
    "GNNConv",
    "GatedGraphConv",
    "GlobalPool",
    "GoogLeNet",
    "GraphClassifier",
    "GraphConv",
    "GraphNorm",
    "HGTConv",
    "HeteroConv",
    "Hexagons",
    "Hopfield",
    "HopfieldLayer",
    "HopfieldNetwork",
    "HopfieldPooling",
    "InnerProductDecoder",
    "JumpingKnowledge",
    "KernelPerceptron",
    "KeyValues",
    "LanguageModel",
    "LayerNorm",
    "LeNet",
    "Linear",
    "MPNNConv",
    "MaskingNoise",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "ModernHopfieldNetwork",
    "MultiheadAttention",
    "NNConv",
    "NaryTreeLSTM",
    "NeuronGraph",
    "Node2Vec",
    "PNAConv",
    "PairMLP",
    "PairNorm",
    "Perceptron",
    "Pixels",
    "Points",
    "PolynomialKernel",
    "PositionalEncoding",
    "RBFNetwork",
    "RGATConv",
    "RGCNConv",
    "RadialKernel",
    "RecurrentLM",
    "ResNet",
    "SAGEConv",
    "SGConv",
    "SelfOrganisingMap",
    "SentenceEncoder",
    "Seq2Seq",
    "SinusoidalPositions",
    "SkipGram",
    "TAGConv",
    "TopKPooling",
    "Transformer",
    "TransformerConv",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TranslationTransformer",
    "TreeLSTM",
    "VariationalAutoencoder",
    "VirtualNode",
    "WordPieces",
    "annealed_log_partition",
    "degree_histogram",
    "fcn_for",
    "fcn_resnet50",
    "gcn_norm",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "googlenet",
    "layered",
    "noisy",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "resnet_for",
    "scaled_laplacian",
]
