"""The network of radial basis functions (Broomhead and Lowe, 1988)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import MessagePassing
from mpnn.graph.adjacency import Topology
from mpnn.layer.shortcut import goes_dense
from mpnn.models.neurons.kernels import RadialKernel
from mpnn.models.parts.checks import at_least, check_number, ranges
from mpnn.topology import complete_bipartite

ROWS = 8192  # samples whose distances to all centres are computed at once


@ranges(in_features=at_least(1), out_features=at_least(1), num_centers=at_least(1))
class RBFNetwork(MessagePassing):
    """y_i = Σ_c w_c φ(ε ‖x_i - x_c‖), a sum over centres.

    Without a graph every centre has an edge to every sample; with a `graph` from centres to samples, only its
    edges are messages: the nearest centres, say.

    Args:
        in_features: the number of features of a sample, and of a centre.
        out_features: the number of outputs.
        num_centers: how many centres there are.
        kernel: φ: "gaussian", "multiquadric", "inverse_multiquadric" or "thin_plate_spline", with the signs
            of `scipy.interpolate.RBFInterpolator`.
        epsilon: ε, which the distance is multiplied with; a γ of exp(-γ d²) is ε².

    Shapes: x `[num_samples, in_features]` -> `[num_samples, out_features]`; `centers`
    `[num_centers, in_features]`; `weight` `[num_centers, out_features]`. Both are parameters, for gradients
    too; `fit` needs none.

    >>> x = torch.linspace(0, 1, 5).view(-1, 1)
    >>> network = RBFNetwork(1, 1, 5, epsilon=3.0).fit(x, x.square())
    >>> network(torch.tensor([[0.6]]))
    tensor([[0.3...]], grad_fn=...)
    """

    has_own_edges = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_centers: int,
        kernel: str = "gaussian",
        epsilon: float = 1.0,
    ) -> None:
        super().__init__("sum")
        self.in_features, self.out_features, self.num_centers = in_features, out_features, num_centers
        self.kernel = RadialKernel(kernel, epsilon)
        self.centers = nn.Parameter(torch.empty(num_centers, in_features))
        self.weight = nn.Parameter(torch.empty(num_centers, out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the centres from a normal distribution, and the weights within ±1/√num_centers."""
        nn.init.normal_(self.centers)
        bound = self.num_centers**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def message(self, x_j: Tensor, x_i: Tensor, w_j: Tensor) -> Tensor:  # type: ignore[override]
        """w_c φ(ε ‖x_i - x_c‖)."""
        phi: Tensor = self.kernel(x_i, x_j)
        return w_j * phi[:, None]

    def forward(self, x: Tensor, graph: Topology | None = None) -> Tensor:
        if x.dim() != 2 or x.size(1) != self.in_features:
            raise ValueError(f"x must be [num_samples, {self.in_features}], got shape {list(x.shape)}.")
        if graph is None and goes_dense(self, RBFNetwork):
            parts = [self.kernel.matrix(part, self.centers) @ self.weight for part in torch.split(x, ROWS)]
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        if graph is None:
            graph = complete_bipartite(self.num_centers, len(x))
        size = (self.num_centers, len(x))
        out: Tensor = self.propagate(graph, size, x=(self.centers, x), w=(self.weight, None))
        return out

    @torch.no_grad()
    def fit(
        self, x: Tensor, target: Tensor, centers: Tensor | None = None, *, alpha: float = 0.0
    ) -> RBFNetwork:
        """Set the centres, and the weights by least squares, in float64.

        Args:
            x: `[num_samples, in_features]`.
            target: `[num_samples, out_features]`.
            centers: `[num_centers, in_features]`; by default all samples, as many as there are centres.
            alpha: with given centres that of ridge regression, |Φ w - y|² + α |w|²; with all samples as
                centres scipy's `smoothing`, (Φ + α) w = y, as kernel ridge regression. With 0 the samples are
                met as well as can be, by the shortest w that does.

        Returns:
            The network itself. Memory is that of `num_centers`² numbers and of a block of samples.

        Raises:
            ValueError: shapes that do not fit, numbers that are not finite, or samples that are the same and
                cannot be met.
        """
        _check_rows("x", x, None, self.in_features)
        _check_rows("target", target, len(x), self.out_features)
        check_number("alpha", alpha, 0)
        if centers is not None:
            _check_rows("centers", centers, self.num_centers, self.in_features)
        elif len(x) != self.num_centers:
            raise ValueError(
                f"centers is None, so that all {len(x)} samples are centres, but num_centers is "
                f"{self.num_centers}."
            )
        if centers is None:
            phi = self.kernel.matrix(x.double(), x.double())
            phi.diagonal().add_(alpha)
            weight, info = torch.linalg.solve_ex(phi, target.double())
            if int(info) or not weight.isfinite().all():
                raise ValueError("the samples cannot be met, as some are the same: give alpha, above 0.")
            centers = x
        else:
            weight = self._least_squares(x, target, centers.double(), alpha)
        self.centers.copy_(centers)
        self.weight.copy_(weight)
        return self

    def _least_squares(self, x: Tensor, target: Tensor, centers: Tensor, alpha: float) -> Tensor:
        """By QR of one block of samples after the other, on top of the triangle of those before."""
        triangle = torch.eye(self.num_centers, dtype=torch.float64, device=x.device) * alpha**0.5
        right = triangle.new_zeros(self.num_centers, self.out_features)
        for rows, wanted in zip(torch.split(x, ROWS), torch.split(target, ROWS), strict=True):
            phi = self.kernel.matrix(rows.double(), centers)
            both = torch.cat([torch.cat([triangle, right], 1), torch.cat([phi, wanted.double()], 1)])
            whole = torch.linalg.qr(both, mode="r").R
            triangle, right = whole[: self.num_centers].tensor_split([self.num_centers], 1)
        driver = "gelsd" if x.device.type == "cpu" else None
        weight: Tensor = torch.linalg.lstsq(triangle, right, driver=driver).solution
        return weight

    def extra_repr(self) -> str:
        """What the network is made of."""
        sizes = f"{self.in_features}, {self.out_features}, {self.num_centers}"
        return f"{sizes}, epsilon={self.kernel.epsilon}"


def _check_rows(name: str, value: Tensor, rows: int | None, width: int) -> None:
    if (
        value.dim() != 2
        or value.size(1) != width
        or (rows is not None and len(value) != rows)
        or not len(value)
    ):
        wanted = "num_samples" if rows is None else rows
        raise ValueError(f"{name} must be [{wanted}, {width}], got shape {list(value.shape)}.")
    if not value.isfinite().all():
        i, k = (~value.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"{name}[{i}, {k}] is {value[i, k].item()}, but must be a finite number.")
