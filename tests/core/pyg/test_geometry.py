"""Near points, clusters and splines against all pairs and plain loops, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

import mpnn
from mpnn.native import matching
from mpnn.pyg.geometry import batched, clusters, near, splines
from mpnn.pyg.geometry.spline_conv import spline_conv
from tests.compare import assert_close, assert_same


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# Three examples of which the middle one has no point of y, and the last fewer points of x than are asked for.
BATCH_X, BATCH_Y = torch.tensor([0] * 20 + [1] * 5 + [2] * 3), torch.tensor([0] * 7 + [2] * 4)


def points(dimensions: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.randn(28, dimensions, dtype=dtype), torch.randn(11, dimensions, dtype=dtype)


def by_pairs(
    x: Tensor, y: Tensor, distance: Callable[[Tensor, Tensor], Tensor], k: int, r: float = torch.inf
) -> list[tuple[int, int]]:
    """For each point of y the k nearest of its example that are less than r away, nearest first."""
    found = []
    for i, a in enumerate(y):
        near_by = [(float(distance(a, b)), j) for j, b in enumerate(x) if BATCH_X[j] == BATCH_Y[i]]
        found += [(i, j) for d, j in sorted(near_by)[:k] if d < r]
    return found


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum().sqrt()


def angle(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (a @ b) / a.norm() / b.norm()


def pairs_of(found: Tensor) -> list[tuple[int, ...]]:
    return [*zip(*found.tolist(), strict=True)]


@pytest.mark.parametrize("dimensions", [1, 3, 12])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_nearest_points_are_those_of_all_pairs(dimensions: int, dtype: torch.dtype) -> None:
    x, y = points(dimensions, dtype)
    for k in (1, 4):
        made = batched.knn(x, y, k, BATCH_X, BATCH_Y)
        assert pairs_of(made) == by_pairs(x.double(), y.double(), euclidean, k)
    if dimensions > 1:
        made = batched.knn(x, y, 3, BATCH_X, BATCH_Y, cosine=True)
        if dtype == torch.float64:
            assert pairs_of(made) == by_pairs(x, y, angle, 3)
        ends, others = made
        assert torch.equal(BATCH_Y[ends], BATCH_X[others])


@pytest.mark.parametrize("dimensions", [2, 12])
@pytest.mark.parametrize("most", [2, 100])
def test_points_within_a_radius_are_those_of_all_pairs(dimensions: int, most: int) -> None:
    x, y = points(dimensions)
    r = 1.0 if dimensions == 2 else 5.0
    made = batched.radius(x, y, r, BATCH_X, BATCH_Y, max_num_neighbors=most)
    assert pairs_of(made) == by_pairs(x, y, euclidean, most, r)


def test_the_boundary_is_not_within_a_radius() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert near.radius(x, x[:1], r=1.0).tolist() == [[0], [0]]
    assert near.radius(x, x[:1], r=1.0 + 1e-6).tolist() == [[0, 0], [0, 1]]


def test_the_nearest_point_of_the_other_set() -> None:
    x, y = points(3)
    kept = BATCH_X != 1
    made = batched.nearest(x[kept], y, BATCH_X[kept], BATCH_Y)
    for point, example, found in zip(x[kept], BATCH_X[kept], made, strict=True):
        distance = (y - point).square().sum(1).masked_fill(example != BATCH_Y, torch.inf)
        assert int(found) == int(distance.argmin())


@pytest.mark.parametrize("loop", [False, True])
def test_graphs_of_near_points(loop: bool) -> None:
    x, _ = points(3)
    distance = torch.cdist(x, x).masked_fill(BATCH_X[:, None] != BATCH_X, torch.inf)
    if not loop:
        distance.fill_diagonal_(torch.inf)
    edges = batched.knn_graph(x, 4, BATCH_X, loop=loop)
    for i in range(28):
        mine = edges[0, edges[1] == i].tolist()
        number = min(4, int(distance[i].isfinite().sum()))
        assert mine == distance[i].argsort()[:number].tolist()
    edges = batched.radius_graph(x, 1.5, BATCH_X, loop=loop, flow="target_to_source")
    assert {*pairs_of(edges)} == {*map(tuple, (distance < 1.5).nonzero().tolist())}


def test_points_in_one_place_are_not_their_own_neighbours() -> None:
    edges = batched.knn_graph(torch.zeros(5, 2), 2)
    assert bool((edges[0] != edges[1]).all())
    assert torch.bincount(edges[1]).tolist() == [2] * 5
    edges = batched.radius_graph(torch.zeros(5, 2), 1.0, max_num_neighbors=2)
    assert bool((edges[0] != edges[1]).all())
    assert torch.bincount(edges[1]).tolist() == [2] * 5


def test_without_points_there_are_no_neighbours() -> None:
    none, some = torch.empty(0, 3), torch.randn(4, 3)
    for x, y in ((none, some), (some, none), (none, none)):
        assert batched.knn(x, y, 2).shape == (2, 0)
        assert batched.radius(x, y, 2.0).shape == (2, 0)
    assert batched.nearest(none, some).shape == (0,)
    assert batched.fps(none).shape == (0,)
    assert clusters.grid_cluster(none, torch.ones(3)).shape == (0,)


# Clusters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("random_start", [False, True])
def test_each_next_point_is_the_farthest(random_start: bool) -> None:
    x, _ = points(3)
    chosen = batched.fps(x, BATCH_X, 0.4, random_start)
    assert torch.bincount(BATCH_X[chosen]).tolist() == [8, 2, 2]
    for example in range(3):
        mine = chosen[BATCH_X[chosen] == example]
        assert random_start or int(mine[0]) == int((BATCH_X.eq(example)).nonzero()[0])
        for number in range(1, len(mine)):
            distance = torch.cdist(x, x[mine[:number]]).min(1)[0].masked_fill(BATCH_X.ne(example), -1)
            assert int(mine[number]) == int(distance.argmax())
    assert torch.equal(batched.fps(x, ptr=[0, 20, 25, 28], ratio=0.4, random_start=False), batched.fps(
        x, BATCH_X, torch.tensor([0.4, 0.4, 0.4]), random_start=False))  # fmt: skip


def test_points_of_a_cell_are_a_cluster() -> None:
    pos, size = (
        10 * torch.rand(50, 3, dtype=torch.float64),
        torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64),
    )
    made = clusters.grid_cluster(pos, size)
    cell = [tuple(one) for one in ((pos - pos.min(0)[0]) / size).floor().long().tolist()]
    for i, j in itertools.combinations(range(50), 2):
        assert (made[i] == made[j]) == (cell[i] == cell[j])
    shifted = clusters.grid_cluster(pos, size, torch.zeros(3), torch.full((3,), 9.999))
    strides = torch.tensor([1, 5, 20])  # 5 x 4 x 2 cells
    assert torch.equal(shifted, ((pos / size).long() * strides).sum(1))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_pairs_are_neighbours_and_none_is_left_over(
    compiled: bool, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(matching, "_library", lambda index_type: None)
    edges = torch.randint(40, (2, 80))
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    weight = torch.rand(80, dtype=torch.float64).repeat(2) if weighted else None
    cluster = batched.graclus_cluster(edges[0], edges[1], weight, num_nodes=41)
    linked = {*pairs_of(edges)}
    alone: list[int] = []
    for name in cluster.unique().tolist():
        members = (cluster == name).nonzero().flatten().tolist()
        assert members[0] == name
        assert len(members) == 1 or (len(members) == 2 and tuple(members) in linked)
        alone += members if len(members) == 1 else []
    assert 40 in alone
    assert not any((a, b) in linked for a, b in itertools.permutations(alone, 2))


def test_the_heaviest_neighbour_is_the_partner() -> None:
    row, col = torch.tensor([0, 0, 0, 1, 2, 3]), torch.tensor([1, 2, 3, 0, 0, 0])
    weight = torch.tensor([1.0, 9.0, 2.0, 1.0, 9.0, 2.0])
    firsts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        firsts.add(tuple(batched.graclus_cluster(row, col, weight).tolist()))
    # If the middle node is visited first it takes node 2, else the visited leaf takes the middle.
    assert firsts == {(0, 1, 0, 3), (0, 0, 2, 3), (0, 1, 2, 0)}


def test_a_walk_says_which_edges_it_took() -> None:
    row, col = torch.randint(10, (40,)), torch.randint(10, (40,))
    walks, edges = batched.random_walk(row, col, torch.arange(11), 5, num_nodes=11, return_edge_indices=True)
    order = torch.argsort(row * 11 + col, stable=True)
    for walk, took in zip(walks.tolist(), edges.tolist(), strict=True):
        for (a, b), edge in zip(itertools.pairwise(walk), took, strict=True):
            stays = edge == -1
            assert (a == b and not bool((row == a).any())) if stays else (
                (int(row[order[edge]]), int(col[order[edge]])) == (a, b)
            )  # fmt: skip


# Splines ---------------------------------------------------------------------------------------------


def basis_function(degree: int, distance: float) -> float:
    """The cardinal B-spline of a degree, by Cox and de Boor's recursion, so far from its left end."""
    if degree == 0:
        return 1.0 if 0 <= distance < 1 else 0.0
    rise, fall = distance / degree, (degree + 1 - distance) / degree
    return rise * basis_function(degree - 1, distance) + fall * basis_function(degree - 1, distance - 1)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("open_spline", [0, 1])
