"""What every augmentation must do, whatever it is."""

import pytest
import torch
from torch import Generator

from normlab.augment import AUGMENTATIONS, Batch, Pipeline, PixelRange
from normlab.recipe.augment import AUGMENTATIONS as SPECS
from tests.augment.settings import CASES, OFF, ON, Options, make

CLASSES = 10
SHAPES = [(64, 3, 9, 12), (64, 1, 8, 8)]


def pixels(channels: int, dtype: torch.dtype = torch.float32) -> PixelRange:
    low = -torch.linspace(0.5, 1.0, channels, dtype=dtype)
    return PixelRange(low, -low * 2)


def batch(shape: tuple[int, ...] = SHAPES[0], dtype: torch.dtype = torch.float32) -> Batch:
    source = Generator().manual_seed(1)
    low, high = pixels(shape[1])
    raw = torch.rand(shape, generator=source)
    images = (low[:, None, None] + raw * (high - low)[:, None, None]).to(dtype)
    return Batch(images, torch.randint(0, CLASSES, shape[:1], generator=source))


def pipeline(kind: str, options: Options, given: Batch) -> Pipeline:
    spec = SPECS[kind].parse({"kind": kind, **options})
    low, high = pixels(given.images.shape[1])
    return Pipeline([spec], num_classes=CLASSES, low=low, high=high)


def run(kind: str, options: Options, given: Batch, seed: int = 0) -> Batch:
    augment = pipeline(kind, options, given)
    return augment(given.images, given.labels, Generator().manual_seed(seed))


def same(one: Batch, other: Batch) -> bool:
    return all(
        a is b if a is None or b is None else torch.equal(a, b)
        for a, b in zip(one, other, strict=True)
    )


def changes_images(kind: str) -> bool:
    return kind != "label_smoothing"


cases = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=lambda v: v if isinstance(v, str) else str([*v.values()])
)


def test_every_augmentation_has_options_a_class_and_settings() -> None:
    assert set(AUGMENTATIONS) == set(SPECS) == set(ON) == set(OFF)
    assert all(ON.values())


def test_the_settings_name_every_option() -> None:
    for kind, spec in SPECS.items():
        named = set().union(*(options for options in ON[kind])) | {"kind"}
        assert named == set(spec.model_fields)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_what_is_off_returns_the_batch_itself_and_draws_nothing(kind: str) -> None:
    given, generator = batch(), Generator().manual_seed(3)
    before = generator.get_state()
    transform = make(kind, **OFF[kind])
    assert transform.spec.off
    assert transform(given, generator, pixels(3)) is given
    assert same(run(kind, OFF[kind], given), given)
    assert torch.equal(generator.get_state(), before)


