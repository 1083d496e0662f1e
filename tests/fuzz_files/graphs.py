"""Formats of data: tables, graphs, collections of graphs, images and texts."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
import torch
from PIL import Image
from torch_geometric.data import Data, InMemoryDataset

from mpnn.datasets import Columns, load, load_images, load_text, load_tu, read_graphs
from mpnn.datasets.digits import read_idx
from mpnn.datasets.mat import read_mat
from mpnn.datasets.own.arrays import read_features
from mpnn.datasets.pixels import PICTURES, read_images
from mpnn.datasets.planetoid_npz import read_npz
from mpnn.datasets.shchur import read_shchur
from tests.fuzz_files.format import Format

COUNT = 12
NAMES = [f"n{k}" for k in range(COUNT)]


def graph() -> nx.Graph:
    """A small graph whose nodes and edges have attributes."""
    made = nx.gnm_random_graph(COUNT, 24, seed=1)
    for node, values in made.nodes(data=True):
        values |= {"age": node % 5, "size": node / 4, "team": "red" if node % 3 else "blue"}
    for k, (_, _, values) in enumerate(made.edges(data=True)):
        values |= {"weight": k / 2, "kind": "near" if k % 2 else "far"}
    return made


def edges() -> pd.DataFrame:
    """The same edges, a row for each."""
    rows = [(NAMES[i], NAMES[j], *values.values()) for i, j, values in graph().edges(data=True)]
    return pd.DataFrame(rows, columns=["from", "to", "weight", "kind"])


def nodes() -> pd.DataFrame:
    """The same nodes, a row for each, in two graphs, with parts."""
    rows = [
        (name, *values.values()) for name, (_, values) in zip(NAMES, graph().nodes(data=True), strict=True)
    ]
    made = pd.DataFrame(rows, columns=["name", "age", "size", "team"])
    made["since"] = pd.date_range("2020-01-01", periods=COUNT).astype(str)
    made["part"] = ["train", "val", "test"] * (COUNT // 3)
    return made


# Tables -----------------------------------------------------------------------------------------------


def _tables(ending: str, write: Callable[[pd.DataFrame, Path], Any]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(edges(), folder / f"net{ending}")
        write(nodes(), folder / f"nodes{ending}")

    return make


def _plain(separator: str) -> Callable[[pd.DataFrame, Path], Any]:
    return lambda table, path: path.write_text(table.to_csv(index=False, sep=separator))


def _packed(table: pd.DataFrame, path: Path) -> None:
    path.write_bytes(gzip.compress(table.to_csv(index=False).encode(), mtime=0))


def _with_nodes(ending: str, **columns: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        asked = Columns(nodes=str(folder / f"nodes{ending}"), **{"label": "team", "part": "part"} | columns)  # type: ignore[arg-type]
        return load(str(folder / f"net{ending}"), columns=asked)

    return read


def _many(folder: Path) -> None:
    rows = [(f"g{k // 4}", k % 4, (k + 1) % 4, k / 3) for k in range(32)]
    pd.DataFrame(rows, columns=["graph", "u", "v", "length"]).to_csv(folder / "bonds.csv", index=False)
    labels = [(f"g{k}", ("a", "b")[k % 2]) for k in range(8)]
    pd.DataFrame(labels, columns=["graph", "kind"]).to_csv(folder / "labels.csv", index=False)


def _read_many(folder: Path) -> Any:
    columns = Columns(graph_id="graph", graph_labels=str(folder / "labels.csv"), label="kind")
    return read_graphs(folder / "bonds.csv", columns)


def _one(name: str) -> Callable[[Path], Any]:
    return lambda folder: load(str(folder / name))


def _table_formats() -> list[Format]:
    found = []
    for name, ending, write in (
        ("csv", ".csv", _plain(",")),
        ("csv;", ".csv", _plain(";")),
        ("tsv", ".tsv", _plain("\t")),
        ("csv.gz", ".csv.gz", _packed),
        ("parquet", ".parquet", lambda table, path: table.to_parquet(path, index=False)),
    ):
        make, packed = _tables(ending, write), ending.endswith(".gz")
        found.append(Format(f"{name} edges", f"net{ending}", make, _one(f"net{ending}"), packed))
        found.append(Format(f"{name} nodes", f"nodes{ending}", make, _with_nodes(ending), packed))
    number = _with_nodes(".csv", label="size", edge_weight="weight", ignore="kind")
    found.append(Format("csv numbers", "nodes.csv", _tables(".csv", _plain(",")), number))
    return found + [Format(f"graphs {file}", file, _many, _read_many) for file in ("bonds.csv", "labels.csv")]


# Graphs of other libraries ----------------------------------------------------------------------------------


def _lists(folder: Path) -> None:
    (folder / "net.txt").write_text("# a list\n" + "".join(f"{i}\t{j}\n" for i, j in graph().edges))
    (folder / "net.edges").write_text("".join(f"{i} {j}\n" for i, j in graph().edges))


def _networkx(folder: Path) -> None:
    nx.write_graphml(graph(), folder / "net.graphml")
    nx.write_gml(graph(), folder / "net.gml")
    nx.write_gexf(graph(), folder / "net.gexf")
    text = (folder / "net.gexf").read_text()
    (folder / "net.gexf").write_text(re.sub('lastmodifieddate="[^"]*"', "", text))  # today
    (folder / "net.json").write_text(json.dumps(nx.node_link_data(graph(), edges="edges"), indent=1))


def _matrix() -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(nx.to_scipy_sparse_array(graph(), dtype=np.float64))


def _matrices(folder: Path) -> None:
    scipy.io.mmwrite(folder / "net.mtx", _matrix(), comment="a matrix")
    for form in ("csr", "coo", "bsr", "dia"):
        scipy.sparse.save_npz(folder / f"{form}.npz", _matrix().asformat(form), compressed=form == "csr")
    labels = scipy.sparse.csc_matrix(np.eye(4)[np.arange(COUNT) % 4])
    scipy.io.savemat(folder / "net.mat", {"network": scipy.sparse.csc_matrix(_matrix()), "group": labels})
    content = (folder / "net.mat").read_bytes()
    (folder / "net.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + content[116:])  # without the date


def _data(seed: int) -> Data:
    draw = torch.Generator().manual_seed(seed)
    ends = torch.randint(COUNT, (2, 30), generator=draw)
    part = torch.arange(COUNT) % 3
    return Data(
        x=torch.rand(COUNT, 5, generator=draw),
        edge_index=ends,
        edge_attr=torch.rand(30, 2, generator=draw),
        y=torch.randint(3, (COUNT,), generator=draw),
        train_mask=part == 0,
        val_mask=part == 1,
        test_mask=part == 2,
    )


def _of_pyg(folder: Path) -> None:
    torch.save(_data(1), folder / "data.pt")
    graphs = [
        Data(x=one.x, edge_index=one.edge_index, y=torch.tensor([k % 2]))
        for k, one in enumerate(map(_data, range(4)))
    ]
    torch.save(graphs, folder / "list.pt")
    InMemoryDataset.save(graphs, folder / "memory.pt")


# Collections -----------------------------------------------------------------------------------------------


def _tu(folder: Path) -> None:
    draw = np.random.default_rng(5)
    owner = np.repeat(np.arange(8), 4)
    ends = np.unique(np.concatenate([4 * k + draw.integers(4, size=(9, 2)) for k in range(8)]), axis=0)
    columns: dict[str, Any] = {
        "A": ends + 1,
        "graph_indicator": owner + 1,
        "graph_labels": np.tile([-1, 1], 4),
        "node_labels": draw.integers(1, 4, size=len(owner)),
        "node_attributes": draw.random((len(owner), 2)).round(4),
        "edge_labels": draw.integers(2, size=len(ends)),
    }
    for name, values in columns.items():
        lines = (", ".join(map(str, np.atleast_1d(row).tolist())) + "\n" for row in values)
        (folder / f"TOY_{name}.txt").write_text("".join(lines))


def _csr(before: str, matrix: scipy.sparse.csr_matrix) -> dict[str, Any]:
    parts = {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape),
    }
    return {f"{before}_{name}": part for name, part in parts.items()}


def _collections(folder: Path) -> None:
    features = scipy.sparse.csr_matrix((np.random.default_rng(0).random((COUNT, 6)) < 0.4).astype(np.float32))
    kinds, part = np.arange(COUNT) % 3, np.arange(COUNT) % 3
    masks = {f"{name}_mask": part == k for k, name in enumerate(("train", "val", "test"))}
    ends = np.array(graph().edges).T
    np.savez_compressed(folder / "planetoid.npz", edge_index=ends, y=kinds, **_csr("x", features), **masks)
    links = scipy.sparse.csr_matrix(_matrix())
    np.savez(folder / "shchur.npz", labels=kinds, **_csr("adj", links), **_csr("attr", features))


# Images, texts, features ---------------------------------------------------------------------------------


def _images(folder: Path) -> None:
    pixels = np.random.default_rng(3).integers(256, size=(4, 9, 9), dtype=np.uint8)
    idx = bytes([0, 0, 8, 3]) + struct.pack(">3I", *pixels.shape) + pixels.tobytes()
    (folder / "a-ubyte").write_bytes(idx)
    (folder / "a-ubyte.gz").write_bytes(gzip.compress(idx, mtime=0))
    np.save(folder / "pixels.npy", pixels)
    for ending in PICTURES:
        Image.fromarray(pixels[0]).convert("RGB" if ending == ".ppm" else "L").save(folder / f"a{ending}")


def _text(folder: Path) -> None:
    (folder / "input.txt").write_text("Whether 'tis nobler in the mind to suffer — é.\n" * 40)


def _features(folder: Path) -> None:
    x = np.random.default_rng(2).random((COUNT, 3))
    np.save(folder / "x.npy", x)
    np.savez_compressed(folder / "x.npz", x=x)
    scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_array(x))
    (folder / "x.json").write_text(json.dumps({name: [k % 4, k % 3 + 4] for k, name in enumerate(NAMES)}))


def _own_images(folder: Path) -> None:
    pixels = np.random.default_rng(4).integers(256, size=(6, 7, 5, 3), dtype=np.uint8)
    np.savez_compressed(folder / "own.npz", x=pixels, y=np.array(list("aabbab")))
    for name, image in zip("ab", pixels[:2], strict=True):
        (folder / "own" / name).mkdir(parents=True)
        Image.fromarray(image).save(folder / "own" / name / "0.png")


def _read_picture(name: str) -> Callable[[Path], Any]:
    return lambda folder: read_images(folder / name, 1)


def _read_features(name: str) -> Callable[[Path], Any]:
    return lambda folder: read_features(folder / name, NAMES)


OF_DATA = [
    *_table_formats(),
    *(Format(ending[1:], f"net{ending}", _lists, _one(f"net{ending}")) for ending in (".txt", ".edges")),
    *(
        Format(ending[1:], f"net{ending}", _networkx, _one(f"net{ending}"))
        for ending in (".graphml", ".gml", ".gexf", ".json")
    ),
    Format("mtx", "net.mtx", _matrices, _one("net.mtx")),
    *(
        Format(f"npz {form}", f"{form}.npz", _matrices, _one(f"{form}.npz"), True)
        for form in ("csr", "coo", "bsr", "dia")
    ),
    Format("mat", "net.mat", _matrices, lambda folder: read_mat(folder / "net.mat", "blogcatalog")),
    *(
        Format(f"pt {name}", f"{name}.pt", _of_pyg, _one(f"{name}.pt"), True)
        for name in ("data", "list", "memory")
    ),
    *(
        Format(f"TU {name}", f"TOY_{name}.txt", _tu, lambda folder: load_tu("TOY", folder, attributes=True))
        for name in ("A", "graph_indicator", "graph_labels", "node_labels", "node_attributes", "edge_labels")
    ),
    Format(
        "planetoid npz",
        "planetoid.npz",
        _collections,
        lambda folder: read_npz(folder / "planetoid.npz", "cora", tuple("abc")),
        True,
    ),
    Format(
        "shchur npz",
        "shchur.npz",
        _collections,
        lambda folder: read_shchur(folder / "shchur.npz", "amazon-photo"),
        True,
    ),
    Format("idx", "a-ubyte", _images, lambda folder: read_idx(folder / "a-ubyte")),
    Format("idx.gz", "a-ubyte.gz", _images, lambda folder: read_idx(folder / "a-ubyte.gz"), True),
    *(
        Format(
            f"image {ending[1:]}",
            f"a{ending}",
            _images,
            _read_picture(f"a{ending}"),
        )
        for ending in PICTURES
    ),
    Format("image npy", "pixels.npy", _images, lambda folder: read_images(folder / "pixels.npy", 1)),
    Format("images npz", "own.npz", _own_images, lambda folder: load_images(folder / "own.npz"), True),
    Format("images of a class", "own/b/0.png", _own_images, lambda folder: load_images(folder / "own")),
    Format("text", "input.txt", _text, lambda folder: load_text(folder / "input.txt")),
    *(
        Format(f"features {name}", name, _features, _read_features(name), name.endswith(".npz"))
        for name in ("x.npy", "x.npz", "sparse.npz", "x.json")
    ),
]
