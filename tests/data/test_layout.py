"""`image-folder`: which folders are splits and which classes, and what is said of files not read."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from normlab import data
from normlab.data import describe
from normlab.data.images.layout import _role
from normlab.errors import UserError
from normlab.recipe.data import Data
from tests.data.made import class_folders, noise, png, seed_of, spec, write


def at(root: Path, **options: Any) -> Data:
    data.forget()
    return spec("image-folder", path=str(root), size=8, **options)


def counts(root: Path, **options: Any) -> tuple[Any, ...]:
    known = describe(at(root, **options))
    return known.class_names, known.train_counts, known.test_counts


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainImages", "TestImages"),
        ("train2017", "val2017"),
        ("train-data", "eval data"),
        ("imgs_train", "imgs_validation"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("trainset", "testset"),
    ],
)
def test_splits_are_known_however_their_folders_are_called(
    train: str, test: str, tmp_path: Path
) -> None:
    sizes = {f"{train}/cat": 4, f"{train}/dog": 3, f"{test}/cat": 2, f"{test}/dog": 1}
    root = class_folders(tmp_path / "own", sizes)
    wanted = at(root)
    known, found = describe(wanted), data.load(wanted)
    assert (known.class_names, known.train_counts, known.test_counts) == (
        ("cat", "dog"),
        (4, 3),
        (2, 1),
    )
    assert any("has the training images and" in note for note in known.notes)
    first = noise(seed_of(f"{test}/dog", 0), 8, 8, 3).transpose(2, 0, 1)
    np.testing.assert_array_equal(found.test_images[found.test_labels == 1][0], first)


@pytest.mark.parametrize("name", ["test_tube", "bullet train", "cat", "valid_trainers", "t"])
def test_a_word_beside_others_makes_no_split(name: str) -> None:
    assert _role(name) is None or _role(name)[1]  # type: ignore[index]


@pytest.mark.parametrize(
    "names",
    [("bus", "train", "tram"), ("invalid", "valid"), ("test_tube", "beaker"), ("dev", "prod")],
)
def test_classes_whose_names_are_words_of_splits_stay_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "own", dict.fromkeys(names, 5))
    assert counts(root) == (tuple(sorted(names)), (4,) * len(names), (1,) * len(names))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["train", "test"], r"'train' and 'test' are splits, and there are no class folders"),
        (["Training", "Testing"], r"'Training' and 'Testing' are splits"),
        (["train_cat", "train_dog", "test_cat", "test_dog"], "splits and classes in one"),
        (["cat", "dog", "test"], r"is 'test' a class.*`classes: \[cat, dog, test\]`"),
        (["Learn/cat", "Learn/dog", "Exam/cat", "Exam/dog"], r"Exam, Learn have the same folders"),
        (["fold1/a", "fold1/b", "fold2/a", "fold2/b"], "If they are splits, call them 'train'"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], "Splits come first"),
        (["Train/cat", "Train/dog"], "has the folder 'Train' and none of test"),
        (["train1/a", "train1/b", "train2/a", "test/a"], "more than one folder of training images"),
        (["photos/train/a", "photos/train/b"], r"only 'photos'"),
        (["photos/a", "photos/b"], r"only 'photos'\. Is path meant to be .*own/photos\?"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_may_be_splits_or_classes_is_refused(
    places: list[str], message: str, tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "own", dict.fromkeys(places, 3))
    with pytest.raises(UserError, match=message):
        describe(at(root))


def test_who_names_the_classes_is_believed(tmp_path: Path) -> None:
    places = [f"{kind}/{sex}" for kind in ("cat", "dog") for sex in ("female", "male")]
    root = class_folders(tmp_path / "own", dict.fromkeys(places, 5))
    assert counts(root, classes=["cat", "dog"]) == (("cat", "dog"), (8, 8), (2, 2))
    class_folders(root, {"test": 5})
    assert counts(root, classes=["cat", "dog"])[0] == ("cat", "dog")


def test_of_a_labelled_and_a_flat_test_folder_the_labelled_one_is_taken(tmp_path: Path) -> None:
    sizes = {"train/cat": 4, "train/dog": 4, "val/cat": 2, "val/dog": 2, "test": 9}
    known = describe(at(class_folders(tmp_path / "own", sizes)))
    assert known.test_counts == (2, 2)
    assert "'test' is not used: the test images are those of 'val'" in known.notes[0]


def test_a_folder_beside_the_splits_is_said(tmp_path: Path) -> None:
    sizes = {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2, "more/cat": 2}
    (note,) = describe(at(class_folders(tmp_path / "own", sizes))).notes
    assert note == "not used, as they are neither 'train' nor 'test': the folders more"


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({"train/cat": 5, "train/dog": 5, "test": 1}, {}),
        ({"train/cat": 5, "train/dog": 5, "test/cat/.none": 1}, {}),
        ({"cat": 5, "dog": 5}, {"test": 0.01}),
        ({"train/a": 2, "train/b": 2, "train/c": 2, "test/c": 2}, {"classes": ["a", "b"]}),
    ],
    ids=["flat", "empty", "fraction", "classes"],
)
def test_no_test_image_at_all_is_refused(
    sizes: dict[str, int], options: dict[str, Any], tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "own", sizes)
    with pytest.raises(UserError, match="no test image of any class"):
        describe(at(root, **options))


# -- files that are not read, and images that are there twice ------------------------------


def test_links_are_followed_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {"cat": 10, "dog": 10})
    class_folders(tmp_path, {"elsewhere": 5})
    (root / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "dog" / "one.png").symlink_to(tmp_path / "elsewhere" / "000.png")
    (root / "dog" / "gone.png").symlink_to("/not/fetched/1")
    (root / "dog" / "self.png").symlink_to("self.png")
    (root / "dog" / "round").symlink_to(root / "dog")
    (root / "cat" / "000.png").rename(root / "cat" / "000.JFIF")
    for name in ("cat/a.heic", "cat/b.HEIC", "dog/none", "dog/Thumbs.db", "beside.png", "x.txt"):
        write(root / name, b"?")
    os.mkfifo(root / "dog" / "pipe.png")
    known = describe(at(root))
    assert known.train_images + known.test_images == 10 + 16
    left_out = [note for note in known.notes if note.startswith("left out")]
    assert sorted(left_out) == [
        "left out, a link to a folder that is read already: 1 (dog/round)",
        "left out, a link to nothing: 1 (dog/gone.png)",
        "left out, cannot be followed (Too many levels of symbolic links): 1 (dog/self.png)",
        "left out, ending .heic: 2 (cat/a.heic, cat/b.HEIC)",
        "left out, in no class folder: 1 (beside.png)",
        "left out, no ending: 1 (dog/none)",
        "left out, no file: 1 (dog/pipe.png)",
    ]


def test_folders_linked_to_each_other_are_read_once_for_each_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {"cat": 5, "dog": 5, "cat/a": 5, "cat/b": 5})
    for here, there in (("a", "b"), ("b", "a")):
        for number in range(3):
            (root / "cat" / here / f"to{number}").symlink_to(root / "cat" / there)
    assert describe(at(root)).train_counts == (12, 4)


def test_an_empty_class_folder_says_what_lies_in_it(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {"cat": 5})
    write(root / "dog" / "1.heic", b"?")
    with pytest.raises(UserError, match=r"dog has no images; left out, ending \.heic: 1 \(dog/1"):
        describe(at(root))


def test_a_folder_that_cannot_be_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "own", {"cat": 5, "dog": 5})
    real = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"the folder .*dog cannot be read: Permission denied"):
        describe(at(root))


def test_images_of_both_splits_are_found_by_content(tmp_path: Path) -> None:
    sizes = {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 2}
    root = class_folders(tmp_path / "own", sizes)
    copied = (root / "train" / "cat" / "002.png").read_bytes()
    write(root / "test" / "cat" / "again.png", copied)
    # The same pixels in another format.
    with Image.open(root / "train" / "dog" / "001.png") as image:
        image.save(root / "test" / "dog" / "again.bmp")
    (note,) = describe(at(root)).notes
    assert note == (
        "2 of 6 test images are training images too: test/cat/again.png = train/cat/002.png, "
        "test/dog/again.bmp = train/dog/001.png"
    )


def test_an_image_of_two_classes_is_said(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {"train/cat": 4, "train/dog": 3, "test/cat": 2})
    write(root / "train" / "dog" / "x.png", (root / "train" / "cat" / "002.png").read_bytes())
    assert "2 images stand in two classes or more: train/cat/002.png = train/dog/x.png" in (
        describe(at(root)).notes
    )


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != apart
    sizes = {f"train/{composed}": 4, "train/the": 4, f"test/{apart}": 2, "test/the": 1}
    root = class_folders(tmp_path / apart, sizes)
    assert counts(root) == ((composed, "the"), (4, 4), (2, 1))
    # In the recipe too: the name of a class, and the path.
    assert counts(root, classes=[apart, "the"])[0] == (composed, "the")
    assert counts(tmp_path / composed)[0] == (composed, "the")


def test_the_first_classes_are_said_where_they_are_not_the_first_numbers(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", dict.fromkeys(map(str, range(11)), 5))
    assert describe(at(root, classes=3)).notes == (
        "data.classes 3, the first in the order of text, are 0, 1, 10",
    )
    assert describe(at(root)).notes == ()


def test_equal_names_sizes_and_times_do_not_hide_other_content(tmp_path: Path) -> None:
    digests = []
    for level in (10, 150):
        for number, name in enumerate(("cat", "dog")):
            for i in range(10):
                pixels = np.full((8, 8, 3), level + 60 * number + i, np.uint8)
                path = write(tmp_path / "own" / name / f"{i}.png", png(pixels))
                with Image.open(path) as image:
                    image.convert("RGB").save(path := path.with_suffix(".bmp"))
                path.with_suffix(".png").unlink()
                os.utime(path, (315532800, 315532800))
        digests.append(describe(at(tmp_path / "own")).digest)
    assert digests[0] != digests[1]
