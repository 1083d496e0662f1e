"""Run the layers of a PyTorch Geometric model on the kernels of this package.

Each layer keeps its class, weights and methods; only its `propagate` is answered here, with the layer's own
`message` and `update`, and its `edge_updater`: what that gives is not
computed where `message` alone reads it. Whatever this cannot do goes to the layer's own code, call by call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from operator import itemgetter
from types import MethodType
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from mpnn import aggregate, backends
from mpnn.aggregate import Aggregator, Reduction
from mpnn.edge_value import EdgeValue, settled
from mpnn.fields import PAIR, Argument, Fields
from mpnn.parameters import Asked, Parameter, parameters_of
from mpnn.plan.composed import Composed, written
from mpnn.recent import Recent
from mpnn.step import Step

M = TypeVar("M", bound=nn.Module)

HOOKS = (
    "_propagate_forward_pre_hooks", "_propagate_forward_hooks", "_message_forward_pre_hooks",
    "_message_forward_hooks", "_aggregate_forward_pre_hooks", "_aggregate_forward_hooks",
    "_edge_update_forward_pre_hooks", "_edge_update_forward_hooks",
)  # fmt: skip
_hooks_of = itemgetter(*HOOKS)


def accelerate(module: M) -> M:
    """Let every PyTorch Geometric layer in a module run on these kernels.

    The module is changed in place and returned. Its parameters, `state_dict` and results stay the same, and
    so do its gradients; dropout inside a message draws other numbers. `acceleration(module)` lists the layers
    that were taken, and why others were not. Calls with sparse matrices, `EdgeIndex`, hooks on messages, in
    an explainer, under `torch.compile` or for attention weights run PyTorch Geometric's own code.

    Args:
        module: a model, or a single layer.

    Raises:
        TypeError: it is not a module.

    >>> from torch_geometric.nn import SAGEConv
    >>> conv = accelerate(SAGEConv(2, 3))
    >>> conv(torch.ones(2, 2), torch.tensor([[0], [1]])).shape
    torch.Size([2, 3])
    >>> print(acceleration(conv))
    SAGEConv  taken
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}.")
    layers = [layer for _, layer in _layers(module)]
    recent = Recent(len(layers))
    for layer in layers:
        if isinstance(vars(layer).get("propagate"), Propagate):
            continue
        aggregator = _obstacle_or_aggregator(layer)
        if isinstance(aggregator, Aggregator):
            propagate = Propagate(layer, aggregator, recent)
            vars(layer)["propagate"] = propagate
            if _may_wait(layer):
                vars(layer).update(edge_updater=EdgeUpdater(propagate), forward=Forward(layer))
    return module


class LayerReport(NamedTuple):
    """What became of one layer: `reason` is empty where it was taken."""

    name: str
    layer: str
    reason: str


@dataclass(frozen=True)
class Acceleration:
    """What became of each PyTorch Geometric layer of a module; printed as a table."""

    layers: list[LayerReport]

    def __str__(self) -> str:
        rows = [((f"{r.name} " if r.name else "") + r.layer, r.reason or "taken") for r in self.layers]
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name:{width}}  {what}" for name, what in rows) or "no layers"


def acceleration(module: nn.Module) -> Acceleration:
    """Which layers of a module run on these kernels, and why the others do not."""
    reports = []
    for name, layer in _layers(module):
        answer, reason = vars(layer).get("propagate"), ""
        if not isinstance(answer, Propagate):
            found = _obstacle_or_aggregator(layer)
            reason = found if isinstance(found, str) else "not accelerated"
        reports.append(LayerReport(name, type(layer).__name__, reason))
    return Acceleration(reports)


def _layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    for name, layer in module.named_modules():
        if isinstance(layer, PyGMessagePassing):
            yield name, layer


def _obstacle_or_aggregator(layer: Any) -> str | Aggregator:
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    kind = type(layer)
    if "propagate" in vars(layer):
        return "its propagate() was replaced"
    standard = (PyGMessagePassing.propagate, vars(kind).get("_jinja_propagate"))
    if kind.propagate not in standard:
        return "it has a propagate() of its own"
    if kind.aggregate is not PyGMessagePassing.aggregate:
        return "it has an aggregate() of its own"
    if layer.aggr_module is None:
        return "it has no aggregator"
    try:
        parameters_of(layer.message), parameters_of(layer.update, skip=1)
    except TypeError as error:
        return str(error)
    return _translated(layer.aggr_module) or f"its aggregator {layer.aggr_module} has no kernel"


def _may_wait(layer: Any) -> bool:
    """Whether something of a layer's edges can wait until somebody looks at it, and anything does."""
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    kind = type(layer)
    standard = (PyGMessagePassing.edge_updater, vars(kind).get("_jinja_edge_updater"))
    own = {"forward", "edge_updater", "edge_update"} & vars(layer).keys()
    makes_edges = kind.edge_update is not PyGMessagePassing.edge_update
    makes_edges = makes_edges and not written(layer.edge_update)
    return not own and kind.edge_updater in standard and (makes_edges or bool(written(layer.message)))


