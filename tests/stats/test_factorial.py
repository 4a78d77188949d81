"""The oracle is statsmodels' example of type III tests: the kidney data, checked there against R."""

from importlib import import_module

import numpy as np
import pytest
from scipy import stats

from normlab.errors import UserError
from normlab.stats.factorial import Design, factorial, level_means, logit_error

module = import_module("normlab.stats.factorial")

# Days of hospital stay by duration (2) and weight gain (3), ten patients a cell.
DAYS = np.array(
    [
        [0, 2, 1, 3, 0, 2, 0, 5, 6, 8],
        [2, 4, 7, 12, 15, 4, 3, 1, 5, 20],
        [15, 10, 8, 5, 25, 16, 7, 30, 3, 27],
        [0, 1, 1, 0, 4, 2, 7, 4, 0, 3],
        [5, 3, 2, 0, 1, 1, 3, 6, 7, 9],
        [10, 8, 12, 3, 7, 15, 4, 9, 6, 1],
    ],
    dtype=float,
)
FACTORS = {"duration": [1, 1, 1, 2, 2, 2], "weight": [1, 2, 3, 1, 2, 3]}


def kidney() -> np.ndarray:
    days = DAYS.copy()
    days[0, :3] = np.nan  # unbalanced, as there
    return np.log(days + 1)


def test_agrees_with_statsmodels_formulas_run_here() -> None:
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    y = kidney()
    data = pd.DataFrame(
        {
            "y": y.ravel(),
            **{name: np.repeat(levels, y.shape[1]) for name, levels in FACTORS.items()},
        }
    ).dropna()
    fit = ols("y ~ C(duration, Sum) * C(weight, Sum)", data).fit()
    usual = anova_lm(fit, typ=3)
    ours = factorial(y, FACTORS)
    assert [e.term for e in ours] == ["duration", "weight", "duration:weight"]
    assert [e.df for e in ours] == [1, 2, 2]
    assert [e.f for e in ours] == pytest.approx(usual["F"][1:4].to_numpy(), rel=1e-6)
    assert [e.p for e in ours] == pytest.approx(usual["PR(>F)"][1:4].to_numpy(), rel=1e-6)
    f, df = usual["F"][1:4].to_numpy(), usual["df"][1:4].to_numpy()
    omega = df * (f - 1) / (df * (f - 1) + len(data))
    assert [e.omega_squared for e in ours] == pytest.approx(omega, rel=1e-6)


