"""The laws: each a function of a `Subject` that raises where it is broken.

The first that is broken is told, so what others rest on comes first.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.backends.choice import backend
from mpnn.graph.graph import Graph
from mpnn.testing.compare import assert_close, assert_same
from mpnn.testing.subject import Data, Subject, X, features, random_edges


@dataclass(frozen=True)
class Law:
    """What every layer must obey.

    Args:
        check: raises where a subject breaks it; its name is that of the law.
    """

    check: Callable[[Subject], None]

    @property
    def name(self) -> str:
        """The law in words."""
        return self.check.__name__.replace("_", " ")

    @property
    def about(self) -> str:
        """What it says."""
        return (self.check.__doc__ or "").strip()

    def __str__(self) -> str:
        return self.name

    def __call__(self, subject: Subject) -> None:
        """Raise where the subject breaks it."""
        self.check(subject)


LAWS: list[Law] = []


def law(check: Callable[[Subject], None]) -> Law:
    """A decorator: the function is one of `LAWS`."""
    made = Law(check)
    LAWS.append(made)
    return made


def laws(*but: str) -> list[Law]:
    """All laws but those of some names, for `pytest.mark.parametrize`.

    Raises:
        ValueError: there is no law of a name.

    >>> len(laws()) - len(laws("torch compile changes nothing"))
    1
    """
    unknown = set(but) - {known.name for known in LAWS}
    if unknown:
        names = ", ".join(map(repr, map(str, LAWS)))
        raise ValueError(f"there is no law {min(unknown)!r}: the laws are {names}.")
    return [known for known in LAWS if known.name not in but]


# Calls -------------------------------------------------------------------------------------------------


@law
def a_call_depends_on_its_input_alone(subject: Subject) -> None:
    """In evaluation mode the output is not random, and earlier calls and training mode do not change it."""
    module, data = subject.make(), subject.sample()
    first = subject.call(module, data)
    subject.call(module, subject.sample(7, 12, 3))
    assert_close(subject.call(module, data), first, atol=0.0, name="output of a second call")
    statistics = copy.deepcopy(dict(module.named_buffers()))
    subject.call(module.train(), data)
    for name, buffer in module.named_buffers():  # running means are made to change in training
        buffer.copy_(statistics[name])
    assert_close(subject.call(module.eval(), data), first, atol=0.0, name="output after training mode")


@law
def what_is_given_stays_as_it_is(subject: Subject) -> None:
    """Neither the features nor the edges are written into."""
    module, data = subject.make(), subject.sample()
    before = copy.deepcopy(data)
    subject.call(module, data)
    assert isinstance(data.x, Tensor)
    assert isinstance(before.x, Tensor)
    assert_close(data.x, before.x, atol=0.0, name="x after a call")
    for name, value in data.edges.items():
        assert_close(value, before.edges[name], atol=0.0, name=f"{name} after a call")


ODD: list[tuple[int, list[tuple[int, int]]]] = [
    (5, []),
    (0, []),
    (1, []),
    (1, [(0, 0)]),
    (3, [(0, 0), (2, 2), (2, 2)]),
    (3, [(0, 1)] * 6),
]


@law
def odd_graphs_work(subject: Subject) -> None:
    """Without edges or nodes, with loops and repeated edges, outputs and gradients are finite."""
    module = subject.make()
    for num_nodes, pairs in ODD:
        graph = Graph(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T, num_nodes)
        where = f"on {num_nodes} nodes with edges {pairs}"
        for mode in (True, False):
            data = subject.carrying(graph)
            assert isinstance(data.x, Tensor)
            data.x.requires_grad_()
            try:
                out = subject.call(module.train(mode), data)
                gradient = _slope(out.sum(), data.x)
            except Exception as error:
                raise AssertionError(f"{where} it raised {type(error).__name__}: {error}") from error
            rows = 1 if subject.per_graph else num_nodes
            if out.dim() == 0 or out.shape[0] != rows:
                raise AssertionError(f"{where} the output has shape {list(out.shape)}, not {rows} rows.")
            if not out.isfinite().all():
                raise AssertionError(f"{where} the output is not finite: {out.flatten()[:6].tolist()} ...")
            if not gradient.isfinite().all():
                raise AssertionError(f"{where} the gradient of x is not finite: {gradient.tolist()}.")


# Nodes and edges ---------------------------------------------------------------------------------------


@law
def node_order_changes_nothing(subject: Subject) -> None:
    """If the nodes are renumbered, the rows of the output are renumbered alike (one row per graph stays)."""
    data, module = subject.sample(), subject.make()
    assert isinstance(data.graph, Graph)
    assert isinstance(data.x, Tensor)
    order = torch.randperm(data.graph.num_nodes, generator=torch.Generator().manual_seed(2))
    graph = Graph(order.argsort()[data.graph.edge_index], data.graph.num_nodes)
    expected = subject.call(module, data)
    renumbered = subject.call(module, Data(graph, data.x[order], data.edges))
    assert_close(renumbered, expected if subject.per_graph else expected[order])


@law
def edge_order_changes_nothing(subject: Subject) -> None:
    """Sums in another order differ by rounding alone."""
    data, module = subject.sample(), subject.make()
    assert isinstance(data.graph, Graph)
    order = torch.randperm(data.graph.num_edges, generator=torch.Generator().manual_seed(2))
    assert_close(subject.call(module, data.with_edges_in_order(order)), subject.call(module, data))


@law
def what_edges_carry_is_read(subject: Subject) -> None:
    """Other weights, features or types of the edges give another output: none is ignored."""
    data, module = subject.sample(), subject.make()
    before = subject.call(module, data)
    for name, kind in subject.edges.items():
        value = data.edges[name]
        if isinstance(kind, range):
            if len(kind) < 2:
                continue
            other = (value - kind.start + 1) % len(kind) + kind.start
        else:
            other = value * torch.linspace(0.5, 2.0, len(value)).to(value).view(-1, *[1] * (value.dim() - 1))
        after = subject.call(module, Data(data.graph, data.x, data.edges | {name: other}))
        difference = (after - before).abs().max().item()
        if not difference > 1e-8:
            raise AssertionError(f"another {name} changes the output by {difference:.3g}: it is ignored.")


@law
def a_batch_equals_one_by_one(subject: Subject) -> None:
    """The output of a batch is that of its graphs one by one."""
    module = subject.make()
    parts = [subject.sample(10, 24, 1), subject.sample(4, 0, 2), subject.sample(7, 12, 3)]
    separate = torch.cat([subject.call(module, part) for part in parts])
    together = Data(
        Graph.batch([part.graph for part in parts if isinstance(part.graph, Graph)]),
        torch.cat([part.x for part in parts if isinstance(part.x, Tensor)]),
        {name: torch.cat([part.edges[name] for part in parts]) for name in subject.edges},
    )
    assert_close(subject.call(module, together), separate)


@law
def an_edge_index_equals_its_graph(subject: Subject) -> None:
    """Outputs and gradients, from PyG's tensor and from a `Graph`."""
    data, module = subject.sample(), subject.make()
    assert isinstance(data.graph, Graph)
    given = _given(subject, data)
    tensor = data.graph.edge_index.clone()
    assert_same(_On(subject, module, tensor), _On(subject, module, data.graph), given, atol=0.0)


