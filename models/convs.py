"""The layers by name, and how each is built as one of a stack."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mpnn.models.gat_conv import GATConv
from mpnn.models.gatv2_conv import GATv2Conv
from mpnn.models.gcn_conv import GCNConv
from mpnn.models.gin_conv import GINConv, GINEConv
from mpnn.models.gnn_conv import GNNConv
from mpnn.models.graph_conv import GraphConv
from mpnn.models.layer import Layer
from mpnn.models.mlp import mlp
from mpnn.models.sage_conv import SAGEConv
from mpnn.models.transformer_conv import TransformerConv

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
    return tuple(name for name in EDGE_INPUTS if name in inspect.signature(layer.forward).parameters)


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


CONVS: dict[str, Conv] = {
    "gnn": Conv(GNNConv, "the textbook layer: W h + mean of W h_j", gnn),
    "gcn": Conv(GCNConv, "graph convolution, normalised by degrees (Kipf and Welling, 2017)", plain(GCNConv)),
    "graph": Conv(GraphConv, "W_1 h + W_2 sum of h_j (Morris et al., 2019)", plain(GraphConv)),
    "sage": Conv(SAGEConv, "W_1 h + W_2 mean of h_j (Hamilton et al., 2017)", plain(SAGEConv)),
    "gin": Conv(GINConv, "MLP of a sum, as strong as the WL test (Xu et al., 2019)", around(GINConv)),
    "gine": Conv(GINEConv, "GIN with edge features (Hu et al., 2020)", around(GINEConv)),
    "gat": Conv(GATConv, "attention over neighbours (Veličković et al., 2018)", attention(GATConv)),
    "gatv2": Conv(GATv2Conv, "attention that depends on who asks (Brody et al., 2022)", attention(GATv2Conv)),
    "transformer": Conv(
        TransformerConv,
        "the Transformer's attention (Shi et al., 2021)",
        attention(TransformerConv),
    ),
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
