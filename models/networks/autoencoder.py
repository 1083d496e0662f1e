"""Graph autoencoders: an encoder makes a vector of each node, a decoder scores pairs of vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.parts.checks import at_least, ranges
from mpnn.models.parts.linear import reset
from mpnn.models.parts.mlp import mlp

MOST_LOG_DEVIATION = 10.0
SMALLEST = 1e-15  # of a probability inside a logarithm


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


class InnerProductDecoder(nn.Module):
    """p(i -> j) = σ(z_i · z_j), one probability for each pair; with PyG's name and arguments.

    Shapes: z `[num_nodes, channels]`, edge_index `[2, num_pairs]` -> `[num_pairs]`; without `sigmoid` before
    the σ.
    """

    def forward(self, z: Tensor, edge_index: Tensor, sigmoid: bool = True) -> Tensor:
        score = (z[edge_index[0]] * z[edge_index[1]]).sum(dim=1)
        return score.sigmoid() if sigmoid else score

    def forward_all(self, z: Tensor, sigmoid: bool = True) -> Tensor:
        """All pairs, `[num_nodes, num_nodes]`."""
        scores = z @ z.t()
        return scores.sigmoid() if sigmoid else scores


class GAE(nn.Module):
    """z = encoder(x, graph),   p(i -> j) = σ(z_i · z_j)   (Kipf and Welling, 2016).

    With PyG's name, arguments and methods; and `model(x, graph, pairs)` is the scores of pairs.

    Args:
        encoder: a network on graphs, called with what `encode` is.
        decoder: by default `InnerProductDecoder`; or a module from z and pairs of nodes to scores, such as
            `PairMLP`.

    Shapes: x `[num_nodes, in_channels]` -> `[num_nodes, channels]`, with pairs `[2, num_pairs]` ->
    `[num_pairs, 1]`, before the σ.

    >>> from mpnn.models import GNN
    >>> model = GAE(GNN(3, 16, 8))
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> z = model(torch.ones(3, 3), path)
    >>> z.shape, model.decode(z, path).shape, model.recon_loss(z, path).shape
    (torch.Size([3, 8]), torch.Size([4]), torch.Size([]))
    >>> model(torch.ones(3, 3), path, torch.tensor([[0], [2]])).shape
    torch.Size([1, 1])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = InnerProductDecoder() if decoder is None else decoder
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters of both networks anew."""
        reset(self.encoder)
        reset(self.decoder)

    def encode(self, *args: Any, **kwargs: Any) -> Tensor:
        """A vector for every node, `[num_nodes, channels]`, of what the encoder takes."""
        z: Tensor = self.encoder(*args, **kwargs)
        return z

    def decode(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the decoder says of vectors and pairs."""
        decoded: Tensor = self.decoder(*args, **kwargs)
        return decoded

    def score(self, z: Tensor, pairs: Tensor) -> Tensor:
        """The scores of pairs before the σ, `[num_pairs, *]`."""
        if isinstance(self.decoder, InnerProductDecoder):
            return self.decoder(z, pairs, sigmoid=False).unsqueeze(-1)  # type: ignore[no-any-return]
        scores: Tensor = self.decoder(z, pairs)
        return scores

    def forward(self, *args: Any, pairs: Tensor | None = None, **kwargs: Any) -> Any:
        if pairs is None and _are_pairs(args):
            args, pairs = args[:2], args[2]
        if pairs is None:  # as in PyG: a VGAE gives μ and log σ, and `encode` what is drawn
            return self.encoder(*args, **kwargs)
        return self.score(self.encode(*args, **kwargs), pairs)

    def reconstruct(
        self, x: Tensor, graph: Topology, pairs: Tensor, **edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scores of the pairs in training, and the term to add to their loss, 0."""
        scores = self(x, graph, pairs=pairs, **edges)
        return scores, scores.new_zeros(())

    def recon_loss(self, z: Tensor, pos_edge_index: Tensor, neg_edge_index: Tensor | None = None) -> Tensor:
        """Binary cross-entropy of links and of other pairs, the mean of each, a scalar.

        Args:
            z: `[num_nodes, channels]`.
            pos_edge_index: links, `[2, num_links]`.
            neg_edge_index: pairs that are no links; by default as many are drawn by PyG's
                `negative_sampling`.
        """
        if neg_edge_index is None:
            from torch_geometric.utils import negative_sampling

            neg_edge_index = negative_sampling(pos_edge_index, z.size(0))
        links, others = self._probabilities(z, pos_edge_index), self._probabilities(z, neg_edge_index)
        return -(links + SMALLEST).log().mean() - (1 - others + SMALLEST).log().mean()

    def test(self, z: Tensor, pos_edge_index: Tensor, neg_edge_index: Tensor) -> tuple[float, float]:
        """Area under the ROC curve and average precision, of links against other pairs."""
        from sklearn.metrics import average_precision_score, roc_auc_score

        each = [self._probabilities(z, pairs).flatten() for pairs in (pos_edge_index, neg_edge_index)]
        y = torch.cat([z.new_ones(each[0].numel()), z.new_zeros(each[1].numel())])
        truth, predicted = (part.detach().cpu().numpy() for part in (y, torch.cat(each)))
        return roc_auc_score(truth, predicted), average_precision_score(truth, predicted)

    def _probabilities(self, z: Tensor, pairs: Tensor) -> Tensor:
        if isinstance(self.decoder, DotProduct | PairMLP):
            return self.score(z, pairs).sigmoid()
        probabilities: Tensor = self.decoder(z, pairs, sigmoid=True)
        return probabilities


class VGAE(GAE):
    """q(z_i) = N(μ_i, σ_i²) with (μ, log σ) = encoder(x, graph),   p(i -> j) = σ(z_i · z_j)   (ibid.).

    In training z is drawn from q; in evaluation it is μ.

    Args:
        encoder: a network that gives the pair (μ, log σ), or both side by side, twice as wide as z.
        decoder: as in `GAE`.

    >>> from mpnn.models import GNN
    >>> model = VGAE(GNN(3, 16, 2 * 8))
    >>> z = model.encode(torch.ones(2, 3), torch.tensor([[0, 1], [1, 0]]))
    >>> z.shape, model.kl_loss().shape
    (torch.Size([2, 8]), torch.Size([]))
    """

    def posterior(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """μ and log σ, each `[num_nodes, channels]`."""
        out = self.encoder(*args, **kwargs)
        mean, log_deviation = out.chunk(2, dim=-1) if isinstance(out, Tensor) else out
        return mean, log_deviation.clamp(max=MOST_LOG_DEVIATION)

    def reparametrize(self, mu: Tensor, logstd: Tensor) -> Tensor:
        """Draw z from q in training; it is μ in evaluation."""
        return mu + torch.randn_like(logstd) * logstd.exp() if self.training else mu

    def encode(self, *args: Any, **kwargs: Any) -> Tensor:
        """Z, `[num_nodes, channels]`; `kl_loss` knows its μ and σ until the next call."""
        mean, log_deviation = self.posterior(*args, **kwargs)
        if not torch.compiler.is_exporting():
            self._last = mean, log_deviation
        return self.reparametrize(mean, log_deviation)

    def kl_loss(self, mu: Tensor | None = None, logstd: Tensor | None = None) -> Tensor:
        """KL(q || N(0, 1)), summed over channels and averaged over nodes: of these, or of the last `encode`.

        Raises:
            ValueError: neither is there.
        """
        last = getattr(self, "_last", (None, None))
        mean = last[0] if mu is None else mu
        log_deviation = last[1] if logstd is None else logstd.clamp(max=MOST_LOG_DEVIATION)
        if mean is None or log_deviation is None:
            raise ValueError("kl_loss() needs mu and logstd, or a call of encode() before it.")
        return divergence(mean, log_deviation)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_last"}  # no copy of a graph

    def reconstruct(
        self, x: Tensor, graph: Topology, pairs: Tensor, **edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scores of the pairs with z drawn from q, and the divergence of q from N(0, 1).

        The divergence is divided by the number of nodes, as in the authors' code, and by 2, since the loss
        here is the mean over links and other pairs together, and theirs is the sum of the two means.
        """
        mean, log_deviation = self.posterior(x, graph, **edges)
        z = mean + torch.randn_like(log_deviation) * log_deviation.exp()
        return self.score(z, pairs), divergence(mean, log_deviation) / (2 * mean.size(0))


def _are_pairs(args: tuple[Any, ...]) -> bool:
    """Whether the third argument is pairs of nodes: integers `[2, num_pairs]`, which edges do not carry."""
    third = args[2] if len(args) == 3 else None
    return isinstance(third, Tensor) and third.dtype == torch.int64 and third.dim() == 2 and len(third) == 2


def divergence(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """KL(N(μ, σ²) || N(0, 1)), summed over the channels and averaged over the nodes.

    >>> divergence(torch.zeros(3, 2), torch.zeros(3, 2)).abs()
    tensor(0.)
    """
    each = 1 + 2 * log_deviation - mean.square() - (2 * log_deviation).exp()
    return -0.5 * each.sum(dim=1).mean()
