"""The one equation: message, aggregate, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import backends
from mpnn.aggregate.aggregators import Aggr, apply, resolve
from mpnn.borrowed import modules_in
from mpnn.graph.adjacency import Topology
from mpnn.graph.checks import as_int
from mpnn.graph.graph import Size
from mpnn.layer.watched import EXPLAIN, HOOKS, watched
from mpnn.step.fields import Argument, Fields
from mpnn.step.parameters import Asked, parameters_of
from mpnn.step.step import NOTHING, Step

FLOWS = ("source_to_target", "target_to_source")
# Called with each class of layers that is made; `mpnn/interop/as_pyg.py` waits for them.
NEW_LAYERS: list[Callable[[type[Any]], None]] = []


class MessagePassing(nn.Module):
    """A layer in which every node updates itself from messages along its edges.

        m_ij = message(x_i, x_j, e_ij)             for every edge j -> i
        a_i  = aggregate { m_ij : j -> i }
        x_i' = update(a_i, x_i)

    A subclass says what a message is, in PyTorch on tensors with one row per edge: parameter `x_j` is field
    `x` at the source of each edge, `x_i` at its destination, any other name the field as it was passed to
    `propagate`. The protocol is that of PyG's class of the same name: a layer written for it works here.

    Args:
        aggr: "sum" ("add"), "mean", "max", "min", "mul", "var", "std", "softmax" (of a message
            `(score, value)`), a list of these, one of PyG's names, a module, or a function
            `(messages, index, num_rows) -> [num_rows, ...]`. None leaves `aggregate` to the subclass.
        aggr_kwargs: options of a named aggregator.
        flow: "target_to_source" sends messages against the edges.
        node_dim: the dimension of the node features that counts the nodes.
        decomposed_layers: in PyG how many parts the channels are sent in, to need less memory; here a kernel
            keeps no messages, and the result is the same with any number.

    >>> class MaxDifference(MessagePassing):
    ...     def __init__(self):
    ...         super().__init__(aggr="max")
    ...     def message(self, x_i, x_j):
    ...         return x_j - x_i
    ...     def forward(self, x, graph):
    ...         return self.propagate(graph, x=x)
    >>> MaxDifference()(torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([[1, 2], [0, 0]]))
    tensor([[4.],
            [0.],
            [0.]])
    """

    # Whether its edges are another matter than the caller's graph: neurons, windows, a node's membership of a
    # graph. What is done to a graph's edges from outside, as masks of an explainer, then passes the layer by.
    has_own_edges = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for see in NEW_LAYERS:
            see(cls)

    def __init__(
        self,
        aggr: Aggr | None = "sum",
        *,
        aggr_kwargs: Mapping[str, Any] | None = None,
        flow: str = "source_to_target",
        node_dim: int = 0,
        decomposed_layers: int = 1,
    ) -> None:
        super().__init__()
        if flow not in FLOWS:
            raise ValueError(f"flow is {flow!r}, but must be one of {', '.join(FLOWS)}.")
        # As in PyG, a description of the aggregator; the module is in the state_dict once, as `aggr_module`.
        self.aggr = [str(a) for a in aggr] if isinstance(aggr, list | tuple) else aggr and str(aggr)
        self.aggr_module = resolve(aggr, **(aggr_kwargs or {}))
        self.flow = flow
        self.node_dim = as_int("node_dim", node_dim)
        self.decomposed_layers = as_int("decomposed_layers", decomposed_layers, 1)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        reset = getattr(self.aggr_module, "reset_parameters", None)
        if callable(reset):
            reset()

    # What a layer says --------------------------------------------------------------------------------

    def message(self, x_j: Tensor) -> Any:
        """The message along each edge: by default the features of its source."""
        return x_j

    def aggregate(
        self, inputs: Any, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None
    ) -> Tensor:
        """The aggregate of a node's messages: by default that of `aggr`."""
        if self.aggr_module is None:
            raise ValueError(f"{type(self).__name__} was built with aggr=None and defines no aggregate().")
        return apply(self.aggr_module, inputs, index, ptr, dim_size, self.node_dim)

    def update(self, inputs: Tensor) -> Any:
        """The new value of a node: by default the aggregate."""
        return inputs

    def edge_update(self) -> Any:
        """The new value of an edge; `edge_updater` gives it the same kinds of fields as a message."""
        raise NotImplementedError(f"{type(self).__name__} defines no edge_update().")

    # How it is done -----------------------------------------------------------------------------------

    def propagate(self, graph: Topology | None = None, size: Size | None = None, **fields: Any) -> Any:
        """One round of message passing.

        Args:
            graph: a `Graph`, or an `edge_index` tensor `[2, num_edges]` (also as `edge_index=`).
            size: `(num_src, num_dst)`, where the fields do not tell and `graph` is a tensor.
            **fields: what `message`, `aggregate` and `update` ask for: node features
                `[num_nodes, ...]`, pairs of them `(sources, destinations)`, edge features
                `[num_edges, ...]`, or anything else, which is passed on as it is.

        Returns:
            What `update` returns: `[num_dst, ...]` unless the subclass says otherwise.

        Raises:
            TypeError: a field that is missing, or that no function asks for.
            ValueError: a field with the wrong number of rows, or on another device than the graph.
        """
        return backends.current()(self._step(graph, size, fields))

    def _step(self, graph: Topology | None, size: Size | None, fields: dict[str, Any]) -> Step:
        """The three functions with what each of them gets."""
        asked = self._asked()
        bound = Fields(_topology(graph, fields), size, fields, asked, self.node_dim, self.flow)
        updates = type(self).update is not MessagePassing.update or "update" in self.__dict__
        step = step_of(self, bound, bound.bind(asked.functions["update"]) if updates else None)
        return watched(self, step) if EXPLAIN in self.__dict__ or HOOKS in self.__dict__ else step

    def _asked(self) -> Asked:
        """What message, aggregate and update ask for; kept with the class as long as they are its own."""
        cls = type(self)
        if torch.compiler.is_compiling() or not self.__dict__.keys().isdisjoint(_FIRST):
            return _asked_by(self)
        functions = (cls.message, cls.aggregate, cls.update)
        known: tuple[Any, Asked] | None = cls.__dict__.get("_known_asked")
        if known is None or known[0] != functions:
            known = cls._known_asked = (functions, _asked_by(self))  # type: ignore[attr-defined]
        return known[1]

    def edge_updater(self, graph: Topology | None = None, size: Size | None = None, **fields: Any) -> Any:
        """One new value per edge: `edge_update` on fields lifted as for `message`.

        Args and errors are those of `propagate`; returns what `edge_update` returns, `[num_edges, ...]`.
        """
        asked = Asked({"edge_update": parameters_of(self.edge_update)})
        bound = Fields(_topology(graph, fields), size, fields, asked, self.node_dim, self.flow)
        return bound.call(self.edge_update, bound.bind(asked.functions["edge_update"]))

    def extra_repr(self) -> str:
        """The widths, where the layer has PyG's names for them."""
        if hasattr(self, "in_channels") and hasattr(self, "out_channels"):
            return f"{self.in_channels}, {self.out_channels}"
        return ""