def test_a_basis_is_the_product_of_b_splines(degree: int, open_spline: int) -> None:
    pseudo, size = torch.rand(6, 2, dtype=torch.float64), torch.tensor([5, 6])
    weight, point = splines.spline_basis(pseudo, size, torch.tensor([open_spline] * 2), degree)
    assert weight.shape == point.shape == (6, (degree + 1) ** 2)
    assert_close(weight.sum(1), torch.ones(6, dtype=torch.float64), atol=1e-12)
    for e in range(6):
        expected = torch.zeros(30, dtype=torch.float64)
        at = (pseudo[e] * (size - degree * open_spline)).tolist()
        near_by = (range(int(place), int(place) + degree + 1) for place in at)
        for i, j in itertools.product(*near_by):
            value = basis_function(degree, at[0] - i + degree) * basis_function(degree, at[1] - j + degree)
            expected[i % 5 + 5 * (j % 6)] += value
        assert_close(
            torch.zeros(30, dtype=torch.float64).index_add(0, point[e], weight[e]), expected, atol=1e-10
        )


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_splines_have_gradients(degree: int) -> None:
    pseudo = (0.1 + 0.8 * torch.rand(5, 2, dtype=torch.float64)).requires_grad_()
    size, is_open = torch.tensor([4, 5]), torch.tensor([1, 0])
    assert torch.autograd.gradcheck(lambda p: splines.spline_basis(p, size, is_open, degree)[0], pseudo)
    basis, point = splines.spline_basis(pseudo.detach(), size, is_open, degree)
    x, weight = torch.randn(5, 3, dtype=torch.float64), torch.randn(20, 3, 2, dtype=torch.float64)
    assert_same(
        lambda x, weight, basis: splines.spline_weighting(x, weight, basis, point),
        lambda x, weight, basis: torch.einsum("es,ei,esio->eo", basis, x, weight[point]),
        {"x": x, "weight": weight, "basis": basis},
        atol=1e-10,
    )


