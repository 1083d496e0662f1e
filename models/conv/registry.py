"""The layers by name, and how each is built as one of a stack."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from mpnn import Graph
from mpnn.models.conv.appnp import APPNP
from mpnn.models.conv.cheb_conv import ChebConv
from mpnn.models.conv.descriptions import DESCRIPTIONS
from mpnn.models.conv.edge_conv import EdgeConv
from mpnn.models.conv.gat_conv import GATConv
from mpnn.models.conv.gated_graph_conv import GatedGraphConv
from mpnn.models.conv.gatv2_conv import GATv2Conv
from mpnn.models.conv.gcn_conv import GCNConv
from mpnn.models.conv.gin_conv import GINConv, GINEConv
from mpnn.models.conv.gnn_conv import GNNConv
from mpnn.models.conv.graph_conv import GraphConv
from mpnn.models.conv.layer import Layer
from mpnn.models.conv.mpnn_conv import MPNNConv
from mpnn.models.conv.nn_conv import NNConv
from mpnn.models.conv.pna_conv import PNAConv
from mpnn.models.conv.rgcn_conv import RGCNConv
from mpnn.models.conv.sage_conv import SAGEConv
from mpnn.models.conv.sg_conv import SGConv
from mpnn.models.conv.tag_conv import TAGConv
from mpnn.models.conv.transformer_conv import TransformerConv
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Projection, reset
from mpnn.models.parts.mlp import mlp

EDGE_INPUTS = ("edge_weight", "edge_attr", "edge_type")


@dataclass(frozen=True)
class Conv:
    """A layer that can be stacked.

    `build(in_channels, out_channels, last, **options)` makes one of a stack; `last` tells the layer that
    gives the output. `options` are the layer's own, and those of `build`.
    """

    layer: type[Layer]
    description: str
    build: Callable[..., nn.Module]

    @property
    def edge_inputs(self) -> tuple[str, ...]:
        """Which of edge_weight, edge_attr and edge_type the layer reads."""
        return edge_inputs(self.layer)


def edge_inputs(layer: type[nn.Module] | nn.Module) -> tuple[str, ...]:
    """Which of edge_weight, edge_attr and edge_type a layer reads."""
    return _edge_inputs(getattr(layer.forward, "__func__", layer.forward))


@lru_cache(maxsize=256)
def _edge_inputs(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(name for name in EDGE_INPUTS if name in inspect.signature(forward).parameters)


def plain(layer: type[nn.Module]) -> Callable[..., nn.Module]:
    """A layer whose first two arguments are its widths."""

    def build(in_channels: int, out_channels: int, last: bool, **options: Any) -> nn.Module:
        return layer(in_channels, out_channels, **options)

    return build


def attention(layer: type[nn.Module]) -> Callable[..., nn.Module]:
    """Hidden layers put their heads side by side, each `out_channels / heads` wide; the last averages."""

    def build(
        in_channels: int,
        out_channels: int,
        last: bool,
        heads: int = 1,
        out_heads: int | None = None,
        attention_dropout: float = 0.0,
        **options: Any,
    ) -> nn.Module:
        options["dropout"] = attention_dropout
        if last:
            return layer(in_channels, out_channels, out_heads or heads, concat=False, **options)
        check_count("heads", heads, 1)
        if out_channels % heads:
            raise ValueError(f"hidden_channels is {out_channels}, which {heads} heads cannot share evenly.")
        return layer(in_channels, out_channels // heads, heads, **options)

    return build


def around(layer: type[nn.Module]) -> Callable[..., nn.Module]:
    """A layer around a network of one hidden layer."""

    def build(in_channels: int, out_channels: int, last: bool, **options: Any) -> nn.Module:
        return layer(mlp(in_channels, out_channels, out_channels), **options)

    return build


def gnn(in_channels: int, out_channels: int, last: bool, **options: Any) -> nn.Module:
    """The activation is the stack's matter, which has none behind its last layer."""
    return GNNConv(in_channels, out_channels, **{"act": None} | options)


def gated(in_channels: int, out_channels: int, last: bool, num_layers: int = 2, **options: Any) -> nn.Module:
    """The state must be as wide as the input: where it is to be narrower, a linear map comes first."""
    layer = GatedGraphConv(out_channels, num_layers, **options)
    return layer if in_channels <= out_channels else Projected(Projection(in_channels, out_channels), layer)


def appnp(
    in_channels: int, out_channels: int, last: bool, K: int = 10, alpha: float = 0.1, **options: Any
) -> nn.Module:
    """Predict, then propagate: hidden layers are linear maps, and the last one spreads what it predicts."""
    predict = Projection(in_channels, out_channels)
    return Projected(predict, APPNP(K, alpha, **options) if last else None)


