"""What `cached=True` keeps."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.graph.contents import Latest, contents

T = TypeVar("T")


class Cache:
    """The last result, returned again for as long as the very same inputs come in.

    A tensor is the same if it is the same object and holds the same; of features, `[num_nodes, channels]`, a
    write counts that raises the tensor's version. So a layer with
    `cached=True` is never wrong when it is given another graph; it only gains nothing. Results through which
    a gradient must flow are not kept. Copies and pickles of a cache are empty.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget."""
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
    # To read features takes as long as what is done with them here, to read edges and weights does not.
    is_features = tensor.dim() > 1 and tensor.is_floating_point()
    return tensor._version if is_features else contents(tensor)


def _ordinary(compute: Callable[[], T]) -> T:
    """What comes out of inference mode could not be trained with."""
    if not torch.is_inference_mode_enabled():
        return compute()
    with torch.inference_mode(False), torch.no_grad():
        return compute()
