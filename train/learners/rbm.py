"""The restricted Boltzmann machine and the deep belief network on images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.models import DBN, RBM, ContrastiveDivergence
from mpnn.train.learners.learner import CodeLearner, Learner

STEPS = 2**20  # sweeps between the random numbers of two epochs
RATE = 0.1  # of the layers that learn alone


class RBMLearner(CodeLearner):
    """By contrastive divergence, one sweep for each batch (Hinton, 2002); its code is p(h | x).

    Args:
        num_pixels: the number of visible units, over all channels.
        num_hidden: that of hidden ones.
        seed: of its random numbers.

    Shapes: x `[batch, channels, height, width]`, between 0 and 1 -> `[batch, num_hidden]`.
    """

    def __init__(self, num_pixels: int, num_hidden: int, seed: int = 0) -> None:
        super().__init__()
        self.rbm = RBM(num_pixels, num_hidden)
        self.rule = ContrastiveDivergence(self.rbm, seed=seed)

    def begin(self, epoch: int) -> None:
        """The random numbers of an epoch follow from its number."""
        self.rule.sweep = epoch * STEPS

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the squared error of the reconstruction of an image."""
        return step(self.rule, x.flatten(1))

    @torch.no_grad()
    def scores(self, x: Tensor) -> dict[str, float]:
        """The squared error per image."""
        error = error_of(x, self.reconstructed(x))
        return {"loss": error, "error": error}

    @torch.no_grad()
    def reconstructed(self, x: Tensor) -> Tensor:
        """Up and down again, by means."""
        return self._again(x.flatten(1)).view_as(x)

    @torch.no_grad()
    def sampled(self, number: int) -> Tensor:
        """After a thousand sweeps, the means of visible units."""
        _, hidden = self.rbm.sample(num_chains=number, sweeps=1000)
        return self.rbm.visible(hidden)

    def prototypes(self) -> Tensor:
        """The weights of each hidden unit."""
        return self.rbm.weight.detach()

    def _again(self, v: Tensor) -> Tensor:
        return self.rbm.visible(self.rbm.hidden(v))

    def forward(self, x: Tensor) -> Tensor:
        return self.rbm.hidden(x.flatten(1))


class DBNLearner(Learner):
    """Layers of RBMs, each learned on those below, then the whole network by gradients (Hinton et al., 2006).

    Args:
        sizes: the number of pixels, over all channels, and those of hidden units.
        num_classes: of the answers.
        pretrain: epochs that each layer has for itself.
        seed: of the random numbers.

    Shapes: x `[batch, channels, height, width]`, between 0 and 1 -> `[batch, num_classes]`.
    """

    def __init__(self, sizes: list[int], num_classes: int, pretrain: int, seed: int = 0) -> None:
        super().__init__()
        self.dbn, self.pretrain = DBN(sizes), pretrain
        self.network: nn.Sequential = self.dbn.to_network(num_classes)
        self.rules = [ContrastiveDivergence(rbm, seed=seed + k) for k, rbm in enumerate(self.dbn.layers)]
        self.layer = 0  # that learns; beyond the last all of them

    def begin(self, epoch: int) -> None:
        """Go to the layer whose turn it is; behind the last the network takes their weights."""
        depth = len(self.rules)
        self.layer = min(epoch // self.pretrain, depth) if self.pretrain else depth
        if self.layer < depth:
            self.rules[self.layer].sweep = epoch * STEPS
        elif epoch == self.pretrain * depth:
            self._take()

    def _take(self) -> None:
        learned: dict[str, Any] = self.dbn.to_network(self.network[-1].out_features).state_dict()  # type: ignore[arg-type]
        self.network.load_state_dict(learned)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the error of a layer's reconstruction, then the cross-entropy."""
        v = x.flatten(1)
        if self.layer == len(self.rules):
            return F.cross_entropy(self.network(v), y)
        rule = self.rules[self.layer]
        with torch.no_grad():
            loss = step(rule, self.dbn(v, self.layer))
            for parameter in rule.rbm.parameters():  # the optimiser's rate is that of the whole network
                if parameter.grad is not None:
                    parameter.sub_(RATE * parameter.grad)
                parameter.grad = None
        return loss

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x.flatten(1))
        return out

    def embed(self, x: Tensor) -> Tensor:
        """The last hidden layer."""
        hidden: Tensor = self.network[:-1](x.flatten(1))
        return hidden


def step(rule: ContrastiveDivergence, v: Tensor) -> Tensor:
    """Put the gradient where the optimiser finds it; return the error of the reconstruction."""
    rule.backward(v)
    with torch.no_grad():
        again = rule.rbm.visible(rule.rbm.hidden(v))
        return (v - again).square().sum(1).mean()


def error_of(x: Tensor, again: Tensor) -> float:
    """The squared error of an image, the mean over all."""
    return float((x - again).flatten(1).square().sum(1).mean())
