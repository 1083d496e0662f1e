"""The laws that every layer and every model must obey.

`SUBJECTS` lists them by name; a law is a function of one subject. A new layer or model is covered as soon as
it stands in the list.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, models
from tests.compare import assert_close, assert_same
from tests.core.waiting import no_waiting
from tests.elsewhere import by_plan, elsewhere
from tests.models.graphs import EDGE_WIDTH, RELATIONS, WIDTH, edge_input, edges, features

OUT = 4
EDGE_INPUTS = models.conv.registry.EDGE_INPUTS


@dataclass(frozen=True)
class Subject:
    """A layer or model under test, and how it is built.

    Args:
        name: what the test is called.
        build: makes it, for features of width `WIDTH`.
        edges: which of edge_weight, edge_attr and edge_type it is given.
        per_graph: it gives one row per graph, not per node.
    """

    name: str
    build: Callable[[], nn.Module]
    edges: tuple[str, ...] = ()
    per_graph: bool = False

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """A fresh one with repeatable weights, in evaluation mode."""
        torch.manual_seed(0)
        module = self.build().to(dtype).eval()
        if any(map(nn.parameter.is_lazy, module.parameters())):
            self.call(module, sample(dtype=dtype))
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():  # biases start at zero, which would hide them
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(dtype))
        return module

    def call(self, module: nn.Module, data: Data) -> Any:
        """The subject's output on a graph."""
        return module(data.x, data.graph, **{name: getattr(data, name) for name in self.edges})


@dataclass
class Data:
    """A graph, and features of every kind."""

    graph: Graph | Tensor
    x: Tensor
    edge_weight: Tensor
    edge_attr: Tensor
    edge_type: Tensor

    def permuted_edges(self, order: Tensor) -> Data:
        graph = self.graph.edge_subgraph(order) if isinstance(self.graph, Graph) else self.graph[:, order]
        return Data(graph, self.x, self.edge_weight[order], self.edge_attr[order], self.edge_type[order])


def carrying(graph: Graph, dtype: torch.dtype = torch.float64, seed: int = 0) -> Data:
    """A graph with random features of every kind."""
    edge = {name: edge_input(name, graph.num_edges, dtype) for name in EDGE_INPUTS}
    return Data(graph, features(graph.num_nodes, seed=seed, dtype=dtype), **edge)


def sample(
    num_nodes: int = 10, num_edges: int = 24, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Data:
    """A random graph with isolated nodes, self loops and repeated edges."""
    return carrying(Graph(edges(num_nodes, num_nodes, num_edges, seed=seed), num_nodes), dtype, seed)


# Laws --------------------------------------------------------------------------------------------------


def node_order_changes_nothing(subject: Subject) -> None:
    """If the nodes are renumbered, the rows of the output are renumbered alike (one row per graph stays)."""
    data, module = sample(), subject.make()
    assert isinstance(data.graph, Graph)
    order = torch.randperm(data.graph.num_nodes, generator=torch.Generator().manual_seed(2))
    renumbered = copy.copy(data)
    renumbered.graph = Graph(order.argsort()[data.graph.edge_index], data.graph.num_nodes)
    renumbered.x = data.x[order]
    expected = subject.call(module, data)
    assert_close(
        subject.call(module, renumbered),
        expected if subject.per_graph else expected[order],
        name=subject.name,
    )


def edge_order_changes_nothing(subject: Subject) -> None:
    """Sums in another order differ by rounding alone."""
    data, module = sample(), subject.make()
    assert isinstance(data.graph, Graph)
    order = torch.randperm(data.graph.num_edges, generator=torch.Generator().manual_seed(2))
    assert_close(subject.call(module, data.permuted_edges(order)), subject.call(module, data))


def a_batch_equals_one_by_one(subject: Subject) -> None:
    """The output of a batch is that of its graphs one by one."""
    module = subject.make()
    parts = [sample(10, 24, 1), sample(4, 0, 2), sample(7, 12, 3)]
    separate = torch.cat([subject.call(module, part) for part in parts])
    together = Data(
        Graph.batch([part.graph for part in parts if isinstance(part.graph, Graph)]),
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("x", *EDGE_INPUTS)),
    )
    assert_close(subject.call(module, together), separate)


