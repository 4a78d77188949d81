"""Several augmentations together: order, targets, labels, copies."""

import pytest
import torch
from torch import Generator, Tensor

from normlab.augment import Pipeline
from normlab.recipe.augment import AUGMENTATIONS, Augmentation
from tests.augment.settings import CASES, OFF, Options

LOW, HIGH = torch.tensor([-1.0]), torch.tensor([3.0])


def specs(*several: Options | str) -> list[Augmentation]:
    values = [{"kind": one} if isinstance(one, str) else one for one in several]
    return [AUGMENTATIONS[value["kind"]].parse(value) for value in values]


def pipeline(*several: Options | str, num_classes: int = 5) -> Pipeline:
    return Pipeline(specs(*several), num_classes=num_classes, low=LOW, high=HIGH)


def images(count: int = 40, side: int = 12) -> Tensor:
    return torch.rand(count, 1, side, side, generator=Generator().manual_seed(5)) * 4 - 1


def labels(count: int = 40) -> Tensor:
    return torch.arange(count) % 5


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_without_augmentations_a_batch_passes_untouched() -> None:
    x, y = images(), labels()
    out = pipeline()(x, y, generator())
    assert out.images is x
    assert out.labels is y
    assert out.targets is None


def test_all_of_them_off_together_are_the_identity() -> None:
    x, y = images(), labels()
    augment = pipeline(*({"kind": kind, **options} for kind, options in OFF.items()))
    out = augment(x, y, generator())
    assert out.images is x
    assert out.targets is None
    assert (augment.copies, augment.mixes, augment.soft, augment.transforms) == (
        1,
        False,
        False,
        (),
    )


def test_all_of_them_on_together_work() -> None:
    augment = pipeline(*({"kind": kind, **options} for kind, options in CASES))
    out = augment(images(), labels(), generator())
    assert len(augment.transforms) == len(CASES)
    assert out.images.shape == (120, 1, 12, 12)
    assert out.images.isfinite().all()
    assert out.targets is not None
    torch.testing.assert_close(out.targets.sum(1), torch.ones(120))


def test_they_are_applied_in_the_order_written() -> None:
    hole, lighter = {"kind": "cutout", "size": 6}, {"kind": "brightness", "strength": 0.5}
    x = torch.ones(30, 1, 12, 12)
    last = pipeline(lighter, hole)(x, labels(30), generator()).images
    first = pipeline(hole, lighter)(x, labels(30), generator()).images
    assert (last == 0).any()
    # Brightness moves the hole's 0, which lies between black at -1 and white at 3.
    assert not (first == 0).any()


def test_it_is_each_one_in_turn_with_one_generator() -> None:
    parts = ["crop", "horizontal_flip", {"kind": "contrast", "strength": 0.4}]
    x, y = images(), labels()
    whole, source = pipeline(*parts)(x, y, generator()).images, generator()
    step = x
    for part in parts:
        step = pipeline(part)(step, y, source).images
    assert torch.equal(whole, step)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_images_then_copied_keep_their_targets(kind: str) -> None:
    x, y = images(), labels()
    mixed = pipeline(kind)(x, y, generator())
    hole = {"kind": "cutout", "size": 4, "copies": 3}
    augment = pipeline(kind, hole)
    out = augment(x, y, generator())
    assert (augment.copies, augment.mixes) == (3, True)
    assert out.targets is not None
    assert mixed.targets is not None
    assert torch.equal(out.targets, mixed.targets.repeat(3, 1))
    assert torch.equal(out.labels, mixed.labels.repeat(3))
    shown = out.images != 0
    assert torch.equal(out.images[shown], mixed.images.repeat(3, 1, 1, 1)[shown])


def test_copies_then_mixed_have_partners_among_all_copies() -> None:
    values = torch.linspace(0.5, 2.5, 5)
    x = values[labels()][:, None, None, None].expand(40, 1, 12, 12)
    out = pipeline({"kind": "cutout", "size": 0, "copies": 3}, "mixup")(x, labels(), generator())
    assert out.targets is not None
    torch.testing.assert_close(out.images[:, 0, 0, 0], out.targets @ values)


def test_two_cutouts_multiply_their_copies() -> None:
    hole = {"kind": "cutout", "size": 2, "copies": 2}
    augment = pipeline(hole, hole)
    assert augment.copies == 4
    assert len(augment(images(), labels(), generator()).images) == 160


def test_labels_of_mixed_images_are_the_classes_of_most_weight() -> None:
    augment = pipeline("mixup", "cutmix", "label_smoothing")
    out = augment(images(400), labels(400), generator())
    assert out.targets is not None
    assert torch.equal(out.labels, out.targets.argmax(1))
    changed = (out.labels != labels(400)).float().mean()
    assert 0.2 < float(changed) < 0.8


def test_smoothing_and_mixing_commute() -> None:
    one = pipeline("label_smoothing", "mixup")(images(), labels(), generator())
    other = pipeline("mixup", "label_smoothing")(images(), labels(), generator())
    assert one.targets is not None
    assert other.targets is not None
    torch.testing.assert_close(one.targets, other.targets)


def test_smoothing_alone_leaves_labels_and_training_accuracy_alone() -> None:
    augment = pipeline("label_smoothing")
    out = augment(images(), labels(), generator())
    assert not augment.mixes
    assert augment.soft
    assert torch.equal(out.labels, labels())
    assert out.targets is not None
    assert torch.equal(out.targets.argmax(1), labels())


def test_the_fill_is_raw_black_in_scaled_pixels() -> None:
    out = pipeline({"kind": "rotation", "degrees": 180})(
        torch.ones(50, 1, 9, 9), labels(50), generator()
    )
    assert set(out.images.unique().tolist()) == {-1.0, 1.0}
