"""The oracles of docs/unification.md: another library's layer, or the equation of a paper as a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from mpnn import Graph, models, topology

Parameters = Sequence[Tensor]


class Case(NamedTuple):
    """Two functions of the same tensors, and their parameters in the same order."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    inputs: Sequence[Tensor]
    our_parameters: Parameters
    their_parameters: Parameters


# The graphs and tensors -------------------------------------------------------------------------------------

NODES, WIDTH, OUT, EDGE_WIDTH, RELATIONS = 12, 6, 4, 3, 3
HISTOGRAM = torch.tensor([2, 3, 4, 2, 1])


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def irregular() -> Tensor:
    """Self loops, repeated edges, an isolated node."""
    drawn = torch.randint(NODES - 1, (2, 30))
    drawn = drawn[:, drawn[0] != drawn[1]]
    return torch.cat([drawn, drawn[:, :3], torch.tensor([[2, 7], [2, 7]])], dim=1)


def network(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(in_channels, 7), nn.Tanh(), nn.Linear(7, out_channels))


def parameters_of(module: nn.Module) -> list[Tensor]:
    """By name: the libraries make them in different orders."""
    return [parameter for _, parameter in sorted(module.named_parameters())]


def against(ours: nn.Module, theirs: nn.Module, our_call: Any, their_call: Any, *inputs: Tensor) -> Case:
    """A case of two modules with the same weights, moved a little since biases often start at zero."""
    for parameter in theirs.double().parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    ours.double().load_state_dict(theirs.state_dict())
    return Case(our_call, their_call, inputs, parameters_of(ours), parameters_of(theirs))


def against_equation(module: nn.Module, call: Any, equation: Any, *inputs: Tensor) -> Case:
    """A case of a module and a formula over the module's own parameters."""
    parameters = list(module.double().parameters())
    return Case(call, equation, inputs, parameters, parameters)


LENGTH = 10  # of sequences


# Any graph --------------------------------------------------------------------------------------------------


def as_pyg(layer: str, edges: str = "") -> Callable[[], list[Case]]:
    """Cases of a layer that `layer` builds in either library; `edges` names the argument that it reads."""

    def cases() -> list[Case]:
        names = {"network": network, "HISTOGRAM": HISTOGRAM}
        ours, theirs = (eval(layer, vars(library) | names) for library in (models, pyg))
        edge_index = irregular()
        count = edge_index.size(1)
        drawn = {"edge_weight": normal(count).abs() + 0.5, "edge_attr": normal(count, EDGE_WIDTH)}
        given = [drawn[edges]] if edges in drawn else []
        types = {"edge_type": torch.randint(RELATIONS, (count,))} if edges == "edge_type" else {}

        def on(layer: nn.Module) -> Callable[..., Tensor]:
            return lambda x, *e: layer(x, edge_index, **types, **dict(zip([edges], e, strict=False)))

        return [against(ours, theirs, on(ours), on(theirs), normal(NODES, WIDTH), *given)]

    return cases


def incoming(edge_index: Tensor, i: int) -> Iterator[tuple[int, int]]:
    """The edges that enter node i: each edge's number and its source."""
    src, dst = edge_index.tolist()
    yield from ((e, src[e]) for e in range(len(dst)) if dst[e] == i)


def gnn_loop() -> list[Case]:
    layer, edge_index = models.GNNConv(WIDTH, OUT), irregular()

    def equation(h: Tensor) -> Tensor:
        rows = []
        for i in range(NODES):
            messages = [layer.lin.weight @ h[j] for _, j in incoming(edge_index, i)]
            mean = sum(messages) / max(len(messages), 1)
            rows.append(torch.relu(layer.lin.weight @ h[i] + mean + layer.get_parameter("bias")))
        return torch.stack(rows)

    return [against_equation(layer, lambda h: layer(h, edge_index), equation, normal(NODES, WIDTH))]


