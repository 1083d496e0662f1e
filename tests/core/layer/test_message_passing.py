"""MessagePassing and propagate: the protocol, odd inputs, and how they live with the rest of PyTorch."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch_geometric.nn as theirs_nn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mpnn
from mpnn import Graph, MessagePassing, propagate
from tests.compare import assert_close, assert_same
from tests.core.graphs import graphs, random_graph

DTYPE = torch.float64


@pytest.fixture(autouse=True, params=["eager", "cpu"])
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs on the oracle and on compiled kernels."""
    with mpnn.backend(request.param):
        yield


class Gate(MessagePassing):
    """A layer with everything: lifted fields, a field per edge, a shared one, a default, an update."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lin = nn.Linear(3, 3)

    def forward(self, x: Tensor, graph: Graph | Tensor, edge_attr: Tensor) -> Tensor:
        out: Tensor = self.propagate(graph, x=self.lin(x), edge_attr=edge_attr, scale=torch.tensor(0.5))
        return out

    def message(self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor, scale: Tensor, power: int = 2) -> Tensor:
        return scale * edge_attr * (x_i - x_j).tanh() ** power

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return inputs + x


def by_hand(x: Tensor, graph: Graph, edge_attr: Tensor) -> Tensor:
    """`Gate` without its weights, edge by edge."""
    rows = [torch.zeros(3, dtype=x.dtype) for _ in range(graph.num_dst)]
    for e, (j, i) in enumerate(graph.edge_index.t().tolist()):
        rows[i] = rows[i] + 0.5 * edge_attr[e] * (x[i] - x[j]).tanh() ** 2
    return torch.stack(rows) + x if rows else x


@pytest.fixture
def graph() -> Graph:
    return random_graph()


@pytest.fixture
def layer() -> Gate:
    return Gate().double()


@pytest.fixture
def inputs(graph: Graph) -> tuple[Tensor, Graph, Tensor]:
    return torch.randn(9, 3, dtype=DTYPE), graph, torch.randn(graph.num_edges, 1, dtype=DTYPE)


# The equation --------------------------------------------------------------------------------------------


@given(graphs(bipartite=False, typed=False))
def test_the_equation_holds_edge_by_edge(graph: Graph) -> None:
    gate = Gate().double()
    gate.lin = nn.Identity()  # type: ignore[assignment]
    x, edge_attr = torch.randn(graph.num_nodes, 3, dtype=DTYPE), torch.randn(graph.num_edges, 1, dtype=DTYPE)
    assert_same(
        lambda x, e: gate(x, graph, e), lambda x, e: by_hand(x, graph, e), {"x": x, "edge_attr": edge_attr}
    )


def test_an_edge_index_is_as_good_as_a_graph(layer: Gate, inputs: tuple[Tensor, Graph, Tensor]) -> None:
    x, graph, edge_attr = inputs
    assert_same(lambda x: layer(x, graph.edge_index, edge_attr), lambda x: layer(x, graph, edge_attr), [x])


class Theirs(theirs_nn.MessagePassing):
    def forward(self, x: Any, edge_index: Tensor, size: Any = None) -> Any:
        return self.propagate(edge_index, x=x, size=size)

    def message(self, x_i: Any, x_j: Tensor) -> Tensor:
        return x_j if x_i is None else x_j - 2 * x_i


class Ours(MessagePassing):
    forward = Theirs.forward
    message = Theirs.message  # type: ignore[assignment]


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize(
    "aggr", ["sum", "mean", "max", "min", "mul", "var", "std", "softmax", ["mean", "max"]]
)
def test_propagation_equals_pygs(graph: Graph, flow: str, aggr: Any) -> None:
    ours, theirs = Ours(aggr, flow=flow), Theirs(aggr, flow=flow)
    x = torch.randn(9, 3, dtype=DTYPE)
    edge_index = graph.edge_index
    assert_same(ours, theirs, {"x": x, "edge_index": edge_index})
    assert_same(ours, theirs, {"pair": (x, x.flip(0)), "edge_index": edge_index})
    assert_same(ours, theirs, {"half": (x, None), "edge_index": edge_index, "size": (9, 9)})


def test_a_bipartite_pair_equals_pygs() -> None:
    graph = random_graph((9, 5))
    x_src, x_dst = torch.randn(9, 3, dtype=DTYPE), torch.randn(5, 3, dtype=DTYPE)
    assert_same(Ours(), Theirs(), {"pair": (x_src, x_dst), "edge_index": graph.edge_index})
    assert_same(Ours(), Theirs(), {"half": (x_src, None), "edge_index": graph.edge_index, "size": (9, 5)})
    assert_close(Ours()((x_src, x_dst), graph), Theirs()((x_src, x_dst), graph.edge_index))


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "std", "softmax", ["sum", "min"]])
def test_nodes_may_be_counted_by_another_dimension(graph: Graph, aggr: Any) -> None:
    x = torch.randn(2, 9, 3, dtype=DTYPE)
    assert_same(Ours(aggr, node_dim=-2), Theirs(aggr, node_dim=-2), {"x": x, "edge_index": graph.edge_index})
    each = torch.stack([Ours(aggr)(one, graph) for one in x])
    assert_close(Ours(aggr, node_dim=-2)(x, graph), each)
    assert_close(Ours(aggr, node_dim=1)(x, graph), each)


@pytest.mark.parametrize("shape", [(9,), (9, 2, 3), (9, 0), (9, 1)], ids=str)
def test_features_may_have_any_number_of_dimensions(graph: Graph, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=DTYPE)
    theirs = Theirs(node_dim=0)
    assert_same(lambda x: Ours()(x, graph), lambda x: theirs(x, graph.edge_index), {"x": x})


def test_features_need_not_be_contiguous(graph: Graph) -> None:
    x = torch.randn(3, 18, dtype=DTYPE).t()[::2]
    assert not x.is_contiguous()
    assert_same(lambda x: Ours()(x, graph), lambda x: Ours()(x.contiguous(), graph), {"x": x})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_type_of_the_features_stays(graph: Graph, dtype: torch.dtype) -> None:
    x = torch.randn(9, 3).to(dtype)
    out = Ours("mean")(x, graph)
    assert out.dtype == dtype
    assert_close(out.double(), Ours("mean")(x.double(), graph), atol=8 * torch.finfo(dtype).eps)


def test_whole_numbers_and_truth_values_can_be_sent(graph: Graph) -> None:
    x = torch.arange(9)
    assert torch.equal(
        propagate(graph, lambda x_j: x_j, x=x), propagate(graph, lambda x_j: x_j, x=x.double()).long()
    )


# What a layer can override -------------------------------------------------------------------------------


def test_a_pair_for_a_message_is_weighed_by_its_softmax(graph: Graph) -> None:
    class OurAttention(MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr="softmax")

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Any:
            return self.propagate(graph, q=q, k=k, v=v)

        def message(self, q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
            return (q_i * k_j).sum(-1), v_j

    class TheirAttention(theirs_nn.MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr="sum", node_dim=0)

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Any:
            return self.propagate(graph.edge_index, q=q, k=k, v=v)

        def message(self, q_i: Tensor, k_j: Tensor, v_j: Tensor, index: Tensor, size_i: int) -> Tensor:
            from torch_geometric.utils import softmax

            weight = softmax((q_i * k_j).sum(-1), index, num_nodes=size_i)
            return v_j * weight[..., None]

    q, k, v = torch.randn(3, 9, 2, 4, dtype=DTYPE)
    assert_same(OurAttention(), TheirAttention(), {"q": q, "k": k, "v": v})


def test_a_layer_with_its_own_aggregate_may_send_anything(graph: Graph) -> None:
    class Layer(MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr=None)

        def forward(self, x: Tensor) -> Any:
            return self.propagate(graph, x=x)

        def message(self, x_j: Tensor) -> dict[str, Tensor]:
            return {"content": x_j, "count": torch.ones(x_j.size(0), 1, dtype=x_j.dtype)}

        def aggregate(self, inputs: Any, index: Tensor, dim_size: int) -> Any:
            assert dim_size == graph.num_nodes
            return tuple(mpnn.scatter(one, index, dim_size) for one in inputs.values())

        def update(self, inputs: Any, x: Tensor) -> Any:
            total, count = inputs
            return x + total / count.clamp(min=1)

    x = torch.randn(9, 3, dtype=DTYPE)
    assert_close(Layer()(x), x + propagate(graph, lambda x_j: x_j, "mean", x=x))


def test_edge_updater_makes_one_value_per_edge_as_pygs(graph: Graph) -> None:
    def forward(self: Any, x: Tensor, w: Tensor) -> Any:
        w = self.edge_updater(graph.edge_index, x=x, w=w)
        return self.propagate(graph.edge_index, x=x, w=w), w

    def edge_update(self: Any, x_i: Tensor, x_j: Tensor, w: Tensor, index: Tensor) -> Tensor:
        return w * (x_i * x_j).sum(-1) + index

    def message(self: Any, x_j: Tensor, w: Tensor) -> Tensor:
        return x_j * w.unsqueeze(-1)

    body = {"forward": forward, "edge_update": edge_update, "message": message}
    ours, theirs = (type("Layer", (base,), dict(body)) for base in (MessagePassing, theirs_nn.MessagePassing))
    x, w = torch.randn(9, 3, dtype=DTYPE), torch.randn(graph.num_edges, dtype=DTYPE)
    assert_same(ours(), theirs(), {"x": x, "w": w})


SPECIAL = ("edge_index", "edge_index_i", "edge_index_j", "index", "ptr", "size_i", "size_j", "dim_size")


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("name", SPECIAL)
def test_the_names_for_facts_about_the_graph_mean_what_they_mean_in_pyg(flow: str, name: str) -> None:
    edge_index = random_graph((9, 5)).edge_index
    namespace: dict[str, Any] = {}
    fact = {"edge_index": "edge_index[0]", "ptr": "(-1 if ptr is None else ptr)"}.get(name, name)
    exec(f"def message(self, x_j, {name}):\n    return x_j + {fact}", namespace)
    x = torch.zeros(9 if flow == "source_to_target" else 5)
    ours, theirs = (
        type(f"Asks_{name}", (base,), {"message": namespace["message"]})(flow=flow, node_dim=0)
        for base in (MessagePassing, theirs_nn.MessagePassing)
    )
    assert_close(
        ours.propagate(edge_index, x=x, size=(9, 5)),
        theirs.propagate(edge_index, x=x, size=(9, 5)),
        name=name,
    )


def test_a_function_is_enough(graph: Graph) -> None:
    x, w = torch.randn(9, 3, dtype=DTYPE), torch.randn(graph.num_edges, 1, dtype=DTYPE)

    def flat(x_j: Tensor, w: Tensor) -> Tensor:
        return w * x_j

    expected = torch.zeros(9, 3, dtype=DTYPE).index_add(0, graph.dst, w * x[graph.src])
    assert_close(propagate(graph, flat, x=x, w=w), expected)
    assert_close(propagate(graph, functools.partial(flat, w=w), x=x), expected)
    assert_close(propagate(graph, lambda x_j: w * x_j, x=x), expected)
    last = propagate(
        graph, lambda x_j: x_j, lambda m, index, n: m.new_zeros(n, 3).index_copy(0, index, m), x=x
    )
    assert last.shape == (9, 3)


def test_an_object_that_can_be_called_is_enough(graph: Graph) -> None:
    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, x_j: Tensor) -> Tensor:
            return self.factor * x_j

    x = torch.randn(9, 3, dtype=DTYPE)
    assert_close(propagate(graph, Scale(2.0), x=x), 2 * propagate(graph, lambda x_j: x_j, x=x))


def test_a_module_is_enough(graph: Graph) -> None:
    class Scale(nn.Module):
        def forward(self, x_j: Tensor) -> Tensor:
            return 2 * x_j

    x = torch.randn(9, 3, dtype=DTYPE)
    assert_close(propagate(graph, Scale(), x=x), 2 * propagate(graph, lambda x_j: x_j, x=x))


# Notebooks, decorators, closures: functions are not confused with each other ------------------------------


def test_a_class_that_is_defined_again_is_a_new_class(graph: Graph) -> None:
    x, w = torch.ones(9, 1), torch.full((graph.num_edges, 1), 3.0)
    cells = ["x_j, w=None", "x_j, w", "x_j, x_i=None, w=None"]
    outputs = []
    for cell in cells:
        namespace: dict[str, Any] = {"MessagePassing": MessagePassing}
        # The same name, file and line: what a notebook's cell has when it is run again.
        source = (
            f"class Conv(MessagePassing):\n    def message(self, {cell}):\n"
            "        return x_j if w is None else x_j * w"
        )
        exec(compile(source, "<cell>", "exec"), namespace)
        outputs.append(namespace["Conv"]().propagate(graph, x=x, w=w))
        if "w=None" in cell:
            namespace["Conv"]().propagate(graph, x=x)
        else:
            with pytest.raises(TypeError, match=r"message\(\) asks for 'w'"):
                namespace["Conv"]().propagate(graph, x=x)
    assert all(torch.equal(outputs[0], one) for one in outputs)


def test_functions_behind_one_decorator_keep_their_own_fields(graph: Graph) -> None:
    def traced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Tensor:
            return function(*args, **kwargs)

        return wrapper

    class First(MessagePassing):
        @traced
        def message(self, x_j: Tensor) -> Tensor:
            return x_j

    class Second(MessagePassing):
        @traced
        def message(self, y_j: Tensor, x_i: Tensor) -> Tensor:
            return y_j + 0 * x_i

    x = torch.randn(9, 3)
    assert torch.equal(First().propagate(graph, x=x), Second().propagate(graph, y=x, x=x))


def test_lambdas_of_one_line_keep_their_own_closures(graph: Graph) -> None:
    x = torch.randn(9, 3)
    outputs = [propagate(graph, lambda x_j, k=k: k * x_j, x=x) for k in (1.0, 2.0)]
    assert torch.equal(outputs[1], 2 * outputs[0])
    factories = [(lambda factor: lambda x_j: factor * x_j)(k) for k in (1.0, 2.0)]
    assert torch.equal(propagate(graph, factories[1], x=x), 2 * propagate(graph, factories[0], x=x))


def test_a_subclass_may_replace_a_message(graph: Graph) -> None:
    class Child(Gate):
        def message(self, x_j: Tensor, edge_attr: Tensor, scale: Tensor) -> Tensor:
            return scale * x_j * edge_attr

    x, e = torch.randn(9, 3), torch.randn(graph.num_edges, 1)
    child = Child()
    expected = propagate(graph, lambda x_j, e: 0.5 * x_j * e, x=child.lin(x), e=e) + child.lin(x)
    assert_close(child(x, graph, e), expected, atol=1e-6)


def test_an_instance_may_have_a_message_of_its_own(graph: Graph) -> None:
    layer = MessagePassing()
    layer.message = lambda x_j: -x_j  # type: ignore[method-assign]
    x = torch.randn(9, 3)
    assert torch.equal(layer.propagate(graph, x=x), -MessagePassing().propagate(graph, x=x))


# The rest of PyTorch -------------------------------------------------------------------------------------


def test_a_layer_can_be_copied_pickled_and_saved(layer: Gate, inputs: tuple[Tensor, Graph, Tensor]) -> None:
    expected = layer(*inputs)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(*inputs), expected)
        assert twin.lin.weight is not layer.lin.weight
    other = Gate().double()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(*inputs), expected)


def test_gradients_are_those_of_finite_differences(layer: Gate, inputs: tuple[Tensor, Graph, Tensor]) -> None:
    x, graph, e = inputs
    assert torch.autograd.gradcheck(lambda x, e: layer(x, graph, e), (x.requires_grad_(), e.requires_grad_()))
    assert torch.autograd.gradgradcheck(lambda x, e: layer(x, graph, e), (x, e))


# Not "mul": PyTorch's own product cannot be differentiated under vmap.
@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "softmax", ["std", "min"]])
def test_torch_func_transforms_go_through(graph: Graph, aggr: Any) -> None:
    layer, edge_index = Ours(aggr), graph.edge_index.clone()
    x = torch.randn(4, 9, 3, dtype=DTYPE)

    def loss(x: Tensor, edges: Graph | Tensor) -> Tensor:
        out: Tensor = layer(x, edges).pow(2).sum()
        return out

    # On a tensor, so that the graph and all that it keeps is first made inside the transform.
    gradient = torch.func.grad(loss)(x[0], edge_index)
    leaf = x[0].clone().requires_grad_()
    loss(leaf, graph).backward()
    assert leaf.grad is not None
    assert_close(gradient, leaf.grad)
    loss(leaf, edge_index).backward()
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None))(x, edge_index)
    assert_close(each[0], gradient)
    hessian = torch.func.hessian(loss)(x[0, :, :1], edge_index)
    assert_close(hessian.reshape(9, 9), hessian.reshape(9, 9).t())


def test_functional_call_exchanges_the_weights(layer: Gate, inputs: tuple[Tensor, Graph, Tensor]) -> None:
    zero = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    assert not torch.func.functional_call(layer, zero, inputs).any()


# Where the compiler resumes behind a break it looks at the gradient of every argument, leaf or not.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("_backend", ["auto"], indirect=True)
@pytest.mark.parametrize("as_tensor", [False, True], ids=["Graph", "edge_index"])
def test_torch_compile_changes_nothing(
    layer: Gate, inputs: tuple[Tensor, Graph, Tensor], as_tensor: bool
) -> None:
    x, graph, e = inputs
    edges = graph.edge_index if as_tensor else graph
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager")
    assert_same(lambda x, e: compiled(x, edges, e), lambda x, e: layer(x, edges, e), {"x": x, "e": e})
    smaller = random_graph(5, 12)
    edges = smaller.edge_index if as_tensor else smaller
    x, e = torch.randn(5, 3, dtype=DTYPE), torch.randn(12, 1, dtype=DTYPE)
    assert_close(compiled(x, edges, e), layer(x, smaller, e))


def test_autocast_goes_through(graph: Graph) -> None:
    layer, x, e = Gate(), torch.randn(9, 3), torch.randn(graph.num_edges, 1)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, graph, e)
    assert_close(out.float(), layer(x, graph, e), atol=0.1)  # bfloat16 keeps 8 bits


def test_evaluation_in_inference_mode_does_not_disturb_training(layer: Gate) -> None:
    graph = random_graph(seed=11)
    x, e = torch.randn(9, 3, dtype=DTYPE), torch.randn(graph.num_edges, 1, dtype=DTYPE)
    edge_index = graph.edge_index.clone()
    for edges in (graph, edge_index):
        with torch.inference_mode():
            quiet = layer(x, edges, e)
        loud = layer(x, edges, e)
        loud.sum().backward()
        assert torch.equal(quiet, loud)


def test_threads_share_a_layer_and_a_graph(layer: Gate, inputs: tuple[Tensor, Graph, Tensor]) -> None:
    expected = layer(*inputs)
    fresh = random_graph()
    outputs: list[Tensor] = []

    def work() -> None:
        outputs.extend(layer(inputs[0], fresh, inputs[2]) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 80
    assert all(torch.equal(one, expected) for one in outputs)


def test_a_backend_holds_within_its_block_and_thread_only(graph: Graph) -> None:
    seen = []
    with mpnn.backend("eager"):
        thread = threading.Thread(target=lambda: seen.append(mpnn.backends.current()))
        thread.start()
        thread.join()
        assert mpnn.backends.current() is mpnn.backends.choice.BACKENDS["eager"]
    assert seen == [mpnn.backends.choice.BACKENDS["auto"]]
    with (
        pytest.raises(ValueError, match=r"backend is 'egaer', but must be one of .*eager"),
        mpnn.backend("egaer"),
    ):
        pass


@settings(max_examples=30)
@given(graphs(typed=False), st.sampled_from(["sum", "mean", "max", "std", "softmax"]))
def test_any_graph_gives_what_pyg_gives(graph: Graph, aggr: str) -> None:
    x = (torch.randn(graph.num_src, 2, dtype=DTYPE), torch.randn(graph.num_dst, 2, dtype=DTYPE))
    assert_same(
        lambda x: Ours(aggr)(x, graph), lambda x: Theirs(aggr)(x, graph.edge_index, graph.size), {"x": x}
    )


def test_repr_names_the_widths_where_there_are_any() -> None:
    layer = MessagePassing()
    assert repr(layer).startswith("MessagePassing(")
    layer.in_channels, layer.out_channels = 2, 5  # type: ignore[assignment]
    assert "2, 5" in repr(layer)
