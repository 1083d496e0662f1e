"""Run the layers of a PyTorch Geometric model on the kernels of this package.

Each layer keeps its class, weights and methods; only its `propagate` is answered here, with the layer's own
`message` and `update`. Whatever this cannot do goes to the layer's own code, call by call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from mpnn import aggregate, backends
from mpnn.aggregate import Aggregator, Reduction
from mpnn.fields import Fields, parameters_of
from mpnn.graph import Graph
from mpnn.step import Step

M = TypeVar("M", bound=nn.Module)

HOOKS = (
    "_propagate_forward_pre_hooks", "_propagate_forward_hooks", "_message_forward_pre_hooks",
    "_message_forward_hooks", "_aggregate_forward_pre_hooks", "_aggregate_forward_hooks",
)  # fmt: skip


def accelerate(module: M) -> M:
    """Let every PyTorch Geometric layer in a module run on these kernels.

    The module is changed in place and returned. Its parameters, `state_dict` and results stay the same, and
    so do its gradients; dropout inside a message draws other numbers. `acceleration(module)` lists the layers
    that were taken, and why others were not. Calls with sparse matrices, `EdgeIndex`, hooks on messages, in
    an explainer or under `torch.compile` run PyTorch Geometric's own code.

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
    for _, layer in _layers(module):
        if isinstance(vars(layer).get("propagate"), Propagate):
            continue
        aggregator = _obstacle_or_aggregator(layer)
        if isinstance(aggregator, Aggregator):
            vars(layer)["propagate"] = Propagate(layer, aggregator)
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


class Propagate:
    """The `propagate` of one layer."""

    def __init__(self, layer: Any, aggregator: Aggregator) -> None:
        self.layer = layer
        self.aggregator = aggregator
        self._last: tuple[Tensor, int, Graph] | None = None

    def __call__(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        layer = self.layer
        bound = self._bind(edge_index, size, fields) if self._applies(edge_index) else None
        if bound is None:
            return type(layer).propagate(layer, edge_index, size=size, **fields)
        kept, asked = bound
        out = backends.current()(
            Step(
                kept,
                layer.message,
                kept.bind(asked["message"]),
                aggregate=lambda m: layer.aggregate(m, kept.graph.dst, None, kept.graph.num_dst),
                aggregator=self.aggregator,
            )
        )
        return layer.update(out, **kept.lifted(asked["update"]))

    def _applies(self, edge_index: Any) -> bool:
        layer = self.layer
        return (
            type(edge_index) is Tensor  # and no `EdgeIndex`
            and edge_index.layout == torch.strided
            and not layer.explain
            and layer.decomposed_layers == 1
            and not any(getattr(layer, hooks) for hooks in HOOKS)
            and not torch.compiler.is_compiling()
        )

    def _bind(
        self, edge_index: Tensor, size: Any, fields: dict[str, Any]
    ) -> tuple[Fields, dict[str, Any]] | None:
        layer = self.layer
        asked = {"message": parameters_of(layer.message), "update": parameters_of(layer.update, skip=1)}
        names = {parameter.field for parameters in asked.values() for parameter in parameters}
        # PyTorch Geometric lets a field pass that nobody asks for.
        fields = {name: value for name, value in fields.items() if name in names}
        node_dim = self._node_dim(asked["message"], fields)
        if node_dim is None or (size is not None and None in size):
            return None
        size = None if size is None else (int(size[0]), int(size[1]))
        try:
            graph = self._graph(edge_index, size)
            bound = Fields(graph, size, fields, asked, node_dim, layer.flow)
        except (TypeError, ValueError, IndexError):
            return None  # an input that the layer's own code either takes or names in its own words
        if self._last is None or self._last[2] is not bound.original:
            self._last = (edge_index, edge_index._version, bound.original)
        return bound, asked

    def _node_dim(self, parameters: Any, fields: dict[str, Any]) -> int | None:
        """0, in terms of the fields, or None where the layer counts nodes in another dimension."""
        if self.layer.node_dim == 0:
            return 0
        for parameter in parameters:
            value = fields.get(parameter.field)
            for one in value if isinstance(value, tuple | list) else (value,):
                if (
                    parameter.residency.value
                    and isinstance(one, Tensor)
                    and one.dim() + self.layer.node_dim != 0
                ):
                    return None
        return 0

    def _graph(self, edge_index: Tensor, size: tuple[int, int] | None) -> Graph | Tensor:
        """The last graph, where a layer that adds loops, say, has made its edges anew."""
        if self._last is None or edge_index.is_inference():
            return edge_index
        known, version, graph = self._last
        if (
            known is not edge_index
            and known._version == version
            and size in (None, graph.size)
            and known.shape == edge_index.shape
            and torch.equal(known, edge_index)
        ):
            return graph
        return edge_index

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}


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
