"""Graph autoencoders: an encoder makes a vector of each node, a decoder scores pairs of vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.parts.checks import at_least, ranges
from mpnn.models.parts.mlp import mlp

MOST_LOG_DEVIATION = 10.0


class DotProduct(nn.Module):
    """s(i, j) = z_i · z_j, one score for each pair.

    Shapes: z `[num_nodes, channels]`, pairs `[2, num_pairs]` -> `[num_pairs, 1]`.
    """

    def forward(self, z: Tensor, pairs: Tensor) -> Tensor:
        return (z[pairs[0]] * z[pairs[1]]).sum(dim=-1, keepdim=True)


@ranges(channels=at_least(1), out_channels=at_least(0))
class PairMLP(nn.Module):
    """s(i, j) = MLP(z_i || z_j || z_i z_j), where the order of the pair may matter.

    Shapes: z `[num_nodes, channels]`, pairs `[2, num_pairs]` -> `[num_pairs, out_channels]`.

    >>> PairMLP(8, 3)(torch.ones(4, 8), torch.tensor([[0, 1], [2, 3]])).shape
    torch.Size([2, 3])
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.mlp = mlp(3 * channels, channels, out_channels)

    def forward(self, z: Tensor, pairs: Tensor) -> Tensor:
        left, right = z[pairs[0]], z[pairs[1]]
        scores: Tensor = self.mlp(torch.cat([left, right, left * right], dim=-1))
        return scores


class GAE(nn.Module):
    """z = encoder(x, graph),   p(i -> j) = σ(z_i · z_j)   (Kipf and Welling, 2016).

    Args:
        encoder: a network on graphs, called as `encoder(x, graph)`.
        decoder: a module from z and pairs of nodes to scores; by default `DotProduct`.

    Shapes: x `[num_nodes, in_channels]`, pairs `[2, num_pairs]` -> `[num_pairs, 1]`, before the σ.

    >>> from mpnn.models import GNN
    >>> model = GAE(GNN(3, 16, 8))
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> model(torch.ones(3, 3), path, torch.tensor([[0], [2]])).shape
    torch.Size([1, 1])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = DotProduct() if decoder is None else decoder

    def encode(self, x: Tensor, graph: Topology, **edges: Tensor) -> Tensor:
        """A vector for every node, `[num_nodes, channels]`."""
        z: Tensor = self.encoder(x, graph, **edges)
        return z

    def forward(self, x: Tensor, graph: Topology, pairs: Tensor, **edges: Tensor) -> Tensor:
        scores: Tensor = self.decoder(self.encode(x, graph, **edges), pairs)
        return scores

    def reconstruct(
        self, x: Tensor, graph: Topology, pairs: Tensor, **edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scores of the pairs in training, and the term to add to their loss, 0."""
        scores = self(x, graph, pairs, **edges)
        return scores, scores.new_zeros(())


class VGAE(GAE):
    """q(z_i) = N(μ_i, σ_i²) with (μ, log σ) = encoder(x, graph),   p(i -> j) = σ(z_i · z_j)   (ibid.).

    In training z is drawn from q; in evaluation it is μ.

    Args:
        encoder: a network whose output is twice as wide as z: μ, then log σ.
        decoder: as in `GAE`.

    >>> from mpnn.models import GNN
    >>> model = VGAE(GNN(3, 16, 2 * 8))
    >>> model.encode(torch.ones(2, 3), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([2, 8])
    """

    def posterior(self, x: Tensor, graph: Topology, **edges: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ, each `[num_nodes, channels]`."""
        mean, log_deviation = self.encoder(x, graph, **edges).chunk(2, dim=-1)
        return mean, log_deviation.clamp(max=MOST_LOG_DEVIATION)

    def encode(self, x: Tensor, graph: Topology, **edges: Tensor) -> Tensor:
        """μ, `[num_nodes, channels]`."""
        return self.posterior(x, graph, **edges)[0]

    def reconstruct(
        self, x: Tensor, graph: Topology, pairs: Tensor, **edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scores of the pairs with z drawn from q, and the divergence of q from N(0, 1).

        The divergence is divided by the number of nodes, as in the authors' code, and by 2, since the loss
        here is the mean over links and other pairs together, and theirs is the sum of the two means.
        """
        mean, log_deviation = self.posterior(x, graph, **edges)
        z = mean + log_deviation.exp() * torch.randn_like(mean)
        return self.decoder(z, pairs), divergence(mean, log_deviation) / (2 * mean.size(0))


def divergence(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """KL(N(μ, σ²) || N(0, 1)), summed over the channels and averaged over the nodes.

    >>> divergence(torch.zeros(3, 2), torch.zeros(3, 2)).abs()
    tensor(0.)
    """
    each = 1 + 2 * log_deviation - mean.square() - (2 * log_deviation).exp()
    return -0.5 * each.sum(dim=1).mean()
