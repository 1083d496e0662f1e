"""The network of radial basis functions on images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.models import RBFNetwork
from mpnn.train.errors import RunError
from mpnn.train.learners.learner import Learner

NEAR = 3.0  # γ times the mean squared distance of two images: on MNIST γ is 0.03
ALPHA = 1e-6  # of ridge regression


class RBFLearner(Learner):
    """Centres by k-means, those of each class alone, and weights by least squares: one step.

    Args:
        num_pixels: of an image, over all channels.
        num_classes: the number of outputs.
        num_centers: over all classes.

    Shapes: x `[batch, channels, height, width]` -> `[batch, num_classes]`.
    """

    learns_whole = True

    def __init__(self, num_pixels: int, num_classes: int, num_centers: int) -> None:
        super().__init__()
        self.network = RBFNetwork(num_pixels, num_classes, num_centers)
        self.network.requires_grad_(False)
        self.register_buffer("epsilon", torch.ones(()))

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the mean square error of the outputs, whose targets are 0 and 1."""
        rows, num_classes = x.flatten(1), self.network.out_features
        centers = torch.cat([self._centers(rows[y == k], k) for k in range(num_classes)]).to(x)
        spread = 2 * rows.var(0, correction=0).sum()  # the mean squared distance of two images
        self.epsilon = (NEAR / spread.clamp(min=1e-12)).sqrt()
        target = F.one_hot(y, num_classes).to(x)
        self.network.fit(rows * self.epsilon, target, centers * self.epsilon, alpha=ALPHA)
        return F.mse_loss(self.network(rows * self.epsilon), target)

    def _centers(self, rows: Tensor, k: int) -> Tensor:
        """The share of the class in the centres."""
        from sklearn.cluster import MiniBatchKMeans  # slow to import: only where it is needed

        count = self.network.num_centers, self.network.out_features
        number = count[0] // count[1] + (k < count[0] % count[1])
        if len(rows) < number:
            raise RunError(
                f"hidden is {count[0]}, which is {number} centres for a class, but class {k} has {len(rows)} "
                "images to train on: take fewer"
            )
        seed = int(torch.randint(2**31 - 1, ()))
        means = MiniBatchKMeans(number, random_state=seed, n_init=1, batch_size=4096).fit(rows.cpu().numpy())
        return torch.from_numpy(means.cluster_centers_)

    def forward(self, x: Tensor) -> Tensor:
        """Ten times the outputs, as logits: of targets 0 and 1 they are too near to each other."""
        out: Tensor = self.network(x.flatten(1) * self.epsilon)
        return 10 * out

    def extra_repr(self) -> str:
        """ε."""
        return f"epsilon={float(self.epsilon):.3g}"
