"""Random numbers by counter: the same in C as in PyTorch's operations, whatever asks for them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mpnn import uniforms


class Watched(TorchDispatchMode):
    """A mode that sees each operation, and so keeps C away."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def by_operations(*given: object, **options: object) -> Tensor:
    """The same numbers, by PyTorch's operations."""
    with Watched():
        return uniforms(*given, **options)  # type: ignore[arg-type]


SIZES = st.lists(st.integers(0, 5), min_size=1, max_size=4) | st.tuples(
    st.integers(0, 40), st.integers(0, 40)
)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**40), 2**40),
    SIZES,
    st.sampled_from([torch.float32, torch.float64]),
)
def test_c_draws_the_numbers_of_the_operations(
    seed: int, sweep: int, size: tuple[int, ...], dtype: torch.dtype
) -> None:
    ours, theirs = uniforms(seed, sweep, size, dtype=dtype), by_operations(seed, sweep, size, dtype=dtype)
    assert ours.shape == tuple(size)
    assert torch.equal(ours, theirs)
    assert ours.dtype == theirs.dtype == dtype


@pytest.mark.parametrize(
    "size", [(70_001,), (9000, 1), (5000, 15), (300, 16), (2, 10_001), (1, 100_001), (3, 5, 4099)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_long_rows_and_many_rows_have_the_same_numbers_on_any_number_of_threads(
    size: tuple[int, ...], threads: int
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(uniforms(5, 7, size), by_operations(5, 7, size))
    finally:
        torch.set_num_threads(before)


def test_a_compiled_function_and_another_device_draw_the_same() -> None:
    def doubled(size: int) -> Tensor:
        return 2 * uniforms(3, 1, (size, 4))

    compiled = torch.compile(doubled, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(6), doubled(6))
    assert uniforms(0, 0, (3, 2), device="meta").is_meta
    with torch.device("meta"):
        assert uniforms(0, 0, (3, 2)).is_meta
