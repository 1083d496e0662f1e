"""A region that a compiler traced: the message up to its reductions, and what is made of these.

One pass goes over it: W Σ_j s_ij x_j = Σ_j s_ij (W x_j), where W narrows. x is then mapped before it is
gathered, by operations that the compiler sees.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from mpnn.plan.front import placeholders_of
from mpnn.plan.rows import NotFusableError

MAPS: dict[Any, bool] = {  # whether the weight is `[out, in]`
    F.linear: True,
    torch.matmul: False,
    operator.matmul: False,
}


@dataclass(frozen=True)
class Narrowing:
    """A linear map of the only reduction to fewer channels, and the rest without it."""

    weight: int  # its place among what the region reads
    is_transposed: bool
    width: int
    rest: fx.GraphModule

    def __call__(self, x: Tensor, given: Sequence[Any]) -> Tensor:
        weight = given[self.weight]
        return F.linear(x, weight if self.is_transposed else weight.t())


def split(body: fx.GraphModule, reduces: Any) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The region up to its reductions, which it gives as a list, and what follows.

    The second takes what the region reads, and then the reductions. Both keep the order of operations, some
    of which may write in place.

    Raises:
        NotFusableError: what follows reads something of a message.
    """
    nodes, places = list(body.graph.nodes), placeholders_of(body.graph)
    reductions = body.graph.find_nodes(op="call_function", target=reduces)
    last = nodes.index(reductions[-1]) + 1
    (output,) = body.graph.find_nodes(op="output")
    before = [n for n in nodes[:last] if n not in places]
    after = [n for n in nodes[last:] if n is not output and n not in places]
    message, known = _part(places, before)
    message.output([known[n] for n in reductions])
    rest, known = _part(places, after, reductions)
    if any(n not in known for n in output.all_input_nodes):
        raise NotFusableError("what follows the reductions reads a message")
    rest.output(fx.map_arg(output.args[0], known.__getitem__))
    return fx.GraphModule(body, message), fx.GraphModule(body, rest)


def _part(
    places: Sequence[fx.Node], nodes: Sequence[fx.Node], given: Sequence[fx.Node] = ()
) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
    """A graph of some operations, of the region's inputs and some values; and its nodes by the region's."""
    graph = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    for node in places:
        known[node] = graph.node_copy(node)
    for k, node in enumerate(given):
        known[node] = graph.placeholder(f"reduced_{k}")
    for node in nodes:
        if any(n not in known for n in node.all_input_nodes):
            raise NotFusableError("what follows the reductions reads a message")
        known[node] = graph.node_copy(node, known.__getitem__)
    return graph, known


def narrowing_map(rest: fx.GraphModule, given: Sequence[Any]) -> Narrowing | None:
    """The map that follows the only reduction, if it narrows and its weight is one that the region reads."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(rest.graph, copied))
    places = placeholders_of(graph)
    received = places[-1]
    if len(places) != len(given) + 1 or len(received.users) != 1:
        return None
    (node,) = received.users
    if node.target not in MAPS or node.kwargs or node.args[0] is not received:
        return None
    _, weight, *bias = node.args
    if not isinstance(weight, fx.Node) or weight not in places[:-1]:
        return None
    place, is_transposed = places.index(weight), MAPS[node.target]
    before, after = given[place].shape[:: -1 if is_transposed else 1] if given[place].dim() == 2 else (0, 0)
    if not 0 < after < before:
        return None
    result = received
    if bias and bias[0] is not None:
        with graph.inserting_before(node):
            result = graph.call_function(torch.add, (received, bias[0]))
    node.replace_all_uses_with(result)
    graph.erase_node(node)
    return Narrowing(place, is_transposed, int(after), fx.GraphModule(rest, graph))
