"""Large tensors get the memory of freed tensors, never that of living ones, and are ordinary otherwise."""

from __future__ import annotations

import copy
import gc
import io
import mmap
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mpnn
from mpnn import Graph
from mpnn.native import pool
from mpnn.native.pool import empty, release_kept_memory

KB = 1 << 10


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pool, "LARGE", KB)
    monkeypatch.setattr(pool, "_left_to_malloc", False)
    release_kept_memory()
    yield
    release_kept_memory()


def kept() -> int:
    gc.collect()
    return sum(size * len(regions) for size, regions in pool._free.items())


def test_a_freed_tensor_leaves_its_memory_to_the_next() -> None:
    first = empty((100, 50), torch.float32)
    place = first.data_ptr()
    second = empty((100, 50), torch.float32)
    assert second.data_ptr() != place
    del first
    assert kept() > 0
    third = empty((50, 49), torch.float64)  # nearly as large
    assert third.data_ptr() == place and third.shape == (50, 49) and third.is_contiguous()
    del third
    release_kept_memory()
    assert kept() == 0


def test_a_view_or_an_array_keeps_the_memory() -> None:
    tensor = empty((64, 64), torch.float32).fill_(1.0)
    row, array = tensor[3], tensor.numpy()[5]
    place = tensor.data_ptr()
    del tensor
    others = [empty((64, 64), torch.float32).fill_(2.0) for _ in range(4)]
    assert all(o.data_ptr() != place for o in others)
    assert row.eq(1).all() and (array == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 900)), max_size=40))
def test_living_tensors_never_share_memory(steps: list[tuple[bool, int, int]]) -> None:
    alive: dict[int, torch.Tensor] = {}
    for k, (frees, which, size) in enumerate(steps):
        if frees and alive:
            alive.pop(list(alive)[which % len(alive)])
        else:
            alive[k] = empty((size, 3), torch.float32).fill_(k)
    for k, tensor in alive.items():
        assert tensor.eq(k).all()


def test_a_tensor_of_the_pool_is_saved_copied_trained_and_shared_as_any_other() -> None:
    tensor = empty((30, 40), torch.float32).normal_()
    assert tensor._base is None and tensor.storage_offset() == 0
    file = io.BytesIO()
    torch.save(tensor, file)
    assert len(file.getvalue()) < tensor.nbytes + 4 * KB
    file.seek(0)
    assert torch.equal(torch.load(file), tensor)
    assert torch.equal(copy.deepcopy(tensor), tensor)
    parameter = torch.nn.Parameter(tensor)
    (parameter.square().sum()).backward()
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad, 2 * tensor)
    shared = tensor.clone()
    assert torch.equal(tensor.share_memory_(), shared) and tensor.is_shared()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32, torch.bool])
@pytest.mark.parametrize("shape", [(2 * KB,), (300, 2, 5), (KB, 0), (0,)])
def test_any_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = empty(shape, dtype)
    like = torch.empty(shape, dtype=dtype)
    assert (tensor.shape, tensor.stride(), tensor.dtype) == (like.shape, like.stride(), like.dtype)
    assert tensor.fill_(1).ne(0).all()


def test_no_more_is_kept_than_a_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_most", lambda: 20 * KB)
    tensors = [empty((n, KB), torch.uint8) for n in (4, 4, 4, 8, 16)]
    while tensors:
        tensors.pop(0)
        assert kept() <= 20 * KB
    assert 16 * KB in pool._free and pool._free[16 * KB], "the sizes that came first went first"
    huge = empty((64, KB), torch.uint8)
    del huge
    assert kept() <= 20 * KB


def test_what_is_kept_is_let_go_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_one = empty((64, 64), torch.float32)
    del kept_one

    def no_memory(*arguments: int, **options: int) -> None:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", no_memory)
    assert empty((640, 64), torch.float32).shape == (640, 64)
    assert kept() == 0


def test_the_share_is_of_what_the_process_may_take() -> None:
    assert 1 << 20 < pool._most() <= (1 << 50)
    assert pool._most() * pool.SHARE <= int(Path("/proc/meminfo").read_text().split()[1]) * KB * 1.01


def test_threads_take_and_free_at_once() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for k in range(300):
            tensor = empty((k % 7 + 1, KB), torch.int32).fill_(number)
            if not tensor.eq(number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _fill_what_was_left(
    expected: float, tensor: torch.Tensor, answers: multiprocessing.SimpleQueue[bool]
) -> None:
    fresh = [empty((64, 64), torch.float32).fill_(-1.0) for _ in range(8)]
    answers.put(bool(tensor.eq(expected).all()) and len(fresh) == 8)


def test_a_forked_process_has_memory_of_its_own() -> None:
    left, tensor = empty((64, 64), torch.float32), empty((64, 64), torch.float32).fill_(3.0)
    del left
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[bool] = context.SimpleQueue()
    process = context.Process(target=_fill_what_was_left, args=(3.0, tensor, answers))
    process.start()
    mine = empty((64, 64), torch.float32).fill_(7.0)
    process.join()
    assert answers.get()
    assert mine.eq(7).all() and tensor.eq(3).all()


def test_layers_use_it_and_train_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    graph = Graph(torch.randint(60, (2, 400), generator=generator), 60)
    x = torch.randn(60, 16, generator=generator)

    def train() -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = mpnn.models.GNN(16, 32, 4, 3, conv="sage", aggr="max")
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(4):
            optimizer.zero_grad()
            model(x, graph).square().mean().backward()
            optimizer.step()
        return [p.detach().clone() for p in model.parameters()]

    pooled = train()
    assert kept() > 0
    monkeypatch.setattr(pool, "LARGE", 1 << 40)
    for mine, other in zip(pooled, train(), strict=True):
        assert torch.equal(mine, other)


def test_after_keep_freed_memory_the_pool_keeps_nothing() -> None:
    before, tensor = empty((64, 64), torch.float32), empty((64, 64), torch.float32)
    del before
    pool.leave_to_malloc()
    del tensor
    assert kept() == 0
    after = empty((64, 64), torch.float32)
    del after
    assert kept() == 0


class _Ones(torch.autograd.Function):
    places: ClassVar[set[int]] = set()

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.new_ones(())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = empty((64, 64), torch.float32).fill_(1.0)
        _Ones.places.add(gradient.data_ptr())
        return gradient


def test_gradients_are_added_in_place() -> None:
    x = torch.zeros(64, 64, requires_grad=True)
    (_Ones.apply(x) + _Ones.apply(x)).backward()
    assert x.grad is not None and x.grad.eq(2).all()
    assert x.grad.data_ptr() in _Ones.places, "the sum took a third tensor"


def test_a_process_that_still_has_tensors_ends_well() -> None:
    code = """
import torch, mpnn
from mpnn.native import pool
pool.LARGE = 1
class Node: pass
ring = Node(); ring.itself, ring.tensor = ring, pool.empty((100, 100), torch.float32)
torch.held = pool.empty((100, 100), torch.float32)
left = pool.empty((100, 100), torch.float32); del left
x = torch.randn(50, 8, requires_grad=True)
out = mpnn.models.SAGEConv(8, 8, aggr="max")(x, mpnn.Graph(torch.randint(50, (2, 200)), 50))
out.sum().backward(retain_graph=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
