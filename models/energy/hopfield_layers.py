"""Layers with a modern Hopfield network inside, under the names of the authors' `hflayers`.

Their state_dicts are those of `hflayers`, and that of the association without norms is the one of
`torch.nn.MultiheadAttention`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, iterate
from mpnn.models.parts.checks import at_least, check_count, check_multiple, check_number, positive, ranges
from mpnn.topology import complete_bipartite

Patterns = Tensor | tuple[Tensor, Tensor, Tensor]  # stored, state, projection


class _Association(MessagePassing):
    """q_i' = Σ_j softmax_j(β q_i·k_j) v_j for every head, with projections before and behind."""

    state = ("q",)

    def __init__(self, input_size: int, hidden_size: int, output_size: int, heads: int, bias: bool) -> None:
        super().__init__("softmax")
        self.heads, self.width = heads, heads * hidden_size
        self.in_proj_weight = nn.Parameter(torch.empty(3 * self.width, input_size))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * self.width)) if bias else None
        self.out_proj = nn.Linear(self.width, output_size, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, as `torch.nn.MultiheadAttention` does."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj.reset_parameters()
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)

    def message(self, q_i: Tensor, k_j: Tensor, v_j: Tensor, beta: float) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(β q_i·k_j, v_j)."""
        return beta * (q_i * k_j).sum(-1), v_j

    def projected(self, *patterns: Tensor) -> list[Tensor]:
        """States, stored and projected patterns, `[batch, length, input_size]`, in the association space."""
        weights = self.in_proj_weight.chunk(3)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        rows = [F.linear(x, w, b) for x, w, b in zip(patterns, weights, biases, strict=True)]
        return [row.reshape(-1, self.heads, self.width // self.heads) for row in rows]


@ranges(
    **dict.fromkeys(("input_size", "hidden_size", "output_size", "num_heads"), at_least(1)),
    update_steps_eps=positive,
)
class Hopfield(nn.Module):
    """States are associated with stored patterns, and what is projected of these is returned.

    In the association space a state is updated, q_i' = Σ_j softmax_j(β q_i·k_j) k_j, and then read out,
    Σ_j softmax_j(β q_i·k_j) v_j (Ramsauer et al., 2020). Without updates it is attention.

    Args:
        input_size: the size of patterns.
        hidden_size: that of the association space, for each head; by default `input_size / num_heads`.
        output_size: the size of what is returned; by default `input_size`.
        num_heads: how many associations there are side by side.
        scaling: β, by default `1 / √hidden_size`.
        update_steps_max: the largest number of updates; None for as many as the states take to stay.
        update_steps_eps: states stay where no entry changes by more than this.
        normalize_stored_pattern: whether stored patterns go through a `LayerNorm` first.
        normalize_state_pattern: the same for states.
        normalize_pattern_projection: the same for what is projected.
        input_bias: whether the projections have biases.

    Shapes: the input is a tuple of stored patterns `[batch, num_stored, input_size]`, states
    `[batch, num_states, input_size]` and what is projected `[batch, num_stored, input_size]`, or one tensor
    that is all three; the output is `[batch, num_states, output_size]`.

    >>> hopfield = Hopfield(4, num_heads=2, update_steps_max=3)
    >>> hopfield((torch.randn(2, 5, 4), torch.randn(2, 3, 4), torch.randn(2, 5, 4))).shape
    torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: int | None = None,
        output_size: int | None = None,
        num_heads: int = 1,
        scaling: float | None = None,
        update_steps_max: int | None = 0,
        update_steps_eps: float = 1e-4,
        normalize_stored_pattern: bool = True,
        normalize_state_pattern: bool = True,
        normalize_pattern_projection: bool = True,
        input_bias: bool = True,
    ) -> None:
        super().__init__()
        if hidden_size is None:
            check_multiple("input_size", input_size, "num_heads", num_heads)
            hidden_size = input_size // num_heads
        if scaling is not None:
            check_number("scaling", scaling)
        if update_steps_max is not None:
            check_count("update_steps_max", update_steps_max, 0)
        self.input_size = input_size
        self.scaling = 1 / math.sqrt(hidden_size) if scaling is None else float(scaling)
        self.update_steps_max, self.update_steps_eps = update_steps_max, update_steps_eps
        self.association_core = _Association(
            input_size, hidden_size, output_size or input_size, num_heads, input_bias
        )
        self.norm_stored_pattern = nn.LayerNorm(input_size) if normalize_stored_pattern else None
        self.norm_state_pattern = nn.LayerNorm(input_size) if normalize_state_pattern else None
        self.norm_pattern_projection = nn.LayerNorm(input_size) if normalize_pattern_projection else None

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    def forward(self, input: Patterns) -> Tensor:
        """What the states become, `[batch, num_states, output_size]`."""
        graph, q, k, v, shape = self._updated(input)
        core = self.association_core
        out: Tensor = core.propagate(graph, q=(None, q), k=(k, None), v=(v, None), beta=self.scaling)
        return core.out_proj(out.reshape(*shape, core.width))  # type: ignore[no-any-return]

    @torch.no_grad()
    def get_association_matrix(self, input: Patterns) -> Tensor:
        """The weight of each stored pattern in each state, `[batch, num_heads, num_states, num_stored]`."""
        _, q, k, _, (batch, _) = self._updated(input)
        q, k = (one.reshape(batch, -1, *one.shape[1:]) for one in (q, k))
        return torch.softmax(self.scaling * torch.einsum("bthd,bshd->bhts", q, k), -1)

    def _updated(self, input: Patterns) -> tuple[Graph, Tensor, Tensor, Tensor, tuple[int, int]]:
        stored, state, projection = self._checked(input)
        norms = (self.norm_state_pattern, self.norm_stored_pattern, self.norm_pattern_projection)
        rows = (state, stored, projection)
        normed = [x if norm is None else norm(x) for x, norm in zip(rows, norms, strict=True)]
        q, k, v = self.association_core.projected(*normed)
        batch, num_states = state.shape[:2]
        graph = complete_bipartite([stored.size(1)] * batch, [num_states] * batch, device=q.device)
        if self.update_steps_max != 0:
            q = iterate(
                self.association_core,
                graph,
                q,
                steps=self.update_steps_max,
                until=self.update_steps_eps,
                k=(k, None),
                v=(k, None),
                beta=self.scaling,
            ).state
        return graph, q, k, v, (batch, num_states)

    def _checked(self, input: Patterns) -> tuple[Tensor, Tensor, Tensor]:
        stored, state, projection = input if isinstance(input, tuple) else (input, input, input)
        named = {"stored patterns": stored, "states": state, "projected patterns": projection}
        for name, value in named.items():
            if value.dim() != 3 or value.size(2) != self.input_size or len(value) != len(stored):
                raise ValueError(
                    f"the {name} must be [batch, number, {self.input_size}], got shape {list(value.shape)}."
                )
        if projection.size(1) != stored.size(1):
            raise ValueError(
                f"there must be as many projected patterns as stored ones, {stored.size(1)}, got "
                f"{projection.size(1)}."
            )
        return stored, state, projection

    def extra_repr(self) -> str:
        """What is no module."""
        return f"{self.input_size}, scaling={self.scaling:.4g}, update_steps_max={self.update_steps_max}"


