"""The plan of a step: traced once for a class of shapes, and found again by a cheap key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from types import CodeType
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator, Custom, Several
from mpnn.backends.run.net import caught
from mpnn.graph.graph import Graph
from mpnn.plan.autocast import autocast_type, without_autocast
from mpnn.plan.backward import Backward, make_backward
from mpnn.plan.capture import Path, forget
from mpnn.plan.dropout import Seed
from mpnn.plan.finish import Finish
from mpnn.plan.front import arguments_of, key_of
from mpnn.plan.ir import Program
from mpnn.plan.numbers import MOST_ALIKE, Family, masked, numbers_of, sentinels, with_numbers
from mpnn.plan.plan import Plan, make_plan
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.plan.stems import MappedRows
from mpnn.plan.trace import TRACING
from mpnn.step.fields import Argument, Mapped
from mpnn.step.parameters import Residency
from mpnn.step.step import Step


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
MOST_CLASSES = 64  # with plans of one message


@dataclass
class Fused:
    """A plan and its kernels."""

    plan: Plan
    make: MakeKernel | None
    kernels: dict[Hashable, list[Kernel]] = field(default_factory=dict)
    believed: set[Hashable] = field(
        default_factory=set
    )  # the ways, by the gradients asked for, that were tried
    backwards: dict[tuple[bool, ...], Backward | Refused] = field(default_factory=dict)  # by what is wanted
    refused: Refused | None = None  # why this backend has no kernel for the plan's program
    finishes: dict[Hashable, Finish | None] = field(default_factory=dict)  # of the updates that follow it
    key: Hashable = None  # under which it is known
    autocast: torch.dtype | None = None  # of the `torch.autocast` that it was traced in

    @property
    def language(self) -> str:
        """Of its kernels."""
        return str(getattr(self.make, "language", ""))

    def give_up(self, reason: str) -> None:
        """Let steps of this kind run without a plan from now on."""
        _plans[self.key] = Refused(reason)

    @property
    def program(self) -> Program | Refused:
        """What its kernels compute."""
        return self.refused or self.plan.program

    def backward(self, wanted: tuple[bool, ...]) -> Backward:
        """The programs for the gradients of some of the kernel's inputs.

        Raises:
            NotFusableError: the gradient of this message has no kernel.
        """
        if isinstance(self.program, Refused):
            raise NotFusableError(self.program.reason)
        known = self.backwards.get(wanted)
        if known is None:
            with TRACING:
                known = self.backwards.get(wanted) or self._derive(wanted)
        if isinstance(known, Refused):
            raise NotFusableError(known.reason)
        return known

    def _derive(self, wanted: tuple[bool, ...]) -> Backward | Refused:
        try:
            self.backwards[wanted] = make_backward(self.plan, wanted)
        except NotFusableError as error:
            self.backwards[wanted] = Refused(str(error))
        return self.backwards[wanted]

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


_plans: OrderedDict[Hashable, list[Fused] | Refused] = OrderedDict()
_lock = RLock()
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
    if step.fields.graph.num_edges < 2:  # numbers that are special to PyTorch, and so to a message
        raise NotFusableError("one edge, or none, is all edges at once")
    rank = _rank(step)
    key: Hashable = (make, _key(step), rank)
    fused = _known_plan(key, step)
    if fused is not None:
        return fused
    with _lock:
        fused = _known_plan(key, step)  # another thread may have been faster
        if fused is not None:
            return fused
        key, numbers = _among_alike(key, step)
        fused = _known_plan(key, step)
        if fused is not None:
            return fused
        try:
            fused = Fused(_make(step, numbers), make, key=key, autocast=autocast_type(step.fields.graph))
            if rank and any(n.meta["val"].dim() != rank for n in fused.plan.hoisted.outputs):
                raise NotFusableError(
                    f"messages without {rank} dimensions have no dimension {-rank} of edges"
                )
        except NotFusableError as error:
            _remember(key, step, Refused(str(error)))
            if numbers:  # it needs them as numbers: now, and not from the next call on
                return find_plan(step, make)
            raise
        except Exception as error:
            reason = caught(step, error)
            _remember(key, step, Refused(reason))
            raise NotFusableError(reason) from error
        finally:
            _traced += 1
        _remember(key, step, fused)
    return fused


def _remember(key: Hashable, step: Step, found: Fused | Refused) -> None:
    """Keep a plan beside those of the same key that captured other tensors, or why there is none."""
    if isinstance(found, Refused):
        _plans[key] = found
    else:
        plans = cast(list[Fused], _plans.setdefault(key, []))
        plans.append(found)
        del plans[:-MOST_ALIKE]
    _note(step.message, key)
    while len(_plans) > MOST_PLANS:
        _plans.popitem(last=False)


# The plans of each message by the class that it is a method of. A class that is made anew in a loop has the
# code of the one before, and would leave its plans behind.
_by_class: OrderedDict[CodeType, OrderedDict[type, list[Hashable]]] = OrderedDict()


def _note(message: Callable[..., Any], key: Hashable) -> None:
    owner, code = getattr(message, "__self__", None), getattr(message, "__code__", None)
    if owner is None or code is None:
        return
    classes = _by_class.setdefault(code, OrderedDict())
    classes.setdefault(type(owner), []).append(key)
    if len(classes) > MOST_CLASSES:
        oldest, keys = classes.popitem(last=False)
        for old in keys:
            _plans.pop(old, None)
            _families.pop(masked(old, []), None)
        forget(oldest)
    while len(_by_class) > MOST_PLANS:
        _by_class.popitem(last=False)


# By all that a step depends on but numbers.
_families: OrderedDict[Hashable, Family] = OrderedDict()


def _among_alike(key: Hashable, step: Step) -> tuple[Hashable, tuple[Path, ...]]:
    """The key of a step's plan, and which numbers are arguments of it: those that another value was seen of.

    Raises:
        NotFusableError: there have been too many plans that differ in a number.
    """
    values: list[Any] = []
    alike = masked(key, values)
    given = {name: value for name, (_, value) in step.arguments.items()}
    reached = numbers_of(step.message, cast(Aggregator, step.aggregator), given)
    family = _families.get(alike)
    if family is None:
        _families[alike] = Family(values, reached)
        while len(_families) > MOST_PLANS:
            _families.popitem(last=False)
        return key, ()
    family.see(reached)
    changing = family.paths & reached.keys()
    places = set() if family.by_value else _places(step, changing, reached)
    if places and family.changed(values) <= places:
        kept = tuple([None if k in places else v for k, v in enumerate(values)])
        paths = tuple(sorted(changing))
        in_common = (alike, kept, paths)
        if not isinstance(_plans.get(in_common), Refused):
            return in_common, paths
        family.by_value = True  # a message that needs them as numbers
    family.by_itself.add(tuple(values))
    if len(family.by_itself) > MOST_ALIKE:
        family.by_itself.remove(tuple(values))
        raise NotFusableError(
            "the message reads a number that is another in each step, and needs it as a number"
        )
    return key, ()


def _places(step: Step, paths: frozenset[Path], reached: Mapping[Path, float]) -> set[int]:
    """Where in the key of a step the numbers stand that are reached by some paths."""
    others = sentinels(paths, reached)
    message, aggregator = with_numbers(step.message, cast(Aggregator, step.aggregator), others)
    arguments = {
        name: Argument(residency, others.get(("argument", name), value))
        for name, (residency, value) in step.arguments.items()
    }
    values: list[Any] = []
    masked(_key(step._replace(message=message, aggregator=aggregator, arguments=arguments)), values)
    return {k for k, value in enumerate(values) if value in others.values()}


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
    if isinstance(known, Refused):
        raise NotFusableError(known.reason)
    for fused in known or ():
        if fused.plan.captured.fit(step.message, cast(Aggregator, step.aggregator)):
            return fused
    return None


def fusible(aggregator: Any) -> bool:
    """Whether an aggregator is made of primitive reductions."""
    if isinstance(aggregator, Several):
        return all(map(fusible, aggregator.aggrs))
    return isinstance(aggregator, Aggregator) and not isinstance(aggregator, Custom)


def _key(step: Step) -> Hashable:
    return (key_of(step), autocast_type(step.fields.graph))


def tensors_of(value: Any) -> tuple[Tensor, ...]:
    """The tensors of an argument, which a plan takes."""
    if isinstance(value, Tensor):
        return (value,)
    return value.parts if isinstance(value, Mapped) else ()


def numbers_now(step: Step, plan: Plan) -> list[Tensor]:
    """The numbers that are arguments of a plan, as they are now."""
    given = {name: value for name, (_, value) in step.arguments.items()}
    reached = numbers_of(step.message, cast(Aggregator, step.aggregator), given)
    device = step.fields.graph.device
    return [torch.tensor(reached[path], dtype=plan.number_type, device=device) for path in plan.numbers]


def _make(step: Step, numbers: tuple[Path, ...]) -> Plan:
    given = arguments_of(step)
    autocast = autocast_type(step.fields.graph)
    with without_autocast(step.fields.graph):
        return make_plan(
            step.message,
            cast(Aggregator, step.aggregator),
            given.names,
            given.placed,
            given.fixed,
            autocast,
            given.mapped,
            numbers,
        )
