"""What `mpnn.borrowed` takes from inside PyTorch is there, and does what it says."""

from __future__ import annotations

import io
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as all_modules

import mpnn
from mpnn import borrowed
from tests.compare import assert_close, assert_same


def test_dispatch_keys_tell_numbers_from_what_looks_like_them() -> None:
    x = torch.ones(2)
    plain = borrowed.dispatch_keys(x).raw_repr()
    assert borrowed.dispatch_keys(torch.zeros(3, 1)).raw_repr() == plain
    assert borrowed.dispatch_keys(x.to("meta")).raw_repr() != plain
    assert borrowed.dispatch_keys(torch.ones(2, dtype=torch.complex64).conj()).raw_repr() != plain
    inside: list[bool] = []

    def looked_at(y: Tensor) -> Tensor:
        inside.extend([borrowed.dispatch_keys(y).raw_repr() == plain, borrowed.is_wrapped(y)])
        return y

    torch.func.vmap(looked_at)(torch.ones(2, 3))
    assert inside == [False, True]
    assert not borrowed.is_wrapped(x)


def test_a_batch_of_gradients_is_told() -> None:
    found: list[bool] = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            found.append(borrowed.is_batch_of_gradients(gradients[0]))
            return gradients[0]

    x = torch.ones(2, requires_grad=True)
    out: Tensor = Watched.apply(x)
    torch.autograd.grad(out, x, torch.eye(2), is_grads_batched=True, retain_graph=True)
    torch.autograd.grad(out, x, torch.ones(2))
    # PyTorch's batches are those of vmap today; the older kind is what this name asks for.
    assert len(found) == 2
    assert found[1] is False


def test_a_write_raises_the_version() -> None:
    x = torch.ones(2)
    before = borrowed.version_of(x)
    x.add_(1)
    assert borrowed.version_of(x) == before + 1


def test_a_subclass_is_made_without_its_constructor() -> None:
    class Kind(Tensor):
        def __new__(cls) -> Kind:
            raise AssertionError("called")

    made = borrowed.make_subclass(Kind, torch.ones(2))
    assert type(made) is Kind and made.shape == (2,)


def test_holders_of_a_tensor_and_of_its_memory_are_counted() -> None:
    x = torch.ones(4)
    assert borrowed.use_count(x) == 1
    y = torch.ones(4, requires_grad=True)
    squares = y * y  # whose graph holds its factors
    assert borrowed.use_count(y) > 1 == borrowed.use_count(squares)
    storage = x.untyped_storage()
    assert borrowed.storage_use_count is not None
    alone = borrowed.storage_use_count(borrowed.address_of_storage(storage))
    part = x[:2]
    assert borrowed.storage_use_count(borrowed.address_of_storage(storage)) == alone + 1
    del part


def test_transforms_are_seen() -> None:
    levels: list[tuple[int | None, bool]] = []

    def noted(x: Tensor) -> Tensor:
        levels.append((borrowed.transform_level(), borrowed.transformed()))
        return x.sum()

    noted(torch.ones(2))
    torch.func.grad(noted)(torch.ones(2))
    with torch.autograd.forward_ad.dual_level():
        noted(torch.ones(2))
    assert levels == [(None, False), (1, True), (None, True)]


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_tracers_are_seen() -> None:
    found: list[tuple[bool, int, list[bool]]] = []

    def noted(x: Tensor) -> Tensor:
        modes = [borrowed.dispatch_mode(kind) is not None for kind in borrowed.TRACERS]
        found.append((borrowed.tracing_state() is not None, borrowed.dispatch_modes(), modes))
        return x + 1

    noted(torch.ones(1))
    torch.jit.trace(noted, torch.ones(1), check_trace=False)
    with borrowed.FakeTensorMode():
        noted(torch.ones(1))
    borrowed.make_fx(noted)(torch.ones(1))
    assert found[0] == (False, 0, [False, False, False])
    assert found[1][0]
    assert found[2] == (False, 1, [True, False, False])
    assert found[3][2][1]


