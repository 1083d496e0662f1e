"""A graph neural network: layers on top of each other."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mpnn import Graph, as_graph
from mpnn.functional import dropout as drop
from mpnn.graph.adjacency import Topology
from mpnn.layer.names import also_named
from mpnn.models.conv.registry import CONVS, edge_inputs, resolve
from mpnn.models.networks.jumping_knowledge import JumpingKnowledge
from mpnn.models.networks.norms import norm as build_norm
from mpnn.models.networks.virtual_node import VirtualNode
from mpnn.models.parts.activation import Activation, activation
from mpnn.models.parts.checks import at_least, check_count, check_probability, ranges
from mpnn.models.parts.linear import Projection, reset


@ranges(in_channels=at_least(0, may_be_open=True))
class GNN(nn.Module):
    """A stack of message-passing layers.

        h^0 = x,   h^{k+1} = σ(norm(conv_k(dropout(h^k), graph))),   out = conv_K(dropout(h^K), graph)

    Dropout is on the input of every layer, as in the papers on GCN and GAT. With `jk`, all layers are hidden
    ones and a linear map reads the output from all of their states.

    Args:
        in_channels: width of the input.
        hidden_channels: width of every hidden state, all heads together.
        out_channels: width of the output.
        num_layers: how many layers.
        conv: a layer by its name in `CONVS`, or a class with `in_channels, out_channels` as first arguments.
        dropout: probability in front of every layer; attention layers also drop attention weights with it,
            unless `attention_dropout` says otherwise.
        norm: "batch", "layer", "graph", "pair", or None, behind every hidden layer.
        act: σ, a name, a function, or None.
        jk: "last", "cat", "max", "lstm", or None: how the states of all layers are read (Xu et al., 2018).
        residual: add the input of a hidden layer to its output, through a linear map where widths differ.
        virtual_node: link all nodes of a graph through one more, between every two layers, see `VirtualNode`.
        **conv_kwargs: options of every layer. Attention layers: `heads`, `out_heads` (those averaged by the
            last layer; by default `heads`), `attention_dropout`.

    Shapes: x `[num_nodes, in_channels]` -> `[num_nodes, out_channels]`.

    >>> model = GNN(3, 16, 2, conv="gat", heads=4)
    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> model(torch.ones(3, 3), ring).shape, model.embed(torch.ones(3, 3), ring).shape
    (torch.Size([3, 2]), torch.Size([3, 16]))
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int = 2,
        conv: str | type[nn.Module] = "gcn",
        dropout: float = 0.0,
        norm: str | None = None,
        act: Activation = "relu",
        jk: str | None = None,
        residual: bool = False,
        virtual_node: bool = False,
        **conv_kwargs: Any,
    ) -> None:
        super().__init__()
        check_count("num_layers", num_layers, 1)
        check_count("hidden_channels", hidden_channels, 1)
        check_count("out_channels", out_channels, 1)
        check_probability("dropout", dropout)
        if virtual_node and num_layers < 2:
            raise ValueError(
                "num_layers is 1, but must be at least 2 with virtual_node, which stands between two layers."
            )
        build = resolve(conv)
        _check_options(conv, build, conv_kwargs)
        self.in_channels, self.hidden_channels, self.out_channels = in_channels, hidden_channels, out_channels
        self.num_layers, self.dropout, self.conv = num_layers, dropout, conv
        if "attention_dropout" in inspect.signature(build).parameters:
            conv_kwargs.setdefault("attention_dropout", dropout)
        num_hidden = num_layers if jk else num_layers - 1
        widths = [in_channels] + [hidden_channels] * num_hidden
        hidden = [(before, after, False) for before, after in itertools.pairwise(widths)]
        output = [] if jk else [(widths[-1], out_channels, True)]
        self.convs = nn.ModuleList(build(*layer, **conv_kwargs) for layer in hidden + output)
        norms = (build_norm(norm, hidden_channels) for _ in hidden)
        self.norms = nn.ModuleList(module for module in norms if module is not None)
        self.skips = nn.ModuleList(_skip(before, after) for before, after, _ in hidden if residual)
        self.virtual_node = VirtualNode(hidden_channels, num_layers - 1, dropout) if virtual_node else None
        self.act = activation(act)
        self.jk = JumpingKnowledge(jk, hidden_channels, num_layers) if jk else None
        self.lin = Projection(self.jk.out_channels, out_channels) if self.jk else None

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for child in self.children():
            for module in child if isinstance(child, nn.ModuleList) else [child]:
                reset(module)

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
        edges = self._read_edges(edge_weight=edge_weight, edge_attr=edge_attr, edge_type=edge_type)
        h = self._hidden(x, graph, edges)
        if self.lin is None:
            return self._apply_conv(self.convs[-1], h, graph, edges)
        out: Tensor = self.lin(self._drop(h))
        return out

    @also_named(edge_index="graph")
    def embed(
        self,
        x: Tensor,
        graph: Topology,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        """The last hidden state of every node, `[num_nodes, hidden_channels]`.

        With `jk="cat"` it is `num_layers * hidden_channels` wide; one layer without `jk` has no hidden state,
        and gives x.
        """
        graph = as_graph(graph, x.size(0))
        edges = self._read_edges(edge_weight=edge_weight, edge_attr=edge_attr, edge_type=edge_type)
        return self._hidden(x, graph, edges)

    def _hidden(self, x: Tensor, graph: Graph, edges: dict[str, Tensor]) -> Tensor:
        states = []
        v = x if self.virtual_node is None else self.virtual_node.start(graph)
        for k in range(len(self.convs) if self.jk else len(self.convs) - 1):
            h = self._apply_conv(self.convs[k], x, graph, edges)
            if self.norms:
                h = self.norms[k](h, graph)
            h = self.act(h)
            x = h + self.skips[k](x) if self.skips else h
            if self.virtual_node is not None and k < self.num_layers - 1:
                x, v = self.virtual_node(k, x, v, graph)
            states.append(x)
        embedding: Tensor = x if self.jk is None else self.jk(states)
        return embedding

    def _apply_conv(self, conv: nn.Module, x: Tensor, graph: Graph, edges: dict[str, Tensor]) -> Tensor:
        own = {name: edges[name] for name in edge_inputs(conv) if name in edges}
        out: Tensor | tuple[Tensor, Tensor] = conv(self._drop(x), graph, **own)
        if isinstance(out, tuple):  # a layer that updates edges too passes them to the next layer
            out, edges["edge_attr"] = out
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return drop(x, self.dropout, self.training)

    def _read_edges(self, **edges: Tensor | None) -> dict[str, Tensor]:
        given = {name: value for name, value in edges.items() if value is not None}
        read = {name for conv in self.convs for name in edge_inputs(conv)}
        for name in given.keys() - read:
            able = ", ".join(known for known, conv in CONVS.items() if name in conv.edge_inputs)
            raise ValueError(f"GNN(conv={self.conv!r}) got {name}, which its layers do not read; {able} do.")
        return given

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.hidden_channels}, {self.out_channels}, dropout={self.dropout}"


def _check_options(conv: Any, build: Callable[..., nn.Module], options: Mapping[str, Any]) -> None:
    _, _, _, *own = inspect.signature(build).parameters.values()  # after in_channels, out_channels, last
    for parameter in own:
        required = parameter.kind is not parameter.VAR_KEYWORD and parameter.default is parameter.empty
        if required and parameter.name not in options:
            raise TypeError(f"GNN(conv={conv!r}) needs {parameter.name}.")


def _skip(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Identity() if in_channels == out_channels else Projection(in_channels, out_channels, bias=False)
