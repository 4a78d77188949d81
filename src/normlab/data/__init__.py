"""Data sets by name, as arrays in memory, and their fixed splits. No torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from normlab.data.cifar10 import CIFAR10
from normlab.data.cifar100 import CIFAR100
from normlab.data.dataset import Dataset, Facts, Placed, Source, Split, Splits
from normlab.data.digits import DIGITS
from normlab.data.fashion_mnist import FASHION_MNIST
from normlab.data.images.caltech import CALTECH101, Making, build_set
from normlab.data.images.folder import IMAGE_FOLDER
from normlab.data.images.shipped import CALTECH25, CIFAR10_JPEG
from normlab.data.kmnist import KMNIST
from normlab.data.mnist import MNIST
from normlab.data.own.source import OWN_DATA
from normlab.data.splits import check_validation, held_out, split
from normlab.data.subsets import chosen_facts, chosen_part
from normlab.errors import UserError, unknown
from normlab.recipe import Recipe
from normlab.recipe.data import Data, OwnData

SOURCES: dict[str, Source] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "fashion-mnist": FASHION_MNIST,
    "kmnist": KMNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "cifar10-jpeg": CIFAR10_JPEG,
    "caltech25": CALTECH25,
    "image-folder": IMAGE_FOLDER,
}
"""kind -> source; the options of each kind are in `normlab.recipe.data`."""


BUILT: dict[str, Making] = {"caltech25": CALTECH101}
"""name -> how a set is made from a public archive that holds more than it."""


_KEPT = 2  # sets of images in memory
_given: dict[Data, tuple[Facts, Dataset]] = {}
"""Images that this process was sent, by what a recipe says of them."""


@lru_cache(maxsize=256)
def describe(spec: Data) -> Facts:
    """What a plan needs to know about the data that a recipe names.

    For a published set nothing is read or downloaded. An `image-folder` is decoded the first time,
    and then looked up in the cache. A function of the user's is imported and called.

    Raises:
        UserError: A folder that cannot be used, or classes that the set does not have.
    """
    if spec in _given:
        return _given[spec][0]
    return chosen_facts(_source(spec).facts(spec), spec)


def absent(spec: Data) -> str | None:
    """Why the data that a recipe names can neither be read here nor be downloaded.

    Nothing is downloaded to find out. None where they can, and for data of the user's own, which
    `describe` reads.
    """
    source = _source(spec)
    return source.absent(spec) if isinstance(source, Placed) else None


def build(name: str, archive: Path | None = None, *, to: Path | None = None) -> Path:
    """Make a data set from the public archive that it is a part of.

    Args:
        name: The set: `caltech25`.
        archive: The archive that you downloaded; None downloads it.
        to: The folder to write it to; None is where normlab looks for it.

    Returns:
        The set's file.

    Raises:
        UserError: Another set, or an archive that does not have its images.
    """
    if name not in BUILT:
        raise UserError(unknown("data set to build", name, BUILT))
    return build_set(BUILT[name], archive, to)


def data_digest(recipe: Recipe) -> str:
    """Hash of the content of the recipe's data set, whatever part of it the recipe takes."""
    return describe(recipe.data).digest


def load(spec: Data) -> Dataset:
    """The images that a recipe names, read once per process.

    Raises:
        UserError: They are not available, or are not those that `describe` saw.
    """
    return _load(spec, describe(spec).digest)


def give(spec: Data, facts: Facts, dataset: Dataset) -> None:
    """Have this process use images that it was sent, instead of looking for them here.

    Args:
        spec: What a recipe says of its data.
        facts: As `describe` has them where the images came from.
        dataset: As `load` has it there: the part that the spec takes.
    """
    while len(_given) >= _KEPT:
        del _given[next(iter(_given))]
    for remembered in (describe, _load, _splits):
        remembered.cache_clear()
    _given[spec] = facts, dataset


def is_given(spec: Data) -> bool:
    """Whether `give` brought the images of a spec, and they are still kept."""
    return spec in _given


def splits(recipe: Recipe) -> Splits:
    """The recipe's training, validation and test images, scaled."""
    return _splits(recipe.data, describe(recipe.data).digest, recipe.validation)


def forget() -> None:
    """Forget everything that was read: files may have changed since then."""
    for remembered in (describe, _load, _splits):
        remembered.cache_clear()
    OWN_DATA.forget()
    _given.clear()


def _source(spec: Data) -> Source:
    return OWN_DATA if isinstance(spec, OwnData) else SOURCES[spec.kind]


@lru_cache(maxsize=_KEPT)
def _load(spec: Data, digest: str) -> Dataset:
    if spec in _given:
        return _given[spec][1]
    dataset = _source(spec).load(spec)
    if dataset.digest != digest:
        raise UserError(
            f"data '{spec.kind}': the images changed while they were in use. Run again."
        )
    return chosen_part(dataset, spec)


@lru_cache(maxsize=_KEPT)
def _splits(spec: Data, digest: str, validation: float) -> Splits:
    return split(_load(spec, digest), validation=validation, scaling=spec.scaling)


__all__ = [
    "BUILT",
    "SOURCES",
    "Dataset",
    "Facts",
    "Source",
    "Split",
    "Splits",
    "absent",
    "build",
    "check_validation",
    "data_digest",
    "describe",
    "forget",
    "give",
    "held_out",
    "is_given",
    "load",
    "split",
    "splits",
]
