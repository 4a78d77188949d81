"""What `plan` says of the data: classes, images of each, sizes, and what is to be known of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.made import class_folders

from normlab import data

Run = Any

STUDY = """
question: q
base: {data: {kind: image-folder, path: photos, size: 8}, model: digits-small, epochs: 1}
factors: {norm: [batch, none]}
seeds: 1
"""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    data.forget()
    (tmp_path / "s.yaml").write_text(STUDY)
    root = class_folders(tmp_path / "photos", {"Train/cat": 4, "Train/dog": 3, "Test/cat": 2})
    class_folders(root, {"Test/dog": 1}, 20, 30, 3)
    return root


def test_the_plan_names_classes_images_and_sizes(normlab: Run, photos: Path) -> None:
    (photos / "Train" / "cat" / "x.heic").write_bytes(b"?")
    code, out, _ = normlab("plan", "s.yaml")
    assert code == 0
    lines = out.splitlines()
    assert (
        "data image-folder photos: 2 classes, 7 training and 3 test images of 8x8, color" in lines
    )
    assert "classes: (training/test) cat 4/2, dog 3/1" in lines
    assert "sizes of the files' images: 8x8 (9), 30x20 (1)" in lines
    # A note on every arm is there once.
    assert out.count("left out, ending .heic: 1 (Train/cat/x.heic)") == 1
    assert "note on every arm: 'Train' has the training images and 'Test' the test images" in lines


def test_the_plan_s_json_has_them_too(normlab: Run, photos: Path) -> None:
    (found,) = json.loads(normlab("plan", "s.yaml", "--json")[1])["data"]
    assert found["kind"] == "image-folder"
    assert found["arms"] == ["batch", "none"]
    assert found["shape"] == [3, 8, 8]
    assert found["classes"] == [
        {"name": "cat", "train": 4, "test": 2},
        {"name": "dog", "train": 3, "test": 1},
    ]
    assert found["sizes"] == [[8, 8, 9], [30, 20, 1]]


def test_classes_of_equal_numbers_are_listed_once(normlab: Run, photos: Path) -> None:
    _, out, _ = normlab("plan", "s.yaml", "--set", "data.limit=3", "--set", "data.test_limit=1")
    assert "classes: cat, dog; 3 training and 1 test images each" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--set", "validation=0.9"), "leaves none to train on"),
        (("--set", "data.path=nowhere"), "there is no folder"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_plan(
    change: tuple[str, ...], message: str, normlab: Run, photos: Path
) -> None:
    code, _, err = normlab("plan", "s.yaml", *change)
    assert code == 2
    assert message in err


MISSING = """
question: q
base: {data: DATA, model: resnet, epochs: 1}
factors: {norm: [batch, none]}
seeds: 1
"""


def planned(normlab: Run, tmp_path: Path, kind: str, *words: str) -> str:
    data.forget()
    (tmp_path / "m.yaml").write_text(MISSING.replace("DATA", kind))
    code, out, _ = normlab("plan", "m.yaml", *words)
    assert code == 0
    return str(out)


@pytest.mark.parametrize("kind", ["caltech25", "cifar10-jpeg", "cifar10", "mnist"])
def test_the_plan_warns_of_data_that_are_not_in_the_folder_that_was_set(
    normlab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "empty"))
    lines = [line for line in planned(normlab, tmp_path, kind).splitlines() if "warning" in line]
    (line,) = [line for line in lines if "data '" in line]
    assert line.startswith(f"warning: cannot be run here yet: data '{kind}'")
    (record,) = json.loads(planned(normlab, tmp_path, kind, "--json"))["data"]
    assert record["absent"].startswith(f"data '{kind}'")


@pytest.mark.parametrize(("kind", "warned"), [("caltech25", True), ("cifar10", False)])
def test_without_a_folder_it_warns_of_what_is_not_downloaded(
    normlab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, warned: bool
) -> None:
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    out = planned(normlab, tmp_path, kind)
    assert ("cannot be run here yet" in out) is warned
    assert ("`normlab data build caltech25` makes it" in out) is warned


def test_a_data_set_is_built_by_a_command(normlab: Run, tmp_path: Path) -> None:
    archive = tmp_path / "caltech-101.zip"
    archive.write_bytes(b"no archive")
    code, _, err = normlab("data", "build", "caltech25", str(archive), "--to", str(tmp_path))
    assert (code, "caltech-101.zip cannot be read" in err) == (2, True)
    code, _, err = normlab("data", "build", "cifar10")
    assert (code, "unknown data set to build 'cifar10'" in err) == (2, True)
