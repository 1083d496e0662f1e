"""A layer run again and again: any `message` and `update` under any schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mpnn import backends
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph
from mpnn.layer.fixed_point import at_fixed_point
from mpnn.layer.message_passing import MessagePassing
from mpnn.layer.schedule import Topological
from mpnn.layer.sweep import States, Sweeper, as_step
from mpnn.step.fields import Fields
from mpnn.step.parameters import Asked, parameters_of
from mpnn.step.schedule import PARALLEL, TOPOLOGICAL, Schedule, Until
from mpnn.step.step import Recurrence

State = Tensor | Mapping[str, Tensor]
Gradient = Literal["sweeps", "implicit"]
NAMED = {schedule.name: schedule for schedule in (PARALLEL, TOPOLOGICAL)}  # those that need no numbers


class EachSweep(NamedTuple):
    """A field that is another in each sweep, such as a temperature: `value(sweep)`, for sweeps from 0."""

    value: Callable[[int], Any]


class Iterated(NamedTuple):
    """What `iterate` returns."""

    state: Any  # as it was given: a tensor, or a dict of them
    sweeps: int  # how many were made
    converged: bool | None  # whether the last changed nothing more; None if that was not asked
    cycle: bool = False  # whether the states of two sweeps follow each other for ever
    record: tuple[Any, ...] = ()  # the states that were asked for


def iterate(
    layer: MessagePassing,
    graph: Topology,
    state: State,
    *,
    schedule: Schedule | str = PARALLEL,
    steps: int | None = None,
    until: Until | None = None,
    record: int | None = None,
    gradient: Gradient = "sweeps",
    **fields: Any,
) -> Iterated:
    """Update the state of every node by a layer's `message`, `aggregate` and `update`, sweep after sweep.

    The layer's `forward` is not called: `state` and `fields` are what it would give to `propagate`.

    Args:
        layer: a `MessagePassing` layer whose `update` returns the new state, a tensor or a tuple of them.
        graph: a `Graph` with one set of nodes, or an `edge_index` tensor; under the parallel schedule also a
            bipartite one, whose destinations have the state, and whose sources have fields alone.
        state: `[num_nodes, ...]` tensors by the names of the fields that they are, `{"x": x}`; or one tensor
            if the layer says its name, `state = ("x",)`. `message` reads `x_j` and `x_i`; `update` reads
            `x`, the state that the node had before the sweep.
        schedule: which nodes are updated when; "parallel" and "topological" need no more than their name.
        steps: the number of sweeps, in place of the schedule's.
        until: when to end before, in place of the schedule's: as soon as no entry of the state changes by
            more than this number, or a function of the states before and after a sweep says so. Then `steps`
            is the largest number of sweeps, by default 1000. The sweeps also end where the state is again
            what it was two sweeps ago, and `cycle` is True: under the parallel schedule two states may follow
            each other for ever.
        record: keep the state after every `record` sweeps.
        gradient: "sweeps", through all of them; or "implicit", that of the fixed point which `until` reaches,
            in the memory of one sweep: its adjoint is solved on the reversed graph by the same iteration
            (recurrent backpropagation, Almeida and Pineda, 1987), to `until` times its largest entry, and in
            as many sweeps at the most. The first state has gradients at clamped nodes alone, recorded states
            have none.
        **fields: what the functions ask for besides: node features `[num_nodes, ...]`, edge features
            `[num_edges, ...]`, or anything else, which is passed on as it is; one that is another in each
            sweep is an `EachSweep`.

    Returns:
        The state, the number of sweeps, and whether they ended by `until`.

    Raises:
        TypeError: a field that is missing, or that no function asks for.
        ValueError: a field, state or schedule that does not fit the graph, or a state that changes its form.
        RuntimeError: when implicit gradients are asked for and the sweeps, or those of the adjoint, did not
            settle.

    >>> class Mean(MessagePassing):
    ...     state = ("x",)
    ...     def update(self, inputs, source):
    ...         return 0.5 * inputs + source
    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> source = torch.tensor([0.5, 0.0, 0.0])
    >>> found = iterate(Mean(), ring, torch.zeros(3), until=1e-6, source=source)
    >>> found.state, found.sweeps, found.converged
    (tensor([0.5714, 0.2857, 0.1429]), 20, True)
    >>> in_order = Schedule.asynchronous(torch.arange(3))
    >>> iterate(Mean(), ring, torch.zeros(3), schedule=in_order, source=source).state
    tensor([0.5000, 0.2500, 0.1250])
    """
    if record is not None and (isinstance(record, bool) or not isinstance(record, int) or record < 1):
        raise ValueError(f"record is {record!r}, but must be a number of sweeps from 1 on.")
    schedule = _schedule(schedule)
    end = schedule.ending(steps, until)  # asked only when to end: what is kept with the ranks stays
    _check_gradient(gradient, end, fields)
    names = _names(layer, state, fields)
    states = tuple(state[name] for name in names) if isinstance(state, Mapping) else (state,)
    if not isinstance(graph, Graph):
        graph = as_graph(graph, states[0].size(0) if states[0].dim() else None)
    changing = {name: one.value for name, one in fields.items() if isinstance(one, EachSweep)}
    now = fields | {name: value(0) for name, value in changing.items()}
    prepare = layer.prepare if isinstance(layer, Topological) else dict
    prepared = prepare(now)
    _check(layer, graph, names, states, prepared)
    sweeper = Sweeper(layer, graph, names, prepared, schedule)

    def sweep(number: int, before: States) -> States:
        if changing and number:
            now.update({name: value(number) for name, value in changing.items()})
            sweeper.take(prepare(now))
        if sweeper.is_one_step:
            return sweeper.sweep(before)
        said = Recurrence(type(layer).__name__, names, before, prepare, None)
        found: States | None = backends.sweep(
            as_step(layer, graph, now, schedule, said), lambda: sweeper.whole_step(before)
        )
        return sweeper.sweep(before) if found is None else found

    def as_given(states: States) -> Any:
        return dict(zip(names, states, strict=True)) if isinstance(state, Mapping) else states[0]

    def ended(before: States, states: States) -> bool:
        if callable(end.until):
            return bool(end.until(as_given(before), as_given(states)))
        return end.until is not None and _is_near(before, states, end.until)

    first, recorded, before, number = states, [], states, 0
    converged, cycle = None if end.until is None else False, False
    with torch.set_grad_enabled(torch.is_grad_enabled() and gradient == "sweeps"):
        while number < end.most_sweeps and not (converged or cycle):
            earlier, before = before, states
            states = sweep(number, before)
            number += 1
            if record is not None and number % record == 0:
                recorded.append(as_given(states))
            if end.until is not None:
                converged = ended(before, states)
                cycle = not (converged or changing or number == 1) and _is_near(earlier, states, 0.0)
    if gradient == "implicit" and torch.is_grad_enabled():
        states = at_fixed_point(
            lambda before: sweep(0, before),
            first,
            states,
            schedule.clamped,
            0.0 if callable(end.until) else end.until or 0.0,
            end.most_sweeps,
            "" if converged else _no_fixed_point(layer, number, cycle),
        )
    return Iterated(as_given(states), number, converged, cycle, tuple(recorded))


def _check_gradient(gradient: str, end: Schedule, fields: Mapping[str, Any]) -> None:
    if gradient not in ("sweeps", "implicit"):
        raise ValueError(f"gradient is {gradient!r}, but must be 'sweeps' or 'implicit'.")
    if gradient == "implicit" and end.until is None:
        raise ValueError("gradient='implicit' is that of a fixed point: say by until= when it is reached.")
    changing = [name for name, value in fields.items() if isinstance(value, EachSweep)]
    if gradient == "implicit" and changing:
        raise ValueError(
            "gradient='implicit' is that of a fixed point, but "
            f"{', '.join(changing)} changes from sweep to sweep."
        )


def _no_fixed_point(layer: MessagePassing, sweeps: int, cycle: bool) -> str:
    why = "two states follow each other for ever" if cycle else f"it still changes after {sweeps} sweeps"
    return (
        f"the state of {type(layer).__name__} has no implicit gradient, for it is no fixed point: {why}; "
        "give more steps, another schedule, or gradient='sweeps'."
    )


def _schedule(schedule: Schedule | str) -> Schedule:
    if isinstance(schedule, str) and schedule in NAMED:
        schedule = NAMED[schedule]
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule is {schedule!r}, but must be a Schedule or one of {', '.join(NAMED)}.")
    return schedule


def _names(layer: MessagePassing, state: State, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the state, in the order in which `update` returns it."""
    if not isinstance(layer, MessagePassing):
        raise TypeError(f"layer must be a MessagePassing layer, got {type(layer).__name__}.")
    kind, said = type(layer).__name__, getattr(layer, "state", ())
    if isinstance(state, Tensor):
        if not isinstance(said, tuple) or len(said) != 1:
            raise ValueError(
                f"state is one tensor, but {kind}.state does not give it one name: write "
                f'state = ("x",) in the class if x is the field, or call with {{"x": x}}.'
            )
        names: tuple[str, ...] = said
    elif isinstance(state, Mapping) and state and all(isinstance(v, Tensor) for v in state.values()):
        names = said or tuple(state)
        if set(names) != set(state):
            raise ValueError(f"state has {', '.join(state)}, but {kind}.state names {', '.join(names)}.")
    else:
        raise TypeError(f"state must be a tensor, or tensors by their names, got {type(state).__name__}.")
    twice = sorted(fields.keys() & set(names))
    if twice:
        raise TypeError(f"{', '.join(twice)} was given as a field, but is the state.")
    return names


