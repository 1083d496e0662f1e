"""Files of strangers: none crashes the process, waits, takes all memory, or is read as something else."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch_geometric.data import Data

from mpnn import files
from mpnn.datasets import DataError, load
from mpnn.datasets.mat import read_mat
from mpnn.datasets.record import MOST_CLASSES, check_declared, classes_of
from tests.datasets.loading import one_graph


def refused(path: Path, words: str) -> None:
    """The file gets one sentence with its name, at once."""
    began = time.monotonic()
    with pytest.raises(DataError, match=words) as raised:
        load(str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 30


def npz(**arrays: Any) -> bytes:
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def csr(indptr: list[int], indices: list[int], shape: tuple[int, ...] = (4, 4), **others: Any) -> bytes:
    """A file of `scipy.sparse.save_npz` whose matrix need not hold together."""
    parts = {"data": np.ones(len(indices)), "indices": np.array(indices), "indptr": np.array(indptr)}
    return npz(**parts | {"shape": np.array(shape), "format": np.array(b"csr")} | others)


GOOD = csr([0, 1, 2, 3, 4], [1, 2, 3, 0])
MATRICES: dict[str, tuple[bytes, str]] = {
    "pointers beyond the entries": (csr([0, 64, 2, 3, 4], [1, 2, 3, 0]), r"indptr\[2\] is 2"),
    "pointers that fall": (csr([0, 3, 1, 2, 4], [1, 2, 3, 0]), r"indptr\[2\] is 1"),
    "an index outside": (csr([0, 1, 2, 3, 4], [1, 2, 3, 9]), r"indices\[3\] is 9|should be|must be"),
    "a negative index": (csr([0, 1, 2, 3, 4], [1, 2, 3, -1]), "is -1|negative"),
    "too few pointers": (csr([0, 4], [1, 2, 3, 0]), "ind"),
    "a negative shape": (csr([0, 1, 2, 3, 4], [1, 2, 3, 0], (-4, 4)), "shape"),
    "a shape of three": (csr([0, 1, 2, 3, 4], [1, 2, 3, 0], (4, 4, 4)), "shape"),
    "indices that are words": (
        npz(data=np.ones(4), indices=np.array([*"abcd"]), indptr=np.arange(5), shape=np.array([4, 4]),
            format=np.array(b"csr")),
        "damaged",
    ),
    "an unknown form": (csr([0, 1, 2, 3, 4], [1, 2, 3, 0], format=np.array(b"xyz")), "its form is 'xyz'"),
    "a form that is a number": (csr([0, 1, 2, 3, 4], [1, 2, 3, 0], format=np.array(3)), "its form is '3'"),
    "objects": (npz(data=np.array([{}], dtype=object), format=np.array(b"csr")), "has no array|objects"),
    "a million millions of nodes": (
        npz(data=np.ones(1), row=np.zeros(1, int), col=np.zeros(1, int), shape=np.array([10**12] * 2),
            format=np.array(b"coo")),
        "declares 1,000,000,000,000 rows, but holds only",
    ),
    "cut in half": (GOOD[: len(GOOD) // 2], "damaged"),
    "nothing": (b"", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MATRICES)
def test_a_matrix_that_does_not_hold_together_is_refused(tmp_path: Path, kind: str) -> None:
    content, words = MATRICES[kind]
    (tmp_path / "net.npz").write_bytes(content)
    refused(tmp_path / "net.npz", words)


def test_a_sound_matrix_of_every_form_is_read(tmp_path: Path) -> None:
    half = np.triu(np.random.default_rng(0).random((6, 6)) < 0.4, 1) * np.arange(1.0, 37).reshape(6, 6)
    dense = half + half.T
    for form in ("csr", "csc", "coo", "bsr", "dia"):
        path = tmp_path / f"{form}.npz"
        scipy.sparse.save_npz(path, scipy.sparse.coo_array(dense).asformat(form))
        assert one_graph(str(path)).graph.num_edges == (dense != 0).sum()


@pytest.mark.parametrize("place", range(0, 1100, 37))
def test_a_flipped_bit_of_a_matrix_never_changes_the_graph_without_a_word(tmp_path: Path, place: int) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(GOOD)
    edges = one_graph(str(path)).graph.edge_index
    content = bytearray(GOOD)
    content[place % len(GOOD)] ^= 4
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert torch.equal(one_graph(str(path)).graph.edge_index, edges)


MARKET = "%%MatrixMarket matrix coordinate real general\n3 3 2\n1 2 1.0\n2 3 2.5\n"
MARKETS: dict[str, tuple[bytes, str]] = {
    "a zero byte in a value": (MARKET.replace("1.0", "1\0.0").encode(), "damaged"),
    "an index outside": (MARKET.replace("2 3", "2 9").encode(), "damaged"),
    "fewer entries": (MARKET.replace("3 3 2", "3 3 5").encode(), "damaged"),
    "a thousand millions of nodes": (
        MARKET.replace("3 3 2", f"{10**9} {10**9} 2").encode(),
        "declares 1,000,000,000 rows, but holds only",
    ),
    "more entries than memory": (MARKET.replace("3 3 2", f"3 3 {10**15}").encode(), "damaged"),
    "a huge array": (f"%%MatrixMarket matrix array real general\n{10**8} {10**8}\n1.0\n".encode(), "damaged"),
    "no header": (b"1 2 3\n", "damaged"),
    "nothing": (b"", "damaged"),
    "bytes": (bytes(range(256)), "damaged"),
}


@pytest.mark.parametrize("kind", MARKETS)
def test_a_damaged_matrix_market_file_is_refused(tmp_path: Path, kind: str) -> None:
    content, words = MARKETS[kind]
    (tmp_path / "net.mtx").write_bytes(content)
    refused(tmp_path / "net.mtx", words)


def _mat(**changes: Any) -> bytes:
    made = io.BytesIO()
    links = scipy.sparse.csc_matrix(np.eye(4)[[1, 2, 3, 0]])
    scipy.io.savemat(made, {"network": links, "group": scipy.sparse.csc_matrix(np.eye(4))} | changes)
    return made.getvalue()


MATLABS: dict[str, Callable[[], bytes]] = {
    "bytes deleted": lambda: _mat()[:300] + _mat()[340:],
    "cut": lambda: _mat()[:200],
    "not as high as wide": lambda: _mat(network=scipy.sparse.csc_matrix(np.ones((4, 3)))),
    "of another height": lambda: _mat(group=scipy.sparse.csc_matrix(np.ones((3, 3)))),
    "no matrix": lambda: _mat(network="words"),
    "empty": lambda: b"",
    "bytes": lambda: bytes(range(256)) * 4,
}


@pytest.mark.parametrize("kind", MATLABS)
def test_a_damaged_matlab_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.mat"
    path.write_bytes(MATLABS[kind]())
    with pytest.raises(DataError, match=r"net\.mat"):
        read_mat(path, "blogcatalog")


@pytest.mark.parametrize("seed", range(4))
def test_a_matlab_file_with_wrong_bytes_never_ends_the_process(tmp_path: Path, seed: int) -> None:
    content = bytearray(_mat())
    for place in np.random.default_rng(seed).integers(128, len(content), 12):
        content[place] ^= 255
    path = tmp_path / "net.mat"
    path.write_bytes(content)
    try:
        assert read_mat(path, "blogcatalog").graph.num_nodes > 0
    except DataError as error:
        assert str(path) in str(error)


# Sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv.gz", ".txt.gz", ".graphml.gz", ".gml.gz"])
def test_what_unpacks_without_end_is_refused(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LEAST", 1 << 20)
    path = tmp_path / f"net{ending}"
    path.write_bytes(gzip.compress(b"0,0\n" * (1 << 22)))
    refused(path, "unpacks to more than")


@pytest.mark.parametrize("name", ["net.csv", "net.txt", "net.graphml", "net.mtx", "net.npz", "net.pt"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "is a pipe, but should be a file")


def test_a_tensor_that_is_larger_than_its_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    edges = torch.zeros(2, 1, dtype=torch.int64).expand(2, 10**9)
    torch.save(Data(edge_index=edges, num_nodes=3), path)
    refused(path, r"edge_index is a view \[2, 1000000000\] of 16 bytes")


def test_classes_far_beyond_the_items_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    edges = torch.tensor([[0, 1], [1, 2]])
    torch.save(Data(edge_index=edges, x=torch.ones(3, 1), y=torch.tensor([0, 10**8, 1])), path)
    refused(path, "y holds class 100,000,000, but there are 3 items")
    assert classes_of(torch.tensor([0, MOST_CLASSES - 1])) == MOST_CLASSES


def test_a_file_may_declare_a_million_or_64_for_each_byte(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1 << 16))
    check_declared(path, 64 << 16, "rows")
    with pytest.raises(DataError, match="declares 4,194,305 rows, but holds only 65,536 bytes"):
        check_declared(path, (64 << 16) + 1, "rows")


def test_a_flipped_bit_of_a_data_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(Data(edge_index=torch.tensor([[0, 1], [1, 2]]), x=torch.arange(300.0).view(3, 100)), path)
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(50, 52, dtype=np.float32).tobytes())] ^= 1
    path.write_bytes(content)
    refused(path, "the sum of .* in it is another")


# Texts ----------------------------------------------------------------------------------------------------

GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">
<node id="a"/><node id="b"/><edge source="a" target="b"/>%s</graph></graphml>"""


