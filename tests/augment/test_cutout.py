"""Cutout: the square's place, its size at the border, and copies."""

import itertools

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from normlab.augment import Batch, PixelRange
from normlab.augment.boxes import mean_share, spans
from tests.augment.settings import make, unlabelled

RANGE = PixelRange(torch.tensor([-1.0]), torch.tensor([2.0]))


def cut(images: Tensor, seed: int = 0, **options: int) -> Batch:
    return make("cutout", **options)(unlabelled(images), Generator().manual_seed(seed), RANGE)


def test_side_16_hides_19_1_percent_of_32_pixels() -> None:
    """By hand: clipped lengths 8 to 15, 17 times 16, 15 to 9 are 14 on average; (14/32)^2."""
    transform = make("cutout", size=16)
    out = transform(unlabelled(torch.ones(20_000, 1, 32, 32)), Generator().manual_seed(0), RANGE)
    hidden = float((out.images == 0).float().mean())
    assert 100 * hidden == pytest.approx(19.1, abs=0.2)
    assert float(transform.last["hidden"]) == pytest.approx(hidden, abs=1e-6)
    assert transform.expected(32, 32) == (14 / 32) ** 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(("size", "height", "width"), [(1, 5, 7), (5, 9, 6), (6, 9, 6), (30, 9, 6)])
def test_the_expected_share_is_that_of_all_centers_counted(
    size: int, height: int, width: int
) -> None:
    total = 0
    for row, column in itertools.product(range(height), range(width)):
        mask = np.zeros((height, width))
        top, left = row - size // 2, column - size // 2
        mask[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 1
        total += mask.sum()
    wanted = total / (height * width) ** 2
    assert mean_share(size, height) * mean_share(size, width) == pytest.approx(wanted, rel=1e-12)
    found = make("cutout", size=size)
    found(unlabelled(torch.ones(20_000, 1, height, width)), Generator().manual_seed(0), RANGE)
    assert float(found.last["hidden"]) == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("size", [4, 5])
def test_unclipped_squares_have_the_side_asked_for(size: int) -> None:
    hidden = cut(torch.ones(2000, 1, 12, 12), size=size).images[:, 0] == 0
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.flatten(1).sum(1), rows * columns)
    assert (rows.max(), columns.max()) == (size, size)
    inner = ~(hidden[:, 0].any(1) | hidden[:, -1].any(1))
    assert (rows[inner] == size).all()


def test_every_pixel_is_a_center_as_often() -> None:
    hidden = cut(torch.ones(12_000, 1, 3, 4), size=1).images[:, 0] == 0
    counts = hidden.sum(0).flatten()
    assert counts.sum() == 12_000
    assert (counts - 1000).abs().max() < 4 * 1000**0.5


def test_even_spans_reach_further_to_the_left() -> None:
    assert spans(torch.tensor([3, 0, 5]), 4, 6).int().tolist() == [
        [0, 1, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1],
    ]
    assert spans(torch.tensor([3]), torch.tensor([3]), 6).int().tolist() == [[0, 0, 1, 1, 1, 0]]


def test_all_channels_lose_the_same_pixels_and_no_others_change() -> None:
    images = torch.rand(50, 3, 8, 8) + 0.5
    out = cut(images, size=4).images
    hidden = out == 0
    assert (hidden == hidden[:, :1]).all()
    assert torch.equal(out[~hidden], images[~hidden])


def test_copies_repeat_the_batch_with_masks_of_their_own() -> None:
    images = torch.rand(20, 3, 16, 16) + 0.5
    labels, targets = torch.arange(20), torch.eye(20)
    transform = make("cutout", size=12, copies=4)
    out = transform(Batch(images, labels, targets), Generator().manual_seed(0), RANGE)
    assert transform.copies == 4
    assert out.labels.tolist() == list(range(20)) * 4
    assert out.targets is not None
    assert torch.equal(out.targets, torch.eye(20).repeat(4, 1))
    hidden = out.images == 0
    assert torch.equal(out.images[~hidden], images.repeat(4, 1, 1, 1)[~hidden])
    assert hidden.flatten(1).any(1).all(), "no image stays unmasked"
    masks = hidden[:, 0].view(4, 20, -1)
    assert all(len(torch.unique(masks[:, n], dim=0)) > 1 for n in range(20))


def test_copies_without_a_square_are_plain_copies() -> None:
    images = torch.rand(5, 3, 8, 8)
    assert torch.equal(cut(images, size=0, copies=2).images, torch.cat((images, images)))