def edge(in_channels: int, out_channels: int, last: bool, **options: Any) -> nn.Module:
    """A perceptron on the pair of nodes."""
    return EdgeConv(mlp(2 * in_channels, out_channels, out_channels), **options)


def edge_conditioned(
    in_channels: int, out_channels: int, last: bool, edge_dim: int, **options: Any
) -> nn.Module:
    """The matrix of an edge is a linear function of its features."""
    return NNConv(in_channels, out_channels, Projection(edge_dim, in_channels * out_channels), **options)


def relational(
    in_channels: int,
    out_channels: int,
    last: bool,
    num_relations: int,
    num_blocks: int | None = None,
    **options: Any,
) -> nn.Module:
    """Blocks must divide both widths, so they are for hidden layers."""
    blocks = None if num_blocks and (in_channels % num_blocks or out_channels % num_blocks) else num_blocks
    return RGCNConv(in_channels, out_channels, num_relations, num_blocks=blocks, **options)


def chebyshev(in_channels: int, out_channels: int, last: bool, K: int = 3, **options: Any) -> nn.Module:
    """Two hops."""
    return ChebConv(in_channels, out_channels, K, **options)


def principal(in_channels: int, out_channels: int, last: bool, deg: Tensor, **options: Any) -> nn.Module:
    """The paper's four aggregators and three scalers."""
    defaults = {
        "aggregators": ["mean", "min", "max", "std"],
        "scalers": ["identity", "amplification", "attenuation"],
    }
    return PNAConv(in_channels, out_channels, deg=deg, **defaults | options)


def general(
    in_channels: int, out_channels: int, last: bool, edge_dim: int | None = None, **options: Any
) -> nn.Module:
    """Hidden layers update the edges too; behind the last one no layer reads them."""
    return MPNNConv(in_channels, out_channels, edge_dim, None if last else edge_dim, **options)


class Projected(nn.Module):
    """A linear map, then a layer that keeps the width, if any."""

    def __init__(self, lin: nn.Module, layer: nn.Module | None) -> None:
        super().__init__()
        self.lin, self.layer = lin, layer

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for child in self.children():
            reset(child)

    def forward(self, x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
        h: Tensor = self.lin(x)
        return h if self.layer is None else self.layer(h, graph, edge_weight)


CONVS: dict[str, Conv] = {
    "gnn": Conv(GNNConv, DESCRIPTIONS["gnn"], gnn),
    "gcn": Conv(GCNConv, DESCRIPTIONS["gcn"], plain(GCNConv)),
    "graph": Conv(GraphConv, DESCRIPTIONS["graph"], plain(GraphConv)),
    "sage": Conv(SAGEConv, DESCRIPTIONS["sage"], plain(SAGEConv)),
    "gin": Conv(GINConv, DESCRIPTIONS["gin"], around(GINConv)),
    "gine": Conv(GINEConv, DESCRIPTIONS["gine"], around(GINEConv)),
    "gat": Conv(GATConv, DESCRIPTIONS["gat"], attention(GATConv)),
    "gatv2": Conv(GATv2Conv, DESCRIPTIONS["gatv2"], attention(GATv2Conv)),
    "transformer": Conv(TransformerConv, DESCRIPTIONS["transformer"], attention(TransformerConv)),
    "rgcn": Conv(RGCNConv, DESCRIPTIONS["rgcn"], relational),
    "edge": Conv(EdgeConv, DESCRIPTIONS["edge"], edge),
    "nn": Conv(NNConv, DESCRIPTIONS["nn"], edge_conditioned),
    "pna": Conv(PNAConv, DESCRIPTIONS["pna"], principal),
    "gated": Conv(GatedGraphConv, DESCRIPTIONS["gated"], gated),
    "cheb": Conv(ChebConv, DESCRIPTIONS["cheb"], chebyshev),
    "appnp": Conv(APPNP, DESCRIPTIONS["appnp"], appnp),
    "sg": Conv(SGConv, DESCRIPTIONS["sg"], plain(SGConv)),
    "tag": Conv(TAGConv, DESCRIPTIONS["tag"], plain(TAGConv)),
    "mpnn": Conv(MPNNConv, DESCRIPTIONS["mpnn"], general),
}


def resolve(conv: str | type[nn.Module]) -> Callable[..., nn.Module]:
    """The builder of a layer, given by name or as a class with the widths as its first arguments."""
    if isinstance(conv, str):
        if conv not in CONVS:
            raise ValueError(f"conv is {conv!r}, but must be a layer's class or one of {', '.join(CONVS)}.")
        return CONVS[conv].build
    for known in CONVS.values():
        if conv is known.layer:
            return known.build
    return plain(conv)
