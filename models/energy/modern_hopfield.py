"""The modern Hopfield network: its update is attention (Ramsauer et al., 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mpnn import Iterated, MessagePassing, energy, iterate
from mpnn.graph.graph import Graph
from mpnn.models.parts.checks import check_number
from mpnn.topology import complete_bipartite


class ModernHopfieldNetwork(MessagePassing):
    """q_i' = Σ_j softmax_j(β q_i·k_j) k_j: a state becomes the mean of the patterns that are like it.

    The graph is bipartite, from patterns to states, and complete unless another is given: then one update of
    all states is `scaled_dot_product_attention(q, K, K, scale=β)`. The energy of a state,
    E(q) = -(1/β) log Σ_j exp(β q·k_j) + ½ q·q, falls with each update. With a large β one update retrieves a
    pattern, of exponentially many; with a small one states end in the middle of several.

    Args:
        scaling: β, a number above 0.

    Shapes: patterns `[num_patterns, size]`, states `[num_states, size]`.

    >>> network = ModernHopfieldNetwork(scaling=8.0).fit(torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]]))
    >>> network.predict(torch.tensor([[1.0, 0.6, 0.1]])).state.round(decimals=3)
    tensor([[ 1.,  1., -1.]])
    """

    state = ("q",)
    patterns: Tensor

    def __init__(self, scaling: float = 1.0) -> None:
        super().__init__("softmax")
        check_number("scaling", scaling)
        if not 0 < scaling < torch.inf:
            raise ValueError(f"scaling is {scaling}, but must be a number above 0.")
        self.scaling = float(scaling)
        self.register_buffer("patterns", torch.empty(0, 0))

    def fit(self, patterns: Tensor) -> ModernHopfieldNetwork:
        """Remember patterns as they are.

        Raises:
            ValueError: there is no pattern, or a number that is not finite.
        """
        if patterns.dim() != 2 or not len(patterns):
            raise ValueError(f"patterns must be [num_patterns, size], got shape {list(patterns.shape)}.")
        _check_finite("patterns", patterns)
        self.patterns = patterns
        return self

    def message(self, q_i: Tensor, k_j: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(β q_i·k_j, k_j)."""
        return self.scaling * (q_i * k_j).sum(-1), k_j

    def forward(self, state: Tensor, graph: Graph | None = None) -> Tensor:
        """One update of states.

        Args:
            state: `[num_states, size]`.
            graph: which patterns each state sees, of size `(num_patterns, num_states)`; by default all.
        """
        graph, patterns = self._checked(state, graph)
        new: Tensor = self.propagate(graph, q=(None, state), k=(patterns, None))
        return new

    def predict(
        self,
        state: Tensor,
        graph: Graph | None = None,
        *,
        update_steps_max: int | None = None,
        update_steps_eps: float = 1e-4,
        gradient: Literal["sweeps", "implicit"] = "sweeps",
    ) -> Iterated:
        """Update states until they stay.

        Args:
            state: `[num_states, size]`.
            graph: which patterns each state sees, of size `(num_patterns, num_states)`; by default all.
            update_steps_max: the largest number of updates, by default 1000.
            update_steps_eps: states stay where no entry changes by more than this.
            gradient: through the updates, or that of the fixed point, see `mpnn.iterate`.

        Returns:
            The states, the number of updates, and how they ended, see `mpnn.iterate`.
        """
        graph, patterns = self._checked(state, graph)
        return iterate(
            self,
            graph,
            state,
            until=update_steps_eps,
            steps=update_steps_max,
            gradient=gradient,
            k=(patterns, None),
        )

    def energy(self, state: Tensor, graph: Graph | None = None) -> Tensor:
        """-(1/β) log Σ_j exp(β q·k_j) + ½ q·q, `[num_states]`; of a state that sees no pattern ½ q·q."""
        graph, patterns = self._checked(state, graph)
        return energy(self, graph, state, check=False, k=(patterns, None))

    def _checked(self, state: Tensor, graph: Graph | None) -> tuple[Graph, Tensor]:
        size = len(self.patterns), len(state)
        if state.dim() != 2 or state.size(1) != self.patterns.size(1):
            raise ValueError(
                f"state must be [num_states, {self.patterns.size(1)}], got shape {list(state.shape)}."
            )
        if graph is not None and (not graph.is_bipartite or graph.size != size):
            raise ValueError(
                f"graph must be bipartite of size (num_patterns, num_states) = {size}, got {graph.size}."
            )
        graph = complete_bipartite(*size, device=state.device) if graph is None else graph
        return graph, self.patterns.to(state.dtype)

    def extra_repr(self) -> str:
        """What is remembered."""
        return f"scaling={self.scaling}, num_patterns={len(self.patterns)}"


def _check_finite(name: str, values: Tensor) -> None:
    bad = (~values.isfinite()).nonzero()
    if bad.numel():
        place = tuple(bad[0].tolist())
        raise ValueError(f"{name}{list(place)} is {values[place].item()}, but must be finite.")
