"""What every layer does before its equation: read its inputs, and refuse what it cannot use."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, as_graph
from mpnn.aggregate.aggregators import Aggr
from mpnn.borrowed import modules_in, parameters_in
from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.layer.names import takes_edge_index

Pair = tuple[Tensor, Tensor | None]
Features = Tensor | Pair  # of all nodes `[num_nodes, channels]`, or of sources and of destinations
Widths = int | tuple[int, int]


class Layer(MessagePassing):
    """A `MessagePassing` layer on node features `[num_nodes, channels]`.

    They may be `[..., num_nodes, channels]`, several sets of features on one graph, where the layer takes
    such: from the first of them on its `node_dim` is -2, unless the caller said 0.
    """

    in_channels: Widths = -1  # of a layer that takes any width
    several_sets = True
    _may_be_sets = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        takes_edge_index(cls)

    def __init__(self, aggr: Aggr | None = "sum", *, node_dim: int | None = None, **kwargs: Any) -> None:
        super().__init__(aggr, node_dim=0 if node_dim is None else node_dim, **kwargs)
        self._may_be_sets = self.several_sets and node_dim is None
        if self.node_dim not in (0, -2):
            raise ValueError(f"node_dim is {node_dim}, but must be 0, or -2 for several sets of features.")

    # Nodes --------------------------------------------------------------------------------------------

    def read(
        self, x: Features, graph: Topology, size: Size | None = None
    ) -> tuple[Tensor, Tensor | None, Graph]:
        """Features of the sources, those of the destinations (None if not given), and the graph.

        Raises:
            ValueError: features with another width than `in_channels`, or another number of rows than the
                graph has nodes.
            TypeError: features of another type than the weights.
        """
        if isinstance(x, Tensor):
            self._check_nodes("x", x, side=0)
            num_nodes = x.size(self.node_dim)
            if size is not None and tuple(size) != (num_nodes, num_nodes):
                raise ValueError(
                    f"size is {tuple(size)}, but x has {num_nodes} rows for sources and destinations."
                )
            return x, x, as_graph(graph, num_nodes)
        if not isinstance(x, tuple | list) or len(x) != 2:
            raise TypeError(f"{self._name} needs x, a tensor or a pair of tensors, got {type(x).__name__}.")
        x_src, x_dst = x
        if self.flow != "source_to_target":
            raise ValueError(
                f"{self._name} got a pair of features, which flow={self.flow!r} cannot tell apart."
            )
        for side, features in enumerate(x):
            if features is not None:
                self._check_nodes(f"x[{side}]", features, side)
        num_src = x_src.size(self.node_dim)
        if size is None:
            known = graph.num_dst if isinstance(graph, Graph) else num_src
            size = (num_src, known if x_dst is None else x_dst.size(self.node_dim))
        return x_src, x_dst, as_graph(graph, (size[0], size[1]))

    def read_nodes(self, x: Tensor, graph: Topology) -> tuple[Tensor, Graph]:
        """Features and graph of a layer with one set of nodes."""
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{self._name} got a pair of features, but has one set of nodes: give one tensor, or take "
                "SAGEConv or GraphConv."
            )
        features, _, graph = self.read(x, graph)
        return features, graph

    def _check_nodes(self, name: str, x: Tensor, side: int) -> None:
        if x.dim() > 2 and self._may_be_sets:
            self.node_dim = -2
        if x.dim() < 2 or (self.node_dim == 0 and x.dim() > 2):
            raise ValueError(
                f"{self._name} needs {name} [num_nodes, channels], or with node_dim=-2 several of them, got "
                f"shape {list(x.shape)}."
            )
        # Not `in`: a number that `torch.compile` knows is never found among sizes that it does not.
        width = pair(self.in_channels)[side]
        if width != -1 and width != x.size(-1):
            raise ValueError(
                f"{self._name} got {name} of width {x.size(-1)} but was built with "
                f"in_channels={self.in_channels}."
            )
        weight = _first_parameter(self)
        if weight is not None and x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"{self._name} has weights of {weight.dtype}, but {name} is {x.dtype}: convert one of them."
            )

    @property
    def _name(self) -> str:
        return type(self).__name__

    # Edges --------------------------------------------------------------------------------------------

    def read_edge_weight(
        self, edge_weight: Tensor | None, graph: Graph, dtype: torch.dtype | None = None
    ) -> Tensor | None:
        """One number for each edge, `[num_edges]`, of the type of x, which is that of the weights."""
        if edge_weight is None:
            return None
        if edge_weight.dim() == 2 and edge_weight.size(1) == 1:
            edge_weight = edge_weight.squeeze(1)
        if edge_weight.dim() != 1:
            raise ValueError(
                f"{self._name} needs edge_weight [num_edges], one number per edge, got shape "
                f"{list(edge_weight.shape)}."
            )
        return self._check_edges("edge_weight", edge_weight, graph, dtype)

    def read_edge_attr(self, edge_attr: Tensor | None, graph: Graph, edge_dim: int | None) -> Tensor | None:
        """Features of the edges, `[num_edges, edge_dim]`."""
        if edge_attr is None:
            return None
        if edge_attr.dim() == 1:
            edge_attr = edge_attr.unsqueeze(1)
        width = edge_attr.size(-1)
        if edge_dim is None:
            raise ValueError(
                f"{self._name} got edge_attr of width {width} but was built with edge_dim=None: pass "
                f"edge_dim={width}, or no edge_attr."
            )
        if edge_dim != -1 and edge_dim != width:  # as in `_check_nodes`
            raise ValueError(
                f"{self._name} got edge_attr of width {width} but was built with edge_dim={edge_dim}."
            )
        return self._check_edges("edge_attr", edge_attr, graph)

    def need_edge_attr(self, edge_attr: Tensor | None) -> Tensor:
        """`edge_attr`, which this layer cannot do without."""
        if edge_attr is None:
            raise ValueError(f"{self._name} needs edge_attr, the features of the edges, but got none.")
        return edge_attr

    def _check_edges(
        self, name: str, values: Tensor, graph: Graph, dtype: torch.dtype | None = None
    ) -> Tensor:
        if values.size(0) != graph.num_edges:
            raise ValueError(
                f"{self._name} got {name} for {values.size(0)} edges, but the graph has {graph.num_edges}."
            )
        if not values.is_floating_point():
            raise TypeError(f"{self._name} needs {name} of floating point, got {values.dtype}.")
        if dtype is None and (weight := _first_parameter(self)) is not None:
            dtype = weight.dtype
        if dtype not in (None, values.dtype) and not torch.is_autocast_enabled(values.device.type):
            raise TypeError(
                f"{self._name} got {name} of {values.dtype} beside x of {dtype}: convert one of them."
            )
        if values.device != graph.device:
            raise ValueError(f"{name} is on {values.device}, but the graph is on {graph.device}.")
        return values


def _first_parameter(module: nn.Module) -> nn.Parameter | None:
    """The first of `module.parameters()`, in a tenth of its time."""
    for parameter in parameters_in(module).values():
        if parameter is not None:
            return parameter
    for child in modules_in(module).values():
        if child is not None and (found := _first_parameter(child)) is not None:
            return found
    return None


def pair(widths: Widths) -> tuple[int, int]:
    """The widths of sources and destinations; one number stands for both.

    Raises:
        TypeError: they are neither one number nor two.
    """
    if isinstance(widths, int):
        return widths, widths
    return _pair(widths)


def _pair(widths: Any) -> tuple[int, int]:
    if isinstance(widths, Integral):
        return int(widths), int(widths)
    if not isinstance(widths, tuple | list) or len(widths) != 2:
        raise TypeError(f"in_channels must be a whole number, or a pair of them, got {widths!r}.")
    return widths[0], widths[1]