# The layer whose `forward` is running, unless it is asked for what it computes on the edges.
_running: ContextVar[Any] = ContextVar("mpnn_accelerated_layer", default=None)
WEIGHTS = "return_attention_weights"


class Forward:
    """The `forward` of a layer: what it leaves or gives to others is computed when it ends."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        names = list(inspect.signature(type(layer).forward).parameters)[1:]
        self._weights_at = names.index(WEIGHTS) if WEIGHTS in names else None
        self._written = [name for name in written(layer.message) if name in vars(layer)]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(MethodType(type(self.layer).forward, self.layer))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the layer's class says."""
        layer = self.layer
        if torch.compiler.is_compiling() or self._asked_for_weights(args, kwargs):
            return type(layer).forward(layer, *args, **kwargs)
        token = _running.set(layer)
        try:
            return _settled(type(layer).forward(layer, *args, **kwargs))
        finally:
            _running.reset(token)
            for name in self._written:
                vars(layer)[name] = settled(vars(layer).get(name))

    def _asked_for_weights(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        at = self._weights_at
        given = args[at] if at is not None and len(args) > at else kwargs.get(WEIGHTS)
        return given is not None


def _settled(out: Any) -> Any:
    if isinstance(out, tuple | list) and type(out) in (tuple, list):
        return type(out)(map(_settled, out))
    if type(out) is dict:
        return {key: _settled(value) for key, value in out.items()}
    return settled(out)


class EdgeUpdater:
    """The `edge_updater` of one layer."""

    def __init__(self, propagate: Propagate) -> None:
        self.propagate = propagate

    def __call__(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        layer, kept = self.propagate.layer, None
        asked = self.propagate.signature().of_edges
        if _running.get() is layer and self.propagate.applies(edge_index):
            kept = self.propagate.bind(edge_index, size, fields, asked)
        if kept is None:
            return type(layer).edge_updater(layer, edge_index, size=size, **fields)
        arguments = kept.bind(asked.functions["edge_update"])
        return EdgeValue.of(lambda: kept.call(layer.edge_update, arguments), (kept, arguments))


class Propagate:
    """The `propagate` of one layer."""

    def __init__(self, layer: Any, aggregator: Aggregator, recent: Recent) -> None:
        self.layer = layer
        self.aggregator = aggregator
        self.recent = recent
        self._known: _Signature | None = None

    def __call__(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        layer, signature = self.layer, self.signature()
        waiting = {
            name: value
            for name, value in fields.items()
            if isinstance(value, EdgeValue) and value.origin is not None and name in signature.as_they_are
        }
        given = {name: settled(value) for name, value in fields.items() if name not in waiting}
        asked = signature.asked_without(frozenset(waiting))
        kept = self.bind(edge_index, size, given, asked) if self.applies(edge_index) else None
        if kept is None or any(value.origin[0].original is not kept.original for value in waiting.values()):
            fields = {name: settled(value) for name, value in fields.items()}
            if waiting:
                return self(edge_index, size, **fields)
            return type(layer).propagate(layer, edge_index, size=size, **fields)
        writes = self._writes(signature)
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
                aggregator=self.aggregator,
            )
        )
        for name, value in before.items():
            # Where a kernel ran, the message itself did not, and what it would write waits for a reader.
            if vars(layer)[name] is value:
                vars(layer)[name] = EdgeValue.of(partial(_written_by, message, name, before, kept, arguments))
        return layer.update(out, **kept.lifted(asked.functions["update"]))

    def signature(self) -> _Signature:
        """What the layer's functions ask for."""
        layer = self.layer
        functions = (layer.message, layer.update, layer.edge_update)
        if self._known is None or self._known.functions != functions:
            self._known = _Signature(*functions)
        return self._known

    def _writes(self, signature: _Signature) -> list[str]:
        """Which tensors of the layer its messages may write, if somebody looks after these meanwhile."""
        layer = self.layer
        names = signature.writes if _running.get() is layer else []
        return names if all(isinstance(vars(layer).get(n, 0), Tensor | None) for n in names) else []

    def applies(self, edge_index: Any) -> bool:
        """Whether calls on such edges are answered here."""
        layer = self.layer
        return (
            type(edge_index) is Tensor  # and no `EdgeIndex`
            and edge_index.layout == torch.strided
            and not layer.explain
            and layer.decomposed_layers == 1
            and not any(_hooks_of(vars(layer)))
            and not torch.compiler.is_compiling()
        )

    def bind(
        self,
        edge_index: Tensor,
        size: Any,
        fields: dict[str, Any],
        asked: Asked,
    ) -> Fields | None:
        """The fields of a call, or None where only the layer's own code can tell what they mean."""
        # PyTorch Geometric lets a field pass that nobody asks for.
        fields = {name: value for name, value in fields.items() if name in asked.fields}
        node_dim = self._node_dim(asked.lifted, fields)
        if node_dim is None or (size is not None and None in size):
            return None
        size = None if size is None else (int(size[0]), int(size[1]))
        try:
            return Fields(edge_index, size, fields, asked, node_dim, self.layer.flow, self.recent.graph)
        except (TypeError, ValueError, IndexError):
            return None  # an input that the layer's own code either takes or names in its own words

    def _node_dim(self, lifted: Sequence[Parameter], fields: dict[str, Any]) -> int | None:
        """0, in terms of the fields, or None where the layer counts nodes in another dimension."""
        node_dim = self.layer.node_dim
        if node_dim == 0:
            return 0
        for parameter in lifted:
            value = fields.get(parameter.field)
            for one in value if isinstance(value, PAIR) else (value,):
                if isinstance(one, Tensor) and one.dim() + node_dim != 0:
                    return None
        return 0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": None}


class _Signature:
    """What the functions of a layer ask for: known for as long as it has the same ones."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self.functions = functions
        self._asked: dict[frozenset[str], Asked] = {}
        asked = self.asked_without(frozenset()).functions
        fields = [p.field for p in (*asked["message"], *asked["update"])]
        # What the message alone asks for, under its own name only.
        self.as_they_are = frozenset(p.name for p in asked["message"] if fields.count(p.name) == 1)
        self.writes = written(functions[0])

    def asked_without(self, waiting: frozenset[str]) -> Asked:
        """What message and update ask for besides some fields."""
        if waiting not in self._asked:
            message, update, _ = self.functions
            some = tuple([p for p in parameters_of(message) if p.field not in waiting])
            self._asked[waiting] = Asked({"message": some, "update": parameters_of(update, skip=1)})
        return self._asked[waiting]

    @cached_property
    def of_edges(self) -> Asked:
        """What `edge_update` asks for."""
        return Asked({"edge_update": parameters_of(self.functions[2])})


def _written_by(
    message: Composed, name: str, before: dict[str, Any], kept: Fields, arguments: dict[str, Argument]
) -> Any:
    """What an attribute of its layer is after a message, called on all edges at once."""
    copy = object.__new__(type(message.__self__))
    vars(copy).update({**vars(message.__self__), **before})
    kept.call(message.rebound(lambda f: MethodType(f.__func__, copy)), arguments)  # type: ignore[attr-defined]
    return vars(copy)[name]


# PyTorch Geometric's aggregators as ours ----------------------------------------------------------------

_SAME: dict[str, type[Aggregator]] = {
    "SumAggregation": aggregate.Sum,
    "MeanAggregation": aggregate.Mean,
    "MaxAggregation": aggregate.Max,
    "MinAggregation": aggregate.Min,
    "MulAggregation": aggregate.Mul,
}


def _translated(module: Any) -> Aggregator | None:
    """Our aggregator for one of PyTorch Geometric's, or None."""
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch_geometric."):
        return None
    if kind in _SAME:
        return _SAME[kind]()
    if kind == "VarAggregation" and not module.semi_grad:
        return aggregate.Var()
    if kind == "StdAggregation" and not module.var_aggr.semi_grad:
        return aggregate.Std()
    if kind == "SoftmaxAggregation":
        return _Softmax(module)
    if kind == "MultiAggregation" and module.mode == "cat":
        each = [_translated(one) for one in module.aggrs]
        return None if None in each else aggregate.Several(cast(list[nn.Module], each))
    if kind == "DegreeScalerAggregation":
        inner = _translated(module.aggr)
        return None if inner is None or _multiplies(inner) else _Scaled(module, inner)
    return None


def _multiplies(aggregator: Aggregator) -> bool:
    return any(isinstance(one, aggregate.Mul) for one in aggregator.modules())


class _Softmax(aggregate.Softmax):
    """With the temperature of another module, whatever becomes of it."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__(semi_grad=cast(bool, theirs.semi_grad))
        self.theirs = theirs

    def split(self, messages: Any) -> list[Reduction]:
        """One softmax-weighted sum."""
        score = messages * self.theirs.t
        return [Reduction("softmax", messages, score.detach() if self.semi_grad else score)]


class _Scaled(Aggregator):
    """Aggregates scaled by functions of the node's degree (Corso et al., 2020, eq. 5)."""

    def __init__(self, theirs: nn.Module, inner: Aggregator) -> None:
        super().__init__()
        self.theirs, self.inner = theirs, inner
        self.num_reductions = inner.num_reductions

    def split(self, messages: Any) -> list[Reduction]:
        """What is to be scaled."""
        return self.inner.split(messages)

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The scaled aggregates side by side. Where there is no message there is nothing to scale."""
        out = self.inner.merge(reduced, count)
        degree, linear, log = (
            count,
            cast(Tensor, self.theirs.avg_deg_lin),
            cast(Tensor, self.theirs.avg_deg_log),
        )
        scaled = {
            "identity": lambda: out,
            "amplification": lambda: out * (torch.log(degree + 1) / log),
            "attenuation": lambda: out * (log / torch.log(degree + 1)),
            "linear": lambda: out * (degree / linear),
            "inverse_linear": lambda: out * (linear / degree),
        }
        return torch.cat([scaled[name]() for name in cast(list[str], self.theirs.scaler)], dim=-1)
