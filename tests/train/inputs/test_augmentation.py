"""Images that are changed a little each time that they are learned from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from mpnn.train import RunError
from mpnn.train.choices import AUGMENT
from mpnn.train.inputs import augmentation as module
from mpnn.train.inputs.augmentation import augmentation
from tests.compare import assert_close


def _images(size: tuple[int, int] = (28, 28), number: int = 64) -> Tensor:
    smooth = torch.rand(
        number, 2, *(length // 4 for length in size), generator=torch.Generator().manual_seed(0)
    )
    return torch.nn.functional.interpolate(smooth, size, mode="bicubic").double()


def test_cropped_images_are_windows_of_images_with_a_margin_of_zeros() -> None:
    """As He et al. (2016) cut them for CIFAR-10: 81 ways, all as likely."""
    x = _images((32, 32), 300)
    wide, seen = torch.nn.functional.pad(x, (4, 4, 4, 4)), set()
    for one, other in zip(wide, augmentation("crop")(x), strict=True):
        fits = [
            (down, right)
            for down in range(9)
            for right in range(9)
            if torch.equal(one[:, down : down + 32, right : right + 32], other)
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 65


def test_shifted_images_are_the_same_pixels_elsewhere() -> None:
    x = _images()
    moved, seen = augmentation("shift")(x), set()
    for one, other in zip(x, moved, strict=True):
        middle = one[:, 2:-2, 2:-2]
        fits = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(middle, other[:, down : down + 24, right : right + 24])
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 15  # of 25 ways


def test_flipped_images_are_mirrored_or_as_they_were() -> None:
    x = _images()
    flipped = augmentation("flip")(x)
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(x, flipped, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(x, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 20 < sum(mirrored) < 44


def test_a_turned_image_is_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image that is higher than wide, too."""
    monkeypatch.setattr(module, "_drawn", lambda x, *shape: torch.ones(len(x), *shape).to(x))
    x = _images((32, 20), 1)
    turned = augmentation("rotate")(x)[0, 0].numpy()
    expected = scipy.ndimage.rotate(x[0, 0].numpy(), 15.0, reshape=False, order=1, mode="nearest")
    inside = (slice(4, -4), slice(4, -4))
    assert np.abs(turned[inside] - expected[inside]).max() < 1e-10


def test_a_zoomed_image_is_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_drawn", lambda x, *shape: torch.ones(len(x), *shape).to(x))
    x = _images((16, 24), 1)
    zoomed = augmentation("zoom")(x)[0, 0].numpy()
    middle = (np.array(x.shape[-2:]) - 1) / 2
    expected = scipy.ndimage.affine_transform(
        x[0, 0].numpy(), np.eye(2) * 1.1, offset=middle - 1.1 * middle, order=1, mode="nearest"
    )
    assert np.abs(zoomed - expected).max() < 1e-10


def test_an_erased_part_has_the_mean_of_its_image() -> None:
    x = _images()
    erased = augmentation("erase")(x)
    changed = (x != erased).any(1)
    assert_close(changed.sum((1, 2)).double(), torch.full((64,), 64.0).double())  # 8 x 8 of 28 x 28
    assert_close(erased[changed[:, None].expand_as(x)].view(64, 2, -1).mean(-1), x.mean((-2, -1)))


def test_all_changes_together_keep_the_form_and_follow_the_seed() -> None:
    x, every = _images((9, 5), 3).float(), augmentation(",".join(AUGMENT))
    torch.manual_seed(1)
    one = every(x)
    torch.manual_seed(1)
    assert one.shape == x.shape and one.dtype == x.dtype
    assert torch.equal(one, every(x)) and not torch.equal(one, every(x))
    assert torch.equal(augmentation(None)(x), x)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("blur", "augment is 'blur', but should be some of crop, shift, flip"),
        ("flip,flip", "names flip twice"),
    ],
)
def test_unknown_changes_are_refused(asked: str, why: str) -> None:
    with pytest.raises(RunError, match=why):
        augmentation(asked)
