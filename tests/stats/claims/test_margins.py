"""Margins as they are written, and what they are in the scores' unit."""

import pytest

from normlab.errors import UserError
from normlab.stats.claims.margins import Margin, as_margin, fraction, scored, usual


@pytest.mark.parametrize(
    ("written", "metric", "expected"),
    [
        (0.3, "test_accuracy", (0.003, False)),
        ("0.3 points", "test_accuracy", (0.003, False)),
        ("0.3points", "gap", (0.003, False)),
        ("1 point", "gap", (0.01, False)),
        (0.05, "test_loss", (0.05, False)),
        ("0.05 nats", "train_loss", (0.05, False)),
        ("5 %", "seconds", (0.05, True)),
        ("30 s", "seconds", (30.0, False)),
        (30, "seconds", (30.0, False)),
    ],
)
def test_a_margin_has_a_unit(written: float | str, metric: str, expected: object) -> None:
    assert as_margin(written) == written
    size, relative = scored(written, metric)
    assert (pytest.approx(size), relative) == expected


@pytest.mark.parametrize("written", [0, -1, True, "5", "points", "-5 %", "5 percent", "0 %", None])
def test_what_is_no_margin_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match=r"0\.3 points, 5 %, 30 s, 0\.05 nats"):
        as_margin(written)


@pytest.mark.parametrize(
    ("written", "metric", "message"),
    [
        ("5 %", "test_accuracy", "for times alone.*give the margin in points"),
        ("0.3 points", "test_loss", "test_loss is in nats"),
        ("2 s", "gap", "gap is in points"),
        ("2 points", "seconds", "seconds is in s, %"),
    ],
)
def test_another_metric_s_unit_is_refused(written: str, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scored(written, metric)


def test_usual_margins() -> None:
    assert usual("test_accuracy", {"mnist"}) == Margin(0.001, relative=False)
    assert usual("test_accuracy", {"mnist", "cifar10"}) == Margin(0.003, relative=False)
    assert usual("seconds", {"mnist"}) == Margin(0.05, relative=True)
    assert usual("test_loss", {"mnist"}) is None
    assert fraction("5 %") == pytest.approx(0.05)
    assert fraction(0.1) == 0.1
