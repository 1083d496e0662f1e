"""Small networks inside layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn.models.parts.linear import Projection


def mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """A module of two linear maps with a ReLU between them."""
    return nn.Sequential(
        Projection(in_channels, hidden_channels), nn.ReLU(), Projection(hidden_channels, out_channels)
    )


class Joint(nn.Module):
    """A network on the concatenation of its arguments that are not None.

    >>> Joint(mlp(5, 8, 2))(torch.ones(4, 3), None, torch.ones(4, 2)).shape
    torch.Size([4, 2])
    """

    def __init__(self, nn: nn.Module) -> None:
        super().__init__()
        self.nn = nn

    def forward(self, *parts: Tensor | None) -> Tensor:
        out: Tensor = self.nn(torch.cat([part for part in parts if part is not None], dim=-1))
        return out
