import hashlib

import numpy as np
import pytest

from normlab.data import SOURCES, Dataset, data_digest, digits, split, splits
from normlab.errors import UserError
from normlab.recipe import Recipe


def small(count: int = 100) -> Dataset:
    random = np.random.RandomState(1)
    return Dataset(
        train_images=random.randint(0, 256, (count, 3, 4, 4)).astype(np.uint8),
        train_labels=np.arange(count) % 10,
        test_images=np.full((7, 3, 4, 4), 255, np.uint8),
        test_labels=np.arange(7),
        class_names=tuple("abcdefghij"),
        max_value=255,
    )


def test_the_package_s_digits_are_the_ones_their_digest_names() -> None:
    found = digits.load()
    digest = hashlib.sha256()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        digest.update(name.encode() + getattr(found, name).astype(np.uint8).tobytes())
    assert f"sha256:{digest.hexdigest()}" == digits.DIGEST
    assert (len(found.train_labels), len(found.test_labels)) == (1198, 599)
    assert found.shape == SOURCES["digits"].shape
    assert np.ptp(np.bincount(found.test_labels)) <= 4


def test_train_and_test_share_no_image() -> None:
    found = digits.load()
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


def test_splits_of_a_recipe_are_read_once() -> None:
    recipe = Recipe.parse({"data": "digits", "model": "digits-small"})
    assert splits(recipe) is splits(recipe)
    assert data_digest(recipe) == digits.DIGEST
