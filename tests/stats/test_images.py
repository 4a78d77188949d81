import numpy as np
import pytest

from normlab.stats import moments, t_intervals
from normlab.stats.images import TwoWayDraws, two_way_bootstrap


def planted(rng: np.random.Generator, seeds: int, images: int, spread: float) -> np.ndarray:
    """Images of unlike difficulty, seeds of unlike skill: 1 where right."""
    skill, difficulty = rng.normal(0, spread, (seeds, 1)), rng.normal(1.5, 1.0, images)
    return rng.random((seeds, images)) < 1 / (1 + np.exp(-difficulty - skill))


def test_with_very_many_images_it_is_the_t_interval() -> None:
    rng = np.random.default_rng(0)
    correct = planted(rng, 5, 20_000, 1.0)
    found = two_way_bootstrap([correct], rng, draws=400)
    t = t_intervals(*moments(correct.mean(axis=1)[None]))
    assert found.mean == pytest.approx(t.mean)
    assert found.high - found.low == pytest.approx(t.high - t.low, rel=0.03)


def test_a_small_test_set_adds_to_the_interval() -> None:
    rng = np.random.default_rng(1)
    correct = np.repeat(rng.random((1, 200)) < 0.9, 5, axis=0)  # seeds alike: only images vary
    found = two_way_bootstrap([correct], rng, draws=4000)
    p = correct[0].mean()
    half = 1.972 * np.sqrt(p * (1 - p) / 200)  # t quantile with 199 degrees of freedom
    assert found.high - found.mean == pytest.approx([half], rel=0.05)


def test_covers_accuracy_on_new_seeds_and_images() -> None:
    rng = np.random.default_rng(2)
    draws = 1 / (1 + np.exp(-rng.normal(1.5, 1.0, 200_000) - rng.normal(0, 0.3, 200_000)))
    truth, covered = draws.mean(), 0
    for _ in range(200):
        found = two_way_bootstrap([planted(rng, 3, 300, 0.3)], rng, draws=200)
        covered += found.low[0] <= truth <= found.high[0]
    assert covered / 200 > 0.93


def test_one_seed_has_a_mean_alone() -> None:
    found = two_way_bootstrap([np.array([[1, 0, 1, 1]])], np.random.default_rng(0), draws=10)
    assert found.mean == [0.75]
    assert np.isnan(found.low).all()


def test_shared_draws_give_each_arm_the_interval_that_it_has_alone() -> None:
    rng = np.random.default_rng(3)
    draws = TwoWayDraws(7)
    for seeds, images in ((4, 50), (4, 50), (6, 50), (4, 30), (1, 30)):
        correct = planted(rng, seeds, images, 1.0)
        alone = two_way_bootstrap([correct], np.random.default_rng(7))
        found = draws.interval(correct == 1)
        np.testing.assert_array_equal(found, [float(values[0]) for values in alone])
