"""The door for files: what is no file, or unpacks without end, or promises too much, gets a sentence."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpnn import files


class WrongError(Exception):
    """What these tests ask for."""


# Reading --------------------------------------------------------------------------------------------------


def test_a_file_is_read_also_behind_links_and_packed(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    plain, link, packed = tmp_path / "a.bin", tmp_path / "link.bin", tmp_path / "b.gz"
    plain.write_bytes(content)
    link.symlink_to(plain)
    packed.write_bytes(gzip.compress(content) + gzip.compress(b"more") + bytes(10))
    assert files.read(plain, WrongError) == files.read(link, WrongError) == content
    assert files.read(packed, WrongError) == content + b"more"
    (tmp_path / "empty.gz").write_bytes(b"")
    assert files.read(tmp_path / "empty.gz", WrongError) == b""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_pipe, r"x.csv is a pipe, but should be a file"),
        (_folder, r"x.csv is a folder, but should be a file"),
        (_link_to_nothing, r"x.csv does not exist \(a link to nowhere\)"),
        (_link_to_a_pipe, r"x.csv is a pipe \(a link to pipe\), but should be a file"),
        (_nothing, r"x.csv does not exist"),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "x.csv"
    make(path)
    with pytest.raises(WrongError, match=words):
        files.read(path, WrongError)


def test_a_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zero"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")
    with pytest.raises(WrongError, match="zero is a device"):
        files.read(path, WrongError)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(WrongError, match="is no name of a file"):
        files.read(Path("a\0b"), WrongError)


def test_a_file_larger_than_the_free_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    monkeypatch.setattr(files, "free_memory", lambda: 999)
    with pytest.raises(WrongError, match="holds 1,000 bytes, but only 999 bytes of memory are free"):
        files.read(tmp_path / "a", WrongError)


def test_a_limit_of_memory_counts() -> None:
    script = """
import resource
from mpnn import files
taken = files.free_memory()
resource.setrlimit(resource.RLIMIT_AS, (20 << 30,) * 2)
print(taken, files.free_memory())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    free, bounded = map(int, done.stdout.split())
    assert bounded <= min(free + (1 << 28), 10 << 30)


def test_what_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LEAST", 1 << 20)
    bomb, fine = tmp_path / "bomb.csv.gz", tmp_path / "fine.csv.gz"
    bomb.write_bytes(gzip.compress(bytes(1 << 24)))
    fine.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(WrongError, match=r"bytes, and unpacks to more than 1,[06].*: unpack it first"):
        files.read(bomb, WrongError)
    assert len(files.read(fine, WrongError)) == 1 << 20


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:40] + b"?" + c[41:], lambda c: b"no gzip"])
def test_a_damaged_gzip_is_refused(tmp_path: Path, damage: Any) -> None:
    content = gzip.compress(np.random.default_rng(0).bytes(1000))
    (tmp_path / "a.gz").write_bytes(damage(content))
    with pytest.raises(WrongError, match=r"a.gz cannot be read"):
        files.read(tmp_path / "a.gz", WrongError)


# Arrays ---------------------------------------------------------------------------------------------------

ARRAYS: dict[str, Any] = {
    "floats": np.arange(12.0).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "flags": np.array([True, False]),
    "words": np.array(["a", "longer"]),
    "nothing": np.zeros((0, 3), dtype=np.float32),
    "one": np.array(7),
}


def _npz(packed: bool = False, **arrays: Any) -> bytes:
    made = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(made, **arrays)
    return made.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_those_of_numpy(packed: bool) -> None:
    found = files.Arrays(_npz(packed, **ARRAYS), Path("x.npz"), WrongError)
    assert set(found) == set(ARRAYS)
    for name, expected in ARRAYS.items():
        assert found[name].dtype == expected.dtype
        assert np.array_equal(found[name], expected)
        assert found[name].flags.writeable


def test_an_array_that_is_not_there_is_named() -> None:
    with pytest.raises(WrongError, match=r"x.npz has no array 'y', but floats"):
        files.Arrays(_npz(floats=ARRAYS["floats"]), Path("x.npz"), WrongError)["y"]


