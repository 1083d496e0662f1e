"""Aggregates scaled by how many messages they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.aggregate.aggregators import Several, resolve
from mpnn.aggregate.reduce import count_rows

SCALERS = ("identity", "amplification", "attenuation", "linear", "inverse_linear")


class DegreeScaler(Several):
    """Several aggregates, each times several functions of the in-degree d (Corso et al., 2020, eq. 5 to 7).

    identity 1, amplification log(d + 1) / δ, attenuation δ / log(d + 1), linear d / d̄, inverse_linear d̄ / d,
    with d̄ the mean of d and δ the mean of log(d + 1) over the nodes of the training graphs.

    Args:
        aggregators: names, modules, or functions.
        scalers: names from `SCALERS`.
        deg: `[max_degree + 1]`, how many nodes of the training graphs have each in-degree.
        train_norm: whether d̄ and δ are parameters.
        apply: with False the aggregates come unscaled, for a reader who applies `factors` later, where it is
            cheaper.

    Shapes: messages `[num_edges, ..., channels]` ->
    `[num_nodes, ..., len(scalers) * len(aggregators) * channels]`.
    """

    name = "degree_scaler"
    avg_deg_lin: Tensor
    avg_deg_log: Tensor

    def __init__(
        self,
        aggregators: Sequence[Any],
        scalers: Sequence[str],
        deg: Tensor,
        train_norm: bool = False,
        apply: bool = True,
    ) -> None:
        super().__init__([cast(nn.Module, resolve(aggregator)) for aggregator in aggregators])
        for scaler in scalers:
            if scaler not in SCALERS:
                raise ValueError(f"scalers has {scaler!r}, but knows only {', '.join(SCALERS)}.")
        if deg.dim() != 1 or not bool((deg >= 0).all()) or not bool(deg.sum() > 0):
            raise ValueError(
                "deg must be a histogram [max_degree + 1]: how many nodes have each in-degree, got "
                f"{deg.tolist() if deg.numel() < 10 else list(deg.shape)}."
            )
        self.scalers, self.scales = list(scalers), apply
        degrees, deg = torch.arange(deg.numel(), device=deg.device), deg.to(torch.float)
        self._initial = {
            "avg_deg_lin": float((degrees * deg).sum() / deg.sum()),
            "avg_deg_log": float(((degrees + 1).log() * deg).sum() / deg.sum()),
        }
        for name, value in self._initial.items():
            if train_norm:
                setattr(self, name, nn.Parameter(torch.full((1,), value)))
            else:
                self.register_buffer(name, torch.full((1,), value))

    def reset_parameters(self) -> None:
        """Set d̄ and δ back to what `deg` says."""
        super().reset_parameters()
        with torch.no_grad():
            for name, value in self._initial.items():
                getattr(self, name).fill_(value)

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The aggregates side by side, times every scaler."""
        return self._scaled(super().merge(reduced, count), count)

    def forward(
        self,
        messages: Any,
        index: Tensor,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = 0,
    ) -> Tensor:
        """The aggregates of `messages` side by side, times every scaler."""
        out = super().forward(messages, index, ptr, dim_size, dim)
        count = count_rows(index, out.size(dim)).to(out.dtype)
        return self._scaled(out, count.view([-1 if k == dim % out.dim() else 1 for k in range(out.dim())]))

    def factors(self, degree: Tensor) -> list[Tensor]:
        """Each scaler of a degree of at least 1, in its shape.

        A node without neighbours aggregates to 0, so it does not matter that its degree counts as 1.
        """
        known = {
            "identity": lambda: torch.ones_like(degree),
            "amplification": lambda: (degree + 1).log() / self.avg_deg_log,
            "attenuation": lambda: self.avg_deg_log / (degree + 1).log(),
            "linear": lambda: degree / self.avg_deg_lin,
            "inverse_linear": lambda: self.avg_deg_lin / degree,
        }
        return [known[scaler]() for scaler in self.scalers]

    def _scaled(self, out: Tensor, degree: Tensor) -> Tensor:
        return torch.cat([f * out for f in self.factors(degree)], dim=-1) if self.scales else out


def degree_histogram(graphs: Iterable[Any]) -> Tensor:
    """`[max_degree + 1]`: how many nodes have each in-degree, over graphs or PyG's `Data`.

    >>> degree_histogram([mpnn.Graph(torch.tensor([[0, 1, 2], [1, 2, 1]]))])
    tensor([1, 1, 1])
    """
    total = torch.zeros(1, dtype=torch.int64)
    for graph in graphs:
        degree = torch.bincount(graph.edge_index[1].cpu(), minlength=graph.num_nodes)
        counts = torch.bincount(degree, minlength=total.numel())
        counts[: total.numel()] += total
        total = counts
    return total