def an_edge_index_equals_its_graph(subject: Subject) -> None:
    """Outputs and gradients, from PyG's tensor and from a `Graph`."""
    data, module = sample(), subject.make()
    assert isinstance(data.graph, Graph)
    given = [data.x, *(getattr(data, name) for name in subject.edges)]

    def on(graph: Graph | Tensor) -> Callable[..., Any]:
        return lambda x, *rest: module(x, graph, **dict(zip(subject.edges, rest, strict=True)))

    assert_same(on(data.graph.edge_index.clone()), on(data.graph), given, atol=0.0)


def single_precision_is_near_double(subject: Subject) -> None:
    """Float32 loses no more than a few hundred roundings (6e-8 each)."""
    double, single = subject.make(torch.float64), subject.make(torch.float32)
    single.load_state_dict(double.state_dict())
    out = subject.call(single, sample(dtype=torch.float32))
    assert out.dtype == torch.float32
    assert_close(out.double(), subject.call(double, sample()), atol=3e-5)


def half_precision_is_near_double(subject: Subject) -> None:
    """In bfloat16, with eight binary digits, the output is about that in float64."""
    exact, module = subject.make(), subject.make().to(torch.bfloat16)
    expected = subject.call(exact, sample())
    out = subject.call(module, sample(dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    far = (out.to(torch.float64) - expected).abs().max() / expected.abs().max()
    assert far < 0.04  # each rounding is 0.4 %, and three layers of four steps each come to 2.9 %


def evaluation_is_repeatable(subject: Subject) -> None:
    """In evaluation mode the output is not random, and a training step does not change that mode's state."""
    module, data = subject.make(), sample()
    first = subject.call(module, data)
    assert_close(subject.call(module, data), first, atol=0.0)
    statistics = copy.deepcopy(dict(module.named_buffers()))
    subject.call(module.train(), data)
    for name, buffer in module.named_buffers():  # running means are made to change in training
        buffer.copy_(statistics[name])
    assert_close(subject.call(module.eval(), data), first, atol=0.0)


def a_saved_one_gives_the_same(subject: Subject) -> None:
    """state_dict through a file, into a fresh one."""
    module, data, file = subject.make(), sample(), io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    fresh = subject.build().double().eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert_close(subject.call(fresh, data), subject.call(module, data), atol=0.0)


def a_copy_is_equal_and_apart(subject: Subject) -> None:
    """Deepcopy and pickle, also after use; changing a copy leaves the original alone."""
    module, data = subject.make(), sample()
    expected = subject.call(module, data)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_close(subject.call(twin, data), expected, atol=0.0)
        for parameter in twin.parameters():
            parameter.data.add_(1.0)
        assert_close(subject.call(module, data), expected, atol=0.0)


def a_gradient_reaches_every_parameter(subject: Subject) -> None:
    """No parameter is left out, and every gradient is finite."""
    module, data = subject.make(), sample()
    data.x.requires_grad_()
    out = subject.call(module, data)
    (out * features(*out.shape, seed=9)).sum().backward()
    for name, parameter in [("x", data.x), *module.named_parameters()]:
        assert parameter.grad is not None, f"no gradient reaches {name}."
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite."
    assert data.x.grad is not None
    assert data.x.grad.any()


ODD: list[tuple[int, list[tuple[int, int]]]] = [
    (5, []),
    (0, []),
    (1, []),
    (1, [(0, 0)]),
    (3, [(0, 0), (2, 2), (2, 2)]),
    (3, [(0, 1)] * 6),
]


def odd_graphs_work(subject: Subject) -> None:
    """On each of `ODD` outputs and gradients are finite, in training and in evaluation."""
    module = subject.make()
    for num_nodes, pairs in [
        (5, []),
        (0, []),
        (1, []),
        (1, [(0, 0)]),
        (3, [(0, 0), (2, 2), (2, 2)]),
        (3, [(0, 1)] * 6),
    ]:
        graph = Graph(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T, num_nodes)
        for mode in (True, False):
            data = carrying(graph)
            data.x.requires_grad_()
            out = subject.call(module.train(mode), data)
            assert out.shape[0] == (1 if subject.per_graph else num_nodes)
            assert out.isfinite().all(), f"not finite on {graph} with edges {pairs}."
            out.sum().backward()
            assert data.x.grad is not None
            assert data.x.grad.isfinite().all(), f"gradient not finite on {graph} with edges {pairs}."


def training_after_inference_mode_works(subject: Subject) -> None:
    """Results that a graph caches under inference mode can be used in training."""
    module, data = subject.make(), sample()
    with torch.inference_mode():
        expected = subject.call(module, data).clone()
    out = subject.call(module, data)
    assert_close(out, expected, atol=1e-12)  # a kernel that also keeps what backward needs may sum otherwise
    out.sum().backward()


def another_device_gives_the_same(subject: Subject) -> None:
    """After moving the module and its input, everything is computed and trained on the device.

    After the first step on a graph the host waits for nothing.
    """
    module, data = subject.make(), sample()
    expected = subject.call(module, data)
    for way in (nullcontext, by_plan):
        with elsewhere() as device, way():
            moved = Data(**{name: value.to(device) for name, value in vars(data).items()})
            there = copy.deepcopy(module).to(device)
            out = subject.call(there, moved)
            assert out.device == device
            assert_close(out.cpu(), expected, 1e-10, subject.name)
            out.square().sum().backward()
            for name, parameter in there.named_parameters():
                assert parameter.grad is not None and parameter.grad.device == device, name
            there.train()
            subject.call(there, moved)  # what of the graph is new to it now
            with no_waiting():
                subject.call(there, moved).square().sum().backward()


Law = Callable[[Subject], None]

LAWS: list[Law] = [
    node_order_changes_nothing,
    edge_order_changes_nothing,
    a_batch_equals_one_by_one,
    an_edge_index_equals_its_graph,
    single_precision_is_near_double,
    half_precision_is_near_double,
    evaluation_is_repeatable,
    a_saved_one_gives_the_same,
    a_copy_is_equal_and_apart,
    a_gradient_reaches_every_parameter,
    odd_graphs_work,
    training_after_inference_mode_works,
    another_device_gives_the_same,
]


# Subjects ----------------------------------------------------------------------------------------------

DEG = torch.tensor([2, 3, 4, 2, 1])

# What a name in `models.CONVS` needs to be built as a single layer, besides its widths.
OPTIONS: dict[str, dict[str, Any]] = {
    "gat": {"heads": 2, "edge_dim": EDGE_WIDTH},
    "gatv2": {"heads": 2, "edge_dim": EDGE_WIDTH},
    "transformer": {"heads": 2, "edge_dim": EDGE_WIDTH, "beta": True},
    "gine": {"edge_dim": EDGE_WIDTH, "train_eps": True},
    "rgcn": {"num_relations": RELATIONS},
    "nn": {"edge_dim": EDGE_WIDTH},
    "pna": {"deg": DEG, "edge_dim": EDGE_WIDTH},
    "mpnn": {"edge_dim": EDGE_WIDTH},
}


def layer(name: str) -> Subject:
    """One layer, as the last of a stack."""
    conv = models.CONVS[name]
    return Subject(name, lambda: conv.build(WIDTH, OUT, True, **OPTIONS.get(name, {})), conv.edge_inputs)


def stack(name: str) -> Subject:
    """Three layers of a kind."""
    return Subject(
        f"GNN of {name}",
        lambda: models.GNN(WIDTH, 8, OUT, 3, conv=name, **OPTIONS.get(name, {})),
        models.CONVS[name].edge_inputs,
    )


def variant(**options: Any) -> Subject:
    """A GCN with one part more."""
    return Subject(
        f"GNN({', '.join(f'{k}={v!r}' for k, v in options.items())})",
        lambda: models.GNN(WIDTH, 8, OUT, 3, **options),
    )


class Classifier(nn.Module):
    """A GNN whose node states are pooled to one row per graph."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.gnn, self.pool = models.GNN(WIDTH, 8, OUT), pool

    def forward(self, x: Tensor, graph: Graph | Tensor) -> Tensor:
        out: Tensor = self.pool(self.gnn(x, graph), graph if isinstance(graph, Graph) else None)
        return out


def pooled(name: str, pool: Callable[[], nn.Module]) -> Subject:
    """One row per graph."""
    return Subject(f"pooled by {name}", lambda: Classifier(pool()), per_graph=True)


SUBJECTS: list[Subject] = [
    *map(layer, models.CONVS),
    *map(stack, models.CONVS),
    *(variant(jk=mode) for mode in ("last", "cat", "max", "lstm")),
    *(variant(norm=name, dropout=0.5) for name in models.NORMS),
    variant(residual=True, act="elu"),
    variant(virtual_node=True),
    variant(virtual_node=True, jk="cat", dropout=0.5),
    variant(conv="sage", aggr=["mean", "max", "std"]),
    *(pooled(aggr, partial(models.GlobalPool, aggr)) for aggr in ("sum", "mean", "max", "std")),
    pooled("attention", lambda: models.AttentionalAggregation(nn.Linear(OUT, 1), nn.Linear(OUT, 5))),
]
