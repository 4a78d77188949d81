"""How a folder of images is laid out: which of its folders are splits and which are classes.

Splits are known by their names, however written: `train`, `Training`, `training_set`,
`seg_train/seg_train`. Folders that may be either are refused rather than guessed: a study whose
classes are "Train" and "Test" learns to tell the splits apart, and nothing in its numbers says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from normlab.data.images.scan import Item, folders, loose, shown
from normlab.disk_names import as_on_disk
from normlab.errors import UserError
from normlab.recipe.data import ImageFolder
from normlab.text import one_form

TRAIN = "train"
TEST = ("test", "val", "valid", "validation")
"""Folders of test images; the first of them that is there is taken."""

_ROLES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validation"),
}
_FILLERS = (
    "pictures", "samples", "dataset", "picture", "images", "photos", "folder", "sample", "image",
    "photo", "split", "imgs", "pics", "sets", "data", "img", "pic", "dir", "set", "and", "the",
)  # fmt: skip
"""Words that say nothing of what a folder is for."""
_CLEAR = frozenset({"test", "tests", "testing", "evaluation", "holdout", "val", "validation"})
"""Names of splits that no class has; `train` is a vehicle, `valid` the other of `invalid`."""

_SOME = 5  # names in a message


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the folder is laid out.

    Attributes:
        root: The folder.
        train: Where below it the class folders of the training images are; the root itself where
            there is no folder of test images.
        test: Where those of the test images are, if they have a folder.
        class_names: Of the class folders, in one of the two forms in which accents are written.
        notes: What a user should know.
        loose: Images that lie beside class folders, by path.
    """

    root: Path
    train: tuple[str, ...]
    test: tuple[str, ...] | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()

    @property
    def places(self) -> list[tuple[str, ...]]:
        """Every class folder, those of test images too."""
        parts = [self.train] if self.test is None else [self.train, self.test]
        return [(*part, name) for part in parts for name in folders(self.root.joinpath(*part))]

    def is_test(self, item: Item) -> bool:
        """Whether an image lies in the folder of test images."""
        return self.test is not None and item.folders[: len(self.test)] == self.test

    def class_of(self, item: Item) -> str:
        """The name of the class that an image lies in."""
        part = self.test if self.test is not None and self.is_test(item) else self.train
        return one_form(item.folders[len(part)])


def lay_out(spec: ImageFolder) -> Layout:
    """Find out how the spec's folder is laid out.

    Raises:
        UserError: No such folder, one that cannot be read, or a layout that is not plain.
    """
    try:
        root = as_on_disk(Path(spec.path).expanduser())
        there = root.is_dir()
    except (OSError, RuntimeError) as error:  # a folder above that is closed, no such home
        raise UserError(f"data.path is '{spec.path}': it cannot be read: {error}") from None
    if not there:
        raise UserError(f"data.path is '{spec.path}': there is no folder {root.absolute()}")
    names = folders(root)
    named = isinstance(spec.classes, tuple) and {*spec.classes} <= {*map(one_form, names)}
    found = None if named else _splits(root, names)
    if found is None:
        if not named:
            _check_classes(root, names)
        return Layout(
            root=root,
            train=(),
            test=None,
            class_names=_class_names(root, names),
            loose=tuple(loose(root)),
        )
    train, tests = found
    if spec.test is not None:
        raise UserError(
            f"data.test is {spec.test}: it has no effect, for {root} has the folder '{tests[0]}'"
        )
    return _with_splits(root, train, tests, names)


def _with_splits(root: Path, train: str, tests: Sequence[str], names: Sequence[str]) -> Layout:
    """The layout of a folder with splits in it."""
    train_place, inner = _descend(root, train), {name: _descend(root, name) for name in tests}
    filled = [name for name in tests if folders(root.joinpath(*inner[name]))]
    if not filled:
        raise UserError(
            f"{where(root)}: no test image of any class: the folder "
            f"'{tests[0]}' has no class folders, so that nobody knows what its images show. Sort "
            "them into folders of the classes' names, or let path be "
            f"{root.joinpath(*train_place)} to hold out a part of the training images"
        )
    test = filled[0]
    notes = [
        f"the folder '{shown(name)}' is not used: the test images are those of '{shown(test)}', "
        "validation images are set aside from the training images"
        for name in tests
        if name != test
    ]
    others = [name for name in names if name != train and name not in tests]
    if others:
        notes.append(
            f"not used, as they are neither '{shown(train)}' nor '{shown(test)}': "
            f"the folders {_some(others)}"
        )
    if train != TRAIN or test not in TEST:
        notes.append(
            f"'{shown(train)}' has the training images and '{shown(test)}' the test images"
        )
    beside: dict[tuple[str, ...], list[str]] = {(): loose(root)}
    for place in (train_place, inner[test]):
        beside[place] = loose(root.joinpath(*place))
    return Layout(
        root=root,
        train=train_place,
        test=inner[test],
        class_names=_class_names(root, folders(root.joinpath(*train_place))),
        notes=tuple(notes),
        loose=tuple("/".join((*place, name)) for place, files in beside.items() for name in files),
    )


