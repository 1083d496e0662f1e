"""A ResNet in PyTorch's functions alone: the oracle of images with holes and of hexagonal pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


class Plain:
    """The function that a state_dict of `ResNet` describes, on images whose missing pixels are zeros.

    Args:
        state: the weights.
        exists: `[batch, height, width]`; statistics, means and maxima are of pixels that exist.
        hexagonal: whether the two corners that are no neighbours of a hexagon are left out of a window.
        training: whether batch normalisation takes the statistics of the batch.
    """

    def __init__(
        self, state: Mapping[str, Tensor], exists: Tensor, hexagonal: bool = False, training: bool = False
    ) -> None:
        self.state, self.hexagonal, self.training = state, hexagonal, training
        self.exists = exists[:, None].to(state["conv1.weight"].dtype)

    def seen(self, size: int) -> Tensor:
        """`[size, size]`: the places of a window that have an edge."""
        step = torch.arange(size) - size // 2
        far = (step[:, None] + step).abs() > size // 2
        return torch.ones(size, size, dtype=self.exists.dtype).masked_fill(far & self.hexagonal, 0.0)

    def conv(self, name: str, x: Tensor, exists: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        weight = self.state[f"{name}.weight"]
        size = weight.size(-1)
        left = F.max_pool2d(exists, stride, ceil_mode=True)
        return F.conv2d(x, weight * self.seen(size), None, stride, size // 2) * left, left

    def norm(self, name: str, x: Tensor, exists: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        if self.training:
            count = exists.sum()
            mean = x.sum((0, 2, 3), keepdim=True) / count
            var = ((x - mean).square() * exists).sum((0, 2, 3), keepdim=True) / count
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias) * exists

    def pool(self, x: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        """Maxima of windows of 3 × 3 of numbers that are not negative, so that zeros change nothing."""
        left = F.max_pool2d(exists, 2, ceil_mode=True)
        windows = F.unfold(x, 3, padding=1, stride=2).unflatten(1, (x.size(1), 9))
        most = (windows * self.seen(3).view(9, 1)).amax(2)
        return most.view(*x.shape[:2], *left.shape[2:]) * left, left

    def block(self, name: str, x: Tensor, exists: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        last = 3 if f"{name}.conv3.weight" in self.state else 2
        out, there = x, exists
        for k in range(1, last + 1):
            here = stride if k == last - 1 else 1  # in the convolution of 3 × 3 of a bottleneck
            out, there = self.conv(f"{name}.conv{k}", out, there, here)
            out = self.norm(f"{name}.bn{k}", out, there)
            out = out if k == last else out.relu()
        if f"{name}.downsample.0.weight" in self.state:
            x = self.norm(
                f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, exists, stride)[0], there
            )
        elif stride > 1 or x.size(1) != out.size(1):
            x = x[:, :, ::stride, ::stride]
            x = torch.cat([x, x.new_zeros(x.size(0), out.size(1) - x.size(1), *x.shape[2:])], 1) * there
        return (out + x).relu(), there

    def __call__(self, images: Tensor) -> Tensor:
        small = self.state["conv1.weight"].size(-1) == 3
        x, exists = self.conv("conv1", images, self.exists, 1 if small else 2)
        x = self.norm("bn1", x, exists).relu()
        if not small:
            x, exists = self.pool(x, exists)
        blocks = sorted({tuple(name.split(".")[:2]) for name in self.state if name.startswith("layer")})
        for stage, number in blocks:
            stride = 2 if number == "0" and stage != "layer1" else 1
            x, exists = self.block(f"{stage}.{number}", x, exists, stride)
        mean = x.sum((2, 3)) / exists.sum((2, 3))
        return F.linear(mean, self.state["fc.weight"], self.state["fc.bias"])
