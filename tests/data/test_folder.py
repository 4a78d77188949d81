"""`image-folder`: layouts, what is held out, broken files, the cache, and what a trial's id is of."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from normlab import data
from normlab.data import describe
from normlab.data.images import cache, pool
from normlab.errors import UserError
from normlab.recipe import Recipe, trial_id
from normlab.recipe.data import Data
from normlab.study.files import parse_yaml
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from tests.data.made import class_folders, noise, png, saved, seed_of, spec, write

SPLIT = {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 1}
WHOLE = {"cat": 10, "dog": 20}


def at(root: Path, **options: Any) -> Data:
    data.forget()
    return spec("image-folder", path=str(root), size=8, **options)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were decoded, each time that any were."""
    counts = []
    real = pool.decode_all

    def counted(items: list[Any], *args: Any) -> Any:
        counts.append(len(items))
        return real(items, *args)

    monkeypatch.setattr(pool, "decode_all", counted)
    return counts


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_a_training_and_a_test_folder(test: str, tmp_path: Path) -> None:
    counts = {place.replace("test", test): n for place, n in SPLIT.items()}
    wanted = at(class_folders(tmp_path / "own", counts))
    known, found = describe(wanted), data.load(wanted)
    assert known.class_names == ("cat", "dog")
    assert (known.train_counts, known.test_counts, known.notes) == ((4, 3), (2, 1), ())
    assert found.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert found.test_labels.tolist() == [0, 0, 1]
    third = noise(seed_of("train/cat", 3), 8, 8, 3)
    np.testing.assert_array_equal(found.train_images[3], third.transpose(2, 0, 1))


def test_class_folders_have_a_fixed_part_of_each_held_out(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", WHOLE)
    wanted = at(root)
    first = data.load(wanted)
    assert (describe(wanted).train_counts, describe(wanted).test_counts) == ((8, 16), (2, 4))
    seen = {i.tobytes() for i in first.train_images[first.train_labels == 0]}
    assert not seen & {i.tobytes() for i in first.test_images[first.test_labels == 0]}
    np.testing.assert_array_equal(data.load(at(root)).test_images, first.test_images)
    assert describe(at(root, test=0.5)).test_counts == (5, 10)


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    for name in ("train/cat/notes.txt", "train/cat/.hidden.png", "train/cat/Thumbs.db", "x.png"):
        write(root / name, b"?")
    write(root / "train" / ".ipynb" / "a.png", b"?")
    write(root / "train" / "cat" / ".cache" / "a.png", b"?")
    write(root / "train" / "beside.png", b"?")
    assert describe(at(root)).train_counts == (4, 3)


def test_folders_within_a_class_folder_belong_to_it(tmp_path: Path) -> None:
    counts = {**SPLIT, "train/cat/tabby": 2}
    assert describe(at(class_folders(tmp_path / "own", counts))).train_counts == (6, 3)


def test_a_class_folder_may_be_a_link_and_links_in_circles_are_no_trouble(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    shutil.move(root / "train" / "cat", tmp_path / "cats")
    (root / "train" / "cat").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "again").symlink_to(tmp_path / "cats")
    known = describe(at(root))
    assert known.train_counts == (4, 3)
    assert known.notes == (
        "left out, a link to a folder that is read already: 1 (train/cat/again)",
    )


def test_of_two_test_folders_one_is_taken_and_it_is_said(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {**SPLIT, "val/cat": 1, "val/dog": 1})
    (note,) = describe(at(root)).notes
    assert "'val' is not used" in note


def test_a_class_without_test_images_is_said(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", {"train/cat": 2, "train/dog": 2, "test/cat": 1})
    assert describe(at(root)).notes == ("no test image of dog",)


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        (
            {"train/cat": 1, "train/dog": 1},
            {},
            r"has the folder 'train' and none of test, val.*path",
        ),
        (SPLIT, {"test": 0.3}, r"data\.test is 0\.3: it has no effect.*'test'"),
        ({"cat": 3}, {}, "two at least; it has only 'cat'"),
        ({}, {}, "two at least; it has none"),
        ({**SPLIT, "test/dgo": 1}, {}, r"test/dgo/000\.png: unknown class 'dgo'.*'dog'"),
        ({**SPLIT, "train/eel/.none": 1}, {}, "class folder .*train/eel has no images"),
        ({"cat": 1, "dog": 9}, {"test": 0.9}, "class 'cat' has no training image"),
    ],
    ids=["no-test", "test", "one", "none", "unknown", "empty", "all-held-out"],
)
def test_a_layout_that_cannot_be_used_is_refused(
    counts: dict[str, int], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "own", counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=message):
        describe(at(root, **options))


def test_no_such_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path is '.*nowhere': there is no folder"):
        describe(at(tmp_path / "nowhere"))


