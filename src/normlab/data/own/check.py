"""From arrays of any kind to a `Dataset`: images (N, C, H, W), numbered classes, a digest.

Images become 8 bits, or 32-bit floats from 0 to 1. Floats that are 8-bit values divided by 255 are
these values: what `ToTensor` makes of a picture is the picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np

from normlab.data.dataset import Dataset, Images, Labels
from normlab.data.own.read import FORM, Part, Returned, Values, brief
from normlab.errors import UserError
from normlab.text import one_form

_CHUNK = 1024  # images that are converted at a time
_CHANNELS = frozenset({1, 3})
_MOST = 255
_NEAR = 255e-6  # of one step of 8 bits: what float32 rounds off, far below a step of 16 bits
_NAMED = 10  # images or classes that a message or note names
_DIM = 4  # times darker than the largest value: said


def check(found: Returned, name: str) -> tuple[Dataset, tuple[str, ...]]:
    """The data set, and what a user should know of it.

    Args:
        found: As it was returned.
        name: Of the data, for the messages.

    Raises:
        UserError: Images or labels that cannot be trained on, or that can be meant in two ways.
    """
    parts = {"train": found.train, "test": found.test}
    for split, part in parts.items():
        _check_lengths(part, f"{name}, {split}")
    labels = {split: _labels(part, f"{name}, {split}") for split, part in parts.items()}
    class_names = _classes(found.class_names, labels["train"], labels["test"], name)
    train, test = _one_layout(found, name)
    train_images, test_images, most = _pixels(train, test, found.max_value, name)
    dataset = Dataset(
        train_images=train_images,
        train_labels=labels["train"],
        test_images=test_images,
        test_labels=labels["test"],
        class_names=class_names,
        max_value=most,
        digest="",
    )
    return dataset, (*_notes(dataset), *_twice(dataset, name))


def digest_of(dataset: Dataset) -> str:
    """Hash of the content of a data set."""
    known = [dataset.shape, dataset.train_images.dtype.str, dataset.max_value, dataset.class_names]
    made = hashlib.sha256(json.dumps(known).encode())
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        made.update(f"{len(labels)} ".encode())
        made.update(np.ascontiguousarray(labels, "<i8").data)
        made.update(np.ascontiguousarray(images, images.dtype.newbyteorder("<")).data)
    return f"sha256:{made.hexdigest()}"


def _check_lengths(part: Part, where: str) -> None:
    if part.images.ndim not in {3, 4}:
        raise UserError(
            f"{where} images have shape {part.images.shape}: (N, C, H, W), (N, H, W, C) or, of "
            "grey ones, (N, H, W) is needed"
        )
    if not part.images.size:
        raise UserError(f"{where} has no image: its shape is {part.images.shape}")
    if part.labels.ndim != 1:
        ways = "labels.argmax(1) of one-hot labels" if part.labels.ndim == 2 else "one per image"
        raise UserError(
            f"{where} labels have shape {part.labels.shape}: (N,) is needed, the number of each "
            f"image's class ({ways})"
        )
    if len(part.labels) != len(part.images):
        raise UserError(
            f"{where} has {len(part.images)} images and {len(part.labels)} labels: one label for "
            "each image is needed"
        )


def _labels(part: Part, where: str) -> Labels:
    if part.labels.dtype.kind not in "iu":
        ways = "labels.astype(int)"
        if part.labels.dtype.kind in "OSU":
            ways = "names, labels = np.unique(labels, return_inverse=True); names are `class_names`"
        raise UserError(
            f"{where} labels are of {part.labels.dtype}: whole numbers from 0 are needed ({ways})"
        )
    if part.labels.min() < 0 or part.labels.max() >= 2**31:
        wrong = part.labels[(part.labels < 0) | (part.labels >= 2**31)][0]
        raise UserError(f"{where} has the label {wrong}: whole numbers from 0 are needed")
    return part.labels.astype(np.int64, copy=True)


def _classes(names: object, train: Labels, test: Labels, name: str) -> tuple[str, ...]:
    known = None if names is None else _class_names(names, name)
    present = np.unique(train)
    for split, labels in (("train", train), ("test", test)):
        if known and labels.max() >= len(known):
            raise UserError(
                f"{name}, {split} has the label {labels.max()}: class_names has {len(known)} "
                f"names, so 0 to {len(known) - 1} are allowed"
            )
    count = len(known) if known else int(max(train.max(), test.max())) + 1
    if count != len(present):
        if not known and len(present) == count - 1 and present[0] == 1:
            raise UserError(f"{name}: labels begin at 1: they count from 0, so take 1 off")
        # As many numbers as this are among the first so many, if any are missing.
        missing = np.setdiff1d(np.arange(min(count, len(present) + _NAMED)), present)
        which = ", ".join(f"'{known[c]}'" if known else str(c) for c in missing[:_NAMED])
        raise UserError(
            f"{name}: no training image of class {which}: labels are the numbers from 0 to "
            f"{count - 1}, and each class has at least one training image"
        )
    if count < 2:
        raise UserError(f"{name} has one class: at least two are needed")
    return known or tuple(map(str, range(count)))


def _class_names(names: object, name: str) -> tuple[str, ...]:
    listed = names if isinstance(names, list | tuple) else None
    if listed is None and isinstance(names, np.ndarray):
        listed = names.tolist()
    if not isinstance(listed, list | tuple) or not all(
        isinstance(each, str) and each.strip() for each in listed
    ):
        raise UserError(
            f"{name}: class_names is {brief(names)}: a list of names is needed, one for each "
            "class, in the order of the labels"
        )
    made = tuple(one_form(each) for each in listed)
    twice = sorted({each for each in made if made.count(each) > 1})
    if twice:
        raise UserError(f"{name}: class_names names '{twice[0]}' twice")
    if strange := [each for each in made if not each.isprintable()]:
        raise UserError(f"{name}: class_names has a control character: {strange[0]!a}")
    return made


def _one_layout(found: Returned, name: str) -> tuple[Values, Values]:
    """Both splits' images as (N, C, H, W)."""
    train, test = found.train.images, found.test.images
    if train.shape[1:] != test.shape[1:]:
        raise UserError(
            f"{name}: training images have shape {train.shape[1:]}, test images "
            f"{test.shape[1:]}: give all images one size"
        )
    layout = _layout(train.shape, found.layout, name)
    if layout == "NHW":
        return train[:, None], test[:, None]
    if layout == "NHWC":
        return np.moveaxis(train, -1, 1), np.moveaxis(test, -1, 1)
    return train, test


