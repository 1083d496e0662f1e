"""Normalisations of node features: `norm(x, graph)`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph
from mpnn.aggregate.reduce import scatter_known
from mpnn.models.parts.checks import (
    at_least,
    check_number,
    check_probability,
    each_at_least,
    positive,
    ranges,
)


@ranges(num_features=at_least(1), eps=positive, momentum=check_probability)
class BatchNorm(nn.BatchNorm1d):
    """Normalise every channel over all nodes (Ioffe and Szegedy, 2015).

    A single node has no variance: in training it is normalised with the running statistics.
    """

    def forward(self, x: Tensor, graph: Graph) -> Tensor:  # type: ignore[override]
        if self.training and x.size(0) < 2:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


@ranges(normalized_shape=each_at_least(1), eps=positive)
class LayerNorm(nn.LayerNorm):
    """Normalise every node over its channels (Ba, Kiros and Hinton, 2016)."""

    def forward(self, x: Tensor, graph: Graph) -> Tensor:  # type: ignore[override]
        return super().forward(x)


@ranges(in_channels=at_least(0), eps=positive)
class GraphNorm(nn.Module):
    """γ (x - α mean) / std + β, every channel over the nodes of each graph (Cai et al., 2021, eq. 6).

    Its parameters have PyG's names: γ is `weight`, β is `bias`, α is `mean_scale`.

    >>> GraphNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), Graph(torch.empty(2, 0, dtype=torch.long), 2))
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]], grad_fn=<AddBackward0>)
    """

    def __init__(self, in_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.in_channels, self.eps = in_channels, eps
        self.weight = nn.Parameter(torch.ones(in_channels))
        self.bias = nn.Parameter(torch.zeros(in_channels))
        self.mean_scale = nn.Parameter(torch.ones(in_channels))

    def reset_parameters(self) -> None:
        """Set γ and α to one, β to zero."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.mean_scale)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        centred = x - _mean(x, graph) * self.mean_scale
        deviation = (_mean(centred.square(), graph) + self.eps).sqrt()
        out: Tensor = self.weight * centred / deviation + self.bias
        return out

    def extra_repr(self) -> str:
        return f"{self.in_channels}"


@ranges(scale=check_number, eps=positive)
class PairNorm(nn.Module):
    """s (x - mean) / root mean square length, over the nodes of each graph (Zhao and Akoglu, 2020, eq. 10).

    Keeps all pairwise distances together about constant, so that deep stacks do not oversmooth.

    Args:
        scale: s.
        scale_individually: give every node the length s instead.
        eps: added before dividing.
    """

    def __init__(self, scale: float = 1.0, scale_individually: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale, self.scale_individually, self.eps = scale, scale_individually, eps

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        x = x - _mean(x, graph)
        if self.scale_individually:
            length = self.eps + x.norm(dim=-1, keepdim=True)
        else:
            length = (self.eps + _mean(x.square().sum(-1, keepdim=True), graph)).sqrt()
        scaled: Tensor = self.scale * x / length
        return scaled


def _mean(x: Tensor, graph: Graph) -> Tensor:
    """The mean over the nodes of each graph, at each of its nodes."""
    return scatter_known(x, graph.graph_index, graph.num_graphs, "mean")[graph.graph_index]


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm,
    "layer": LayerNorm,
    "graph": GraphNorm,
    "pair": lambda channels: PairNorm(),
}


def norm(name: str | None, channels: int) -> nn.Module | None:
    """The normalisation of that name for features of that width, or None.

    >>> norm("layer", 16)
    LayerNorm((16,), eps=1e-05, elementwise_affine=True, bias=True)
    """
    if name is None:
        return None
    if name not in NORMS:
        raise ValueError(f"norm is {name!r}, but must be None or one of {', '.join(NORMS)}.")
    module: nn.Module = NORMS[name](channels)
    return module
