"""Effects over a whole design: least squares with sum contrasts, nested factors, the usual F.

    y = X b + e,   F_T = b_T' V_T^-1 b_T / df_T,   V = s^2 (X' X)^-1
    partial omega^2 = df_T (F_T - 1) / (df_T (F_T - 1) + N)

A factor of L levels has L - 1 columns (the last level is -1 in each), an interaction their
products. A factor nested in another (p in the number of dropout layers) has contrasts within each
level of its parent and none where p means nothing. omega^2 is that of Olejnik & Algina (2003).
Tests are of each term given all others (type III). Description only: they gate nothing.

No variances that are robust to unequal spread are used: of 2 to 5 trials per cell HC3 (MacKinnon &
White 1985) calls an interaction that does not exist significant at 5 % in 7 to 73 % of studies,
where the usual F keeps its level; see `benchmarks/planted.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from normlab.errors import UserError, unknown
from normlab.lazy import special
from normlab.stats.contrasts import welch
from normlab.stats.intervals import Intervals, Values, moments

Levels = Sequence[Hashable]

_LARGE = 5_000_000
"""Numbers in a design with a row per trial from which on it has a row per arm: the same fit."""
_ROUNDING = 1e-24
_COLUMNS = 64  # that are made orthogonal to all before them at once


@dataclass(frozen=True)
class Effect:
    """One term of the model; NaN where the design or the residuals leave nothing to test.

    Attributes:
        term: `norm`, `p(dropout_slots)`, `norm:batch_size`.
        df: Its columns; fewer than its levels allow where cells of the design are missing.
        f: Its F.
        p: Of F with `df` and the residual's degrees of freedom.
        omega_squared: Partial omega squared; about 0 (or below) for no effect.
    """

    term: str
    df: int
    f: float
    p: float
    omega_squared: float


def logit_error(scores: npt.ArrayLike, images: npt.ArrayLike) -> Values:
    """log(q / (1 - q)) with q = (errors + 0.5) / (n + 1): a scale on which 99.0 and 99.5 % differ.

    Args:
        scores: Accuracies as fractions.
        images: Test images n.
    """
    images = np.asarray(images, dtype=float)
    errors = np.round((1 - np.asarray(scores, dtype=float)) * images)
    logit: Values = special.logit((errors + 0.5) / (images + 1))
    return logit


def factorial(
    scores: npt.ArrayLike,
    factors: Mapping[str, Levels],
    *,
    nested: Mapping[str, str] | None = None,
    order: int = 2,
) -> list[Effect]:
    """Main effects and interactions of a design.

    Args:
        scores: (arms, seeds) on any scale, NaN for missing.
        factors: Per factor its level in each arm.
        nested: Factor -> the factor it is nested in.
        order: Highest number of factors in an interaction.

    Raises:
        UserError: A nested factor or its parent is not among the factors.
    """
    scores = np.asarray(scores, dtype=float)
    return Design(~np.isnan(scores), factors, nested=nested, order=order).effects(scores)


class Design:
    """The columns of a design that its trials can tell apart, for scores on several scales.

    `effects` of scores is what `factorial` gives of them.

    Args:
        there: (arms, seeds): which trials have a score.
        factors: Per factor its level in each arm.
        nested: Factor -> the factor it is nested in.
        order: Highest number of factors in an interaction.

    Raises:
        UserError: A nested factor or its parent is not among the factors.
    """

    def __init__(
        self,
        there: npt.NDArray[np.bool_],
        factors: Mapping[str, Levels],
        *,
        nested: Mapping[str, str] | None = None,
        order: int = 2,
    ) -> None:
        self._arm, self._seed = np.nonzero(there)
        self._count = np.bincount(self._arm, minlength=len(there))
        terms = _terms(factors, dict(nested or {}), order)
        self._terms = _estimable(terms, self._count > 0)
        self._columns = np.hstack([np.ones((len(there), 1)), *self._terms.values()])

    def effects(self, scores: Values) -> list[Effect]:
        """Main effects and interactions in scores (arms, seeds) of just these trials."""
        trials = len(self._arm)
        df_residual = trials - self._columns.shape[1]
        nothing = [
            Effect(term, columns.shape[1], np.nan, np.nan, np.nan)
            for term, columns in self._terms.items()
        ]
        if df_residual < 1:
            return nothing
        fitted = self._fit(scores[self._arm, self._seed])
        if fitted is None:  # rounding is all that is left
            return nothing
        params, covariance = fitted
        effects, start = [], 1
        for term, columns in self._terms.items():
            df = columns.shape[1]
            place = slice(start, start + df)
            f = _wald(params[place], covariance[place, place])
            excess = df * (f - 1)
            p = float(special.fdtrc(df, df_residual, f)) if df else np.nan
            effects.append(Effect(term, df, f, p, excess / (excess + trials)))
            start += df
        return effects

    def _fit(self, y: Values) -> tuple[Values, Values] | None:
        """Least squares of y of every trial: coefficients and their covariance.

        None for a fit without residuals.
        """
        if len(self._arm) * self._columns.shape[1] > _LARGE:
            return self._fit_means(y)
        # statsmodels takes a second to import: only a design needs it.
        from statsmodels.regression.linear_model import OLS

        fit = OLS(y, self._columns[self._arm]).fit()
        if fit.ssr <= _ROUNDING * (y @ y):
            return None
        return fit.params, fit.cov_params()

    def _fit_means(self, y: Values) -> tuple[Values, Values] | None:
        """The same by the arms' means, weighted by their trials, which are alike in the design."""
        there = self._count > 0
        root = np.sqrt(self._count[there])
        means = np.bincount(self._arm, y, minlength=len(self._count))[there] / self._count[there]
        q, r = self._factors
        params = np.linalg.solve(r, q.T @ (root * means))
        residual = y - (self._columns @ params)[self._arm]
        ssr = float(residual @ residual)
        if ssr <= _ROUNDING * (y @ y):
            return None
        inverse = np.linalg.inv(r)
        return params, ssr / (len(y) - self._columns.shape[1]) * (inverse @ inverse.T)

    @cached_property
    def _factors(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Q and R of the arms with trials, each by the root of how many it has."""
        there = self._count > 0
        q, r = np.linalg.qr(np.sqrt(self._count[there])[:, None] * self._columns[there])
        return q, r


def level_means(
    scores: npt.ArrayLike,
    levels: Levels,
    *,
    variance_floor: npt.ArrayLike = 0.0,
    confidence: float = 0.95,
) -> tuple[list[Hashable], Intervals]:
    """What effect plots show: per level the mean over its arms, each arm counting alike.

    Args:
        scores: (arms, seeds), NaN for missing.
        levels: The level of each arm; of an interaction plot a tuple of two levels.
        variance_floor: See `one_image_variance`.
        confidence: Of Welch's intervals, each level's own.

    Returns:
        The levels in order of appearance and their intervals (levels,).
    """
    names = list(dict.fromkeys(levels))
    members = np.array([[level == name for level in levels] for name in names], dtype=float)
    weights = members / members.sum(axis=1, keepdims=True)
    found = welch(moments(scores), weights, variance_floor=variance_floor)
    low, high = found.limits(1 - confidence)
    return names, Intervals(found.estimate, low, high)


def _terms(factors: Mapping[str, Levels], nested: dict[str, str], order: int) -> dict[str, Values]:
    for child, parent in nested.items():
        for name in (child, parent):
            if name not in factors:
                raise UserError(f"nested: {unknown('factor', name, factors)}")
    main = {
        name: _within(factors[nested[name]], levels) if name in nested else _sum(levels)
        for name, levels in factors.items()
    }
    label = {name: f"{name}({nested[name]})" if name in nested else name for name in factors}
    terms = {}
    for size in range(1, order + 1):
        for names in combinations(factors, size):
            if any(nested.get(name) in names for name in names):
                continue
            columns = main[names[0]]
            for name in names[1:]:
                columns = (columns[:, :, None] * main[name][:, None, :]).reshape(len(columns), -1)
            terms[":".join(label[name] for name in names)] = columns
    return terms


def _sum(levels: Levels) -> Values:
    names = list(dict.fromkeys(levels))
    rows = np.vstack([np.eye(len(names) - 1), -np.ones(len(names) - 1)])
    return rows[[names.index(level) for level in levels]]


def _within(parent: Levels, child: Levels) -> Values:
    blocks = []
    for level in dict.fromkeys(parent):
        here = [index for index, other in enumerate(parent) if other == level]
        inner = _sum([child[index] for index in here])
        block = np.zeros((len(parent), inner.shape[1]))
        block[here] = inner
        blocks.append(block)
    return np.hstack(blocks)


def _estimable(terms: dict[str, Values], present: npt.NDArray[np.bool_]) -> dict[str, Values]:
    """Leave out, from the first term on, columns that the arms with trials cannot tell apart."""
    rows = int(present.sum())
    most = 1 + sum(columns.shape[1] for columns in terms.values())
    basis = np.empty((rows, min(most, max(rows, 1))), order="F")
    basis[:, 0] = 1 / np.sqrt(max(rows, 1))
    found, kept = 1, {}
    for term, columns in terms.items():
        keep: list[int] = []
        for start in range(0, columns.shape[1], _COLUMNS):
            parts = columns[present, start : start + _COLUMNS]
            before = basis[:, :found]
            first = found
            rests = parts - before @ (before.T @ parts)
            rests -= before @ (before.T @ rests)
            for index, (part, rest) in enumerate(zip(parts.T, rests.T, strict=True)):
                own = basis[:, first:found]
                left = rest - own @ (own.T @ rest)
                left -= own @ (own.T @ left)
                size = float(np.linalg.norm(left))
                if size > 1e-9 * max(1.0, float(np.linalg.norm(part))):
                    if found == basis.shape[1]:  # no arm is left that could tell it
                        continue
                    basis[:, found] = left / size
                    found += 1
                    keep.append(start + index)
        kept[term] = columns[:, keep]
    return kept


def _wald(values: Values, covariance: Values) -> float:
    if not len(values) or np.linalg.matrix_rank(covariance) < len(values):
        return np.nan
    return float(values @ np.linalg.solve(covariance, values)) / len(values)
