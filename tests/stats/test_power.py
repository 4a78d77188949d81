import numpy as np
import pytest
from scipy import stats

from normlab.stats import moments, one_image_variance
from normlab.stats.contrasts import tost, welch
from normlab.stats.power import (
    MOST_SEEDS,
    Design,
    better_power,
    equal_power,
    seeds_for_better,
    seeds_for_equal,
    smallest_effect,
    smallest_margin,
)

DESIGN = Design((0.45, 0.45))


def test_the_protocol_s_seeds() -> None:
    assert seeds_for_better(DESIGN, 0.3) == 37
    assert seeds_for_equal(DESIGN, 0.3) == 40


def test_one_arm_is_the_noncentral_t() -> None:
    design = Design((2.0,), (1.0,))
    for seeds, effect in ((3, 4.0), (6, 2.0), (20, 1.0)):
        df, shift = seeds - 1, effect / 2.0 * np.sqrt(seeds)
        expected = stats.nct.sf(stats.t.ppf(0.975, df), df, shift)
        assert better_power(design, effect, seeds) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("spreads", [(1.0, 1.0), (3.0, 1.0)])
@pytest.mark.parametrize("seeds", [3, 10])
def test_power_is_what_happens(spreads: tuple[float, float], seeds: int) -> None:
    design = Design(spreads)
    effect, margin = smallest_effect(design, seeds), smallest_margin(design, seeds)
    drawn = np.random.default_rng(0).normal(size=(10_000, 2, seeds)) * np.array(spreads)[:, None]
    found = welch(moments(drawn), [1.0, -1.0])
    equal = float((tost(found, margin) < 0.05).mean())
    above = float((found.above(-effect) < 0.025).mean())
    assert above == pytest.approx(better_power(design, effect, seeds), abs=0.015)
    assert equal == pytest.approx(equal_power(design, margin, seeds), abs=0.015)
    assert better_power(design, effect, seeds) == pytest.approx(0.8, abs=1e-4)
    assert equal_power(design, margin, seeds) == pytest.approx(0.8, abs=1e-4)


def test_equal_power_falls_with_the_true_difference() -> None:
    assert equal_power(DESIGN, 0.3, 40, effect=0.3) == pytest.approx(0.05, abs=1e-3)


def test_without_spread_the_floor_decides() -> None:
    design = Design((0.0, 0.0), variance_floor=float(one_image_variance(1000)))
    half = stats.t.ppf(0.975, 4) * np.sqrt(2 / 3 * design.variance_floor)
    assert better_power(design, 1.01 * half, 3) == 1.0
    assert better_power(design, 0.99 * half, 3) == 0.0
    assert smallest_effect(design, 3) == pytest.approx(half, rel=1e-4)


def test_more_seeds_than_anyone_has_are_none() -> None:
    assert seeds_for_better(DESIGN, 1e-3) is None
    assert seeds_for_equal(DESIGN, 0.3, effect=0.3) is None
    assert seeds_for_better(DESIGN, 0.02) <= MOST_SEEDS


def test_below_two_seeds_there_is_no_effect_to_find() -> None:
    assert np.isnan(smallest_effect(DESIGN, 1))