BROKEN = {
    "train/cat/zero.jpg": b"",
    "train/cat/cut.jpg": saved(Image.fromarray(noise(0, 64, 64, 3)), "JPEG")[:2000],
    "train/dog/page.png": b"<html>",
}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    root = class_folders(tmp_path / "own", SPLIT)
    for name, raw in BROKEN.items():
        write(root / name, raw)
    return root


def test_broken_images_are_refused_and_all_named(damaged: Path) -> None:
    with pytest.raises(UserError) as caught:
        describe(at(damaged))
    message = str(caught.value)
    assert "3 of 13 images cannot be read" in message
    assert "broken: skip" in message
    for name, reason in zip(BROKEN, ("empty", "truncated", "not an image"), strict=True):
        assert any(name in line and reason in line for line in message.splitlines())


def test_broken_images_are_left_out_named_and_counted(damaged: Path, tmp_path: Path) -> None:
    wanted = at(damaged, broken="skip")
    known = describe(wanted)
    assert known.train_counts == (4, 3)
    (note,) = known.notes
    assert note.startswith("3 of 13 images cannot be read and are left out: train/cat/cut.jpg (")
    # What is left is what a folder without them has.
    clean = class_folders(tmp_path / "clean", SPLIT)
    assert known.digest == describe(at(clean)).digest
    np.testing.assert_array_equal(data.load(wanted).train_images, data.load(at(clean)).train_images)


def test_of_many_broken_images_some_are_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    for number in range(30):
        write(root / "train" / "cat" / f"x{number:02}.png", b"?")
    (note,) = describe(at(root, broken="skip")).notes
    assert note.count("x0") == 10
    assert note.endswith("and 20 more")