class HopfieldPooling(nn.Module):
    """A set of patterns becomes a few numbers: its states are learned.

    Args:
        input_size: the size of patterns.
        quantity: how many states there are.
        **options: those of `Hopfield`.

    Shapes: patterns `[batch, num_stored, input_size]`, or a tuple of stored and projected ones; the output is
    `[batch, quantity · output_size]`.

    >>> HopfieldPooling(4, quantity=2)(torch.randn(3, 7, 4)).shape
    torch.Size([3, 8])
    """

    def __init__(self, input_size: int, *, quantity: int = 1, **options: object) -> None:
        super().__init__()
        check_count("quantity", quantity, 1)
        self.hopfield = Hopfield(input_size, **options)  # type: ignore[arg-type]
        self.pooling_weights = nn.Parameter(0.02 * torch.randn(1, quantity, input_size))

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        self.hopfield.reset_parameters()
        nn.init.normal_(self.pooling_weights, std=0.02)

    def forward(self, input: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """What the states become, side by side."""
        stored, projection = input if isinstance(input, tuple) else (input, input)
        states = self.pooling_weights.expand(len(stored), -1, -1)
        pooled: Tensor = self.hopfield((stored, states, projection))
        return pooled.flatten(1)


class HopfieldLayer(nn.Module):
    """States are associated with patterns that are learned.

    Args:
        input_size: the size of states.
        quantity: how many patterns there are.
        lookup_weights_as_separated: whether what is projected is learned apart from the patterns.
        **options: those of `Hopfield`.

    Shapes: states `[batch, num_states, input_size]` -> `[batch, num_states, output_size]`.

    >>> HopfieldLayer(4, quantity=10)(torch.randn(3, 7, 4)).shape
    torch.Size([3, 7, 4])
    """

    def __init__(
        self,
        input_size: int,
        *,
        quantity: int = 1,
        lookup_weights_as_separated: bool = False,
        **options: object,
    ) -> None:
        super().__init__()
        check_count("quantity", quantity, 1)
        self.hopfield = Hopfield(input_size, **options)  # type: ignore[arg-type]
        self.lookup_weights = nn.Parameter(0.02 * torch.randn(1, quantity, input_size))
        apart = lookup_weights_as_separated
        self.target_weights = nn.Parameter(0.02 * torch.randn(1, quantity, input_size)) if apart else None

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        self.hopfield.reset_parameters()
        for weights in (self.lookup_weights, self.target_weights):
            if weights is not None:
                nn.init.normal_(weights, std=0.02)

    def forward(self, input: Tensor) -> Tensor:
        """What the states become."""
        stored = self.lookup_weights.expand(len(input), -1, -1)
        targets = stored if self.target_weights is None else self.target_weights.expand(len(input), -1, -1)
        out: Tensor = self.hopfield((stored, input, targets))
        return out