@law
def the_order_of_memory_changes_nothing(subject: Subject) -> None:
    """Features and edges that are parts of larger tensors, or transposed, give the same."""
    data, module = subject.sample(), subject.make()
    assert isinstance(data.graph, Graph)
    strided = {name: _strided(value) for name, value in _given(subject, data).items()}
    graph = Graph(data.graph.edge_index.t().contiguous().t(), data.graph.num_nodes)
    assert_same(
        _On(subject, module, graph), _On(subject, module, data.graph, contiguous=True), strided, atol=1e-12
    )


@law
def two_node_sets_work(subject: Subject) -> None:
    """From sources to other destinations: a row per destination, whatever the order of either."""
    if not subject.bipartite:
        return
    module, edge_index = subject.make(), random_edges(9, 12, 30)
    graph = Graph(edge_index, (9, 12))
    data = subject.carrying(graph)
    assert isinstance(data.x, tuple)
    x, y = data.x
    out = subject.call(module, data)
    if out.shape[0] != 12:
        raise AssertionError(f"for 9 sources and 12 destinations the output has shape {list(out.shape)}.")
    generator = torch.Generator().manual_seed(2)
    first, second = torch.randperm(9, generator=generator), torch.randperm(12, generator=generator)
    ends = torch.stack([first.argsort()[edge_index[0]], second.argsort()[edge_index[1]]])
    renumbered = Data(Graph(ends, (9, 12)), (x[first], y[second]), data.edges)
    assert_close(subject.call(module, renumbered), out[second])
    assert_same(
        _On(subject, module, graph, "auto"), _On(subject, module, graph, "eager"), _given(subject, data)
    )


