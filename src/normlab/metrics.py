"""What claims can be about: numbers of a trial, with their direction and unit."""

from __future__ import annotations

from typing import Literal, NamedTuple

Unit = Literal["points", "nats", "s", "steps"]
"""Points of 100 for fractions of 1, nats for losses, seconds, and steps from epoch to epoch."""


class Metric(NamedTuple):
    """One number of a trial.

    Attributes:
        words: For tables.
        higher: Whether more is better.
        unit: What its margins are in, and its differences.
        per_epoch: Whether every epoch has one.
        signed: Whether it can be below 0.
        derived: Whether other metrics of the trial tell it, so that no file needs it.
    """

    words: str
    higher: bool = True
    unit: Unit = "points"
    per_epoch: bool = True
    signed: bool = False
    derived: bool = False

    @property
    def points(self) -> bool:
        """Whether it is a fraction of 1, shown in percent and in points of 100."""
        return self.unit == "points"


METRICS: dict[str, Metric] = {
    "test_accuracy": Metric("test accuracy"),
    "test_macro_f1": Metric("test macro F1"),
    "test_micro_f1": Metric("test micro F1"),
    "test_f1_gap": Metric(
        "test F1 gap (micro minus macro)", higher=False, signed=True, derived=True
    ),
    "test_loss": Metric("test loss", higher=False, unit="nats"),
    "test_loss_rises": Metric(
        "excess of test-loss rises over training-loss rises",
        unit="steps",
        per_epoch=False,
        signed=True,
        derived=True,
    ),
    "test_ece": Metric("test calibration error", higher=False),
    "validation_accuracy": Metric("validation accuracy"),
    "validation_macro_f1": Metric("validation macro F1"),
    "validation_micro_f1": Metric("validation micro F1"),
    "validation_f1_gap": Metric(
        "validation F1 gap (micro minus macro)", higher=False, signed=True, derived=True
    ),
    "validation_ece": Metric("validation calibration error", higher=False),
    "validation_loss": Metric("validation loss", higher=False, unit="nats"),
    "train_accuracy": Metric("running training accuracy"),
    "train_macro_f1": Metric("running training macro F1"),
    "train_micro_f1": Metric("running training micro F1"),
    "train_f1_gap": Metric(
        "running training F1 gap (micro minus macro)", higher=False, signed=True, derived=True
    ),
    "train_loss": Metric("running training loss", higher=False, unit="nats"),
    "gap": Metric("overfitting gap", higher=False, per_epoch=False, signed=True),
    "sparsity": Metric("share of weights near zero"),
    "seconds": Metric("training seconds", higher=False, unit="s", per_epoch=False),
}
"""Name -> metric. Scores are turned round where less is better, so that `better` means better."""

WORST_OF_LAST = "worst_of_last_"
"""With a number: the worst value of so many last epochs. A score reached once does not do."""
MEAN_OF_LAST = "mean_of_last_"
"""With a number: the mean over so many last epochs, which spreads less than any one of them."""

BEST_TEST = "best_test"
"""The epoch at which a metric was best, whatever its split: how some sources measure. On test
images it is biased: shown beside a source's own numbers, and never judged."""


def last_epochs(at: str | int) -> tuple[str, int] | None:
    """`WORST_OF_LAST` or `MEAN_OF_LAST`, and of how many epochs; None for any other `at`."""
    for prefix in (WORST_OF_LAST, MEAN_OF_LAST):
        if str(at).startswith(prefix):
            return prefix, int(str(at).removeprefix(prefix))
    return None


def at_text(at: str | int) -> str:
    """The epoch that counts, in words."""
    if isinstance(at, int):
        return f"epoch {at}"
    ends = last_epochs(at)
    if ends is not None:
        return f"{'worst' if ends[0] == WORST_OF_LAST else 'mean'} of the last {ends[1]} epochs"
    words = {
        "last": "last epoch",
        "best_validation": "epoch of the best validation",
        BEST_TEST: "its best epoch, biased",
    }
    return words.get(at, at)


def split_and_epochs(metric: str, at: str | int) -> tuple[set[str], int]:
    """The splits that a metric at an epoch rests on, and how many epochs it needs.

    Args:
        metric: Its name.
        at: `last`, `best_validation`, an epoch's number, or `worst_of_last_` or `mean_of_last_`
            with a number.
    """
    splits = {metric.partition("_")[0]}
    if not METRICS[metric].per_epoch:
        return splits, 1
    if at == "best_validation":
        splits.add("validation")
    if isinstance(at, int):
        return splits, at
    ends = last_epochs(at)
    return splits, ends[1] if ends else 1
