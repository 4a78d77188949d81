"""Images by import path: what may be returned, what becomes of it, and what is refused."""

import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from normlab import data
from normlab.data.own import source
from normlab.data.own.read import FORM
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.recipe.data import Data
from tests.data.made import noise, spec

KIND = "own_images_of_a_test:load"

Loads = Callable[..., Data]
Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loads]:
    """Makes the spec of data that a function returns, or of what it is to return."""
    module = ModuleType("own_images_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(value: object, **options: Any) -> Data:
        module.__dict__["load"] = value if callable(value) else lambda: value
        data.forget()
        return spec(KIND, **options)

    yield make
    data.forget()


def images(count: int, *shape: int, seed: int = 0) -> Array:
    return noise(seed, count, *(shape or (8, 8)))


def labels(count: int, classes: int = 2) -> Array:
    return np.arange(count) % classes


TRAIN, TEST = (images(12), labels(12)), (images(6, seed=1), labels(6))
BOTH = {"train": TRAIN, "test": TEST}


def test_arrays_are_taken_as_they_are(loads: Loads) -> None:
    wanted = loads(BOTH)
    found = data.load(wanted)
    np.testing.assert_array_equal(found.train_images, TRAIN[0][:, None])
    np.testing.assert_array_equal(found.train_labels, TRAIN[1])
    np.testing.assert_array_equal(found.test_images, TEST[0][:, None])
    np.testing.assert_array_equal(found.test_labels, TEST[1])
    assert (found.train_images.dtype, found.train_labels.dtype) == (np.uint8, np.int64)
    assert (found.class_names, found.max_value) == (("0", "1"), 255)
    facts = data.describe(wanted)
    assert facts.shape == (1, 8, 8)
    assert facts.train_counts == (6, 6)
    assert facts.test_counts == (3, 3)
    assert facts.digest == found.digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", facts.digest)
    assert facts.notes == ()


SAME: list[tuple[str, Callable[[], object]]] = [
    ("a tuple of splits", lambda: (TRAIN, TEST)),
    ("tensors", lambda: {k: (torch.tensor(a), torch.tensor(b)) for k, (a, b) in BOTH.items()}),
    ("lists", lambda: {k: (list(a), b.tolist()) for k, (a, b) in BOTH.items()}),
    ("wider whole numbers", lambda: {k: (a.astype(np.int64), b) for k, (a, b) in BOTH.items()}),
    (
        "floats that are 8 bits over 255",
        lambda: {k: (a.astype(np.float32) / 255, b) for k, (a, b) in BOTH.items()},
    ),
    (
        "what ToTensor makes",
        lambda: {
            k: [
                (torch.from_numpy(i)[None].to(torch.float32).div(255), int(c))
                for i, c in zip(a, b, strict=True)
            ]
            for k, (a, b) in BOTH.items()
        },
    ),
    ("channels first", lambda: {k: (a[:, None], b) for k, (a, b) in BOTH.items()}),
    ("channels last", lambda: {k: (a[..., None], b) for k, (a, b) in BOTH.items()}),
    ("not contiguous", lambda: {k: (np.asfortranarray(a), b) for k, (a, b) in BOTH.items()}),
    ("big-endian", lambda: {k: (a.astype(">i4"), b.astype(">i8")) for k, (a, b) in BOTH.items()}),
    (
        "data sets of torch's",
        lambda: {k: TensorDataset(torch.tensor(a), torch.tensor(b)) for k, (a, b) in BOTH.items()},
    ),
    (
        "a part of a data set",
        lambda: {
            "train": Subset(TensorDataset(*map(torch.tensor, TRAIN)), range(12)),
            "test": TEST,
        },
    ),
    (
        "pictures",
        lambda: {
            k: [(Image.fromarray(i), np.int32(c)) for i, c in zip(a, b, strict=True)]
            for k, (a, b) in BOTH.items()
        },
    ),
    ("named classes", lambda: {**BOTH, "class_names": ["0", "1"]}),
    (
        "normlab's own form",
        lambda: data.Dataset(
            train_images=TRAIN[0][:, None],
            train_labels=TRAIN[1],
            test_images=TEST[0][:, None],
            test_labels=TEST[1],
            class_names=("0", "1"),
            max_value=255,
            digest="not looked at",
        ),
    ),
]


@pytest.mark.parametrize(("form", "value"), SAME, ids=[form for form, _ in SAME])
def test_the_same_images_in_any_form_are_the_same(
    form: str, value: Callable[[], object], loads: Loads
) -> None:
    expected = data.load(loads(BOTH))
    found = data.load(loads(value()))
    np.testing.assert_array_equal(found.train_images, expected.train_images)
    np.testing.assert_array_equal(found.test_labels, expected.test_labels)
    assert found.digest == expected.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda a, b: (np.where(a == a[0, 0, 0], a ^ 1, a), b),
        lambda a, b: (a, 1 - b),
        lambda a, b: (a[::-1], b[::-1]),
        lambda a, b: (a.astype(np.float64) / 256, b),
        lambda a, b: (a.reshape(-1, 4, 16), b),
    ],
)
def test_other_content_has_another_digest(
    change: Callable[[Array, Array], object], loads: Loads
) -> None:
    first = data.describe(loads(BOTH)).digest
    changed = {name: change(*part) for name, part in BOTH.items()}
    assert data.describe(loads(changed)).digest != first
    assert data.describe(loads({**BOTH, "class_names": ["a", "b"]})).digest != first