# Numbers -----------------------------------------------------------------------------------------------


@law
def every_backend_gives_the_same(subject: Subject) -> None:
    """Outputs and gradients in float64 are those of `mpnn.backend("eager")` to 1e-10."""
    data, module = subject.sample(), subject.make()
    eager = _On(subject, module, data.graph, "eager")
    for name in ("auto", "cpu"):
        assert_same(_On(subject, module, data.graph, name), eager, _given(subject, data))


@law
def single_precision_is_near_double(subject: Subject) -> None:
    """Float32 loses no more than a few hundred roundings (6e-8 each)."""
    double, single = subject.make(torch.float64), subject.make(torch.float32)
    single.load_state_dict(double.state_dict())
    out = subject.call(single, subject.sample(dtype=torch.float32))
    if out.dtype != torch.float32:
        raise AssertionError(f"of float32 it makes {out.dtype}.")
    assert_close(out.double(), subject.call(double, subject.sample()), atol=3e-5)


@law
def half_precision_is_near_double(subject: Subject) -> None:
    """In bfloat16, with eight binary digits, the output is about that in float64."""
    exact, module = subject.make(), subject.make().to(torch.bfloat16)
    expected = subject.call(exact, subject.sample())
    out = subject.call(module, subject.sample(dtype=torch.bfloat16))
    if out.dtype != torch.bfloat16:
        raise AssertionError(f"of bfloat16 it makes {out.dtype}.")
    if out.requires_grad:
        torch.autograd.backward(out.sum())
    # Each rounding is 0.4 %, and three layers of four steps each come to 2.9 %.
    scale = expected.abs().max().item()
    assert_close(out.to(torch.float64), expected, 0.04 * (scale if scale < 1 else 1), "bfloat16 output")


@law
def a_gradient_reaches_every_parameter(subject: Subject) -> None:
    """No parameter is left out, and every gradient is finite."""
    module, data = subject.make(), subject.sample()
    assert isinstance(data.x, Tensor)
    data.x.requires_grad_()
    out = subject.call(module, data)
    torch.autograd.backward((out * features(out.numel(), 1, 9).view(out.shape)).sum())
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    for name, parameter in [("x", data.x), *trained]:
        if parameter.grad is None:
            raise AssertionError(f"no gradient reaches {name}.")
        if not parameter.grad.isfinite().all():
            raise AssertionError(f"the gradient of {name} is not finite.")
    if not data.x.grad.any():  # type: ignore[union-attr]
        raise AssertionError("the gradient of x is zero everywhere.")


# Copies ------------------------------------------------------------------------------------------------


