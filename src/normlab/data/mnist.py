"""`mnist`: handwritten digits of 28x28 pixels, 60,000 for training, 10,000 for test.

LeCun, Bottou, Bengio & Haffner 1998. Read from the folder `mnist` of `NORMLAB_DATA`, or downloaded
once into the user's cache. The unpacked bytes are held against the published ones, so every trial
that says `mnist` used the same images.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normlab.data.dataset import Dataset
from normlab.data.download import cache_folder, download
from normlab.data.idx import parse_idx, read_bytes
from normlab.errors import UserError

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"


@dataclass(frozen=True)
class IdxFile:
    """A published file: its name, the hash of its unpacked bytes and of the download."""

    name: str
    dimensions: int
    sha256: str
    gzip_md5: str


FILES = {
    "train_images": IdxFile(
        "train-images-idx3-ubyte",
        3,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
    "train_labels": IdxFile(
        "train-labels-idx1-ubyte",
        1,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "d53e105ee54ea40749a09fcbcd1e9432",
    ),
    "test_images": IdxFile(
        "t10k-images-idx3-ubyte",
        3,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "9fb629c4189551a2d022fa330f9573f3",
    ),
    "test_labels": IdxFile(
        "t10k-labels-idx1-ubyte",
        1,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
}

DIGEST = "sha256:" + hashlib.sha256("".join(f.sha256 for f in FILES.values()).encode()).hexdigest()


def load() -> Dataset:
    """Read the four files.

    Raises:
        UserError: A file is missing, damaged or not the published one.
    """
    arrays = {key: _read(file) for key, file in FILES.items()}
    return Dataset(
        train_images=arrays["train_images"][:, None],
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=arrays["test_images"][:, None],
        test_labels=arrays["test_labels"].astype(np.int64),
        class_names=tuple("0123456789"),
        max_value=255,
    )


def _read(file: IdxFile) -> npt.NDArray[np.uint8]:
    path = _locate(file)
    remedy = (
        f"Replace it by the published file ({URL}{file.name}.gz), or unset NORMLAB_DATA "
        "to have it downloaded."
        if os.environ.get("NORMLAB_DATA")
        else "Delete it to have it downloaded again."
    )
    try:
        raw = read_bytes(path)
        array = parse_idx(raw, path, dimensions=file.dimensions)
    except UserError as error:
        raise UserError(f"{error}. {remedy}") from None
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise UserError(f"{path} differs from the published file of that name. {remedy}")
    return array


def _locate(file: IdxFile) -> Path:
    names = (file.name, f"{file.name}.gz")
    given = os.environ.get("NORMLAB_DATA")
    if given:
        folder = Path(given).expanduser() / "mnist"
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise UserError(
            f"data 'mnist': {folder} holds neither {names[0]} nor {names[1]}. Put the published "
            f"file there ({URL}{names[1]}), or unset NORMLAB_DATA to have it downloaded."
        )
    return download(f"{URL}{names[1]}", cache_folder() / "mnist" / names[1], md5=file.gzip_md5)
