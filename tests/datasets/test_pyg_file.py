"""Files of PyTorch Geometric, which may hold tensors and its Data, but nothing that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from mpnn.datasets import Columns, DataError, GraphDataset, NodeDataset, load


def ring(size: int, **fields: Any) -> Data:
    nodes = torch.arange(size)
    ends = torch.stack([nodes, (nodes + 1) % size])
    return Data(edge_index=torch.cat([ends, ends.flip(0)], 1), num_nodes=size, **fields)


def read(path: Path, content: Any) -> NodeDataset | GraphDataset:
    torch.save(content, path)
    data = load(str(path))
    assert isinstance(data, NodeDataset | GraphDataset)
    return data


def test_one_graph_has_its_features_classes_and_masks(tmp_path: Path) -> None:
    masks = {f"{part}_mask": torch.arange(6) == k for k, part in enumerate(("train", "val", "test"))}
    theirs = ring(6, x=torch.rand(6, 3), y=torch.arange(6) % 2, edge_attr=torch.rand(12), **masks)
    ours = read(tmp_path / "net.pt", theirs)
    assert isinstance(ours, NodeDataset) and ours.name == "net" and ours.edge_attr is not None
    assert theirs.edge_index is not None and theirs.x is not None
    assert ours.graph.edge_index.equal(theirs.edge_index) and ours.x.equal(theirs.x)
    assert ours.edge_attr.flatten().equal(theirs.edge_attr)
    assert ours.y is not None and ours.y.tolist() == [0, 1, 0, 1, 0, 1] and ours.num_classes == 2
    assert ours.test_mask is not None and ours.test_mask.tolist() == [False, False, True, False, False, False]


def test_types_of_edges_are_kept_and_nodes_without_features_have_degrees(tmp_path: Path) -> None:
    ours = read(tmp_path / "net.pt", ring(4, edge_type=torch.arange(8) % 3))
    assert isinstance(ours, NodeDataset) and ours.graph.num_edge_types == 3 and ours.y is None
    assert ours.x.argmax(1).tolist() == [2, 2, 2, 2]


def test_weights_of_edges_are_weights_in_one_dimension_or_two(tmp_path: Path) -> None:
    weight = torch.rand(8)
    for values in (weight, weight.unsqueeze(1), weight.double()):
        ours = read(tmp_path / "net.pt", ring(4, edge_weight=values))
        assert isinstance(ours, NodeDataset) and ours.weighted and ours.edge_attr is not None
        assert ours.edge_attr.dtype == values.dtype and torch.equal(ours.edge_attr.float(), weight)


def test_weights_of_several_graphs_are_theirs(tmp_path: Path) -> None:
    graphs = [ring(n, edge_weight=torch.rand(2 * n), y=torch.tensor([n % 2])) for n in (3, 4)]
    ours = read(tmp_path / "graphs.pt", graphs)
    assert isinstance(ours, GraphDataset) and ours.weighted and ours.edge_dim is None and ours.edge_attr
    assert all(torch.equal(a, b.edge_weight) for a, b in zip(ours.edge_attr, graphs, strict=True))


def test_of_features_and_weights_one_is_to_be_ignored(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    both = ring(4, edge_weight=torch.rand(8), edge_attr=torch.rand(8, 3))
    with pytest.raises(DataError, match=r"net.pt cannot be used: it holds edge_attr and edge_weight, but a"):
        read(path, both)
    ours, theirs = (load(str(path), columns=Columns(ignore=name)) for name in ("edge_attr", "edge_weight"))
    assert isinstance(ours, NodeDataset) and ours.edge_attr is not None and both.edge_weight is not None
    assert torch.equal(ours.edge_attr, both.edge_weight)
    assert isinstance(theirs, NodeDataset) and theirs.edge_dim == 3
    with pytest.raises(
        DataError, match=r"ignore names 'x', but .*net.pt has edge_attr, edge_weight to ignore"
    ):
        load(str(path), columns=Columns(ignore="x"))
    with pytest.raises(DataError, match=r"says itself what is what: name no columns but those to ignore"):
        load(str(path), columns=Columns(label="y"))


@pytest.mark.parametrize(
    "weight", [torch.rand(8, 2), torch.tensor([1.0] * 7 + [float("nan")])], ids=["two each", "NaN"]
)
def test_a_weight_is_one_finite_number(tmp_path: Path, weight: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"edge_weight should be one finite number for each edge"):
        read(tmp_path / "net.pt", ring(4, edge_weight=weight))


@pytest.mark.parametrize("name", ["x", "y", "edge_attr", "edge_weight", "edge_type"])
def test_what_only_some_graphs_have_is_not_left_out_in_silence(tmp_path: Path, name: str) -> None:
    rows = 3 if name in ("x", "y") else 6
    mixed = [ring(3, **{name: torch.ones(rows, dtype=torch.int64)}), ring(3)]
    with pytest.raises(DataError, match=f"m.pt cannot be used: some graphs have {name} and others do not"):
        read(tmp_path / "m.pt", mixed)


@pytest.mark.parametrize(
    ("y", "kind", "width"),
    [
        (torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), torch.bool, 2),
        (torch.tensor([0.5, 1.0, 2.0]), torch.float32, 1),
        (torch.tensor([[2], [0], [1]]), torch.int64, None),
    ],
)
def test_the_answers_say_what_they_are(tmp_path: Path, y: torch.Tensor, kind: Any, width: int | None) -> None:
    ours = read(tmp_path / "net.pt", ring(3, y=y))
    assert ours.y is not None and ours.y.dtype == kind
    assert ours.y.shape == ((3,) if width is None else (3, width))


def test_a_list_is_graphs_to_tell_apart_or_nodes_of_several_graphs(tmp_path: Path) -> None:
    whole = [ring(size, x=torch.rand(size, 2), y=torch.tensor([size % 2])) for size in (3, 4, 5)]
    ours = read(tmp_path / "graphs.pt", whole)
    assert isinstance(ours, GraphDataset) and ours.y.tolist() == [1, 0, 1]
    several = [ring(size, x=torch.rand(size, 2), y=torch.arange(size) % 2) for size in (3, 4, 5)]
    both = read(tmp_path / "nodes.pt", several)
    assert isinstance(both, NodeDataset) and both.graph.num_graphs == 3 and both.train_mask is None
    parts = {"train": several[:1], "val": several[1:2], "test": several[2:]}
    split = read(tmp_path / "split.pt", parts)
    assert isinstance(split, NodeDataset) and split.test_mask is not None
    assert split.test_mask.tolist() == [False] * 7 + [True] * 5


def test_what_pygs_data_sets_save_is_read(tmp_path: Path) -> None:
    graphs = [ring(size, x=torch.rand(size, 2), y=torch.tensor([size % 2])) for size in (3, 4, 5)]
    InMemoryDataset.save(graphs, str(tmp_path / "data.pt"))
    allowed = set(torch.serialization.get_safe_globals())
    ours = load(str(tmp_path / "data.pt"))
    assert set(torch.serialization.get_safe_globals()) == allowed, "what PyG itself may load is as it was"
    assert isinstance(ours, GraphDataset) and [graph.num_nodes for graph in ours.graphs] == [3, 4, 5]
    for graph, theirs in zip(ours.graphs, graphs, strict=True):
        assert theirs.edge_index is not None and graph.edge_index.equal(theirs.edge_index)


class Runs:
    """An object that runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_damaged_files_are_named_however_they_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(b"\x80\x02q\x00.")  # a pickle that keeps what is not there
    with pytest.raises(DataError, match=r"net.pt is damaged or of another format"):
        load(str(path))
    with pytest.raises(DataError, match=r"net.pt cannot be used"):
        read(path, Data.__new__(Data))
    slices = {"x": torch.tensor([0, 2, 99])}
    with pytest.raises(DataError, match=r"net.pt cannot be used"):
        read(path, ({"x": torch.rand(3, 1), "y": torch.zeros(2)}, slices))


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    with pytest.raises(DataError, match=r"bad.pt was not opened: it is damaged, or holds objects besides"):
        read(tmp_path / "bad.pt", {"x": Runs(mark)})
    assert not mark.exists()


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t.pt should hold a Data of PyTorch Geometric or a list of them"):
        read(tmp_path / "t.pt", torch.ones(3))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(DataError, match=r"text.pt"):
        load(str(tmp_path / "text.pt"))
    with pytest.raises(DataError, match=r"u.pt cannot be used: edge_index\[1, 0\] is 5"):
        read(tmp_path / "u.pt", Data(edge_index=torch.tensor([[0], [5]]), num_nodes=3))


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_are_read_as_dense_ones(tmp_path: Path) -> None:
    x = torch.eye(5)[:, :3]
    for sparse in (x.to_sparse(), x.to_sparse_csr(), x.to_sparse_csc()):
        ours = read(tmp_path / "net.pt", ring(5, x=sparse, y=torch.arange(5)))
        assert isinstance(ours, NodeDataset) and torch.equal(ours.x, x)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_too_large_to_be_dense_are_named(tmp_path: Path) -> None:
    x = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (5, 10**9))
    with pytest.raises(
        DataError, match=r"x is sparse \[5, 1000000000\]: .* 5,000,000,000 numbers, but at most"
    ):
        read(tmp_path / "net.pt", ring(5, x=x))


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_with_places_outside_are_refused(tmp_path: Path) -> None:
    place = torch.tensor([[0], [2**40]])
    x = torch.sparse_coo_tensor(place, torch.ones(1), (5, 3), check_invariants=False)
    with pytest.raises(DataError, match=r"net\.pt is damaged or of another format: size is inconsistent"):
        read(tmp_path / "net.pt", ring(5, x=x))


def test_features_without_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"net\.pt cannot be used: x is on the meta device, without data"):
        read(tmp_path / "net.pt", ring(5, x=torch.ones(5, 2, device="meta")))


@pytest.mark.parametrize("as_given", [int, torch.tensor, lambda k: torch.tensor([k])])
def test_a_class_of_a_graph_may_be_a_number(tmp_path: Path, as_given: Any) -> None:
    graphs = [ring(n, y=as_given(n % 3), x=torch.ones(n, 2)) for n in (3, 4, 5, 7)]
    ours = read(tmp_path / "graphs.pt", graphs)
    assert isinstance(ours, GraphDataset) and ours.y.tolist() == [0, 1, 2, 1] and len(ours.class_names) == 3


@pytest.mark.parametrize("as_given", [float, torch.tensor])
def test_a_target_of_a_graph_may_be_a_number(tmp_path: Path, as_given: Any) -> None:
    graphs = [ring(n, y=as_given(n / 4), x=torch.ones(n, 2)) for n in (3, 4, 5)]
    ours = read(tmp_path / "graphs.pt", graphs)
    assert isinstance(ours, GraphDataset) and ours.y.tolist() == [[0.75], [1.0], [1.25]]
