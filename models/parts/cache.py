"""The cache behind `cached=True`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.borrowed import version_of
from mpnn.graph.contents import Latest, contents

T = TypeVar("T")


class Cache:
    """The last result, returned as long as the inputs stay the same.

    A tensor is the same if it is the same object with the same values; for features, `[num_nodes, channels]`,
    with the same version, which every write in place raises. So a layer with `cached=True` computes the right
    result for another graph as well, without a gain. Results that require a gradient are not kept. Copies and
    pickles of a cache are empty.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop the result."""
        self._latest: Latest[Any] = Latest(_held)

    def __call__(self, compute: Callable[[], T], *inputs: Any) -> T:
        """Return `compute()`, which depends on nothing but the inputs."""
        if torch.compiler.is_compiling():
            return compute()
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if any(tensor.requires_grad or tensor.is_inference() for tensor in tensors):
            return compute()
        result: T = self._latest.get(inputs, lambda: _ordinary(compute))
        return result

    def __reduce__(self) -> tuple[type[Cache], tuple[()]]:
        return Cache, ()


def _held(tensor: Tensor) -> Hashable:
    # Comparing the values of features would take as long as the cached computation; edges and weights are
    # small.
    is_features = tensor.dim() > 1 and tensor.is_floating_point()
    return version_of(tensor) if is_features else contents(tensor)


def _ordinary(compute: Callable[[], T]) -> T:
    """`compute()` outside of inference mode, whose tensors could not be used in training."""
    if not torch.is_inference_mode_enabled():
        return compute()
    with torch.inference_mode(False), torch.no_grad():
        return compute()
