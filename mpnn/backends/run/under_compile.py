"""Steps inside `torch.compile` and `torch.export`: the message is traced by PyTorch's compiler itself.

The compiler walks through `run`. What it finds between `lifted`, where node features are brought to the
edges, and `gathered`, where messages are reduced, becomes a separate graph. From that a plan is made like
any other, with the parameters that the message reached by itself as inputs, and in its place the compiled
function gets the plan's work at the nodes and one `mpnn::rows`. To the compiler the number of edges is a size
like any other: one that a message computes with is right, whether it is a number there or a symbol.

A message that the compiler cannot trace, say one that prints, breaks the caller's graph, and runs as ever
outside of it. One without a plan becomes plain operations on all edges; so does one that this package fails
at, after a warning.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduction import Applied, named
from mpnn.backends.run.counts import counts_of
from mpnn.backends.run.net import caught, title
from mpnn.backends.run.plans import fusible
from mpnn.backends.run.region import Narrowing, narrowing_map, split
from mpnn.backends.run.rows_op import fused_of, places, rows
from mpnn.borrowed import FakeTensorMode, known_while_compiling, region, with_parameters
from mpnn.graph import ops as graph_ops  # noqa: F401  registers what graphs need
from mpnn.native.reach import stands_alone
from mpnn.plan.front import home_of, placeholders_of, reductions_of
from mpnn.plan.homes import Home
from mpnn.plan.linear_messages import linear_in
from mpnn.plan.plan import Plan, make_plan
from mpnn.plan.rows import NotFusableError
from mpnn.plan.text import Reduced, plan_to_text
from mpnn.plan.untraced import untraced
from mpnn.step.step import Step


@torch.library.custom_op("mpnn::lifted", mutates_args=())
def lifted(value: Tensor, home: str, edge_index: Tensor) -> Tensor:
    """Stands for one row per edge of what lives at `home`, while a message is traced."""
    raise NotImplementedError("mpnn::lifted only marks a place in a trace.")


@lifted.register_fake
def _(value: Tensor, home: str, edge_index: Tensor) -> Tensor:
    return value.new_empty((edge_index.size(1), *value.shape[1:]))


@torch.library.custom_op("mpnn::gathered", mutates_args=())
def gathered(
    value: Tensor, score: Tensor | None, reduction: str, edge_index: Tensor, num_src: int, num_dst: int
) -> Tensor:
    """Stands for a reduction of messages, while it is traced."""
    raise NotImplementedError("mpnn::gathered only marks a place in a trace.")


@gathered.register_fake
def _(
    value: Tensor, score: Tensor | None, reduction: str, edge_index: Tensor, num_src: int, num_dst: int
) -> Tensor:
    rows, num_edges = value.size(0) if value.dim() else 1, edge_index.size(1)
    if type(rows) is int and type(num_edges) is int and rows != num_edges:
        raise ValueError(f"messages must have {num_edges} rows, one for each edge, got {list(value.shape)}.")
    return value.new_empty((num_dst, *value.shape[1:]))


def applies(step: Step) -> bool:
    """Whether a plan can be made of this step while a function is being compiled."""
    known = region is not None or not torch.compiler.is_dynamo_compiling()
    return known and not stands_alone() and step.fields.node_dim == 0 and fusible(step.aggregator)


def run(step: Step) -> Any:
    """Compute a step inside a function that is being compiled.

    Raises:
        NotFusableError: the step has no plan; not where the compiler itself traces the message.
    """
    graph, aggregator = step.fields.graph, cast(Aggregator, step.aggregator)
    reads = _reads(step)
    if not torch.compiler.is_dynamo_compiling():
        reduced = _exported(step, reads)
    elif inspect.ismethod(step.update) and _sums_alone(aggregator) and not _keeps(step.update.__func__):
        return _region(step, reads, step.updated)[0]
    else:
        reduced = _region(step, reads)
    if aggregator.in_one is not None:
        return step.updated(reduced[0])
    return step.updated(aggregator.merge(reduced, counts_of(graph, reduced[0].dtype, reduced[0].dim())))


@known_while_compiling
def _keeps(update: Callable[..., Any]) -> bool:
    """Whether a function writes an attribute: what is traced as a region may not."""
    return any(i.opname.startswith(("STORE_ATTR", "STORE_GLOBAL")) for i in dis.get_instructions(update))


def _sums_alone(aggregator: Aggregator) -> bool:
    """Whether a node receives one linear reduction as it is."""
    alone = type(aggregator).merge is Aggregator.merge
    reduction = aggregator.in_one or (aggregator.reduction if alone else None)
    return reduction is not None and reduction.linear


class _Reads(NamedTuple):
    """The arguments of a message: tensors and where their rows live, and what is no tensor."""

    names: list[str]
    homes: list[Home]
    tensors: list[Tensor]
    fixed: dict[str, Any]


def _reads(step: Step) -> _Reads:
    num_edges = step.fields.graph.num_edges
    reads = _Reads([], [], [], {})
    for name, argument in step.arguments.items():
        value = step.fields.resolved(argument)
        if isinstance(value, Tensor):
            reads.names.append(name)
            reads.homes.append(home_of(argument.residency, value, num_edges))
            reads.tensors.append(value)
        else:
            reads.fixed[name] = value
    return reads


def _emit(
    plan: Plan, text: str, inputs: Sequence[Tensor], edge_index: Tensor, num_src: int, num_dst: int
) -> list[Tensor]:
    """A plan's reductions, as operations that a compiler sees."""
    read = plan.values(inputs, _nothing, Reduced(), (num_src, num_dst))
    seed = torch.randint(2**31, (), device=edge_index.device) if plan.drops else None
    save = torch.is_grad_enabled() and any(v.requires_grad for v in read)
    made = rows(read, edge_index, num_src, num_dst, text, seed, save)
    reduced = [made[k] for k in places(plan)]
    return plan.shared(reduced)