class _Counting(borrowed.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


class _Functions(borrowed.TorchFunctionMode):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


def test_modes_can_be_left() -> None:
    with _Counting() as counting, _Functions() as functions:
        torch.ones(1) + 1
        before = counting.seen, len(functions.seen)
        assert before[0] > 0 and before[1] > 0
        assert borrowed.function_modes() == 1
        with borrowed.without_modes(), borrowed.without_function_mode():
            torch.ones(1) + 1
        assert (counting.seen, len(functions.seen)) == before


def test_transforms_can_be_left() -> None:
    levels: list[int | None] = []

    def inside(x: Tensor) -> Tensor:
        with borrowed.without_transforms():
            levels.append(borrowed.transform_level())
        return x.sum()

    torch.func.grad(inside)(torch.ones(2))
    assert levels == [None]


def test_an_operation_may_differentiate_in_itself() -> None:
    @torch.library.custom_op("mpnn_tests::slope", mutates_args=())
    def slope(x: Tensor) -> Tensor:
        with borrowed.with_dispatch(*borrowed.DISPATCHED), torch.enable_grad():
            y = x.detach().requires_grad_()
            return torch.autograd.grad(y.square().sum(), y)[0]

    assert_close(slope(torch.tensor([3.0])), torch.tensor([6.0]))


def test_the_compiler_takes_a_marked_function_for_a_constant(fresh_compiler: None) -> None:
    @borrowed.known_while_compiling
    def number() -> int:
        return len(list(weakref.WeakSet([nn.ReLU()])))

    compiled = torch.compile(lambda x: x + number(), backend="eager", fullgraph=True)
    assert_close(compiled(torch.ones(2)), torch.full((2,), 1.0 + number()))


def test_a_function_is_traced_into_operations_that_are_decomposed() -> None:
    table: Any = borrowed.core_aten_decompositions() | borrowed.get_decompositions([torch.ops.aten.silu])
    traced = borrowed.make_fx(lambda x: nn.functional.silu(x), decomposition_table=table)(torch.ones(2))
    names = {str(node.target) for node in traced.graph.nodes if node.op == "call_function"}
    assert "aten.silu.default" not in names
    assert all(
        isinstance(n.target, borrowed.OpOverload) for n in traced.graph.nodes if n.op == "call_function"
    )
    assert_close(traced(torch.ones(2)), nn.functional.silu(torch.ones(2)), atol=1e-7)


def test_no_grad_in_a_function_is_seen() -> None:
    with _Functions() as functions, torch.no_grad():
        pass
    assert borrowed.switch_of_gradients in functions.seen


def test_a_schema_tells_sizes_and_writes() -> None:
    schema = borrowed.schema_of(torch.ops.aten.new_zeros.default)
    assert not schema.is_mutable
    assert [a.name for a in schema.arguments][:2] == ["self", "size"]
    written = borrowed.schema_of(torch.ops.aten.add_.Tensor)
    assert written.is_mutable and written.arguments[0].alias_info.is_write
    assert borrowed.schema_of(len) is None


def test_a_size_can_be_a_symbol() -> None:
    of = borrowed.symbols()
    environment = of.environment(duck_shape=False)
    symbol = environment.create_symbol(1 << 20, of.source("rows"), dynamic_dim=of.dynamic)
    rows = environment.create_symintnode(symbol, hint=1 << 20, source=of.source("rows"))
    with borrowed.FakeTensorMode(shape_env=environment):
        x = torch.empty(rows, 3)
    assert isinstance(x, borrowed.FakeTensor)
    sizes: list[Any] = list(x.shape)
    assert isinstance(sizes[0], torch.SymInt) and sizes[1] == 3


def test_a_compiled_function_may_make_a_size_that_only_data_tell(fresh_compiler: None) -> None:
    graph = mpnn.Graph(torch.tensor([[0, 1, 1], [1, 1, 0]]), 2)

    def without_loops(edge_index: Tensor) -> Tensor:
        return torch.ops.mpnn.relooped(edge_index, 2, 2, "none")[0] + 1

    compiled = torch.compile(without_loops, backend="eager", fullgraph=True)
    assert_close(compiled(graph.edge_index), without_loops(graph.edge_index))


def test_the_compiler_traces_a_region_by_itself(fresh_compiler: None) -> None:
    bodies: list[Any] = []

    def by(body: Callable[..., Any]) -> Callable[..., Any]:
        bodies.append(body)
        return body

    def region(x: Tensor) -> list[Tensor]:
        return [x.sin()]

    compiled = torch.compile(lambda x: borrowed.region(by, region, x)[0] + 1, backend="eager", fullgraph=True)
    assert_close(compiled(torch.ones(2)), torch.ones(2).sin() + 1)
    assert bodies and isinstance(bodies[-1], torch.fx.GraphModule)


def test_a_module_may_have_other_parameters_for_a_while() -> None:
    layer, weight = nn.Linear(2, 2, bias=False), torch.eye(2)
    with borrowed.with_parameters(layer, {"weight": weight}):
        assert layer.weight is weight
    assert isinstance(layer.weight, nn.Parameter)


def test_what_was_saved_is_read_though_the_rest_was_written_into() -> None:
    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
            with pytest.raises(RuntimeError, match="modified by an inplace"):
                borrowed.saved_as_they_are(ctx, slice(1, None))
            (x,) = borrowed.saved_as_they_are(ctx, slice(1))
            return None, gradients[0] * x

    x, z = torch.tensor([3.0]), torch.tensor([5.0], requires_grad=True)
    y = 1 * z
    out: Tensor = Times.apply(x, y)
    y.detach().zero_()
    (gradient,) = torch.autograd.grad(out, z)
    assert_close(gradient, x)


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


def test_a_function_is_applied_without_its_part_for_transforms() -> None:
    apply = borrowed.applied_outside_transforms(_Twice)
    assert_same(apply, _Twice.apply, [torch.ones(2, dtype=torch.float64)])


def test_the_parts_and_hooks_of_a_module_are_where_they_are_looked_for() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2))
    inner, own = module[0], vars(module[0])
    assert own[borrowed.PARAMETERS] == dict(inner.named_parameters()) == borrowed.parameters_in(inner)
    assert own[borrowed.BUFFERS] == dict(inner.named_buffers())
    assert vars(module)[borrowed.MODULES] == dict(module.named_children()) == borrowed.modules_in(module)
    assert not borrowed.has_hooks(own)


