"""The architectures of docs/unification.md: what its tables say of each, and its oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from energy_oracles import boltzmann_machine, dbn, hopfield, modern_hopfield, rbm, sparse_rbm
from hetero_oracles import hetero_conv, hgt
from language_oracles import bahdanau, bert, nary_tree_lstm, sparse_bert
from neuron_oracles import kernel_perceptron, learned_perceptron, neuron_graph, rbf_network
from oracles import (
    LENGTH,
    Case,
    adaptive,
    as_pyg,
    attention,
    batch_norm,
    causal_attention,
    convolution,
    dag_rnn,
    diagonal_rnn,
    encoder_layer,
    gnn_loop,
    grouped,
    holes,
    linear,
    mpnn_loop,
    perceptron,
    pooling,
    pruned,
    recurrent,
    residual_block,
    self_organising_map,
    sparse_attention,
    tied_autoencoder,
    time_delay,
    transposed,
    tree_lstm,
    variational_autoencoder,
    window,
)

from mpnn import topology


class Row(NamedTuple):
    """One architecture."""

    name: str
    links: str  # classes, and the file of `models/` that has them: "dense/convolution Conv1d Conv2d"
    topology: str
    message: str
    aggregate: str
    schedule: str
    kernel: str
    equation: str
    oracle: str
    cases: Callable[[], list[Case]]


# The pieces of the tables -----------------------------------------------------------------------------------

ANY = "any graph"
PAIRS = "any graph, both directions"
PARALLEL = "parallel"
TOPOLOGICAL = "[topological](../mpnn/layer/schedule.py)"
NONE = "none: a [loop in C](../mpnn/backends/cpu.py)"
SOFTMAX = "softmax"


def grid_of(text: str) -> str:
    return f"[grid](../mpnn/topology/grid.py){text}"


def topology_of(*names: str) -> str:
    files = {"causal": "band", "complete bipartite": "complete"}
    return ", ".join(f"[{name}](../mpnn/topology/{files.get(name, name)}.py)" for name in names)


def kernel_of(file: str, name: str) -> str:
    return f"[{name}](../mpnn/lowering/{file}.py)"


# The list ---------------------------------------------------------------------------------------------------


def graph_layer(
    name: str, file: str, message: str, aggregate: str, equation: str, cases: Any, schedule: str = PARALLEL
) -> Row:
    oracle = "loop over nodes" if cases in (gnn_loop, mpnn_loop) else f"PyG's `{name}`"
    link = f"conv/{file} {name}"
    return Row(name, link, ANY, message, aggregate, schedule, NONE, equation, oracle, cases)


SDPA = kernel_of("dot_product_attention", "`scaled_dot_product_attention`")
DOT = "(q_i·k_j / √d, v_j)"
ATTENTION = "W_o Σ_j softmax_j(q_i·k_j / √d) v_j"
HEADS = "dense/multihead_attention MultiheadAttention"
LINKS = "dense/recurrent "
MASKED = "`torch.nn.MultiheadAttention` with a mask"
BY_SIDES = "alternating: visible units, hidden units"
FREE_ENERGY = "σ(b_i + Σ_j w_ij s_j), F = -b·v - Σ_j log(1 + exp(c_j + Σ_i w_ij v_i))"
RELATIONAL = "W[type of j→i] x_j"

ROWS = [
    graph_layer("GNNConv", "gnn_conv", "W h_j", "mean", "relu(W h_i + mean_j W h_j + b)", gnn_loop),
    graph_layer("GCNConv", "gcn_conv", "W h_j / √(d_i d_j)", "sum",
                "W Σ_j h_j / √(d_i d_j) + b, j with i itself", as_pyg("GCNConv(6, 4)", "edge_weight")),
    graph_layer("GraphConv", "graph_conv", "e_ij h_j", "sum", "W_1 h_i + W_2 Σ_j e_ij h_j",
                as_pyg("GraphConv(6, 4)", "edge_weight")),
    graph_layer("SAGEConv", "sage_conv", "h_j", "mean", "W_1 h_i + W_2 mean_j h_j", as_pyg("SAGEConv(6, 4)")),
    graph_layer("GINConv", "gin_conv", "h_j", "sum", "f((1 + ε) h_i + Σ_j h_j)",
                as_pyg("GINConv(network(6, 4), eps=0.3, train_eps=True)")),
    graph_layer("GINEConv", "gin_conv", "relu(h_j + W e_ij)", "sum",
                "f((1 + ε) h_i + Σ_j relu(h_j + W e_ij))",
                as_pyg("GINEConv(network(6, 4), edge_dim=3)", "edge_attr")),
    graph_layer("GATConv", "gat_conv", "(LeakyReLU(a·W h_i + a'·W h_j), W h_j)", SOFTMAX,
                "Σ_j softmax_j(LeakyReLU(a·W h_i + a'·W h_j)) W h_j + b",
                as_pyg("GATConv(6, 4, heads=2, edge_dim=3)", "edge_attr")),
    graph_layer("GATv2Conv", "gatv2_conv", "(a·LeakyReLU(V h_i + W h_j), W h_j)", SOFTMAX,
                "Σ_j softmax_j(a·LeakyReLU(V h_i + W h_j)) W h_j + b",
                as_pyg("GATv2Conv(6, 4, heads=2, edge_dim=3)", "edge_attr")),
    graph_layer("TransformerConv", "transformer_conv", DOT, SOFTMAX,
                "W h_i + Σ_j softmax_j(q_i·k_j / √d) v_j",
                as_pyg("TransformerConv(6, 4, heads=2, edge_dim=3)", "edge_attr")),
    graph_layer("RGCNConv", "rgcn_conv", "W[type of j→i] h_j", "mean per type",
                "W h_i + Σ_r mean_{j of type r} W_r h_j + b", as_pyg("RGCNConv(6, 4, 3)", "edge_type")),
    graph_layer("RGATConv", "rgat_conv", "W[type of j→i] h_j", SOFTMAX,
                "Σ_j softmax_j(LeakyReLU(Q·W_r h_i + K·W_r h_j)) W_r h_j + b",
                as_pyg("RGATConv(6, 4, 3, heads=2)", "edge_type")),
    graph_layer("HeteroConv", "hetero_conv", "by the relation: W_r h_j", "mean per relation, sum of these",
                "Σ_r layer_r(h_j → h_i), with SAGE and with GAT", hetero_conv),
    graph_layer("HGTConv", "hgt_conv", "M_r V h_j", SOFTMAX,
                "β W_out gelu(Σ_j softmax_j((Q h_i)·(A_r K h_j) μ_r / √d) M_r V h_j) + (1 - β) h_i", hgt),
    graph_layer("EdgeConv", "edge_conv", "f(h_i ‖ h_j - h_i)", "max", "max_j f(h_i ‖ h_j - h_i)",
                as_pyg("EdgeConv(network(12, 4))")),
    graph_layer("NNConv", "nn_conv", "f(e_ij) h_j", "sum", "W h_i + Σ_j f(e_ij) h_j + b, f(e_ij) a matrix",
                as_pyg("NNConv(6, 4, network(3, 24))", "edge_attr")),
    graph_layer("PNAConv", "pna_conv", "f(h_i ‖ h_j ‖ W e_ij)", "mean, min, max, std, scaled by degree",
                "V g(h_i ‖ ⨁_j f(h_i ‖ h_j ‖ W e_ij))",
                as_pyg("PNAConv(6, 4, ['mean', 'min', 'max', 'std'], ['identity', 'amplification', "
                       "'attenuation'], deg=HISTOGRAM, edge_dim=3)", "edge_attr")),
    graph_layer("GatedGraphConv", "gated_graph_conv", "e_ij W h_j", "sum",
                "GRU(Σ_j e_ij W h_j, h_i), L times", as_pyg("GatedGraphConv(6, 3)", "edge_weight"),
                "parallel, L times"),
    graph_layer("ChebConv", "cheb_conv", "L̂_ij t_j", "sum", "Σ_k T_k(L̂) h W_k + b",
                as_pyg("ChebConv(6, 4, 3)", "edge_weight"), "parallel, K - 1 times"),
    graph_layer("APPNP", "appnp", "h_j / √(d_i d_j)", "sum", "(1 - α) Σ_j h_j / √(d_i d_j) + α h_i⁰, K times",
                as_pyg("APPNP(3, 0.1)", "edge_weight"), "parallel, K times"),
    graph_layer("SGConv", "sg_conv", "h_j / √(d_i d_j)", "sum", "Â^K h W + b",
                as_pyg("SGConv(6, 4, 2)", "edge_weight"), "parallel, K times"),
    graph_layer("TAGConv", "tag_conv", "h_j / √(d_i d_j)", "sum", "Σ_k Â^k h W_k + b",
                as_pyg("TAGConv(6, 4, 2)", "edge_weight"), "parallel, K times"),
    graph_layer("MPNNConv", "mpnn_conv", "f(h_i, h_j, e_ij)", "sum",
                "m_i = Σ_j f(h_i, h_j, e_ij), h_i' = g(h_i, m_i), e_ij' = u(h_i, m_i, h_j, m_j, e_ij)",
                mpnn_loop),
    Row("linear layer", "dense/neurons Linear", topology_of("complete bipartite") + " graph of neurons",
        "w_ij x_j", "sum", PARALLEL, kernel_of("linear", "matrix product"), "Σ_j w_ij x_j + b_i",
        "`torch.nn.Linear`", linear),
    Row("perceptron of two layers", "dense/neurons Linear", topology_of("complete bipartite") + ", twice",
        "w_ij x_j", "sum", "parallel, layer by layer", kernel_of("linear", "matrix products"),
        "V tanh(W x + b) + c", "`torch.nn.Linear`, twice", perceptron),
    Row("pruned linear layer", "dense/neurons Linear", "any bipartite graph", "w_ij x_j", "sum", PARALLEL,
        NONE, "Σ_{j→i} w_ij x_j + b_i", "matrix with zeros", pruned),
    Row("perceptron", "neurons/perceptron Perceptron", topology_of("complete bipartite"), "w_ij x_j", "sum",
        "parallel; edges learn after each sample", kernel_of("linear", "matrix product"),
        "sign(Σ_j w_ij x_j + b_i), w_ij + t_i x_j if t_i a_i ≤ 0", "scikit-learn's `Perceptron`",
        learned_perceptron),
    Row("kernel perceptron", "neurons/kernel_perceptron KernelPerceptron",
        topology_of("complete") + " graph of samples", "α_j t_j K(x_j, x_i)", "sum",
        "[asynchronous](../mpnn/step/schedule.py), until nothing changes",
        "none: a loop in C; `fit` makes products of [blocks](../models/neurons/kernel_perceptron.py)",
        "α_i + [t_i Σ_j α_j t_j K(x_j, x_i) ≤ 0]", "loop over samples", kernel_perceptron),
    Row("network of radial basis functions", "neurons/rbf_network RBFNetwork",
        topology_of("complete bipartite") + ", centres to samples", "w_c φ(ε ‖x_i - x_c‖)", "sum", PARALLEL,
        NONE, "Σ_c w_c φ(ε ‖x_i - x_c‖)", "matrix equation", rbf_network),
    Row("network of neurons", "neurons/neuron_graph NeuronGraph", "any directed acyclic graph", "w_ij h_j",
        "sum", TOPOLOGICAL, "none: a batch per level", "f(Σ_j w_ij h_j + b_i)", "loop over neurons",
        neuron_graph),
    Row("convolution", "dense/convolution Conv1d Conv2d Conv3d", grid_of(""), RELATIONAL, "sum", PARALLEL,
        kernel_of("convolution", "`conv1d`, `conv2d`, `conv3d`"), "Σ_j W[type of j→i] x_j + b",
        "`torch.nn.Conv1d`, `2d`, `3d`", convolution),
    Row("grouped, depthwise, dilated, pointwise convolution", "dense/convolution Conv2d", grid_of(""),
        RELATIONAL + ", W in blocks", "sum", PARALLEL, kernel_of("convolution", "`conv2d`"),
        "Σ_j W[type of j→i] x_j + b", "`torch.nn.Conv2d`", grouped),
    Row("time-delay network", "dense/convolution Conv1d", grid_of(""), RELATIONAL, "sum", PARALLEL,
        kernel_of("convolution", "`conv1d`"), "W (x_{i-2} ‖ x_i ‖ x_{i+2}) + b",
        "linear map of spliced frames", time_delay),
    Row("transposed convolution", "dense/convolution ConvTranspose1d ConvTranspose2d ConvTranspose3d",
        grid_of(", reversed"), RELATIONAL, "sum", PARALLEL,
        kernel_of("convolution", "`conv_transpose1d`, `2d`, `3d`"), "Σ_j W[type of j→i] x_j + b",
        "`torch.nn.ConvTranspose1d`, `2d`, `3d`", transposed),
    Row("convolution with holes", "dense/convolution Conv2d", "part of a grid", RELATIONAL, "sum", PARALLEL,
        "none: a matrix product [per type](../mpnn/plan/typed.py)", "Σ_j W[type of j→i] x_j + b",
        "`torch.nn.Conv2d`, zeros in the holes", holes),
    Row("max pooling", "dense/pooling_grid MaxPool1d MaxPool2d MaxPool3d", grid_of(""), "x_j", "max",
        PARALLEL, kernel_of("pooling", "`max_pool1d`, `2d`, `3d`"), "max_j x_j",
        "`torch.nn.MaxPool1d`, `2d`, `3d`", pooling("MaxPool")),
    Row("average pooling", "dense/pooling_grid AvgPool1d AvgPool2d AvgPool3d", grid_of(""), "x_j", "mean",
        PARALLEL, kernel_of("pooling", "`avg_pool1d`, `2d`, `3d`"), "mean_j x_j",
        "`torch.nn.AvgPool1d`, `2d`, `3d`", pooling("AvgPool")),
    Row("adaptive pooling", "dense/pooling_grid AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d",
        "[adaptive grid](../mpnn/topology/adaptive.py)", "x_j", "mean", PARALLEL,
        kernel_of("pooling", "`adaptive_avg_pool1d`, `2d`, `3d`"), "mean_j x_j",
        "`torch.nn.AdaptiveAvgPool1d`, `2d`, `3d`", adaptive),
    Row("batch normalisation", "dense/normalization BatchNorm2d",
        topology_of("complete bipartite") + ", to one node and back", "x_j, (x_j - mean_i)², the moments",
        "mean", "parallel, three times", "PyTorch's `batch_norm`, without a rule",
        "γ (x_i - mean) / √(var + ε) + β", "`torch.nn.BatchNorm2d`", batch_norm),
    Row("residual block", "vision/blocks BasicBlock", grid_of(", twice"), RELATIONAL, "sum",
        "parallel, layer by layer", kernel_of("convolution", "`conv2d`"),
        "relu(x + norm(W_2 * relu(norm(W_1 * x))))", "`torch.nn.Conv2d`, `BatchNorm2d`", residual_block),
    Row("Hopfield's network", "energy/hopfield HopfieldNetwork", PAIRS, "w_ij s_j", "sum",
        "[asynchronous](../mpnn/step/schedule.py) or parallel, until nothing changes", NONE,
        "sign(Σ_j w_ij s_j), E = -½ Σ_i s_i a_i", "matrix equation", hopfield),
    Row("modern Hopfield network", "energy/modern_hopfield ModernHopfieldNetwork",
        topology_of("complete bipartite"), "(β q_i·k_j, k_j)", SOFTMAX, "parallel, until nothing changes",
        SDPA, "Σ_j softmax_j(β q_i·k_j) k_j", "`scaled_dot_product_attention`", modern_hopfield),
    Row("Boltzmann machine", "energy/boltzmann_machine BoltzmannMachine", PAIRS, "w_ij s_j", "sum",
        "[alternating](../mpnn/step/schedule.py), colour by colour", NONE,
        "E = -½ Σ_i s_i a_i - Σ_i b_i s_i", "matrix equation", boltzmann_machine),
    Row("restricted Boltzmann machine", "energy/rbm RBM",
        topology_of("complete bipartite") + ", both directions", "w_ij v_i, w_ij h_j", "sum", BY_SIDES,
        kernel_of("linear", "matrix products"), FREE_ENERGY, "matrix equation", rbm),
    Row("RBM on a sparse graph", "energy/rbm RBM", "any bipartite graph, both directions",
        "w_ij v_i, w_ij h_j", "sum", BY_SIDES, NONE, FREE_ENERGY, "matrix with zeros", sparse_rbm),
    Row("deep belief network", "energy/dbn DBN", topology_of("complete bipartite") + ", layer on layer",
        "w_ij h_i", "sum", "layer by layer; on top alternating", kernel_of("linear", "matrix products"),
        "σ(c_j + Σ_i w_ij h_i)", "matrix equation", dbn),
    Row("self-organising map", "neurons/som SelfOrganisingMap",
        topology_of("lattice") + " or any graph, every unit by its distance", "h(c, k) x_n", "sum",
        "parallel, once a sample or a batch", kernel_of("linear", "matrix product"),
        "w_k + η Σ_n h(c_n, k) (x_n - w_k), in batches / Σ_n h(c_n, k)", "matrix equation",
        self_organising_map),
    Row("tied autoencoder", "neurons/autoencoder Autoencoder",
        topology_of("complete bipartite") + " and its reverse", "w_ij x_j", "sum", "parallel, layer by layer",
        kernel_of("linear", "matrix products"), "Wᵀ f(W x + b) + c", "`F.linear` with W and Wᵀ",
        tied_autoencoder),
    Row("variational autoencoder", "neurons/vae VariationalAutoencoder", topology_of("complete bipartite"),
        "w_ij x_j", "sum", "parallel, layer by layer", kernel_of("linear", "matrix products"),
        "σ(V f(U z)), z = μ + σ ε of f(W x)", "`VAE` of pytorch/examples", variational_autoencoder),
    Row("RNN", LINKS + "RNN", topology_of("chain") + " and its reverse", "h_j", "sum", TOPOLOGICAL,
        kernel_of("recurrence", "`rnn_tanh`"), "tanh(W x_i + U Σ_j h_j + b)", "`torch.nn.RNN`",
        recurrent("RNN")),
    Row("diagonal recurrent network", "dense/diagonal_rnn DiagonalRNN", topology_of("chain"), "u ⊙ h_j",
        "sum", TOPOLOGICAL, "none: a batch per level", "tanh(W x_i + u ⊙ Σ_j h_j + b)",
        "`torch.nn.RNN`, a diagonal matrix", diagonal_rnn),
    Row("GRU", LINKS + "GRU", topology_of("chain") + " and its reverse", "h_j", "sum", TOPOLOGICAL,
        kernel_of("recurrence", "`gru`"), "(1 - z_i) n_i + z_i Σ_j h_j, gates of x_i and Σ_j h_j",
        "`torch.nn.GRU`", recurrent("GRU")),
    Row("LSTM", LINKS + "LSTM", topology_of("chain") + " and its reverse", "h_j ‖ f_ij c_j", "sum",
        TOPOLOGICAL, kernel_of("recurrence", "`lstm`"), "c_i = Σ_j f_ij c_j + u_i g_i, h_i = o_i tanh(c_i)",
        "`torch.nn.LSTM`", recurrent("LSTM")),
    Row("child-sum Tree-LSTM", LINKS + "LSTM", topology_of("tree"), "h_j ‖ f_ij c_j", "sum", TOPOLOGICAL,
        kernel_of("child_sum", "products per level"), "c_i = Σ_j f_ij c_j + u_i g_i, h_i = o_i tanh(c_i)",
        "Tai et al. node by node", tree_lstm),
    Row("N-ary Tree-LSTM", "language/tree_lstm NaryTreeLSTM", topology_of("tree"),
        "h_j ‖ c_j, in the slot of j's place", "sum", TOPOLOGICAL, "none: a batch per level",
        "c_i = Σ_k f_ik c_k + u_i g_i, h_i = o_i tanh(c_i), gates of x_i and all h_k",
        "Tai et al. node by node", nary_tree_lstm),
    Row("RNN of a DAG", LINKS + "RNN", "any directed acyclic graph", "h_j", "sum", TOPOLOGICAL,
        "none: a batch per level", "tanh(W x_i + U Σ_j h_j + b)", "loop over nodes", dag_rnn),
    Row("self-attention", HEADS, topology_of("complete"), DOT, SOFTMAX, PARALLEL, SDPA, ATTENTION,
        "`torch.nn.MultiheadAttention`", lambda: attention(topology.complete(LENGTH))),
    Row("cross-attention", HEADS, topology_of("complete bipartite"), DOT, SOFTMAX, PARALLEL, SDPA, ATTENTION,
        "`torch.nn.MultiheadAttention`", lambda: attention(topology.complete_bipartite(7, LENGTH))),
    Row("causal attention", HEADS, topology_of("causal"), DOT, SOFTMAX, PARALLEL, SDPA, ATTENTION, MASKED,
        causal_attention),
    Row("windowed attention", HEADS, topology_of("band"), DOT, SOFTMAX, PARALLEL, SDPA + ", block by block",
        ATTENTION, MASKED, window),
    Row("attention on a sparse graph", HEADS, ANY, DOT, SOFTMAX, PARALLEL, NONE, ATTENTION, MASKED,
        sparse_attention),
    Row("Transformer's encoder layer", "dense/transformer TransformerEncoderLayer",
        topology_of("complete"), DOT, SOFTMAX, PARALLEL, SDPA, "y = norm(x + attention(x)), norm(y + f(y))",
        "`torch.nn.TransformerEncoderLayer`", encoder_layer),
    Row("BERT", "language/bert Bert", topology_of("complete"), DOT, SOFTMAX, "parallel, L times", SDPA,
        "norm(w + p + t), then y = norm(x + attention(x)), norm(y + f(y)), L times",
        "`torch.nn.TransformerEncoder`", lambda: bert(topology.complete(LENGTH))),
    Row("BERT on a sparse graph", "language/bert Bert", ANY, DOT, SOFTMAX, "parallel, L times",
        f"{NONE} in each layer", "norm(w + p + t), then y = norm(x + attention(x)), norm(y + f(y)), L times",
        "`torch.nn.TransformerEncoder` with a mask", sparse_bert),
    Row("Bahdanau's attention", "language/translation BahdanauAttention", topology_of("complete bipartite"),
        "(v·tanh(W s_i + U h_j + b), h_j)", SOFTMAX, PARALLEL, NONE,
        "Σ_j softmax_j(v·tanh(W s_i + U h_j + b)) h_j", "matrix equation", bahdanau),
]  # fmt: skip