def test_images_in_color_stand_with_their_channels_first(loads: Loads) -> None:
    first = {"train": (images(12, 3, 8, 9), TRAIN[1]), "test": (images(6, 3, 8, 9), TEST[1])}
    first["test"] = (images(6, 3, 8, 9, seed=2), TEST[1])
    last = {name: (np.moveaxis(pixels, 1, -1), each) for name, (pixels, each) in first.items()}
    found = data.load(loads(last))
    assert found.shape == (3, 8, 9)
    np.testing.assert_array_equal(found.train_images, first["train"][0])
    assert found.digest == data.load(loads(first)).digest


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("NCHW", (3, 8, 3), (3, 8, 3)),
        ("NHWC", (3, 8, 3), (3, 3, 8)),
        ("NHWC", (8, 8, 13), (13, 8, 8)),
        ("NCHW", (2, 8, 8), (2, 8, 8)),
    ],
)
def test_a_layout_that_cannot_be_told_is_said(
    layout: str, shape: tuple[int, ...], expected: tuple[int, ...], loads: Loads
) -> None:
    both = {"train": (images(12, *shape), TRAIN[1]), "test": (images(6, *shape, seed=1), TEST[1])}
    with pytest.raises(UserError, match='"layout": "NCHW"'):
        data.load(loads(both))
    assert data.load(loads({**both, "layout": layout})).shape == expected


def test_floats_that_are_no_8_bit_values_keep_their_digits(loads: Loads) -> None:
    pixels = np.random.default_rng(0).random((18, 2, 3)).astype(np.float32)
    wanted = loads({"train": (pixels[:12], TRAIN[1]), "test": (pixels[12:], TEST[1])})
    found = data.load(wanted)
    assert (found.train_images.dtype, found.max_value) == (np.float32, 1)
    np.testing.assert_array_equal(found.train_images[:, 0], pixels[:12])
    made = data.splits(Recipe.parse({"data": KIND, "model": "digits-small", "validation": 2}))
    kept = made.train.inputs
    assert len(made.validation) == 2
    assert kept.mean() == pytest.approx(0, abs=1e-6)
    assert kept.std() == pytest.approx(1, abs=1e-6)
    width = (made.high - made.low)[0]
    np.testing.assert_allclose(
        made.test.inputs[:, 0], pixels[12:] * width + made.low[0], rtol=1e-5, atol=1e-5
    )
    unit = Recipe.parse({"data": {"kind": KIND, "scaling": "unit"}, "model": "digits-small"})
    np.testing.assert_array_equal(data.splits(unit).test.inputs[:, 0], pixels[12:])


