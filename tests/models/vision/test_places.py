"""One ResNet on images with holes, on hexagonal pixels and on points in the plane."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models
from mpnn.models.vision.places import Nodes
from tests.compare import assert_close, assert_same
from tests.models.vision.plain import Plain
from tests.models.vision.test_resnet import SMALL, drawn

BATCH, HEIGHT, WIDTH = 2, 12, 13
IMAGES = torch.Size([BATCH, HEIGHT, WIDTH])


def rows(images: Tensor, exists: Tensor) -> Tensor:
    """`[batch, channels, height, width]` -> `[num_nodes, channels]`."""
    return images.movedim(1, -1)[exists]


class On(nn.Module):
    """A network on nodes, as a function of the images that they are of."""

    def __init__(self, network: nn.Module, on: Nodes, exists: Tensor) -> None:
        super().__init__()
        self.network, self.on, self.exists = network, on, exists

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.network(rows(images, self.exists), on=self.on)
        return out


class Oracle(nn.Module):
    """The same in PyTorch's functions, zeros where no pixel is."""

    def __init__(self, network: nn.Module, exists: Tensor, hexagonal: bool) -> None:
        super().__init__()
        self.network, self.exists, self.hexagonal = network, exists, hexagonal

    def forward(self, images: Tensor) -> Tensor:
        state = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        plain = Plain(state, self.exists, self.hexagonal, self.network.training)
        return plain(images * self.exists[:, None])


def pixels(share: float) -> Tensor:
    """Which pixels exist: this share of them, at random."""
    exists = torch.rand(IMAGES) < share
    exists[:, 5, 5] = True
    return exists


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("share", [0.15, 0.7, 1.0])
@pytest.mark.parametrize("kind", [models.Pixels, models.Hexagons])
@pytest.mark.parametrize("name", SMALL)
def test_missing_pixels_send_nothing_and_count_for_nothing(
    name: str, kind: type[models.Pixels], share: float, training: bool, backend: str
) -> None:
    exists, network = pixels(share), drawn(SMALL[name], training)
    images = torch.randn(BATCH, 2, HEIGHT, WIDTH, dtype=torch.float64)
    oracle = Oracle(network, exists, kind is models.Hexagons)
    with mpnn.backend(backend):
        assert_same(On(network, kind(exists), exists), oracle, [images])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_with_every_pixel_it_is_what_it_is_on_images(name: str, small: bool, training: bool) -> None:
    everywhere = torch.ones(IMAGES, dtype=torch.bool)
    build = partial(SMALL[name], small=small)
    ours, theirs = drawn(build, training), drawn(build, training)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(BATCH, 2, HEIGHT, WIDTH, dtype=torch.float64)
    assert_close(ours(rows(images, everywhere), on=models.Pixels(everywhere)), theirs(images))
    for entry, value in theirs.named_buffers():
        assert_close(ours.get_buffer(entry), value, name=entry)


def lattice(spacing: float, jitter: float) -> tuple[Tensor, Tensor]:
    """The places of all pixels, moved by at most `jitter`, and the image of each."""
    image, *place = torch.meshgrid(*map(torch.arange, IMAGES), indexing="ij")
    positions = torch.stack(place, -1).reshape(-1, 2).double()
    positions += jitter * (2 * torch.rand_like(positions) - 1)
    return spacing * positions, image.flatten()


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize(("spacing", "jitter"), [(1.0, 0.0), (0.3, 0.0), (1.0, 0.1)])
@pytest.mark.parametrize("name", SMALL)
def test_points_of_a_lattice_in_any_order_are_pixels(
    name: str, spacing: float, jitter: float, backend: str
) -> None:
    network, everywhere = drawn(SMALL[name]), torch.ones(IMAGES, dtype=torch.bool)
    images = torch.randn(BATCH, 2, HEIGHT, WIDTH, dtype=torch.float64)
    positions, image = lattice(spacing, jitter)
    order = torch.randperm(len(positions))
    on = models.Points(positions[order], spacing, image[order])
    with mpnn.backend(backend):
        assert_close(network(rows(images, everywhere)[order], on=on), network(images))


def test_a_window_of_points_has_the_nearest_of_its_own_image_in_rounded_places() -> None:
    positions, image = 8 * torch.rand(120, 2, dtype=torch.float64), torch.randint(3, (120,))
    points = models.Points(positions, 0.8, image)
    graph = points.window(3, 1, 1)
    assert graph.edge_type is not None
    found = set(zip(*graph.edge_index.tolist(), graph.edge_type.tolist(), strict=True))
    wanted = set()
    for i in range(120):
        near = [
            (float((positions[j] - positions[i]).abs().max()), j) for j in range(120) if image[j] == image[i]
        ]
        for far, j in sorted(near)[:9]:
            if far < 1.2:
                row, column = ((positions[j] - positions[i]) / 0.8).round().long().tolist()
                wanted.add((j, i, (row + 1) * 3 + column + 1))
    assert found == wanted


