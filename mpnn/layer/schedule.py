"""The topological schedule: every node is updated once, after all its sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from mpnn import backends
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph, Size
from mpnn.layer.message_passing import MessagePassing
from mpnn.layer.sweep import States, Sweeper, as_step
from mpnn.step.schedule import TOPOLOGICAL, Schedule
from mpnn.step.step import Recurrence, Step

__all__ = ["States", "Topological"]


class Topological(MessagePassing):
    """A `MessagePassing` layer on a directed acyclic graph, computed level by level, each level at once.

    `state` names what `update` returns, one tensor per name. A message that asks for such a name at its
    source, `h_j` say, gets what `update` has made of the source; other fields are what `propagate` was given
    and `prepare` has made of it.

    With `truncate = k`, set in the class or on a layer, gradients are cut every k levels: a node in level
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

    has_own_edges = True

    schedule: ClassVar[Schedule] = TOPOLOGICAL
    state: ClassVar[tuple[str, ...]] = ()
    truncate: int | None = None

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What can be computed for all nodes at once, before the first is updated: by default nothing."""
        return dict(fields)

    def scan(self, graph: Topology | None = None, **fields: Any) -> tuple[Tensor, States]:
        """One pass over the graph, of which only the results are kept.

        Args and errors are those of `propagate`.

        Returns:
            The first state of every node, `[num_nodes, ...]`, and all states of the last nodes, those without
            an edge that leaves them, `[num_last, ...]` each.
        """
        graph = self._checked(graph, None, fields)
        found: tuple[Tensor, States] | None = backends.sweep(self._as_step(graph, fields))
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
            found: tuple[Tensor, States] | None = backends.sweep(self._as_step(graph, fields))
            if found is not None:
                return (found[0],)
        return self._by_levels(graph, fields)

    def _as_step(self, graph: Graph, fields: dict[str, Any]) -> Step:
        said = Recurrence(type(self).__name__, self.state, None, self.prepare, self.nothing, self.truncate)
        return as_step(self, graph, fields, self.schedule, said)

    def _checked(self, graph: Topology | None, size: Size | None, fields: Mapping[str, Any]) -> Graph:
        if size is not None or graph is None:
            raise ValueError("a topological schedule needs a graph with one set of nodes, and no size.")
        if self.truncate is not None and self.truncate < 1:
            raise ValueError(f"truncate is {self.truncate}, but must be a number of levels, at least 1.")
        rows = next((v.size(0) for v in fields.values() if isinstance(v, Tensor) and v.dim()), None)
        return as_graph(graph, None if isinstance(graph, Graph) else rows)

    def _by_levels(self, graph: Graph, fields: Mapping[str, Any]) -> States:
        sweeper = Sweeper(
            self, graph, self.state, self.prepare(fields), schedule=self.schedule, nothing=self.nothing
        )
        return sweeper.sweep(None, self.truncate)

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        """What nodes without an edge that enters them have received: zeros as wide as a message.

        By default one zero each.
        """
        like = next(v for v in fields.values() if isinstance(v, Tensor))
        return like.new_zeros(num_nodes)
