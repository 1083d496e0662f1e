"""How the tensors given to `propagate` reach the parameters of a user's function.

A parameter `x_j` asks for field `x` at the source of each edge, `x_i` at its destination, `x` for the field
as it was passed: one row per edge, or something that all edges share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.aggregate.reduce import pick_rows
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph, Size
from mpnn.native.products import linear
from mpnn.step.parameters import TOPOLOGY_NAMES, Asked, Parameter, Residency

PAIR = (tuple, list)


class Argument(NamedTuple):
    """What a parameter gets: a node field has one row per node until the backend lifts it to the edges."""

    residency: Residency
    value: Any


@dataclass(frozen=True)
class Deferred:
    """The type of every edge, not yet computed: a kernel for a regular topology does not need it."""

    graph: Graph

    def resolve(self) -> Tensor | None:
        """`[num_edges]` int64."""
        return self.graph.edge_type


@dataclass(frozen=True, eq=False)
class Mapped:
    """A node field that is still to be computed: x Wᵀ + b, a row in another shape.

    A backend that computes the map itself never needs its whole gradient, and keeps the result only if it is
    read again. Any other backend takes the `tensor`.

    Shapes: x `[num_nodes, in_channels]`, weight `[out_channels, in_channels]`, bias `[out_channels]`;
    `shape` is that of a row, of out_channels numbers.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    shape: tuple[int, ...]

    @cached_property
    def tensor(self) -> Tensor:
        """`[num_nodes, *shape]`."""
        return linear(self.x, self.weight, self.bias).view(-1, *self.shape)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What it is computed from."""
        return (self.x, self.weight) if self.bias is None else (self.x, self.weight, self.bias)


def computed(value: Any) -> Any:
    """A field, or a pair of them, as it is once it is computed."""
    if isinstance(value, tuple | list) and any(isinstance(half, Mapped) for half in value):
        return type(value)(map(computed, value))
    return value.tensor if isinstance(value, Mapped) else value


def _half(name: str, field: str, residency: Residency, pair: Sequence[Any]) -> Any:
    """What a pair (sources, destinations) holds for one end, also where the flow runs against the edges.

    Raises:
        ValueError: it is no pair.
    """
    if len(pair) != 2:
        raise ValueError(
            f"{field} must be a tensor or a pair (sources, destinations) for {name}, got {len(pair)} values."
        )
    return pair[0 if residency is Residency.SRC else 1]


def _checked_pair(size: Sequence[int]) -> Size:
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f"size must be a pair (num_src, num_dst), got {size!r}.")
    return (size[0], size[1])


class Fields:
    """The fields of one `propagate` call, bound to its graph."""

    def __init__(
        self,
        topology: Topology,
        size: Size | None,
        fields: Mapping[str, Any],
        asked: Asked,
        node_dim: int = 0,
        flow: str = "source_to_target",
        to_graph: Callable[[Tensor, int | Size | None], Graph] = as_graph,
    ) -> None:
        self.given = fields
        self.asked = asked
        self.node_dim = node_dim
        self._reversed = flow == "target_to_source"
        self._is_typed = isinstance(topology, Graph) and topology.is_typed
        if not asked.fits(fields, self._is_typed):
            self._check_asked(asked.functions)
        if size is not None:
            size = _checked_pair(size)
        if not isinstance(topology, Graph):
            num_nodes = self._infer_size(asked.lifted) if size is None else size
            topology = to_graph(topology, num_nodes)
        elif size is not None and topology.size != size:
            raise ValueError(f"size is {size}, but the graph has size {topology.size}.")
        self.original = topology
        self.graph = topology.reverse() if self._reversed else topology

    def on(self, graph: Graph) -> Fields:
        """Fields for the same functions on another graph, which has the direction of the messages."""
        fields = copy.copy(self)
        fields.graph, fields.original = graph, graph.reverse() if self._reversed else graph
        return fields

    def bind(self, parameters: tuple[Parameter, ...]) -> dict[str, Argument]:
        """What each parameter gets; optional parameters that no field matches keep their defaults."""
        bound, given, graph = {}, self.given, self.graph
        size, device, node_dim = graph.size, graph.device, self.node_dim
        for name, field, residency, _ in parameters:
            as_given = residency is Residency.GIVEN
            if as_given and field in TOPOLOGY_NAMES:
                bound[name] = Argument(residency, self.fact(field))
            elif field in given:
                value = given[field]
                if as_given:
                    value = computed(value)
                elif isinstance(value, PAIR):
                    value = _half(name, field, residency, value)
                if value is None:  # one half of a pair, or an optional field
                    residency = Residency.GIVEN
                elif not as_given:
                    rows = value.x if type(value) is Mapped else value
                    wanted = size[1 if residency is Residency.DST else 0]
                    if (
                        not isinstance(rows, Tensor)
                        or not -rows.dim() <= node_dim < rows.dim()
                        or rows.size(node_dim) != wanted
                        or rows.device != device
                    ):
                        raise self._misfit(name, field, residency, rows)
                bound[name] = Argument(residency, value)
            elif name == "edge_type" and self._is_typed:
                bound[name] = Argument(residency, Deferred(self.graph))
        return bound

    def lift(self, argument: Argument) -> Any:
        """The rows of a node field, one for each edge."""
        residency, value = argument
        if residency is Residency.GIVEN:
            return self.resolved(argument)
        index = self.graph.dst if residency is Residency.DST else self.graph.src
        rows = computed(value)
        return pick_rows(rows, self.node_dim % rows.dim(), index)

    def resolved(self, argument: Argument) -> Any:
        """The value of an argument, not lifted."""
        value = argument.value
        return value.resolve() if isinstance(value, Deferred) else computed(value)

    def lifted(self, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
        """Arguments with which a function can be called on all edges at once."""
        return {name: self.lift(argument) for name, argument in self.bind(parameters).items()}

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Argument]) -> Any:
        """Call a function on all edges at once.

        Raises:
            ValueError: the function failed, and there are fields that do not fit the graph's edges.
        """
        lifted = {name: self.lift(argument) for name, argument in arguments.items()}
        try:
            return function(**lifted)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError) as error:
            suspects = self._suspects(arguments)
            if not suspects:
                raise
            name = getattr(function, "__name__", type(function).__name__)
            reason = str(error).strip().rstrip(".")
            raise ValueError(
                f"{name}() failed ({reason}); a field per edge needs {self.graph.num_edges} rows on "
                f"{self.graph.device}, but {', '.join(suspects)}."
            ) from error

    def fact(self, name: str) -> Any:
        """The value of a name that stands for a fact about the graph."""
        graph = self.graph
        match name:
            case "edge_index":
                return self.original.edge_index
            case "index" | "edge_index_i":
                return graph.dst
            case "edge_index_j":
                return graph.src
            case "ptr":
                return None  # edges come in the user's order, which need not be sorted by destination
            case "size":
                return list(self.original.size)
            case "size_j":
                return graph.num_src
            case _:  # size_i, dim_size
                return graph.num_dst

    def _infer_size(self, lifted: Sequence[Parameter]) -> int | Size | None:
        """The size that the node fields imply, as `(rows of edge_index[0], rows of edge_index[1])`."""
        sizes: dict[int, int] = {}
        for name, field, residency, _ in lifted:
            value = self.given.get(field)
            sides = [(residency, value)]
            if isinstance(value, PAIR):  # it tells both sizes, whichever half is asked for
                sides = [(side, _half(name, field, side, value)) for side in (Residency.SRC, Residency.DST)]
            for side, half in sides:
                half = half.x if isinstance(half, Mapped) else half
                if isinstance(half, Tensor) and self._has_rows(half):
                    sizes.setdefault(self._row(side), half.size(self.node_dim))
        if not sizes:
            return None
        num_src, num_dst = sizes.get(0, sizes.get(1, 0)), sizes.get(1, sizes.get(0, 0))
        return num_src if num_src == num_dst else (num_src, num_dst)

    def _has_rows(self, value: Tensor) -> bool:
        return -value.dim() <= self.node_dim < value.dim()

    def _row(self, residency: Residency) -> int:
        return 0 if (residency is Residency.SRC) != self._reversed else 1

    # Checks -------------------------------------------------------------------------------------------

    def _check_asked(self, functions: Mapping[str, tuple[Parameter, ...]]) -> None:
        taken = [name for name in self.given if name in TOPOLOGY_NAMES]
        if taken:
            raise TypeError(
                f"propagate() was given {', '.join(map(repr, taken))}, a name that stands for a fact "
                "about the graph: call the field something else."
            )
        asked = set()
        for function, parameters in functions.items():
            for parameter in parameters:
                asked.add(parameter.field)
                typed = self._is_typed and parameter.name == "edge_type"
                known = parameter.field in self.given or (
                    parameter.residency is Residency.GIVEN and (typed or parameter.field in TOPOLOGY_NAMES)
                )
                if parameter.required and not known:
                    raise TypeError(
                        f"{function}() asks for {parameter.name!r}; propagate() was given {self._describe()}."
                    )
        unused = [name for name, value in self.given.items() if name not in asked and value is not None]
        if unused:
            known_names = sorted({p.name for parameters in functions.values() for p in parameters})
            raise TypeError(
                f"propagate() was given {', '.join(map(repr, unused))}, which no function asks for; "
                f"{', '.join(f'{name}()' for name in functions)} ask for "
                f"{', '.join(known_names) or 'nothing'}."
            )

    def _suspects(self, arguments: Mapping[str, Argument]) -> list[str]:
        """Fields that may be meant to have one row per edge, and have another number of rows."""
        suspects = []
        for name, (residency, value) in arguments.items():
            if residency is not Residency.GIVEN or not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if value.device != self.graph.device:
                suspects.append(f"{name} is on {value.device}")
                continue
            rows = value.size(self.node_dim if self._has_rows(value) else 0)
            if rows != 1 and rows != self.graph.num_edges:  # no `in`: `torch.compile` finds no size so
                suspects.append(f"{name} has shape {list(value.shape)}")
        return suspects

    def _describe(self) -> str:
        described = [
            f"{name} {list(value.shape)}" if isinstance(value, Tensor) else f"{name} ({type(value).__name__})"
            for name, value in self.given.items()
        ]
        return ", ".join(described) or "no fields"

    def _misfit(self, name: str, field: str, residency: Residency, value: Any) -> Exception:
        """Why a value cannot stand for the nodes at one end."""
        graph, at_dst = self.graph, residency is Residency.DST
        if not isinstance(value, Tensor):
            return TypeError(
                f"{field} must be a tensor with one row per node for {name}, got {type(value).__name__}."
            )
        side = "destination" if at_dst else "source"
        if not self._has_rows(value):
            return ValueError(
                f"{field} has shape {list(value.shape)}, but {name} needs one row per {side} node in "
                f"dimension {self.node_dim}."
            )
        wanted = graph.num_dst if at_dst else graph.num_src
        if value.size(self.node_dim) != wanted:
            return ValueError(
                f"{field} has {value.size(self.node_dim)} rows (dimension {self.node_dim} of "
                f"{list(value.shape)}), but the graph has {wanted} {side} nodes."
            )
        return ValueError(f"{field} is on {value.device}, but the graph is on {graph.device}.")
