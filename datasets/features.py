"""Features for nodes that come without any."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

MOST_DEGREES = 512


def degree_one_hot(degree: Tensor, highest: int | None = None) -> Tensor:
    """The degree of each node, one-hot (Xu et al., 2019, section 7); from 512 on they count as equal.

    Args:
        degree: `[num_nodes]`.
        highest: the highest degree there is, in this graph or another of the same data set, from which on
            degrees count as equal; by default the highest of these.

    >>> degree_one_hot(torch.tensor([0, 2]), highest=2).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if highest is None:
        highest = int(degree.max()) if degree.numel() else 0
    last = min(highest, MOST_DEGREES)
    return F.one_hot(degree.clamp(max=last), last + 1).float()
