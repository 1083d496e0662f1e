"""Pictures of maps and of codes show what they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpnn import Graph, topology
from mpnn.models import SelfOrganisingMap
from mpnn.train import (
    latent_picture,
    latent_plane_picture,
    planes_picture,
    reconstructions_picture,
    samples_picture,
    umatrix_picture,
)
from tests.present import present
from tests.train.drawn import count

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))


def som(graph: Graph | int | tuple[int, ...]) -> SelfOrganisingMap:
    return SelfOrganisingMap(graph, 3, sigma=2.0).random_weights_init(X).fit_batch(X, 5)


@pytest.mark.parametrize("graph", [5, (4, 5), topology.lattice((4, 5), hexagonal=True)])
def test_every_unit_is_drawn_once_with_the_distance_from_its_neighbours(graph: Any) -> None:
    one = som(graph)
    axes, _ = umatrix_picture(one, X, title="iris").axes
    (units,) = axes.collections
    assert np.allclose(present(units.get_array()), one.distance_map("mean").flatten().numpy())
    assert len(units.get_paths()) == one.graph.num_nodes
    won = one.activation_response(X).flatten()
    assert [int(text.get_text()) for text in axes.texts] == won[won > 0].tolist()


@pytest.mark.parametrize("graph", [(4, 5), topology.lattice((4, 5), hexagonal=True)])
def test_units_are_where_they_are_on_the_map(graph: Any) -> None:
    one = som(graph)
    axes = umatrix_picture(one).axes[0]
    centres = np.array([np.asarray(path.vertices)[:-1].mean(0) for path in axes.collections[0].get_paths()])
    lattice = one.graph
    assert isinstance(lattice, topology.Lattice)
    assert np.allclose(centres[:, ::-1], lattice.positions.numpy(), atol=1e-6)
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first row above the others
    corners = {len(np.asarray(path.vertices)) - 1 for path in axes.collections[0].get_paths()}
    assert corners == {6 if lattice.hexagonal else 4}


def test_there_is_a_plane_for_each_feature() -> None:
    one = som((4, 5))
    planes = [axes for axes in planes_picture(one, ["a", "b", "c"], columns=2).axes if axes.get_title()]
    assert [axes.get_title() for axes in planes] == ["a", "b", "c"]
    for axes, plane in zip(planes, one.component_planes(), strict=True):
        assert np.allclose(present(axes.collections[0].get_array()), plane.flatten().numpy())
    with pytest.raises(ValueError, match="feature_names must be 3, one for each feature, got 1"):
        planes_picture(one, ["a"])


@pytest.mark.parametrize("graph", [topology.lattice((2, 2, 2)), topology.complete(4, self_loops=False)])
def test_a_map_without_a_plane_is_not_drawn(graph: Graph) -> None:
    with pytest.raises(ValueError, match="som must be on a lattice of one or two dimensions"):
        umatrix_picture(som(graph))


def test_a_reconstruction_is_below_its_image() -> None:
    x, rebuilt = torch.rand(5, 9), torch.rand(5, 9)
    (axes,) = reconstructions_picture(x, rebuilt).axes
    drawn = np.asarray(present(axes.images[0].get_array()))
    assert drawn.shape == (7, 19)  # a pixel between two images
    assert np.allclose(drawn[:3, 4:7], x[1].view(3, 3)) and np.allclose(drawn[4:, 4:7], rebuilt[1].view(3, 3))
    with pytest.raises(ValueError, match=r"rebuilt must be \[5, 9\] as x, got shape \[4, 9\]"):
        reconstructions_picture(x, rebuilt[:4])


def test_images_fill_rows_and_the_last_row_may_be_shorter() -> None:
    images = torch.rand(5, 2, 3)
    (axes,) = samples_picture(images, columns=3).axes
    drawn = np.asarray(present(axes.images[0].get_array()))
    assert drawn.shape == (5, 11)
    assert np.allclose(drawn[3:, 4:7], images[4])
    for bad in (torch.rand(5, 8), torch.rand(0, 9), torch.rand(9)):
        with pytest.raises(ValueError, match=r"images must be \[count, pixels\] of square images or"):
            samples_picture(bad)


@pytest.mark.parametrize("channels", [2, 6])
def test_every_code_is_drawn_once_wide_ones_by_their_components(channels: int) -> None:
    codes = torch.randn(40, channels) * torch.arange(channels, 0, -1) ** 2
    (axes,) = latent_picture(codes, torch.arange(40) % 3, ["a", "b", "c"]).axes
    assert sum(map(count, axes.collections)) == 40
    places = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    expected = codes if channels == 2 else codes - codes.mean(0)
    kept = np.linalg.svd(expected.numpy(), compute_uv=False)[:2]
    assert np.allclose(np.linalg.svd(places, compute_uv=False), kept, rtol=1e-5)
    with pytest.raises(ValueError, match=r"codes must be \[count, channels\] of two channels or more"):
        latent_picture(torch.rand(4, 1), torch.zeros(4), ["a"])


def test_a_plane_of_codes_has_steps_of_equal_probability() -> None:
    seen = []

    def decode(codes: torch.Tensor) -> torch.Tensor:
        seen.append(codes)
        return codes.repeat(1, 2)

    (axes,) = latent_plane_picture(decode, 5).axes
    (codes,) = seen
    along = torch.special.ndtr(codes.view(5, 5, 2))
    assert torch.allclose(along[0, :, 0], torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), atol=1e-6)
    assert torch.allclose(along[:, 0, 1], torch.tensor([0.9, 0.7, 0.5, 0.3, 0.1]), atol=1e-6)
    assert np.asarray(present(axes.images[0].get_array())).shape == (14, 14)
