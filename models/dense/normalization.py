"""Batch normalisation: every pixel sends to one node, which sends the channel's mean and variance back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import propagate
from mpnn.layer.shortcut import wants_dense
from mpnn.lowering.images import to_image, to_rows
from mpnn.models.parts.checks import at_least, check_probability, positive, ranges
from mpnn.topology import complete_bipartite


def _itself(x_j: Tensor) -> Tensor:
    return x_j


def _square_from_mean(x_j: Tensor, mean_i: Tensor) -> Tensor:
    return (x_j - mean_i).square()


def _standardised(x_i: Tensor, mean_j: Tensor, scale_j: Tensor) -> Tensor:
    return (x_i - mean_j) * scale_j


def _check_momentum(name: str, value: Any) -> None:
    if value is not None:  # else the running statistics are the mean of all batches
        check_probability(name, value)


@ranges(num_features=at_least(1), eps=positive, momentum=_check_momentum)
class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, on images and on nodes (Ioffe and Szegedy, 2015).

    y_i = γ (x_i - mean) / √(var + ε) + β, where the mean and the variance of a channel are aggregates at one
    node that all pixels have an edge to: in training of this batch, else the running ones.

    Shapes: `[batch, channels, height, width]`, or nodes `[num_nodes, channels]`, to the same.

    Raises:
        ValueError: another shape; a single pixel in training, which has no variance.

    >>> BatchNorm2d(1)(torch.tensor([[1.0], [3.0]])).detach()
    tensor([[-1.0000],
            [ 1.0000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (2, 4) or input.size(1) != self.num_features:
            raise ValueError(
                f"BatchNorm2d needs [batch, {self.num_features}, height, width] or nodes "
                f"[num_nodes, {self.num_features}], got shape {list(input.shape)}."
            )
        if self._counts_batch and input.numel() == self.num_features:
            raise ValueError("BatchNorm2d got 1 pixel, but a variance needs at least 2: train on more.")
        if wants_dense():
            images = input if input.dim() == 4 else input[:, :, None, None]
            out: Tensor = super().forward(images)
            return out if input.dim() == 4 else out.squeeze((2, 3))
        if input.dim() == 2:
            return self._by_messages(input)
        return to_image(self._by_messages(to_rows(input)), tuple(input.shape[2:]))

    @property
    def _counts_batch(self) -> bool:
        return self.training or self.running_mean is None

    def _by_messages(self, x: Tensor) -> Tensor:
        mean, variance = self._moments(x) if self._counts_batch else (self.running_mean, self.running_var)
        assert mean is not None
        assert variance is not None
        scale = (variance + self.eps).rsqrt()
        from_one = complete_bipartite(1, x.size(0), device=x.device)
        mean, scale = mean[None], scale[None]
        out: Tensor = propagate(
            from_one, _standardised, aggr="sum", x=(None, x), mean=(mean, None), scale=(scale, None)
        )
        return out if self.weight is None else out * self.weight + self.bias

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance of each channel; the running ones follow them in training."""
        count = x.size(0)
        to_one = complete_bipartite(count, 1, device=x.device)
        mean = propagate(to_one, _itself, aggr="mean", x=(x, None))
        variance = propagate(to_one, _square_from_mean, aggr="mean", x=(x, None), mean=(None, mean))
        mean, variance = mean.squeeze(0), variance.squeeze(0)
        if self.training and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                share = self.momentum
                if share is None:  # the mean of all batches so far
                    share = 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (count / (count - 1)), share)
        return mean, variance
