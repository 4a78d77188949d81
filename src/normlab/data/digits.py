"""`digits`: the 1,797 8x8 handwritten digits of the UCI repository, inside the package.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0), as scikit-learn's `load_digits` has it: pixel values
are 0 to 16. A third of each class, drawn once, is our test set.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from normlab.data.dataset import Dataset, Facts
from normlab.recipe.data import Data

FACTS = Facts(
    shape=(1, 8, 8),
    class_names=tuple("0123456789"),
    train_counts=(119, 121, 118, 122, 121, 121, 121, 119, 116, 120),
    test_counts=(59, 61, 59, 61, 60, 61, 60, 60, 58, 60),
    digest="sha256:594c5aefffaafd5171f791f26abdec1957eb799eb899ea26fc7ae104692ca061",
)


class DigitsSet:
    """Reads the arrays that lie beside this file."""

    def facts(self, _spec: Data) -> Facts:
        """What is known of the set."""
        return FACTS

    def load(self, _spec: Data) -> Dataset:
        """Read the set."""
        with (files("normlab.data") / "assets" / "digits.npz").open("rb") as stream:
            arrays = np.load(stream, allow_pickle=False)
            return Dataset(
                train_images=arrays["train_images"],
                train_labels=arrays["train_labels"].astype(np.int64),
                test_images=arrays["test_images"],
                test_labels=arrays["test_labels"].astype(np.int64),
                class_names=FACTS.class_names,
                max_value=16,
                digest=FACTS.digest,
            )


DIGITS = DigitsSet()