@cases
@pytest.mark.parametrize("shape", SHAPES, ids=["rgb", "grey"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_dtype_and_numbers_are_kept(
    kind: str, options: Options, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    given = batch(shape, dtype)
    out = run(kind, options, given)
    count = shape[0] * options.get("copies", 1)
    assert out.images.shape == (count, *shape[1:])
    assert out.images.dtype == dtype
    assert out.images.is_contiguous()
    assert out.images.isfinite().all()
    assert out.labels.shape == (count,)
    assert out.labels.dtype == torch.int64
    if out.targets is not None:
        assert out.targets.shape == (count, CLASSES)
        assert out.targets.dtype == torch.promote_types(dtype, torch.float32)
        assert (out.targets >= 0).all()
        torch.testing.assert_close(
            out.targets.sum(1), torch.ones(count, dtype=out.targets.dtype), rtol=0, atol=1e-6
        )


@cases
def test_pixels_stay_between_black_and_white(kind: str, options: Options) -> None:
    given = batch()
    low, high = pixels(3)
    images = run(kind, options, given).images
    outside = (images < low[:, None, None] - 1e-6) | (images > high[:, None, None] + 1e-6)
    assert not outside.any()


@cases
def test_the_input_is_left_alone(kind: str, options: Options) -> None:
    given = batch()
    copy = Batch(given.images.clone(), given.labels.clone())
    out = run(kind, options, given)
    assert same(given, copy)
    out.images.add_(1)
    assert not changes_images(kind) or same(given, copy)


@cases
def test_the_generator_is_the_only_randomness(kind: str, options: Options) -> None:
    given = batch()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(kind, options, given)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(run(kind, options, given), first)
    other = run(kind, options, given, seed=1)
    assert same(other, first) == (not changes_images(kind))


@cases
def test_a_second_batch_gets_other_draws(kind: str, options: Options) -> None:
    given, generator = batch(), Generator().manual_seed(0)
    augment = pipeline(kind, options, given)
    one, two = (augment(given.images, given.labels, generator) for _ in range(2))
    assert torch.equal(one.images, two.images) == (not changes_images(kind))


@cases
def test_every_image_has_draws_of_its_own(kind: str, options: Options) -> None:
    if not changes_images(kind):
        pytest.skip("it draws nothing")
    given = batch()
    first = given.images[:1].expand(64, -1, -1, -1).contiguous()
    if kind in {"mixup", "cutmix"}:  # equal images would mix to themselves
        first = first * torch.linspace(0.5, 1, 64)[:, None, None, None]
        images = run(kind, options, Batch(first, given.labels)).images / first
    else:
        images = run(kind, options, Batch(first, given.labels)).images
    assert len(torch.unique(images.flatten(1), dim=0)) >= (2 if "flip" in kind else 15)


@cases
def test_draws_do_not_hang_on_the_dtype(kind: str, options: Options) -> None:
    single, double = (run(kind, options, batch(dtype=t)) for t in (torch.float32, torch.float64))
    torch.testing.assert_close(single.images.double(), double.images, rtol=0, atol=1e-5)
    assert torch.equal(single.labels, double.labels)


@cases
def test_an_image_alone_is_augmented_as_in_company(kind: str, options: Options) -> None:
    if kind in {"mixup", "cutmix"}:
        pytest.skip("it needs company")
    given = batch()
    others = given.images.flip(0)
    others[0] = given.images[0]
    alone, company = run(kind, options, given), run(kind, options, Batch(others, given.labels))
    assert torch.equal(alone.images[0], company.images[0])


@cases
def test_labels_and_targets_follow_their_images(kind: str, options: Options) -> None:
    """Each image is of one value, which tells its class."""
    if kind == "brightness":
        pytest.skip("it changes the value itself")
    values = torch.linspace(0.1, 0.9, CLASSES)
    labels = torch.arange(64) % CLASSES
    images = values[labels][:, None, None, None].expand(64, 3, 16, 16).contiguous()
    spec = SPECS[kind].parse({"kind": kind, **options})
    augment = Pipeline([spec], num_classes=CLASSES, low=torch.zeros(3), high=torch.ones(3))
    out = augment(images, labels, Generator().manual_seed(0))
    if augment.mixes:
        assert out.targets is not None
        torch.testing.assert_close(out.images.mean((1, 2, 3)), out.targets @ values)
        assert torch.equal(out.labels, out.targets.argmax(1))
    else:  # what is hidden or comes in is black
        torch.testing.assert_close(out.images.amax((1, 2, 3)), values[out.labels])


@cases
def test_it_says_what_it_did(kind: str, options: Options) -> None:
    given = batch()
    transform = make(kind, **options)
    assert transform.last == {}
    targets = torch.nn.functional.one_hot(given.labels, CLASSES).float()
    transform(given._replace(targets=targets), Generator().manual_seed(0), pixels(3))
    assert transform.last
    for name, value in transform.last.items():
        assert value.shape == (), name
        assert float(value) > 0, name


@cases
def test_a_batch_of_one_image_of_one_pixel(kind: str, options: Options) -> None:
    given = Batch(torch.full((1, 3, 1, 1), 0.25), torch.tensor([4]))
    out = run(kind, options, given)
    assert out.images.shape[1:] == (3, 1, 1)
    assert out.images.isfinite().all()
    assert (out.labels == 4).all()
