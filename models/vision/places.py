"""Where the nodes of a network of images are: all pixels of images, or others; fewer after each stride."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

from torch import Tensor, nn

from mpnn import Graph
from mpnn.models.dense.pooling_grid import AdaptiveAvgPool2d


class Places(ABC):
    """Nodes on which the layers of a network of images run: `on(conv, x)`, then `on.after(conv)`."""

    @abstractmethod
    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The layer's output, where its stride leaves nodes."""

    @abstractmethod
    def after(self, layer: Any) -> Places:
        """The nodes that a layer's stride leaves."""


class Images(Places):
    """All pixels of images `[batch, channels, height, width]`."""

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        return cast(Tensor, layer(x))

    def after(self, layer: Any) -> Images:
        """Images again, of fewer pixels."""
        return self


IMAGES = Images()


class Nodes(Places):
    """Nodes with features `[num_nodes, channels]`, and the edges of every window among them.

    A layer reads the nodes in its window, `kernel_size` by `kernel_size` places around a node with the
    middle place on it: padding is `dilation * (kernel_size // 2)`, as everywhere in these networks.
    A subclass says which nodes a stride leaves (`strided`), which node is in which place of a window
    (`window`), and in which image every node is (`readout`).
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[int, int, int], Graph] = {}
        self._strided: dict[int, Nodes] = {}

    @abstractmethod
    def window(self, kernel_size: int, stride: int, dilation: int) -> Graph:
        """Edges from these nodes to those that the stride leaves; the type is the place, row-major."""

    @abstractmethod
    def strided(self, stride: int) -> Nodes:
        """The nodes that a stride above 1 leaves."""

    @property
    @abstractmethod
    def readout(self) -> Graph:
        """An edge from every node to the one node of its image."""

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        """`[num_nodes, in_channels]` -> `[num_nodes after the stride, out_channels]`.

        Raises:
            ValueError: a window that is no square, or whose middle is not on its node.
        """
        if isinstance(layer, AdaptiveAvgPool2d):
            return cast(Tensor, layer(x, graph=self.readout))
        if not hasattr(layer, "kernel_size"):
            return cast(Tensor, layer(x))
        size, stride, dilation, padding = (
            _one(layer, name, usual)
            for name, usual in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0))
        )
        if size % 2 == 0 or padding != dilation * (size // 2):
            raise ValueError(
                f"kernel_size is {size} and padding {padding}, but a window on nodes has its middle on a "
                f"node: an odd kernel_size, and padding {dilation * (size // 2)}."
            )
        window = size, stride, dilation
        if window not in self._windows:
            self._windows[window] = self.window(*window)
        return cast(Tensor, layer(x, graph=self._windows[window]))

    def after(self, layer: Any) -> Nodes:
        """The nodes that a layer's stride leaves; made once."""
        stride = _one(layer, "stride", 1)
        if stride == 1:
            return self
        if stride not in self._strided:
            self._strided[stride] = self.strided(stride)
        return self._strided[stride]


def _one(layer: Any, name: str, usual: int) -> int:
    """A layer's option, the same number for both dimensions; what is usual where the layer has none."""
    value = getattr(layer, name, usual)
    each = set(value) if isinstance(value, tuple) else {value}
    if len(each) != 1:
        raise ValueError(f"{name} is {value}, but windows on nodes are squares: one number.")
    return int(each.pop())
