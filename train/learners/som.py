"""The self-organising map on images."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.models import SelfOrganisingMap
from mpnn.topology import lattice
from mpnn.train.learners.learner import CodeLearner

LAST_SIGMA = 0.6  # units that win nothing learn from their neighbours


class SOMLearner(CodeLearner):
    """All images at once move the units; σ falls from half the map to less than one (Kohonen, 1990).

    Args:
        map: the lattice of units.
        num_pixels: of an image, over all channels.
        epochs: how many there will be.

    Shapes: x `[batch, channels, height, width]` -> the row and the column of the nearest unit, `[batch, 2]`.
    """

    learns_whole = True

    def __init__(self, map: Graph, num_pixels: int, epochs: int) -> None:
        super().__init__()
        self.map, self.epochs, self.epoch = SelfOrganisingMap(map, num_pixels), epochs, 0

    def begin(self, epoch: int) -> None:
        """σ of an epoch follows from its number."""
        self.epoch = epoch

    @property
    def sigma(self) -> float:
        """How far a winner reaches, now."""
        first = max(max(self.map.shape) / 2, LAST_SIGMA)
        return float(first * (LAST_SIGMA / first) ** (self.epoch / max(1, self.epochs - 1)))

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the quantisation error before the step."""
        rows = x.flatten(1)
        if self.epoch == 0:
            self.map.random_weights_init(rows, seed=int(torch.randint(2**31 - 1, ())))
        loss = self.map.quantization_error(rows)
        self.map.learn(rows, self.sigma, 1.0)
        return x.new_tensor(loss)

    @torch.no_grad()
    def scores(self, x: Tensor) -> dict[str, float]:
        """The mean distance to the nearest unit, and how often the two nearest are no neighbours."""
        rows = x.flatten(1)
        distance = self.map.quantization_error(rows)
        return {"loss": distance, "distance": distance, "torn": self.map.topographic_error(rows)}

    @torch.no_grad()
    def reconstructed(self, x: Tensor) -> Tensor:
        """The nearest unit."""
        return self.map.weight[self.map.winner(x.flatten(1))].view_as(x)

    def prototypes(self) -> Tensor:
        """The weights of each unit."""
        return self.map.weight

    def forward(self, x: Tensor) -> Tensor:
        winner = self.map.winner(x.flatten(1))
        columns = self.map.shape[-1]
        return torch.stack([winner // columns, winner % columns], 1).to(x.dtype)


def lattice_called(rows: int, columns: int, form: str) -> Graph:
    """A square or hexagonal lattice, or a square one on a torus."""
    return lattice((rows, columns), hexagonal=form == "hexagonal", torus=form == "torus")