def _nothing() -> None:
    """A message that reaches no tensor by itself."""


# In `torch.export`, where Python runs as ever, on tensors without data -----------------------------------


def _exported(step: Step, reads: _Reads) -> list[Tensor]:
    graph = step.fields.graph
    try:
        plan, inputs = _plan(step, reads)
        return _emit(plan, plan_to_text(plan), inputs, graph.edge_index, *graph.size)
    except NotFusableError:
        raise
    except Exception as error:
        raise NotFusableError(caught(step, error)) from error


def _plan(step: Step, reads: _Reads) -> tuple[Plan, list[Tensor]]:
    """A plan in which the parameters of the layer are inputs, and all of its inputs."""
    aggregator = cast(Aggregator, step.aggregator)
    owner = getattr(step.message, "__self__", aggregator)
    own = dict((*owner.named_parameters(), *owner.named_buffers())) if isinstance(owner, nn.Module) else {}
    paths = {"self." + path: path for path in own}

    def message(**inputs: Tensor) -> list[Applied]:
        arguments = {name: inputs[name] for name in reads.names}
        with with_parameters(owner, {path: inputs[name] for name, path in paths.items()}):
            return reductions_of(aggregator, step.message(**arguments, **reads.fixed))

    names = [*reads.names, *paths]
    homes, tensors = [*reads.homes, *[Home.SHARED] * len(own)], [*reads.tensors, *own.values()]
    with untraced():
        examples = [(home, _example(t, home)) for home, t in zip(homes, tensors, strict=True)]
        plan = make_plan(message, Reduced(), names, examples, {})
    return plan, tensors


# In `torch.compile`, which reads Python -------------------------------------------------------------------


def _region(step: Step, reads: _Reads, then: Callable[[Tensor], Any] | None = None) -> list[Tensor]:
    """The reductions of a step; or what `then` makes of the only one, which is traced with the message."""
    edge_index, (num_src, num_dst) = step.fields.graph.edge_index, step.fields.graph.size
    message, aggregator = step.message, cast(Aggregator, step.aggregator)
    names, homes, tensors, fixed = reads

    def body(*given: Tensor) -> list[Tensor]:
        arguments = dict(fixed)
        for name, home, value in zip(names, homes, given, strict=True):
            arguments[name] = value if home is Home.SHARED else lifted(value, home.value, edge_index)
        messages = message(**arguments)
        if not isinstance(messages, aggregator.accepts):
            raise TypeError("no messages, for which eager has the words")
        reductions = reductions_of(aggregator, messages)
        reduced = [
            gathered(r.value, r.score, r.reduction.name, edge_index, num_src, num_dst) for r in reductions
        ]
        return reduced if then is None else [then(reduced[0])]

    return list(region(partial(_by_plan, title(message)), body, *tensors))


def _by_plan(name: str, body: fx.GraphModule) -> Callable[..., list[Tensor]]:
    """What takes the place of a region: called by the compiler with all that the region reads."""

    def run_region(*given: Any) -> list[Tensor]:
        known = _regions.get(body)
        if known is None:
            with untraced():
                known = _regions[body] = _Region(body, given, name)
        return known(given)

    return run_region