def test_a_stride_keeps_one_point_of_every_square() -> None:
    positions, image = 8 * torch.rand(120, 2, dtype=torch.float64), torch.randint(2, (120,))
    left = models.Points(positions, 1.0, image).strided(2)
    square = torch.cat([image[:, None], ((positions + 0.5) / 2).floor().long()], 1)
    of_left = torch.cat([left.number[:, None], ((left.positions + 0.5) / 2).floor().long()], 1)
    assert of_left.tolist() == sorted({tuple(one): one for one in square.tolist()}.values())


def test_the_order_of_points_changes_nothing() -> None:
    network = drawn(SMALL["basic"])
    positions, x = 12 * torch.rand(150, 2, dtype=torch.float64), torch.randn(150, 2, dtype=torch.float64)
    order = torch.randperm(150)
    out = network(x, on=models.Points(positions))
    assert_close(network(x[order], on=models.Points(positions[order])), out)


def test_a_hexagon_turned_by_a_sixth_has_the_same_neighbours() -> None:
    reach, size = 3, 7
    q, r = torch.meshgrid(torch.arange(-reach, reach + 1), torch.arange(-reach, reach + 1), indexing="ij")
    disc = (q + r).abs() <= reach  # a hexagon of hexagons
    on = models.Hexagons(disc[None])
    ours = {tuple(edge) for edge in on.window(3, 1, 1).edge_index.T.tolist()}
    number = torch.full((size, size), -1)
    number[disc] = torch.arange(int(disc.sum()))
    turned = number[-r[disc] + reach, (q + r)[disc] + reach]  # (q, r) -> (-r, q + r)
    assert sorted(turned.tolist()) == list(range(len(turned)))
    assert {(int(turned[j]), int(turned[i])) for j, i in ours} == ours


def test_it_learns_from_nodes_by_its_kernels_as_edge_by_edge() -> None:
    exists, targets = pixels(0.5), torch.tensor([0, 2])
    x = torch.randn(int(exists.sum()), 2, dtype=torch.float64)
    found = []
    for backend in ("auto", "eager"):
        torch.manual_seed(0)
        network, on = drawn(SMALL["basic"], True), models.Pixels(exists)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        losses = []
        with mpnn.backend(backend):
            for _ in range(10):
                loss = nn.functional.cross_entropy(network(x, on=on), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        found.append(torch.stack(losses))
    assert found[0][-1] < 0.5 * found[0][0]
    assert_close(found[0], found[1], 1e-8)


def test_graphs_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exists, network = pixels(0.5), drawn(SMALL["basic"])
    on, window, made = models.Pixels(exists), models.Pixels.window, []

    def noted(self: models.Pixels, *described: int) -> mpnn.Graph:
        made.append(described)
        return window(self, *described)

    monkeypatch.setattr(models.Pixels, "window", noted)
    x = torch.randn(int(exists.sum()), 2, dtype=torch.float64)
    for _ in range(2):
        network(x, on=on)
    # The first convolution, max pooling, layer1, the first block of layer2 with its shortcut, and the rest.
    assert made == [(7, 2, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 1), (1, 2, 1)]


@pytest.mark.parametrize(
    ("build", "kind", "said"),
    [
        (
            lambda: models.Pixels(torch.ones(1, 4, 4)),
            TypeError,
            "exists must be a bool tensor, got torch.float32.",
        ),
        (
            lambda: models.Pixels(torch.ones(4, 4, dtype=torch.bool)),
            ValueError,
            "exists must be [batch, height, width], got shape [4, 4].",
        ),
        (
            lambda: models.Pixels(torch.arange(2)[:, None, None].expand(2, 3, 3) > 0),
            ValueError,
            "exists has no pixel in image 0, but must have at least one.",
        ),
        (
            lambda: models.Points(torch.ones(5, 3)),
            ValueError,
            "positions must be [num_points, 2], got shape [5, 3].",
        ),
        (
            lambda: models.Points(torch.tensor([[0.0, torch.nan]])),
            ValueError,
            "positions must be finite floating-point numbers",
        ),
        (lambda: models.Points(torch.ones(5, 2), 0.0), ValueError, "spacing must be above 0, got 0.0."),
        (
            lambda: models.Points(torch.ones(2, 2), 1.0, torch.tensor([0, 2])),
            ValueError,
            "image must have every number from 0 to its largest",
        ),
        (
            lambda: models.Points(torch.ones(2, 2), 1.0, torch.tensor([0])),
            ValueError,
            "image must be int64 [2], a number for each point, got torch.int64 [1].",
        ),
        (
            lambda: models.Points(torch.ones(2, 2))(models.Conv2d(1, 1, 2), torch.ones(2, 1)),
            ValueError,
            "kernel_size is 2 and padding 0, but a window on nodes has its middle on a node",
        ),
        (
            lambda: models.Points(torch.ones(2, 2))(models.Conv2d(1, 1, (3, 1)), torch.ones(2, 1)),
            ValueError,
            "kernel_size is (3, 1), but windows on nodes are squares: one number.",
        ),
        (
            lambda: models.resnet20()(torch.ones(1, 3, 32, 32), on=models.Points(torch.ones(2, 2))),
            ValueError,
            "ResNet needs [num_nodes, 3], got [1, 3, 32, 32].",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(build: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        build()
