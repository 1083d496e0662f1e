"""The perceptron learns from mistakes, one sample after the other.

Samples in their order are no schedule of the perceptron's own graph: its state, the weights, is on the edges.
So `learn` is an edge update, and `fit` a loop of them, in blocks of samples: between two mistakes nothing
changes, so that a block costs two matrix products, and a step for each mistake. In the dual the samples are
the nodes, and the loop is a schedule: see `mpnn.models.neurons.kernel_perceptron`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.models.dense.neurons import Device, Linear
from mpnn.models.neurons.kernels import check_positive
from mpnn.models.neurons.mistakes import BLOCK, check_samples, mistakes, orders
from mpnn.models.parts.checks import check_count


class Perceptron(Linear):
    """x_i' = sign(Σ_j w_ij x_j + b_i)   (Rosenblatt, 1958).

    After each sample every edge into a neuron that was wrong, t_i a_i ≤ 0, is updated: w_ij += η t_i x_j. On
    data that a plane divides with a margin γ within a ball of radius R, a neuron makes at most (R / γ)²
    mistakes (Novikoff, 1962).

    Args:
        in_features: the number of inputs.
        out_features: the number of neurons, each with targets of its own: one against all others.
        bias: whether to add b.
        graph: which inputs reach which neurons, by default all of them; see `Linear`.

    Shapes: x `[*, in_features]` -> `[*, out_features]`, entries ±1, where a sum of 0 is -1; weight
    `[out_features, in_features]`, or with a graph `[num_edges]`, 0 at first.

    >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> both = torch.tensor([[-1.0], [-1.0], [-1.0], [1.0]])
    >>> perceptron = Perceptron(2, 1).fit(x, both, epochs=20)
    >>> perceptron(x).T, perceptron.mistakes.sum(0)
    (tensor([[-1., -1., -1.,  1.]]), tensor([18]))
    """

    mistakes: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        graph: Graph | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype, graph=graph)
        self.requires_grad_(False)  # mistakes change the weights, not gradients
        self.mistakes = torch.zeros(0, out_features, dtype=torch.int64)

    def reset_parameters(self) -> None:
        """Set all weights to 0."""
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def decision(self, x: Tensor) -> Tensor:
        """What each neuron sums up, `[*, out_features]`; its sign is the neuron's answer."""
        return super().forward(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.decision(x) > 0, 1.0, -1.0).to(x.dtype)

    def edge_update(self, x_j: Tensor, error_i: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij + e_i x_j."""
        return w + error_i * x_j

    @torch.no_grad()
    def learn(self, x: Tensor, target: Tensor, *, lr: float = 1.0) -> Tensor:
        """One sample.

        Args:
            x: `[in_features]`.
            target: `[out_features]`, entries ±1.
            lr: η.

        Returns:
            `[out_features]`, which neurons were wrong.
        """
        wrong = target * self.decision(x) <= 0
        error = lr * target * wrong
        graph = self.graph.to(x.device)
        weight = self.edge_updater(graph, x=(x, None), error=(None, error), w=self._by_edges(graph))
        self._set(graph, weight)
        if self.bias is not None:
            self.bias.add_(error)
        return wrong

    def _by_edges(self, graph: Graph) -> Tensor:
        return self.weight if self.weight.dim() == 1 else self.weight[graph.dst, graph.src]

    def _set(self, graph: Graph, weight: Tensor) -> None:
        if self.weight.dim() == 1:
            self.weight.copy_(weight)
        else:
            self.weight[graph.dst, graph.src] = weight

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        target: Tensor,
        *,
        epochs: int = 10,
        lr: float = 1.0,
        averaged: bool = False,
        generator: torch.Generator | None = None,
    ) -> Perceptron:
        """Go through the samples, from the weights as they are.

        Args:
            x: `[num_samples, in_features]`.
            target: `[num_samples, out_features]`, entries ±1.
            epochs: how often, at most: the samples are left as soon as no neuron was wrong on any of them.
            lr: η, which scales the weights and changes nothing else where they begin at 0.
            averaged: end with the mean of the weights after each sample (Freund and Schapire, 1999), of all
                epochs, which settles where the samples cannot be divided.
            generator: draws an order of the samples for each epoch; by default they stay in theirs.

        Returns:
            The perceptron itself, whose `mistakes` is `[epochs, out_features]`, how many there were.

        Raises:
            ValueError: shapes that do not fit, a target that is not ±1, or features that are not finite.
        """
        check_samples(x, target, self.in_features, self.out_features)
        check_count("epochs", epochs, 1)
        check_positive("lr", lr)
        x, target = x.to(self.weight), target.to(self.weight)
        # For the mean: each change of a parameter, times how late it came.
        late = [torch.zeros_like(parameter) for parameter in self.parameters()] if averaged else []
        counts, place = [], 0
        for order in orders(len(x), epochs, generator):
            counts.append(torch.zeros(self.out_features, dtype=torch.int64))
            for block in torch.split(order, BLOCK if self.weight.dim() == 2 else 1):
                wrong = self._block(x[block], target[block], lr, late, place)
                counts[-1] += wrong.sum(0).cpu()
                place += len(block)
            if not counts[-1].any():
                break
        for parameter, sum_of in zip(self.parameters(), late, strict=False):
            parameter.sub_(sum_of / (epochs * len(x)))
        self.mistakes = torch.stack(counts)
        return self

    def _block(self, x: Tensor, target: Tensor, lr: float, late: list[Tensor], before: int) -> Tensor:
        """Learn from the samples of a block in order; `before` samples came earlier."""
        if self.weight.dim() == 1:
            return self._one_by_one(x, target, lr, late, before)
        products = x @ x.T + (self.bias is not None)
        wrong = mistakes(self.decision(x), target, lr * products)
        places = wrong.any(1).nonzero().flatten()
        errors, samples = lr * (target * wrong)[places], x[places]
        weight, bias = self.weight, self.bias
        for error, sample in zip(errors, samples, strict=True):  # in order, so that sums round in order
            weight.add_(torch.outer(error, sample))
            if bias is not None:
                bias.add_(error)
        if late:
            delayed = (before + places)[:, None] * errors
            late[0].add_(delayed.T @ samples)
        if late and bias is not None:
            late[1].add_(delayed.sum(0))
        return wrong

    def _one_by_one(self, x: Tensor, target: Tensor, lr: float, late: list[Tensor], before: int) -> Tensor:
        """As the equation says: neurons with inputs of their own share no products of samples."""
        was = [parameter.clone() for parameter in self.parameters()]
        wrong = self.learn(x[0], target[0], lr=lr)
        for parameter, old, sum_of in zip(self.parameters(), was, late, strict=False):
            sum_of += before * (parameter - old)
        return wrong[None]
