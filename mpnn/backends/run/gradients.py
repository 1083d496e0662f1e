"""The gradients of linear maps x W + b, added up while a kernel makes that of their result."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mpnn.backends.run import own_rows
from mpnn.backends.run.plans import Kernel
from mpnn.graph.graph import Graph
from mpnn.native.pool import empty
from mpnn.native.products import gram, multiply
from mpnn.plan.dropout import Seed
from mpnn.plan.stems import Inputs, LinearMap, MappedRows


class Gradients:
    """The gradients of the tensors that a kernel's inputs are made of.

    Args:
        inputs: how they are made; of these tensors none stands for another.
        tensors: what they are made of.
        wanted: of which of the tensors a gradient is asked for.
    """

    def __init__(self, inputs: Inputs, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> None:
        self._inputs, self._tensors, self._wanted = inputs.each, tensors, wanted
        self._found: list[Tensor | None] = [None] * len(tensors)
        self._first: dict[int, int] = {}  # which of the inputs was the first to add to a tensor's rows

    def run(
        self,
        kernel: Kernel,
        targets: Sequence[int],
        graph: Graph,
        inputs: Sequence[Tensor | MappedRows],
        seed: Seed,
    ) -> list[Tensor | None]:
        """Run a kernel, and take those of its outputs that are the gradient of a linear map.

        Args:
            kernel: of the backward pass.
            targets: of each of its outputs, which of the inputs it is the gradient of; -1 if of none.
            graph, inputs, seed: what the kernel takes.

        Returns:
            The other outputs, None in place of those that were taken.
        """
        taken = [k >= 0 and isinstance(self._inputs[k], LinearMap) for k in targets]
        if not any(taken):
            return [*own_rows.run(kernel, graph, inputs, seed)]
        outputs: list[Tensor] = []
        for rows, outputs in kernel.blocks(graph, own_rows.ready(kernel.program, inputs), seed, taken):
            for k, output, take in zip(targets, outputs, taken, strict=True):
                if take:
                    self._add_rows(k, rows, output)
        return [None if take else output for output, take in zip(outputs, taken, strict=True)]

    def _add_rows(self, k: int, rows: slice, gradient: Tensor) -> None:
        """Take some rows of the gradient of input k; all of its rows come in turn."""
        one = self._inputs[k]
        assert isinstance(one, LinearMap)
        gradient = gradient.view(gradient.size(0), -1)
        if self._wanted[one.x]:
            known = self._found[one.x]
            if known is None:
                like = self._tensors[one.x]
                known = self._found[one.x] = empty(like.shape, like.dtype, like.device)
            total, first = known[rows], self._first.setdefault(one.x, k) == k
            multiply(gradient, self._tensors[one.weight].t(), total, None if first else total)
        if self._wanted[one.weight]:
            # W is mostly a transposed parameter, whose gradient then lies in memory as it does.
            self._add(one.weight, gram(gradient, self._tensors[one.x][rows]).t())
        if one.bias is not None and self._wanted[one.bias]:
            self._add(one.bias, gradient.sum(0))

    def _add(self, place: int, part: Tensor) -> None:
        known = self._found[place]
        self._found[place] = part if known is None else known.add_(part)

    def with_others(self, others: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradients of the tensors, once those of the other inputs are known as well."""
        for one, gradient in zip(self._inputs, others, strict=True):
            if gradient is not None:
                assert isinstance(one, int)
                known = self._found[one]
                self._found[one] = gradient if known is None else known.add_(gradient)
        return self._found
