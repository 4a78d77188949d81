"""Classes, limits and fixed parts of a set."""

from typing import Any

import numpy as np
import pytest

from normlab import data
from normlab.data import Dataset, describe
from normlab.data.subsets import chosen_part, per_class, stratified
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from tests.data.made import spec

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 0], np.int64)


def test_a_limit_takes_the_first_of_a_fixed_permutation() -> None:
    # Golden: RandomState(0).permutation(8) is 6 2 1 7 3 0 5 4.
    assert per_class(LABELS, 1).tolist() == [1, 2, 6]
    assert per_class(LABELS, 2).tolist() == [1, 2, 4, 5, 6, 7]
    assert per_class(LABELS, 99).tolist() == list(range(8))


def test_a_stratified_part_has_each_class_in_proportion() -> None:
    labels = np.repeat([0, 1], [30, 10])
    assert np.bincount(labels[stratified(labels, 8)]).tolist() == [6, 2]


def test_what_is_drawn_of_a_class_does_not_depend_on_the_others() -> None:
    whole = data.load(spec("digits", limit=5))
    part = data.load(spec("digits", limit=5, classes=["3", "8"]))
    np.testing.assert_array_equal(
        part.train_images[part.train_labels == 1], whole.train_images[whole.train_labels == 8]
    )


def test_labels_are_numbered_in_the_set_s_order() -> None:
    images = np.arange(8, dtype=np.uint8)[:, None, None, None]
    made = Dataset(
        train_images=images, train_labels=LABELS, test_images=images, test_labels=LABELS,
        class_names=("zebra", "ant", "cow"), max_value=255, digest="",
    )  # fmt: skip
    part = chosen_part(made, spec("mnist", classes=["cow", "zebra"], test_limit=1))
    assert part.class_names == ("zebra", "cow")
    assert part.train_images.ravel().tolist() == [0, 2, 3, 5, 6, 7]
    assert part.train_labels.tolist() == [0, 1, 0, 1, 0, 0]
    assert (part.test_images.ravel().tolist(), part.test_labels.tolist()) == ([2, 6], [1, 0])
    assert chosen_part(made, spec("mnist")) is made


def test_the_order_of_the_names_is_no_other_recipe() -> None:
    assert spec("digits", classes=["1", "0"]) == spec("digits", classes=["0", "1"])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["Bag", "Cote"], r"data\.classes: unknown class of 'fashion-mnist' 'Cote'.*'Coat'"),
        (11, "data.classes is 11: 'fashion-mnist' has 10 classes"),
    ],
    ids=str,
)
def test_classes_that_are_not_there_are_refused(classes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        describe(spec("fashion-mnist", classes=classes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes is 1: a number of classes from 2 on"),
        ({"classes": True}, "classes is True"),
        ({"classes": ["0"]}, "at least two class names"),
        ({"classes": ["0", 1]}, "list of at least two class names"),
        ({"classes": "01"}, "list of at least two"),
        ({"classes": ["0", "1", "0"]}, "names '0' twice"),
        ({"limit": 0}, "limit is 0"),
        ({"test_limit": 1.5}, r"test_limit is 1\.5"),
        ({"size": 32}, "unknown key of data 'digits' 'size'"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        spec("digits", **options)


@pytest.mark.parametrize("size", [0, 5000, True, "32", 1.5, [1, 2, 3], [32, 0]], ids=str)
def test_sizes_that_cannot_be_meant_are_refused(size: object) -> None:
    with pytest.raises(UserError, match="a whole number from 1 to 4096, or "):
        spec("caltech25", size=size)


def test_two_equal_sides_are_a_square() -> None:
    assert spec("caltech25", size=[40, 40]) == spec("caltech25", size=40)
    assert describe(spec("caltech25", size=[40, 24], mode="L")).shape == (1, 40, 24)


def test_a_plan_counts_the_images_that_a_limit_leaves() -> None:
    # 10 images of 10 classes in batches of 33: the last batch is one image.
    base = {
        "data": {"kind": "mnist", "limit": 10}, "model": "mnist-7704", "batch_size": 33,
        "validation": 0,
    }  # fmt: skip
    study = Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1})
    with pytest.raises(UserError, match="cannot take a batch of one map"):
        make_plan(study)


def test_a_part_of_a_set_trains_as_other_trials() -> None:
    whole, part = (
        Recipe.parse({"data": {"kind": "digits", **options}, "model": "digits-small"})
        for options in ({}, {"limit": 5})
    )
    assert data.data_digest(whole) == data.data_digest(part)
    assert whole.identity() != part.identity()
    assert len(data.splits(part).train) == 45
