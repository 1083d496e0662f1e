"""One sweep of a schedule: wave by wave, each wave a step of message passing on its own graph.

The waves are found when the first sweep needs them: one that goes from node to node does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn import backends
from mpnn.graph.graph import Graph
from mpnn.layer.message_passing import MessagePassing, aggregator_of, step_of
from mpnn.layer.watched import refuse_watched
from mpnn.layer.waves import Wave, is_at_once, waves_of
from mpnn.step.fields import PAIR, Argument, Fields
from mpnn.step.parameters import Asked, Parameter, Residency, parameters_of
from mpnn.step.schedule import Schedule
from mpnn.step.step import Recurrence, Step

States = tuple[Tensor, ...]


def as_step(
    layer: MessagePassing, graph: Graph, fields: Mapping[str, Any], schedule: Schedule, said: Recurrence
) -> Step:
    """A whole sweep as data, for a backend that has a kernel for it."""
    asked = Asked({said.name: tuple(Parameter(name, name, Residency.GIVEN, False) for name in fields)})
    return Step(
        Fields(graph, None, fields, asked, layer.node_dim, layer.flow),
        layer.message,
        {},
        aggregate=layer.aggregate,  # type: ignore[arg-type]  # it asks for more
        aggregator=aggregator_of(layer),
        update=layer.update,
        schedule=schedule,
        recurrence=said,
    )


class _Ends(NamedTuple):
    """A field of nodes as the messages of a wave read it."""

    src: Any  # of all nodes: cut when the wave runs, for there are as many rows as edges
    dst: Any


class Sweeper:
    """A layer with its fields on a graph, cut into the waves of a schedule.

    Args:
        layer: what says message, aggregate and update.
        graph: with one set of nodes; or bipartite, if all destinations are updated at once.
        names: of the state, in the order in which `update` returns it.
        fields: what the layer asks for besides.
        schedule: which nodes are updated when; the caller decides how often.
        nothing: what nodes without edges have received where there is no state before the sweep.

    Raises:
        TypeError: the message asks for a node's state or field under its plain name.
    """

    def __init__(
        self,
        layer: MessagePassing,
        graph: Graph,
        names: tuple[str, ...],
        fields: Mapping[str, Any],
        schedule: Schedule,
        nothing: Callable[[int, Mapping[str, Any]], Tensor] | None = None,
    ) -> None:
        refuse_watched(layer)
        self._layer, self._names, self._nothing = layer, names, nothing
        self._graph, self._schedule, self._has_waves = graph, schedule, False
        self._against = layer.flow == "target_to_source"
        functions = {"message": parameters_of(layer.message), "aggregate": parameters_of(layer.aggregate, 1)}
        self._asked = Asked(functions)
        self._update = parameters_of(layer.update, skip=1)
        if not self.is_one_step and not callable(schedule.rank):  # or the error, before the first sweep
            schedule.rank_of(graph)
        self.take(fields)

    def take(self, fields: Mapping[str, Any]) -> None:
        """Go on with other fields."""
        self._check_names({p.field for p in self._asked.lifted})
        self._fields, self._graded = fields, torch.is_grad_enabled()
        self._is_cut = False

    def _prepare(self) -> None:
        """Find the waves, and cut the fields to them, where that is not done."""
        graph = self._graph
        if not self._has_waves:
            self._waves = waves_of(self._schedule, graph.reverse() if self._against else graph)
            # A layer whose messages run against the edges turns each graph itself.
            graphs = [graph if wave.graph is None else wave.graph for wave in self._waves.waves]
            self._graphs = [g if g is graph or not self._against else g.reverse() for g in graphs]
            self._has_waves = True
        if not self._is_cut:
            with torch.set_grad_enabled(self._graded):  # a later sweep may need gradients that this does not
                self._cut()
            self._is_cut = True

    def _cut(self) -> None:
        """Cut the fields to the nodes that each wave updates, and to the edges that enter them."""
        self._own: list[dict[str, Any]] = [{} for _ in self._graphs]  # for `update`
        self._given: list[dict[str, Any]] = [{} for _ in self._graphs]  # for `message`
        at_ends = {p.field for p in self._asked.lifted}
        plain = {p.field for ps in self._asked.functions.values() for p in ps} - at_ends
        asked = self._fields if self._nothing else {p.field for p in self._update}
        for name, value in self._fields.items():
            src, dst = value if isinstance(value, PAIR) else (value, value)
            if name in asked:
                _spread(self._own, name, self._at_nodes(value))
            if self._waves.is_whole:
                self._given[0] |= {name: value} if name in self._asked.fields else {}
            elif name in at_ends:
                _spread(self._given, name, [_Ends(src, part) for part in self._at_nodes(dst)])
            elif name in plain:
                _spread(self._given, name, self._at_edges(value))

    def _check_names(self, at_ends: set[str]) -> None:
        for function, parameters in self._asked.functions.items():
            for p in parameters:
                if p.residency is Residency.GIVEN and p.field in at_ends.union(self._names):
                    raise TypeError(
                        f"{function}() asks for {p.name!r}, which nodes have: in a schedule it must ask for "
                        f"{p.name}_j or {p.name}_i."
                    )

    @property
    def is_one_step(self) -> bool:
        """Whether a sweep is one step on the whole graph, as `propagate` makes it."""
        return is_at_once(self._schedule)

    def whole_step(self, before: States) -> Step:
        """A sweep as one step on the whole graph, for a kernel that goes from node to node."""
        graph, layer = self._graph.reverse() if self._against else self._graph, self._layer
        everything = {**self._fields, **dict(zip(self._names, before, strict=True))}
        given = {name: value for name, value in everything.items() if name in self._asked.fields}
        others = {
            p.name: Argument(Residency.GIVEN, everything[p.field])
            for p in self._update
            if p.field in everything
        }
        bound = Fields(graph, None, given, self._asked, layer.node_dim)
        said = Recurrence(type(layer).__name__, self._names, before, dict, None)
        return step_of(layer, bound, others)._replace(schedule=self._schedule, recurrence=said)

    def sweep(self, before: States | None, truncate: int | None = None) -> States:
        """Update every node once.

        Args:
            before: the states before the sweep, `[num_nodes, ...]` each; None where no node reads them.
            truncate: after how many waves gradients are cut, again and again.

        Returns:
            The states after it, in the same form.
        """
        self._prepare()
        waves = self._waves
        results: list[States] = []
        blocks: list[States] = [before or ()]
        before_of = [None] * len(self._graphs) if before is None else self._states_by_wave(before)
        for k, wave in enumerate(waves.waves):
            if truncate is not None and k % truncate == 0:
                blocks = [tuple(state.detach() for state in block) for block in blocks]
            results.append(self._run(k, wave, blocks, before_of[k]))
            blocks.append(results[-1])
            if wave.joined > 1:
                blocks[-wave.joined :] = [_joined(blocks[-wave.joined :])]
        if waves.is_whole:
            return results[0]
        if waves.place is not None:
            return tuple(state.index_select(0, waves.place) for state in _joined(results))
        assert before is not None  # some nodes are clamped
        if not results:
            return before
        pairs = zip(before, _joined(results), strict=True)
        return tuple(old.index_copy(0, waves.nodes, new) for old, new in pairs)

    def _run(self, k: int, wave: Wave, blocks: Sequence[States], before: States | None) -> States:
        """The new states of a wave's nodes, from theirs before the sweep and from what there is to read."""
        own = self._own[k]
        if before is not None:
            own = own | dict(zip(self._names, before, strict=True))
        asked = {p.name: own[p.field] for p in self._update if p.field in own}
        if before is None and not wave.blocks:
            assert self._nothing is not None
            received = self._nothing(self._graphs[k].num_dst, own)
            return self._checked(self._layer.update(received, **asked), before)
        given, layer = self._fields_of_messages(k, wave, blocks, before), self._layer
        bound = Fields(self._graphs[k], None, given, self._asked, layer.node_dim, layer.flow)
        others = {name: Argument(Residency.GIVEN, value) for name, value in asked.items()}
        return self._checked(backends.current()(step_of(layer, bound, others)), before)

    def _fields_of_messages(
        self, k: int, wave: Wave, blocks: Sequence[States], before: States | None
    ) -> dict[str, Any]:
        """Those of nodes as pairs (sources, destinations)."""
        given = {
            name: (_rows(value.src, wave.sources), value.dst) if isinstance(value, _Ends) else value
            for name, value in self._given[k].items()
        }
        for n, name in enumerate(self._names):
            if name in self._asked.fields:
                read = [_rows(blocks[block][n], rows) for block, rows in wave.blocks] or [blocks[0][n][:0]]
                at_src = read[0] if len(read) == 1 else torch.cat(read)
                at_dst = None if before is None else before[n]
                if self._graph.is_bipartite:  # its sources are fields, and have no state
                    at_src = None
                given[name] = at_src if wave.graph is None and at_src is not None else (at_src, at_dst)
        return given

    def _checked(self, result: Any, before: States | None) -> States:
        """What `update` returned, as one tensor per name of the state."""
        layer, names = type(self._layer).__name__, self._names
        states: States = result if isinstance(result, tuple) else (result,)
        if len(states) != len(names) or not all(isinstance(state, Tensor) for state in states):
            raise ValueError(
                f"{layer}.update() must return a tensor for each of {', '.join(names)}, got {len(states)} "
                f"values: {', '.join(type(state).__name__ for state in states)}."
            )
        for name, new, old in zip(names, states, before or (), strict=False):
            if new.shape != old.shape or new.dtype != old.dtype:
                raise ValueError(
                    f"{layer}.update() turns the state {name} from {old.dtype} {list(old.shape)} into "
                    f"{new.dtype} {list(new.shape)}, but a state keeps its type and shape."
                )
        return states

    # The rows of each wave ----------------------------------------------------------------------------

    def _states_by_wave(self, states: States) -> list[States]:
        if self._waves.is_whole:
            return [states]
        return list(zip(*map(self._at_nodes, states), strict=True))

    def _at_nodes(self, value: Any) -> Sequence[Any]:
        """A value with one row per node of the graph, cut to the nodes of each wave; any other as it is."""
        waves = self._waves
        if waves.is_whole or not _has_rows(value, self._graph.num_nodes):
            return [value] * len(self._graphs)
        return _cut(value, waves.nodes, waves.num_nodes)

    def _at_edges(self, value: Any) -> Sequence[Any]:
        waves = self._waves
        if not _has_rows(value, self._graph.num_edges):
            return [value] * len(self._graphs)
        return _cut(value, waves.edges, waves.num_edges)


def _spread(waves: Sequence[dict[str, Any]], name: str, parts: Sequence[Any]) -> None:
    for wave, part in zip(waves, parts, strict=True):
        wave[name] = part


def _has_rows(value: Any, number: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.size(0) == number


def _cut(value: Tensor, rows: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = value.index_select(0, rows).split(sizes)  # type: ignore[no-untyped-call]
    return parts


def _rows(value: Any, rows: Tensor | None) -> Any:
    return value if rows is None or value is None else value.index_select(0, rows)


def _joined(parts: Sequence[States]) -> States:
    return parts[0] if len(parts) == 1 else tuple(torch.cat(each) for each in zip(*parts, strict=True))