def _layout(shape: Sequence[int], layout: object, name: str) -> Literal["NHW", "NCHW", "NHWC"]:
    if layout not in (None, "NCHW", "NHWC"):
        raise UserError(f"{name}: layout is {brief(layout)}: NCHW or NHWC is allowed")
    if len(shape) == 3:
        if layout is not None:
            raise UserError(f"{name}: layout is {layout}: images {tuple(shape)} have no channels")
        return "NHW"
    if layout == "NCHW":
        return "NCHW"
    if layout == "NHWC":
        return "NHWC"
    first, last = shape[1] in _CHANNELS, shape[-1] in _CHANNELS
    if first == last:
        raise UserError(
            f"{name}: images have shape {tuple(shape)}: it cannot be told whether the channels, 1 "
            'or 3, come first or last: return "layout": "NCHW" or "layout": "NHWC" beside "train"'
        )
    return "NCHW" if first else "NHWC"


def _pixels(train: Values, test: Values, most: object, name: str) -> tuple[Images, Images, int]:
    """Images of 8 bits and their largest possible value, or floats and 1."""
    kinds = {split: images.dtype.kind for split, images in (("train", train), ("test", test))}
    for split, kind in kinds.items():
        if kind not in "iuf":
            dtype = (train if split == "train" else test).dtype
            raise UserError(
                f"{name}, {split} images are of {dtype}: whole numbers from 0 to 255 or floats "
                "from 0 to 1 are needed"
            )
    if ("f" in kinds.values()) != ({*kinds.values()} == {"f"}):
        raise UserError(
            f"{name}: training images are of {train.dtype}, test images of {test.dtype}: give all "
            "images one type"
        )
    if kinds["train"] == "f":
        return _floats(train, test, most, name)
    if most is not None and (type(most) is not int or not 1 <= most <= _MOST):
        raise UserError(
            f"{name}: max_value is {brief(most)}: a whole number from 1 to 255 is needed"
        )
    allowed = most if isinstance(most, int) else _MOST
    for split, images in (("train", train), ("test", test)):
        low, high = int(images.min()), int(images.max())
        if low < 0 or high > allowed:
            raise UserError(
                f"{name}, {split} images have values from {low} to {high}: whole numbers from 0 to "
                f"{allowed} are allowed; divide larger ones by their largest possible value, to "
                "have floats from 0 to 1"
            )
    # Copies: what the user's code does to its own arrays later changes nothing.
    return np.array(train, np.uint8, order="C"), np.array(test, np.uint8, order="C"), allowed


