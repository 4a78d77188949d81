"""What other tools' users call what we know: metrics, seeds and factors, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from normlab.frames.external_rows import SEED_NAMES
from normlab.frames.external_table import PERCENT, plain_name
from normlab.metrics import METRICS

_SPLITS = {
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "train": "train",
    "training": "train",
}
_MEASURES = {
    "accuracy": "accuracy",
    "acc": "accuracy",
    "top1": "accuracy",
    "top_1": "accuracy",
    "acc1": "accuracy",
    "acc_1": "accuracy",
    "top1_acc": "accuracy",
    "acc_top1": "accuracy",
    "top1_accuracy": "accuracy",
    "accuracy_top1": "accuracy",
    "top_1_accuracy": "accuracy",
    "loss": "loss",
    "cross_entropy": "loss",
    "ce_loss": "loss",
    "macro_f1": "macro_f1",
    "f1_macro": "macro_f1",
    "micro_f1": "micro_f1",
    "f1_micro": "micro_f1",
    "ece": "ece",
}
_UNSAID = {"eval", "evaluation", "holdout", "heldout", "best", "final", "last", "max"}
"""Words that leave open which images a score is of, or which epoch."""
_SAME = {"epoch"}  # Lightning's and Keras's mean over an epoch
_PERCENTS = {"percent", "pct", "percentage"}


@cache
def flat(name: str) -> str:
    """A name with all its signs alike: ``Test/Accuracy`` and ``test.accuracy`` are one."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)  # testAcc
    return re.sub(r"[\W_]+", "_", plain_name(text)).strip("_")


def ours(name: str) -> str | None:
    """The column of ours that a metric of another tool certainly is; None where it is not certain.

    Only a name that says both images and measure is certain: ``val_acc``, ``test/accuracy``,
    ``top1 (test) %``. ``accuracy`` and ``eval_accuracy`` are not.
    """
    found, unsaid = _read(name)
    return None if unsaid else found


def maybe_ours(name: str) -> str | None:
    """The measure that a metric may be of, of images or an epoch that its name leaves open."""
    found, unsaid = _read(name)
    return found if unsaid else None


def _read(name: str) -> tuple[str | None, bool]:
    """The column (or the bare measure), and whether the name leaves something open."""
    plain = flat(name)
    for column in (*METRICS, *(metric + PERCENT for metric in METRICS)):
        if plain == column:
            return column, False
    words = [word for word in plain.split("_") if word not in _SAME]
    percent = [word for word in words if word in _PERCENTS]
    splits = [word for word in words if word in _SPLITS]
    unsaid = [word for word in words if word in _UNSAID]
    rest = [w for w in words if w not in _PERCENTS and w not in _SPLITS and w not in _UNSAID]
    measure = _MEASURES.get("_".join(rest))
    if measure is None or len(splits) > 1:
        return None, False
    end = PERCENT if percent else ""
    if not splits:
        return measure + end, True
    column = f"{_SPLITS[splits[0]]}_{measure}"
    return (column + end, bool(unsaid)) if column in METRICS else (None, False)


def may_be_seed(name: str) -> bool:
    """Whether a parameter's name is one of a seed."""
    plain = flat(name)
    return "seed" in plain or plain.rpartition("_")[2] in SEED_NAMES or plain in SEED_NAMES


def the_seed(names: Iterable[str]) -> list[str]:
    """Of names that may be a seed's those that are most certainly one."""
    every = list(names)
    whole = [name for name in every if flat(name) in {"seed", "seeds"}]
    ends = [name for name in every if re.split(r"[./]", name)[-1].lower() == "seed"]
    return whole or ends or every


def alike(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that are `wanted`, whatever their signs and case; the exact one first."""
    plain = flat(wanted)
    found = [name for name in names if name == wanted or flat(name) == plain]
    return sorted(found, key=lambda name: name != wanted)
