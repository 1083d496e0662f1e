"""The layer of principal neighbourhood aggregation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.degree_scaler import DegreeScaler, degree_histogram
from mpnn.models.conv.layer import Layer
from mpnn.models.parts.activation import Activation, activation
from mpnn.models.parts.checks import at_least, check_count, ranges
from mpnn.models.parts.linear import Projection, reset, see


@ranges(edge_dim=at_least(1))
class PNAConv(Layer):
    """h_i' = W γ(h_i ‖ ⨁_{j→i} f(h_i ‖ h_j ‖ W_e e_ij))   (Corso et al., 2020, eq. 8).

    ⨁ is several aggregators times several scalers of the degree, side by side; see `DegreeScaler`.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        aggregators: "sum", "mean", "min", "max", "var", "std", ...
        scalers: "identity", "amplification", "attenuation", "linear", "inverse_linear".
        deg: `[max_degree + 1]`, how many nodes of the training graphs have each in-degree; see
            `get_degree_histogram`.
        edge_dim: width of the edge features, if there are any.
        towers: how many such layers stand side by side, mixed by W.
        pre_layers: how many linear maps f is made of.
        post_layers: how many linear maps γ is made of.
        divide_input: give each tower its own part of the input, not all of it.
        act: the activation between these linear maps.
        act_kwargs: options of a named activation.
        train_norm: whether the mean degrees that the scalers refer to are parameters.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_attr `[num_edges, edge_dim]` -> `[num_nodes, out_channels]`.

    >>> layer = PNAConv(3, 2, ["mean", "std"], ["identity", "linear"], deg=torch.tensor([1, 3]))
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    several_sets = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregators: Sequence[str],
        scalers: Sequence[str],
        deg: Tensor,
        edge_dim: int | None = None,
        towers: int = 1,
        pre_layers: int = 1,
        post_layers: int = 1,
        divide_input: bool = False,
        act: Activation = "relu",
        act_kwargs: Mapping[str, Any] | None = None,
        train_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        for name, count in {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "towers": towers,
        }.items():
            check_count(name, count, 1)
        check_count("pre_layers", pre_layers, 1)
        check_count("post_layers", post_layers, 1)
        super().__init__(DegreeScaler(aggregators, scalers, deg, train_norm), **kwargs)
        if out_channels % towers or (divide_input and in_channels % towers):
            raise ValueError(f"towers={towers} must divide {'in_channels and ' * divide_input}out_channels.")
        self.in_channels, self.out_channels, self.edge_dim = in_channels, out_channels, edge_dim
        self.towers, self.divide_input = towers, divide_input
        self.F_in = in_channels // towers if divide_input else in_channels
        self.F_out = out_channels // towers
        if edge_dim is not None:
            self.edge_encoder = Projection(edge_dim, self.F_in)
        joint = (2 if edge_dim is None else 3) * self.F_in
        aggregated = (len(aggregators) * len(scalers) + 1) * self.F_in

        def network(in_channels: int, out_channels: int, num_layers: int) -> nn.Sequential:
            modules: list[nn.Module] = [Projection(in_channels, out_channels)]
            for _ in range(num_layers - 1):
                modules += [activation(act, **(act_kwargs or {})), Projection(out_channels, out_channels)]
            return nn.Sequential(*modules)

        self.pre_nns = nn.ModuleList(network(joint, self.F_in, pre_layers) for _ in range(towers))
        self.post_nns = nn.ModuleList(network(aggregated, self.F_out, post_layers) for _ in range(towers))
        self.lin = Projection(out_channels, out_channels)
        self.reset_parameters()

    get_degree_histogram = staticmethod(degree_histogram)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for name, child in self.named_children():
            if name != "aggr_module":
                reset(child)

    def forward(self, x: Tensor, graph: Topology, edge_attr: Tensor | None = None) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        edge_attr = self.read_edge_attr(edge_attr, graph, self.edge_dim)
        edge = None if self.edge_dim is None else self.need_edge_attr(edge_attr)
        if edge is not None:
            see(self.edge_encoder, edge)
        if self.divide_input:
            h = x.view(-1, self.towers, self.F_in)
        else:
            h = x.unsqueeze(1).expand(-1, self.towers, -1)
        out: Tensor = self.propagate(graph, h=h, edge=edge)
        return out

    def message(self, h_i: Tensor, h_j: Tensor, edge: Tensor | None) -> Tensor:  # type: ignore[override]
        """f(h_i ‖ h_j ‖ W_e e_ij) of every tower, `[num_edges, towers, F_in]`."""
        own = [] if edge is None else [self.edge_encoder(edge)]
        out = [
            network(torch.cat([h_i[:, tower], h_j[:, tower], *own], dim=-1))
            for tower, network in enumerate(self.pre_nns)
        ]
        return torch.stack(out, dim=1)

    def update(self, inputs: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        """W γ(h_i ‖ a_i), with a γ for every tower."""
        out = [
            network(torch.cat([h[:, tower], inputs[:, tower]], dim=-1))
            for tower, network in enumerate(self.post_nns)
        ]
        return cast(Tensor, self.lin(torch.cat(out, dim=-1)))
