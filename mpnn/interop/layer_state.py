"""What is known about an accelerated layer: the one attribute that it has besides its own."""

from __future__ import annotations

from typing import Any

from torch import nn

from mpnn.aggregate.aggregators import Aggregator
from mpnn.borrowed import MODULES, REPLICA
from mpnn.graph.recent import Recent
from mpnn.interop.pyg_aggregators import is_watched_inside, translated
from mpnn.plan.composed import written
from mpnn.step.parameters import Asked, parameters_of

STATE = "_accelerated"  # the attribute
_FUNCTIONS = ("message", "update", "edge_update")


class Signature:
    """The arguments of a layer's functions, valid as long as the layer has the same functions."""

    def __init__(self, layer: Any, functions: tuple[Any, ...]) -> None:
        self.functions = functions
        self._message, self._update = parameters_of(layer.message), parameters_of(layer.update, skip=1)
        self._of_edges: Asked | None = None
        self._asked: dict[frozenset[str], Asked] = {}
        fields = [p.field for p in (*self._message, *self._update)]
        # The arguments that only the message reads, and only without `_i` or `_j`.
        self.as_they_are = frozenset(p.name for p in self._message if fields.count(p.name) == 1)
        self.writes = written(layer.message)  # the layer's attributes that the message writes

    def asked_without(self, waiting: frozenset[str]) -> Asked:
        """The arguments of message and update besides some fields."""
        if waiting not in self._asked:
            some = tuple([p for p in self._message if p.field not in waiting])
            self._asked[waiting] = Asked({"message": some, "update": self._update})
        return self._asked[waiting]

    def of_edges(self, layer: Any) -> Asked:
        """The arguments of `edge_update`."""
        if self._of_edges is None:
            self._of_edges = Asked({"edge_update": parameters_of(layer.edge_update)})
        return self._of_edges


class LayerState:
    """What is found once about a layer, and looked up at each call; each entry says what makes it invalid.

    Copies share the graphs' owner and find the rest again: a copy may get other functions or another
    aggregator.
    """

    def __init__(self, recent: Recent) -> None:
        self.recent = recent  # the last graphs of the model
        self._signature: Signature | None = None
        self._aggregator: tuple[nn.Module | None, Aggregator | None] = (None, None)

    def __reduce__(self) -> tuple[type[LayerState], tuple[Recent]]:
        return LayerState, (self.recent,)

    def signature(self, layer: Any) -> Signature:
        """The signature of the layer's functions, found again if the layer or its class has others."""
        own, kind = layer.__dict__, type(layer)
        functions = (kind.message, kind.update, kind.edge_update)
        if not own.keys().isdisjoint(_FUNCTIONS):
            functions = tuple([own.get(name, f) for name, f in zip(_FUNCTIONS, functions, strict=True)])
        signature = self._signature
        if signature is None or signature.functions != functions:
            signature = self._signature = Signature(layer, functions)
        return signature

    def aggregator(self, layer: Any) -> Aggregator | None:
        """The aggregator that equals the layer's own, translated again if the layer has another.

        None if the layer's own must be called: no kernel does the same, or it has hooks.
        """
        own = layer.__dict__
        module, (of, aggregator) = own[MODULES].get("aggr_module"), self._aggregator
        if of is not module:
            aggregator = translated(module)
            if REPLICA not in own:  # the modules of a replica live for one call
                self._aggregator = (module, aggregator)
        return None if aggregator is None or is_watched_inside(module) else aggregator


def state_of(layer: Any) -> LayerState:
    """The state of an accelerated layer."""
    state: LayerState = layer.__dict__[STATE]
    return state
