"""The layer of principal neighbourhood aggregation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.aggregate.aggregators import Aggregator, Several
from mpnn.functional import linear
from mpnn.graph.adjacency import Topology
from mpnn.models.conv.degree_scaler import DegreeScaler, degree_histogram
from mpnn.models.conv.layer import Layer
from mpnn.models.parts.activation import Activation, activation
from mpnn.models.parts.by_rows import by_rows
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Linear, reset, see
from mpnn.step.plain import Weights, is_plain, weights_of


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
        super().__init__(_Unmerged(aggregators, scalers, deg, train_norm), **kwargs)
        if out_channels % towers or (divide_input and in_channels % towers):
            raise ValueError(f"towers={towers} must divide {'in_channels and ' * divide_input}out_channels.")
        self.in_channels, self.out_channels, self.edge_dim = in_channels, out_channels, edge_dim
        self.towers, self.divide_input = towers, divide_input
        self.F_in = in_channels // towers if divide_input else in_channels
        self.F_out = out_channels // towers
        if edge_dim is not None:
            self.edge_encoder = Linear(edge_dim, self.F_in)
        joint = (2 if edge_dim is None else 3) * self.F_in
        aggregated = (len(aggregators) * len(scalers) + 1) * self.F_in

        def network(in_channels: int, out_channels: int, num_layers: int) -> nn.Sequential:
            modules: list[nn.Module] = [Linear(in_channels, out_channels)]
            for _ in range(num_layers - 1):
                modules += [activation(act, **(act_kwargs or {})), Linear(out_channels, out_channels)]
            return nn.Sequential(*modules)

        self.pre_nns = nn.ModuleList(network(joint, self.F_in, pre_layers) for _ in range(towers))
        self.post_nns = nn.ModuleList(network(aggregated, self.F_out, post_layers) for _ in range(towers))
        self.lin = Linear(out_channels, out_channels)

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
        received = self.propagate(graph, h=h, edge=edge)
        degree = graph.in_degree if self.flow == "source_to_target" else graph.out_degree
        count = degree.clamp(min=1).to(x.dtype).unsqueeze(-1)
        parts = received if isinstance(received, list) else [received]
        known = _first_maps(self.post_nns)
        if known is None:
            return cast(Tensor, self.lin(self._called(h, count, parts).flatten(1)))
        # What the aggregators make of their reductions, and its copies, are the widest tensors here.
        networks = [cast(nn.Sequential, network) for network in self.post_nns]
        read: list[Tensor] = [*cast(nn.Module, self.aggr_module).parameters()]
        read += [tensor for first in known for tensor in first if tensor is not None]
        distinct: list[Tensor] = []
        for part in parts:
            if not any(part is one for one in distinct):
                distinct.append(part)
        place = [next(k for k, one in enumerate(distinct) if one is part) for part in parts]

        def first_map(h: Tensor, count: Tensor, *distinct: Tensor) -> Tensor:
            return self._first_map(known, h, count, [distinct[k] for k in place])

        first = by_rows(first_map, [h, count, *distinct], read)
        if len(networks[0]) > 1:
            rest = [network[1:](first[:, tower]) for tower, network in enumerate(networks)]
            first = torch.stack(rest, dim=1)
        return cast(Tensor, self.lin(first.flatten(1)))

    def _first_map(self, known: list[Weights], h: Tensor, count: Tensor, parts: list[Tensor]) -> Tensor:
        """The first linear map of γ(h ‖ s_1 a ‖ ...) for every tower, `[num_nodes, towers, F_out]`."""
        scaler = cast(_Unmerged, self.aggr_module)
        received, factors = scaler.merged(parts, count.unsqueeze(-1)), scaler.factors(count)
        out = [_mixed(first, h[:, tower], received[:, tower], factors) for tower, first in enumerate(known)]
        return torch.stack(out, dim=1)

    def _called(self, h: Tensor, count: Tensor, parts: list[Tensor]) -> Tensor:
        """γ(h ‖ s_1 a ‖ ...) as written, for every tower, `[num_nodes, towers, F_out]`."""
        scaler = cast(_Unmerged, self.aggr_module)
        received, factors = scaler.merged(parts, count.unsqueeze(-1)), scaler.factors(count)
        out = []
        for tower, network in enumerate(self.post_nns):
            scaled = [received[:, tower] * factor for factor in factors]
            out.append(network(torch.cat([h[:, tower], *scaled], dim=-1)))
        return torch.stack(out, dim=1)

    def message(self, h_i: Tensor, h_j: Tensor, edge: Tensor | None) -> Tensor:  # type: ignore[override]
        """f(h_i ‖ h_j ‖ W_e e_ij) of every tower, `[num_edges, towers, F_in]`."""
        own = [] if edge is None else [self.edge_encoder(edge)]
        out = [
            network(torch.cat([h_i[:, tower], h_j[:, tower], *own], dim=-1))
            for tower, network in enumerate(self.pre_nns)
        ]
        return torch.stack(out, dim=1)


class _Unmerged(DegreeScaler):
    """The same before its last step: the reductions of all aggregators, for `merged` to go on with."""

    def merge(self, reduced: list[Tensor], count: Tensor) -> Any:
        """The reductions."""
        return reduced

    def merged(self, parts: list[Tensor], count: Tensor) -> Tensor:
        """The aggregates side by side, not scaled, from what `merge` or `forward` gave."""
        return Several.merge(self, parts, count) if self._all_reduce() else parts[0]

    def forward(self, messages: Any, index: Tensor, *options: Any, **named: Any) -> Any:
        """The reductions, or the aggregates side by side where some are made in another way."""
        kind = Aggregator if self._all_reduce() else Several
        return kind.forward(self, messages, index, *options, **named)

    def _all_reduce(self) -> bool:
        return all(isinstance(aggr, Aggregator) for aggr in self.aggrs)


def _first_maps(networks: Iterable[nn.Module]) -> list[Weights] | None:
    """The weights of the first linear map of each network, or None where a network must be called whole."""
    known = []
    for network in networks:
        firsts = list(network.children())[:1] if is_plain(network, nn.Sequential) else []
        weights = weights_of(firsts[0]) if firsts else None
        if weights is None:
            return None
        known.append(weights)
    return known


def _mixed(first: Weights, h: Tensor, received: Tensor, factors: list[Tensor]) -> Tensor:
    """W (h ‖ s_1 a ‖ s_2 a ‖ ...), with the number s_k of each node drawn out of the linear map.

    W_k (s_k a) = s_k (W_k a): no scaled copy of the aggregates exists.
    """
    widths = [h.size(-1), *[received.size(-1)] * len(factors)]
    own, *others = torch.split(first.weight, widths, dim=1)
    out = linear(h, own, first.bias)
    for factor, weight in zip(factors, others, strict=True):
        out = torch.addcmul(out, factor, linear(received, weight))
    return out
