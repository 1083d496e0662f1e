"""The topological schedule: every node is updated once, after all those that it hears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mpnn import backends
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph, Size
from mpnn.layer.message_passing import MessagePassing
from mpnn.step.parameters import Parameter, Residency, parameters_of
from mpnn.step.step import Recurrence
from mpnn.topology.levels import topological_levels

States = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Level:
    """One step: the nodes of a level, and the edges that enter them, sorted by their sources' level."""

    nodes: Tensor
    edges: Tensor
    sources: Tensor  # of the edges
    graph: Graph  # from the edges' sources, one for each edge, to the nodes
    heard: tuple[tuple[int, Tensor | None], ...]  # earlier levels and rows of them; None for all, in order


class Topological(MessagePassing):
    """A `MessagePassing` layer on a directed acyclic graph, computed level by level, each level at once.

    `state` names what `update` returns, one tensor per name. A message that asks for such a name at its
    source, `h_j` say, gets what `update` has made of the source; other fields are what `propagate` was given
    and `prepare` has made of it.

    With `truncate = k`, set in the class or on a layer, gradients are cut every k levels: who stands in level
    k, 2k, ... or behind takes the states of levels before as given numbers, which on a chain is truncated
    backpropagation through time (Williams and Peng, 1990). The states themselves are the same.

    On a chain, a cell with the equations of an RNN, GRU or LSTM runs on PyTorch's kernel for these, whose
    last state is known at the last nodes only: `scan` returns no more than that.

    >>> class PathCount(Topological):
    ...     state = ("count",)
    ...     def message(self, count_j):
    ...         return count_j
    ...     def update(self, inputs, start):
    ...         return (inputs + start,)
    >>> diamond = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])
    >>> PathCount().propagate(diamond, start=torch.tensor([1.0, 0.0, 0.0, 0.0]))[0]
    tensor([1., 1., 1., 2.])
    """

    schedule: ClassVar[str] = "topological"
    state: ClassVar[tuple[str, ...]] = ()
    truncate: int | None = None

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What can be computed for all nodes at once, before the first is updated: by default nothing."""
        return dict(fields)

    def scan(self, graph: Topology | None = None, **fields: Any) -> tuple[Tensor, States]:
        """One pass over the graph, of which only the results are kept.

        Args and errors are those of `propagate`.

        Returns:
            The first state of every node, `[num_nodes, ...]`, and all states of the last nodes, those that
            nobody hears, `[num_last, ...]` each.
        """
        graph = self._checked(graph, None, fields)
        found: tuple[Tensor, States] | None = backends.recur(self._as_data(graph, fields))
        if found is not None:
            return found
        states = self._by_levels(graph, fields)
        last = graph.memo("last nodes", lambda: (graph.out_degree == 0).nonzero().squeeze(1))
        return states[0], tuple(state.index_select(0, last) for state in states)

    def propagate(self, graph: Topology | None = None, size: Size | None = None, **fields: Any) -> Any:
        """One pass over the graph, from its first level to its last.

        Args:
            graph: a directed acyclic graph.
            size: must be left out: there is one set of nodes.
            **fields: what `message` and `update` ask for besides the state: node features
                `[num_nodes, ...]`; for `message`, under a plain name, edge features `[num_edges, ...]`.

        Returns:
            The state of every node, a tuple of tensors `[num_nodes, ...]`.

        Raises:
            ValueError: the graph has a cycle, which the message shows; or `truncate` is below 1.
        """
        graph = self._checked(graph, size, fields)
        if len(self.state) == 1:
            found: tuple[Tensor, States] | None = backends.recur(self._as_data(graph, fields))
            if found is not None:
                return (found[0],)
        return self._by_levels(graph, fields)

    def _as_data(self, graph: Graph, fields: dict[str, Any]) -> Recurrence:
        return Recurrence(
            type(self).__name__,
            graph,
            fields,
            self.state,
            self.prepare,
            self.message,
            self.update,
            self.nothing,
            # An `aggregate` of its own is no sum.
            self.aggr_module if type(self).aggregate is MessagePassing.aggregate else None,
            self.truncate,
        )

    def _checked(self, graph: Topology | None, size: Size | None, fields: Mapping[str, Any]) -> Graph:
        if size is not None or graph is None:
            raise ValueError("a topological schedule needs a graph with one set of nodes, and no size.")
        if self.truncate is not None and self.truncate < 1:
            raise ValueError(f"truncate is {self.truncate}, but must be a number of levels, at least 1.")
        rows = next((v.size(0) for v in fields.values() if isinstance(v, Tensor) and v.dim()), None)
        return as_graph(graph, None if isinstance(graph, Graph) else rows)

    def _by_levels(self, graph: Graph, fields: Mapping[str, Any]) -> States:
        fields = self.prepare(fields)
        levels: list[_Level] = graph.memo("levels as graphs", lambda: _levels(graph))
        message, update = parameters_of(self.message), parameters_of(self.update, skip=1)
        states: list[States] = []
        for number, level in enumerate(levels):
            cut = 0 if self.truncate is None else number - number % self.truncate
            given = _rows_of(level, fields, message, update, graph.num_edges)
            for k, name in enumerate(self.state):
                given[name] = (_gather(level, states, k, cut), None)
            states.append(self._update_level(level, given, update))
        order = graph.memo("place in the schedule", lambda: _inverse(torch.cat([lv.nodes for lv in levels])))
        return tuple(torch.cat(parts).index_select(0, order) for parts in zip(*states, strict=True))

    def _update_level(
        self, level: _Level, given: dict[str, Any], update: tuple[Parameter, ...]
    ) -> tuple[Tensor, ...]:
        if level.edges.numel():
            step = self._step(level.graph, None, given)
            received = backends.current()(step._replace(update=None))
        else:  # the first nodes hear nobody
            received = self.nothing(level.nodes.numel(), given)
        # Of a field that messages read at the source, too, `update` gets the rows of its own nodes.
        own = {k: v[1] if isinstance(v, tuple) else v for k, v in given.items()}
        return tuple(self.update(received, **{p.name: own[p.field] for p in update if p.field in own}))

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        """What nodes that hear nobody have received: zeros as wide as a message; by default one zero each."""
        like = next(v for v in fields.values() if isinstance(v, Tensor))
        return like.new_zeros(num_nodes)


def _levels(graph: Graph) -> list[_Level]:
    levels = topological_levels(graph)
    position = torch.empty_like(levels.nodes)
    found = []
    for nodes, edges in levels:
        position[nodes] = torch.arange(nodes.numel(), device=nodes.device)
        # By their sources' level, so that what they hear is one piece for each.
        edges = edges[torch.argsort(levels.level[graph.src[edges]], stable=True)]
        sources = graph.src[edges]
        of_level = levels.level[sources]
        heard: list[tuple[int, Tensor | None]] = []
        for earlier, count in Counter(of_level.tolist()).items():
            rows = position[sources[of_level == earlier]]
            size = levels.node_ptr[earlier + 1] - levels.node_ptr[earlier]
            everyone = count == size and bool((rows == torch.arange(size, device=rows.device)).all())
            heard.append((earlier, None if everyone else rows))
        ends = torch.stack([torch.arange(edges.numel(), device=edges.device), position[graph.dst[edges]]])
        step = Graph(ends, (edges.numel(), nodes.numel()))
        found.append(_Level(nodes, edges, sources, step, tuple(heard)))
    if not found:  # a graph without nodes has one empty level, whose states have their shapes
        none = levels.nodes
        found.append(_Level(none, none, none, Graph(none.new_empty(2, 0), (0, 0)), ()))
    return found


def _gather(level: _Level, states: Sequence[tuple[Tensor, ...]], k: int, cut: int) -> Tensor | None:
    parts = []
    for earlier, rows in level.heard:
        state = states[earlier][k].detach() if earlier < cut else states[earlier][k]
        parts.append(state if rows is None else state.index_select(0, rows))
    return parts[0] if len(parts) == 1 else torch.cat(parts) if parts else None


def _rows_of(
    level: _Level,
    fields: Mapping[str, Any],
    message: tuple[Parameter, ...],
    update: tuple[Parameter, ...],
    num_edges: int,
) -> dict[str, Any]:
    """The fields, cut to the nodes of a level and the edges that enter it."""
    per_edge = {p.field for p in message if p.residency is Residency.GIVEN}
    at_source = {p.field for p in message if p.residency is Residency.SRC}
    at_node = {p.field for p in update} | {p.field for p in message if p.residency is Residency.DST}
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if not isinstance(value, Tensor) or not value.dim():
            given[name] = value
        elif name in per_edge:
            given[name] = value[level.edges] if value.size(0) == num_edges else value
        elif name in at_source:
            given[name] = (value[level.sources], value[level.nodes] if name in at_node else None)
        else:
            given[name] = value[level.nodes]
    return given


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=order.device)
    return inverse