HOOKS: dict[str, Callable[[nn.Module], Any]] = {
    "before": lambda module: module.register_forward_pre_hook(lambda *_: None),
    "after": lambda module: module.register_forward_hook(lambda *_: None),
    "before backward": lambda module: module.register_full_backward_pre_hook(lambda *_: None),
    "after backward": lambda module: module.register_full_backward_hook(lambda *_: None),
    "before any": lambda _: all_modules.register_module_forward_pre_hook(lambda *_: None),
    "after any": lambda _: all_modules.register_module_forward_hook(lambda *_: None),
    "before any backward": lambda _: all_modules.register_module_full_backward_pre_hook(lambda *_: None),
    "after any backward": lambda _: all_modules.register_module_full_backward_hook(lambda *_: None),
}


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_every_kind_of_hook_is_found(hook: Callable[[nn.Module], Any]) -> None:
    module = nn.Linear(1, 1)
    handle = hook(module)
    assert borrowed.has_hooks(vars(module))
    handle.remove()
    assert not borrowed.has_hooks(vars(module))


def test_a_replica_is_marked() -> None:
    assert borrowed.REPLICA in vars(nn.Linear(1, 1)._replicate_for_data_parallel())


def test_state_dicts_call_what_linear_extends() -> None:
    calls: list[str] = []

    class Noted(nn.Linear):
        def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
            calls.append("_save_to_state_dict")
            super()._save_to_state_dict(*args, **kwargs)

        def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
            calls.append("_load_from_state_dict")
            super()._load_from_state_dict(*args, **kwargs)

    module, file = Noted(1, 1), io.BytesIO()
    torch.save(module.state_dict(), file)
    module.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert tuple(calls) == borrowed.OVERRIDDEN


def test_paddings_of_convolutions() -> None:
    assert list(borrowed.padding_of(nn.Conv2d(1, 1, (3, 5), padding=(1, 2)))) == [2, 2, 1, 1]
    assert list(borrowed.padding_of(nn.Conv2d(1, 1, (3, 4), padding="same"))) == [1, 2, 1, 1]
    layer = nn.ConvTranspose1d(1, 1, 3, stride=2)
    image, size = torch.ones(1, 1, 4), [10]
    (extra,) = borrowed.output_padding(layer, image, size, (2,), (0,), (3,), 1, (1,))
    assert layer(image, output_size=size).shape[2] == 10 == layer(image).shape[2] + extra


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_the_fused_recurrent_kernels_compute_what_torch_nn_does(kind: str) -> None:
    name, nonlinearity = kind.partition("_")[::2]
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    module: Any = getattr(nn, name.upper())(3, 4, **options)
    x, zero = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    start = [zero, zero] if kind == "lstm" else zero
    kernel = getattr(borrowed, kind)
    out = kernel(x, start, list(module.parameters()), True, 1, 0.0, False, False, False)[0]
    assert_close(out, module(x)[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_onednn_multiplies() -> None:
    assert borrowed.onednn_is_on() is torch._C._get_mkldnn_enabled()
    with torch.backends.mkldnn.flags(enabled=False):
        assert not borrowed.onednn_is_on()
    assert borrowed.has_onednn_linear() == torch.backends.mkldnn.is_available()
    x, weight, bias = torch.randn(70, 9), torch.randn(8, 9), torch.randn(8)
    if borrowed.has_onednn_linear():
        expected = torch.nn.functional.linear(x, weight, bias)
        assert_close(borrowed.onednn_linear(x, weight, bias), expected, atol=1e-5)


def test_operations_have_formulas() -> None:
    count = borrowed.formulas_of_operations()[torch.ops.aten.mm]
    assert count(torch.ones(2, 3), torch.ones(3, 4), out_val=torch.ones(2, 4)) == 2 * 2 * 3 * 4


def test_a_function_can_be_marked_as_no_place_to_begin_a_graph() -> None:
    # What the mark does is shown by `backends/test_compile_without_plan.py`.
    from torch._C._dynamo import eval_frame

    assert {"_FrameAction", "_FrameExecStrategy", "set_code_exec_strategy"} <= {*dir(eval_frame)}

    def function() -> int:
        return 1

    assert borrowed.begins_no_graph(function) is function
    assert function() == 1
