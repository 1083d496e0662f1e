"""The front end: a message becomes a trace, on which plans, dense rules and recurrent cells are built.

Three questions are answered here and nowhere else: what a step depends on besides the numbers in its tensors
(`key_of`), which tensors a function reads besides its arguments (`Captured`), and where each value of its
trace lives (`Traced`, whose nodes have a home).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduction import Applied
from mpnn.plan.capture import SCALARS, Path, fetch, find, fingerprint, same_tensor
from mpnn.plan.checker import check
from mpnn.plan.homes import Home, has_rows
from mpnn.plan.residency import find_places
from mpnn.plan.row_softmax import NumRows, calls_softmax
from mpnn.plan.rows import NotFusableError, RowsMode
from mpnn.plan.trace import trace
from mpnn.step.fields import Deferred, Mapped
from mpnn.step.parameters import TOPOLOGY_NAMES, Residency
from mpnn.step.step import Step

MAPPED = ("x", "weight", "bias")  # of a linear map, behind the name of the parameter that gets it
Placed = tuple[Home, Tensor]  # a tensor and where its rows live


# What a trace is ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Captured:
    """The tensors that a function reads besides its arguments: their paths, and their forms."""

    each: tuple[tuple[Path, torch.Size, torch.dtype], ...]
    aliases: tuple[tuple[Path, ...], ...]  # paths that led to one tensor, and still must

    def fit(self, function: Callable[..., Any], aggregator: nn.Module) -> bool:
        """Whether the tensors that are there now have the forms of the trace."""
        for path, shape, dtype in self.each:
            tensor = fetch(path, function, aggregator)
            if tensor.shape != shape or tensor.dtype != dtype:
                return False
        return all(same_tensor(paths, function, aggregator) for paths in self.aliases)

    def fetch(self, function: Callable[..., Any], aggregator: nn.Module) -> list[Tensor]:
        """The tensors that are there now."""
        return [fetch(path, function, aggregator) for path, *_ in self.each]


@dataclass(frozen=True)
class Traced:
    """The operations of a function: its arguments and what it captured are the placeholders, in that order.

    Every node has a shape in which rows are `Rows`, and, after `find_places`, a place.
    """

    module: fx.GraphModule
    mode: RowsMode
    homes: tuple[Home, ...]  # of the placeholders
    captured: Captured

    @property
    def graph(self) -> fx.Graph:
        """The operations."""
        return self.module.graph

    @property
    def outputs(self) -> list[fx.Node]:
        """What the function returns."""
        return outputs_of(self.graph)

    @cached_property
    def placed(self) -> dict[str, Home]:
        """The homes of the placeholders, by name."""
        return {n.name: home for n, home in zip(placeholders_of(self.graph), self.homes, strict=True)}

    def find_places(self) -> None:
        """Find where the value of every node lives.

        Raises:
            NotFusableError: an operation mixes rows.
        """
        find_places(self.graph, self.placed)

    def require_rows(self) -> None:
        """Refuse a function whose results are not one row per edge.

        Raises:
            NotFusableError: there is such a result.
        """
        for node in self.outputs:
            if not isinstance(node, fx.Node) or not has_rows(node):
                raise NotFusableError("the message has no row per edge")


def placeholders_of(graph: fx.Graph) -> list[fx.Node]:
    """The inputs of a trace."""
    return [n for n in graph.nodes if n.op == "placeholder"]


def outputs_of(graph: fx.Graph) -> list[fx.Node]:
    """The results of a trace."""
    (output,) = (n for n in graph.nodes if n.op == "output")
    flat = output.args[0]
    assert isinstance(flat, list | tuple)
    return cast(list[fx.Node], list(flat))


def read_function(
    function: Callable[..., Any],
    examples: Sequence[Placed],
    reaches: Callable[..., Any],
    aggregator: nn.Module,
    autocast: torch.dtype | None = None,
) -> Traced:
    """Trace a function of tensors with and without rows.

    Args:
        function: takes tensors, returns a flat list of them.
        examples: for each argument a tensor of its form, and where its rows live.
        reaches: the user's function that is called in it, which may read other tensors.
        aggregator: the module that is called in it, which may hold some.
        autocast: the type of the `torch.autocast` that the function is called in, which itself is off here.

    Raises:
        NotFusableError: with the reason in words.
    """
    mode = RowsMode()
    inputs = [mode.like(tensor, home is not Home.SHARED) for home, tensor in examples]
    with _casting(autocast, inputs):
        # A tensor of nodes is lifted to the edges: the function gets a copy, and may write into it.
        copies = [home in (Home.SRC, Home.DST) for home, _ in examples]
        module = trace(function, inputs, mode, composites=True, copies=copies)
    check(module.graph, mode, "tracing")
    captured = _lift_captured(module, reaches, aggregator)
    check(module.graph, mode, "lifting what was captured")
    homes = (*[home for home, _ in examples], *[Home.SHARED] * len(captured.each))
    return Traced(module, mode, homes, captured)


def _casting(autocast: torch.dtype | None, inputs: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """Trace the casts that `torch.autocast` makes, and keep the trace out of its cache of casts."""
    if autocast is None:
        return nullcontext()
    return torch.autocast(inputs[0].device.type, autocast, cache_enabled=False)


def _lift_captured(module: fx.GraphModule, function: Callable[..., Any], aggregator: nn.Module) -> Captured:
    """Turn the tensors that the function reads besides its arguments into inputs of the trace."""
    graph = module.graph
    captured: list[tuple[Path, torch.Size, torch.dtype]] = []
    aliases: list[tuple[Path, ...]] = []
    last = placeholders_of(graph)[-1:]
    known: dict[Path, fx.Node] = {}
    for node in graph.find_nodes(op="get_attr"):
        tensor = getattr(module, str(node.target))
        paths = tuple(find(tensor, function, aggregator))
        if not paths:
            if any("lift_fresh" in str(user.target) for user in node.users):
                node.meta["val"] = tensor
                continue  # a literal that the function makes anew each time
            raise NotFusableError(
                f"the message uses a tensor of shape {list(tensor.shape)} from nowhere known"
            )
        path = paths[0]
        if len(paths) > 1 and paths not in aliases:
            aliases.append(paths)
        if path not in known:
            after = [*last, *known.values()][-1:]
            first = next(iter(graph.nodes))
            with graph.inserting_after(after[0]) if after else graph.inserting_before(first):
                known[path] = graph.placeholder("captured_" + "_".join(path).replace(".", "_"))
            known[path].meta["val"] = tensor.detach()
            captured.append((path, tensor.shape, tensor.dtype))
        node.replace_all_uses_with(known[path])
        graph.erase_node(node)
    return Captured(tuple(captured), tuple(aliases))


# From a step --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arguments:
    """The arguments of a message: tensors and where their rows live, and the others."""

    names: tuple[str, ...]
    placed: tuple[Placed, ...]
    fixed: dict[str, Any]
    mapped: dict[str, tuple[int, ...]]  # the shape of a row of those that are linear maps still to be done

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors alone."""
        return [tensor for _, tensor in self.placed]


