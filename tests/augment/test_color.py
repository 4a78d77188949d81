"""Brightness and contrast beside PIL's `ImageEnhance`, and on scaled pixels."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Generator, Tensor

from normlab.augment import PixelRange
from normlab.augment.color import brighten, change_contrast
from tests.augment.settings import make, unlabelled

FACTORS = torch.tensor([0.0, 0.3, 0.6, 1.0, 1.37, 2.5])
ENHANCE = [(brighten, ImageEnhance.Brightness), (change_contrast, ImageEnhance.Contrast)]


def raw(channels: int) -> Tensor:
    shape = (len(FACTORS), channels, 10, 12)
    drawn = torch.randint(0, 256, shape, generator=Generator().manual_seed(0))
    return (drawn * torch.tensor([0.9, 0.5, 0.2])[:channels, None, None]).round().double() / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("ours", "theirs"), ENHANCE)
def test_blends_are_pil_s_but_for_its_rounding(ours, theirs, channels: int) -> None:  # type: ignore[no-untyped-def]
    x = raw(channels)
    full = PixelRange(torch.zeros(channels), torch.ones(channels))
    changed = ours(x, FACTORS, full)
    for n, factor in enumerate(FACTORS.tolist()):
        array = (x[n] * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
        image = Image.fromarray(array[..., 0] if channels == 1 else array)
        wanted = np.asarray(theirs(image).enhance(factor)).reshape(10, 12, channels)
        found = (changed[n] * 255).numpy().transpose(1, 2, 0)
        # PIL cuts pixels down to whole steps and rounds the grey, which a factor multiplies.
        assert np.abs(found - wanted).max() < 1 + abs(1 - factor) * 0.51 + 1e-6


@pytest.mark.parametrize("ours", [brighten, change_contrast])
def test_scaled_pixels_are_changed_as_raw_ones(ours) -> None:  # type: ignore[no-untyped-def]
    mean, std = torch.tensor([0.4, 0.2, 0.6]).double(), torch.tensor([0.3, 0.1, 0.2]).double()

    def scale(images: Tensor) -> Tensor:
        return (images - mean[:, None, None]) / std[:, None, None]

    x = raw(3)
    wanted = scale(ours(x, FACTORS, PixelRange(torch.zeros(3).double(), torch.ones(3).double())))
    pixels = PixelRange(-mean / std, (1 - mean) / std)
    torch.testing.assert_close(ours(scale(x), FACTORS, pixels), wanted)


@pytest.mark.parametrize("ours", [brighten, change_contrast])
def test_a_factor_of_one_keeps_every_bit(ours) -> None:  # type: ignore[no-untyped-def]
    low, high = torch.tensor([-0.7, -1.3]), torch.tensor([2.1, 1.9])
    x = low[:, None, None] + torch.rand(5, 2, 6, 6) * (high - low)[:, None, None] * 0.999
    assert torch.equal(ours(x, torch.ones(5), PixelRange(low, high)), x)


def test_two_channels_are_averaged_for_the_grey() -> None:
    x = torch.tensor([0.2, 0.8])[None, :, None, None].expand(1, 2, 3, 3)
    grey = change_contrast(x, torch.zeros(1), PixelRange(torch.zeros(2), torch.ones(2)))
    torch.testing.assert_close(grey, torch.full((1, 2, 3, 3), 0.5))


@pytest.mark.parametrize(("strength", "low", "high"), [(0.4, 0.6, 1.4), (1.5, 0.0, 2.5)])
def test_factors_fill_their_range_and_never_go_below_0(
    strength: float, low: float, high: float
) -> None:
    x = torch.full((4000, 1, 1, 1), 0.1)
    pixels = PixelRange(torch.zeros(1), torch.ones(1))
    transform = make("brightness", strength=strength)
    factors = transform(unlabelled(x), Generator().manual_seed(0), pixels).images / 0.1
    assert float(factors.min()) == pytest.approx(low, abs=0.01)
    assert float(factors.max()) == pytest.approx(high, abs=0.01)
    assert float(factors.mean()) == pytest.approx((low + high) / 2, rel=0.02)
    torch.testing.assert_close(transform.last["change"], (factors - 1).abs().mean())
