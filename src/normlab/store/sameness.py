"""Whether a trial that is stored twice has the same numbers twice, and which differ.

The numbers are what the training computed: how it ended, its weights, what its last weights score,
every epoch's scores and diagnostics. Where, when and how fast it ran make no other trial, nor does
what a later version tells of it besides (its operations, the words of its checks).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from normlab.metrics import METRICS
from normlab.records import EpochRecord, TrialResult
from normlab.store.takeover import Row

_OF_RESULT = (
    "state",
    "epochs",
    "weights_sha256",
    "parameters",
    "train_images",
    "validation_images",
    "test_images",
    "stopped_early",
    "final_train",
)
_DEFAULTS = {f.name: f.default for f in fields(TrialResult) if f.default is not MISSING}
_MEASURED = {"epoch", "seconds", "examples_per_second", "details"}
_FIRST = "test_accuracy"
_SCORES = (
    _FIRST,
    *(each.name for each in fields(EpochRecord) if each.name not in {*_MEASURED, _FIRST}),
)
_WORDS = {"weights_sha256": "weights", "final_train": "scores of the training images"}


def differences(
    here: Row, its_epochs: Sequence[Row], there: Row, other_epochs: Sequence[Row]
) -> tuple[str, ...]:
    """What differs between two finished trials of one id, in words; empty if nothing does.

    Args:
        here: The trial's row here.
        its_epochs: Its rows, in order.
        there: The trial's row in another store.
        other_epochs: Its rows, in order.
    """
    one, other = _result(here), _result(there)
    found = []
    for name in _OF_RESULT:
        if _exact(one[name]) != _exact(other[name]):
            short = isinstance(one[name], int | str) and name != "weights_sha256"
            values = f" {one[name]} here, {other[name]} there" if short else ""
            found.append(f"{_WORDS.get(name, name.replace('_', ' '))}{values}")
    pairs = list(zip(its_epochs, other_epochs, strict=False))
    if len(its_epochs) != len(other_epochs):
        found.append(f"stored epochs {len(its_epochs)} here, {len(other_epochs)} there")
    scores = [(a, b, name) for a, b in pairs for name in _SCORES if a[name] != b[name]]
    if scores:
        # The last epoch's, of the test images where they differ: what the tables show.
        a, b, name = max(scores, key=lambda v: (v[0]["epoch"], v[2] == _FIRST))
        shown, others = _apart(a[name], b[name])
        text = f"{_title(name)} {shown} here, {others} there after epoch {a['epoch']}"
        more = len(scores) - 1
        found.append(text + (f" and {more} other values of epochs" if more else ""))
    if any(_details(a) != _details(b) for a, b in pairs):
        found.append("diagnostics")
    return tuple(found)


def _result(trial: Row) -> Mapping[str, Any]:
    return {**_DEFAULTS, **json.loads(trial["result"])}


def _details(epoch: Row) -> str:
    return _exact(json.loads(epoch["details"]))


def _exact(value: object) -> str:
    """Equal texts for equal values: not a number too is equal to itself."""
    return json.dumps(value, sort_keys=True)


def _title(name: str) -> str:
    return METRICS[name].words if name in METRICS else name.replace("_", " ")


def _apart(one: float | None, other: float | None) -> tuple[str, str]:
    """Two different numbers in as few digits as tell them apart."""
    if one is None or other is None:
        return str(one), str(other)
    short = f"{one:.6g}", f"{other:.6g}"
    return short if len(set(short)) > 1 else (repr(one), repr(other))
