"""`faster`: one arm reaches a target accuracy in less time than another.

    restricted mean time(than) - restricted mean time(arm), by a studentized permutation test

A training that never reaches the target counts with the longest training of the two arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from normlab.arms import Arms, Selector, SideSelector, selector_text
from normlab.errors import UserError, listing
from normlab.records.plan import AnalysisRecord, ClaimRecord
from normlab.stats.claims.claim import Claim, Judged, Unit
from normlab.stats.claims.keys import ClaimKeys, Sides, Test, Timed
from normlab.stats.claims.margins import USUAL_OF_TIMES, Margin, fraction
from normlab.stats.claims.sides import Side, differences, members
from normlab.stats.claims.verdict import Rules, Verdict
from normlab.stats.claims.words import Telling
from normlab.stats.intervals import Values
from normlab.stats.power import Design
from normlab.stats.survival import Times, restricted_difference, restricted_moments

NEVER_REACHED = "no trial of either arm reached the target within the budget"


@dataclass(frozen=True)
class Faster(Claim):
    """Arm `first` needs less time to the target than arm `second`, in restricted means.

    Attributes:
        first: One arm.
        second: One arm.
        margin: A fraction of the second arm's restricted mean.
        test: Always the studentized permutation test.
    """

    kind = "faster"
    first: int
    second: int
    margin: float = 0.05
    test: Test = "permutation"

    class Keys(Timed, ClaimKeys):
        """Arm reaches a target accuracy in less time than `than`."""

        title: ClassVar[str] = "claim 'faster'"
        kind: Literal["faster"]
        arm: Selector
        than: Selector
        margin: Annotated[float, Field(gt=0, lt=1), BeforeValidator(fraction)] = USUAL_OF_TIMES
        """A fraction of the second arm's restricted mean time, or percent of it: `5 %`."""
        test: Literal["permutation"] = "permutation"

        @model_validator(mode="after")
        def _no_score(self) -> Self:
            if self.metric or self.at:
                raise ValueError("a claim 'faster' is about time: it has no 'metric' and no 'at'")
            if self.paired:
                raise ValueError(
                    "a claim 'faster' is tested by permutation of all seeds: leave 'paired' out, "
                    "or claim 'better' about the metric 'seconds', which can be paired"
                )
            return self

        def selectors(self) -> Sequence[SideSelector]:
            """Both."""
            return self.arm, self.than

        def sides(self, arms: Arms) -> Sides:
            """One arm each."""
            found = super().sides(arms)
            for selector, side in zip(self.selectors(), found.arms, strict=True):
                if len(side) > 1:
                    raise UserError(
                        f"'faster' compares one arm with one, and {selector_text(selector)} fits "
                        f"{len(side)}: {listing(side)}"
                    )
            return found

        def scored_margin(self, analysis: AnalysisRecord, data: set[str]) -> Margin:
            """A fraction of a time, whatever the study's margin is."""
            return Margin(self.margin, relative=False)  # of a restricted mean, which it computes

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The two arms."""
        first, second = (arm for side in sides for arm in members(side))
        return cls(first, second, record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both."""
        return self.first, self.second

    def contrasts(self, arms: int) -> Values:
        """(1, arms): first - second; the time saved is its negative."""
        return differences(self.first, (self.second,), arms)

    def judge(
        self, trials: npt.ArrayLike | Times, rules: Rules, rng: np.random.Generator
    ) -> Judged:
        """Judge `Times`; takes no notice of `rules.paired`."""
        if not isinstance(trials, Times):
            raise UserError("faster: needs times, not scores")
        arms = restricted_moments(trials)
        margin = self.margin * float(arms.mean[self.second])
        seeds = tuple(int(arms.seeds[arm]) for arm in self.arms)
        successes = tuple(trials.successes(arm) for arm in self.arms)
        if min(seeds) < self.fewest or not any(successes):
            difference = np.array([float(arms.mean[self.second] - arms.mean[self.first])])
            why = None if min(seeds) < self.fewest else NEVER_REACHED
            judged = self.unknown(difference, rules, seeds, why)
            return Judged(replace(judged, margin=margin, successes=successes), [])
        found = restricted_difference(trials, self.first, self.second, rng)
        judged = self.outcome(found, alpha=rules.claim_alpha, margin=margin, seeds=seeds)
        design = Design(tuple(np.sqrt(arms.variance[list(self.arms)])))
        return Judged(replace(judged, successes=successes), [design])

    def planned_designs(self, spreads: Values, rules: Rules, correlation: float) -> list[Design]:
        """Fractions of a time: never paired, and no test image is their least step."""
        unpaired = Rules(rules.alpha, rules.family, power=rules.power)
        return super().planned_designs(spreads, unpaired, correlation)

    @classmethod
    def planned_unit(cls, record: ClaimRecord) -> Unit:
        """Percent of a time."""
        return Unit(100.0, "%")

    @classmethod
    def unit(cls, record: ClaimRecord) -> Unit:
        """Seconds or images."""
        seconds = record.time is not None and record.time.clock == "seconds"
        return Unit(1.0, "s saved" if seconds else "images saved")

    @classmethod
    def axis(cls, record: ClaimRecord) -> str:
        """What is saved."""
        return "Time saved, s" if cls.unit(record).name == "s saved" else "Images saved"

    @classmethod
    def details(
        cls, found: Verdict, record: ClaimRecord, arms: Sequence[str]
    ) -> dict[str, list[str]]:
        """How many trials reached the target."""
        if not found.successes:
            return {}
        labels = sorted(record.arms, key=list(arms).index)
        return {
            "Reached the target": [
                f"{label} {count} of {seeds}"
                for label, count, seeds in zip(labels, found.successes, found.seeds, strict=True)
            ]
        }

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Who reaches the target sooner."""
        first, second = telling.sides
        time = telling.record.time
        goal = f"{100 * time.target:g} % {time.split} accuracy" if time else "the target"
        by, place = f"by {telling.amount().removesuffix(' saved')}", telling.place
        if telling.found.verdict == "supported":
            return f"{first} reaches {goal} sooner than {second}{place}, {by} {telling.evidence()}."
        if telling.found.verdict == "refuted":
            if telling.found.high < 0:
                evidence = telling.evidence(turned=True)
                return f"{second} reaches {goal} sooner than {first}{place}, {by} {evidence}."
            return (
                f"{first} does not reach {goal} sooner than {second}{place} by "
                f"{telling.margin} of its time {telling.evidence()}."
            )
        if telling.found.successes and not any(telling.found.successes):
            return f"Neither {first} nor {second} reached {goal}{place}: nothing can be said."
        return f"Whether {first} reaches {goal} sooner than {second}{place}{telling.open}"
