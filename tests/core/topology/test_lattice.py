"""Lattices of units against networkx, and against the distances between their units."""

import math
from itertools import product

import networkx as nx
import pytest
import torch
from torch import Tensor

from mpnn import Graph, topology
from mpnn.topology import Lattice


def edges_of(graph: Graph) -> list[tuple[int, int]]:
    return list(zip(*graph.edge_index.tolist(), strict=True))


@pytest.mark.parametrize("torus", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2,), (6,), (3, 4), (1, 5), (2, 3), (3, 2, 4), (3, 3, 3)], ids=str)
def test_a_rectangular_lattice_is_the_grid_graph_of_networkx(shape: tuple[int, ...], torus: bool) -> None:
    # Where two units are on opposite edges and neighbours too, networkx would count them twice.
    wraps = [torus and extent > 2 for extent in reversed(shape)]
    theirs = nx.grid_graph(tuple(reversed(shape)), periodic=tuple(wraps))
    number = {place if len(shape) > 1 else place[0]: k for k, place in enumerate(product(*map(range, shape)))}
    expected = {(number[u], number[v]) for u, v in theirs.to_directed().edges}
    ours = topology.lattice(shape, torus=torus)
    assert len(edges_of(ours)) == len(expected)
    assert set(edges_of(ours)) == expected


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 4), (5, 3), (6, 5)])
def test_a_hexagonal_lattice_is_the_triangular_lattice_of_networkx(rows: int, columns: int) -> None:
    theirs = nx.triangular_lattice_graph(rows - 1, 2 * (columns - 1))
    expected = {(r * columns + c, s * columns + d) for (c, r), (d, s) in theirs.to_directed().edges}
    ours = topology.lattice((rows, columns), hexagonal=True)
    assert len(edges_of(ours)) == len(expected)
    assert set(edges_of(ours)) == expected


def nearest(lattice: Lattice) -> list[tuple[int, int]]:
    """All pairs of units with copies at distance 1, on a plane tiled with the torus."""
    height = lattice.shape[0] * (math.sqrt(3) / 2 if lattice.hexagonal else 1)
    shifts = [torch.tensor([a * height, b * float(lattice.shape[1])]) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    difference = lattice.positions[:, None] - lattice.positions
    distance = torch.stack([(difference + shift).norm(dim=-1) for shift in shifts]).amin(0)
    assert torch.allclose(distance, lattice.distances(), atol=1e-5)
    i, j = (distance - 1).abs().lt(1e-4).nonzero().T.tolist()
    return list(zip(j, i, strict=True))


@pytest.mark.parametrize("shape", [(4, 3), (4, 6), (6, 5)], ids=str)
@pytest.mark.parametrize("hexagonal", [False, True])
def test_neighbours_on_a_torus_are_the_units_at_distance_one(shape: tuple[int, int], hexagonal: bool) -> None:
    lattice = topology.lattice(shape, hexagonal=hexagonal, torus=True)
    assert sorted(edges_of(lattice)) == sorted(nearest(lattice))
    assert lattice.in_degree.unique().tolist() == [6 if hexagonal else 4]


def test_distances_are_those_of_the_positions() -> None:
    for lattice in (topology.lattice((3, 4, 2)), topology.lattice((5, 4), hexagonal=True)):
        some = torch.tensor([3, 0])
        expected: Tensor = torch.cdist(lattice.positions[some], lattice.positions)
        assert torch.allclose(lattice.distances(some), expected, atol=1e-5)


@pytest.mark.parametrize("torus", [False, True])
@pytest.mark.parametrize("hexagonal", [False, True])
def test_offsets_are_distances_along_each_dimension_as_exact_as_asked(hexagonal: bool, torus: bool) -> None:
    lattice, rows = topology.lattice((4, 6), hexagonal=hexagonal, torus=torus), torch.arange(24) // 6
    units = torch.tensor([7, 0])
    offsets = lattice.offsets(units, torch.float64)
    assert offsets.shape == (2, 24, 2) and offsets.dtype == torch.float64
    assert torch.equal(lattice.offsets(units), lattice.offsets()[units])
    assert torch.allclose(offsets.norm(dim=-1).float(), lattice.distances(units), atol=1e-6)
    down = (rows[units][:, None] - rows).abs()
    down = torch.minimum(down, 4 - down) if torus else down
    tall = math.sqrt(3) / 2 if hexagonal else 1.0
    assert torch.allclose(offsets[..., 0], down.double() * tall, atol=1e-15, rtol=0)


def test_units_are_numbered_row_by_row() -> None:
    assert topology.lattice((2, 2)).positions.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert topology.lattice((2, 2), hexagonal=True).positions[:, 1].tolist() == [0, 1, 0.5, 1.5]


@pytest.mark.parametrize("shape", [(3, 4), (2, 4), (5, 5), (4, 2)], ids=str)
def test_a_hexagonal_torus_that_does_not_fit_together_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a hexagonal torus needs an even number of rows"):
        topology.lattice(shape, hexagonal=True, torus=True)


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape is \(3,\), but a hexagonal lattice has rows and columns"):
        topology.lattice(3, hexagonal=True)
    with pytest.raises(ValueError, match=r"shape\[1\] is 0, but must be at least 1"):
        topology.lattice((3, 0))
