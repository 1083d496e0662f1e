"""A convolution is a typed linear message on a grid: against torch's convolutions, and pair by pair."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpnn import topology
from mpnn.topology import Grid
from tests.compare import assert_close

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def rows(images: Tensor) -> Tensor:
    """`[batch, channels, ...]` to `[nodes, channels]`."""
    return images.movedim(1, -1).flatten(0, -2)


def convolve(x: Tensor, grid: Grid, weight: Tensor) -> Tensor:
    """Σ_j W[type] x_j: `[num_src, in]`, `[kernel, in, out]` to `[num_dst, out]`."""
    messages = torch.einsum("ei,eio->eo", x[grid.src], weight[grid.edge_type])
    return x.new_zeros(grid.num_dst, weight.size(2)).index_add(0, grid.dst, messages)


@st.composite
def hyper_parameters(draw: st.DrawFn) -> dict[str, Any]:
    dimensions = draw(st.integers(1, 3))

    def each(lowest: int, highest: int) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*[st.integers(lowest, highest)] * dimensions)

    kernel_size, dilation = draw(each(1, 4)), draw(each(1, 3))
    padding = draw(st.one_of(each(0, 4), st.sampled_from(["same", "valid"])))
    stride = (1,) * dimensions if padding == "same" else draw(each(1, 3))
    shape = draw(each(1, {1: 12, 2: 8, 3: 5}[dimensions]))
    border = padding if isinstance(padding, tuple) else (0,) * dimensions
    for extent, kernel, gap, one in zip(shape, kernel_size, dilation, border, strict=True):
        assume(padding == "same" or gap * (kernel - 1) + 1 <= extent + 2 * one)
    return {
        "shape": shape,
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "batch": draw(st.integers(1, 3)),
    }


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@settings(max_examples=150, deadline=None)
@given(hyper_parameters(), st.integers(0, 2**31))
def test_a_typed_linear_message_on_a_grid_is_a_convolution(chosen: dict[str, Any], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    grid = topology.grid(**chosen)
    images = torch.randn(chosen["batch"], 2, *chosen["shape"], dtype=torch.float64, generator=random)
    weight = torch.randn(3, 2, *chosen["kernel_size"], dtype=torch.float64, generator=random)
    options = {name: chosen[name] for name in ("stride", "padding", "dilation")}
    theirs = CONVOLUTIONS[len(chosen["shape"])](images, weight, **options)
    assert theirs.shape[2:] == grid.out_shape == grid.dst_shape
    ours = convolve(rows(images), grid, weight.flatten(2).permute(2, 1, 0))
    assert_close(ours, rows(theirs), atol=1e-10)
    assert grid.num_edges == grid.edge_index.size(1)
    assert torch.equal(grid.in_degree, torch.bincount(grid.dst, minlength=grid.num_dst))
    assert torch.equal(grid.out_degree, torch.bincount(grid.src, minlength=grid.num_src))


@settings(max_examples=60, deadline=None)
@given(hyper_parameters(), st.integers(0, 2**31))
def test_on_the_reversed_grid_it_is_a_transposed_convolution(chosen: dict[str, Any], seed: int) -> None:
    assume(isinstance(chosen["padding"], tuple))
    random = torch.Generator().manual_seed(seed)
    grid = topology.grid(**chosen).reverse()
    assert (grid.src_shape, grid.dst_shape) == (grid.out_shape, grid.in_shape)
    images = torch.randn(chosen["batch"], 2, *grid.src_shape, dtype=torch.float64, generator=random)
    weight = torch.randn(2, 3, *chosen["kernel_size"], dtype=torch.float64, generator=random)
    options = {name: chosen[name] for name in ("stride", "padding", "dilation")}
    # What the last, incomplete step of the forward convolution leaves over is torch's output_padding.
    reach = [d * (k - 1) + 1 for d, k in zip(grid.dilation, grid.kernel_size, strict=True)]
    left_over = [
        (extent + 2 * p - r) % s
        for extent, p, r, s in zip(grid.in_shape, chosen["padding"], reach, grid.stride, strict=True)
    ]
    assume(all(o < max(s, d) for o, s, d in zip(left_over, grid.stride, grid.dilation, strict=True)))
    transposed = TRANSPOSED[len(grid.in_shape)]
    theirs = transposed(images, weight, output_padding=left_over, **options)
    ours = convolve(rows(images), grid, weight.flatten(2).permute(2, 0, 1))
    assert_close(ours, rows(theirs), atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(hyper_parameters(), st.integers(0, 2**31))
def test_on_a_periodic_grid_it_is_a_convolution_with_circular_padding(
    chosen: dict[str, Any], seed: int
) -> None:
    dimensions = len(chosen["shape"])
    layer = [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d][dimensions - 1]
    options = {name: chosen[name] for name in ("kernel_size", "stride", "padding", "dilation")}
    grid = topology.grid(**chosen, periodic=True)
    # Torch refuses to go round more than once.
    assume(all(max(pad) <= n for pad, n in zip(grid.padding, grid.in_shape, strict=True)))
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(chosen["batch"], 2, *chosen["shape"], dtype=torch.float64, generator=random)
    conv = layer(2, 3, **options, padding_mode="circular", bias=False, dtype=torch.float64)
    weight = conv.weight.detach().flatten(2).permute(2, 1, 0)
    assert_close(convolve(rows(images), grid, weight), rows(conv(images).detach()), atol=1e-10)


def test_a_window_is_a_pooling_window() -> None:
    images = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    grid = topology.grid((7, 6), 3, stride=2, padding=1, batch=2)
    x = rows(images)
    index = grid.dst[:, None].expand(-1, 3)
    ours = x.new_zeros(grid.num_dst, 3).scatter_reduce(0, index, x[grid.src], "amax", include_self=False)
    assert_close(ours, rows(F.max_pool2d(images, 3, stride=2, padding=1)), atol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.data())
def test_windows_of_an_adaptive_grid_are_those_of_adaptive_pooling(
    dimensions: int, data: st.DataObject
) -> None:
    extent = st.integers(1, {1: 40, 2: 12, 3: 6}[dimensions])
    shape, out_shape = (tuple(data.draw(extent) for _ in range(dimensions)) for _ in range(2))
    grid = topology.adaptive_grid(shape, out_shape, batch=2)
    images = torch.randn(2, 3, *shape, dtype=torch.float64)
    x = rows(images)
    mean = x.new_zeros(grid.num_dst, 3).index_add(0, grid.dst, x[grid.src]) / grid.in_degree[:, None]
    pool: Callable[..., Tensor] = getattr(F, f"adaptive_avg_pool{dimensions}d")
    assert_close(mean, rows(pool(images, out_shape)), atol=1e-10)
    assert grid.num_edges == grid.edge_index.size(1)
    assert grid.edge_type is not None
    assert int(grid.edge_type.max()) == grid.num_edge_types - 1


def test_a_grid_with_holes_is_a_convolution_that_leaves_them_out() -> None:
    images = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    there = torch.rand(6, 7) < 0.6
    pixels = there.flatten()
    part, _ = topology.grid((6, 7), 3, padding=1).subgraph((pixels, pixels))
    messages = weight.flatten(2).permute(2, 1, 0)[part.edge_type]
    seen = torch.einsum("ei,eio->eo", rows(images)[pixels][part.src], messages)
    ours = seen.new_zeros(part.num_dst, 3).index_add(0, part.dst, seen)
    theirs = F.conv2d(images * there, weight, padding=1)
    assert_close(ours, rows(theirs)[pixels], atol=1e-10)


def test_edges_are_listed_by_output_and_then_by_type() -> None:
    shape, kernel, stride, padding, dilation = (4, 5), (2, 3), (2, 1), (1, 2), (1, 2)
    grid = topology.grid(shape, kernel, stride, padding, dilation, batch=2)
    expected = []
    for image, row, column in product(range(2), *map(range, grid.out_shape)):
        for kind, (a, b) in enumerate(product(*map(range, kernel))):
            r, c = row * stride[0] - padding[0] + a * dilation[0], column - padding[1] + b * dilation[1]
            if 0 <= r < shape[0] and 0 <= c < shape[1]:
                source = (image * shape[0] + r) * shape[1] + c
                out = (image * grid.out_shape[0] + row) * grid.out_shape[1] + column
                expected.append((source, out, kind))
    assert grid.edge_type is not None
    assert list(zip(*grid.edge_index.tolist(), grid.edge_type.tolist(), strict=True)) == expected


def test_padding_may_differ_in_front_and_behind() -> None:
    images = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    weight = torch.randn(3, 2, 2, 3, dtype=torch.float64)
    grid = topology.grid((4, 5), (2, 3), padding=((0, 1), (3, 0)))
    theirs = F.conv2d(F.pad(images, (3, 0, 0, 1)), weight)
    assert_close(convolve(rows(images), grid, weight.flatten(2).permute(2, 1, 0)), rows(theirs), atol=1e-10)


def test_one_dimension_only_may_be_periodic() -> None:
    images = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    grid = topology.grid((4, 5), 3, padding=1, periodic=(False, True))
    theirs = F.conv2d(F.pad(images, (1, 1, 0, 0), mode="circular"), weight, padding=(1, 0))
    assert_close(convolve(rows(images), grid, weight.flatten(2).permute(2, 1, 0)), rows(theirs), atol=1e-10)


def test_a_periodic_dimension_may_be_gone_round_several_times() -> None:
    grid = topology.grid(2, 5, padding=2, periodic=True)
    assert grid.src.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_its_description_is_complete() -> None:
    grid = topology.grid([8, 6], 3, stride=2, padding=(1, 0), batch=4)
    assert grid.description == {
        "in_shape": (8, 6),
        "out_shape": (4, 2),
        "kernel_size": (3, 3),
        "stride": (2, 2),
        "padding": ((1, 1), (0, 0)),
        "dilation": (1, 1),
        "periodic": (False, False),
    }
    assert grid.num_graphs == 4
    assert grid.node_ptr.tolist() == [0, 8, 16, 24, 32]
    assert grid.graph_sizes == [(48, 8)] * 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: topology.grid((), 3), ValueError, "shape is empty"),
        (lambda: topology.grid((0, 3), 1), ValueError, r"shape\[0\] is 0, but must be at least 1"),
        (lambda: topology.grid((5, 5), (3, 3, 3)), ValueError, "kernel_size is .* one integer or 2"),
        (lambda: topology.grid(5, 0), ValueError, r"kernel_size is 0, but must be at least 1"),
        (lambda: topology.grid(5, 3, stride=0), ValueError, "stride is 0"),
        (lambda: topology.grid(5, 3, dilation=-1), ValueError, "dilation is -1"),
        (lambda: topology.grid(5, 3, padding=-1), ValueError, "padding is -1, but must be at least 0"),
        (lambda: topology.grid(5, 3, padding="full"), ValueError, "padding is 'full', but must be"),
        (lambda: topology.grid((5, 5), 3, padding=(1,)), ValueError, "needs one entry per dimension, 2"),
        (lambda: topology.grid(5, 3, 2, padding="same"), ValueError, r"needs stride 1, but stride is \(2,\)"),
        (lambda: topology.grid(5, 3, batch=-1), ValueError, "batch is -1, but must be at least 0"),
        (
            lambda: topology.grid(5, 3, stride=1.0),  # type: ignore[arg-type]
            TypeError,
            "stride is 1.0, but must be an integer",
        ),
        (
            lambda: topology.grid((9, 4), 3, dilation=3),
            ValueError,
            r"kernel_size\[1\] is 3, which with dilation 3 spans 7 pixels, but the input has only 4",
        ),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Grid], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