def _floats(train: Values, test: Values, most: object, name: str) -> tuple[Images, Images, int]:
    if most is not None:
        raise UserError(f"{name}: max_value is {brief(most)}: of floats it is 1, so leave it out")
    for split, images in (("train", train), ("test", test)):
        low, high = float(images.min()), float(images.max())
        if not np.isfinite([low, high]).all():
            bad = next(i for i, image in enumerate(images) if not np.isfinite(image).all())
            raise UserError(
                f"{name}, {split} image {bad} has values that are no finite number: 0 to 1 is "
                "needed"
            )
        if low < 0 or high > 1:
            ways = "divide by the largest value there can be"
            if low < 0:
                ways = "take off no mean, `data.scaling` does"
            elif high <= _MOST:
                ways += ", or give whole numbers: images.astype('uint8')"
            raise UserError(
                f"{name}, {split} images are floats from {low:g} to {high:g}: 0 to 1 is needed "
                f"({ways})"
            )
    eight = [_eight_bits(images) for images in (train, test)]
    if eight[0] is not None and eight[1] is not None:
        return eight[0], eight[1], _MOST
    return np.array(train, np.float32, order="C"), np.array(test, np.float32, order="C"), 1


def _eight_bits(images: Values) -> Images | None:
    """Floats as the 8-bit values that they are, divided by 255; None where they are others."""
    made = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        exact = images[start : start + _CHUNK].astype(np.float64) * _MOST
        near = np.rint(exact)
        if np.abs(exact - near).max() > _NEAR:
            return None
        made[start : start + _CHUNK] = near
    return made


def _notes(dataset: Dataset) -> list[str]:
    notes = []
    names = dataset.class_names
    untested = sorted({*range(len(names))} - {*dataset.test_labels.tolist()})
    if untested:
        notes.append(f"no test image of {_some([names[c] for c in untested])}")
    largest = float(dataset.train_images.max())
    if largest * _DIM < dataset.max_value:
        notes.append(
            f"the largest value of a training image is {largest:g} of {dataset.max_value}: if it "
            "is as bright as can be, return that as `max_value`"
        )
    return notes


def _twice(dataset: Dataset, name: str) -> list[str]:
    """Notes on equal images that stand in both splits, or in two classes.

    Raises:
        UserError: Every test image is a training image.
    """
    places: dict[bytes, list[tuple[str, int, int]]] = {}
    for split, images, labels in (
        ("train", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            places.setdefault(key, []).append((split, index, label))
    across, mixed = [], []
    for equal in places.values():
        first = equal[0]
        if first[0] == "train":
            across += [f"test {at} = train {first[1]}" for in_, at, _ in equal if in_ == "test"]
        if len({label for *_, label in equal}) > 1:
            other = next(each for each in equal if each[2] != first[2])
            mixed.append(f"{first[0]} {first[1]} = {other[0]} {other[1]}")
    count = len(dataset.test_labels)
    if len(across) == count:
        raise UserError(
            f"{name}: every test image is a training image too: test images of their own are "
            f"needed, {FORM}"
        )
    notes = []
    if across:
        notes.append(
            f"{len(across)} of {count} test images are training images too: {_some(across)}"
        )
    if mixed:
        notes.append(f"{len(mixed)} images stand in two classes or more: {_some(mixed)}")
    return notes


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