def mpnn_loop() -> list[Case]:
    layer = models.MPNNConv(WIDTH, OUT, edge_dim=EDGE_WIDTH, edge_out_channels=EDGE_WIDTH)
    edge_index = irregular()

    def equation(h: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        received = []
        for i in range(NODES):
            messages = [layer.f_message(h[i], h[j], e[k]) for k, j in incoming(edge_index, i)]
            received.append(sum(messages, torch.zeros(OUT, dtype=h.dtype)))
        m = torch.stack(received)
        nodes = torch.stack([layer.f_node(h[i], m[i]) for i in range(NODES)])
        ends = edge_index.T.tolist()
        assert layer.f_edge is not None
        edges = [layer.f_edge(h[i], m[i], h[j], m[j], e[k]) for k, (j, i) in enumerate(ends)]
        return nodes, torch.stack(edges)

    inputs = normal(NODES, WIDTH), normal(edge_index.size(1), EDGE_WIDTH)
    return [against_equation(layer, lambda h, e: layer(h, edge_index, e), equation, *inputs)]


# Neurons ----------------------------------------------------------------------------------------------------


def neurons(theirs: nn.Linear) -> nn.Module:
    """The layer on the graph of its neurons, one number per edge."""
    size = (theirs.in_features, theirs.out_features)
    ours = models.Linear(*size, graph=topology.complete_bipartite(*size)).double()
    ours.load_state_dict({"weight": theirs.weight.detach().flatten(), "bias": theirs.bias.detach()})
    return ours


def linear() -> list[Case]:
    theirs = nn.Linear(WIDTH, OUT).double()
    ours = neurons(theirs)
    return [Case(ours, theirs, [normal(5, WIDTH)], parameters_of(ours), parameters_of(theirs))]


def perceptron() -> list[Case]:
    first, last = nn.Linear(WIDTH, 9), nn.Linear(9, OUT)
    theirs = nn.Sequential(first, nn.Tanh(), last).double()
    ours = nn.Sequential(neurons(first), nn.Tanh(), neurons(last))
    return [Case(ours, theirs, [normal(5, WIDTH)], parameters_of(ours), parameters_of(theirs))]


def pruned() -> list[Case]:
    full = nn.Linear(20, 10).double()
    keep = torch.rand(10, 20) < 0.2
    ours = models.Linear.pruned(full, keep)
    src, dst = ours.graph.edge_index
    parameters = list(ours.parameters())

    def equation(x: Tensor) -> Tensor:
        weight = torch.zeros(10, 20, dtype=x.dtype).index_put((dst, src), ours.weight)
        return F.linear(x, weight, ours.bias)

    return [Case(ours, equation, [normal(5, 20)], parameters, parameters)]


# Grids ------------------------------------------------------------------------------------------------------

SHAPES = {1: (9,), 2: (7, 6), 3: (4, 5, 4)}


def rows_of(image: Tensor) -> Tensor:
    """`[batch, channels, *shape]` -> `[batch * pixels, channels]`."""
    return image.flatten(2).transpose(1, 2).flatten(0, 1)


def on_grid(
    name: str, dimensions: int, graph: topology.Grid | topology.AdaptiveGrid, *args: Any, **options: Any
) -> Case:
    """Our layer on the nodes of a grid, torch.nn's on the image, compared row by row."""
    ours, theirs = (getattr(library, f"{name}{dimensions}d")(*args, **options) for library in (models, nn))
    channels = args[0] if name.startswith("Conv") else 4
    image = normal(2, channels, *(graph.dst_shape if graph.is_reversed else SHAPES[dimensions]))
    if name.startswith("ConvTranspose"):
        image = normal(2, channels, *graph.src_shape)
    return against(ours, theirs, lambda x: ours(rows_of(x), graph=graph), lambda x: rows_of(theirs(x)), image)


def convolution() -> list[Case]:
    each = []
    for d, shape in SHAPES.items():
        each.append(on_grid("Conv", d, topology.grid(shape, 3, batch=2), 4, 6, 3))
        graph = topology.grid(shape, 2, 2, 1, batch=2)
        each.append(on_grid("Conv", d, graph, 4, 6, 2, stride=2, padding=1))
    return each


def grouped() -> list[Case]:
    graph, shape = topology.grid, SHAPES[2]
    return [
        on_grid("Conv", 2, graph(shape, 3, batch=2), 4, 6, 3, groups=2),
        on_grid("Conv", 2, graph(shape, 3, batch=2), 4, 8, 3, groups=4),
        on_grid("Conv", 2, graph(shape, 3, padding=2, dilation=2, batch=2), 4, 6, 3, padding=2, dilation=2),
        on_grid("Conv", 2, graph(shape, 1, batch=2), 4, 6, 1),
    ]


def transposed() -> list[Case]:
    """The reversed grid, from the convolution's outputs back to its inputs."""
    each = []
    for d, shape in {1: (9,), 2: (7, 5), 3: (5, 3, 5)}.items():
        graph = topology.grid(shape, 3, 2, 1, batch=2).reverse()
        each.append(on_grid("ConvTranspose", d, graph, 4, 6, 3, stride=2, padding=1))
    return each


def holes() -> list[Case]:
    """Zeros in the hole of an image add nothing to the sum, as missing nodes do."""
    mask = torch.rand(7, 6) < 0.6
    graph, _ = topology.grid((7, 6), 3, padding="same").subgraph((mask.flatten(), mask.flatten()))
    ours, theirs = models.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)

    def filled(x: Tensor) -> Tensor:
        image = torch.zeros(4, 7, 6, dtype=x.dtype).masked_scatter(mask, x.T)
        return theirs(image[None])[0][:, mask].T

    return [against(ours, theirs, lambda x: ours(x, graph=graph), filled, normal(int(mask.sum()), 4))]


