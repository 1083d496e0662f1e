"""The class of an accelerated PyTorch Geometric layer: a subclass of its class with three methods replaced.

`accelerate` makes the subclass, with the same name, and sets the layer's class to it. The methods look up
everything in the layer that is called, so copies and replicas use their own weights. A layer's states:

                      accelerate()
      GATConv  ------------------------->  GATConv (Accelerated, GATConv)
         ^                                      |         |          |
         |  under torch.compile, in             | copy,   | pickle,  | replicas of DataParallel
         |  TorchScript, in an explainer,       | deepcopy| package  |
         |  with hooks on messages, ...         v         v          v
         +---- its own code runs ----      another of the same class, with its own tensors

A pickle holds the name of the layer's own class and a mark that it was accelerated; loading makes the
subclass again. The layer has one additional attribute, a `Known`, whose contents do not depend on the layer
or are checked at each call.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from operator import itemgetter
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mpnn import backends
from mpnn.aggregate.aggregators import Aggregator
from mpnn.borrowed import MODULES, REPLICA, tracing_state
from mpnn.graph.recent import Recent
from mpnn.interop.edge_value import EdgeValue, settled
from mpnn.interop.pyg_aggregators import translated
from mpnn.plan.composed import Composed, written
from mpnn.step.fields import PAIR, Argument, Fields
from mpnn.step.parameters import Asked, Parameter, parameters_of
from mpnn.step.plain import is_watched
from mpnn.step.step import Step

HOOKS = (
    "_propagate_forward_pre_hooks", "_propagate_forward_hooks", "_message_forward_pre_hooks",
    "_message_forward_hooks", "_aggregate_forward_pre_hooks", "_aggregate_forward_hooks",
    "_edge_update_forward_pre_hooks", "_edge_update_forward_hooks",
)  # fmt: skip
_hooks_of = itemgetter(*HOOKS)
FUNCTIONS = ("message", "update", "edge_update")
KNOWN = "_accelerated"
WEIGHTS = "return_attention_weights"

# The layer whose `forward` is running, unless the caller asks for values on the edges.
_running: ContextVar[Any] = ContextVar("mpnn_accelerated_layer", default=None)


class Known:
    """Facts about a layer that are found once, and kept in the layer."""

    def __init__(self, recent: Recent) -> None:
        self.recent = recent
        self.signature: Signature | None = None
        self.aggregator: tuple[Any, Aggregator | None] = (None, None)

    def __reduce__(self) -> tuple[type[Known], tuple[Recent]]:
        return Known, (self.recent,)


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
        self.writes = written(layer.message)

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


def signature_of(layer: Any) -> Signature:
    """The signature of the layer's functions."""
    own, kind = layer.__dict__, type(layer)
    known: Known = own[KNOWN]
    functions = (kind.message, kind.update, kind.edge_update)
    if not own.keys().isdisjoint(FUNCTIONS):
        functions = tuple([own.get(name, f) for name, f in zip(FUNCTIONS, functions, strict=True)])
    signature = known.signature
    if signature is None or signature.functions != functions:
        signature = known.signature = Signature(layer, functions)
    return signature


def aggregator_of(layer: Any) -> Aggregator | None:
    """The aggregator that is equal to the layer's own; None if the layer's own must be called."""
    own = layer.__dict__
    known: Known = own[KNOWN]
    module, (of, aggregator) = own[MODULES].get("aggr_module"), known.aggregator
    if of is not module:
        aggregator = translated(module)
        if REPLICA not in own:  # the modules of a replica live for one call
            known.aggregator = (module, aggregator)
    return None if aggregator is None or _is_watched_inside(module) else aggregator


def _is_watched_inside(module: nn.Module) -> bool:
    return is_watched(module) or any(map(_is_watched_inside, filter(None, module.__dict__[MODULES].values())))


if TYPE_CHECKING:
    _Base = Any
else:
    _Base = object