class _Region:
    """A traced message with its reductions, its plan, and what is made of the reductions."""

    def __init__(self, body: fx.GraphModule, given: Sequence[Any], name: str) -> None:
        self.whole, self.name = body, name
        first, *_ = body.graph.find_nodes(op="call_function", target=torch.ops.mpnn.gathered.default)
        self.ends = dict(zip(("edge_index", "num_src", "num_dst"), first.args[3:], strict=True))
        self.plan: Plan | None = None
        self.map_first: _MapFirst | None = None
        try:
            self.body, self.rest = split(body, torch.ops.mpnn.gathered.default)
        except NotFusableError:
            return
        self.places = placeholders_of(self.body.graph)
        self.gathered = self.body.graph.find_nodes(op="call_function", target=torch.ops.mpnn.gathered.default)
        values = dict(zip(self.places, given, strict=True))
        for sizes_are_rows in (False, True):
            try:
                self.plan, self.text = self._make(values, sizes_are_rows)
                self._find_map(given, values, sizes_are_rows)
                fused_of(self.text, _device_of(given))
                return
            except NotFusableError:
                self.plan, self.text = None, ""
            except Exception as error:
                self._give_up(error)
                return

    def _find_map(self, given: Sequence[Any], values: dict[fx.Node, Any], sizes_are_rows: bool) -> None:
        """Map before the reduction what is mapped after it, if that is narrower."""
        plan = cast(Plan, self.plan)
        argument, first = linear_in(plan), narrowing_map(self.rest, given)
        if argument is None or first is None or len(self.gathered) > 1:
            return
        place, home = self.inputs[plan.names.index(argument)]
        if values[place].dtype != given[first.weight].dtype:
            return
        try:
            narrow = values | {place: _empty([1, first.width], values[place])}
            self.plan, self.text = self._make(narrow, sizes_are_rows)
        except (NotFusableError, RuntimeError):  # the message knows the width of x
            self.plan, self.text = self._make(values, sizes_are_rows)
            return
        self.rest = first.rest
        self.map_first = _MapFirst(self.inputs.index((place, home)), first)

    def _make(self, given: dict[fx.Node, Any], sizes_are_rows: bool) -> tuple[Plan, str]:
        """A plan of the region.

        Where the number of edges is a number to the compiler, which then compiles anew for another, a message
        that asks for it has that number in its trace. With `sizes_are_rows` its multiples are taken for
        multiples of the number of rows: a plan that comes of this is, for that number, the same function.
        """
        num_edges = self._edge_index(given).size(1)
        self.inputs: list[tuple[fx.Node, Home]] = []
        for node in self.places:
            if not isinstance(given[node], Tensor):
                continue
            for user in node.users:
                home = _home_of(user, node)
                if home is not None and (node, home) not in self.inputs:
                    self.inputs.append((node, home))
        names = [f"v{k}" for k in range(len(self.inputs))]
        keys = dict(zip(self.inputs, names, strict=True))
        examples = [(home, _example(given[node], home)) for node, home in self.inputs]
        floating = next((t.dtype for _, t in examples if t.is_floating_point()), torch.get_default_dtype())

        def message(**inputs: Tensor) -> list[Applied]:
            rows = next(inputs[keys[key]].size(0) for key in self.inputs if key[1] is not Home.SHARED)
            named = {key: inputs[name] for key, name in keys.items()}
            traced = _Traced(self.body, floating, named, num_edges if sizes_are_rows else 0, rows)
            found: list[Applied] = traced.run(
                *[
                    None if isinstance(v, Tensor) else rows if _same_size(v, num_edges) else _number(v, n)
                    for n, v in given.items()
                ]
            )
            return found

        plan = make_plan(message, Reduced(), names, examples, {})
        return plan, plan_to_text(plan)

    def _edge_index(self, given: dict[fx.Node, Any]) -> Tensor:
        return cast(Tensor, given[cast(fx.Node, self.gathered[0].args[3])])

    def __call__(self, given: Sequence[Any]) -> list[Tensor]:
        known = dict(zip(placeholders_of(self.whole.graph), given, strict=True))
        edge_index, num_src, num_dst = (known.get(a, a) for a in self.ends.values())
        if self.plan is not None:
            values = dict(zip(self.places, given, strict=True))
            inputs = [values[node] for node, _ in self.inputs]
            if self.map_first is not None:
                k, first = self.map_first
                inputs[k] = first(inputs[k], given)
            try:
                reduced = _emit(self.plan, self.text, inputs, edge_index, num_src, num_dst)
            except Exception as error:
                self._give_up(error)
            else:
                return list(self.rest(*given, *reduced))
        return cast(list[Tensor], list(_Plain(self.whole, edge_index, num_dst).run(*given)))

    def _give_up(self, error: Exception) -> None:
        caught(self.name, error)
        self.plan, self.text = None, ""


class _MapFirst(NamedTuple):
    """Which input of a plan is mapped, and by what."""

    place: int
    first: Narrowing


_regions: WeakKeyDictionary[fx.GraphModule, _Region] = WeakKeyDictionary()