def _check(
    layer: MessagePassing, graph: Graph, names: tuple[str, ...], states: States, fields: Mapping[str, Any]
) -> None:
    """Refuse what does not fit, before the first sweep."""
    if graph.is_bipartite and layer.flow != "source_to_target":
        raise ValueError(
            f"flow is {layer.flow!r}, but on a bipartite graph the destinations have the state: give "
            "graph.reverse() to a layer with flow='source_to_target'."
        )
    for name, value in zip(names, states, strict=True):
        dim = layer.node_dim % value.dim() if value.dim() else 0
        if not value.dim() or dim != 0:
            raise ValueError(
                f"the state {name} has shape {list(value.shape)} and its nodes in dimension "
                f"{layer.node_dim}, but must be [num_nodes, ...]."
            )
        if value.size(0) != graph.num_dst:
            kind = "destination nodes" if graph.is_bipartite else "nodes"
            raise ValueError(
                f"the state {name} has {value.size(0)} rows, but the graph has {graph.num_dst} {kind}."
            )
    functions = {"message": 0, "aggregate": 1, "update": 1}
    if graph.is_bipartite:
        of_sources = {f"{name}_j" for name in names}.intersection(
            p.name for p in parameters_of(layer.message)
        )
        if of_sources:
            raise TypeError(
                f"message() asks for {', '.join(sorted(of_sources))}, but on a bipartite graph the "
                "destinations alone have the state: give what the sources have under another name."
            )
    asked = Asked({f: parameters_of(getattr(layer, f), skip=first) for f, first in functions.items()})
    at_ends = [(None, state) for state in states] if graph.is_bipartite else states
    given = {**fields, **dict(zip(names, at_ends, strict=True))}
    Fields(graph, None, given, asked, layer.node_dim, layer.flow).bind(asked.functions["message"])


def _is_near(before: States, after: States, largest: float) -> bool:
    return all(_change(old.detach(), new.detach()) <= largest for old, new in zip(before, after, strict=True))


def _change(old: Tensor, new: Tensor) -> float:
    """The largest change of an entry; NaN if there is one."""
    if not new.numel():
        return 0.0
    if not (new.is_floating_point() or new.is_complex()):
        old, new = old.double(), new.double()
    return float(torch.where(old == new, 0.0, (old - new).abs()).max())  # infinite entries may stay