def pooling(name: str) -> Callable[[], list[Case]]:
    def cases() -> list[Case]:
        return [
            on_grid(name, d, topology.grid(shape, 2, 2, batch=2), 2, stride=2) for d, shape in SHAPES.items()
        ]

    return cases


def adaptive() -> list[Case]:
    graphs = {d: topology.adaptive_grid(shape, (3,) * d, batch=2) for d, shape in SHAPES.items()}
    return [on_grid("AdaptiveAvgPool", d, graph, 3) for d, graph in graphs.items()]


def batch_norm() -> list[Case]:
    ours, theirs = models.BatchNorm2d(4), nn.BatchNorm2d(4)
    return [against(ours, theirs, ours, theirs, normal(3, 4, *SHAPES[2]))]


class Residual(nn.Module):
    """A residual block in torch.nn's layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def residual_block() -> list[Case]:
    ours, theirs = models.BasicBlock(4, 4), Residual(4)
    return [against(ours, theirs, ours, theirs, normal(3, 4, *SHAPES[2]))]


# Time, trees and directed acyclic graphs --------------------------------------------------------------------


def recurrent(name: str) -> Callable[[], list[Case]]:
    """Two layers, both directions, sequences of unequal lengths."""

    def cases() -> list[Case]:
        lengths = [4, 6, 1]
        ours, theirs = (
            getattr(library, name)(3, 4, num_layers=2, bidirectional=True) for library in (models, nn)
        )
        graph = topology.chain(lengths)

        def packed(x: Tensor) -> Any:
            out, hidden = theirs(pack_sequence(x.split(lengths), enforce_sorted=False))
            padded, _ = pad_packed_sequence(out, batch_first=True)
            return torch.cat([row[:n] for row, n in zip(padded, lengths, strict=True)]), hidden

        return [against(ours, theirs, lambda x: ours(x, graph=graph), packed, normal(11, 3))]

    return cases


def tree_lstm() -> list[Case]:
    """Tai et al. (2015), equations 2 to 8, node by node."""
    parents = [-1, 0, 0, 1, 1, 1, 2, 6, 6]
    lstm = models.LSTM(3, 4)

    def equation(x: Tensor) -> Tensor:
        ((weight_ih, weight_hh, bias_ih, bias_hh),) = lstm.all_weights
        (w_i, w_f, w_g, w_o), (u_i, u_f, u_g, u_o) = weight_ih.chunk(4), weight_hh.chunk(4)
        b_i, b_f, b_g, b_o = (bias_ih + bias_hh).chunk(4)
        h: dict[int, Tensor] = {}
        c: dict[int, Tensor] = {}
        for n in reversed(range(len(parents))):
            children = [k for k, parent in enumerate(parents) if parent == n]
            total = sum((h[k] for k in children), torch.zeros(4, dtype=x.dtype))
            c[n] = torch.sigmoid(w_i @ x[n] + u_i @ total + b_i) * torch.tanh(w_g @ x[n] + u_g @ total + b_g)
            for k in children:
                c[n] = c[n] + torch.sigmoid(w_f @ x[n] + u_f @ h[k] + b_f) * c[k]
            h[n] = torch.sigmoid(w_o @ x[n] + u_o @ total + b_o) * torch.tanh(c[n])
        return torch.stack([h[n] for n in range(len(parents))])

    graph = topology.tree(parents)
    return [against_equation(lstm, lambda x: lstm(x, graph=graph)[0], equation, normal(len(parents), 3))]


def dag_rnn() -> list[Case]:
    edge_index = torch.combinations(torch.arange(9)).T
    edge_index = edge_index[:, torch.rand(edge_index.size(1)) < 0.4]
    rnn = models.RNN(3, 4)

    def equation(x: Tensor) -> Tensor:
        ((weight_ih, weight_hh, bias_ih, bias_hh),) = rnn.all_weights
        h: list[Tensor] = []
        for i in range(9):
            total = sum((h[j] for _, j in incoming(edge_index, i)), torch.zeros(4, dtype=x.dtype))
            h.append(torch.tanh(weight_ih @ x[i] + weight_hh @ total + bias_ih + bias_hh))
        return torch.stack(h)

    graph = Graph(edge_index, 9)
    return [against_equation(rnn, lambda x: rnn(x, graph=graph)[0], equation, normal(9, 3))]


def diagonal_rnn() -> list[Case]:
    ours, theirs = models.DiagonalRNN(3, 4), nn.RNN(3, 4)

    def equation(x: Tensor) -> Tensor:
        assert ours.bias is not None
        weights = {"weight_ih_l0": ours.weight_ih, "weight_hh_l0": ours.weight_hh.diag()}
        biases: dict[str, Tensor] = {"bias_ih_l0": ours.bias, "bias_hh_l0": torch.zeros(4).double()}
        out: Tensor = torch.func.functional_call(theirs, {**weights, **biases}, (x,))[0]
        return out

    theirs.double()
    return [against_equation(ours, ours, equation, normal(LENGTH, 2, 3))]


def time_delay() -> list[Case]:
    conv = models.Conv1d(3, 4, 3, dilation=2)

    def spliced(x: Tensor) -> Tensor:
        frames = torch.cat([x[..., :-4], x[..., 2:-2], x[..., 4:]], 1)
        bias = conv.get_parameter("bias")[:, None]
        return torch.einsum("oi,bit->bot", conv.weight.permute(0, 2, 1).flatten(1), frames) + bias

    return [against_equation(conv, conv, spliced, normal(2, 3, LENGTH))]


# Attention --------------------------------------------------------------------------------------------------


def attention(graph: Graph, mask: Tensor | None = None) -> list[Case]:
    """Our layer on a graph, torch.nn's with a mask that is true where the graph has no edge."""
    ours, theirs = (library.MultiheadAttention(8, 2) for library in (models, nn))

    def on_graph(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ours(q, k, v, graph=graph, need_weights=False)[0]

    def with_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return theirs(q, k, v, attn_mask=mask, need_weights=False)[0]

    if graph.is_bipartite:
        inputs = normal(graph.num_dst, 8), normal(graph.num_src, 8), normal(graph.num_src, 8)
        return [against(ours, theirs, on_graph, with_mask, *inputs)]
    x = normal(graph.num_nodes, 8)
    return [against(ours, theirs, lambda x: on_graph(x, x, x), lambda x: with_mask(x, x, x), x)]


def window() -> list[Case]:
    position = torch.arange(200)  # several blocks
    return attention(topology.band(200, 2), (position - position[:, None]).abs() > 2)


def sparse_attention() -> list[Case]:
    has_edge = (torch.rand(LENGTH, LENGTH) < 0.3) | torch.eye(LENGTH, dtype=torch.bool)
    dst, src = has_edge.nonzero().T
    return attention(Graph(torch.stack([src, dst]), LENGTH), ~has_edge)


def causal_attention() -> list[Case]:
    return attention(topology.causal(LENGTH), torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1))