# An entity of ten entities of ten entities: a kilobyte that stands for ten gigabytes.
ENTITIES = "".join(f"<!ENTITY l{k} '{10 * f'&l{k - 1};'}'>" for k in range(1, 10))
LAUGHS = f"<!DOCTYPE x [<!ENTITY l0 '          '>{ENTITIES}]>"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("net.graphml", GRAPHML % '<edge source="a"/>', "lacks its source or its target|cannot be read"),
        ("net.graphml", GRAPHML % "<edge", "cannot be read"),
        (
            "net.graphml",
            LAUGHS + GRAPHML % "&l9;",
            "cannot be read",
        ),
        ("net.gml", "graph [ node [ id 1 ] edge [ source 1 target 7 ] ]", "cannot be read"),
        ("net.txt", "0 1\n1 " + "9" * 5000 + "\n", "line 2: .* should be an integer of at most 18 digits"),
        ("net.txt", "0 1\n1 --2\n", "line 2: '--2' should be an integer"),
    ],
)
def test_a_text_that_is_damaged_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    refused(tmp_path / name, words)


def test_a_graph_without_attributes_is_no_hostile_one(tmp_path: Path) -> None:
    (tmp_path / "net.graphml").write_text(GRAPHML % "")
    graph = one_graph(str(tmp_path / "net.graphml")).graph
    assert graph.num_nodes == 2