def _home_of(user: fx.Node, given: fx.Node) -> Home | None:
    """Where an operation takes an input from: an end of the edges, or as it is; None if it reads nothing."""
    if user.target is torch.ops.mpnn.lifted.default:
        return Home(user.args[1]) if user.args[0] is given else None
    return None if user.target is torch.ops.mpnn.gathered.default else Home.SHARED


def _example(value: Tensor, home: Home) -> Tensor:
    rows = value.shape[:1] if home is Home.SHARED else [1]  # how many there are may stay unknown
    return _empty([int(n) for n in (*rows, *value.shape[1:])], value)


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    with FakeTensorMode():
        return torch.empty(shape, dtype=like.dtype, device=like.device)


def _device_of(given: Sequence[Any]) -> torch.device:
    return next(v.device for v in given if isinstance(v, Tensor))


def _same_size(value: Any, num_edges: Any) -> bool:
    """Whether a symbol of the compiler's is the number of edges."""
    symbols = isinstance(value, torch.SymInt) and isinstance(num_edges, torch.SymInt)
    return symbols and bool(value.node.expr == num_edges.node.expr)


def _number(value: Any, node: fx.Node) -> Any:
    """A size as the trace may know it; one that only reductions use stays unknown, and may change."""
    used = any(_home_of(user, node) is Home.SHARED for user in node.users)
    return int(value) if used and isinstance(value, torch.SymInt) else value


class _Traced(fx.Interpreter):
    """Run a region on the inputs of a plan, up to its reductions."""

    def __init__(
        self,
        body: fx.GraphModule,
        floating: torch.dtype,
        inputs: dict[tuple[fx.Node, Home], Tensor],
        num_edges: int,
        rows: Any,
    ) -> None:
        super().__init__(body)
        self._floating, self._inputs = floating, inputs
        self._num_edges, self._rows = num_edges, rows

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        """The arguments of an operation, in which multiples of a known number of edges may be rows."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return (self._in_rows(args), self._in_rows(kwargs)) if self._num_edges > 1 else (args, kwargs)

    def _in_rows(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._in_rows(v) for name, v in value.items()}
        if isinstance(value, list | tuple) and not isinstance(value, Applied):
            return type(value)([self._in_rows(v) for v in value])
        is_multiple = type(value) is int and value > 0 and value % self._num_edges == 0
        return value // self._num_edges * self._rows if is_multiple else value

    def run_node(self, n: fx.Node) -> Any:
        """Answer what marks a place; run the rest."""
        if n.op == "placeholder":
            return self._inputs.get((n, Home.SHARED), super().run_node(n))
        if n.target is torch.ops.mpnn.lifted.default:
            key = (cast(fx.Node, n.args[0]), Home(n.args[1]))
            if key not in self._inputs:
                raise NotFusableError("a field is computed where nothing should be")
            return self._inputs[key]
        if n.target is torch.ops.mpnn.gathered.default:
            value, score, name, *_ = n.args
            found = [self.env[a] for a in cast(Any, (value, score)) if a is not None]
            return named(cast(str, name))(*found)
        if n.target == "item":  # a number that the compiler has made a tensor of
            return self.env[cast(fx.Node, n.args[0])].to(self._floating)
        return super().run_node(n)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Where every size may change the compiler makes a tensor of each number, too."""
        of_tensors = _OF_TENSORS.get(target)
        if of_tensors is not None and any(isinstance(a, Tensor) for a in (*args[1:], *kwargs.values())):
            return of_tensors(*args, **kwargs)
        return super().call_function(target, args, kwargs)


def _leaky_relu(x: Tensor, negative_slope: Tensor, inplace: bool = False) -> Tensor:
    return torch.where(x > 0, x, x * negative_slope)


def _dropout(x: Tensor, p: Tensor, training: bool = True, inplace: bool = False) -> Tensor:
    if training:
        raise NotFusableError("the share that dropout drops is a number that may change")
    return x


# What takes numbers alone.
_OF_TENSORS: dict[Any, Callable[..., Tensor]] = {
    F.leaky_relu: _leaky_relu,
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout),
}


class _Plain(fx.Interpreter):
    """Run a region with one tensor row per edge, where it has no plan."""

    def __init__(self, body: fx.GraphModule, edge_index: Tensor, num_dst: int) -> None:
        super().__init__(body)
        self._edge_index, self._num_dst = edge_index, num_dst

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Lift and reduce where it says so."""
        if target is torch.ops.mpnn.lifted.default:
            value, home, _ = args
            ends = {"source": 0, "destination": 1}
            return value if home not in ends else value.index_select(0, self._edge_index[ends[home]])
        if target is torch.ops.mpnn.gathered.default:
            value, score, name, *_ = args
            return named(name)(value, score).reduce(self._edge_index[1], self._num_dst, 0)
        return super().call_function(target, args, kwargs)
