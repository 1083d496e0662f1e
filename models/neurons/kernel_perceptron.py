"""The kernel perceptron, the dual of the perceptron: its nodes are the samples.

Learning is the asynchronous schedule on their complete graph, until nothing changes: `mpnn.iterate` runs it.
`fit` computes the same numbers without edges: what each sample receives is kept, and changes by the messages
of those alone that were mistaken, a block of samples at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mpnn import MessagePassing
from mpnn.models.neurons.kernels import Kernel, PolynomialKernel
from mpnn.models.neurons.mistakes import BLOCK, check_samples, mistakes, orders
from mpnn.models.parts.checks import check_count

ROWS = 8192  # samples that learn of a block's mistakes at once


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
            ValueError: shapes that do not fit, a target that is not ±1, features that are not finite, or a
                kernel whose numbers are too large.
        """
        check_samples(x, target)
        check_count("epochs", epochs, 1)
        target = target.to(x)
        received = torch.zeros_like(target, dtype=torch.float64)
        alpha, late = torch.zeros_like(received), torch.zeros_like(received)
        counts, place = [], 0
        for order in orders(len(x), epochs, generator):
            counts.append(torch.zeros(target.size(1), dtype=torch.int64))
            for block in torch.split(order.to(x.device), BLOCK):
                gram = self.kernel.matrix(x[block], x[block])
                if not gram.isfinite().all():
                    raise ValueError(f"K of the samples is beyond {x.dtype}: scale x, or lower its degree.")
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
