"""What holds for every entry of the catalog; an entry without settings fails."""

import gzip
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from normlab import data
from normlab.data import SOURCES, Facts, describe
from normlab.data.cifar10 import CIFAR10
from normlab.data.cifar100 import CIFAR100
from normlab.data.fashion_mnist import FASHION_MNIST
from normlab.data.images.shipped import CALTECH25, CIFAR10_JPEG
from normlab.data.kmnist import KMNIST
from normlab.data.mnist import MNIST
from normlab.errors import UserError
from normlab.recipe import DATA, Recipe
from normlab.recipe.data import Data
from tests.data.made import cifar_set, class_folders, idx_set, shipped_set, spec

COUNTS = {"train/a": 4, "train/b": 5, "test/a": 2, "test/b": 2}


@dataclass(frozen=True)
class Settings:
    """How an entry is tested.

    Attributes:
        known: (C, H, W), classes, training and test images of the real set; none for a set that
            is not known beforehand.
        small: Makes a small set in a folder in the published format, and the entry that knows it;
            none for the set inside the package.
        options: Of the spec, given that folder.
    """

    known: tuple[tuple[int, int, int], int, int, int] | None
    small: Callable[[Path], Any] | None
    options: Callable[[Path], dict[str, Any]] = lambda _: {}


SETTINGS = {
    "digits": Settings(((1, 8, 8), 10, 1198, 599), None),
    "mnist": Settings(((1, 28, 28), 10, 60_000, 10_000), lambda f: idx_set(MNIST, f)),
    "fashion-mnist": Settings(
        ((1, 28, 28), 10, 60_000, 10_000), lambda f: idx_set(FASHION_MNIST, f)
    ),
    "kmnist": Settings(((1, 28, 28), 10, 60_000, 10_000), lambda f: idx_set(KMNIST, f)),
    "cifar10": Settings(((3, 32, 32), 10, 50_000, 10_000), lambda f: cifar_set(CIFAR10, f)),
    "cifar100": Settings(((3, 32, 32), 100, 50_000, 10_000), lambda f: cifar_set(CIFAR100, f)),
    "cifar10-jpeg": Settings(
        ((3, 32, 32), 10, 50_000, 10_000), lambda f: shipped_set(CIFAR10_JPEG, f)
    ),
    "caltech25": Settings(((3, 32, 32), 25, 2307, 568), lambda f: shipped_set(CALTECH25, f)),
    "image-folder": Settings(
        None,
        lambda f: class_folders(f / "own", COUNTS) and SOURCES["image-folder"],
        lambda f: {"path": str(f / "own")},
    ),
}

PUBLISHED = [kind for kind, settings in SETTINGS.items() if settings.known]
ON_DISK = [kind for kind, settings in SETTINGS.items() if settings.known and settings.small]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


Small = Callable[..., Data]


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Makes the spec of a small set of that kind, which is the kind's while the test lasts."""

    def make(kind: str, **options: Any) -> Data:
        settings = SETTINGS[kind]
        if settings.small:
            monkeypatch.setitem(SOURCES, kind, settings.small(folder))
        return spec(kind, **settings.options(folder), **options)

    return make