def test_a_folder_without_one_readable_image_is_refused(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png"):
        write(tmp_path / "own" / name, b"?")
    with pytest.raises(UserError, match=r"none of the 2 images can be read.*cat/a\.png: not an im"):
        describe(at(tmp_path / "own", broken="skip"))


def test_odd_images_are_read_without_a_traceback(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", WHOLE)
    rgb = Image.fromarray(noise(1, 20, 30, 3))
    odd = {
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "palette.png": saved(rgb.convert("P"), "PNG", transparency=3),
        "deep.png": saved(Image.fromarray(noise(2, 9, 9).astype(np.uint16) * 257), "PNG"),
        "bits.png": saved(rgb.convert("1"), "PNG"),
        "alpha.png": saved(rgb.convert("LA"), "PNG"),
        "UPPER.JPG": saved(rgb, "JPEG"),
        "small.gif": saved(rgb.resize((1, 1)), "GIF"),
    }
    for name, raw in odd.items():
        write(root / "cat" / name, raw)
    write(root / "cat" / os.fsdecode(b"latin-\xe9.png"), png(noise(3, 8, 8, 3)))
    for name, raw in {**BROKEN, "bomb.png": b"\x89PNG\r\n\x1a\n"}.items():
        write(root / "cat" / Path(name).name, raw)
    write(root / "cat" / os.fsdecode(b"broken-\xe9.png"), b"?")
    known = describe(at(root, broken="skip"))
    assert known.train_images + known.test_images == 30 + len(odd) + 1
    (note,) = known.notes
    assert "5 of 43 images" in note
    assert r"broken-\xe9.png" in note


def test_decoded_once(tmp_path: Path, decoding: list[int]) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    first = data.load(at(root)).train_images.copy()
    np.testing.assert_array_equal(data.load(at(root, limit=9)).train_images, first)
    assert decoding == [10]
    describe(at(root, mode="L"))
    assert decoding == [10, 10]


def test_a_file_that_changed_is_decoded_anew(tmp_path: Path, decoding: list[int]) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    before = describe(at(root)).digest
    path = root / "train" / "cat" / "000.png"
    raw, times = path.read_bytes(), path.stat()
    path.write_bytes(png(noise(99, 8, 8, 3)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert describe(at(root)).digest != before
    path.write_bytes(raw)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 2))
    assert describe(at(root)).digest == before
    assert decoding == [10, 10, 10]


def test_files_that_look_as_before_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = cache.file_hashes

    def counted(items: list[Any]) -> list[str]:
        read.append(len(items))
        return real(items)

    monkeypatch.setattr(cache, "file_hashes", counted)
    root = class_folders(tmp_path / "own", SPLIT)
    describe(at(root))  # decoded, and so read
    describe(at(root))  # a moment ago: the clock may not have moved since
    assert read == [10]
    monkeypatch.setattr(cache, "_SETTLED", 0)
    for _ in range(3):
        describe(at(root))
    assert read == [10, 10]
    path = root / "train" / "cat" / "000.png"
    path.write_bytes(path.read_bytes())
    describe(at(root))
    assert read == [10, 10, 10]


def test_the_cache_keeps_what_a_folder_looks_like_now(tmp_path: Path, own_cache: Path) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    describe(at(root))
    before = {path.name for path in own_cache.rglob("*.*")}
    write(root / "train" / "cat" / "new.png", png(noise(9, 8, 8, 3)))
    describe(at(root))
    after = {path.name for path in own_cache.rglob("*.*")}
    assert sorted(Path(name).suffix for name in after) == [".json", ".npy"]
    assert not before & after


@pytest.mark.parametrize("suffix", [".json", ".npy"])
@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda _: b""], ids=["cut", "empty"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path,
    own_cache: Path,
    decoding: list[int],
    suffix: str,
    damage: Callable[[bytes], bytes],
) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    before = describe(at(root))
    (path,) = own_cache.rglob(f"*{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert describe(at(root)) == before
    assert decoding == [10, 10]


def test_what_a_killed_process_left_is_swept_and_what_another_writes_is_not(
    tmp_path: Path, own_cache: Path
) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    describe(at(root))
    (entry,) = own_cache.rglob("*.npy")
    old, new = write(entry.parent / "a.tmp", b"x"), write(entry.parent / "b.tmp", b"x")
    os.utime(old, (0, 0))
    write(root / "train" / "cat" / "new.png", png(noise(9, 8, 8, 3)))
    describe(at(root))
    assert (old.exists(), new.exists()) == (False, True)


def test_a_cache_without_room_is_the_user_s_to_mend(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_room", full)
    with pytest.raises(UserError, match=r"No space left.*Set NORMLAB_CACHE"):
        describe(at(class_folders(tmp_path / "own", SPLIT)))
    assert not list(own_cache.rglob("*.*"))


def test_the_digest_is_of_content_and_classes_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = (class_folders(tmp_path / name, SPLIT) for name in ("here", "there"))
    assert describe(at(here)).digest == describe(at(there)).digest
    (there / "train" / "cat").rename(there / "train" / "cow")
    (there / "test" / "cat").rename(there / "test" / "cow")
    assert describe(at(here)).digest != describe(at(there)).digest
    assert describe(at(here)).digest != describe(at(here, mode="L")).digest
    flat = class_folders(tmp_path / "flat", WHOLE)
    assert describe(at(flat)).digest != describe(at(flat, test=0.5)).digest


def test_the_path_is_no_part_of_a_trial_s_id(tmp_path: Path) -> None:
    recipes = [
        Recipe.parse({"data": at(tmp_path / name).model_dump(), "model": "digits-small"})
        for name in ("here", "there")
    ]
    assert trial_id(recipes[0], 0, "d") == trial_id(recipes[1], 0, "d")
    assert recipes[0].canonical()["data"]["path"] == str(tmp_path / "here")
    other = Recipe.parse({"data": at(tmp_path, resize="pad").model_dump(), "model": "digits-small"})
    assert trial_id(other, 0, "d") != trial_id(recipes[0], 0, "d")


def study(root: Path) -> Study:
    own = {"kind": "image-folder", "path": str(root), "size": 8, "mode": "L", "broken": "skip"}
    base = {"data": own, "model": "digits-small"}
    return Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1})


def test_a_plan_sees_the_folder_as_it_is_and_says_what_was_left_out(damaged: Path) -> None:
    (arm,) = make_plan(study(damaged)).arms
    assert "3 of 13 images cannot be read" in arm.record.notes[0]
    for name in BROKEN:
        (damaged / name).unlink()
    class_folders(damaged, {"train/eel": 3, "test/eel": 1})
    (again,) = make_plan(study(damaged)).arms
    assert again.record.notes == ()
    assert again.model.parameters > arm.model.parameters  # a third class
    assert again.record.trials != arm.record.trials


def test_a_trial_whose_images_changed_since_the_plan_is_not_trained(tmp_path: Path) -> None:
    from normlab.study.engines import Faulted, Task
    from normlab.study.engines.work import perform

    root = class_folders(tmp_path / "own", SPLIT)
    plan = make_plan(study(root))
    (trial,) = plan.trials.values()
    write(root / "train" / "cat" / "new.png", png(noise(9, 8, 8, 3)))
    data.forget()  # as in a worker that starts now
    task = Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=tmp_path)
    messages = list(perform((task,), "cpu"))
    assert isinstance(messages[-1], Faulted)
    assert "changed since the study was planned" in messages[-1].reason


def test_images_that_change_under_a_plan_are_those_it_saw(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "own", SPLIT)
    wanted = at(root)
    assert describe(wanted).train_images == 7
    write(root / "train" / "cat" / "new.png", png(noise(9, 8, 8, 3)))
    assert len(data.load(wanted).train_labels) == 7


def test_the_guide_s_study_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "own-images.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", guide, re.S)
    class_folders(tmp_path / "photos", SPLIT)
    monkeypatch.chdir(tmp_path)
    assert len(make_plan(Study.parse({**parse_yaml(text), "name": "photos"})).rows()) == 6
