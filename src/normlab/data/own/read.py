"""What a function of the user's returned, as arrays: two splits, each with images and labels.

Nothing of torch or PIL is imported: a tensor is known by `detach` and `numpy`, a data set of
torch's by its length and its items, a picture by `getbands`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from normlab.data.dataset import Dataset
from normlab.errors import UserError, listing, unknown

FORM = '{"train": (images, labels), "test": (images, labels)}'
"""What is wanted, in words."""

Values = npt.NDArray[Any]

_KEYS = ("train", "test", "class_names", "max_value", "layout")
_HELD_OUT = frozenset({"val", "valid", "validation", "dev"})
_PAIR = 2


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split as it was given: any shape and type that an array can have."""

    images: Values
    labels: Values


@dataclass(frozen=True, kw_only=True)
class Returned:
    """Everything that was returned, not yet checked."""

    train: Part
    test: Part
    class_names: object = None
    max_value: object = None
    layout: object = None


class _Items(Protocol):
    """A data set of torch's, a list: what is read in the order of its index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


def read(value: object, name: str) -> Returned:
    """Read what was returned into arrays, items in the order of their index.

    Args:
        value: What the function returned.
        name: Of the data, for the messages.

    Raises:
        UserError: It has none of the known forms, or an item cannot be read.
    """
    if isinstance(value, Dataset):
        return Returned(
            train=Part(images=value.train_images, labels=value.train_labels),
            test=Part(images=value.test_images, labels=value.test_labels),
            class_names=value.class_names,
            max_value=None if value.train_images.dtype.kind == "f" else value.max_value,
            layout="NCHW",
        )
    if isinstance(value, Mapping):
        return _from_mapping(value, name)
    if isinstance(value, tuple) and len(value) == _PAIR:
        train, test = value
        return Returned(train=_part(train, f"{name}, train"), test=_part(test, f"{name}, test"))
    many = f" of {len(value)}" if isinstance(value, tuple) else ""
    raise UserError(f"{name} returned {_kind(value)}{many}: {FORM} is needed")


def _from_mapping(value: Mapping[object, object], name: str) -> Returned:
    for key in value:
        named = key if isinstance(key, str) else brief(key)
        if named.lower() in _HELD_OUT:
            raise UserError(
                f"{name} returned '{named}': validation images are set aside from the training "
                "images (the recipe's `validation`), so join them to 'train' or leave them out"
            )
        if named not in _KEYS:
            raise UserError(f"{name} returned: {unknown('key', named, _KEYS)}")
    missing = [key for key in _KEYS[:_PAIR] if key not in value]
    if missing:
        raise UserError(f"{name} returned no '{missing[0]}': {FORM} is needed")
    return Returned(
        train=_part(value["train"], f"{name}, train"),
        test=_part(value["test"], f"{name}, test"),
        class_names=value.get("class_names"),
        max_value=value.get("max_value"),
        layout=value.get("layout"),
    )


def _part(value: object, where: str) -> Part:
    if isinstance(value, tuple):
        if len(value) != _PAIR:
            raise UserError(f"{where} is a tuple of {len(value)}: (images, labels) is needed")
        return Part(
            images=_images(value[0], f"{where} images"),
            labels=_array(value[1], f"{where} labels"),
        )
    if isinstance(value, Mapping):
        keys = listing(key if isinstance(key, str) else brief(key) for key in value)
        raise UserError(f"{where} is a mapping of {keys:.200}: (images, labels) is needed")
    if _is_array(value):
        shape = tuple(np.shape(_array(value, where)))
        raise UserError(f"{where} is an array of shape {shape}: (images, labels) is needed")
    if _has_items(value):
        return _from_items(value, where)
    raise UserError(
        f"{where} is {_kind(value)}: (images, labels) is needed, or a data set with a length and "
        "items by index, which are read once (of a loader its `dataset`)"
    )


def _from_items(items: _Items, where: str) -> Part:
    images = _Stack(f"{where}: image", _length(items, where))
    labels = np.zeros(images.count, np.int64)
    for index in range(images.count):
        image, labels[index] = _item(items, index, where)
        images.put(index, image)
    # Random transforms give another image each time.
    for index in sorted({0, images.count // 2, images.count - 1} & {*range(images.count)}):
        image, label = _item(items, index, where)
        if label != labels[index] or not images.holds(index, image):
            raise UserError(
                f"{where}: item {index} is another one each time it is read, and items are read "
                "once: leave random transforms out, the recipe's `augment` does it in every epoch"
            )
    return Part(images=images.values, labels=labels)


def _item(items: _Items, index: int, where: str) -> tuple[Values, int]:
    try:
        item = items[index]
    except MemoryError:
        raise
    except Exception as error:
        raise UserError(
            f"{where}: item {index} cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != _PAIR:
        raise UserError(f"{where}: item {index} is {_kind(item)}: (image, label) is needed")
    label = _array(item[1], f"{where}: label {index}")
    if label.shape or label.dtype.kind not in "iu":
        raise UserError(
            f"{where}: label {index} is {_kind(item[1])}: a whole number is needed, the number of "
            "the class"
        )
    return _array(item[0], f"{where}: image {index}"), int(label)


def _images(value: object, where: str) -> Values:
    """An array, or the images of a list in one."""
    if not isinstance(value, list | tuple):
        return _array(value, where)
    images = _Stack(f"{where}:", len(value))
    for index, image in enumerate(value):
        images.put(index, _array(image, f"{where}: {index}"))
    return images.values


class _Stack:
    """Images of one size and type, put together one by one."""

    def __init__(self, what: str, count: int) -> None:
        self.what, self.count = what, count
        self.values: Values = np.zeros((0, 1, 1), np.uint8)

    def put(self, index: int, image: Values) -> None:
        if image.dtype == object:
            raise UserError(
                f"{self.what} {index} is no array of numbers: an array, a tensor or a picture in L "
                "or RGB is needed"
            )
        if index == 0:
            self.values = np.zeros((self.count, *image.shape), image.dtype)
        if image.shape != self.values.shape[1:]:
            raise UserError(
                f"{self.what} {index} has shape {image.shape}, image 0 "
                f"{self.values.shape[1:]}: give all images one size"
            )
        if image.dtype != self.values.dtype:
            raise UserError(
                f"{self.what} {index} is of {image.dtype}, image 0 of {self.values.dtype}: give "
                "all images one type"
            )
        self.values[index] = image

    def holds(self, index: int, image: Values) -> bool:
        mine = self.values[index]
        return bool(mine.shape == image.shape and mine.tobytes() == image.tobytes())


def _length(items: _Items, where: str) -> int:
    try:
        return len(items)
    except Exception as error:
        raise UserError(
            f"{where}: {_kind(items)} has no length ({type(error).__name__}: {error}): items by "
            "index are needed"
        ) from error


def _has_items(value: object) -> TypeGuard[_Items]:
    return not isinstance(value, type) and all(
        hasattr(value, method) for method in ("__len__", "__getitem__")
    )


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach") or hasattr(value, "to_numpy")


def _array(value: object, where: str) -> Values:
    """An array of numpy's, a tensor, a picture, or numbers in lists as an array."""
    if hasattr(value, "getbands") and getattr(value, "mode", None) not in {"L", "RGB"}:
        raise UserError(
            f"{where} is a picture in mode {getattr(value, 'mode', None)}: L or RGB is needed, "
            "image.convert('RGB') makes it"
        )
    try:
        if not isinstance(value, np.ndarray):
            for method in ("detach", "cpu", "numpy", "to_numpy"):
                step = getattr(value, method, None)
                value = value if step is None else step()
        made: Values = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise UserError(
            f"{where} cannot be read as an array: {type(error).__name__}: {error}"
        ) from error
    if np.ma.is_masked(value):
        raise UserError(f"{where} have masked values: fill them, array.filled(0)")
    return made


def _kind(value: object) -> str:
    """A value's type in words, of arrays the shape too."""
    shape = getattr(value, "shape", None)
    name = "None" if value is None else type(value).__name__
    return f"{name} of shape {tuple(shape)}" if isinstance(shape, tuple) else name


def brief(value: object) -> str:
    """A value as in Python, its beginning."""
    return f"{reprlib.repr(value):.80}"