def test_hand_values_of_a_two_by_two() -> None:
    # Means 1, 3, 2, 8; every variance 2 over 2 seeds, residual mean square 2. Effects in sum
    # contrasts: rows (-1.5), columns (-2), interaction (1): squares 8 * effect^2.
    scores = np.array([[0.0, 2.0], [2.0, 4.0], [1.0, 3.0], [7.0, 9.0]])
    a, b, ab = factorial(scores, {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    omega = [(f - 1) / (f - 1 + 8) for f in (9.0, 16.0, 4.0)]
    assert [a.omega_squared, b.omega_squared, ab.omega_squared] == pytest.approx(omega)
    assert [a.f, b.f, ab.f] == pytest.approx([9.0, 16.0, 4.0])


def test_a_nested_factor_has_contrasts_within_its_parent_alone() -> None:
    rng = np.random.default_rng(0)
    slots, p = [0, 1, 1, 2, 2], [None, 0.2, 0.5, 0.2, 0.5]
    scores = rng.normal(size=(5, 4))
    nested = factorial(scores, {"slots": slots, "p": p}, nested={"p": "slots"})
    assert [(e.term, e.df) for e in nested] == [("slots", 2), ("p(slots)", 2)]
    # Saturated, so the nested test is that of both differences p = 0.2 - 0.5 at once.
    means, variances = scores.mean(axis=1), scores.var(axis=1, ddof=1)
    squares = 4 * ((means[1] - means[2]) ** 2 + (means[3] - means[4]) ** 2) / 2
    f = squares / 2 / variances.mean()
    omega = 2 * (f - 1) / (2 * (f - 1) + 20)
    assert nested[1].omega_squared == pytest.approx(omega)


def test_a_nested_factor_interacts_with_others_than_its_parent() -> None:
    slots, p = [0, 1, 1] * 2, [None, 0.2, 0.5] * 2
    scores = np.random.default_rng(0).normal(size=(6, 3))
    effects = factorial(
        scores, {"bn": [0] * 3 + [1] * 3, "slots": slots, "p": p}, nested={"p": "slots"}
    )
    assert [e.term for e in effects] == ["bn", "slots", "p(slots)", "bn:slots", "bn:p(slots)"]


def test_what_missing_cells_leave_is_estimated() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3))
    scores[3] = np.nan
    effects = factorial(scores, {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    assert [effect.df for effect in effects] == [1, 1, 0]
    assert np.isnan(effects[2].f)


def test_one_seed_a_cell_leaves_nothing_to_test_against() -> None:
    effects = factorial([[1.0], [2.0], [3.0], [5.0]], {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    assert np.isnan([effect.p for effect in effects]).all()


def test_no_spread_gives_no_f() -> None:
    effects = factorial(np.ones((2, 3)), {"a": [0, 1]})
    assert np.isnan(effects[0].f)


def test_an_unknown_parent_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown factor 'slot'.*'slots'"):
        factorial(np.ones((2, 2)), {"slots": [0, 1], "p": [0, 1]}, nested={"p": "slot"})


def test_logit_of_the_error_by_hand() -> None:
    # 0 errors of 99: (0.5 / 100) / (99.5 / 100). 49.5 of 99 would be even.
    assert logit_error(1.0, 99) == pytest.approx(np.log(0.5 / 99.5))
    assert logit_error(0.5, 1000) == pytest.approx(np.log(500.5 / 500.5))


def test_level_means_weigh_arms_alike() -> None:
    scores = np.array([[1.0, 3.0, np.nan], [7.0, 8.0, 9.0], [5.0, 5.5, 6.0]])
    levels, found = level_means(scores, ["x", "x", "y"])
    assert levels == ["x", "y"]
    assert found.mean == pytest.approx([5.0, 5.5])
    low, high = stats.t.interval(0.95, 2, 5.5, stats.sem(scores[2]))
    assert (found.low[1], found.high[1]) == pytest.approx((low, high))


def test_a_large_design_is_fitted_by_its_arms_means_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    arms = [(a, b) for a in range(3) for b in range(4) if (a, b) != (2, 3)]
    factors = {"a": [a for a, _ in arms], "b": [b for _, b in arms]}
    scores = rng.normal(size=(len(arms), 5)) + np.array(factors["a"])[:, None]
    scores[4, 2:] = np.nan
    small = factorial(scores, factors)
    monkeypatch.setattr(module, "_LARGE", 0)
    large = factorial(scores, factors)
    assert [effect.term for effect in large] == ["a", "b", "a:b"]
    for one, other in zip(small, large, strict=True):
        assert one.df == other.df
        assert [other.f, other.p, other.omega_squared] == pytest.approx(
            [one.f, one.p, one.omega_squared], rel=1e-9
        )


@pytest.mark.parametrize("large", [0, 5_000_000])
def test_a_design_for_several_scales_gives_of_each_what_it_has_alone(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE", large)
    scores = kidney()
    design = Design(~np.isnan(scores), FACTORS)
    for scale in (scores, np.exp(scores), scores):
        assert design.effects(scale) == factorial(scale, FACTORS)


def test_columns_are_kept_alike_however_many_are_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arms = [(a, b) for a in range(4) for b in range(4) if a != b]
    factors = {"a": [a for a, _ in arms], "b": [b for _, b in arms]}
    scores = np.random.default_rng(6).normal(size=(len(arms), 3))
    degrees = []
    for columns in (64, 2, 1):
        monkeypatch.setattr(module, "_COLUMNS", columns)
        degrees.append([effect.df for effect in factorial(scores, factors)])
    assert degrees[0] == degrees[1] == degrees[2] == [3, 3, 5]
