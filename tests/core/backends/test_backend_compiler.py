"""No fault of the compiler, the disk or the cache stops a computation, or changes its result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn.backends.run import fused, plans
from mpnn.native import cache, compiler, sort, toolchain, whole
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, KERNEL, ways

generator = torch.Generator().manual_seed(6)
x = torch.randn(9, 4, dtype=torch.float64, generator=generator)


def message(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i - x_j).relu() * x_j


def step() -> list[Tensor]:
    own = x.clone().requires_grad_()
    out = mpnn.propagate(random_graph(), message, "max", x=own)
    return [out, *torch.autograd.grad(out.sin().sum(), own)]


def assert_right() -> None:
    with mpnn.backend("eager"):
        expected = step()
    for ours, theirs in zip(step(), expected, strict=True):
        assert_close(ours, theirs)


CACHED = (toolchain.find_toolchain, cache._session, compiler.has_compiler, sort._sorter)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process that has compiled nothing yet, with an empty cache."""

    def forget() -> None:
        if cache._session.cache_info().currsize:
            shutil.rmtree(cache._session(os.getpid()), ignore_errors=True)
        for cached in CACHED:
            cached.cache_clear()
        plans._plans.clear()

    forget()
    monkeypatch.setattr(fused, "_warned", False)
    monkeypatch.setattr(toolchain, "hung", [])
    monkeypatch.setattr(compiler, "hung", toolchain.hung)
    monkeypatch.setattr(cache, "_said", set())
    monkeypatch.setenv("MPNN_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    monkeypatch.undo()
    forget()


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so")) if folder.exists() else []


# The cache ----------------------------------------------------------------------------------------------


def test_kernels_go_to_the_named_folder_and_come_back_from_it(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ways(step) == [KERNEL]
    made = libraries(fresh)
    assert made
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    plans._plans.clear()
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert_right()
    assert libraries(fresh) == made


def test_without_a_name_the_cache_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPNN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_right()
    assert libraries(tmp_path / ".cache" / "mpnn")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "mpnn"


def test_a_relative_folder_is_one_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("MPNN_CACHE", ".")
    assert_right()
    assert libraries(tmp_path)


def test_a_damaged_library_is_made_again(fresh: Path) -> None:
    step()
    for library in libraries(fresh):
        library.unlink()
        library.write_bytes(b"not a library")
    # What is loaded stays loaded: another process finds the damage.
    done = start_elsewhere({"MPNN_CACHE": str(fresh)}, warnings="always")
    assert "was cut off or changed" in done.communicate(timeout=120)[1]
    assert done.returncode == 0


def cut(content: bytes, part: float) -> bytes:
    return content[: int(len(content) * part)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut to a tenth": lambda content: cut(content, 0.1),
    "cut in half": lambda content: cut(content, 0.5),
    "its end is zeros": lambda content: cut(content, 0.5) + bytes(len(content) - len(content) // 2),
    "one bit is another": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_library_that_is_not_whole_is_made_again(fresh: Path, damage: str) -> None:
    (path,) = {compiler.load("int seven(void) { return 7; }").path}
    content = path.read_bytes()
    path.unlink()  # what is loaded stays as it is
    path.write_bytes(DAMAGES[damage](content))
    with pytest.warns(RuntimeWarning, match=f"compiles a kernel again: {path} was cut off or changed"):
        assert compiler.load("int seven(void) { return 7; }").seven() == 7
    assert path.read_bytes() == content


def test_a_library_that_is_gone_or_a_pipe_in_its_place_is_made_again(fresh: Path) -> None:
    source = "int eight(void) { return 8; }"
    path = compiler.load(source).path
    assert path.parent == fresh
    path.unlink()
    assert compiler.load(source).eight() == 8
    path.unlink()
    os.mkfifo(path)
    with pytest.warns(RuntimeWarning, match="was cut off or changed"):
        assert compiler.load(source).eight() == 8
    assert whole.is_whole(path)


def test_a_library_that_another_process_makes_in_this_moment_is_not_called_damaged(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "int ten(void) { return 10; }"
    path = compiler.load(source).path
    away, is_whole = path.rename(path.with_suffix(".away")), whole.is_whole

    def looked(path: Path) -> bool:
        try:
            return is_whole(path)
        finally:
            away.rename(path)

    monkeypatch.setattr(whole, "is_whole", looked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiler.load(source).ten() == 10
    assert {one.suffix for one in path.parent.iterdir()} <= {".so", ".c", ".tools"}


def test_a_good_library_that_cannot_be_loaded_now_is_kept(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "int nine(void) { return 9; }"
    path = compiler.load(source).path
    monkeypatch.setattr(compiler, "Library", _no_descriptors)
    with pytest.raises(toolchain.CompilerError, match="Too many open files"):
        compiler.load(source)
    assert whole.is_whole(path)


def _no_descriptors(path: str) -> compiler.Library:
    raise OSError(24, "Too many open files", path)


def test_a_home_that_does_not_exist_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPNN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    with pytest.warns(RuntimeWarning, match="anew in each process: .*/proc/nowhere.*name a folder"):
        assert cache.cache_folder() is None
    assert ways(step) == [KERNEL]  # and says no more
    assert_right()


def test_a_missing_home_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MPNN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.warns(RuntimeWarning, match="Could not determine home directory"):
        assert cache.cache_folder() is None
    assert_right()


def test_a_folder_that_cannot_be_written_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access  # root can write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != fresh and access(path, mode))
    with pytest.warns(RuntimeWarning, match=f"{fresh} cannot be written to: name another folder"):
        assert cache.cache_folder() is None
    assert_right()
    assert not libraries(fresh)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(fresh: Path, mode: int) -> None:
    fresh.mkdir()
    fresh.chmod(mode)
    with pytest.warns(RuntimeWarning, match=f"others can write to {fresh}.*: chmod go-w {fresh}"):
        assert cache.cache_folder() is None
    assert_right()
    assert not libraries(fresh)


def test_a_folder_of_another_user_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: fresh.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match=f"{fresh} belongs to another user"):
        assert cache.cache_folder() is None
    assert_right()
    assert not libraries(fresh)


def test_a_full_disk_sends_kernels_elsewhere(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(self: Path, *args: Any, **options: Any) -> int:
        if fresh in self.parents:
            raise OSError(28, "No space left on device")
        return write(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    assert ways(step) == [KERNEL]
    assert_right()
    assert list(fresh.iterdir()) == []


def test_a_disk_that_fills_while_compiling_too(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = toolchain.make

    def full(command: list[str], seconds: float) -> None:
        if str(fresh) in command[-1] or any(str(fresh) in word for word in command):
            raise OSError("fatal error: error writing to kernel.o: No space left on device")
        make(command, seconds)

    monkeypatch.setattr(compiler, "make", full)
    assert ways(step) == [KERNEL]
    assert_right()


def test_no_room_anywhere_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiler, "_compile", full)
    with pytest.warns(RuntimeWarning, match="without compiled kernels: no folder can hold a compiled kernel"):
        step()
    assert ways(step) == [CHUNKS]
    assert_right()


# The compiler -------------------------------------------------------------------------------------------


def test_no_compiler_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.warns(RuntimeWarning, match=r"no C compiler was found \(no-such-compiler\)"):
        step()
    assert ways(step) == [CHUNKS]
    assert_right()


def test_a_compiler_that_makes_nothing_that_runs_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_self_test", lambda *_: "it crashed")
    with pytest.warns(RuntimeWarning, match="makes no program that runs here: it crashed"):
        step()
    assert ways(step) == [CHUNKS]
    assert_right()


def test_instructions_that_crash_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "SELF_TEST", toolchain.SELF_TEST.replace("int main", CRASH + "int main"))
    assert not any(flag.startswith("-march") for flag in toolchain.toolchain().flags)
    assert ways(step) == [KERNEL]
    assert_right()


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A compiler that is a shell script."""
    path = folder / "a-compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    monkeypatch.setenv("CC", str(path))
    monkeypatch.setattr(toolchain, "SHORT_PATIENCE", 0.5)
    monkeypatch.setattr(compiler, "PATIENCE", 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sleep 1000", r"--version says nothing: .*a-compiler has not ended after 0.5 seconds"),
        ('[ "$1" = --version ] || sleep 1000 & wait', "a-compiler has not ended after 0.5 seconds"),
        ("printf '\\344\\377 no' >&2; exit 1", "a-compiler failed: \ufffd\ufffd no"),
        ("exit 0", "a-compiler failed: it made nothing"),
    ],
)
def test_a_compiler_that_hangs_or_cannot_be_read_or_makes_nothing_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    script(tmp_path, monkeypatch, text)
    with pytest.warns(RuntimeWarning, match=words):
        step()
    assert ways(step) == [CHUNKS]


def test_a_compiler_that_hangs_later_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.toolchain()
    monkeypatch.setattr(compiler, "PATIENCE", 0.0)
    for _ in range(3):
        with pytest.raises(toolchain.HangsError):
            compiler.load("int ten(void) { return 10; }")
    assert len(toolchain.hung) == 1


def test_flags_that_only_some_compilers_know_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "WISHES", ("-fno-such-wish", *toolchain.WISHES))
    assert "-fno-such-wish" not in toolchain.toolchain().flags
    if "clang" not in toolchain.toolchain().version:
        assert set(toolchain.WISHES[1:]) <= set(toolchain.toolchain().flags)
    assert ways(step) == [KERNEL]
    assert_right()


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_clang_works_as_gcc_does(fresh: Path) -> None:
    done = start_elsewhere({"MPNN_CACHE": str(fresh), "CC": "clang", "OMP_NUM_THREADS": "2"})
    assert done.communicate(timeout=300)[1] == ""
    assert done.returncode == 0
    (kept,) = fresh.glob("*.tools")
    found = toolchain.Toolchain(*json.loads(kept.read_text()))
    assert "clang" in found.version
    assert ("-fopenmp" in found.flags) == bool(found.openmp)  # its own library, where that is installed


def test_more_flags_make_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "int answer(void) { return ANSWER; }"
    for answer in (41, 42):
        monkeypatch.setenv("MPNN_CFLAGS", f"-DANSWER={answer} '-DWORDS=two words'")
        toolchain.find_toolchain.cache_clear()
        assert compiler.load(source).answer() == answer
    monkeypatch.setenv("MPNN_CFLAGS", "'")
    toolchain.find_toolchain.cache_clear()
    with pytest.raises(toolchain.CompilerError, match='MPNN_CFLAGS is "\'", which is no list of flags'):
        compiler.load(source)


def test_a_crash_is_seen_where_the_parent_ignores_children(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            toolchain, "SELF_TEST", toolchain.SELF_TEST.replace("int main", CRASH + "int main")
        )
        assert not any(flag.startswith("-march") for flag in toolchain.toolchain().flags)
        assert_right()
        with pytest.raises(toolchain.CompilerError, match=r"failed: .*error"):
            compiler.load("this is no C")
    finally:
        signal.signal(signal.SIGCHLD, before)


# A program that dies where the processor's best instructions are asked for.
CRASH = """
#if defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD)
__attribute__((constructor)) static void die(void) { __builtin_trap(); }
#endif
"""


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_compiler_that_fails_later_is_said_once(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_, count = compiler._compile, [0]

    def fails(*args: Any) -> None:
        count[0] += 1
        if count[0] >= failing:
            raise toolchain.CompilerError("cc failed: internal compiler error")
        compile_(*args)

    with mpnn.backend("eager"):
        expected = step()
    monkeypatch.setattr(compiler, "_compile", fails)
    with pytest.warns(RuntimeWarning, match="without compiled kernels: cc failed"):
        found = step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = step()
    for ours in (found, again):
        for one, other in zip(ours, expected, strict=True):
            assert_close(one, other)


# Several processes --------------------------------------------------------------------------------------

ELSEWHERE = """
import torch, mpnn
ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
def message(x_i, x_j):
    return (x_i - x_j).relu() * x_j
x = torch.tensor([[1.0], [5.0], [2.0]], requires_grad=True)
out = mpnn.propagate(ring, message, "max", x=x)
out.sum().backward()
assert out.flatten().tolist() == [0.0, 4.0, 0.0], out
"""


def start_elsewhere(
    environment: dict[str, str], warnings: str = "error::RuntimeWarning"
) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", warnings, "-c", ELSEWHERE]
    whole = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, env=whole, stderr=subprocess.PIPE, text=True)


def test_processes_that_compile_the_same_kernel_at_once_do_not_meet(fresh: Path) -> None:
    started = [start_elsewhere({"MPNN_CACHE": str(fresh)}) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    assert libraries(fresh)
    assert not list(fresh.glob("build-*"))
