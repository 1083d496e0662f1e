"""Normalisations of node features: `norm(x, batch)`, with PyG's names, arguments and state_dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph
from mpnn.aggregate.reduce import scatter_known
from mpnn.layer.names import also_named, deprecated, formerly
from mpnn.models.parts.checks import at_least, check_number, check_probability, positive, ranges
from mpnn.models.parts.membership import Membership, members

Device = torch.device | str | None
MODES = ("graph", "node")


class _Unsaid(str):
    """A default that can be told from the same word of a caller, for as long as `LayerNorm` asks."""


def _momentum(name: str, value: float | None) -> None:
    if value is not None:
        check_probability(name, value)


@formerly(num_features="in_channels")
@ranges(
    in_channels=at_least(1),
    eps=positive,
    momentum=_momentum,
)
class BatchNorm(nn.Module):
    """Normalise every channel over all nodes (Ioffe and Szegedy, 2015).

    Args:
        in_channels: width of the features.
        eps: added to the variance.
        momentum: of the running statistics; None averages over all batches.
        affine: whether to scale and shift.
        track_running_stats: keep running statistics, for evaluation.
        allow_single_element: a single node, which has no variance, is normalised with them in training too.
        device: where the parameters are.
        bias: whether to shift, where there is a scale.
        dtype: type of the parameters.

    Shapes: x `[num_nodes, in_channels]`; of a graph, if it is given, nothing is read.

    >>> BatchNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 6.0]])).detach()
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    """

    def __init__(
        self,
        in_channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        allow_single_element: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(allow_single_element, bool):
            raise TypeError(f"allow_single_element must be True or False, got {allow_single_element!r}.")
        if allow_single_element and not track_running_stats:
            raise ValueError("BatchNorm got allow_single_element=True with track_running_stats=False.")
        self.module = nn.BatchNorm1d(
            in_channels, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.in_channels, self.allow_single_element = in_channels, allow_single_element

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        self.module.reset_running_stats()

    def reset_parameters(self) -> None:
        """Set the scale to one, the shift to zero, and forget the running statistics."""
        self.module.reset_parameters()

    def forward(self, x: Tensor, graph: Graph | None = None) -> Tensor:
        norm = self.module
        if self.training and self.allow_single_element and x.size(0) < 2:
            return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        out: Tensor = norm(x)
        return out

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Version 0.1.0 had torch.nn's names, without `module`.
        for name in [name for name in state_dict if name.startswith(prefix)]:
            own = name[len(prefix) :]
            if "." not in own:
                state_dict[f"{prefix}module.{own}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return str(self.module.extra_repr())  # type: ignore[no-untyped-call]


@formerly(normalized_shape="in_channels", elementwise_affine="affine")
@ranges(in_channels=at_least(1), eps=positive)
class LayerNorm(nn.Module):
    """Normalise every graph over its nodes and channels, or every node over its channels.

    (Ba, Kiros and Hinton, 2016.) A batch is given as for `GraphNorm`.

    Args:
        in_channels: width of the features.
        eps: added to the variance.
        affine: whether to scale and shift every channel.
        mode: "graph" or "node".
        device: where the parameters are.
        bias: whether to shift, where there is a scale.
        dtype: type of the parameters.

    >>> LayerNorm(2, mode="node")(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).detach()
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    def __init__(
        self,
        in_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        mode: str = _Unsaid("graph"),
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, but must be one of {', '.join(MODES)}.")
        self.in_channels, self.eps, self.affine, self.mode = in_channels, eps, affine, str(mode)
        self._unsaid = isinstance(mode, _Unsaid)
        empty = torch.empty(in_channels, device=device, dtype=dtype)
        self.weight = nn.Parameter(empty) if affine else None
        self.bias = nn.Parameter(empty.clone()) if affine and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to one, and the shift to zero."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @also_named(graph="batch")
    def forward(self, x: Tensor, batch: Membership = None, batch_size: int | None = None) -> Tensor:
        by_node = self.mode == "node"
        if self._unsaid and isinstance(batch, Graph):
            by_node = True
            deprecated(
                "LayerNorm(x, graph) will normalise each graph, as PyG's: for each node write "
                'LayerNorm(channels, mode="node"), for each graph mode="graph"',
                stacklevel=5,
            )
        if by_node:
            return F.layer_norm(x, (self.in_channels,), self.weight, self.bias, self.eps)
        if batch is None:
            centred = x - x.mean()
            out = centred / (centred.std(unbiased=False) + self.eps)
        else:
            index, count = members(batch, x.size(0), batch_size, x)

            def mean(rows: Tensor) -> Tensor:
                return _mean(rows.mean(dim=-1, keepdim=True), index, count)

            centred = x - mean(x)
            out = centred / (mean(centred.square()) + self.eps).sqrt()
        out = out if self.weight is None else out * self.weight
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_channels}, affine={self.affine}, mode={self.mode}"


