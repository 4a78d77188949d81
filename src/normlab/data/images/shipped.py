"""`cifar10-jpeg` and `caltech25`: image files in an archive.

The archive (`cifar10-jpeg.tar.xz`, `caltech25.tar`) is read as it is, or a folder of the set's name
with what was in it; without `NORMLAB_DATA` they are looked for in the cache. Names and bytes of all
files must be those that the set was described with, whose hash is its digest: how they are decoded
is said by the recipe.

- `cifar10-jpeg`: the 60,000 images of CIFAR-10 (Krizhevsky 2009), re-encoded by a third party. That
  loses detail: accuracies compare with those on CIFAR-10 to no better than about a point.
- `caltech25`: the 25 largest object classes of Caltech-101 (Fei-Fei, Fergus & Perona 2004), at most
  200 images each; every fifth image is the test set. Not all are color photos: 189 are grey. It is
  made from the public archive by caltech.py, byte for byte.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from normlab.data.cifar10 import CLASS_NAMES
from normlab.data.dataset import Dataset, Facts, Images
from normlab.data.download import cache_folder
from normlab.data.images.archives import ENDINGS, members, plain
from normlab.data.images.cache import Entry, decoded
from normlab.data.images.options import options_of
from normlab.data.images.scan import Item, folders, known_by, scan
from normlab.data.published import data_folder
from normlab.errors import UserError
from normlab.recipe.data import Data


@dataclass(frozen=True, kw_only=True)
class ShippedSet:
    """Class folders in a training and a test folder.

    Attributes:
        name: Of the kind, the archive and the folder.
        test: The name of the folder of test images; that of the others is `train`.
        files: Hash of the names and contents of all files, see `cache.manifest`.
        class_names: One name per class.
        train_counts: Training images of each class.
        test_counts: Test images of each class.
        is_built: Whether ``normlab data build`` can make it from what is public.
    """

    name: str
    test: str
    files: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    is_built: bool = False

    def facts(self, spec: Data) -> Facts:
        """What is known of the set, nothing read."""
        return Facts(
            shape=options_of(spec).shape,
            class_names=self.class_names,
            train_counts=self.train_counts,
            test_counts=self.test_counts,
            digest=f"sha256:{self.files}",
        )

    def load(self, spec: Data) -> Dataset:
        """Read the images, from the cache once they have been decoded.

        Raises:
            UserError: They are not there, damaged or not those of the set.
        """
        place = self._locate()
        entry, images = self._decoded(place, spec)
        if entry.files != self.files or entry.broken:
            raise UserError(
                f"{place} differs from the '{self.name}' that normlab knows: "
                f"it has other files, or files of other content"
            )
        train, test = self._labels(self.train_counts), self._labels(self.test_counts)
        # Sorted by folder, so each split is in one piece.
        first = len(train) if self.test > "train" else 0
        second = 0 if self.test > "train" else len(test)
        return Dataset(
            train_images=images[second : second + len(train)],
            train_labels=train,
            test_images=images[first : first + len(test)],
            test_labels=test,
            class_names=self.class_names,
            max_value=255,
            digest=f"sha256:{self.files}",
        )

    def absent(self, _spec: Data) -> str | None:
        """Why the set cannot be read here; None where it lies in its place."""
        try:
            self._locate()
        except UserError as error:
            return str(error)
        return None

    def _labels(self, counts: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.repeat(np.arange(len(counts), dtype=np.int64), counts)

    def _locate(self) -> Path:
        given = data_folder()
        names = (self.name, *(self.name + ending for ending in ENDINGS))
        for name in names:
            if ((given or cache_folder()) / name).exists():
                return (given or cache_folder()) / name
        made = f"; `normlab data build {self.name}` makes it" if self.is_built else ""
        if given is None:
            raise UserError(
                f"data '{self.name}' is not downloaded: set NORMLAB_DATA to a folder that holds "
                f"{names[1]} or {names[2]}, or the folder {self.name}{made}"
            )
        raise UserError(f"data '{self.name}': {given} holds none of {', '.join(names)}{made}")

    def _decoded(self, place: Path, spec: Data) -> tuple[Entry, Images]:
        options = options_of(spec)
        if place.is_dir():
            return decoded(place, options, scan(place, [(n,) for n in folders(place)]).items)
        status = place.stat()
        archive = Item((), place.name, str(place), 0, status.st_size, known_by(status))
        with ExitStack() as stack:
            return decoded(
                place, options, [archive], lambda: members(stack.enter_context(plain(place)))
            )


CIFAR10_JPEG = ShippedSet(
    name="cifar10-jpeg",
    test="test",
    files="a8383de12ea458cc6a168463edf812d71e1f3d24f7c929da27d5a6918f9ab62c",
    class_names=CLASS_NAMES,
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
)

CALTECH25 = ShippedSet(
    name="caltech25",
    test="validation",
    files="bd3652565ca44d502690bf17f4fb983303062b0409feae2d56dd10323dfa9e27",
    class_names=(
        "Faces",
        "Leopards",
        "Motorbikes",
        "airplanes",
        "bonsai",
        "brain",
        "buddha",
        "butterfly",
        "car_side",
        "chandelier",
        "ewer",
        "grand_piano",
        "hawksbill",
        "helicopter",
        "ibis",
        "kangaroo",
        "ketch",
        "laptop",
        "menorah",
        "revolver",
        "scorpion",
        "starfish",
        "sunflower",
        "trilobite",
        "watch",
    ),
    train_counts=(
        160, 160, 160, 160, 103, 79, 68, 73, 99, 86, 68, 80, 80, 71, 64, 69, 92, 65, 70, 66, 68, 69,
        68, 69, 160,
    ),
    test_counts=(
        40, 40, 40, 40, 25, 19, 17, 18, 24, 21, 17, 19, 20, 17, 16, 17, 22, 16, 17, 16, 16, 17, 17,
        17, 40,
    ),
    is_built=True,
)  # fmt: skip
