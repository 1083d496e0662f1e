"""Over-smoothing and over-squashing against loops, other libraries and published values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg
from matplotlib.patches import Rectangle
from sklearn.metrics.pairwise import cosine_distances
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets.karate import load_karate
from mpnn.models import CONVS, GNN, GraphClassifier
from mpnn.train import (
    balanced_forman_curvature,
    dirichlet_energy,
    distances_to,
    influence_by_distance,
    jacobian_norms,
    layer_states,
    mean_average_distance,
    over_smoothing,
)
from mpnn.train.command import cli
from mpnn.train.pictures import diagnosis as diagnosis_pictures
from tests.train.conftest import Complaint
from tests.train.drawn import heights


def random_graph(seed: int = 0, nodes: int = 12, chance: float = 0.3) -> tuple[nx.Graph, Graph]:
    network = nx.gnp_random_graph(nodes, chance, seed=seed)
    return network, Graph.from_networkx(network)


# Over-smoothing ------------------------------------------------------------------------------------------


def test_the_dirichlet_energy_is_a_quadratic_form_of_networkxs_laplacian() -> None:
    network, graph = random_graph()
    x = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    looped = nx.compose(network, nx.from_edgelist([(i, i) for i in network], create_using=nx.Graph))
    # networkx counts a loop twice in the degree, so Δ is made of its adjacency matrix.
    adjacency = nx.to_numpy_array(looped, nodelist=range(12))
    scale = np.diag(adjacency.sum(1) ** -0.5)
    laplacian = torch.from_numpy(np.eye(12) - scale @ adjacency @ scale)
    expected = torch.trace(x.T @ laplacian @ x)
    torch.testing.assert_close(dirichlet_energy(x, graph), expected, atol=1e-10, rtol=0)
    plain = torch.from_numpy(nx.laplacian_matrix(network, nodelist=range(12)).toarray()).double()
    expected = 2 * torch.trace(x.T @ plain @ x) / 12
    torch.testing.assert_close(dirichlet_energy(x, graph, normalised=False), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("linked", [False, True])
def test_the_mean_average_distance_is_that_of_its_definition(linked: bool) -> None:
    network, graph = random_graph(seed=2)
    x = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[5], x[6] = x[4], 0  # two nodes alike, one without a direction
    distance = cosine_distances(x.numpy())
    if linked:
        distance = distance * nx.to_numpy_array(network, nodelist=range(12))
    rows = [row[row > 1e-12].mean() for row in distance if (row > 1e-12).any()]
    found = mean_average_distance(x, graph if linked else None)
    np.testing.assert_allclose(found.item(), np.mean(rows), atol=1e-10)


def test_nodes_that_are_all_alike_have_neither_energy_nor_distance() -> None:
    _, graph = random_graph(chance=1.0)
    assert dirichlet_energy(torch.ones(12, 3), graph) < 1e-10
    assert mean_average_distance(torch.ones(12, 3)) == 0
    assert mean_average_distance(torch.zeros(0, 3)) == 0


def test_a_deep_gcn_smooths_more_with_every_layer_and_its_linear_maps_alone_do_not() -> None:
    data = load_karate()
    torch.manual_seed(0)
    model = GNN(data.num_features, 16, 16, num_layers=12, act=None)
    rows = over_smoothing(model, data.x, data.graph)
    energy = [row.energy for row in rows]
    assert len(rows) == 13 and energy[12] < energy[4] < energy[1] < energy[0]
    assert rows[12].near < 0.1 < rows[0].near
    alone = Graph(torch.empty(2, 0, dtype=torch.int64), data.num_nodes)
    assert rows[12].everywhere < over_smoothing(model, data.x, alone)[12].everywhere


@pytest.mark.parametrize("build", [GNN, GraphClassifier])
def test_the_states_of_a_model_are_what_its_layers_give(build: type[GNN]) -> None:
    data = load_karate()
    model = build(data.num_features, 8, 3, num_layers=2, norm="batch").train()
    states = layer_states(model.eval(), data.x, data.graph)
    torch.testing.assert_close(states[0].value, model.convs[0](data.x, data.graph))
    assert [state.name for state in states] == ["convs.0", "convs.1"]


def test_models_of_pyg_are_looked_into_and_others_refused() -> None:
    data = load_karate()
    model = pyg.GCN(data.num_features, 8, num_layers=2)
    states = layer_states(model, data.x, data.graph.edge_index)
    assert [(state.name, state.value.size(1)) for state in states] == [("convs.0", 8), ("convs.1", 8)]
    with pytest.raises(ValueError, match="Linear ran no layer of message passing"):
        layer_states(nn.Linear(3, 2), torch.ones(4, 3))


def test_looking_leaves_the_mode_and_the_hooks_of_a_model_as_they_were() -> None:
    data = load_karate()
    model = GNN(data.num_features, 8, 2).train()
    model.convs[1].eval()
    over_smoothing(model, data.x, data.graph)
    assert model.training and model.convs[0].training and not model.convs[1].training
    assert not any(module._forward_hooks for module in model.modules())


# Over-squashing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conv", ["gcn", "gat", "gin", "pna"])
def test_the_norms_are_those_of_torchs_jacobian(conv: str) -> None:
    _, graph = random_graph(seed=4)
    torch.manual_seed(1)
    options: dict[str, Any] = {"deg": graph.in_degree.bincount()} if conv == "pna" else {}
    model = GNN(3, 8, 2, conv=conv, **options).double().eval()
    x = torch.randn(12, 3, dtype=torch.float64)

    def function(x: Tensor) -> Tensor:
        return model(x, graph)

    whole = torch.autograd.functional.jacobian(function, x)  # [12, 2, 12, 3]
    for node in (0, 7):
        expected = whole[node].square().sum(dim=(0, 2)).sqrt()
        torch.testing.assert_close(jacobian_norms(function, x, node), expected, atol=1e-10, rtol=0)


def test_distances_are_those_of_networkx_along_the_edges() -> None:
    network = nx.gnp_random_graph(15, 0.12, seed=5, directed=True)
    graph = Graph.from_networkx(network)
    for node in range(15):
        known = nx.single_target_shortest_path_length(network, node)
        expected = [dict(known).get(other, -1) for other in range(15)]
        assert distances_to(graph, node).tolist() == expected


def test_nothing_comes_through_from_farther_than_there_are_layers() -> None:
    path = Graph.from_networkx(nx.path_graph(8))
    torch.manual_seed(0)
    model = GNN(2, 8, 2, num_layers=3, conv="gnn").eval()
    rows = influence_by_distance(lambda x: model(x, path), torch.ones(8, 2), path, [0, 7])
    assert [(distance, pairs) for distance, _, pairs in rows] == [(distance, 2) for distance in range(8)]
    norms = [norm for _, norm, _ in rows]
    assert min(norms[:4]) > 0 and max(norms[4:]) == 0


TABLE_1 = [  # Topping et al., 2022: balanced Forman curvature of graphs whose edges are all the same
    (nx.cycle_graph(3), 3 / 2),
    (nx.cycle_graph(4), 1.0),
    (nx.cycle_graph(5), 0.0),
    (nx.cycle_graph(9), 0.0),
    (nx.complete_graph(6), 6 / 5),
    (nx.grid_2d_graph(6, 6, periodic=True), 0.0),
    (nx.circular_ladder_graph(7), None),
]


@pytest.mark.parametrize(("network", "expected"), TABLE_1)
def test_the_curvature_is_as_published_and_as_by_matrices(network: nx.Graph, expected: float | None) -> None:
    graph = Graph.from_networkx(nx.convert_node_labels_to_integers(network))
    found = balanced_forman_curvature(graph)
    if expected is not None:
        torch.testing.assert_close(found, torch.full_like(found, expected))
    np.testing.assert_allclose(found, by_matrices(graph), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_curvature_of_random_graphs_is_that_by_matrices(seed: int) -> None:
    _, graph = random_graph(seed, nodes=14, chance=0.35)
    np.testing.assert_allclose(balanced_forman_curvature(graph), by_matrices(graph), atol=1e-12)
    some = torch.tensor([3, 0])
    assert balanced_forman_curvature(graph, some).tolist() == balanced_forman_curvature(graph)[some].tolist()


def test_the_bridge_of_a_barbell_is_its_bottleneck_and_a_self_loop_has_no_curvature() -> None:
    barbell = nx.barbell_graph(5, 0)
    graph = Graph.from_networkx(barbell)
    worst = graph.edge_index[:, balanced_forman_curvature(graph).argmin()].tolist()
    assert sorted(worst) == [4, 5]
    loop = Graph(torch.tensor([[0, 0, 1], [0, 1, 0]]))
    assert balanced_forman_curvature(loop).isnan().tolist() == [True, False, False]


def by_matrices(graph: Graph) -> list[float]:
    """Definition 1 of Topping et al. (2022), with its formula for γ_max, in products of matrices."""
    size = graph.num_nodes
    a = np.zeros((size, size), int)
    a[graph.src, graph.dst] = a[graph.dst, graph.src] = 1
    degree = a.sum(1)
    values = []
    for i, j in graph.edge_index.T.tolist():
        low, high = sorted((degree[i], degree[j]))
        if low == 1:
            values.append(0.0)
            continue
        through = []
        for one, other in ((i, j), (j, i)):
            reach = a @ (a[other] - a[one] * a[other]) - 1
            through += [
                reach[k] for k in range(size) if a[one, k] and not a[other, k] and k != other and reach[k] > 0
            ]
        triangles = (a[i] * a[j]).sum()
        value = 2 / low + 2 / high - 2 + 2 * triangles / high + triangles / low
        values.append(value + (len(through) / max(through) / high if through else 0))
    return values


# Pictures and the commands -------------------------------------------------------------------------------


def test_the_pictures_show_what_was_measured() -> None:
    data = load_karate()
    model = GNN(data.num_features, 8, 2, num_layers=3).eval()
    rows = over_smoothing(model, data.x, data.graph)
    energy, distance = diagnosis_pictures.smoothing_picture(rows).axes
    np.testing.assert_allclose(heights(energy.lines[0]), [row.energy for row in rows])
    np.testing.assert_allclose(heights(distance.lines[1]), [row.near for row in rows])
    influence = [(0, 1.0, 3), (1, 0.5, 4), (2, 0.0, 1)]
    curvature = torch.tensor([-1.0, -0.5, 0.0, 2.0, float("nan")])
    fall, histogram = diagnosis_pictures.squashing_picture(influence, curvature).axes
    assert heights(fall.lines[0]) == [1.0, 0.5]
    assert sum(bar.get_height() for bar in histogram.patches if isinstance(bar, Rectangle)) == 4
    assert len(diagnosis_pictures.squashing_picture(influence).axes) == 1


def test_explain_names_every_layer_and_its_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "gcn"]) == 0
    out = capsys.readouterr().out
    assert "convs.0: GCNConv(" in out and "convs.1: GCNConv(" in out and out.count("  runs ") == 2
    assert cli.main(["explain", "sage", "--dataset", "trees", "--c-code"]) == 0
    out = capsys.readouterr().out
    assert "readout: GlobalPool(" in out and "SAGEConv" in out


def test_a_run_is_explained_and_diagnosed_as_it_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert (
        cli.main(
            ["train", "edge", "--dataset", "karate", "--epochs", "2", "--no-pictures", "--out", str(run)]
        )
        == 0
    )
    assert cli.main(["explain", str(run)]) == 0
    assert f"gae (of {run})" in capsys.readouterr().out
    assert cli.main(["diagnose", str(run), "--node", "3"]) == 0
    out = capsys.readouterr().out
    assert "the output of node 3" in out and "the worst bottleneck is" in out
    for name in ("smoothing.png", "squashing.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")


def test_graphs_are_diagnosed_as_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", "gin", "--dataset", "cycles", "--layers", "3", "--out", str(tmp_path)]) == 0
    distances = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in distances if len(row) == 3 and row[0].isdecimal()]
    assert [row[0] for row in rows[:3]] == ["0", "1", "2"] and float(rows[4][1]) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["explain", "gnc"], "model is 'gnc', but should be one of"),
        (["explain", "gcn", "--dataset", "karat"], "dataset is 'karat', but should be one of"),
        (["explain", "tests"], "tests holds no run"),
        (["diagnose", "gcn", "--node", "34"], "node is 34, but should be one of the 34 nodes"),
        (["diagnose", "gcn", "--task", "graph"], "task is 'graph', but karate is one graph"),
        (["explain", "lenet", "--dataset", "digits"], "images are of no graph, but this is for networks"),
        (["diagnose"], "the following arguments are required: MODEL"),
    ],
)
def test_a_mistake_gets_one_sentence(flags: list[str], sentence: str, complaint: Complaint) -> None:
    assert sentence in complaint(*flags)


def test_a_run_has_its_own_settings(tmp_path: Path, complaint: Complaint) -> None:
    flags = ["--epochs", "1", "--no-pictures", "--out", str(tmp_path / "run")]
    cli.main(["train", "node", *flags])
    assert "layers is 3, but" in complaint("explain", str(tmp_path / "run"), "--layers", "3")


def test_every_layer_without_edge_inputs_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in CONVS if name not in ("rgcn", "nn", "gine")]:
        assert cli.main(["explain", name, "--layers", "1"]) == 0, name
        assert "  runs " in capsys.readouterr().out
