"""Shift, crop, rotation and affine maps beside plain per-pixel loops and PIL."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from normlab.augment import PixelRange
from normlab.augment.geometry import Motion, affine, rotate
from normlab.augment.sampling import shifted
from normlab.recipe.augment import Fill, Interpolation
from tests.augment import reference
from tests.augment.settings import make, unlabelled

FILLS: tuple[Fill, ...] = ("black", "nearest", "reflect")
HOW: tuple[Interpolation, ...] = ("nearest", "bilinear")
LOW = torch.tensor([-1.0, -0.5])
RANGE = PixelRange(LOW, torch.tensor([2.0, 1.5]))

fills = pytest.mark.parametrize("fill", FILLS)
ways = pytest.mark.parametrize("how", HOW)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(0), dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def matches(ours: Tensor, image: Tensor, forward: reference.Array, fill: str, how: str) -> None:
    wanted, clear = reference.warped(image.numpy(), forward, fill, how, LOW.double().numpy())
    assert clear.mean() > 0.8
    np.testing.assert_allclose(ours.numpy()[:, clear], wanted[:, clear], rtol=0, atol=1e-5)


@fills
@ways
@pytest.mark.parametrize("size", [(7, 7), (6, 9)])
def test_rotation_is_that_of_the_plain_loops(
    size: tuple[int, int], how: Interpolation, fill: Fill
) -> None:
    x, angles = images(4, 2, *size), column(13.7, -31.2, 89.1, 171.3)
    turned = rotate(x, angles, fill=fill, interpolation=how, low=LOW)
    for n, angle in enumerate(angles.tolist()):
        matches(turned[n], x[n], reference.motion(size, degrees=-angle), fill, how)


@fills
@ways
@pytest.mark.parametrize("size", [(7, 7), (6, 9)])
def test_affine_maps_are_those_of_the_plain_loops(
    size: tuple[int, int], how: Interpolation, fill: Fill
) -> None:
    x = images(3, 2, *size)
    motion = Motion(
        column(17.1, -64.3, 0.0),
        column(11.2, -23.9, 8.4),
        column(0.7, 1.6, 1.1),
        column(1.3, -2.6, 40.2),
        column(-0.6, 3.3, -25.7),
    )
    moved = affine(x, motion, fill=fill, interpolation=how, low=LOW)
    for n, (degrees, shear, scale, right, down) in enumerate(torch.stack(motion, 1).tolist()):
        forward = reference.motion(
            size, degrees=degrees, shear=shear, scale=scale, shift=(right, down)
        )
        matches(moved[n], x[n], forward, fill, how)


@fills
def test_whole_shifts_are_those_of_the_plain_loops(fill: Fill) -> None:
    x = images(4, 2, 5, 6)
    right, down = torch.tensor([1, -2, 0, 17]), torch.tensor([0, 3, -1, -23])
    moved = shifted(x, right, down, fill, LOW)
    for n, shift in enumerate(zip(right.tolist(), down.tolist(), strict=True)):
        matches(moved[n], x[n], reference.motion((5, 6), shift=shift), fill, "nearest")


def test_a_quarter_turn_goes_against_the_clock() -> None:
    x = images(1, 2, 6, 6)
    for how in HOW:
        turned = rotate(x, column(90.0), fill="black", interpolation=how, low=LOW)
        torch.testing.assert_close(turned, x.rot90(1, (2, 3)), rtol=0, atol=1e-5)


def test_affine_turns_with_the_clock_and_shear_leans_the_top_to_the_right() -> None:
    nothing, one = column(0.0), column(1.0)
    x = images(1, 2, 6, 6)
    quarter = Motion(column(90.0), nothing, one, nothing, nothing)
    turned = affine(x, quarter, fill="black", interpolation="nearest", low=LOW)
    assert torch.equal(turned, x.rot90(-1, (2, 3)))
    upright = torch.zeros(1, 2, 9, 9)
    upright[..., 4] = 1
    lean = Motion(nothing, column(45.0), one, nothing, nothing)
    leaning = affine(upright, lean, fill="nearest", interpolation="nearest", low=LOW)
    assert torch.equal(leaning[0, 0], torch.eye(9).flip(1))


@fills
def test_at_rest_nearest_keeps_every_bit_and_bilinear_all_but_rounding(fill: Fill) -> None:
    x = images(2, 2, 7, 8).float()
    nothing = column(0.0, 0.0)
    motion = Motion(nothing, nothing, nothing + 1, nothing, nothing)
    for how, error in (("nearest", 0.0), ("bilinear", 2e-6)):
        turned = rotate(x, nothing, fill=fill, interpolation=how, low=LOW)
        moved = affine(x, motion, fill=fill, interpolation=how, low=LOW)
        torch.testing.assert_close(turned, x, rtol=0, atol=error)
        torch.testing.assert_close(moved, x, rtol=0, atol=error)
    assert torch.equal(shifted(x, nothing.long(), nothing.long(), fill, LOW), x)


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (21, 30)])
def test_nearest_rotation_is_pil_s(size: tuple[int, int]) -> None:
    x = (images(8, 1, *size) * 255).round()
    angles = column(6.0, -5.3, 0.7, 15.0, -14.2, 33.3, 88.0, -120.0)
    ours = rotate(x, angles, fill="black", interpolation="nearest", low=torch.tensor([7.0]))
    for n, angle in enumerate(angles.tolist()):
        image = Image.fromarray(x[n, 0].numpy().astype(np.uint8))
        theirs = np.asarray(image.rotate(angle, Image.Resampling.NEAREST, fillcolor=7))
        # PIL counts in 1/65536 of a pixel: next to a tie it may take the neighbor.
        assert np.mean(ours[n, 0].numpy() == theirs) > 0.995


def torchvision_matrix(
    size: tuple[int, int], motion: tuple[float, float, float, float, float]
) -> list[float]:
    """What torchvision hands to PIL for `affine`, from the formula in its documentation."""
    angle, shear, scale, right, down = motion
    height, width = size
    a, s = math.radians(angle), math.radians(shear)
    row = [math.cos(a), -math.cos(a) * math.tan(s) - math.sin(a)]
    forward = np.array([row, [math.sin(a), -math.sin(a) * math.tan(s) + math.cos(a)]]) * scale
    back = np.linalg.inv(forward)
    center = np.array([width * 0.5, height * 0.5])
    offset = center - back @ (center + np.array([right, down]))
    return [*back[0], offset[0], *back[1], offset[1]]


def test_nearest_affine_maps_are_pil_s_as_torchvision_calls_it() -> None:
    size, several = (28, 30), [(7.0, 6.1, 0.8, 2.0, -1.0), (-5.2, -7.0, 1.2, -3.0, 3.0)]
    x = (images(2, 1, *size) * 255).round()
    motion = Motion(*torch.tensor(several, dtype=torch.float32).unbind(1))
    ours = affine(x, motion, fill="black", interpolation="nearest", low=torch.zeros(1))
    for n, one in enumerate(several):
        image = Image.fromarray(x[n, 0].numpy().astype(np.uint8))
        matrix = torchvision_matrix(size, one)
        theirs = image.transform((30, 28), Image.Transform.AFFINE, matrix, fillcolor=0)
        assert np.mean(ours[n, 0].numpy() == np.asarray(theirs)) > 0.995


def test_bilinear_rotation_is_pil_s_away_from_the_border() -> None:
    x, angles = images(3, 1, 25, 31).float(), column(12.0, -33.0, 77.0)
    ours = rotate(x, angles, fill="black", interpolation="bilinear", low=torch.zeros(1))
    inside = torch.ones(1, 1, 25, 31)
    inside[..., 2:-2, 2:-2] = 2
    for n, angle in enumerate(angles.tolist()):
        turn = Image.Resampling.BILINEAR
        theirs = np.asarray(Image.fromarray(x[n, 0].numpy()).rotate(angle, turn))
        region = rotate(
            inside, angles[n : n + 1], fill="black", interpolation="nearest", low=torch.zeros(1)
        )
        clear = region[0, 0].numpy() == 2
        assert clear.sum() > 150
        np.testing.assert_allclose(ours[n, 0].numpy()[clear], theirs[clear], rtol=0, atol=1e-4)


def moves(kind: str, count: int, **options: object) -> tuple[Tensor, Tensor]:
    """How far a bright pixel in the middle of 41x41 went, right and down."""
    x = torch.zeros(count, 2, 41, 41)
    x[:, :, 20, 20] = 1
    out = make(kind, **options)(
        unlabelled(x), Generator().manual_seed(0), PixelRange(torch.zeros(2), torch.ones(2))
    ).images
    place = out[:, 0].flatten(1).argmax(1)
    return place % 41 - 20, place // 41 - 20


def test_crops_are_uniform_over_all_places() -> None:
    right, down = moves("crop", 9000, padding=1)
    counts = torch.bincount((right + 1) * 3 + down + 1, minlength=9)
    assert counts.sum() == 9000
    assert (counts - 1000).abs().max() < 4 * math.sqrt(1000)


def test_shifts_go_up_to_their_fraction_of_each_side_in_whole_pixels() -> None:
    right, down = moves("shift", 4000, x=0.1, y=0.3)
    assert (right.min(), right.max()) == (-4, 4)  # 0.1 * 41 = 4.1
    assert (down.min(), down.max()) == (-12, 12)  # 0.3 * 41 = 12.3
    # P(round(u) = 3) for u uniform in +-4.1 is 1 / 8.2
    assert float((right == 3).float().mean()) == pytest.approx(1 / 8.2, abs=0.02)


def test_a_shift_of_one_axis_leaves_the_other() -> None:
    right, down = moves("shift", 500, x=0.2)
    assert right.abs().max() > 5
    assert not down.any()


def test_a_bilinear_shift_keeps_its_decimals() -> None:
    ramp = torch.arange(30.0).expand(200, 1, 30, 30)
    moved = make("shift", x=0.1, interpolation="bilinear", fill="nearest")(
        unlabelled(ramp), Generator().manual_seed(0), PixelRange(torch.zeros(1), torch.ones(1))
    ).images
    went = 15 - moved[:, 0, 15, 15]
    assert went.abs().max() < 3
    assert float(went.abs().mean()) == pytest.approx(1.5, abs=0.15)
    assert (went - went.round()).abs().mean() > 0.15
    torch.testing.assert_close(moved[:, 0, 3, 12], 12 - went)


def test_angles_and_scales_fill_their_ranges() -> None:
    transform = make("affine", degrees=10, shear=6, shift=0.25, scale=[0.5, 2.5])
    x = torch.zeros(4000, 1, 40, 20)
    transform(unlabelled(x), Generator().manual_seed(0), PixelRange(torch.zeros(1), torch.ones(1)))
    means = {name: float(value) for name, value in transform.last.items()}
    wanted = {"degrees": 5, "shear": 3, "scale": 1.5, "x": 2.5, "y": 5}
    assert means == pytest.approx(wanted, rel=0.05)
    turn = make("rotation", degrees=10)
    turn(unlabelled(x), Generator().manual_seed(0), PixelRange(torch.zeros(1), torch.ones(1)))
    assert float(turn.last["degrees"]) == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize(("kind", "dim"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_flips_mirror_the_share_they_should(kind: str, dim: int) -> None:
    x = images(4000, 1, 3, 4)
    for p in (0.2, 1.0):
        transform = make(kind, p=p)
        out = transform(unlabelled(x), Generator().manual_seed(0), RANGE).images
        mirrored = (out == x.flip(dim)).flatten(1).all(1)
        kept = (out == x).flatten(1).all(1)
        assert (mirrored ^ kept).all()
        assert float(mirrored.float().mean()) == pytest.approx(p, abs=0.02)
        assert transform.last["flipped"] == mirrored.float().mean()