def test_objects_are_refused() -> None:
    content = _npz(a=np.array([{}], dtype=object))
    with pytest.raises(WrongError, match="'a' is damaged: it holds Python objects, which could run code"):
        files.Arrays(content, Path("x.npz"), WrongError)["a"]


def _header(shape: tuple[int, ...]) -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return made.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (10**9, 10**9), (2,), (-1,), (10**30,)])
def test_an_array_that_says_more_than_it_holds_is_refused_before_memory_is_taken(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match="should hold"):
        files.array(_header(shape) + bytes(8))


def test_a_member_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LEAST", 1 << 20)
    content = _npz(True, a=np.zeros(1 << 22))
    with pytest.raises(WrongError, match="'a' unpacks to 33,554,560 bytes, but at most"):
        files.Arrays(content, Path("x.npz"), WrongError)["a"]


@pytest.mark.parametrize("place", range(0, 570, 19))
def test_a_flipped_bit_never_changes_an_array_without_a_word(place: int) -> None:
    content = bytearray(_npz(a=np.arange(40)))
    content[place] ^= 4
    try:
        found = files.Arrays(bytes(content), Path("x.npz"), WrongError)["a"]
    except WrongError:
        return
    assert np.array_equal(found, np.arange(40))


def test_the_sums_of_a_checkpoint_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.arange(100.0)}, path)
    files.has_right_sums(path, WrongError)
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(50).tobytes() + np.float32(51).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(WrongError, match=r"a.pt is damaged: the sum of .*data/0 in it is another"):
        files.has_right_sums(path, WrongError)
    path.write_bytes(content[:200])
    files.has_right_sums(path, WrongError)  # no zip file: its reader refuses it


# Writing --------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_no_draft_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write(path, b"one", WrongError)
    files.write(path, b"two", WrongError)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    files.write(path, b"one", WrongError)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WrongError, match=r"a.txt cannot be written: No space left on device"):
        files.write(path, b"two", WrongError)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_and_a_device_are_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, b"hello", WrongError)
    reader.join(timeout=10)
    assert found == [b"hello"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    files.write(link, b"gone", WrongError, follow=True)
    assert link.is_symlink()
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_what_is_behind_a_link_changes_only_if_that_is_asked_for(tmp_path: Path) -> None:
    behind, link = tmp_path / "behind", tmp_path / "link"
    behind.write_bytes(b"old")
    link.symlink_to(behind)
    files.write(link, b"new", WrongError, follow=True)
    assert link.is_symlink()
    assert behind.read_bytes() == b"new"
    files.write(link, b"newer", WrongError)
    assert not link.is_symlink()
    assert behind.read_bytes() == b"new"


def test_drafts_of_dead_processes_are_swept(tmp_path: Path) -> None:
    dead, mine, other = (
        tmp_path / ".a.pt.999999999.draft",
        tmp_path / f".a.pt.{os.getpid()}.draft",
        tmp_path / ".notes.999999999",
    )
    for path in (dead, mine, other):
        path.write_bytes(b"")
    files.sweep(tmp_path)
    assert not dead.exists()
    assert mine.exists()
    assert other.exists()


def test_a_zip_file_in_another_packing_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.npy", b"nothing of numpy's")
    with pytest.raises(WrongError, match="'a' is damaged"):
        files.Arrays(made.getvalue(), Path("x.npz"), WrongError)["a"]
    # Encrypted, and packed in a way that is not known.
    plain, packed = b"PK\x01\x02\x14\x03\x14" + bytes(5), b"PK\x01\x02\x14\x03\x14\0\1\0\x63\0"
    content = made.getvalue().replace(plain, packed)
    with pytest.raises(WrongError, match=r"'a' cannot be read|'a' is damaged"):
        files.Arrays(content, Path("x.npz"), WrongError)["a"]


def test_what_zlib_says_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b\x08" + bytes(7) + zlib.compress(b"x"))
    with pytest.raises(WrongError, match=r"a.gz cannot be read: Error"):
        files.read(tmp_path / "a.gz", WrongError)
