"""Aggregators against those of PyG, and the arguments that they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn.aggr as theirs_of
import torch_geometric.utils
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mpnn
from mpnn import scatter, softmax
from mpnn.aggregate.aggregators import AGGREGATORS, Several, apply, resolve
from mpnn.aggregate.reductions import MAX
from tests.compare import assert_close, assert_same
from tests.core.graphs import graphs, random_graph


class TorchLogSumExp(nn.Module):
    """What PyG lacks: `torch.logsumexp` of one row after another, and 0 of none."""

    def forward(self, messages: Tensor, index: Tensor, dim_size: int, dim: int) -> Tensor:
        of_rows = [messages.index_select(dim, (index == row).nonzero().flatten()) for row in range(dim_size)]
        found = [m.logsumexp(dim) if m.size(dim) else m.sum(dim) for m in of_rows]
        return torch.stack(found, dim) if dim >= 0 else torch.stack(found, messages.dim() + dim)


PYG: dict[str, type[nn.Module]] = {
    "sum": theirs_of.SumAggregation,
    "add": theirs_of.SumAggregation,
    "mean": theirs_of.MeanAggregation,
    "max": theirs_of.MaxAggregation,
    "min": theirs_of.MinAggregation,
    "mul": theirs_of.MulAggregation,
    "logsumexp": TorchLogSumExp,
    "var": theirs_of.VarAggregation,
    "std": theirs_of.StdAggregation,
    "softmax": theirs_of.SoftmaxAggregation,
}
# PyG's modules that our names do not cover; most want sorted messages.
OTHERS: dict[str, dict[str, Any]] = {
    "median": {},
    "powermean": {},
    "quantile": {"q": 0.3},
    "lstm": {"in_channels": 3, "out_channels": 2},
    "gru": {"in_channels": 3, "out_channels": 2},
    "sort": {"k": 2},
}
DTYPE = torch.float64


def built(name: str, **options: Any) -> nn.Module:
    module = resolve(name, **options)
    assert module is not None
    return module.double()


def theirs_built(name: str, **options: Any) -> nn.Module:
    # PyG multiplies by sorting and segmenting, except where nothing is known of the order.
    return PYG[name](**options).double()


def test_every_name_has_an_oracle() -> None:
    assert AGGREGATORS.keys() == PYG.keys()


# Against PyG ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (), (2, 3)], ids=str)
@pytest.mark.parametrize("name", PYG)
def test_outputs_and_gradients_equal_pygs(name: str, shape: tuple[int, ...]) -> None:
    graph = random_graph()
    messages = torch.randn(graph.num_edges, *shape, dtype=DTYPE)
    # PyG's mul of a vector, and everything else of its, runs over dimension 0.
    assert_same(
        lambda m: built(name)(m, graph.dst, dim_size=graph.num_dst, dim=0),
        lambda m: theirs_built(name)(
            m[:, None] if m.dim() == 1 else m, graph.dst, dim_size=graph.num_dst, dim=0
        ).reshape(graph.num_dst, *shape),
        {"messages": messages},
    )


@pytest.mark.parametrize("name", PYG)
def test_the_dimension_of_the_messages_may_be_any(name: str) -> None:
    graph = random_graph()
    messages = torch.randn(2, graph.num_edges, 3, dtype=DTYPE)
    for dim in (1, -2):
        assert_same(
            lambda m, dim=dim: built(name)(m, graph.dst, dim_size=graph.num_dst, dim=dim),
            lambda m, dim=dim: theirs_built(name)(m, graph.dst, dim_size=graph.num_dst, dim=dim),
            {"messages": messages},
        )


@pytest.mark.parametrize("name", PYG)
def test_empty_neighbourhoods_are_as_pygs(name: str) -> None:
    index = torch.tensor([2, 2])
    messages = torch.randn(2, 3, dtype=DTYPE)
    ours = built(name)(messages, index, dim_size=4)
    assert_close(ours, theirs_built(name)(messages, index, dim_size=4, dim=0))
    assert ours[0].tolist() == [1.0 if name == "mul" else 0.0] * 3
    nothing = built(name)(messages[:0], index[:0], dim_size=4)
    assert_close(nothing, theirs_built(name)(messages[:0], index[:0], dim_size=4, dim=0))


@pytest.mark.parametrize("name", PYG)
def test_the_number_of_rows_is_counted_where_it_is_not_given(name: str) -> None:
    assert built(name)(torch.ones(3, 1), torch.tensor([0, 4, 1])).shape == (5, 1)
    assert built(name)(torch.ones(0, 1), torch.empty(0, dtype=torch.int64)).shape == (0, 1)


@pytest.mark.parametrize("name", PYG)
def test_gradients_and_second_gradients_are_right(name: str) -> None:
    index = torch.tensor([0, 0, 2, 2, 2])
    messages = torch.randn(5, 2, dtype=DTYPE, requires_grad=True)

    def aggregate(messages: Tensor) -> Tensor:
        out: Tensor = built(name)(messages, index, dim_size=3)
        return out

    assert torch.autograd.gradcheck(aggregate, messages)
    assert torch.autograd.gradgradcheck(aggregate, messages)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("tie", [0.0, 2.0, -torch.inf, torch.inf])
def test_ties_share_the_gradient_evenly(name: str, tie: float) -> None:
    messages = torch.full((4, 1), tie, dtype=DTYPE, requires_grad=True)
    built(name)(messages, torch.tensor([0, 0, 0, 1]), dim_size=2).sum().backward()
    assert messages.grad is not None
    assert_close(messages.grad.flatten(), torch.tensor([1 / 3, 1 / 3, 1 / 3, 1], dtype=DTYPE))


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_and_their_gradients_are_amaxs_also_at_infinity(name: str) -> None:
    values = torch.tensor([-torch.inf, torch.inf, 0.0, 1.5], dtype=DTYPE)
    messages = values[torch.randint(4, (60, 3))].requires_grad_()
    index = torch.arange(60) // 5
    weight = torch.randn(13, 3, dtype=DTYPE)
    ours = built(name)(messages, index, dim_size=13)
    theirs = getattr(torch, f"a{name}")(messages.reshape(12, 5, 3), 1)
    assert torch.equal(ours[:12], theirs) and not ours[12].any()
    mine = torch.autograd.grad(ours, messages, weight)[0]
    assert_close(mine, torch.autograd.grad(theirs, messages, weight[:12])[0])


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_of_booleans_and_integers_are_pygs(name: str) -> None:
    messages, index = torch.rand(40, 3) < 0.5, torch.randint(8, (40,))
    for values in (messages, messages.byte(), torch.randint(-9, 9, (40, 3)), messages.to(torch.int8) - 1):
        ours = scatter(values, index, 9, name)
        assert ours.dtype == values.dtype
        assert torch.equal(ours, torch_geometric.utils.scatter(values, index, 0, 9, name))
    with mpnn.backend("eager"):
        graph = mpnn.Graph(torch.stack([torch.arange(40), index]), (40, 9))
        out = mpnn.propagate(graph, lambda x_j: x_j, aggr=name, x=(messages, None))
    assert torch.equal(out, torch_geometric.utils.scatter(messages, index, 0, 9, name))


def test_the_gradient_of_std_is_finite_where_all_messages_are_equal() -> None:
    messages = torch.ones(4, 1, dtype=DTYPE, requires_grad=True)
    built("std")(messages, torch.tensor([0, 0, 0, 1]), dim_size=2).sum().backward()
    assert messages.grad is not None
    assert messages.grad.isfinite().all()


@given(graphs(), st.sampled_from(sorted(PYG)), st.randoms(use_true_random=False))
def test_the_order_of_messages_changes_nothing(graph: Any, name: str, random: Any) -> None:
    order = list(range(graph.num_edges))
    random.shuffle(order)
    # Small integers: many ties.
    messages = torch.tensor([[random.randint(-2, 2)] for _ in order], dtype=DTYPE).reshape(-1, 1)
    assert_same(
        lambda m: built(name)(m, graph.dst, dim_size=graph.num_dst),
        lambda m: built(name)(m[order], graph.dst[order], dim_size=graph.num_dst),
        {"messages": messages},
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", PYG)
def test_half_precision_is_near_float64(name: str, dtype: torch.dtype) -> None:
    graph = random_graph()
    messages = torch.randn(graph.num_edges, 3).to(dtype)
    ours = resolve(name)(messages, graph.dst, dim_size=graph.num_dst)  # type: ignore[misc]
    assert ours.dtype == dtype
    exact = resolve(name)(messages.double(), graph.dst, dim_size=graph.num_dst)  # type: ignore[misc]
    # Epsilon of bfloat16 is 2^-7; var and std subtract squares, and products multiply a few roundings.
    assert_close(ours.double(), exact, atol=0.1 if dtype is torch.bfloat16 else 0.02)


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_a_sum_of_many_in_half_precision_does_not_stop_counting(name: str) -> None:
    messages = torch.ones(2000, 1, dtype=torch.bfloat16)
    total = resolve(name)(messages, torch.zeros(2000, dtype=torch.int64), dim_size=1)  # type: ignore[misc]
    assert total.item() == (2000 if name == "sum" else 1)


def test_whole_numbers_stay_exact() -> None:
    big = torch.tensor([2**53, 1, 1])
    assert scatter(big, torch.tensor([0, 0, 0]), 1).tolist() == [2**53 + 2]
    assert scatter(big, torch.tensor([0, 0, 0]), 1, "max").tolist() == [2**53]


# Softmax -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (4,), (4, 1)], ids=str)
def test_softmax_equals_pygs(shape: tuple[int, ...]) -> None:
    graph = random_graph()
    score = 50 * torch.randn(graph.num_edges, *shape, dtype=DTYPE)
    assert_same(
        lambda s: softmax(s, graph.dst, graph.num_dst),
        lambda s: torch_geometric.utils.softmax(s, graph.dst, num_nodes=graph.num_dst),
        {"score": score},
    )


@pytest.mark.parametrize(
    "shapes", [((), ()), ((), (3,)), ((2,), (2, 3)), ((2, 1), (2, 3)), ((3,), (3,))], ids=str
)
def test_softmax_of_score_and_value_is_the_weighted_sum(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    graph = random_graph()
    score, value = (torch.randn(graph.num_edges, *shape, dtype=DTYPE) for shape in shapes)

    def theirs(score: Tensor, value: Tensor) -> Tensor:
        weight = torch_geometric.utils.softmax(score, graph.dst, num_nodes=graph.num_dst)
        weight = weight.reshape(weight.shape + (1,) * (value.dim() - weight.dim()))
        return torch_geometric.utils.scatter(weight * value, graph.dst, 0, graph.num_dst)

    assert_same(
        lambda s, v: built("softmax")((s, v), graph.dst, dim_size=graph.num_dst),
        theirs,
        {"score": score, "value": value},
    )


@pytest.mark.parametrize(
    "options",
    [{"t": 0.3}, {"t": 2}, {"semi_grad": True}, {"learn": True}, {"t": 2, "learn": True, "channels": 3}],
    ids=str,
)
def test_softmax_has_pygs_options(options: dict[str, Any]) -> None:
    graph = random_graph()
    ours, theirs = built("softmax", **options), theirs_built("softmax", **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same(
        _on(ours, graph.dst),
        _on(theirs, graph.dst),
        {"messages": torch.randn(graph.num_edges, 3, dtype=DTYPE)},
    )


class _on(nn.Module):  # noqa: N801 - reads like a preposition
    """A module with its index in place, so that the gradients of its parameters are compared as well."""

    def __init__(self, module: nn.Module, index: Tensor) -> None:
        super().__init__()
        self.module, self.index = module, index

    def forward(self, messages: Tensor) -> Any:
        return apply(self.module, messages, self.index, dim_size=9)


def test_a_score_of_minus_infinity_means_no_message() -> None:
    score = torch.tensor([0.0, -torch.inf, 0.0])
    assert softmax(score, torch.tensor([0, 0, 1]), 2).tolist() == [1.0, 0.0, 1.0]


def test_resetting_softmax_restores_its_temperature() -> None:
    ours = built("softmax", t=0.5, learn=True)
    with torch.no_grad():
        next(ours.parameters()).fill_(7.0)
    ours.reset_parameters()  # type: ignore[operator]
    assert next(ours.parameters()).item() == 0.5


# Several, functions, PyG's own modules -------------------------------------------------------------------


def test_several_aggregators_are_concatenated_as_pygs() -> None:
    graph = random_graph()
    names = ["mean", "max", "std", "softmax"]
    theirs = theirs_of.MultiAggregation(names).double()
    messages = torch.randn(graph.num_edges, 3, dtype=DTYPE)
    ours = resolve(names)
    assert ours is not None
    assert_same(_on(ours, graph.dst), _on(theirs, graph.dst), {"messages": messages})


@pytest.mark.parametrize("mode", ["sum", "proj", "attn"])
def test_several_aggregators_are_combined_as_pygs(mode: str) -> None:
    graph = random_graph()
    widths = {"in_channels": 3, "out_channels": 4}
    options = {"sum": {}, "proj": widths, "attn": widths | {"num_heads": 1}}[mode]
    torch.manual_seed(0)
    ours = resolve(["mean", "max"], mode=mode, mode_kwargs=options)
    torch.manual_seed(0)
    theirs = theirs_of.MultiAggregation(["mean", "max"], mode=mode, mode_kwargs=options)
    assert ours is not None
    messages = torch.randn(graph.num_edges, 3, dtype=DTYPE)
    assert_same(_on(ours.double(), graph.dst), _on(theirs.double(), graph.dst), {"messages": messages})


def test_options_reach_each_of_several() -> None:
    ours = resolve(["softmax", "sum"], aggrs_kwargs=[{"t": 0.5}, {}])
    assert isinstance(ours, Several)
    assert ours.aggrs[0].t == 0.5


@pytest.mark.parametrize("name", OTHERS)
def test_pygs_other_aggregators_work_on_edges_in_any_order(name: str) -> None:
    graph = random_graph()
    torch.manual_seed(0)
    ours = built(name, **OTHERS[name])
    torch.manual_seed(0)
    theirs = built(name, **OTHERS[name])
    by_dst = torch.sort(graph.dst, stable=True)
    messages = torch.rand(graph.num_edges, 3, dtype=DTYPE)

    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = theirs

        def forward(self, messages: Tensor) -> Any:
            return self.module(messages[by_dst.indices], by_dst.values, dim_size=9)

    assert_same(_on(ours, graph.dst), Sorted(), {"messages": messages})


@pytest.mark.parametrize("name", OTHERS)
def test_pygs_other_aggregators_give_zeros_where_no_message_is(name: str) -> None:
    ours = built(name, **OTHERS[name])
    out = apply(ours, torch.empty(0, 3, dtype=DTYPE), torch.empty(0, dtype=torch.int64), dim_size=4)
    full = apply(ours, torch.rand(5, 3, dtype=DTYPE), torch.tensor([3, 0, 1, 1, 0]), dim_size=4)
    assert out.shape == full.shape
    assert not out.any()


def test_a_function_is_an_aggregator() -> None:
    def last(messages: Tensor, index: Tensor, num_rows: int) -> Tensor:
        return messages.new_zeros(num_rows, *messages.shape[1:]).index_copy(0, index, messages)

    module = resolve(last)
    assert repr(module) == "Custom(last)"
    assert apply(module, torch.tensor([1.0, 2.0]), torch.tensor([0, 2]), dim_size=3).tolist() == [1, 0, 2]  # type: ignore[arg-type]


def test_a_module_is_taken_as_it_is() -> None:
    module = theirs_of.MeanAggregation()
    assert resolve(module) is module
    assert resolve(None) is None


# Bad input -----------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match=r"aggr is 'summ', but must be one of add, logsumexp, max, mean, .*softmax, std"
    ):
        resolve("summ")


def test_an_option_that_pyg_refuses_is_reported_in_its_words() -> None:
    with pytest.raises(ValueError, match="Cannot set 'channels' greater than '1'"):
        resolve("powermean", learn=False, channels=3)


@pytest.mark.parametrize(
    ("aggr", "options", "error", "text"),
    [
        (3, {}, TypeError, "aggr must be a name, a list, a module, a reduction or a function, got int"),
        (type(MAX), {}, TypeError, r"aggr is the class Max, but must be an instance of it: Max\(\)"),
        ([], {}, ValueError, "aggr is an empty list: name at least one aggregator"),
        (["sum", None], {}, ValueError, "a list names aggregators only"),
        (["sum"], {"aggrs_kwargs": [{}, {}]}, ValueError, "aggrs_kwargs holds 2 options for 1 aggregators"),
        (
            nn.Identity(),
            {"t": 1},
            ValueError,
            r"aggr_kwargs \['t'\] can only be given with an aggregator's name",
        ),
        ("sum", {"t": 1}, TypeError, "unexpected keyword argument 't'"),
        ("softmax", {"learn": True, "semi_grad": True}, ValueError, "learn=True needs the gradient"),
        ("softmax", {"channels": 2}, ValueError, "channels is 2, but learn=False has nothing to hold"),
        ("", {}, ValueError, "aggr is '', but must be one of add, logsumexp, max, mean"),
        (
            "aggregation",
            {},
            ValueError,
            "aggr is 'aggregation', but must be one of add, logsumexp, max, mean",
        ),
        (["sum", ""], {}, ValueError, "aggr is '', but must be one of add, logsumexp, max, mean"),
    ],
    ids=str,
)
def test_what_cannot_be_an_aggregator_is_refused(
    aggr: Any, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        resolve(aggr, **options)


INDEX = torch.tensor([0, 1, 1])


@pytest.mark.parametrize("name", PYG)
def test_messages_and_indices_must_be_as_many(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"messages must have 3 entries, one for each index, in dimension 0, got shape \[4, 1\]",
    ):
        built(name)(torch.ones(4, 1, dtype=DTYPE), INDEX, dim_size=2)


@pytest.mark.parametrize("name", [n for n in PYG if n != "softmax"])
def test_only_softmax_takes_a_pair(name: str) -> None:
    with pytest.raises(TypeError, match="takes one tensor for a message, got tuple"):
        built(name)((torch.ones(3), torch.ones(3)), INDEX, dim_size=2)
    with pytest.raises(TypeError, match="takes one tensor for a message, got tuple"):
        built(name="median") and apply(built("median"), (torch.ones(3), torch.ones(3)), INDEX, dim_size=2)


def test_several_aggregators_take_a_pair_only_if_all_do() -> None:
    module = resolve(["softmax", "sum"])
    with pytest.raises(TypeError, match="aggregator 'sum' takes one tensor for a message, got tuple"):
        module((torch.ones(3, 1), torch.ones(3, 1)), INDEX, dim_size=2)  # type: ignore[misc]


@pytest.mark.parametrize("shapes", [((3, 2), (3,)), ((3, 2), (3, 3, 2)), ((3, 2, 2, 1), (3, 2))], ids=str)
def test_a_score_that_does_not_begin_as_its_value_is_refused(shapes: Any) -> None:
    with pytest.raises(
        ValueError, match=r"a softmax message is \(score, value\) with the score's shape the beginning"
    ):
        built("softmax")(tuple(torch.ones(s, dtype=DTYPE) for s in shapes), INDEX, dim_size=2)


def test_a_softmax_message_of_three_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a softmax message is \(score, value\), got 3 values"):
        built("softmax")((torch.ones(3),) * 3, INDEX, dim_size=2)


def test_a_temperature_per_channel_needs_as_many_channels() -> None:
    with pytest.raises(
        ValueError, match=r"a temperature for each of 3 channels, but the score has shape \[3\]"
    ):
        built("softmax", learn=True, channels=3)((torch.ones(3), torch.ones(3, 3)), INDEX, dim_size=2)


@pytest.mark.parametrize("reduce", [scatter, softmax])
def test_an_index_out_of_range_is_named(reduce: Any) -> None:
    for bad in (3, -1):
        with pytest.raises(IndexError, match=rf"index\[1\] is {bad}, but there are 3 rows"):
            reduce(torch.ones(2), torch.tensor([0, bad]), 3)


@pytest.mark.parametrize("reduce", [scatter, softmax])
def test_an_index_of_another_shape_or_type_is_refused(reduce: Any) -> None:
    with pytest.raises(ValueError, match=r"index must be int64 \[num_entries\], got torch.float32 \[2\]"):
        reduce(torch.ones(2), torch.ones(2), 3)
    with pytest.raises(ValueError, match=r"index must be int64 \[num_entries\], got torch.int64 \[1, 2\]"):
        reduce(torch.ones(2), torch.zeros(1, 2, dtype=torch.int64), 3)
    with pytest.raises(
        ValueError, match=r"must have 1 entries, one for each index, in dimension 0, got shape \[2\]"
    ):
        reduce(torch.ones(2), torch.zeros(1, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match=r"in dimension 1, got shape \[2\]"):
        reduce(torch.ones(2), torch.zeros(2, dtype=torch.int64), 3, dim=1)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(
        ValueError, match="reduce must be one of sum, mean, max, min, mul, logsumexp, got 'median'"
    ):
        scatter(torch.ones(1), torch.zeros(1, dtype=torch.int64), 1, "median")
