"""`digits`: the 1,797 8x8 handwritten digits of the UCI repository, inside the package.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0), as scikit-learn's `load_digits` has it: pixel values
are 0 to 16. A third of each class, drawn once, is our test set.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from normlab.data.dataset import Dataset

DIGEST = "sha256:594c5aefffaafd5171f791f26abdec1957eb799eb899ea26fc7ae104692ca061"


def load() -> Dataset:
    """Read the arrays that lie beside this file."""
    with (files("normlab.data") / "assets" / "digits.npz").open("rb") as stream:
        arrays = np.load(stream, allow_pickle=False)
        return Dataset(
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"].astype(np.int64),
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"].astype(np.int64),
            class_names=tuple("0123456789"),
            max_value=16,
        )
