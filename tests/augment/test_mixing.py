"""Mixup, cutmix and label smoothing: weights, targets, and their papers' formulas."""

import math

import pytest
import torch
from scipy import stats
from torch import Generator
from torch.nn import functional as F

from normlab.augment import Batch, PixelRange
from normlab.augment.label_smoothing import smooth
from normlab.augment.mixing import beta, cutmix, mixup
from tests.augment.settings import make

RANGE = PixelRange(torch.zeros(1), torch.ones(1))


def batch(count: int, side: int = 8) -> Batch:
    """Every image shows its own number."""
    numbers = torch.arange(count, dtype=torch.float64)
    images = numbers[:, None, None, None].expand(count, 2, side, side).contiguous()
    return Batch(images, torch.arange(count), torch.eye(count, dtype=torch.float64))


def targets_of(batch: Batch) -> torch.Tensor:
    assert batch.targets is not None
    return batch.targets


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 5.0, 1000.0])
def test_weights_are_beta_distributed(alpha: float) -> None:
    drawn = beta(torch.empty(20_000, 1), alpha, Generator().manual_seed(0)).double().numpy()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert drawn.mean() == pytest.approx(0.5, abs=5 / math.sqrt(4 * 20_000 * (2 * alpha + 1)))
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    # Within float32 of 0 or 1 a draw is 0 or 1: there the distribution is compared by its tails.
    for point in (1e-6, 0.1, 0.3, 0.5, 0.8):
        wanted = stats.beta(alpha, alpha).cdf(point)
        assert (drawn <= point).mean() == pytest.approx(wanted, abs=0.015)


def test_mixup_averages_images_and_targets() -> None:
    given = batch(3)
    partners, weights = torch.tensor([1, 2, 0]), torch.tensor([0.75, 0.5, 1.0])
    mixed = mixup(given, partners, weights)
    assert mixed.images[:, 0, 0, 0].tolist() == [0.25, 1.5, 2.0]
    assert targets_of(mixed).tolist() == [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1]]


def test_cutmix_shows_the_partner_inside_the_box_and_weighs_by_area() -> None:
    given = batch(2, side=4)
    boxes = torch.zeros(2, 4, 4, dtype=torch.float64)
    boxes[0, :2, 1:] = 1
    mixed = cutmix(given, torch.tensor([1, 0]), boxes, boxes.mean((1, 2)))
    assert mixed.images[0, 1].tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [0] * 4, [0] * 4]
    assert torch.equal(mixed.images[1], given.images[1])
    assert targets_of(mixed).tolist() == [[0.625, 0.375], [0, 1]]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_say_what_the_images_show(kind: str) -> None:
    given = batch(300)
    transform = make(kind, alpha=1.0)
    mixed = transform(given, Generator().manual_seed(0), RANGE)
    targets = targets_of(mixed)
    shown = mixed.images.mean((1, 2, 3))
    torch.testing.assert_close(shown, targets @ torch.arange(300.0, dtype=torch.float64))
    own = targets.diagonal()
    partners = (targets - own.diag()).argmax(1)[own < 1]
    assert len(torch.unique(partners)) == len(partners), "a partner serves one image"
    assert float(transform.last["lambda"]) == pytest.approx(float(own.mean()), abs=0.01)
    assert len(torch.unique(own)) > 15


def test_cutmix_counts_the_pixels_left_after_clipping() -> None:
    """Boxes at the border are smaller than drawn, so an image keeps more than half of itself."""
    given = batch(4000)
    mixed = make("cutmix", alpha=1.0)(given, Generator().manual_seed(0), RANGE)
    kept = (mixed.images == given.images).all(1).double().mean((1, 2))
    own = targets_of(mixed).diagonal()
    different = own < 1
    torch.testing.assert_close(own[different], kept[different], rtol=0, atol=1e-7)
    assert float(kept.mean()) > 0.55


def test_cutmix_boxes_have_the_drawn_sides_where_nothing_clips() -> None:
    given = batch(3000, side=16)
    mixed = make("cutmix", alpha=1000.0)(given, Generator().manual_seed(0), RANGE)
    taken = (mixed.images != given.images)[:, 0]
    rows = taken.any(2).sum(1)
    inner = ~(taken[:, 0].any(1) | taken[:, -1].any(1)) & taken.flatten(1).any(1)
    # weight 0.5 +- 0.01: side 16 sqrt(0.5) = 11.3
    assert rows[inner].double().mean() == pytest.approx(11, abs=0.2)


def test_smoothed_targets_give_torch_s_smoothed_loss() -> None:
    logits, labels = torch.randn(20, 7, dtype=torch.float64), torch.arange(20) % 7
    for strength in (0.1, 0.5):
        soft = smooth(F.one_hot(labels, 7).double(), strength)
        ours = F.cross_entropy(logits, soft)
        torch.testing.assert_close(ours, F.cross_entropy(logits, labels, label_smoothing=strength))


def test_smoothing_says_how_much_a_target_loses() -> None:
    transform = make("label_smoothing", strength=0.2)
    given = Batch(torch.zeros(4, 1, 2, 2), torch.arange(4), torch.eye(4))
    out = transform(given, Generator(), RANGE)
    assert targets_of(out)[0].tolist() == pytest.approx([0.85, 0.05, 0.05, 0.05])
    assert float(transform.last["spread"]) == pytest.approx(0.15)