@ranges(in_channels=at_least(0), eps=positive)
class GraphNorm(nn.Module):
    """γ (x - α mean) / std + β, every channel over the nodes of each graph (Cai et al., 2021, eq. 6).

    γ is `weight`, β is `bias`, α is `mean_scale`.

    Args:
        in_channels: width of the features.
        eps: added to the variance.
        device: where the parameters are.

    Shapes: x `[num_nodes, in_channels]`, batch a `Graph`, or `[num_nodes]`: which graph each node is of, or
    None: all are of one; batch_size the number of graphs.

    >>> GraphNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).detach()
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
    """

    def __init__(self, in_channels: int, eps: float = 1e-5, device: Device = None) -> None:
        super().__init__()
        self.in_channels, self.eps = in_channels, eps
        self.weight = nn.Parameter(torch.ones(in_channels, device=device))
        self.bias = nn.Parameter(torch.zeros(in_channels, device=device))
        self.mean_scale = nn.Parameter(torch.ones(in_channels, device=device))

    def reset_parameters(self) -> None:
        """Set γ and α to one, β to zero."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.mean_scale)

    @also_named(graph="batch")
    def forward(self, x: Tensor, batch: Membership = None, batch_size: int | None = None) -> Tensor:
        index, count = members(batch, x.size(0), batch_size, x)
        centred = x - _mean(x, index, count) * self.mean_scale
        deviation = (_mean(centred.square(), index, count) + self.eps).sqrt()
        out: Tensor = self.weight * centred / deviation + self.bias
        return out

    def extra_repr(self) -> str:
        return f"{self.in_channels}"


@ranges(scale=check_number, eps=positive)
class PairNorm(nn.Module):
    """s (x - mean) / root mean square length, over the nodes of each graph (Zhao and Akoglu, 2020, eq. 10).

    Keeps all pairwise distances together about constant, so that deep stacks do not oversmooth. A batch is
    given as for `GraphNorm`.

    Args:
        scale: s.
        scale_individually: give every node the length s instead.
        eps: added before dividing.
    """

    def __init__(self, scale: float = 1.0, scale_individually: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale, self.scale_individually, self.eps = scale, scale_individually, eps

    @also_named(graph="batch")
    def forward(self, x: Tensor, batch: Membership = None, batch_size: int | None = None) -> Tensor:
        index, count = members(batch, x.size(0), batch_size, x)
        x = x - _mean(x, index, count)
        if self.scale_individually:
            length = self.eps + x.norm(dim=-1, keepdim=True)
        else:
            length = (self.eps + _mean(x.square().sum(-1, keepdim=True), index, count)).sqrt()
        scaled: Tensor = self.scale * x / length
        return scaled


def _mean(x: Tensor, index: Tensor, count: int) -> Tensor:
    """The mean over the nodes of each graph, at each of its nodes."""
    return scatter_known(x, index, count, "mean")[index]


# As one of a stack: on one node, too, and node by node where the batch is not to matter.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda channels: BatchNorm(channels, allow_single_element=True),
    "layer": lambda channels: LayerNorm(channels, mode="node"),
    "graph": GraphNorm,
    "pair": lambda channels: PairNorm(),
}


def norm(name: str | None, channels: int) -> nn.Module | None:
    """The normalisation of that name for features of that width, or None.

    >>> norm("layer", 16)
    LayerNorm(16, affine=True, mode=node)
    """
    if name is None:
        return None
    if name not in NORMS:
        raise ValueError(f"norm is {name!r}, but must be None or one of {', '.join(NORMS)}.")
    return NORMS[name](channels)
