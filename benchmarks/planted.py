"""Planted truth: studies whose truth is known, judged by the functions that judge real ones.

    python benchmarks/planted.py                    # 10,000 studies a cell: prints, writes results/planted.csv
    python benchmarks/planted.py --studies 1000     # quicker; writes nothing
    python benchmarks/planted.py --effects          # the table of effects of two factors: 2,000 studies a grid
    python benchmarks/planted.py --options          # every kind in pairs and apart, curves, relative margins

A cell is a distribution, a number of arms k and of seeds n. Scores are accuracies on 10,000 test
images, rounded to whole images. Each row says, in percent of studies:

- family: some pair of k equal arms is found different (every pair a claim, alpha 5 % over them all);
- arm, difference: the 95 % interval of a mean (of a difference of two) holds the truth;
- power, equal: a claim `better` (`equal`) with the effect (margin) that the planner says needs these
  seeds is supported: predicted, simulated;
- =supported: `equal` is supported although the arms differ by the margin;
- supported, refuted: the worst kind of claim is supported (refuted) though it is false (true), each
  claim alone at 5 %, at the truth nearest to the other side;
- until settled (n = 5-30): as family, with looks at 5, 10, 20 and 30 seeds.

A true 5 % shows at most 5.6 % in 10,000 studies. The distributions below the line are harder than
any bound can hold; they are there to say where it breaks.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.stats import moments, one_image_variance, t_intervals
from normlab.stats.claims import (
    AtLeast,
    Best,
    Better,
    Equal,
    Faster,
    Interaction,
    MeanClaim,
    NotBetter,
    Ranking,
    Rules,
    Trend,
    decide,
    verdict,
)
from normlab.stats.claims.evidence import by_t
from normlab.stats.contrasts import Estimates, pair_weights, welch
from normlab.stats.factorial import factorial
from normlab.stats.power import Design, better_power, equal_power, smallest_effect, smallest_margin
from normlab.stats.sequential import LOOKS, look_alphas
from normlab.stats.survival import Times

Values = npt.NDArray[np.float64]
Row = dict[str, object]

SPREAD = 0.0045  # over seeds: 0.45 points
IMAGES = 10_000
FLOOR = float(one_image_variance(IMAGES))
MEAN, CHANCE, RATE = 0.9, 0.1, 0.1  # of a run that works, of one that collapsed, how many do
ALPHA, BOUND = 0.05, 0.056
ARMS, SEEDS = (2, 4, 7), (3, 5, 10)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return SPREAD * rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Long tail downwards: minus a lognormal, brought to mean 0 and the spread."""
    s = 0.8
    drawn = rng.lognormal(sigma=s, size=shape)
    spread = np.sqrt((np.exp(s**2) - 1) * np.exp(s**2))
    return -SPREAD * (drawn - np.exp(s**2 / 2)) / spread


