"""The energy of a state, from the message that changes it (Hopfield, 1982).

A message w_ij x_j of symmetric weights is minus the slope of E = -½ Σ_ij w_ij x_i x_j - Σ_i b_i x_i. A layer
whose message is not linear says the energy of an edge instead, and its message follows from that: the two
cannot disagree. A softmax of scores whose values are the slopes of the scores is the slope of their
log-sum-exp (Ramsauer et al., 2020).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpnn import backends
from mpnn.aggregate.aggregators import Softmax, Sum
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph
from mpnn.layer.message_passing import MessagePassing, propagate, step_of
from mpnn.layer.softmax_energy import of_softmax
from mpnn.step.fields import Fields
from mpnn.step.parameters import Asked, Parameter, parameters_of

CLOSE = 1e-6  # relative difference of weights that should be equal


def energy(
    layer: MessagePassing,
    graph: Topology,
    state: Tensor,
    *,
    bias: Tensor | None = None,
    check: bool = True,
    **fields: Any,
) -> Tensor:
    """The energy of a state under a layer's messages.

    Where the layer defines `edge_energy(x_i, x_j, ...)`, the energy of an edge, it is half of their sum over
    all directed edges; where its message is linear in x_j, it is E = -½ Σ_i x_i a_i, a_i being what node i
    receives. With `bias`, less Σ_i b_i x_i. Each feature of the nodes is a state of its own.

    Where the layer aggregates by softmax and its message (s_ij, v_ij) reads the state at the destination
    alone, each node has an energy of its own, E_i = ½ x_i·x_i - (1/β) log Σ_j exp(s_ij), less b_i·x_i. Its
    slope is x_i - a_i, if ∂s_ij/∂x_i = β v_ij with one β for all edges.

    Args:
        layer: sums its messages, or takes their softmax, and says the name of its state, `state = ("x",)`.
        graph: holds each edge in both directions, and no self loop; for a softmax any graph.
        state: `[num_nodes, ...]`.
        bias: b, `[num_nodes]`, or in the form of the state.
        check: whether to look at every edge: a message may have no energy.
        **fields: what the message asks for besides.

    Returns:
        `[...]`, a number for each feature of the state; for a softmax `[num_nodes, ...]`, a number for each
        score.

    Raises:
        ValueError: an edge lacks its reverse, weighs otherwise than it, or is a self loop.
        TypeError: the message is not linear in the state of its source, and there is no `edge_energy`; or the
            values of a softmax are not the slopes of its scores.

    >>> class Spin(MessagePassing):
    ...     state = ("s",)
    ...     def message(self, s_j, w):
    ...         return w * s_j
    >>> pair, w = torch.tensor([[0, 1], [1, 0]]), torch.tensor([2.0, 2.0])
    >>> energy(Spin(), pair, torch.tensor([1.0, -1.0]), w=w)
    tensor(2.)
    """
    is_softmax = type(layer.aggr_module) is Softmax and not hasattr(layer, "edge_energy")
    rows = state.size(0)
    if is_softmax and isinstance(graph, Graph) and graph.is_bipartite:
        graph = as_graph(graph, (graph.num_src, rows))
    else:
        graph = as_graph(graph, rows)
    name = _name(layer)
    if is_softmax:
        return of_softmax(layer, graph, name, state, bias, fields, check)
    given = {**fields, name: state}
    own = getattr(layer, "edge_energy", None)
    if own is not None:
        asked = {p.name for p in parameters_of(own)} | {p.field for p in parameters_of(own)}
        if check:
            _check_loops(graph, type(layer).__name__)
        phi = propagate(graph, own, "sum", **{k: v for k, v in given.items() if k in asked})
        found = 0.5 * phi.sum(0)
    else:
        step = _messages(layer, graph, given)
        if check:
            _check_symmetric(layer, graph, given, name)
        received: Tensor = backends.current()(step)
        found = -0.5 * (state * received).sum(0)
    if bias is None:
        return found
    return found - (state * bias.view(-1, *[1] * (state.dim() - bias.dim()), *bias.shape[1:])).sum(0)


class EnergyLayer(MessagePassing):
    """A layer whose message is minus the slope of the energy of its edge.

    A subclass defines `edge_energy(x_i, x_j, ...)`, the same for both directions of an edge; node i receives
    Σ_j -∂φ(x_i, x_j)/∂x_i, the force on it.

    >>> class Rotors(EnergyLayer):
    ...     state = ("x",)
    ...     def edge_energy(self, x_i, x_j):
    ...         return -torch.cos(x_i - x_j)
    >>> pair, x = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0.0, 0.5])
    >>> Rotors().propagate(pair, x=x)
    tensor([ 0.4794, -0.4794])
    """

    state: tuple[str, ...] = ("x",)

    def edge_energy(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """The energy of an edge, `[num_edges, ...]`."""
        raise NotImplementedError(f"{type(self).__name__} defines no edge_energy().")

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:  # type: ignore[override]
        """-∂φ/∂x_i."""
        slope: Tensor = torch.func.grad(lambda x: self.edge_energy(x, x_j).sum())(x_i)
        return -slope


def _name(layer: MessagePassing) -> str:
    said = getattr(layer, "state", ())
    if not isinstance(said, tuple) or len(said) != 1:
        raise ValueError(
            f'{type(layer).__name__}.state must be one name, that of the state: write state = ("x",) in the '
            "class if x is the field."
        )
    name: str = said[0]
    return name


def _messages(layer: MessagePassing, graph: Graph, given: dict[str, Any]) -> Any:
    """The step whose result is what the nodes receive."""
    if type(layer.aggr_module) is not Sum:
        raise TypeError(
            f"{type(layer).__name__} must sum its messages to have an energy, or take their softmax: "
            "aggr='sum' or 'softmax'."
        )
    functions = {"message": parameters_of(layer.message), "aggregate": parameters_of(layer.aggregate, 1)}
    asked = Asked(functions)
    known = {name: value for name, value in given.items() if name in asked.fields}
    return step_of(layer, Fields(graph, None, known, asked, layer.node_dim, layer.flow), None)


def _check_loops(graph: Graph, what: str) -> None:
    loops = (graph.src == graph.dst).nonzero()
    if loops.numel():
        node = int(graph.src[loops[0, 0]])
        raise ValueError(f"{what} has an energy without self loops only, but node {node} has one.")


def _check_symmetric(layer: MessagePassing, graph: Graph, given: dict[str, Any], name: str) -> None:
    what = type(layer).__name__
    _check_loops(graph, what)
    weight = _weights(layer, graph, given, name)
    src, dst = graph.src, graph.dst
    size = graph.num_nodes
    # Edges that are there several times add up.
    keys, place = torch.unique(src * size + dst, return_inverse=True)
    total = weight.new_zeros(keys.numel(), *weight.shape[1:]).index_add_(0, place, weight)
    back = keys % size * size + keys // size
    at = torch.searchsorted(keys, back).clamp(max=max(0, keys.numel() - 1))
    alone = (keys[at] != back).nonzero()
    if alone.numel():
        j, i = divmod(int(keys[alone[0, 0]]), size)
        raise ValueError(f"{what} has no energy here: the edge {j} -> {i} has no reverse.")
    off = (total - total[at]).abs() > CLOSE * (total.abs() + total[at].abs())
    if bool(off.any()):
        k = int(off.flatten(1).any(1).nonzero()[0]) if off.dim() > 1 else int(off.nonzero()[0])
        j, i = divmod(int(keys[k]), size)
        there, back_again = (one[k].flatten()[off[k].flatten()][0].item() for one in (total, total[at]))
        raise ValueError(
            f"{what} has no energy here: the edge {j} -> {i} weighs {there:g}, but {i} -> {j} {back_again:g}."
        )


def _weights(layer: MessagePassing, graph: Graph, given: dict[str, Any], name: str) -> Tensor:
    """What each edge multiplies the state of its source with, `[num_edges, ...]`.

    Raises:
        TypeError: it does something else.
    """
    asked = [p for p in parameters_of(layer.message) if p.field == name]
    at_dst = [p for p in asked if p.name != f"{name}_j"]
    state: Tensor = given[name]
    if at_dst or not asked:
        raise TypeError(_not_linear(layer, f"reads {', '.join(p.name for p in at_dst) or 'no state'}"))
    with torch.no_grad(), backends.backend("eager"):
        one = _each(layer, graph, given | {name: torch.ones_like(state)})
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state)
        found = _each(layer, graph, given | {name: drawn})
    expected = one * drawn[graph.src]
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise TypeError(_not_linear(layer, f"is not linear in {name}_j, feature by feature"))
    return one


def _each(layer: MessagePassing, graph: Graph, given: dict[str, Any]) -> Tensor:
    asked: dict[str, tuple[Parameter, ...]] = {"message": parameters_of(layer.message)}
    known = Asked(asked)
    fields = {name: value for name, value in given.items() if name in known.fields}
    bound = Fields(graph, None, fields, known, layer.node_dim, layer.flow)
    message: Tensor = bound.call(layer.message, bound.bind(asked["message"]))
    return message


def _not_linear(layer: MessagePassing, why: str) -> str:
    kind = type(layer).__name__
    return (
        f"{kind}.message() {why}, so that it has no energy by itself: define edge_energy(x_i, x_j), as in "
        "mpnn.EnergyLayer."
    )
