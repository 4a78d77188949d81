import hashlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from normlab import data
from normlab.data import Dataset, data_digest, describe, split, splits
from normlab.errors import UserError
from normlab.recipe import Recipe


def on(kind: str) -> Recipe:
    return Recipe.parse({"data": kind, "model": "digits-small"})


DIGITS = on("digits")


def small(count: int = 100) -> Dataset:
    random = np.random.RandomState(1)
    return Dataset(
        train_images=random.randint(0, 256, (count, 3, 4, 4)).astype(np.uint8),
        train_labels=np.arange(count) % 10,
        test_images=np.full((7, 3, 4, 4), 255, np.uint8),
        test_labels=np.arange(7),
        class_names=tuple("abcdefghij"),
        max_value=255,
        digest="sha256:00",
    )


def test_the_package_s_digits_are_the_ones_their_digest_names() -> None:
    found = data.load(DIGITS.data)
    digest = hashlib.sha256()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        digest.update(name.encode() + getattr(found, name).astype(np.uint8).tobytes())
    assert f"sha256:{digest.hexdigest()}" == describe(DIGITS.data).digest
    assert (len(found.train_labels), len(found.test_labels)) == (1198, 599)
    assert np.ptp(np.bincount(found.test_labels)) <= 4


def test_train_and_test_share_no_image() -> None:
    found = data.load(DIGITS.data)
    train = {image.tobytes() for image in found.train_images}
    assert not train & {image.tobytes() for image in found.test_images}


@pytest.mark.parametrize(("validation", "count"), [(0.2, 20), (30, 30), (0, 0), (0.25, 25)])
def test_validation_is_stratified_and_taken_from_training(validation: float, count: int) -> None:
    made = split(small(), validation=validation, scaling="unit")
    assert (len(made.train), len(made.validation), len(made.test)) == (100 - count, count, 7)
    per_class = np.bincount(made.validation.labels, minlength=10)
    assert per_class.max() - per_class.min() <= 1
    both = np.concatenate([made.train.inputs, made.validation.inputs])
    assert sorted(both.sum((1, 2, 3))) == pytest.approx(
        sorted(small().train_images.sum((1, 2, 3)) / 255), rel=1e-5
    )


def test_the_validation_images_are_fixed() -> None:
    # Golden: equal for every seed, arm and version.
    made = split(small(), validation=0.05, scaling="unit")
    assert made.validation.labels.tolist() == [2, 0, 4, 1, 3]
    assert float(made.validation.inputs.sum()) == pytest.approx(125.21569)


def test_standard_scaling_uses_the_remaining_training_images_alone() -> None:
    made = split(small(), validation=0.3, scaling="standard")
    np.testing.assert_allclose(made.train.inputs.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(made.train.inputs.std((0, 2, 3)), 1, atol=1e-5)
    assert abs(made.validation.inputs.mean()) > 1e-4


def test_unit_scaling_divides_by_the_largest_value() -> None:
    assert split(small(), validation=0, scaling="unit").test.inputs.max() == 1.0


def test_more_validation_than_training_images_is_refused() -> None:
    with pytest.raises(UserError, match="validation is 100 images: fewer than the 100"):
        split(small(), validation=100, scaling="unit")


@pytest.mark.parametrize(
    ("sizes", "validation"), [((10, 10, 10, 1, 1), 0.5), ((8, 8, 2), 0.75), ((1,) * 10, 0.1)]
)
def test_validation_that_takes_a_whole_class_is_refused(
    sizes: tuple[int, ...], validation: float
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.zeros((len(labels), 3, 4, 4), np.uint8)
    few = replace(small(), train_images=images, train_labels=labels)
    with pytest.raises(UserError, match=r"of the \d+ training images of class '[a-j]' and leaves"):
        split(few, validation=validation, scaling="unit")
    names = few.class_names
    with pytest.raises(UserError, match="leaves none to train on"):
        data.check_validation(sizes, names, validation)
    data.check_validation(sizes, names, 0)
    data.check_validation((10, 0, 10), names, 0.5)  # a class without images loses none


def test_splits_of_a_recipe_are_read_once() -> None:
    assert splits(DIGITS) is splits(DIGITS)


def test_the_digests_of_published_sets_never_change() -> None:
    # Golden: a change here makes every stored trial on the set a stranger.
    known = {
        "digits": "594c5aefffaafd5171f791f26abdec1957eb799eb899ea26fc7ae104692ca061",
        "mnist": "c65580678af93f1ea48c2c0d01d543ec89307c6b8a0eb7ca542d7c18c5f4c681",
        "fashion-mnist": "1cb5a4cf9ef338eb75aa5a635c4776a550f8daf305fbbe5eec43d9361418ad33",
        "kmnist": "67696be15b187fd7d6cfa741798555ee16cb7e82522df758678a042c9ee2104e",
        "cifar10": "d47d648dcc594ca9aa3c4d3417b797508d93a4a8378d11cae5753c536127cedf",
        "cifar100": "e5e37efa2e2d3c11f42be95e6ae2da207d2c71a23569e6ba894e7e52e478fb07",
        "cifar10-jpeg": "a8383de12ea458cc6a168463edf812d71e1f3d24f7c929da27d5a6918f9ab62c",
        "caltech25": "bd3652565ca44d502690bf17f4fb983303062b0409feae2d56dd10323dfa9e27",
    }
    assert {kind: data_digest(on(kind)) for kind in known} == {
        kind: f"sha256:{value}" for kind, value in known.items()
    }


def test_low_and_high_are_what_the_ends_of_the_pixels_range_became() -> None:
    made = split(small(), validation=0.3, scaling="standard")
    # Every test image is 255 throughout.
    np.testing.assert_array_equal(made.high, made.test.inputs[0, :, 0, 0])
    raw = np.sort(np.unique(small().train_images[:, 0]))[:2]
    one, other = np.sort(
        np.unique(np.r_[made.train.inputs[:, 0].ravel(), made.validation.inputs[:, 0].ravel()])
    )[:2]
    step = (other - one) / (raw[1] - raw[0])
    assert made.low[0] == pytest.approx(one - raw[0] * step, rel=1e-5)
    assert made.low.dtype == made.high.dtype == np.float32
    unit = split(small(), validation=0.3, scaling="unit")
    assert (unit.low.tolist(), unit.high.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_scaling_needs_little_memory_beside_its_result() -> None:
    images = np.zeros((20_000, 1, 16, 16), np.uint8)
    labels = np.arange(20_000) % 2
    large = replace(
        small(), train_images=images, train_labels=labels, test_images=images[:2],
        test_labels=labels[:2], class_names=("a", "b"),
    )  # fmt: skip
    tracemalloc.start()
    try:
        made = split(large, validation=0.1, scaling="standard")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    result = made.train.inputs.nbytes + made.validation.inputs.nbytes + made.test.inputs.nbytes
    assert result == 20_002 * 256 * 4
    assert peak < 1.3 * result


def test_splits_know_their_classes() -> None:
    assert split(small(), validation=0, scaling="unit").class_names == tuple("abcdefghij")