def test_every_entry_has_settings() -> None:
    assert list(SETTINGS) == list(DATA) == list(SOURCES)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_set_is_known_without_reading_it(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("nothing may be read for this")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    found = describe(spec(kind))
    known = (found.shape, found.num_classes, found.train_images, found.test_images)
    assert known == SETTINGS[kind].known
    assert len(set(found.class_names)) == len(found.class_names)
    assert found.digest.startswith("sha256:")
    assert len(found.digest) == 71


def test_no_two_published_sets_have_one_digest() -> None:
    assert len({describe(spec(kind)).digest for kind in PUBLISHED}) == len(PUBLISHED)


@pytest.mark.parametrize("kind", SETTINGS)
def test_what_is_read_is_what_was_described(kind: str, small: Small) -> None:
    wanted = small(kind)
    known, found = describe(wanted), data.load(wanted)
    assert facts(found) == plain(known)
    for images, labels in (
        (found.train_images, found.train_labels),
        (found.test_images, found.test_labels),
    ):
        assert images.shape == (len(labels), *known.shape)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert images.max() <= found.max_value


def plain(known: Facts) -> Facts:
    """Facts without what is known of the files alone."""
    return replace(known, sizes=())


def facts(found: data.Dataset) -> Facts:
    def counts(labels: np.ndarray) -> tuple[int, ...]:  # type: ignore[type-arg]
        return tuple(np.bincount(labels, minlength=len(found.class_names)).tolist())

    return Facts(
        shape=found.shape,
        class_names=found.class_names,
        train_counts=counts(found.train_labels),
        test_counts=counts(found.test_labels),
        digest=found.digest,
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_reading_again_gives_the_same(kind: str, small: Small) -> None:
    wanted = small(kind)
    first = data.load(wanted)
    data.forget()
    again = data.load(wanted)
    assert first is not again
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.parametrize("kind", SETTINGS)
def test_classes_are_chosen_and_numbered_anew(kind: str, small: Small) -> None:
    whole = data.load(small(kind))
    names = [whole.class_names[0], whole.class_names[-1]]
    wanted = small(kind, classes=names[::-1])  # their order in the list says nothing
    part = data.load(wanted)
    assert part.class_names == tuple(names)
    assert facts(part) == plain(describe(wanted))
    for number, old in enumerate((0, len(whole.class_names) - 1)):
        np.testing.assert_array_equal(
            part.train_images[part.train_labels == number],
            whole.train_images[whole.train_labels == old],
        )
    first = small(kind, classes=2)
    assert describe(first).class_names == whole.class_names[:2]
    assert facts(data.load(first)) == plain(describe(first))


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_limit_leaves_so_many_of_each_class(kind: str, small: Small) -> None:
    wanted = small(kind, limit=3, test_limit=1)
    part = data.load(wanted)
    assert facts(part) == plain(describe(wanted))
    assert set(describe(wanted).train_counts) == {3}
    assert set(describe(wanted).test_counts) == {1}
    assert describe(wanted).digest == describe(small(kind)).digest
    fewer = data.load(small(kind, limit=2))
    kept = {image.tobytes() for image in part.train_images}
    assert {image.tobytes() for image in fewer.train_images} < kept


@pytest.mark.parametrize("kind", SETTINGS)
def test_its_splits_are_scaled(kind: str, small: Small) -> None:
    wanted = small(kind)
    values = {"data": wanted.model_dump(exclude_defaults=True), "model": "digits-small"}
    made = data.splits(Recipe.parse(values))
    assert made.shape == describe(wanted).shape
    assert made.class_names == describe(wanted).class_names
    np.testing.assert_allclose(made.train.inputs.mean((0, 2, 3)), 0, atol=1e-4)
    assert made.low.shape == made.high.shape == made.shape[:1]
    assert (made.low < made.high).all()
    for part in (made.train, made.validation, made.test):
        assert (part.inputs >= made.low[:, None, None] - 1e-6).all()
        assert (part.inputs <= made.high[:, None, None] + 1e-6).all()


@pytest.mark.parametrize("kind", ON_DISK)
def test_other_content_is_refused(kind: str, small: Small, folder: Path) -> None:
    wanted = small(kind)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        packed = path.suffix == ".gz"
        raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        # Past all headers: those of a tar's first file take up to 1536 bytes.
        raw[1700 if ".tar" in path.name else -1] ^= 1
        path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    with pytest.raises(UserError, match="differs from the"):
        data.load(wanted)


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_missing_set_is_said_with_where_it_was_looked_for(kind: str, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        data.load(spec(kind))
    assert f"data '{kind}': {folder}" in str(caught.value)


@pytest.mark.parametrize("kind", SETTINGS)
def test_its_options_are_read_back_from_a_stored_recipe(kind: str, small: Small) -> None:
    wanted = small(kind, classes=2, limit=3, test_limit=1, scaling="unit")
    recipe = Recipe.parse({"data": wanted.model_dump(), "model": "digits-small"})
    assert Recipe.parse(recipe.canonical()).data == wanted
