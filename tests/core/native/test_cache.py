"""The cache of kernels stays small and clean, and a second process starts no compiler."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mpnn.native import cache, command, compiler, threads, toolchain, whole

KERNEL = "int number(void) { return %d; }"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, in a process that has looked for no compiler."""
    monkeypatch.setenv("MPNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MPNN_CACHE_SIZE", raising=False)
    monkeypatch.setattr(cache, "_said", set())
    toolchain.find_toolchain.cache_clear()
    yield tmp_path / "cache"
    toolchain.find_toolchain.cache_clear()


def _kernel(number: int) -> Path:
    return compiler.load(KERNEL % number).path


def _age(path: Path, seconds: float) -> None:
    for file in path.parent.glob(f"{path.stem}.*"):
        os.utime(file, (time.time() - seconds,) * 2)


# Its size -------------------------------------------------------------------------------------------------


def test_the_kernels_that_were_not_used_for_the_longest_time_go_first(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = [_kernel(k) for k in range(4)]
    for k, path in enumerate(kernels):
        _age(path, 1000 - k)
    assert compiler.load(KERNEL % 0).number() == 0  # used again
    size = sum(file.stat().st_size for file in fresh.glob(f"{kernels[0].stem}.*"))
    monkeypatch.setenv("MPNN_CACHE_SIZE", str(int(2.5 * size)))
    cache.tidy(fresh)
    assert [path.exists() for path in kernels] == [True, False, False, True]
    assert not list(fresh.glob(f"{kernels[1].stem}.*"))  # nor its source, nor its sum
    assert compiler.load(KERNEL % 1).number() == 1


def test_a_kernel_that_was_just_made_stays_however_small_the_cache(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPNN_CACHE_SIZE", "1")
    monkeypatch.setattr(compiler, "TIDY_EVERY", 1)
    paths = [_kernel(k) for k in range(3)]
    assert [path.exists() for path in paths] == [False, False, True]


@pytest.mark.parametrize(
    ("given", "limit"),
    [("", 1 << 30), ("1000", 1000), ("500M", 500 << 20), ("1.5g", 3 << 29), ("2 GiB", 2 << 30), ("0", 0)],
)
def test_the_size_is_read_in_the_usual_units(given: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNN_CACHE_SIZE", given)
    assert cache.limit() == limit


def test_a_size_that_is_none_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNN_CACHE_SIZE", "large")
    with pytest.warns(RuntimeWarning, match="MPNN_CACHE_SIZE is 'large', but must be a number of bytes"):
        assert cache.limit() == 1 << 30
    assert cache.limit() == 1 << 30


def test_only_what_is_the_caches_own_is_removed(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kernel(5)
    mine = [fresh / "thesis.txt", fresh / "build-notes" / "a.txt", fresh / ("a" * 31 + ".so")]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        os.utime(file, (0, 0))
    os.utime(mine[1].parent, (0, 0))
    monkeypatch.setenv("MPNN_CACHE_SIZE", "0")
    cache.tidy(fresh)
    assert cache.clear() > 0
    assert sorted(p for p in fresh.rglob("*") if p.is_file()) == sorted(mine)


def test_clear_empties_the_cache_and_contents_counts_it(fresh: Path) -> None:
    paths = [_kernel(k) for k in range(2)]
    found = cache.contents()
    assert found is not None
    files = [file for path in paths for file in fresh.glob(f"{path.stem}.*")]
    tools = list(fresh.glob("*.tools"))
    assert found.num_files == len(files) + len(tools)
    assert found.num_bytes == sum(file.stat().st_size for file in [*files, *tools])
    assert cache.clear() == found.num_files
    assert list(fresh.iterdir()) == []


# What dead processes left ---------------------------------------------------------------------------------


def test_drafts_of_dead_processes_are_removed_and_those_at_work_are_kept(fresh: Path) -> None:
    fresh.mkdir(mode=0o700)
    old, new = fresh / "build-123-abc", fresh / "build-124-abc"
    for draft in (old, new):
        draft.mkdir()
        (draft / "kernel.c").write_text("int")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.tidy(fresh)
    assert not old.exists()
    assert new.exists()


def test_a_folder_for_one_process_goes_with_it_and_not_with_its_child(tmp_path: Path) -> None:
    script = """
import os, sys, tempfile
from mpnn.native import cache
folder = cache.session_folder()
if os.fork() == 0:
    sys.exit()
os.wait()
assert folder.is_dir()
print(folder)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    dead = tmp_path / "mpnn-999999999-left"
    dead.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()
    assert not dead.exists()


def test_a_child_goes_on_alone_after_its_parent_ran_kernels_on_several_threads() -> None:
    script = """
import os, torch, mpnn
torch.set_num_threads(2)
edges, x = torch.randint(5000, (2, 200_000)), torch.randn(5000, 16)
def step():
    return mpnn.propagate(edges, lambda x_i, x_j: (x_i - x_j).abs(), "sum", x=x)
before = step()
if os.fork() == 0:
    os._exit(0 if torch.equal(step(), before) and torch.get_num_threads() == 1 else 1)
assert os.wait()[1] == 0
assert torch.get_num_threads() == 2
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_little_work_takes_one_thread() -> None:
    assert threads.threads_for(9, 10) == 1
    assert threads.threads_for(10, 10) == torch.get_num_threads()


# The compiler ---------------------------------------------------------------------------------------------


def test_a_second_process_starts_neither_the_compiler_nor_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    path, found = _kernel(7), toolchain.toolchain()
    toolchain.find_toolchain.cache_clear()
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("a program was started"))
    assert toolchain.toolchain() == found
    assert _kernel(7) == path


WARM = """
import os, sys, tempfile, torch
started = []
sys.addaudithook(lambda event, given: started.append((event, given)) if event in STARTS else None)
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "os.system", "tempfile.mkdtemp"}
import mpnn
x = torch.arange(12.0).view(4, 3).requires_grad_()
edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
out = mpnn.propagate(edge_index, lambda x_i, x_j: (x_i - x_j).relu() * x_j, "max", x=x)
out.sum().backward()
assert IS_COLD or started == [], started
assert len(started) > 0 or not IS_COLD
print(out.sum().item(), x.grad.sum().item())
"""


def test_a_warm_process_needs_no_compiler_no_temporary_folder_and_no_other_process(
    fresh: Path, tmp_path: Path
) -> None:
    """The compiler's file, which the kernels are of, is there: but whatever runs it fails, and is seen."""

    def said(*, is_cold: bool, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WARM.replace("IS_COLD", str(is_cold))],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    compiler_file = toolchain.toolchain().compiler
    first = said(is_cold=True, CC=compiler_file)
    files = sorted(fresh.iterdir())
    nowhere = str(tmp_path / "nowhere")
    assert said(is_cold=False, CC=compiler_file, PATH=nowhere, TMPDIR=nowhere) == first
    assert sorted(fresh.iterdir()) == files, "the warm process wrote into the cache"
    with pytest.raises(AssertionError, match=r"subprocess\.Popen|mkdtemp"):
        said(is_cold=False, CC=compiler_file, MPNN_CFLAGS="-DANOTHER")  # a cold one is found


def test_what_is_kept_of_a_compiler_is_of_this_very_file_and_these_flags(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain.toolchain()
    (kept,) = fresh.glob("*.tools")
    toolchain.find_toolchain.cache_clear()
    monkeypatch.setenv("MPNN_CFLAGS", "-DOTHER")
    toolchain.toolchain()
    assert len(list(fresh.glob("*.tools"))) == 2
    kept.write_text("[1, 2]")
    monkeypatch.delenv("MPNN_CFLAGS")
    toolchain.find_toolchain.cache_clear()
    assert toolchain.toolchain().flags  # found anew


def test_of_a_script_that_stands_for_a_compiler_nothing_is_kept(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "a-compiler"
    script.write_text(f'#!/bin/sh\nexec {toolchain.toolchain().compiler} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    cache.clear()
    toolchain.find_toolchain.cache_clear()
    assert toolchain.toolchain().compiler == str(script)
    assert not list(fresh.glob("*.tools"))


def test_what_is_loaded_is_whole(fresh: Path) -> None:
    path = _kernel(8)
    assert whole.is_whole(path)
    assert ctypes.CDLL(str(path)).number() == 8
