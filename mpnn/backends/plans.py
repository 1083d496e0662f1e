"""The plan of a step: traced once for a class of shapes, and found again by a cheap key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, cast

from torch import Tensor

from mpnn.aggregate import Aggregator, Custom, Several
from mpnn.backends.autocast import autocast_type, without_autocast
from mpnn.fields import Mapped
from mpnn.graph import Graph
from mpnn.parameters import TOPOLOGY_NAMES, Residency
from mpnn.plan.capture import SCALARS, fetch, fingerprint, same_tensor
from mpnn.plan.dropout import Seed
from mpnn.plan.homes import Home, NotFusableError
from mpnn.plan.ir import Program
from mpnn.plan.plan import MAPPED, Backward, Plan, make_plan
from mpnn.plan.row_softmax import NumRows, calls_softmax
from mpnn.plan.stems import MappedRows
from mpnn.step import Step


class Kernel(Protocol):
    """A program made runnable by a backend."""

    language: str
    program: Program

    def prepare(self, graph: Graph) -> None: ...

    def __call__(self, graph: Graph, inputs: Sequence[Tensor], seed: Seed = 0) -> list[Tensor]: ...

    def blocks(
        self,
        graph: Graph,
        inputs: Sequence[Tensor | MappedRows],
        seed: Seed = 0,
        streamed: Sequence[bool] = (),
    ) -> Iterator[tuple[slice, list[Tensor]]]: ...


MakeKernel = Callable[..., Kernel]

MOST_PLANS = 1024


@dataclass
class Fused:
    """A plan and its kernels."""

    plan: Plan
    make: MakeKernel | None
    kernels: dict[Hashable, list[Kernel]] = field(default_factory=dict)

    def forward_kernel(self, save: bool) -> Kernel:
        """The kernel of the forward pass."""
        if save not in self.kernels:
            self.kernels[save] = [cast(MakeKernel, self.make)(self.plan.program, save=save)]
        return self.kernels[save][0]

    def backward_kernels(self, backward: Backward) -> list[Kernel]:
        """The kernels of a backward pass."""
        key = backward.wanted
        if key not in self.kernels:
            self.kernels[key] = [
                cast(MakeKernel, self.make)(program, save=False) for program in backward.programs
            ]
        return self.kernels[key]


_plans: OrderedDict[Hashable, list[Fused] | str] = OrderedDict()
_lock = Lock()
_traced = 0


def trace_count() -> int:
    """How many messages have been traced in this process; the numbers of nodes and edges never add to it."""
    return _traced


def find_plan(step: Step, make: MakeKernel | None) -> Fused:
    """The plan of a step, from the cache or traced now.

    Raises:
        NotFusableError: the step cannot become a kernel.
    """
    global _traced
    aggregator = step.aggregator
    if not fusible(aggregator):
        raise NotFusableError(f"the aggregator {aggregator} is not made of primitive reductions")
    rank = _rank(step)
    key = (make, _key(step), rank)
    fused = _known_plan(key, step)
    if fused is not None:
        return fused
    with _lock:
        fused = _known_plan(key, step)  # another thread may have been faster
        if fused is not None:
            return fused
        try:
            fused = Fused(_make(step), make)
            if rank and any(n.meta["val"].dim() != rank for n in fused.plan.hoisted.outputs):
                raise NotFusableError(
                    f"messages without {rank} dimensions have no dimension {-rank} of edges"
                )
        except NotFusableError as error:
            _plans[key] = str(error)
            raise
        finally:
            _traced += 1
        plans = cast(list[Fused], _plans.setdefault(key, []))
        plans.append(fused)
        while len(_plans) > MOST_PLANS:
            _plans.popitem(last=False)
    return fused


def _rank(step: Step) -> int:
    """How many dimensions every message must have for the nodes to be the first of them; 0 if it is anyhow.

    Raises:
        NotFusableError: the nodes are in another dimension.
    """
    node_dim = step.fields.node_dim
    if node_dim == 0:
        return 0
    values = [value for residency, value in step.arguments.values() if residency is not Residency.GIVEN]
    if node_dim > 0 or any(isinstance(v, Tensor) and v.dim() != -node_dim for v in values):
        raise NotFusableError(f"node_dim is {node_dim}: kernels need the nodes in dimension 0")
    return -node_dim


def _known_plan(key: Hashable, step: Step) -> Fused | None:
    known = _plans.get(key)
    if isinstance(known, str):
        raise NotFusableError(known)
    for fused in known or ():
        if _captures_fit(fused.plan, step):
            return fused
    return None


def fusible(aggregator: Any) -> bool:
    """Whether an aggregator is made of primitive reductions."""
    if isinstance(aggregator, Several):
        return all(map(fusible, aggregator.aggrs))
    return isinstance(aggregator, Aggregator) and not isinstance(aggregator, Custom)


def _key(step: Step) -> Hashable:
    num_edges = step.fields.graph.num_edges
    arguments: list[Hashable] = []
    for name, (residency, value) in step.arguments.items():
        plain = type(value) is Tensor
        if plain or isinstance(value, Tensor):
            if not plain and _answers(value):
                raise NotFusableError(f"the argument {name!r} answers operations itself")
            home, shape = home_of(residency, value, num_edges), value.shape
            shape = shape if home is Home.SHARED else shape[1:]
            arguments.append((name, home, shape, value.dtype, value.device))
        elif value is None:
            arguments.append(name)
        elif isinstance(value, Mapped):
            x, weight = value.x, value.weight
            one = (value.shape, x.shape[1:], x.dtype, weight.shape, weight.dtype, value.bias is None)
            arguments.append((name, residency, one, x.device))
        elif _is_count(step, name, value):
            arguments.append((name, NumRows))
        elif isinstance(value, SCALARS):
            arguments.append((name, type(value), value))
        else:
            raise NotFusableError(f"the argument {name!r} is a {type(value).__name__}")
    autocast = autocast_type(step.fields.graph)
    return (fingerprint(step.message, cast(Aggregator, step.aggregator)), tuple(arguments), autocast)


def _answers(value: Tensor) -> bool:
    """Whether a tensor is of a kind of its own, which may have no data."""
    return type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__


def _is_count(step: Step, name: str, value: Any) -> bool:
    """Whether an argument is a number of nodes that a message only passes on to a softmax."""
    return type(value) is int and name.rpartition(".")[2] in TOPOLOGY_NAMES and calls_softmax(step.message)


def home_of(residency: Residency, value: Tensor, num_edges: int) -> Home:
    """Where the rows of an argument live."""
    if residency is Residency.DST:
        return Home.DST
    if residency is Residency.SRC:
        return Home.SRC
    # One row per edge, or shared by all? With a single edge both readings of a row give the same numbers.
    return Home.EDGE if value.dim() > 0 and value.size(0) == num_edges else Home.SHARED


def _captures_fit(plan: Plan, step: Step) -> bool:
    for path, shape, dtype in plan.captured:
        tensor = fetch(path, step.message, cast(Aggregator, step.aggregator))
        if tensor.shape != shape or tensor.dtype != dtype:
            return False
    aggregator = cast(Aggregator, step.aggregator)
    return all(same_tensor(paths, step.message, aggregator) for paths in plan.aliases)


def tensors_of(value: Any) -> tuple[Tensor, ...]:
    """The tensors of an argument, which a plan takes."""
    if isinstance(value, Tensor):
        return (value,)
    return value.parts if isinstance(value, Mapped) else ()


def named_tensors(step: Step) -> list[tuple[str, Home, Tensor]]:
    """The tensors that the plan of a step takes, and where their rows live."""
    num_edges = step.fields.graph.num_edges
    found = []
    for name, (residency, value) in step.arguments.items():
        if isinstance(value, Tensor):
            found.append((name, home_of(residency, value, num_edges), value))
        elif isinstance(value, Mapped):
            homes = (home_of(residency, value.x, num_edges), Home.SHARED, Home.SHARED)
            found += zip([f"{name}.{part}" for part in MAPPED], homes, value.parts, strict=False)
    return found


def _make(step: Step) -> Plan:
    tensors = named_tensors(step)
    names = [name for name, *_ in tensors]
    fixed = {
        name: NumRows() if _is_count(step, name, value) else value
        for name, (_, value) in step.arguments.items()
        if not isinstance(value, Tensor | Mapped)
    }
    mapped = {name: value.shape for name, (_, value) in step.arguments.items() if isinstance(value, Mapped)}
    placed = [(home, value) for _, home, value in tensors]
    autocast = autocast_type(step.fields.graph)
    with without_autocast(step.fields.graph):
        return make_plan(
            step.message, cast(Aggregator, step.aggregator), names, placed, fixed, autocast, mapped
        )
