"""The perceptron and its dual, the kernel perceptron: they learn from mistakes, one sample after the other.

Samples in their order are no schedule of the perceptron's own graph: its state, the weights, is on the edges.
In the dual the samples are the nodes, and learning is the asynchronous schedule on their complete graph:
`mpnn.iterate` runs it. `fit` computes the same numbers without edges, in blocks of samples: between two
mistakes nothing changes, so that a block costs a few matrix products, and a step for each mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpnn import Graph, MessagePassing
from mpnn.models.dense.neurons import Device, Linear
from mpnn.models.neurons.kernels import Kernel, PolynomialKernel
from mpnn.models.parts.checks import check_count, check_number

Floats = NDArray[np.floating]
BLOCK = 256  # samples whose pairs are computed at once
ROWS = 8192  # samples that learn of a block's mistakes at once


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
        _check(x, target, self.in_features, self.out_features)
        check_count("epochs", epochs, 1)
        check_number("lr", lr, 0)
        x, target = x.to(self.weight), target.to(self.weight)
        late = [torch.zeros_like(p) for p in self.parameters()]  # what came how late, for the mean
        counts, place = [], 0
        for order in _orders(len(x), epochs, generator):
            counts.append(torch.zeros(self.out_features, dtype=torch.int64))
            for block in torch.split(order, BLOCK if self.weight.dim() == 2 else 1):
                wrong = self._block(x[block], target[block], lr, late, place)
                counts[-1] += wrong.sum(0).cpu()
                place += len(block)
            if not counts[-1].any():
                break
        if averaged:
            for parameter, sum_of in zip(self.parameters(), late, strict=True):
                parameter.sub_(sum_of / (epochs * len(x)))
        self.mistakes = torch.stack(counts)
        return self

    def _block(self, x: Tensor, target: Tensor, lr: float, late: list[Tensor], before: int) -> Tensor:
        """Learn from the samples of a block in order; `before` samples came earlier."""
        if self.weight.dim() == 1:
            return self._one_by_one(x, target, lr, late, before)
        products = x @ x.T + (self.bias is not None)
        wrong = mistakes(self.decision(x), target, lr * products)
        parameters = list(self.parameters())
        for k in wrong.any(1).nonzero().flatten().tolist():
            error = lr * target[k] * wrong[k]
            changes = [torch.outer(error, x[k]), error]
            for parameter, change, sum_of in zip(parameters, changes, late, strict=False):
                parameter.add_(change)
                sum_of += (before + k) * change
        return wrong

    def _one_by_one(self, x: Tensor, target: Tensor, lr: float, late: list[Tensor], before: int) -> Tensor:
        """As the equation says: neurons with inputs of their own share no products of samples."""
        was = [parameter.clone() for parameter in self.parameters()]
        wrong = self.learn(x[0], target[0], lr=lr)
        for parameter, old, sum_of in zip(self.parameters(), was, late, strict=True):
            sum_of += before * (parameter - old)
        return wrong[None]


class KernelPerceptron(MessagePassing):
    """α_i' = α_i + [t_i Σ_j α_j t_j K(x_j, x_i) ≤ 0], a sample at a time   (Freund and Schapire, 1999).

    The dual of the perceptron: the nodes are the samples, each with an edge to all, and α_i counts how often
    sample i was mistaken. With K = x·y + 1 it is the perceptron with bias, w = Σ_i α_i t_i x_i. `message` and
    `update` are the equation, for `mpnn.iterate` under the asynchronous schedule; `fit` is the same without
    edges: a mistake changes what all samples receive, so that n² numbers of K are looked at, but never kept.

    Args:
        kernel: K, a `PolynomialKernel` or `RadialKernel`; by default x·y + 1.

    Shapes: x `[n, features]` -> `[n, num_outputs]`, entries ±1; after `fit`, `samples` are those with α > 0,
    `[num_support, features]`, and `weight` is α t of them, `[num_support, num_outputs]`.

    >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> either = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
    >>> KernelPerceptron(PolynomialKernel(2)).fit(x, either, epochs=50)(x).T
    tensor([[-1.,  1.,  1., -1.]])
    """

    state = ("alpha",)
    samples: Tensor
    weight: Tensor
    mistakes: Tensor

    def __init__(self, kernel: Kernel | None = None) -> None:
        super().__init__("sum")
        if not isinstance(kernel, Kernel | None):
            raise TypeError(f"kernel must be a Kernel, got {type(kernel).__name__}.")
        self.kernel = PolynomialKernel() if kernel is None else kernel
        self.register_buffer("samples", torch.zeros(0, 0))
        self.register_buffer("weight", torch.zeros(0, 0))
        self.mistakes = torch.zeros(0, 0, dtype=torch.int64)

    def message(self, alpha_j: Tensor, t_j: Tensor, x_i: Tensor, x_j: Tensor) -> Tensor:  # type: ignore[override]
        """α_j t_j K(x_j, x_i)."""
        k: Tensor = self.kernel(x_j, x_i)
        return alpha_j * t_j * k[:, None]

    def update(self, inputs: Tensor, alpha: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        """α_i + 1 where t_i a_i ≤ 0."""
        return alpha + (t * inputs <= 0)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        target: Tensor,
        *,
        epochs: int = 10,
        averaged: bool = False,
        generator: torch.Generator | None = None,
        on_epoch: Callable[[Tensor], None] | None = None,
    ) -> KernelPerceptron:
        """Go through the samples, from α = 0.

        Args:
            x: `[num_samples, features]`.
            target: `[num_samples, num_outputs]`, entries ±1.
            epochs, averaged, generator: as for `Perceptron.fit`.
            on_epoch: called with the number of mistakes of each output after each epoch.

        Returns:
            The network itself; memory is that of the samples, and of a block of rows of the matrix of K.

        Raises:
            ValueError: shapes that do not fit, a target that is not ±1, or features that are not finite.
        """
        _check(x, target, None, None)
        check_count("epochs", epochs, 1)
        target = target.to(x)
        received = torch.zeros_like(target, dtype=torch.float64)
        alpha, late = torch.zeros_like(received), torch.zeros_like(received)
        counts, place = [], 0
        for order in _orders(len(x), epochs, generator):
            counts.append(torch.zeros(target.size(1), dtype=torch.int64))
            for block in torch.split(order.to(x.device), BLOCK):
                gram = self.kernel.matrix(x[block], x[block])
                wrong = mistakes(received[block], target[block], gram)
                sample, output = wrong.nonzero(as_tuple=True)
                alpha[block[sample], output] += 1
                late[block[sample], output] += place + sample
                self._tell(received, x, target, block, wrong)
                counts[-1] += wrong.sum(0).cpu()
                place += len(block)
            if on_epoch is not None:
                on_epoch(counts[-1])
            if not counts[-1].any():
                break
        if averaged:
            alpha -= late / (epochs * len(x))
        is_support = (alpha != 0).any(1)
        self.samples = x[is_support].clone()
        self.weight = (alpha * target)[is_support].to(x.dtype)
        self.mistakes = torch.stack(counts)
        return self

    def _tell(self, received: Tensor, x: Tensor, target: Tensor, block: Tensor, wrong: Tensor) -> None:
        """All samples receive what a block's mistakes change: messages along the edges that leave it."""
        rows = wrong.any(1)
        if not rows.any():
            return
        sources, change = x[block[rows]], target[block[rows]] * wrong[rows]
        for part in range(0, len(x), ROWS):
            received[part : part + ROWS] += self.kernel.matrix(x[part : part + ROWS], sources) @ change

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("samples", "weight"):  # as many as there were mistaken
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def decision(self, x: Tensor) -> Tensor:
        """Σ_j α_j t_j K(x_j, x), `[n, num_outputs]`."""
        parts = [self.kernel.matrix(part, self.samples) @ self.weight for part in torch.split(x, ROWS)]
        return torch.cat(parts) if parts else x.new_zeros(0, self.weight.size(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.decision(x) > 0, 1.0, -1.0).to(x.dtype)

    def extra_repr(self) -> str:
        """How many samples it is made of."""
        return f"num_support={len(self.samples)}"


def mistakes(scores: Tensor, target: Tensor, products: Tensor) -> Tensor:
    """Which outputs are wrong on which samples of a block, one sample after the other.

    Between two mistakes nothing changes, and after one the samples behind it are told of it.

    Args:
        scores: `[num_samples, num_outputs]`, before the first sample.
        target: the same, entries ±1.
        products: `[num_samples, num_samples]`, how much a mistake on one sample adds to the score of another.
    """
    margin = (scores * target).cpu().numpy().copy()
    sign, product = target.cpu().numpy(), products.cpu().numpy()
    wrong = np.zeros(margin.shape, dtype=bool)
    for k in _wrong_samples(margin):
        wrong[k] = margin[k] <= 0
        margin[k + 1 :] += product[k, k + 1 :, None] * (sign[k] * wrong[k]) * sign[k + 1 :]
    return torch.from_numpy(wrong).to(scores.device)


def _wrong_samples(margin: Floats) -> Iterator[int]:
    """The samples that are wrong when their turn comes, while the margins behind each of them change."""
    k = 0
    while k < len(margin):
        places = np.flatnonzero((margin[k:] <= 0).any(1))
        if not len(places):
            return
        yield k + int(places[0])
        k += int(places[0]) + 1


def _orders(number: int, epochs: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield torch.arange(number) if generator is None else torch.randperm(number, generator=generator)


def _check(x: Tensor, target: Tensor, in_features: int | None, out_features: int | None) -> None:
    if x.dim() != 2 or not len(x) or (in_features is not None and x.size(1) != in_features):
        wanted = "features" if in_features is None else in_features
        raise ValueError(f"x must be [num_samples, {wanted}], got shape {list(x.shape)}.")
    if target.dim() != 2 or len(target) != len(x) or (out_features not in (None, target.size(1))):
        wanted = "num_outputs" if out_features is None else out_features
        raise ValueError(f"target must be [{len(x)}, {wanted}], got shape {list(target.shape)}.")
    bad = (target.abs() != 1).nonzero()
    if bad.numel():
        i, k = bad[0].tolist()
        raise ValueError(f"target[{i}, {k}] is {target[i, k].item()}, but must be 1 or -1.")
    if not x.isfinite().all():
        i, k = (~x.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"x[{i}, {k}] is {x[i, k].item()}, but must be a finite number.")