def home_of(residency: Residency, value: Tensor, num_edges: int) -> Home:
    """Where the rows of an argument live."""
    if residency is Residency.DST:
        return Home.DST
    if residency is Residency.SRC:
        return Home.SRC
    # One row per edge, or shared by all? With a single edge both readings of a row give the same numbers.
    return Home.EDGE if value.dim() > 0 and value.size(0) == num_edges else Home.SHARED


def arguments_of(step: Step) -> Arguments:
    """What the message of a step gets.

    A kernel knows the edge types of a regular topology: an empty tensor stands for them.
    """
    num_edges = step.fields.graph.num_edges
    names: list[str] = []
    placed: list[Placed] = []
    fixed: dict[str, Any] = {}
    mapped: dict[str, tuple[int, ...]] = {}
    for name, (residency, value) in step.arguments.items():
        if isinstance(value, Tensor):
            names.append(name)
            placed.append((home_of(residency, value, num_edges), value))
        elif isinstance(value, Deferred):
            names.append(name)
            placed.append((Home.EDGE, torch.empty(0, dtype=torch.int64, device=step.fields.graph.device)))
        elif isinstance(value, Mapped):
            homes = (home_of(residency, value.x, num_edges), Home.SHARED, Home.SHARED)
            names += [f"{name}.{part}" for part, _ in zip(MAPPED, value.parts, strict=False)]
            placed += zip(homes, value.parts, strict=False)
            mapped[name] = value.shape
        else:
            fixed[name] = NumRows() if is_count(step, name, value) else value
    return Arguments(tuple(names), tuple(placed), fixed, mapped)


def key_of(step: Step, *, types_known: bool = False) -> Hashable:
    """Two steps with this key in common share one trace, whatever their tensors hold and graphs of any size.

    Args:
        step: what is to be computed.
        types_known: whether a kernel knows the edge types of a regular topology.

    Raises:
        NotFusableError: an argument, or what the message reads besides, cannot be compared.
    """
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
        elif isinstance(value, Deferred):
            if not types_known:
                raise NotFusableError("the types of the edges are known to the dense kernel of a grid alone")
            arguments.append((name, Deferred))
        elif is_count(step, name, value):
            arguments.append((name, NumRows))
        elif isinstance(value, SCALARS):
            arguments.append((name, (type(value), value)))
        else:
            raise NotFusableError(f"the argument {name!r} is a {type(value).__name__}")
    return (fingerprint(step.message, cast(Aggregator, step.aggregator)), tuple(arguments))


def _answers(value: Tensor) -> bool:
    """Whether a tensor's class handles operations itself, and so may have no data."""
    return type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__


def is_count(step: Step, name: str, value: Any) -> bool:
    """Whether an argument is a number of nodes that a message only passes on to a softmax."""
    return type(value) is int and name.rpartition(".")[2] in TOPOLOGY_NAMES and calls_softmax(step.message)


def reductions_of(aggregator: Aggregator, messages: Any) -> list[Applied]:
    """The reductions that a kernel makes for an aggregator; a mean's division is part of one."""
    parts, whole = aggregator.split(messages), aggregator.in_one
    return parts if whole is None else [whole(*parts[0].tensors)]