class Accelerated(_Base):  # type: ignore[misc]
    """The first base of an accelerated class: it replaces `propagate`."""

    _plain: type[nn.Module]  # the class of the layer

    def propagate(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        if torch.compiler.is_compiling():
            return super().propagate(edge_index, size=size, **fields)
        signature, aggregator = signature_of(self), aggregator_of(self)
        waiting = {
            name: value
            for name, value in fields.items()
            if isinstance(value, EdgeValue) and value.origin is not None and name in signature.as_they_are
        }
        given = {name: settled(value) for name, value in fields.items() if name not in waiting}
        asked = signature.asked_without(frozenset(waiting))
        taken = aggregator is not None and _applies(self, edge_index)
        kept = _bind(self, edge_index, size, given, asked) if taken else None
        if kept is None or any(value.origin[0].original is not kept.original for value in waiting.values()):
            fields = {name: settled(value) for name, value in fields.items()}
            if waiting:
                return self.propagate(edge_index, size, **fields)
            return super().propagate(edge_index, size=size, **fields)
        return _propagated(self, kept, asked, signature, cast(Aggregator, aggregator), waiting)

    @property
    def explain(self) -> Any:
        """As PyTorch Geometric's."""
        return self._explain

    @explain.setter
    def explain(self, explain: Any) -> None:
        super(Accelerated, type(self)).explain.fset(self, explain)
        # An explainer sets `propagate` on the layer, and restores that of the layer's class.
        if not explain and self.decomposed_layers == 1:
            self.__dict__.pop("propagate", None)

    # Copies -------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        found = super().__reduce_ex__(max(int(protocol), 2))
        if isinstance(found, str) or found[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
            return found
        return (empty, (self._plain, isinstance(self, AcceleratedEdges)), *found[2:])

    def __setstate__(self, state: Any) -> None:
        # PyTorch Geometric's method reads, and may change, the class of the layer.
        kind = type(self)
        self.__class__ = self._plain  # type: ignore[assignment]
        try:
            self.__setstate__(state)
        finally:
            self.__class__ = kind

    def __prepare_scriptable__(self) -> Any:
        """The layer as it was, for TorchScript."""
        plain: Any = object.__new__(self._plain)
        vars(plain).update({name: value for name, value in vars(self).items() if name != KNOWN})
        return plain


class AcceleratedEdges(Accelerated):
    """The same for a layer with values on the edges that can be computed when they are read."""

    def edge_updater(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        kept = None
        if not torch.compiler.is_compiling() and _running.get() is self and _applies(self, edge_index):
            asked = signature_of(self).of_edges(self)
            kept = _bind(self, edge_index, size, fields, asked)
        if kept is None:
            return super().edge_updater(edge_index, size=size, **fields)
        arguments = kept.bind(asked.functions["edge_update"])
        return EdgeValue.of(lambda: kept.call(self.edge_update, arguments), (kept, arguments))


def run_forward(
    layer: Any, plain: Callable[..., Any], weights_at: int | None, args: Any, kwargs: dict[str, Any]
) -> Any:
    """The `forward` of a layer; values on edges that outlive it are computed when it ends."""
    given = args[weights_at] if weights_at is not None and len(args) > weights_at else kwargs.get(WEIGHTS)
    if given is not None:
        return plain(layer, *args, **kwargs)
    token = _running.set(layer)
    try:
        return _settled(plain(layer, *args, **kwargs))
    finally:
        _running.reset(token)
        own = vars(layer)
        for name in signature_of(layer).writes:
            if isinstance(own.get(name), EdgeValue):
                own[name] = settled(own[name])


def _settled(out: Any) -> Any:
    if isinstance(out, tuple | list) and type(out) in (tuple, list):
        return type(out)(map(_settled, out))
    if type(out) is dict:
        return {key: _settled(value) for key, value in out.items()}
    return settled(out)


def _propagated(
    layer: Any,
    kept: Fields,
    asked: Asked,
    signature: Signature,
    aggregator: Aggregator,
    waiting: dict[str, EdgeValue],
) -> Any:
    """A call of `propagate` on the kernels of this package."""
    writes = _writes(layer, signature)
    message, arguments = layer.message, kept.bind(asked.functions["message"])
    if waiting or writes:
        message = Composed(layer.message, dict.fromkeys(waiting, layer.edge_update))
        for name, value in waiting.items():
            arguments |= {f"{name}.{key}": argument for key, argument in value.origin[1].items()}
    for name in writes:
        vars(layer)[name] = settled(vars(layer)[name])
    before = {name: vars(layer)[name] for name in writes}
    out = backends.current()(
        Step(
            kept,
            message,
            arguments,
            aggregate=lambda m: layer.aggregate(m, kept.graph.dst, None, kept.graph.num_dst),
            aggregator=aggregator,
        )
    )
    for name, value in before.items():
        # A kernel ran instead of the message, so what the message writes is computed when it is read.
        if vars(layer)[name] is value:
            vars(layer)[name] = EdgeValue.of(partial(_written_by, message, name, before, kept, arguments))
    return layer.update(out, **kept.lifted(asked.functions["update"]))


def _writes(layer: Any, signature: Signature) -> list[str]:
    """The tensors of the layer that its messages may write, as they can be read after a call."""
    names = signature.writes
    if not names or _running.get() is not layer:
        return []
    own = vars(layer)
    return names if all(name in own and isinstance(own[name], Tensor | None) for name in names) else []


def _written_by(
    message: Composed, name: str, before: dict[str, Any], kept: Fields, arguments: dict[str, Argument]
) -> Any:
    """The value of a layer's attribute after a message, called on all edges at once."""
    copy = object.__new__(type(message.__self__))
    vars(copy).update({**vars(message.__self__), **before})
    kept.call(message.rebound(lambda f: MethodType(f.__func__, copy)), arguments)  # type: ignore[attr-defined]
    return vars(copy)[name]


def _applies(layer: Any, edge_index: Any) -> bool:
    """Whether this package runs calls on such edges."""
    own = layer.__dict__
    return (
        type(edge_index) is Tensor  # and no `EdgeIndex`
        and edge_index.layout == torch.strided
        and not own["_explain"]
        and own["_decomposed_layers"] == 1
        and "aggregate" not in own
        and not any(_hooks_of(own))
        and tracing_state() is None
    )


def _bind(layer: Any, edge_index: Tensor, size: Any, fields: dict[str, Any], asked: Asked) -> Fields | None:
    """The fields of a call, or None where only the layer's own code can tell what they mean."""
    # PyTorch Geometric lets a field pass that no function asks for.
    fields = {name: value for name, value in fields.items() if name in asked.fields}
    node_dim = _node_dim(layer.node_dim, asked.lifted, fields)
    if node_dim is None or (size is not None and None in size):
        return None
    size = None if size is None else (int(size[0]), int(size[1]))
    recent: Recent = layer.__dict__[KNOWN].recent
    try:
        return Fields(edge_index, size, fields, asked, node_dim, layer.flow, recent.graph)
    except (TypeError, ValueError, IndexError):
        return None  # the layer's own code takes this input, or raises its own error


def _node_dim(node_dim: int, lifted: Sequence[Parameter], fields: dict[str, Any]) -> int | None:
    """The dimension of the nodes, 0 in the fields, or None where the layer has another one."""
    if node_dim == 0:
        return 0
    for parameter in lifted:
        value = fields.get(parameter.field)
        for one in value if isinstance(value, PAIR) else (value,):
            if isinstance(one, Tensor) and one.dim() + node_dim != 0:
                return None
    return 0


def empty(plain: type[nn.Module], edges: bool) -> Any:
    """An accelerated layer of a class without attributes, from which a copy or a pickle is filled."""
    return object.__new__(subclass(plain, edges))


def subclass(plain: type[nn.Module], edges: bool) -> type[Accelerated]:
    """The accelerated subclass of a class, with or without `edge_updater`; made once for each class."""
    made: dict[bool, type[Accelerated]] | None = vars(plain).get("_accelerated_classes")
    if made is None:
        made = {}
        plain._accelerated_classes = made  # type: ignore[attr-defined]
    if edges not in made:
        own = {name: getattr(plain, name) for name in ("__module__", "__qualname__", "__doc__")}
        base: type[Accelerated] = Accelerated
        if edges:
            base, own["forward"] = AcceleratedEdges, _forward(plain)
        made[edges] = type(plain.__name__, (base, plain), own | {"_plain": plain})
    return made[edges]


def _forward(plain: type[nn.Module]) -> Callable[..., Any]:
    function = plain.forward
    names = list(inspect.signature(function).parameters)[1:]
    weights_at = names.index(WEIGHTS) if WEIGHTS in names else None

    @wraps(function)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(self, *args, **kwargs)
        return run_forward(self, function, weights_at, args, kwargs)

    return forward