def step_of(layer: MessagePassing, bound: Fields, others: Mapping[str, Argument] | None) -> Step:
    """What a layer says, and what each of its functions gets.

    Args:
        layer: what says message, aggregate and update.
        bound: the fields of its messages.
        others: what its update gets; None where the nodes become what they received.
    """
    aggregate = bound.asked.functions["aggregate"]
    return Step(
        bound,
        layer.message,
        bound.bind(bound.asked.functions["message"]),
        lambda messages: layer.aggregate(messages, **bound.lifted(aggregate)),
        aggregator_of(layer),
        None if others is None else layer.update,
        NOTHING if others is None else others,
    )


def aggregator_of(layer: MessagePassing) -> nn.Module | None:
    """What a layer's `aggregate` calls; None if it overrides `aggregate`, which then need not be a sum."""
    if type(layer).aggregate is not MessagePassing.aggregate:
        return None
    return modules_in(layer).get("aggr_module")


# Each function that a field may reach, and the number of its first parameter that is a field.
_FIRST = {"message": 0, "aggregate": 1, "update": 1}


def _asked_by(layer: MessagePassing) -> Asked:
    return Asked({name: parameters_of(getattr(layer, name), skip=first) for name, first in _FIRST.items()})


def _topology(graph: Topology | None, fields: dict[str, Any]) -> Topology:
    """The graph of a call, which code written for PyG may also name `edge_index`."""
    if graph is not None:
        return graph
    if fields.get("edge_index") is None:
        raise TypeError("graph is missing: give a Graph or an edge_index tensor [2, num_edges].")
    edge_index: Topology = fields.pop("edge_index")
    return edge_index


class _Function(MessagePassing):
    """A message function without a class around it."""

    def __init__(self, function: Callable[..., Any], aggr: Aggr, node_dim: int) -> None:
        super().__init__(aggr, node_dim=node_dim)
        # Not by assignment: `nn.Module` would register a message that is a module as a child.
        self.__dict__["message"] = function


def propagate(
    graph: Topology,
    message: Callable[..., Any],
    aggr: Aggr = "sum",
    *,
    size: Size | None = None,
    node_dim: int = 0,
    **fields: Any,
) -> Tensor:
    """One round of message passing with a function for a message; see `MessagePassing`.

    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> propagate(ring, lambda x_i, x_j: (x_i - x_j).abs(), aggr="max", x=torch.tensor([0.0, 1.0, 5.0]))
    tensor([5., 1., 4.])
    """
    out: Tensor = _Function(message, aggr, node_dim).propagate(graph, size, **fields)
    return out
