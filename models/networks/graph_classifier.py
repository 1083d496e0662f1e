"""A network that reads a whole graph: a stack of layers, a readout over the nodes, and a linear map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mpnn import as_graph
from mpnn.aggregate.aggregators import Aggr
from mpnn.functional import dropout as drop
from mpnn.graph.adjacency import Topology
from mpnn.layer.names import also_named, deprecated
from mpnn.models.conv.gin_conv import GINConv
from mpnn.models.networks.gnn import GNN
from mpnn.models.networks.pooling import GlobalPool
from mpnn.models.parts.checks import at_least, check_probability, ranges
from mpnn.models.parts.linear import Projection


@ranges(in_channels=at_least(1), readout_dropout=check_probability)
class GraphClassifier(GNN):
    """y_g = W dropout(readout { jk(h_i^1, ..., h_i^K) : i in g }) + b, one output for each graph of a batch.

    Every layer of the stack is a hidden one, normalised and activated; see `GNN` for what they take.

    Args:
        in_channels: width of the node features.
        hidden_channels: width of every hidden state.
        out_channels: width of the output: classes, labels or targets.
        num_layers: K.
        dropout: probability in front of every layer.
        readout: "sum", "mean", "max", or any other aggregator.
        readout_dropout: probability in front of the output; by default `dropout`.
        jk: "last", "cat", "max" or "lstm": how the states of the layers are read.
        read_input: add W_0 dropout(readout { x_i }), as the input is the state of layer 0.
        **kwargs: further arguments of `GNN`.

    Shapes: x `[num_nodes, in_channels]`, graph made by `Graph.batch` -> `[num_graphs, out_channels]`.

    >>> model = GraphClassifier(3, 16, 2, conv="gcn", readout="mean")
    >>> edge = Graph(torch.tensor([[0, 1], [1, 0]]))
    >>> model(torch.ones(4, 3), Graph.batch([edge, edge])).shape
    torch.Size([2, 2])
    """

    lin: Projection

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int = 2,
        *,
        dropout: float = 0.0,
        readout: Aggr = "sum",
        readout_dropout: float | None = None,
        jk: str = "last",
        read_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, hidden_channels, out_channels, num_layers, dropout=dropout, jk=jk, **kwargs
        )
        self.readout_dropout = dropout if readout_dropout is None else readout_dropout
        self.readout = GlobalPool(readout)
        width = len(readout) if isinstance(readout, list | tuple) else 1
        if width > 1:
            self.lin = Projection(width * self.lin.in_channels, out_channels)
        self.lin_input = Projection(width * in_channels, out_channels, bias=False) if read_input else None

    @also_named(edge_index="graph")
    def forward(
        self,
        x: Tensor,
        graph: Topology,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        graph = as_graph(graph, x.size(0))
        h = self.embed_graphs(x, graph, edge_weight, edge_attr, edge_type)
        out: Tensor = self.lin(self._drop_read(h))
        if self.lin_input is not None:
            out = out + self.lin_input(self._drop_read(self.readout(x, graph)))
        return out

    def _drop_read(self, h: Tensor) -> Tensor:
        return drop(h, self.readout_dropout, self.training)

    @also_named(edge_index="graph")
    def embed_graphs(
        self,
        x: Tensor,
        graph: Topology,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        """The readout of every graph, `[num_graphs, channels]`; the output is computed from it."""
        graph = as_graph(graph, x.size(0))
        h: Tensor = self.readout(self.embed(x, graph, edge_weight, edge_attr, edge_type), graph)
        return h


@ranges(dropout=check_probability)
class GINClassifier(GraphClassifier):
    """The graph isomorphism network with its readout (Xu et al., 2019, eqs. 4.1 and 4.2).

    Layers sum over neighbours and apply a perceptron of one hidden layer with batch normalisation, followed
    by batch normalisation again; the output is read from the sums over the nodes of every layer's states, the
    input's too. ε is 0 and not learned (GIN-0). As in the authors' code, dropout is in front of the output
    only.

    Args:
        in_channels, hidden_channels, out_channels: widths.
        num_layers: how many layers; the paper counts the input as one more.
        dropout: probability in front of the output.
        readout: "sum", or "mean" as in the paper for social networks.

    >>> GINClassifier(3, 16, 2)(torch.ones(2, 3), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int = 4,
        *,
        dropout: float = 0.0,
        readout: Aggr = "sum",
        **kwargs: Any,
    ) -> None:
        options: dict[str, Any] = {"norm": "batch", "jk": "cat", "read_input": True} | kwargs
        super().__init__(
            in_channels,
            hidden_channels,
            out_channels,
            num_layers,
            conv=NormalisedGINConv,
            readout=readout,
            readout_dropout=dropout,
            **options,
        )


class GIN(GINClassifier):
    """`GINClassifier` under its name of version 0.1.0, which is that of another network of PyG's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        deprecated(
            "GIN is now called GINClassifier: PyG's GIN, with the number of layers as its third argument, is "
            "torch_geometric.nn.GIN"
        )
        super().__init__(*args, **kwargs)


class NormalisedGINConv(GINConv):
    """The layer with the perceptron of the authors' code."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        network = nn.Sequential(
            Projection(in_channels, out_channels),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(),
            Projection(out_channels, out_channels),
        )
        super().__init__(network, **kwargs)