def _class_names(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(sorted({one_form(name) for name in names}))
    if len(found) > 1:
        return found
    inside = f"only '{shown(found[0])}'" if found else "none"
    deeper = root / names[0] if len(names) == 1 else None
    hint = f". Is path meant to be {deeper}?" if deeper and len(folders(deeper)) > 1 else ""
    raise UserError(
        f"{where(root)} needs a folder for each class, two at least; it has {inside}{hint}"
    )


# -- splits by their names -----------------------------------------------------------------


def _role(name: str) -> tuple[str, tuple[str, ...]] | None:
    """What split a name speaks of, and its other words; None where it speaks of none or of two."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    roles, rest = [], []
    for word in map(str.lower, words):
        bare = next(
            (
                part
                for filler in _FILLERS
                for part in (word.removesuffix(filler), word.removeprefix(filler))
                if part in _ROLES
            ),
            word,
        )
        if bare in _ROLES:
            roles.append(_ROLES[bare])
        elif word not in _FILLERS:
            rest.append(word)
    return (roles[0], tuple(rest)) if len(set(roles)) == 1 else None


def _splits_by_name(names: Sequence[str]) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Folders with training and test folders among them: by their other words, names by role."""
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in names:
        if found := _role(name):
            groups.setdefault(found[1], {}).setdefault(found[0], []).append(name)
    return {rest: roles for rest, roles in groups.items() if "train" in roles and len(roles) > 1}


def _splits(root: Path, names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The folder of training images and those of test images, the wanted one first."""
    groups = _splits_by_name(names)
    if len(groups) > 1:
        some = [name for roles in groups.values() for each in roles.values() for name in each]
        raise UserError(
            f"{where(root)} has the folders {_some(sorted(some))}: these are splits and classes in "
            "one. Make folders 'train' and 'test' with a folder for each class in them"
        )
    if not groups:
        _check_lone_split(root, names)
        return None
    (roles,) = groups.values()
    train = _the_train_folder(root, roles["train"])
    tests = sorted(
        (name for role, each in roles.items() if role != "train" for name in each),
        key=lambda name: (_role(name) != ("test", ()), TEST.index(name) if name in TEST else 9),
    )
    if not folders(root.joinpath(*_descend(root, train))):
        raise UserError(
            f"{where(root)}: '{shown(train)}' and '{shown(tests[0])}' are splits, and there are no "
            f"class folders in '{shown(train)}'. Sort the images into a folder for each class: "
            f"{shown(train)}/CLASS/1.png"
        )
    return train, tests


def _the_train_folder(root: Path, found: Sequence[str]) -> str:
    if len(found) > 1 and TRAIN not in found:
        raise UserError(
            f"{where(root)} has more than one folder of training images: {_some(found)}. Leave one "
            f"of them, or call it '{TRAIN}'"
        )
    return TRAIN if TRAIN in found else found[0]


def _check_lone_split(root: Path, names: Sequence[str]) -> None:
    """Refuse one split without the other."""
    for name in names:
        role = _role(name)
        if role == ("train", ()) and folders(root / name):
            raise UserError(
                f"{where(root)} has the folder '{shown(name)}' and none of {', '.join(TEST)}. To "
                f"hold a part of the training images out for test, let path be {root / name}"
            )
        if role and not role[1] and name.lower() in _CLEAR and len(names) > 1:
            raise UserError(
                f"{where(root)}: is '{shown(name)}' a class, or the test images of the others? "
                f"Beside a folder '{TRAIN}' with the class folders in it, it is the test images. "
                f"If it is a class, name all of them: `classes: [{_some(names)}]`; if it is not to "
                "be used, name the others"
            )


def _check_classes(root: Path, names: Sequence[str]) -> None:
    """Refuse folders that look like splits, or class folders with splits in them."""
    if len(names) < 2:
        return
    inner = {name: folders(root / name) for name in names}
    for name, below in inner.items():
        if _splits_by_name(below):
            raise UserError(
                f"{where(root)}: '{shown(name)}' has the folders {_some(below)} in it. Splits come "
                f"first and classes below them: {TRAIN}/{shown(name)} and {TEST[0]}/{shown(name)}. "
                f"If all of them shall be one class, name the classes: `classes: [{_some(names)}]`"
            )
    every = [{one_form(part).casefold() for part in below} for below in inner.values()]
    shared = set.intersection(*every)
    if len(shared) > 1 and not any(loose(root / name) for name in names):
        raise UserError(
            f"{where(root)}: the folders {_some(names)} have the same folders in them "
            f"({_some(sorted(shared))}). If they are splits, call them '{TRAIN}' and '{TEST[0]}'. "
            f"If they are the classes, name them: `classes: [{_some(names)}]`"
        )


def _descend(root: Path, name: str) -> tuple[str, ...]:
    """Where the class folders of a split are: some archives have it twice, one in the other."""
    place: tuple[str, ...] = (name,)
    while True:
        here = root.joinpath(*place)
        below = folders(here)
        if len(below) != 1 or loose(here):
            return place
        same = below[0].casefold() == place[-1].casefold()
        role, inner = _role(place[-1]), _role(below[0])
        if not same and not (role and inner and role[0] == inner[0]):
            return place
        place = (*place, below[0])


def where(root: Path) -> str:
    """How a message begins."""
    return f"data 'image-folder': {shown(str(root))}"


def _some(names: Sequence[str]) -> str:
    texts = [shown(name) for name in names[:_SOME]]
    return ", ".join(texts + ["..."] * (len(names) > _SOME))