def test_the_layer_of_pytorch_geometric_is_the_function() -> None:
    from torch_geometric.nn import SplineConv

    x, edges, pseudo = torch.randn(6, 3), torch.randint(6, (2, 15)), torch.rand(15, 2)
    with mpnn.pyg.enabled():
        layer = SplineConv(3, 4, dim=2, kernel_size=5)
        with pytest.warns(UserWarning, match="move your data to GPU"):
            made = layer(x, edges, pseudo)
    size, is_open = torch.tensor([5, 5]), torch.tensor([1, 1])
    given = x, edges.flip(0), pseudo, layer.weight, size, is_open, 1, True, layer.lin.weight.T, layer.bias
    assert_close(made, spline_conv(*given), atol=1e-5)


def test_layers_and_pools_of_pytorch_geometric_run() -> None:
    from torch_geometric.nn import (
        DynamicEdgeConv,
        fps,
        graclus,
        knn_graph,
        max_pool,
        radius_graph,
        voxel_grid,
    )

    with mpnn.pyg.enabled():
        layer = DynamicEdgeConv(torch.nn.Linear(6, 4), k=3)
        pos, batch = torch.randn(20, 3), torch.tensor([0] * 12 + [1] * 8)
        assert layer(pos, batch).shape == (20, 4)
        assert torch.equal(knn_graph(pos, 3, batch), batched.knn_graph(pos, 3, batch))
        assert torch.equal(radius_graph(pos, 1.0, batch), batched.radius_graph(pos, 1.0, batch))
        assert len(fps(pos, batch, 0.5)) == 10
        edges = knn_graph(pos, 2)
        data = Batch.from_data_list([Data(x=pos, edge_index=edges, pos=pos)])
        assert max_pool(graclus(edges, num_nodes=20), data).num_nodes < 20
        assert voxel_grid(pos, 1.0, batch).shape == (20,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: near.knn(torch.ones(2, 3), torch.ones(2, 2)), "as many dimensions"),
        (lambda: near.knn(torch.ones(2, 3), torch.ones(2, 3), k=0), "k is 0"),
        (lambda: near.knn(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([0, 1])), "ptr_x must ascend"),
        (lambda: near.knn(torch.ones(2, 3) / 0, torch.ones(2, 3)), "must be finite"),
        (lambda: batched.knn(torch.ones(2, 3), torch.ones(2, 3), 1, torch.tensor([1, 0])), "batch_"),
        (lambda: batched.knn_graph(torch.ones(2, 3), 1, flow="up"), "flow is 'up'"),
        (lambda: batched.fps(torch.ones(2, 3), ratio=1.5), "ratio must be between"),
        (lambda: clusters.grid_cluster(torch.ones(2, 3), torch.zeros(3)), "size must hold 3"),
        (
            lambda: splines.spline_basis(torch.ones(2, 1), torch.tensor([3]), torch.tensor([1]), 4),
            "degree is 4",
        ),
    ],
)
def test_a_bad_argument_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
