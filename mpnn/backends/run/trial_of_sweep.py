"""The trial of a sweep's kernel: beside a loop over the nodes in `eager`, on the small odd graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.backends import eager
from mpnn.backends.run.odd_graph import difference, odd_graph, rows_like, scale_of
from mpnn.step.fields import Argument
from mpnn.step.order import Order
from mpnn.step.parameters import Residency
from mpnn.step.step import Step

States = tuple[Tensor, ...]


def fault_of_sweep(step: Step, compute: Callable[[Step, Order], States]) -> str:
    """How the states of a sweep differ from those of the loop, or "".

    Args:
        step: which is about to run by the kernel.
        compute: runs such a step by it.
    """
    small = _on_odd_graph(step)
    order = Order(torch.tensor([4, 0, 7, 2, 6, 1, 3, 5]), None, 1, 8)
    with torch.no_grad():
        found = compute(small, order)
        wanted = _by_loop(small, order)
    scale = scale_of([*cast(Any, small.recurrence).before, *wanted], None)
    names = cast(Any, step.recurrence).state
    differences = [
        difference(f"the state {name}", a, b, scale) for name, a, b in zip(names, found, wanted, strict=True)
    ]
    return "; ".join(filter(None, differences))


def _on_odd_graph(step: Step) -> Step:
    graph, num_edges = odd_graph(step.fields.graph, True), step.fields.graph.num_edges
    num_nodes, generator = step.fields.graph.num_nodes, torch.Generator().manual_seed(0)
    known: dict[tuple[int, int], Tensor] = {}

    def sampled(value: Any, rows: int) -> Any:
        key = id(value), rows  # a state is an argument several times
        if key not in known:
            known[key] = rows_like(value, rows, True, generator).detach()
        return known[key]

    def has(value: Any, rows: int) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and value.size(0) == rows

    said = cast(Any, step.recurrence)
    before = tuple(sampled(state, graph.num_nodes) for state in said.before)
    arguments = {}
    for name, (residency, value) in step.arguments.items():
        if residency is not Residency.GIVEN:
            value = sampled(value, graph.num_nodes)
        elif has(value, num_edges):
            value = sampled(value, graph.num_edges)
        arguments[name] = Argument(residency, value)
    others = {
        name: Argument(residency, sampled(value, graph.num_nodes) if has(value, num_nodes) else value)
        for name, (residency, value) in step.others.items()
    }
    return step._replace(
        fields=step.fields.on(graph),
        arguments=arguments,
        others=others,
        recurrence=said._replace(before=before),
    )


def _by_loop(step: Step, order: Order) -> States:
    """Node after node, each a step of the whole graph in `eager`, of which one row is taken."""
    said, graph = cast(Any, step.recurrence), step.fields.graph
    aggregator, states = cast(Any, step.aggregator), list(said.before)
    sources = {f"{name}_j": k for k, name in enumerate(said.state)}
    for node in order.nodes.tolist():
        arguments = {
            name: Argument(one.residency, states[sources[name]] if name in sources else one.value)
            for name, one in step.arguments.items()
        }
        made = eager.compute(
            step._replace(
                arguments=arguments,
                aggregate=lambda messages: aggregator(messages, graph.dst, None, graph.num_dst, 0),
            )
        )
        rows = made if isinstance(made, tuple) else (made,)
        for k, new in enumerate(rows):
            states[k] = states[k].index_copy(0, torch.tensor([node]), new[node : node + 1])
    return tuple(states)