def first_arm(times: float) -> Callable[[np.random.Generator, tuple[int, ...]], Values]:
    def noisy(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        noise = normal(rng, shape)
        noise[:, 0] *= times
        return noise

    return noisy


def zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return np.zeros(shape)


def collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    fallen = rng.random(shape) < RATE
    return np.where(fallen, CHANCE - MEAN, 0.0) + normal(rng, shape) + RATE * (MEAN - CHANCE)


def one_collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    noise = normal(rng, shape)
    noise[:, :1] = collapsing(rng, (shape[0], 1, shape[2]))
    return noise


def one_skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    noise = normal(rng, shape)
    noise[:, :1] = skewed(rng, (shape[0], 1, shape[2]))
    return noise


def last_ten(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """The mean of the last ten epochs: what a seed has in all of them, and ten skewed draws."""
    epochs = skewed(rng, (10, *shape)).mean(axis=0)
    return (normal(rng, shape) + epochs) / np.sqrt(1.1)


COLLAPSED_SPREAD = float(np.sqrt(SPREAD**2 + RATE * (1 - RATE) * (MEAN - CHANCE) ** 2))

# Name -> noise around the mean, spreads of the first and of every other arm.
DISTRIBUTIONS = {
    "normal": (normal, SPREAD, SPREAD),
    "skewed": (skewed, SPREAD, SPREAD),
    "one noisy arm (3x)": (first_arm(3), 3 * SPREAD, SPREAD),
    "zero spread": (zero, 0.0, 0.0),
    "collapsed runs (10 %)": (collapsing, COLLAPSED_SPREAD, COLLAPSED_SPREAD),
}
STRESS = {
    "one noisy arm (7x)": (first_arm(7), 7 * SPREAD, SPREAD),
    "one skewed arm": (one_skewed, SPREAD, SPREAD),
    "one arm collapses (10 %)": (one_collapsing, COLLAPSED_SPREAD, SPREAD),
}


CURVES = {"mean of the last 10 epochs": (last_ten, SPREAD, SPREAD)}


class Cell:
    """Studies of one distribution, k and n, drawn and judged at once.

    Args:
        name: Of the distribution.
        arms: Of a study.
        seeds: Of an arm.
        studies: How many are drawn.
        correlation: Of the scores of one seed in two arms, which are then judged in pairs; None for
            arms that are drawn and judged apart.
    """

    def __init__(
        self, name: str, arms: int, seeds: int, studies: int, correlation: float | None = None
    ) -> None:
        self.name, self.arms, self.seeds, self.studies = name, arms, seeds, studies
        self.noise, first, other = {**DISTRIBUTIONS, **STRESS, **CURVES}[name]
        self.spreads = (first, other)
        self.correlation = correlation
        self.rules = Rules(variance_floor=FLOOR, paired=correlation is not None)
        # A stream of its own per cell: the same numbers whatever else is run.
        extra = [] if correlation is None else [round(100 * correlation)]
        self.rng = np.random.default_rng([arms, seeds, *name.encode(), *extra])

    def scores(self, shift: Iterable[float] = ()) -> Values:
        """(studies, arms, seeds) with the first arms shifted from the common mean."""
        shape = (self.studies, self.arms, self.seeds)
        means = np.full(self.arms, MEAN)
        for arm, by in enumerate(shift):
            means[arm] += by
        noise = self.noise(self.rng, shape)
        if self.correlation:
            shared = self.noise(self.rng, (self.studies, 1, self.seeds))
            noise = self._mixed(noise, shared, self.correlation)
        return np.round((means[:, None] + noise) * IMAGES) / IMAGES

    def _mixed(self, own: Values, shared: Values, correlation: float) -> Values:
        """Noise of the same spread, of which the arms of one seed share a part."""
        if self.noise is collapsing:  # an arm takes the seed's own fate, or the one all arms share
            taken = self.rng.random(own.shape) < np.sqrt(correlation)
            return np.where(taken, shared, own)
        return np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared

    def share(
        self, claim: MeanClaim, shift: Iterable[float], wanted: int, alpha: float = ALPHA
    ) -> float:
        """Share of studies whose verdict is the wanted one."""
        found = by_t(self.scores(shift) - claim.null, claim.contrasts(self.arms), self.rules)
        return float((decide(claim, found, alpha) == wanted).mean())


def settled_pairs(scores: Values, alpha: float) -> npt.NDArray[np.bool_]:
    """Studies (studies,) in which some pair of arms is found different, alpha over all pairs."""
    arms = scores.shape[1]
    weights = pair_weights(arms)
    low, high = welch(moments(scores), weights, variance_floor=FLOOR).limits(alpha / len(weights))
    found: npt.NDArray[np.bool_] = ((low > 0) | (high < 0)).any(axis=1)
    return found


def coverage(cell: Cell) -> tuple[float, float]:
    arms = moments(cell.scores())
    low, high = t_intervals(*arms, variance_floor=FLOOR)[1:]
    pair = by_t(cell.scores(), pair_weights(cell.arms)[:1], cell.rules)
    below, above = pair.limits(ALPHA)
    return float(((low <= MEAN) & (high >= MEAN)).mean()), float(
        ((below <= 0) & (above >= 0)).mean()
    )


def whole_images(score: float) -> float:
    return float(np.ceil(score * IMAGES - 1e-9) / IMAGES)


def power(cell: Cell) -> tuple[float, float, float, float]:
    """Of `better` and of `equal` in the family, predicted and simulated."""
    design = Design(cell.spreads, variance_floor=FLOOR)
    alpha = ALPHA / len(pair_weights(cell.arms))
    effect = whole_images(smallest_effect(design, cell.seeds, alpha=alpha))
    margin = whole_images(smallest_margin(design, cell.seeds, alpha=alpha))
    return (
        better_power(design, effect, cell.seeds, alpha=alpha),
        cell.share(Better(0, 1, effect), (effect,), 1, alpha),
        equal_power(design, margin, cell.seeds, alpha=alpha),
        cell.share(Equal(0, 1, margin), (), 1, alpha),
    )


class Truth(NamedTuple):
    """A kind of claim with the truths nearest to its other verdict.

    Attributes:
        false: Claims that are false, each with the shifts of the arms: rarely supported.
        true: A claim that is true, with its shifts: rarely refuted.
    """

    false: tuple[tuple[MeanClaim, tuple[float, ...]], ...]
    true: tuple[MeanClaim, tuple[float, ...]]


def _better(k: int, margin: float) -> Truth:
    claim = Better(0, 1, margin)
    return Truth(((claim, ()),), (claim, (margin,)))


def _not_better(k: int, margin: float) -> Truth:
    claim = NotBetter(0, 1, margin)
    return Truth(((claim, (margin,)),), (claim, ()))


def _at_least(k: int, margin: float) -> Truth:
    claim = AtLeast(0, MEAN, margin)
    return Truth(((claim, ()),), (claim, ()))


def _equal(k: int, margin: float) -> Truth:
    claim, back = Equal(0, 1, margin), Equal(1, 0, margin)
    return Truth(((claim, (margin,)), (back, (margin,))), (claim, (margin,)))


def _best(k: int, margin: float) -> Truth:
    claim = Best(0, tuple(range(1, k)), margin)
    far = tuple(-0.5 * (arm > 1) for arm in range(k))  # all but the first two fall far behind
    return Truth(((claim, far),), (claim, ()))


def _ranking(k: int, margin: float) -> Truth:
    claim = Ranking(tuple(range(k)), margin)
    return Truth(((claim, tuple(-0.5 * max(0, arm - 1) for arm in range(k))),), (claim, ()))


def _trend(k: int, margin: float) -> Truth:
    claim = Trend(tuple(range(k)), margin)
    rising = tuple(margin * arm / (k - 1) for arm in range(k))
    return Truth(((claim, ()),), (claim, rising))


def _interaction(k: int, margin: float) -> Truth | None:
    if k < 4:
        return None
    claim = Interaction(0, 1, 2, 3, margin)
    return Truth(((claim, ()),), (claim, (margin,)))


PLANTED: dict[str, Callable[[int, float], Truth | None]] = {
    "better": _better,
    "not_better": _not_better,
    "at_least": _at_least,
    "equal": _equal,
    "best": _best,
    "ranking": _ranking,
    "trend": _trend,
    "interaction": _interaction,
}
"""Kind of claim -> its truths among k arms, or None where they are too few."""


def faster_errors(seeds: int, studies: int) -> tuple[float, float]:
    """Of `faster`: how often it is supported though times are equal, refuted though one is slower.

    Times are 10 plus an exponential spread of 1, cut at a budget of 14.
    """
    rng = np.random.default_rng([seeds, *b"faster"])
    claim, rules = Faster(0, 1, margin=0.05), Rules(alpha=ALPHA)
    counts = []
    for later, wanted in ((0.0, "supported"), (0.05 * 11, "refuted")):
        wrong = 0
        for _ in range(studies):
            times = 10 + rng.exponential(size=(2, seeds)) + np.array([[0.0], [later]])
            study = Times(np.minimum(times, 14), times <= 14, 14.0, resolution=0.0)
            wrong += verdict(claim, study, rules).verdict == wanted
        counts.append(wrong / studies)
    return counts[0], counts[1]


PLANTED_TIMES = {"faster": faster_errors}
"""The kinds about times, which are judged study by study."""


def bounded(cell: Cell, margin: float) -> dict[str, Truth]:
    """The kinds whose errors are bounded in a cell, with their truths.

    `at_least` is about one mean, of which no few trials tell how skewed it is: it is bounded where
    the spread is normal, and elsewhere only shown.
    """
    made = {kind: truth(cell.arms, margin) for kind, truth in PLANTED.items()}
    return {
        kind: truth
        for kind, truth in made.items()
        if truth is not None
        and cell.seeds >= truth.true[0].fewest
        and (kind != "at_least" or cell.name == "normal")
    }


def wrong(cell: Cell) -> tuple[float, tuple[float, str], tuple[float, str]]:
    """False `equal`, worst false `supported`, worst false `refuted` with their kinds."""
    plain = Design((SPREAD, SPREAD), variance_floor=FLOOR)
    margin = whole_images(smallest_margin(plain, cell.seeds))
    truths = bounded(cell, margin)

    def supported(kind: str) -> float:
        return max(cell.share(claim, shift, 1) for claim, shift in truths[kind].false)

    false_equal = supported("equal")
    shares = {kind: supported(kind) for kind in truths if kind != "equal"}
    worst = max((value, kind) for kind, value in shares.items())
    refuted = {kind: cell.share(*truth.true, -1) for kind, truth in truths.items()}
    return false_equal, worst, max((value, kind) for kind, value in refuted.items())


def cell_row(name: str, arms: int, seeds: int, studies: int) -> Row:
    cell = Cell(name, arms, seeds, studies)
    family = float(settled_pairs(cell.scores(), ALPHA).mean())
    arm, difference = coverage(cell)
    predicted, simulated, equal_predicted, equal_simulated = power(cell)
    false_equal, (supported, supported_kind), (refuted, refuted_kind) = wrong(cell)
    return {
        "distribution": name,
        "arms": arms,
        "seeds": seeds,
        "studies": studies,
        "family_error": family,
        "coverage_arm": arm,
        "coverage_difference": difference,
        "power_predicted": predicted,
        "power_simulated": simulated,
        "equal_power_predicted": equal_predicted,
        "equal_power_simulated": equal_simulated,
        "false_equal_supported": false_equal,
        "false_supported": supported,
        "false_supported_kind": supported_kind,
        "false_refuted": refuted,
        "false_refuted_kind": refuted_kind,
    }


def settled_row(name: str, arms: int, studies: int) -> Row:
    """Seeds added at the declared looks until every pair is settled or there are no more."""
    scores = Cell(name, arms, LOOKS[-1], studies).scores()
    wrongly = np.zeros(studies, dtype=bool)
    for seeds, alpha in zip(LOOKS, look_alphas(ALPHA), strict=True):
        wrongly |= settled_pairs(scores[..., :seeds], alpha)
    seeds = f"{LOOKS[0]}-{LOOKS[-1]}"
    return {
        "distribution": name, "arms": arms, "seeds": seeds, "studies": studies,
        "family_error": float(wrongly.mean()),
    }  # fmt: skip


def rows(names: Iterable[str], studies: int) -> Iterator[Row]:
    for name in names:
        for arms in ARMS:
            for seeds in SEEDS:
                yield cell_row(name, arms, seeds, studies)
            yield settled_row(name, arms, studies)


CORRELATIONS = (None, 0.0, 0.5, 0.9)
"""Of the arms of one seed, judged in pairs; None for arms judged apart."""
OPTION_CELLS = ("normal", "skewed", "collapsed runs (10 %)", "mean of the last 10 epochs")


def option_row(name: str, correlation: float | None, seeds: int, studies: int) -> Row:
    """Every kind with arms judged in pairs or apart, and `at_least` for itself."""
    cell = Cell(name, 4, seeds, studies, correlation)
    false_equal, (supported, supported_kind), (refuted, refuted_kind) = wrong(cell)
    lone = PLANTED["at_least"](4, SPREAD)
    assert lone is not None
    enough = seeds >= lone.true[0].fewest
    return {
        "distribution": name,
        "pairs": "apart" if correlation is None else f"in pairs, correlation {correlation:g}",
        "seeds": seeds,
        "studies": studies,
        "coverage_difference": coverage(cell)[1],
        "false_equal_supported": false_equal,
        "false_supported": supported,
        "false_supported_kind": supported_kind,
        "false_refuted": refuted,
        "false_refuted_kind": refuted_kind,
        "at_least_false_supported": cell.share(*lone.false[0], 1) if enough else "",
        "at_least_false_refuted": cell.share(*lone.true, -1) if enough else "",
    }


TIME, TIME_SPREAD, TIME_MARGIN = 100.0, 3.0, 0.05
"""Seconds of an arm, over seeds, and a relative margin."""


def relative_row(correlation: float | None, seeds: int, studies: int) -> Row:
    """Claims about seconds with a margin of 5 % of the other arm's mean."""
    key = -1 if correlation is None else round(100 * correlation)
    rng = np.random.default_rng([seeds, key + 1, *b"relative"])
    rules = Rules(paired=correlation is not None, relative=True)

    def share(claim: MeanClaim, saved: float, wanted: int) -> float:
        noise = rng.standard_normal((studies, 2, seeds))
        if correlation:
            shared = rng.standard_normal((studies, 1, seeds))
            noise = np.sqrt(1 - correlation) * noise + np.sqrt(correlation) * shared
        seconds = np.array([TIME * (1 - saved), TIME])[:, None] + TIME_SPREAD * noise
        found = by_t(-seconds, claim.contrasts(2), rules)
        return float((decide(claim, found, ALPHA) == wanted).mean())

    better, lower = Better(0, 1, TIME_MARGIN), NotBetter(0, 1, TIME_MARGIN)
    equal = Equal(0, 1, TIME_MARGIN)
    supported = {
        "better": share(better, 0.0, 1),
        "not_better": share(lower, TIME_MARGIN, 1),
        "equal": max(share(equal, TIME_MARGIN, 1), share(equal, -TIME_MARGIN, 1)),
    }
    refuted = {
        "better": share(better, TIME_MARGIN, -1),
        "not_better": share(lower, 0.0, -1),
        "equal": share(equal, TIME_MARGIN, -1),
    }
    return {
        "distribution": "seconds, relative margin",
        "pairs": "apart" if correlation is None else f"in pairs, correlation {correlation:g}",
        "seeds": seeds,
        "studies": studies,
        "false_supported": max(supported.values()),
        "false_supported_kind": max(supported, key=lambda kind: supported[kind]),
        "false_refuted": max(refuted.values()),
        "false_refuted_kind": max(refuted, key=lambda kind: refuted[kind]),
    }


LEFT = 3
"""Trials left of an arm that lost the others."""


def lost_row(name: str, seeds: int, studies: int) -> Row:
    """Two arms of which the noisier one (3x) lost all trials but `LEFT`."""
    rng = np.random.default_rng([seeds, LEFT, *name.encode()])
    noise = first_arm(3)(rng, (studies, 2, seeds)) if name == "normal" else skewed(
        rng, (studies, 2, seeds)
    ) * np.array([3.0, 1.0])[:, None]  # fmt: skip
    noise[:, 0, LEFT:] = np.nan
    claim, rules = Better(0, 1, 4 * SPREAD), Rules(variance_floor=FLOOR)
    found = by_t(MEAN + noise, claim.contrasts(2), rules)
    later = by_t(MEAN + noise + np.array([4 * SPREAD, 0.0])[:, None], claim.contrasts(2), rules)
    return {
        "distribution": f"{name}, {LEFT} trials left of an arm (3x)",
        "pairs": "apart",
        "seeds": seeds,
        "studies": studies,
        "coverage_difference": 1 - float(settled(found).mean()),
        "false_supported": float((decide(claim, found, ALPHA) == 1).mean()),
        "false_supported_kind": "better",
        "false_refuted": float((decide(claim, later, ALPHA) == -1).mean()),
        "false_refuted_kind": "better",
    }


def settled(found: Estimates) -> npt.NDArray[np.bool_]:
    """Studies whose interval leaves 0 out."""
    low, high = found.limits(ALPHA)
    out: npt.NDArray[np.bool_] = ((low > 0) | (high < 0))[:, 0]
    return out


def option_rows(studies: int) -> Iterator[Row]:
    for correlation in CORRELATIONS:
        for seeds in SEEDS:
            for name in OPTION_CELLS:
                yield option_row(name, correlation, seeds, studies)
            yield relative_row(correlation, seeds, studies)
    for name in ("normal", "skewed"):
        for seeds in (5, 10):
            yield lost_row(name, seeds, studies)


def print_options(studies: int) -> list[Row]:
    print("wrong verdicts, % of studies, by pairs, seeds and distribution; 4 arms")
    found = []
    for row in option_rows(studies):
        found.append(row)
        alone = row.get("at_least_false_supported", "")
        print(
            f"{row['pairs']:<27}{row['seeds']:>3}  {row['distribution']:<28}"
            f"supported {percent_of(row, 'false_supported')} {row['false_supported_kind']:<12}"
            f"refuted {percent_of(row, 'false_refuted')} {row['false_refuted_kind']:<12}"
            f"covered {percent_of(row, 'coverage_difference')}  "
            f"at_least {f'{100 * float(str(alone)):.1f}' if alone != '' else '-'}",
            flush=True,
        )
    return found


def percent_of(row: Row, key: str) -> str:
    return f"{100 * float(str(row[key])):5.1f}" if key in row else "    -"


GRIDS, GRID_SEEDS = ((4, 4), (6, 4), (8, 4), (10, 5)), (2, 3, 5)
"""Levels of two factors without any effect, and seeds per cell."""


def effect_errors(levels: tuple[int, int], seeds: int, studies: int) -> dict[str, float]:
    """Share of studies in which an effect that does not exist has p at most 5 %, by term."""
    first, second = levels
    rng = np.random.default_rng([first, second, seeds])
    cells = range(first * second)
    factors = {"a": [i // second for i in cells], "b": [i % second for i in cells]}
    found: dict[str, list[bool]] = {}
    for _ in range(studies):
        scores = MEAN + SPREAD * rng.standard_normal((len(cells), seeds))
        for effect in factorial(scores, factors):
            found.setdefault(effect.term, []).append(effect.p <= ALPHA)
    return {term: float(np.mean(hits)) for term, hits in found.items()}


def print_effects(studies: int) -> None:
    print(f"p at most 5 % without an effect, % of {studies:,} studies: grid, seeds, by term")
    for levels in GRIDS:
        for seeds in GRID_SEEDS:
            errors = effect_errors(levels, seeds, studies)
            shares = ", ".join(f"{term} {100 * share:.1f}" for term, share in errors.items())
            print(f"{levels[0]:>2} x {levels[1]}, {seeds} seeds: {shares}", flush=True)


def outside(row: Row) -> Iterator[tuple[str, float]]:
    """What of a row breaks its bound: errors 5.6 %, coverage, predicted power to 5 points."""
    values = {key: float(str(value)) for key, value in row.items() if isinstance(value, float)}
    for key in ("family_error", "false_equal_supported", "false_supported", "false_refuted"):
        if values.get(key, 0.0) > BOUND:
            yield key, values[key]
    cover = values.get("coverage_arm", 0.95)
    if cover < 0.944 or (row["distribution"] == "normal" and cover > 0.956):
        yield "coverage_arm", cover
    for kind in ("power", "equal_power"):
        off = values.get(f"{kind}_simulated", 0.0) - values.get(f"{kind}_predicted", 0.0)
        if abs(off) > 0.05:
            yield f"{kind} simulated - predicted", off


def summary(found: list[Row]) -> Iterator[str]:
    """A line per distribution and broken bound: in how many cells, and by how much."""
    broken: dict[tuple[str, str], list[float]] = {}
    for row in found:
        for what, value in outside(row):
            broken.setdefault((str(row["distribution"]), what), []).append(value)
    for (name, what), values in broken.items():
        reach = f"{100 * min(values):.1f} to {100 * max(values):.1f} %"
        yield f"outside its bound: {name}, {what}, {len(values)} cells, {reach}"


HEADER = (
    f"{'distribution':25}{'k':>3}{'n':>6}{'family':>8}{'arm':>7}{'diff.':>7}{'power':>13}{'equal':>13}"
    f"{'=supp.':>8}{'supported':>16}{'refuted':>16}"
)


def line(row: Row) -> str:
    def percent(key: str) -> str:
        return f"{100 * float(str(row[key])):.1f}" if key in row else ""

    def both(key: str) -> str:
        return f"{percent(f'{key}_predicted')} {percent(f'{key}_simulated')}"

    def worst(key: str) -> str:
        return f"{percent(key)} {row.get(f'{key}_kind', '')}"

    return (
        f"{row['distribution']:25}{row['arms']:>3}{row['seeds']!s:>6}{percent('family_error'):>8}"
        f"{percent('coverage_arm'):>7}{percent('coverage_difference'):>7}{both('power'):>13}"
        f"{both('equal_power'):>13}{percent('false_equal_supported'):>8}{worst('false_supported'):>16}"
        f"{worst('false_refuted'):>16}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Planted truth, judged.")
    parser.add_argument("--studies", type=int, default=10_000, help="a cell (default 10,000)")
    parser.add_argument("--effects", action="store_true", help="the table of effects instead")
    parser.add_argument("--options", action="store_true", help="pairs, kinds and margins instead")
    options = parser.parse_args()
    if options.options:
        found = print_options(options.studies)
        if options.studies >= 10_000:
            write(found, "planted_options.csv")
        return
    if options.effects:
        print_effects(min(options.studies, 2000))
        return
    found = []
    print(HEADER)
    for names in (DISTRIBUTIONS, STRESS):
        for row in rows(names, options.studies):
            found.append(row)
            print(line(row), flush=True)
        print("-" * len(HEADER))
    print(*summary(found), sep="\n")
    if options.studies >= 10_000:
        write(found, "planted.csv")


def write(found: list[Row], name: str) -> None:
    path = Path(__file__).parent / "results" / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), restval="", lineterminator="\n")
        writer.writeheader()
        for row in found:
            writer.writerow({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
