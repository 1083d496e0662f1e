"""The self-organising map: units on a graph learn to stand for samples (Kohonen, 1982)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from torch import Tensor

from mpnn import Graph, MessagePassing, propagate, scatter, topology
from mpnn.models.neurons.nearest import nearest
from mpnn.models.neurons.neighbourhood import DECAYS, NEIGHBOURHOODS, Decay, offsets_of
from mpnn.models.parts.checks import at_least, check_count, check_number, ranges
from mpnn.topology import Lattice

MOST_SAMPLES = 1024  # that are rows of their own at once
LEAST_SIGMA = 0.5  # at the end of batch learning: below, a unit hardly reaches its neighbours
NEXT = 1 + 1e-6  # the offset of a neighbour


@ranges(in_features=at_least(1))
class SelfOrganisingMap(MessagePassing):
    """c = argmin_k ‖x - w_k‖,   w_k' = w_k + η h(c, k) (x - w_k).

    Two graphs meet in it. Matching is a complete bipartite one from units to samples; spreading runs over the
    map, from the winner c to the units around it. Online a sample learns after the other; in batches all
    samples spread at once, and w_k' = Σ_n h(c_n, k) x_n / Σ_n h(c_n, k).

    Args:
        graph: the map: rows and columns of a square lattice, or a `mpnn.topology.lattice`, hexagonal or on a
            torus; or any graph, on which units are as far from each other as there are edges between them.
        in_features: the width of a sample.
        sigma: how far a winner reaches at first.
        learning_rate: η at first.
        neighborhood_function: h: "gaussian", "mexican_hat", "bubble" or "triangle". On a square lattice the
            last two are products over rows and columns, as MiniSom has them.
        decay_function: η at a step: "asymptotic_decay", "inverse_decay_to_zero", "linear_decay_to_zero",
            "inverse_decay_to_one", "linear_decay_to_one", "constant", or a function of the first value, the
            step, and the number of steps.
        sigma_decay_function: the same for σ.

    Shapes: a sample is a row of x, `[num_samples, in_features]`; `weight` is `[num_units, in_features]`,
    units in the order of the lattice, row by row. What there is of each unit has the shape of the lattice,
    or `[num_units]` on another graph. Learning takes memory for every pair of units.

    Raises:
        TypeError, ValueError: an argument that is none of these; x of another width, or not finite.

    >>> torch.manual_seed(0)
    <torch._C.Generator object at ...>
    >>> ring = SelfOrganisingMap(topology.lattice(6, torus=True), 2, sigma=2.0)
    >>> x = torch.nn.functional.normalize(torch.randn(200, 2))
    >>> ring.random_weights_init(x).fit(x, 1000).topographic_error(x)
    0.0
    """

    has_own_edges = True
    weight: Tensor

    def __init__(
        self,
        graph: Graph | int | tuple[int, ...],
        in_features: int,
        *,
        sigma: float = 1.0,
        learning_rate: float = 0.5,
        neighborhood_function: str = "gaussian",
        decay_function: str | Decay = "asymptotic_decay",
        sigma_decay_function: str | Decay = "asymptotic_decay",
    ) -> None:
        super().__init__("sum")
        self.graph = graph if isinstance(graph, Graph) else topology.lattice(graph)
        if self.graph.is_bipartite or not self.graph.num_nodes:
            raise ValueError(f"graph has size {self.graph.size}, but must have one set of units, not empty.")
        check_number("sigma", sigma)
        check_number("learning_rate", learning_rate, 0.0)
        if sigma <= 0:
            raise ValueError(f"sigma must be above 0, got {sigma}.")
        if neighborhood_function not in NEIGHBOURHOODS:
            raise ValueError(
                f"neighborhood_function is {neighborhood_function!r}, but must be one of "
                f"{', '.join(NEIGHBOURHOODS)}."
            )
        self.in_features = in_features
        self.sigma, self.learning_rate = float(sigma), float(learning_rate)
        self.neighborhood_function = neighborhood_function
        self.decay_function, self.sigma_decay_function = decay_function, sigma_decay_function
        for name in ("decay_function", "sigma_decay_function"):
            _decay(name, getattr(self, name))
        self.register_buffer("weight", torch.empty(self.graph.num_nodes, in_features))
        self.reset_parameters()

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the lattice, or `(num_units,)`."""
        return self.graph.shape if isinstance(self.graph, Lattice) else (self.graph.num_nodes,)

    # Where the units begin -----------------------------------------------------------------------------

    def reset_parameters(self) -> None:
        """Draw the weights anew, directions of length 1."""
        drawn = torch.rand_like(self.weight) * 2 - 1
        self.weight = torch.nn.functional.normalize(drawn)

    def random_weights_init(self, x: Tensor, seed: int = 0) -> SelfOrganisingMap:
        """Let every unit begin at a sample that is drawn."""
        self._check(x)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(x), (self.graph.num_nodes,), generator=generator)
        self.weight = x[drawn.to(x.device)].clone()
        return self

    def pca_weights_init(self, x: Tensor) -> SelfOrganisingMap:
        """Let a lattice of two dimensions begin on the plane of the first two principal components.

        Raises:
            ValueError: the map is no such lattice, or there are fewer than two samples or features.
        """
        self._check(x)
        if len(self.shape) != 2 or min(x.shape) < 2:
            raise ValueError(
                f"pca_weights_init needs a map of two dimensions and two samples and features, got the map "
                f"{self.shape} and x of shape {list(x.shape)}."
            )
        centred = x - x.mean(0)
        first, second = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, [-1, -2]].T
        down, across = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in self.shape)
        plane = down[:, None, None] * first + across[:, None] * second
        self.weight = x.mean(0) + plane.flatten(0, 1)
        return self

    # Learning ------------------------------------------------------------------------------------------

    def message(self, won_j: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        """h(c, k) of what unit c has won: the sum of its samples, and their number."""
        return h[:, None] * won_j

    def update(self, inputs: Tensor, w: Tensor, rate: float, batch: bool) -> Tensor:  # type: ignore[override]
        """w_k + η (Σ h x - w_k Σ h), in batches divided by Σ h; a unit that nothing reaches stays."""
        total, share = inputs[:, :-1], inputs[:, -1:]
        step = total - share * w
        return w + rate * (step / torch.where(share > 0, share, torch.inf) if batch else step)

    @torch.no_grad()
    def learn(self, x: Tensor, sigma: float, rate: float, *, batch: bool = True) -> None:
        """One step of all units from some samples at once, with this σ and η."""
        self._check(x)
        self.weight = self.weight.to(x)
        self._spread(x, self._neighbourhood(x), sigma, rate, batch)

    @torch.no_grad()
    def fit(self, x: Tensor, steps: int, *, random_order: bool = False, seed: int = 0) -> SelfOrganisingMap:
        """Learn from one sample in each step, in order again and again, or in one that is drawn.

        Args:
            x: `[num_samples, in_features]`; it gives the weights their type.
            steps: how many.
            random_order: whether the samples of all steps are shuffled.
            seed: of the order.
        """
        self._check(x)
        sigmas, rates = self._decays("steps", steps)
        order = torch.arange(steps) % len(x)
        if random_order:
            order = order[torch.randperm(steps, generator=torch.Generator().manual_seed(seed))]
        # `learn` of one sample, without what is 0: only the winner has won.
        weight, weigh = self.weight.to(x, copy=True), NEIGHBOURHOODS[self.neighborhood_function].weigh
        difference, far = torch.empty_like(weight), self._neighbourhood(x).unbind()
        samples = (row for part in torch.split(order, MOST_SAMPLES) for row in x[part.to(x.device)].unbind())
        with torch.inference_mode():  # the same operations with less around them
            for sample, sigma, rate in zip(samples, sigmas, rates, strict=True):
                torch.sub(sample, weight, out=difference)
                winner = int(torch.linalg.vector_norm(difference, dim=1).argmin())
                weight.addcmul_(weigh(far[winner], sigma), difference, value=rate)
        self.weight = weight
        return self

    @torch.no_grad()
    def fit_batch(self, x: Tensor, epochs: int, *, learning_rate: float = 1.0) -> SelfOrganisingMap:
        """Learn from all samples at once in each epoch; with a rate of 1 nothing of the old weights remains.

        Args:
            x: `[num_samples, in_features]`; it gives the weights their type.
            epochs: how many.
            learning_rate: of all epochs.

        Raises:
            ValueError: sigma ends below 0.5, where a unit that wins nothing learns nothing.
        """
        self._check(x)
        check_number("learning_rate", learning_rate, 0.0)
        sigmas, _ = self._decays("epochs", epochs)
        if sigmas[-1] < LEAST_SIGMA:
            raise ValueError(
                f"sigma ends at {sigmas[-1]:g}, but must be at least {LEAST_SIGMA} in batch learning: begin "
                "with more, or let it decay less."
            )
        far = self._neighbourhood(x)
        self.weight = self.weight.to(x)
        for sigma in sigmas:
            self._spread(x, far, sigma, learning_rate, True)
        return self

    def _neighbourhood(self, x: Tensor) -> Tensor:
        """What the neighbourhood measures from each unit to each other, `[num_units, num_units, ...]`."""
        offsets = offsets_of(self.graph, x.dtype).to(x.device)
        return NEIGHBOURHOODS[self.neighborhood_function].measure(offsets)

    def _spread(self, x: Tensor, far: Tensor, sigma: float, rate: float, batch: bool) -> None:
        units = len(self.weight)
        won = scatter(torch.cat([x, x.new_ones(len(x), 1)], 1), self.winner(x), units)
        h = NEIGHBOURHOODS[self.neighborhood_function].weigh(far, sigma)
        everywhere = topology.complete(units, device=x.device)
        self.weight = self.propagate(
            everywhere, won=won, h=h[..., 0].T.flatten(), w=self.weight, rate=rate, batch=batch
        )

    def _decays(self, name: str, steps: int) -> tuple[list[float], list[float]]:
        check_count(name, steps, 1)
        sigma_decay = _decay("sigma_decay_function", self.sigma_decay_function)
        decay = _decay("decay_function", self.decay_function)
        sigmas = [float(sigma_decay(self.sigma, t, steps)) for t in range(steps)]
        rates = [float(decay(self.learning_rate, t, steps)) for t in range(steps)]
        given = torch.tensor([sigmas, rates], dtype=torch.float64)
        wrong = ~given.isfinite() | (given <= torch.tensor([[0.0], [-torch.inf]]))
        if bool(wrong.any()):
            which, t = wrong.nonzero()[0].tolist()
            wanted = ("sigma", "finite and above 0") if which == 0 else ("learning_rate", "finite")
            raise ValueError(f"{wanted[0]} must stay {wanted[1]}, but is {given[which, t]:g} in step {t}.")
        return sigmas, rates

    # What a map says of samples -------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """How far each sample is from each unit, `[num_samples, num_units]`."""
        self._check(x)
        return torch.cdist(x, self.weight.to(x))

    @torch.no_grad()
    def winner(self, x: Tensor) -> Tensor:
        """The nearest unit of each sample, `[num_samples]`."""
        return self._nearest(x, 1)[:, 0]

    def quantization_error(self, x: Tensor) -> float:
        """The mean distance of a sample from its nearest unit."""
        return float((x - self.weight.to(x)[self.winner(x)]).norm(dim=1).mean())

    @torch.no_grad()
    def topographic_error(self, x: Tensor) -> float:
        """The share of samples whose two nearest units are no neighbours on the map; NaN with one unit.

        On a square lattice the eight units around another are its neighbours.
        """
        if len(self.weight) == 1:
            self._check(x)
            return float("nan")
        first, second = self._nearest(x, 2).T
        near = self._offsets() <= NEXT
        return 1 - float((near | near.T)[first, second].double().mean())

    def activation_response(self, x: Tensor) -> Tensor:
        """How many samples each unit has won."""
        return torch.bincount(self.winner(x), minlength=len(self.weight)).view(self.shape)

    def win_map(self, x: Tensor) -> dict[int, Tensor]:
        """For each unit that wins, the numbers of its samples."""
        winners = self.winner(x)
        return {unit: (winners == unit).nonzero()[:, 0] for unit in sorted(set(winners.tolist()))}

    def labels_map(self, x: Tensor, labels: Sequence[Hashable] | Tensor) -> dict[int, Counter[Hashable]]:
        """For each unit that wins, how often it wins samples of each label."""
        called = labels.tolist() if isinstance(labels, Tensor) else list(labels)
        if len(called) != len(x):
            raise ValueError(f"labels must be {len(x)}, one for each sample, got {len(called)}.")
        return {unit: Counter(called[n] for n in won.tolist()) for unit, won in self.win_map(x).items()}

    # What a map looks like ------------------------------------------------------------------------------

    def distance_map(self, scaling: Literal["sum", "mean"] = "sum") -> Tensor:
        """The U-matrix: how far the weights of each unit are from those of its neighbours (Ultsch, 1990).

        Args:
            scaling: the sum or the mean over the neighbours; then everything is divided by the largest.
        """
        if scaling not in ("sum", "mean"):
            raise ValueError(f"scaling is {scaling!r}, but must be 'sum' or 'mean'.")
        src, dst = ((self._offsets() <= NEXT).fill_diagonal_(False)).nonzero().T
        neighbours = Graph(torch.stack([src, dst]), len(self.weight))
        found = propagate(neighbours, _apart, scaling, w=self.weight)
        largest = found.max()
        return (found / largest if largest > 0 else found).view(self.shape)

    def component_planes(self) -> Tensor:
        """The map of each feature, `[in_features, *shape]`."""
        return self.weight.T.reshape(-1, *self.shape)

    def extra_repr(self) -> str:
        """The shape of the map and the width of a sample."""
        return f"{self.shape}, {self.in_features}, sigma={self.sigma:g}, {self.neighborhood_function!r}"

    def _offsets(self) -> Tensor:
        """`[num_units, num_units]`, along the axis that separates two units most."""
        return offsets_of(self.graph, self.weight.dtype).amax(-1).to(self.weight.device)

    def _nearest(self, x: Tensor, number: int) -> Tensor:
        self._check(x)
        return nearest(x, self.weight.to(x), number)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 2 or x.size(1) != self.in_features or not len(x) or not x.is_floating_point():
            raise ValueError(
                f"x must be floating point [num_samples, {self.in_features}], got {x.dtype} of shape "
                f"{list(x.shape)}."
            )
        if not bool(x.isfinite().all()):
            place = (~x.isfinite()).nonzero()[0].tolist()
            raise ValueError(f"x{place} is {x[tuple(place)].item()}, but must be finite.")


def _apart(w_i: Tensor, w_j: Tensor) -> Tensor:
    return (w_i - w_j).square().sum(-1).sqrt()


def _decay(name: str, given: str | Decay) -> Decay:
    if callable(given):
        return given
    if given not in DECAYS:
        raise ValueError(f"{name} is {given!r}, but must be a function or one of {', '.join(DECAYS)}.")
    return DECAYS[given]
