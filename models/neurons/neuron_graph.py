"""Neurons in any directed acyclic graph, and backpropagation as the textbook has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, Schedule, iterate
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.models.parts.checks import check_count

Function = Callable[[Tensor], Tensor]
# Each activation, and its slope h'(a) as a function of h(a).
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda a: a, torch.ones_like),
    "tanh": (torch.tanh, lambda h: 1 - h * h),
    "sigmoid": (torch.sigmoid, lambda h: h * (1 - h)),
    "relu": (torch.relu, lambda h: (h > 0).to(h.dtype)),
    "softplus": (nn.functional.softplus, lambda h: 1 - torch.exp(-h)),
}


def layered(*sizes: int) -> Graph:
    """The graph of a multilayer perceptron: neurons in layers, each with an edge to all of the next.

    >>> graph = layered(2, 3, 1)
    >>> graph.num_nodes, graph.num_edges
    (6, 9)
    """
    for size in sizes:
        check_count("sizes", size, 1)
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    layers = [torch.arange(*span) for span in pairwise(starts)]
    pairs = [torch.cartesian_prod(one, other) for one, other in pairwise(layers)]
    return Graph(torch.cat(pairs).T if pairs else torch.zeros(2, 0, dtype=torch.int64), starts[-1])


class Backpropagated(NamedTuple):
    """What `NeuronGraph.backpropagate` returns: the slopes of a loss L."""

    delta: Tensor  # ∂L/∂a, `[num_neurons, ...]`; of an input neuron ∂L/∂x
    weight: Tensor  # ∂L/∂w, `[num_edges]`
    bias: Tensor  # ∂L/∂b, `[num_neurons]`


class NeuronGraph(MessagePassing):
    """h_i = f(a_i),  a_i = Σ_j w_ij h_j + b_i: neurons in any directed acyclic graph.

    Neurons without an edge that enters them are inputs. A network in layers is one such graph, `layered(784,
    500, 10)`; with connections that skip layers it is another. Large layers are faster as a stack of
    `Linear`, whose kernel is a matrix product.

    Args:
        graph: which neurons are connected.
        num_neurons: how many there are, where `graph` is an edge_index.
        activation: f, "tanh", "sigmoid", "relu", "softplus" or "identity"; or a list with one of each neuron,
            of which those of inputs are "identity".

    Shapes: inputs `[num_inputs]`, or `[num_inputs, num_samples]`, in the order of the input neurons;
    activations of all neurons `[num_neurons]`, or `[num_neurons, num_samples]`; `weight` is `[num_edges]`, in
    the order of the edges, `bias` is `[num_neurons]`, of which those of inputs are not read.

    Raises:
        ValueError: the graph has a cycle, which the message shows.

    >>> network = NeuronGraph(torch.tensor([[0, 1, 0, 2], [2, 2, 3, 3]]))  # 0 and 1 are inputs
    >>> h = network(torch.tensor([1.0, -1.0]))
    >>> found = network.backpropagate(h, error=torch.tensor([0.0, 0.0, 0.0, 1.0]))  # of L = h[3]
    >>> slope = torch.autograd.grad(h[3], network.weight)[0]
    >>> torch.allclose(found.weight, slope)
    True
    """

    state = ("h",)

    kind: Tensor

    def __init__(
        self, graph: Topology, num_neurons: int | None = None, *, activation: str | Sequence[str] = "tanh"
    ) -> None:
        super().__init__("sum")
        if num_neurons is not None:
            check_count("num_neurons", num_neurons, 0)
            if isinstance(graph, Graph) and num_neurons != graph.num_nodes:
                raise ValueError(f"num_neurons is {num_neurons}, but the graph has {graph.num_nodes} nodes.")
        self.graph = as_graph(graph, num_neurons)
        self.inputs = (self.graph.in_degree == 0).nonzero().squeeze(1)
        names = _names(activation, self.graph.num_nodes, self.inputs)
        self.activations = sorted(set(names))
        kind = torch.tensor([self.activations.index(name) for name in names], dtype=torch.int64)
        self.register_buffer("kind", kind, persistent=False)
        self.forwards = Schedule.topological(self.graph, clamped=self.inputs)
        self.backwards = Schedule.topological(self.graph).reverse()
        self.weight = nn.Parameter(torch.empty(self.graph.num_edges))
        self.bias = nn.Parameter(torch.empty(self.graph.num_nodes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew, each within ±1/√n for a neuron that n edges enter."""
        bound = self.graph.in_degree.clamp(min=1).to(self.weight).rsqrt()
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_(bound[self.graph.dst])
            self.bias.uniform_(-1, 1).mul_(bound)

    def message(self, h_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij h_j."""
        return _rows(w, h_j) * h_j

    def update(self, inputs: Tensor, b: Tensor, kind: Tensor) -> Tensor:  # type: ignore[override]
        """f_i(Σ_j w_ij h_j + b_i)."""
        return self._each(0, inputs + _rows(b, inputs), kind)

    def _each(self, which: int, values: Tensor, kind: Tensor) -> Tensor:
        """F of each neuron (0), or its slope (1)."""
        found = ACTIVATIONS[self.activations[0]][which](values)
        for number, name in enumerate(self.activations[1:], 1):
            found = torch.where(_rows(kind == number, values), ACTIVATIONS[name][which](values), found)
        return found

    def edge_update(self, h_j: Tensor, delta_i: Tensor) -> Tensor:  # type: ignore[override]
        """∂L/∂w_ij = h_j δ_i, for each sample."""
        return h_j * delta_i

    def forward(self, x: Tensor) -> Tensor:
        """The activation of every neuron, from those of the inputs."""
        if not 1 <= x.dim() <= 2 or len(x) != len(self.inputs):
            raise ValueError(
                f"x must be [{len(self.inputs)}] or [{len(self.inputs)}, num_samples], a row for each input "
                f"neuron, got shape {list(x.shape)}."
            )
        h = x.new_zeros(self.graph.num_nodes, *x.shape[1:]).index_copy(0, self.inputs, x)
        w, b = self.weight.to(x.dtype), self.bias.to(x.dtype)
        found: Tensor = iterate(self, self.graph, h, schedule=self.forwards, w=w, b=b, kind=self.kind).state
        return found

    @torch.no_grad()
    def backpropagate(self, h: Tensor, error: Tensor) -> Backpropagated:
        """The slopes of a loss, by the δ-rule on the reversed graph (Rumelhart, Hinton and Williams, 1986).

        Args:
            h: the activations that `forward` returned.
            error: ∂L/∂h in the same form, 0 where the loss does not read a neuron itself.
        """
        for name, value in (("h", h), ("error", error)):
            if not 1 <= value.dim() <= 2 or len(value) != self.graph.num_nodes or value.shape != h.shape:
                raise ValueError(
                    f"{name} must be [{self.graph.num_nodes}] or [{self.graph.num_nodes}, num_samples], as "
                    f"forward returned it, got shape {list(value.shape)}."
                )
        slope = self._each(1, h, self.kind).index_fill(0, self.inputs, 1)
        delta: Tensor = iterate(
            _Deltas(),
            self.graph.reverse(),
            torch.zeros_like(h),
            schedule=self.backwards,
            w=self.weight.to(h.dtype),
            slope=slope,
            error=error,
        ).state
        per_edge: Tensor = self.edge_updater(self.graph, h=h, delta=delta)
        inputs_apart = delta.index_fill(0, self.inputs, 0)
        return Backpropagated(delta, _over_samples(per_edge), _over_samples(inputs_apart))

    def extra_repr(self) -> str:
        """The numbers of neurons and of edges."""
        graph = self.graph
        return f"{graph.num_nodes}, num_edges={graph.num_edges}, {', '.join(self.activations)}"


class _Deltas(MessagePassing):
    """δ_j = f'(a_j) (e_j + Σ_k w_kj δ_k), on the reversed graph."""

    state = ("delta",)

    def message(self, delta_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        return _rows(w, delta_j) * delta_j

    def update(self, inputs: Tensor, slope: Tensor, error: Tensor) -> Tensor:  # type: ignore[override]
        return slope * (error + inputs)


def _names(activation: str | Sequence[str], number: int, inputs: Tensor) -> list[str]:
    """The activation of every neuron; that of inputs, which are given, counts for nothing."""
    names = [activation] * number if isinstance(activation, str) else list(activation)
    if len(names) != number:
        raise ValueError(f"activation names {len(names)} functions, but there are {number} neurons.")
    unknown = {*names, *([activation] if isinstance(activation, str) else [])} - ACTIVATIONS.keys()
    if unknown:
        raise ValueError(f"activation is {min(unknown)!r}, but must be one of {', '.join(ACTIVATIONS)}.")
    for node in inputs.tolist():
        if not isinstance(activation, str) and names[node] != "identity":
            raise ValueError(f"activation[{node}] is {names[node]!r}, but inputs have 'identity'.")
    return names


def _rows(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per row, for all samples."""
    return numbers.view(-1, *[1] * (like.dim() - 1))


def _over_samples(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.sum(1)
