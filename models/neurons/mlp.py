"""Neurons on a directed acyclic graph: the multilayer perceptron where the graph has layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.layer.schedule import Topological
from mpnn.models.parts.checks import check_count


class Activation(NamedTuple):
    """A function of what a neuron sums up, and its derivative."""

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


ACTIVATIONS = {
    "identity": Activation(lambda a: a, torch.ones_like),
    "logistic": Activation(torch.sigmoid, lambda a: torch.sigmoid(a) * (1 - torch.sigmoid(a))),
    "tanh": Activation(torch.tanh, lambda a: 1 - torch.tanh(a) ** 2),
    "relu": Activation(torch.relu, lambda a: (a > 0).to(a.dtype)),
    "softplus": Activation(nn.functional.softplus, torch.sigmoid),
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


class FeedForward(Topological):
    """a_i = x_i + Σ_{j→i} w_ij h_j + b_i,  h_i = f_i(a_i): every neuron after the sources of its edges.

    Neurons without an edge that enters them are the inputs: they have x alone. Those without one that leaves
    them are the outputs. Both are in the order of their numbers; the samples of a batch are features of the
    neurons. `deltas` is the same schedule on the reversed graph (Rumelhart, Hinton and Williams, 1986). Large
    layers are faster as a stack of `Linear`, whose kernel is a matrix product.

    Args:
        graph: a directed acyclic graph, such as `layered(784, 500, 10)`.
        activation: f, one of "identity", "logistic", "tanh", "relu" and "softplus", of all hidden neurons,
            while f of inputs and outputs is the identity; or a list with one of each neuron, "identity" for
            inputs.
        num_neurons: how many there are, where `graph` is an edge_index.

    Shapes: x `[*, num_inputs]` -> `[*, num_outputs]`; `weight` `[num_edges]`, in the order of the edges, and
    `bias` `[num_neurons - num_inputs]`, drawn within ±1/√in as those of `torch.nn.Linear`.

    Raises:
        ValueError: the graph has a cycle, or an activation is none.

    >>> network, x = FeedForward(layered(2, 3, 1)), torch.ones(5, 2)
    >>> network(x).shape, network.deltas(x, error=torch.ones(5, 1)).shape
    (torch.Size([5, 1]), torch.Size([6, 5]))
    """

    state = ("h", "a")
    inputs: Tensor
    hidden: Tensor
    outputs: Tensor
    kind: Tensor

    def __init__(
        self, graph: Topology, activation: str | Sequence[str] = "tanh", num_neurons: int | None = None
    ) -> None:
        super().__init__("sum")
        if num_neurons is not None:
            check_count("num_neurons", num_neurons, 0)
            if isinstance(graph, Graph) and num_neurons != graph.num_nodes:
                raise ValueError(f"num_neurons is {num_neurons}, but the graph has {graph.num_nodes} nodes.")
        self.graph = as_graph(graph, num_neurons)
        self.schedule.rank_of(self.graph)  # or the sentence that shows a cycle
        is_input, is_output = self.graph.in_degree == 0, self.graph.out_degree == 0
        names = _names(activation, is_input, is_output)
        self.names = sorted(set(names))
        found = {
            "inputs": is_input.nonzero().flatten(),
            "hidden": (~is_input).nonzero().flatten(),  # and outputs: those with a bias
            "outputs": is_output.nonzero().flatten(),
            "kind": torch.tensor([self.names.index(name) for name in names], dtype=torch.int64),
        }
        for name, value in found.items():
            self.register_buffer(name, value, persistent=False)
        self.weight = nn.Parameter(torch.empty(self.graph.num_edges))
        self.bias = nn.Parameter(torch.empty(len(self.hidden)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, each within ±1/√in, where `in` counts the edges that enter its neuron."""
        bound = self.graph.in_degree.clamp(min=1).rsqrt().to(self.weight)
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_(bound[self.graph.dst])
            self.bias.uniform_(-1, 1).mul_(bound[self.hidden])

    # Forward --------------------------------------------------------------------------------------------

    def message(self, h_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij h_j."""
        return w[:, None] * h_j

    def update(self, inputs: Tensor, x: Tensor, b: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """f_i(a_i), and a_i."""
        a = inputs + x + b[:, None]
        return self._of_kind(kind, a, [ACTIVATIONS[name].function for name in self.names]), a

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        """What inputs receive: 0 of each sample."""
        x: Tensor = fields["x"]
        return x.new_zeros(num_nodes, x.size(1))

    def _of_kind(self, kind: Tensor, a: Tensor, functions: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        found = functions[0](a)
        for k, function in enumerate(functions[1:], 1):
            found = torch.where((kind == k)[:, None], function(a), found)
        return found

    def neurons(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The h and a of every neuron, `[num_neurons, num_samples]`, from x `[num_samples, num_inputs]`."""
        _check("x", x, None, len(self.inputs))
        given = x.new_zeros(self.graph.num_nodes, len(x)).index_copy(0, self.inputs, x.T)
        bias = self.bias.new_zeros(self.graph.num_nodes).index_copy(0, self.hidden, self.bias)
        graph = self.graph.to(x.device)
        found: tuple[Tensor, Tensor] = self.propagate(graph, x=given, w=self.weight, b=bias, kind=self.kind)
        return found

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.neurons(x.flatten(0, -2) if x.dim() > 1 else x[None])
        return h[self.outputs].T.reshape(*x.shape[:-1], len(self.outputs))

    # Backward -------------------------------------------------------------------------------------------

    def deltas(self, x: Tensor, error: Tensor) -> Tensor:
        """δ_i = ∂L/∂a_i of every neuron: f'_i(a_i) (e_i + Σ_{i→k} w_ki δ_k).

        Args:
            x: `[num_samples, num_inputs]`.
            error: e = ∂L/∂h of the outputs, `[num_samples, num_outputs]`.

        Returns:
            `[num_neurons, num_samples]`.
        """
        return self._deltas(self.neurons(x)[1], error)

    def _deltas(self, a: Tensor, error: Tensor) -> Tensor:
        _check("error", error, a.size(1), len(self.outputs))
        slope = self._of_kind(self.kind, a, [ACTIVATIONS[name].slope for name in self.names])
        given = torch.zeros_like(a).index_copy(0, self.outputs, error.T)
        back = self.graph.to(a.device).reverse()
        delta: Tensor = _DeltaRule("sum").propagate(back, slope=slope, error=given, w=self.weight)[0]
        return delta

    def gradients(self, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """∂L/∂w_ij = Σ δ_i h_j over the samples, an edge update, and ∂L/∂b_i = Σ δ_i.

        Args are those of `deltas`; the gradients have the shapes of `weight` and `bias`.
        """
        h, a = self.neurons(x)
        delta = self._deltas(a, error)
        by_edges: Tensor = self.edge_updater(self.graph.to(x.device), h=(h, None), delta=(None, delta))
        return by_edges, delta[self.hidden].sum(1)

    def edge_update(self, h_j: Tensor, delta_i: Tensor) -> Tensor:  # type: ignore[override]
        """h_j δ_i, summed over the samples."""
        return (h_j * delta_i).sum(-1)

    def extra_repr(self) -> str:
        """The number of neurons and edges, and which functions they have."""
        return f"{self.graph.num_nodes}, num_edges={self.graph.num_edges}, {', '.join(self.names)}"


class _DeltaRule(Topological):
    """δ_j = f'(a_j) (e_j + Σ_k w_kj δ_k), along the edges k → j of the reversed graph."""

    state = ("delta",)

    def message(self, delta_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        return w[:, None] * delta_j

    def update(self, inputs: Tensor, slope: Tensor, error: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        return (slope * (error + inputs),)

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        error: Tensor = fields["error"]
        return error.new_zeros(num_nodes, error.size(1))


def _names(activation: str | Sequence[str], is_input: Tensor, is_output: Tensor) -> list[str]:
    """The activation of every neuron."""
    if isinstance(activation, str):
        ends = (is_input | is_output).tolist()
        names = ["identity" if is_end else activation for is_end in ends]
        unknown = set() if activation in ACTIVATIONS else {activation}
    else:
        names = list(activation)
        unknown = {name for name in names if name not in ACTIVATIONS}
        if len(names) != len(is_input):
            raise ValueError(
                f"activation names {len(names)} functions, but there are {len(is_input)} neurons."
            )
    if unknown:
        raise ValueError(f"activation is {min(unknown)!r}, but must be one of {', '.join(ACTIVATIONS)}.")
    for node in is_input.nonzero().flatten().tolist():
        if names[node] != "identity":
            raise ValueError(f"activation[{node}] is {names[node]!r}, but inputs have 'identity'.")
    return names


def _check(name: str, value: Tensor, rows: int | None, width: int) -> None:
    if value.dim() != 2 or value.size(1) != width or rows not in (None, len(value)):
        wanted = "num_samples" if rows is None else rows
        raise ValueError(f"{name} must be [{wanted}, {width}], got shape {list(value.shape)}.")