def encoder_layer() -> list[Case]:
    ours, theirs = (library.TransformerEncoderLayer(8, 2, 16, dropout=0.0) for library in (models, nn))
    graph = topology.complete(LENGTH)
    return [against(ours, theirs, lambda x: ours(x, graph=graph), theirs, normal(LENGTH, 8))]


# Maps and codes ---------------------------------------------------------------------------------------------


def self_organising_map() -> list[Case]:
    units = 6
    som = models.SelfOrganisingMap(units, 3).double()
    h, everywhere = normal(units, units).abs(), topology.complete(units)
    won = torch.cat([normal(units, 3), torch.tensor([2.0, 0.0, 1.0, 3.0, 0.0, 1.0])[:, None]], 1).double()

    def case(batch: bool) -> Case:
        def ours(won: Tensor, w: Tensor) -> Any:
            return som.propagate(everywhere, won=won, h=h.T.flatten(), w=w, rate=0.3, batch=batch)

        def equation(won: Tensor, w: Tensor) -> Tensor:
            total, share = h.T @ won[:, :-1], h.T @ won[:, -1:]
            return w + 0.3 * (total / share - w if batch else total - share * w)

        return Case(ours, equation, [won, normal(units, 3)], [], [])

    return [case(True), case(False)]


def tied_autoencoder() -> list[Case]:
    model = models.Autoencoder([WIDTH, 5, 3], "tanh", tied=True)
    model.double()
    layers: list[Any] = list(model.layers)
    first, second = layers

    def equation(x: Tensor) -> Tensor:
        h = torch.tanh(F.linear(x, first.encoder.weight, first.encoder.bias))
        h = F.linear(h, second.encoder.weight, second.encoder.bias)
        h = torch.tanh(F.linear(h, second.encoder.weight.T, second.decoder.bias))
        return F.linear(h, first.encoder.weight.T, first.decoder.bias)

    return [against_equation(model, model, equation, normal(NODES, WIDTH))]


class ExamplesVAE(nn.Module):
    """That of pytorch/examples, with other widths."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc3, self.fc4 = nn.Linear(WIDTH, 7), nn.Linear(3, 7), nn.Linear(7, WIDTH)
        self.fc21, self.fc22 = nn.Linear(7, 3), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h1 = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def variational_autoencoder() -> list[Case]:
    ours, theirs = models.VariationalAutoencoder(WIDTH, 7, 3), ExamplesVAE()

    def drawn(model: nn.Module) -> Callable[[Tensor], Any]:
        def call(x: Tensor) -> Any:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return model(x)

        return call

    return [against(ours, theirs, drawn(ours), drawn(theirs), normal(NODES, WIDTH))]