def test_float_images_are_scaled_as_the_same_images_of_8_bits(loads: Loads) -> None:
    recipe = Recipe.parse({"data": KIND, "model": "digits-small"})
    loads(BOTH)
    whole = data.splits(recipe).train.inputs
    # A grain of dust in the first test image, so that they stay floats.
    floats = {name: (pixels / 255, each) for name, (pixels, each) in BOTH.items()}
    floats["test"][0][0, 0, 0] = 0.5 / 255
    loads(floats)
    assert data.load(recipe.data).train_images.dtype == np.float32
    np.testing.assert_allclose(data.splits(recipe).train.inputs, whole, atol=1e-5)


def test_the_largest_value_of_a_pixel_may_be_given(loads: Loads) -> None:
    small = {name: (pixels // 16, each) for name, (pixels, each) in BOTH.items()}
    (note,) = data.describe(loads(small)).notes
    assert note.startswith("the largest value of a training image is 15 of 255")
    wanted = loads({**small, "max_value": 16}, scaling="unit")
    assert data.describe(wanted).notes == ()
    made = data.splits(Recipe.parse({"data": wanted.model_dump(), "model": "digits-small"}))
    assert made.test.inputs.max() == 15 / 16


def test_common_options_are_normlab_s_and_the_rest_the_function_s(loads: Loads) -> None:
    def load(count: int = 12) -> object:
        return {
            "train": (images(count), labels(count, 3)),
            "test": (images(6, seed=1), labels(6, 3)),
        }

    wanted = loads(load, count=30, limit=4, test_limit=1, classes=["2", "0"])
    facts = data.describe(wanted)
    assert facts.class_names == ("0", "2")
    assert (facts.train_counts, facts.test_counts) == ((4, 4), (1, 1))
    assert data.load(wanted).train_images.shape == (8, 1, 8, 8)
    assert data.describe(spec(KIND, count=30)).train_images == 30


def test_it_is_called_once_for_what_is_trained_and_once_to_compare(loads: Loads) -> None:
    calls: list[int] = []

    def load(count: int = 12) -> object:
        calls.append(count)
        return {"train": (images(count), labels(count)), "test": TEST}

    wanted = loads(load)
    for limit in (None, 2, 3):
        part = spec(KIND, limit=limit)
        data.describe(part)
        data.load(part)
    data.describe.cache_clear()
    data.describe(wanted)
    assert calls == [12, 12]
    data.describe(spec(KIND, count=14))
    assert calls == [12, 12, 14, 14]


def test_what_takes_long_is_not_called_to_compare(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LONG", 0.0)
    calls: list[int] = []
    data.describe(loads(lambda: calls.append(1) or BOTH))
    assert calls == [1]


def test_options_are_given_as_copies(loads: Loads) -> None:
    def load(parts: list[int]) -> object:
        parts.pop()
        return BOTH

    wanted = loads(load, parts=[1, 2])
    data.describe(wanted)
    assert wanted.options == {"parts": [1, 2]}


@pytest.mark.parametrize("scale", [1, 1 / 300])
def test_what_the_user_does_to_the_arrays_later_changes_nothing(scale: float, loads: Loads) -> None:
    pixels = TRAIN[0] * np.float32(scale) if scale < 1 else TRAIN[0].copy()
    given = (pixels, TRAIN[1].copy())
    found = data.load(loads({"train": given, "test": (TEST[0] * type(scale)(scale), TEST[1])}))
    before = [found.train_images.copy(), found.train_labels.copy()]
    for array in given:
        array[:] = 0
    np.testing.assert_array_equal(found.train_images, before[0])
    np.testing.assert_array_equal(found.train_labels, before[1])


def test_what_it_prints_is_no_part_of_the_output(
    loads: Loads, capsys: pytest.CaptureFixture[str]
) -> None:
    def load() -> object:
        sys.stdout.write("Files already downloaded\n")
        return BOTH

    data.describe(loads(load))
    out, err = capsys.readouterr()
    assert (out, "Files already downloaded" in err) == ("", True)


def test_an_entry_point_s_name_stands_for_its_path(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads(BOTH)
    points = [EntryPoint("images-of-a-package", KIND, "normlab.data")]
    monkeypatch.setattr(
        "normlab.own.entry_points", lambda group: points if group == "normlab.data" else []
    )
    wanted = spec("images-of-a-package")
    assert data.describe(wanted).train_images == 12
    with pytest.raises(UserError, match="unknown kind 'images-of-another'"):
        spec("images-of-another")


def test_test_images_that_are_training_images_too_are_said(loads: Loads) -> None:
    pixels = TEST[0].copy()
    pixels[1], pixels[4] = TRAIN[0][3], TRAIN[0][5]
    facts = data.describe(loads({"train": TRAIN, "test": (pixels, TEST[1])}))
    assert facts.notes == (
        "2 of 6 test images are training images too: test 1 = train 3, test 4 = train 5",
        "1 images stand in two classes or more: train 5 = test 4",
    )


def test_a_class_without_a_test_image_is_said(loads: Loads) -> None:
    value = {"train": TRAIN, "test": (TEST[0], 0 * TEST[1]), "class_names": ["cat", "dog"]}
    assert data.describe(loads(value)).notes == ("no test image of dog",)


def test_images_from_examples_of_the_guide() -> None:
    for kind, shape in (("stripes", (1, 8, 8)), ("squares", (3, 8, 8))):
        facts = data.describe(spec(f"tests.data.own:{kind}"))
        assert facts.shape == shape
        assert facts.notes == ()


class Items:
    """A split by items."""

    def __init__(self, item: Callable[[int], object], count: int = 12) -> None:
        self.item, self.count = item, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> object:
        return self.item(index)


class Endless(IterableDataset[object]):
    def __iter__(self) -> Iterator[object]:
        yield from ()


def fails(*_: object) -> NoReturn:
    raise KeyError("lost")


def train(pixels: object = TRAIN[0], each: object = TRAIN[1]) -> dict[str, object]:
    return {"train": (pixels, each), "test": TEST}


def other_test(value: object) -> dict[str, object]:
    return {"train": TRAIN, "test": value}


FLOATS = {name: (pixels / 300, each) for name, (pixels, each) in BOTH.items()}


def infinite() -> object:
    pixels = FLOATS["train"][0].copy()
    pixels[3, 0, 0] = np.inf
    return {**FLOATS, "train": (pixels, TRAIN[1])}


ODD: list[tuple[object, str]] = [
    # The whole.
    (None, f"returned None: {re.escape(FORM)} is needed"),
    (TRAIN[0], r"returned ndarray of shape \(12, 8, 8\)"),
    ((*TRAIN, *TEST), "returned tuple of 4"),
    ([TRAIN, TEST], "returned list"),
    (TensorDataset(torch.zeros(3)), "returned TensorDataset"),
    ({"train": TRAIN}, "returned no 'test'"),
    ({}, "returned no 'train'"),
    ({**BOTH, "validation": TRAIN}, "returned 'validation': validation images are set aside from"),
    ({**BOTH, "classnames": []}, "unknown key 'classnames'. Did you mean 'class_names'"),
    ({**BOTH, 3: 4}, "unknown key '3'"),
    # A split.
    ({**BOTH, "train": None}, r"train is None: \(images, labels\) is needed"),
    ({**BOTH, "train": TRAIN[0]}, r"train is an array of shape \(12, 8, 8\)"),
    ({**BOTH, "train": torch.zeros(3)}, r"train is an array of shape \(3,\)"),
    ({**BOTH, "train": (*TRAIN, 1)}, "train is a tuple of 3"),
    ({**BOTH, "train": {"x": 1, "y": 2}}, "train is a mapping of x, y"),
    ({**BOTH, "train": Endless()}, "train: Endless has no length|train is Endless"),
    (other_test(DataLoader(TensorDataset(torch.zeros(3)))), "of a loader its `dataset`"),
    (other_test(zip(*TEST, strict=True)), "test is zip"),
    (other_test(Items), "test is type"),
    (other_test("path/to/test"), r"test: item 0 is str: \(image, label\) is needed"),
    # Items.
    (other_test(Items(fails)), "test: item 0 cannot be read: KeyError: 'lost'"),
    (other_test(Items(lambda i: {"image": 1, "label": 2})), "test: item 0 is dict"),
    (other_test(Items(lambda i: TEST[0][0])), r"test: item 0 is ndarray of shape \(8, 8\)"),
    (other_test(Items(lambda i: (TEST[0][0], "cat"))), "test: label 0 is str: a whole number"),
    (other_test(Items(lambda i: (TEST[0][0], [0, 1]))), "test: label 0 is list"),
    (other_test(Items(lambda i: (TEST[0][0], 0.5))), "test: label 0 is float"),
    (
        other_test(Items(lambda i: (images(1, 8, 8 + i)[0], 0))),
        r"test: image 1 has shape \(8, 9\), image 0 \(8, 8\): give all images one size",
    ),
    (
        other_test(Items(lambda i: (TEST[0][0].astype(float if i else int), 0))),
        "test: image 1 is of float64, image 0 of int64",
    ),
    (other_test(Items(fails, 0)), "test has no image"),
    (other_test([]), "test has no image"),
    (
        other_test(Items(lambda i: (Image.new("RGBA", (8, 8)), 0))),
        r"image 0 is a picture in mode RGBA: .*convert\('RGB'\)",
    ),
    (other_test(Items(lambda i: (object(), 0))), "test: image 0 is no array of numbers"),
    (
        other_test(Items(lambda i: (np.random.random((8, 8)), 0))),
        "test: item 0 is another one each time it is read.*`augment`",
    ),
    (
        other_test(Items(lambda i: (TEST[0][i % 6], np.random.randint(2**40)))),
        "test: item 0 is another one each time it is read",
    ),
    # Images.
    (train([*TRAIN[0][:11], images(1, 9, 9)[0]]), r"train images: 11 has shape \(9, 9\)"),
    (train(TRAIN[0].reshape(12, -1)), r"train images have shape \(12, 64\)"),
    (train(TRAIN[0][:0], TRAIN[1][:0]), "train has no image"),
    (train(images(12, 0, 8)), "train has no image"),
    (train(images(12, 9, 9)), r"training images have shape \(9, 9\), test images \(8, 8\)"),
    (train(images(12, 1, 8, 8)), r"training images have shape \(1, 8, 8\), test images \(8, 8\)"),
    (train(TRAIN[0] > 99), "train images are of bool"),
    (train(TRAIN[0].astype(str)), "train images are of <U"),
    (train(TRAIN[0].astype(complex)), "train images are of complex128"),
    (train(TRAIN[0] / 255), "training images are of float64, test images of uint8"),
    (train(TRAIN[0].astype(int) * 9), "train images have values from 0 to 22.*floats from 0 to 1"),
    (train(TRAIN[0].astype(int) - 99), "train images have values from -99 to"),
    (infinite(), "train image 3 has values that are no finite number"),
    (
        {name: (pixels * 1.0, each) for name, (pixels, each) in BOTH.items()},
        r"train images are floats from 0 to 25\d: 0 to 1 is needed \(divide by the .*astype\('uint8'\)",
    ),
    (
        {name: (pixels - 0.5, each) for name, (pixels, each) in FLOATS.items()},
        "floats from -0.5 to .*: 0 to 1 is needed .take off no mean, `data.scaling` does",
    ),
    (train(np.ma.masked_less(TRAIN[0], 5)), "train images have masked values"),
    ({**BOTH, "layout": "CHW"}, "layout is 'CHW': NCHW or NHWC is allowed"),
    ({**BOTH, "layout": "NCHW"}, "layout is NCHW: images .* have no channels"),
    ({**BOTH, "max_value": 16}, "values from 0 to 25.: whole numbers from 0 to 16 are allowed"),
    ({**BOTH, "max_value": 16.0}, "max_value is 16.0: a whole number from 1 to 255"),
    ({**BOTH, "max_value": 0}, "max_value is 0"),
    ({**FLOATS, "max_value": 1}, "max_value is 1: of floats it is 1, so leave it out"),
    # Labels and classes.
    (train(each=TRAIN[1][:11]), "train has 12 images and 11 labels"),
    (train(each=np.eye(2)[TRAIN[1]]), r"labels have shape \(12, 2\).*argmax"),
    (train(each=TRAIN[1].astype(float)), r"train labels are of float64.*astype\(int\)"),
    (train(each=TRAIN[1] > 0), "train labels are of bool"),
    (train(each=[*"abababababab"]), "train labels are of <U1.*np.unique.*class_names"),
    (train(each=TRAIN[1] - 1), "train has the label -1"),
    (train(each=TRAIN[1].astype(np.uint64) + 2**40), "train has the label 1099511627776"),
    (train(each=TRAIN[1] + 1), "labels begin at 1: they count from 0, so take 1 off"),
    (train(each=TRAIN[1] * 2), "no training image of class 1: labels are the numbers from 0 to 2"),
    (train(each=TRAIN[1] * 10**9), "no training image of class 1, 2, 3"),
    (other_test((TEST[0], TEST[1] + 1)), "no training image of class 2"),
    ({"train": (TRAIN[0], 0 * TRAIN[1]), "test": (TEST[0], 0 * TEST[1])}, "has one class"),
    ({**BOTH, "class_names": ["a"]}, "train has the label 1: class_names has 1 names, so 0 to 0"),
    ({**BOTH, "class_names": ["a", "b", "c"]}, "no training image of class 'c'"),
    ({**BOTH, "class_names": ["a", "a"]}, "class_names names 'a' twice"),
    ({**BOTH, "class_names": "ab"}, "class_names is 'ab': a list of names"),
    ({**BOTH, "class_names": [1, 2]}, r"class_names is \[1, 2\]: a list of names"),
    ({**BOTH, "class_names": ["a", " "]}, "a list of names is needed"),
    # Both splits.
    ({"train": TRAIN, "test": TRAIN}, "every test image is a training image too"),
    # The function.
    (fails, "cannot be read: KeyError: 'lost'"),
    (lambda: sys.exit(3), "cannot be read: SystemExit: 3"),
    (lambda path: BOTH, "cannot be read: TypeError: .*'path'"),
    (
        lambda: {**BOTH, "train": (np.random.default_rng().integers(0, 256, (12, 8, 8)), TRAIN[1])},
        "returned other images when it was called again: seed what it draws",
    ),
]


@pytest.mark.parametrize(("value", "message"), ODD, ids=[str(n) for n in range(len(ODD))])
def test_what_cannot_be_used_is_refused_by_name(value: object, message: str, loads: Loads) -> None:
    with pytest.raises(UserError, match=message) as caught:
        data.describe(loads(value))
    assert str(caught.value).startswith(f"data '{KIND}'")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "nowhere_at_all:load",
            {},
            "data 'nowhere_at_all:load' cannot be imported: ModuleNotFound",
        ),
        ("tests.data.own:gone", {}, "cannot be imported: AttributeError"),
        ("tests.data.own:np", {}, "is <module .*: a function that returns .* is needed"),
        (
            "tests.data.own:stripes",
            {"sid": 9},
            "unknown option of data .* 'sid'. Did you mean 'side'",
        ),
        (
            "tests.data.own:",
            {},
            "data is 'tests.data.own:': an import path is package.module:function",
        ),
        (
            "tests.data.own:stripes",
            {"side": {1, 2}},
            "data.side is .*: a number, text, truth value",
        ),
        ("tests.data.own:stripes", {"side": float("nan")}, "data.side.* is nan"),
        ("tests.data.own:stripes", {"limit": 0}, "data.limit is 0"),
        ("tests.data.own:stripes", {"classes": ["row", "cross"]}, "data.classes: unknown class"),
        ("tests.data.own:stripes", {"classes": 4}, "has 3 classes"),
    ],
)
def test_a_mistake_in_the_recipe_is_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data.describe(spec(kind, **options))


def test_memory_that_runs_out_is_no_mistake_of_the_user_s(loads: Loads) -> None:
    def load() -> NoReturn:
        raise MemoryError

    with pytest.raises(MemoryError):
        data.describe(loads(load))
    with pytest.raises(MemoryError):
        data.describe(loads({**BOTH, "train": Items(lambda i: load())}))