@law
def a_saved_one_gives_the_same(subject: Subject) -> None:
    """state_dict through a file, into a fresh one."""
    module, data, file = subject.make(), subject.sample(), io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        fresh = subject.build().double().eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert_close(subject.call(fresh, data), subject.call(module, data), atol=0.0)


@law
def a_copy_is_equal_and_independent(subject: Subject) -> None:
    """Deepcopy and pickle, also after use; changing a copy leaves the original alone."""
    module, data = subject.make(), subject.sample()
    expected = subject.call(module, data)
    for twin in (copy.deepcopy(module), _through_a_file(module)):
        assert_close(subject.call(twin, data), expected, atol=0.0, name="output of a copy")
        for parameter in twin.parameters():
            parameter.data.add_(1.0)
        assert_close(subject.call(module, data), expected, atol=0.0, name="output after a copy was changed")


# What PyTorch does with modules ------------------------------------------------------------------------


@law
def training_after_inference_mode_works(subject: Subject) -> None:
    """Results that a graph caches under inference mode can be used in training."""
    module, data = subject.make(), subject.sample()
    with torch.inference_mode():
        expected = subject.call(module, data).clone()
    out = subject.call(module, data)
    assert_close(out, expected, atol=1e-12)  # a kernel that also keeps what backward needs may sum otherwise
    if out.requires_grad:
        torch.autograd.backward(out.sum())


@law
def torch_compile_changes_nothing(subject: Subject) -> None:
    """Outputs and gradients inside `torch.compile`, by its backend that generates no code."""
    module, data = subject.make(), subject.sample()
    compiled = copy.deepcopy(module)
    compiled.compile(backend="aot_eager")
    assert_same(_On(subject, compiled, data.graph), _On(subject, module, data.graph), _given(subject, data))


# How they call -----------------------------------------------------------------------------------------


class _On(nn.Module):
    """A subject's module on one graph: a function of the features."""

    def __init__(
        self,
        subject: Subject,
        module: nn.Module,
        graph: Graph | Tensor,
        on: str | None = None,
        contiguous: bool = False,
    ) -> None:
        super().__init__()
        self.subject, self.module, self.graph = subject, module, graph
        self.on, self.contiguous = on, contiguous

    def forward(self, x: X, *edges: Tensor) -> Tensor:
        if self.contiguous and isinstance(x, Tensor):
            x, edges = x.contiguous(), tuple(value.contiguous() for value in edges)
        data = Data(self.graph, x, dict(zip(self.subject.edges, edges, strict=True)))
        if self.on is None:
            return self.subject.call(self.module, data)
        with backend(self.on):
            return self.subject.call(self.module, data)


def _given(subject: Subject, data: Data) -> dict[str, Any]:
    return {"x": data.x, **data.edges}


class _Pickler(pickle.Pickler):
    """Modules' classes by number: one that a test defines inside a function has no name to be found by."""

    def __init__(self, file: io.BytesIO, kinds: list[type]) -> None:
        super().__init__(file)
        self.kinds = kinds

    def persistent_id(self, obj: Any) -> int | None:
        if not (isinstance(obj, type) and issubclass(obj, nn.Module)):
            return None
        self.kinds.append(obj)
        return len(self.kinds) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, kinds: list[type]) -> None:
        super().__init__(file)
        self.kinds = kinds

    def persistent_load(self, pid: int) -> type:
        return self.kinds[pid]


def _through_a_file(module: nn.Module) -> Any:
    """What a pickle of the module gives."""
    file, kinds = io.BytesIO(), list[type]()
    _Pickler(file, kinds).dump(module)
    file.seek(0)
    return _Unpickler(file, kinds).load()


def _slope(total: Tensor, x: Tensor) -> Tensor:
    if not total.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(total, [x], allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def _strided(value: Tensor) -> Tensor:
    """The same numbers, every second row of a larger tensor, its features one column behind the other."""
    larger = value.new_zeros(*value.shape[1:], 2 * value.shape[0])
    part = larger[..., ::2].movedim(-1, 0)
    return part.copy_(value)
