"""LeNet-5 (LeCun et al., 1998): convolution and pooling as messages on grids."""

from __future__ import annotations

from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.pooling_grid import AvgPool2d
from mpnn.models.parts.checks import at_least, ranges

SHRINKS = 14  # pixels: below this the second convolution would leave no pixel, so it is padded


@ranges(in_channels=at_least(1), num_classes=at_least(1))
class LeNet(nn.Module):
    """LeNet-5: two convolutions of 5 × 5 with average pooling, then three linear layers, tanh in between.

    As it is written today: every map of the second convolution reads all six of the first, and the classes
    are logits instead of distances to bitmaps. The original's 32 × 32 inputs are its 28 × 28 images with a
    margin of two, which is the padding of the first convolution. For images below 14 pixels the second one is
    padded as well.

    Raises:
        ValueError: the images are too small to be halved twice.

    Shapes: `[batch, channels, height, width]` -> `[batch, num_classes]`.

    >>> LeNet()(torch.randn(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, size: tuple[int, int] = (28, 28)) -> None:
        super().__init__()
        if min(size) < 4:
            raise ValueError(f"size is {size}, but should be at least 4 pixels in height and width")
        padding = 0 if min(size) >= SHRINKS else 2
        height, width = ((pixels // 2 + 2 * padding - 4) // 2 for pixels in size)
        self.features = nn.Sequential(
            Conv2d(in_channels, 6, 5, padding=2),
            nn.Tanh(),
            AvgPool2d(2),
            Conv2d(6, 16, 5, padding=padding),
            nn.Tanh(),
            AvgPool2d(2),
            nn.Flatten(),
            Linear(16 * height * width, 120),
            nn.Tanh(),
            Linear(120, 84),
            nn.Tanh(),
        )
        self.classify = Linear(84, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """The last hidden layer, `[batch, 84]`."""
        hidden: Tensor = self.features(x)
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.embed(x))
        return logits
