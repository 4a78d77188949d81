"""Data by import path, ``mypackage.images:load``: called, and once more to see that they stay.

What is kept in memory is kept by function and options, so that recipes that differ in `limit` or
`scaling` share it.
"""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from normlab.data.dataset import Dataset, Facts
from normlab.data.own.check import check, digest_of
from normlab.data.own.read import FORM, read
from normlab.errors import UserError
from normlab.own import check_options
from normlab.own import load as load_own
from normlab.recipe import DATA
from normlab.recipe.data import Data, OwnData

LONG = 30.0  # seconds: what takes longer is not called a second time
_KEPT = 2  # sets of images in memory

_Key = tuple[Callable[..., object], str, str | None]


@dataclass(frozen=True, kw_only=True)
class _Read:
    dataset: Dataset
    facts: Facts


class OwnSet:
    """What stands in the catalog's place for data of the user's own."""

    def __init__(self) -> None:
        self._facts: dict[_Key, Facts] = {}
        self._read: dict[_Key, _Read] = {}
        self._code: dict[tuple[str, str], str] = {}

    def made_by(self, spec: OwnData, code: str) -> None:
        """Say the hash of the function's code: called by other code, what is kept is not used.

        In a session a helper can be written anew while the function stays the same object.
        """
        self._code[spec.kind, _options(spec)] = code

    def facts(self, spec: Data) -> Facts:
        """What is known of the images: the function is called for it the first time.

        A second call must return the same images. Worker processes leave it out: theirs are
        compared with those of the plan.

        Raises:
            UserError: It cannot be imported or called, or what it returns cannot be used.
        """
        assert isinstance(spec, OwnData)
        key = self._key(spec)
        if key not in self._facts:
            begun = time.monotonic()
            found = self._kept(key, spec).facts
            quick = time.monotonic() - begun < LONG
            if quick and multiprocessing.parent_process() is None:
                again = _called(key[0], spec)
                if again.facts.digest != found.digest:
                    raise UserError(
                        f"data '{spec.kind}' returned other images when it was called again: seed "
                        "what it draws, np.random.default_rng(0), and leave random transforms to "
                        "the recipe's `augment`"
                    )
            self._facts[key] = found
        return self._facts[key]

    def load(self, spec: Data) -> Dataset:
        """The images.

        Raises:
            UserError: As `facts`.
        """
        assert isinstance(spec, OwnData)
        return self._kept(self._key(spec), spec).dataset

    def forget(self) -> None:
        """Call anew."""
        self._facts.clear()
        self._read.clear()

    def _key(self, spec: OwnData) -> _Key:
        needed = f"a function that returns {FORM}"
        load = load_own(spec.kind, "data", spec.group, DATA, needed)
        return load, _options(spec), self._code.get((spec.kind, _options(spec)))

    def _kept(self, key: _Key, spec: OwnData) -> _Read:
        found = self._read.pop(key, None) or _called(key[0], spec)
        while len(self._read) >= _KEPT:
            del self._read[next(iter(self._read))]
        self._read[key] = found
        return found


def _options(spec: OwnData) -> str:
    return json.dumps(spec.options, sort_keys=True)


def _called(load: Callable[..., object], spec: OwnData) -> _Read:
    name = f"data '{spec.kind}'"
    options = copy.deepcopy(spec.options)
    check_options(load, options, name)
    try:
        # What it says is no part of our output, which may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            dataset, notes = check(read(load(**options), name), name)
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} cannot be read: {type(error).__name__}: {error}") from error
    dataset = replace(dataset, digest=digest_of(dataset))
    classes = len(dataset.class_names)
    counts = [
        tuple(np.bincount(labels, minlength=classes).tolist())
        for labels in (dataset.train_labels, dataset.test_labels)
    ]
    facts = Facts(
        shape=dataset.shape,
        class_names=dataset.class_names,
        train_counts=counts[0],
        test_counts=counts[1],
        digest=dataset.digest,
        notes=notes,
    )
    return _Read(dataset=dataset, facts=facts)


OWN_DATA = OwnSet()
