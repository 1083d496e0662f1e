"""Downloads: the published file whole, or one sentence and nothing kept."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mpnn.datasets import DataError, load, load_tu
from mpnn.datasets import download as module
from mpnn.datasets.download import download
from tests.datasets.conftest import small_planetoid, small_tu
from tests.datasets.loading import one_graph

__all__ = ["small_planetoid", "small_tu"]  # fixtures
PAGE = b"\n<!DOCTYPE html><html><body>Please log in.</body></html>"


class Site:
    """A server on this machine, which answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.cut, self.silent, self.asked = 0, False, list[str]()
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[1]
                site.asked.append(name)
                content = site.answers.get(name)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - site.cut])
                if site.silent:
                    site.over.wait(5)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # so that closing it waits for them
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "MPNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Site()
    monkeypatch.setattr("torch_geometric.datasets.Planetoid.url", made.url)
    monkeypatch.setattr("torch_geometric.datasets.TUDataset.url", made.url)
    yield made
    made.over.set()
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_what_is_published_is_kept_and_not_fetched_again(
    site: Site, small_planetoid: Path, tmp_path: Path
) -> None:
    raw = small_planetoid / "planetoid" / "Cora" / "raw"
    site.answers = {file.name: file.read_bytes() for file in raw.iterdir()}
    assert one_graph("cora").num_nodes == one_graph("cora").num_nodes == 550
    assert sorted(site.asked) == kept(tmp_path) == sorted(site.answers)


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(
    site: Site, small_planetoid: Path, tmp_path: Path
) -> None:
    raw = small_planetoid / "planetoid" / "Cora" / "raw"
    site.answers = {file.name: file.read_bytes() for file in raw.iterdir()}
    place = tmp_path / "cache" / "mpnn" / "planetoid" / "Cora" / "raw"
    place.mkdir(parents=True)
    (place / "ind.cora.graph").write_bytes(PAGE)  # of a download by another program
    assert one_graph("cora").num_nodes == 550
    assert (place / "ind.cora.graph").read_bytes() == site.answers["ind.cora.graph"]


@pytest.mark.parametrize(
    ("content", "cut", "words"),
    [
        (PAGE, 0, "a page for people came in its place"),
        (b"x" * 5000, 0, r"it is not the published file \(5,000 bytes, whose SHA-256 differs\)"),
        (b"x" * 5000, 100, "cut off|IncompleteRead"),
        (None, 0, "HTTP Error 404"),
    ],
)
def test_another_file_than_the_published_one_never_stays(
    site: Site, tmp_path: Path, content: bytes | None, cut: int, words: str
) -> None:
    site.cut = cut
    site.answers = {} if content is None else {f"ind.cora.{part}": content for part in ("x", "tx", "allx")}
    with pytest.raises(DataError, match=words) as raised:
        load("cora")
    assert "try again, or give the folder of its files by data=..., --data or" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert kept(tmp_path) == []


def test_a_server_that_falls_silent_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.2)
    site.answers, site.cut, site.silent = {"a": bytes(100)}, 50, True
    began = time.monotonic()
    with pytest.raises(DataError, match=r"some could not be downloaded \(http.*timed out"):
        download("some", f"{site.url}/a")
    assert time.monotonic() - began < 3


def test_a_file_without_end_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1000)
    site.answers = {"a": bytes(5000)}
    with pytest.raises(DataError, match="it is larger than 1,000 bytes"):
        download("some", f"{site.url}/a")


def packed(raw: Path, name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for file in raw.iterdir():
            archive.write(file, f"{name}/{file.name}")
        archive.writestr("../../evil.txt", "outside")
    return made.getvalue()


def test_an_archive_is_unpacked_whole_and_nothing_outside(site: Site, small_tu: Path, tmp_path: Path) -> None:
    site.answers = {"TOY.zip": packed(small_tu / "TOY" / "raw", "TOY")}
    assert load_tu("TOY").num_graphs == load_tu("TOY").num_graphs == 24
    assert site.asked == ["TOY.zip"]
    assert kept(tmp_path) == sorted(file.name for file in (small_tu / "TOY" / "raw").iterdir())
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("damage", ["page", "flipped", "cut", "empty archive"])
def test_a_damaged_archive_never_stays(site: Site, small_tu: Path, tmp_path: Path, damage: str) -> None:
    content = packed(small_tu / "TOY" / "raw", "TOY")
    flipped = bytearray(content)
    flipped[200] ^= 1
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    kinds = {"page": PAGE, "flipped": flipped, "cut": content[:-300], "empty archive": empty.getvalue()}
    site.answers = {"TOY.zip": bytes(kinds[damage])}
    with pytest.raises(DataError, match="TOY could not be downloaded"):
        load_tu("TOY")
    assert kept(tmp_path) == []
