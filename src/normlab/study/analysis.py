"""How a study's results are judged and what it claims."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from normlab.errors import UserError
from normlab.metrics import METRICS, at_text
from normlab.recipe.component import Spec, chosen_from, listed
from normlab.records.plan import AlternativeRecord, AnalysisRecord
from normlab.stats.claims import CLAIMS
from normlab.stats.claims.keys import At, ClaimKeys, Positive, Test, Written, check_metric
from normlab.stats.claims.margins import Margin, scored, usual

ClaimSpec = Annotated[
    SerializeAsAny[ClaimKeys],
    BeforeValidator(chosen_from({kind: claim.Keys for kind, claim in CLAIMS.items()})),
]
"""A claim as a study file has it, by its kind."""


MOST_ALTERNATIVES = 12


class Alternative(Spec):
    """Another way to analyse the claims; what is left out is as each claim has it.

    Attributes:
        metric: What is judged.
        margin: Of that metric. Left out, the claim's own where both are in points, else the usual
            one.
        at: The epoch that counts.
        test: `t`, or `permutation` of seeds.
        paired: Whether arms are compared seed by seed.
        collapsed: Whether trials that collapsed or diverged count.
    """

    title: ClassVar[str] = "an alternative"
    metric: str | None = None
    margin: Written | None = None
    at: At | None = None
    test: Test | None = None
    paired: bool | None = None
    collapsed: bool = True

    _known = field_validator("metric")(check_metric)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.words():
            raise ValueError("an alternative changes metric, at, test, paired or collapsed")
        if self.margin is not None and self.metric is None:
            raise ValueError("a margin belongs to a metric: give both, or leave margin out")
        return self

    def words(self) -> str:
        """What it changes."""
        parts = [METRICS[self.metric].words] if self.metric else []
        parts += [at_text(self.at)] if self.at is not None else []
        parts += [f"test {self.test}"] if self.test else []
        parts += [] if self.paired is None else ["in pairs" if self.paired else "not in pairs"]
        parts += [] if self.collapsed else ["without collapsed trials"]
        return ", ".join(parts)

    def record(self) -> AlternativeRecord:
        """As the plan keeps it.

        Raises:
            UserError: Its metric has no usual margin, and none is given.
        """
        margin = None if self.metric is None else self._margin(self.metric)
        return AlternativeRecord(
            name=self.words(),
            metric=self.metric,
            margin=margin.size if margin else None,
            relative=margin.relative if margin else False,
            at=self.at,
            test=self.test,
            paired=self.paired,
            collapsed=self.collapsed,
        )

    def _margin(self, metric: str) -> Margin | None:
        if self.margin is not None:
            return scored(self.margin, metric)
        if METRICS[metric].points:
            return None
        found = usual(metric, set())
        if found is None:
            raise UserError(
                f"alternatives: the metric '{metric}' has no usual margin: give the alternative one"
            )
        return found


class Analysis(Spec):
    """How a study's results are judged; declared before the run and recorded with it."""

    title: ClassVar[str] = "analysis"
    metric: str = "test_accuracy"
    """What claims are about, if they do not say; see `normlab.metrics`."""
    at: At = "last"
    """The epoch whose value counts: the last one, the one with the best validation accuracy (the
    first of equals), that number, or the worst or the mean of so many last ones
    (`worst_of_last_5`, `mean_of_last_5`)."""
    margin: Written | None = None
    """Least difference that matters: points (of 100) for accuracies and F1 scores, else the
    metric's unit, or with its unit: `0.3 points`, `5 %` of a time. Left out: 0.1 points on
    `digits`, `mnist`, `fashion-mnist` and `kmnist`, 0.3 on all else; 5 % of a time."""
    paired: bool = False
    """Arms are compared seed by seed: decided here, never from the data."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Error rate of all claims together."""
    looks: Annotated[tuple[Annotated[int, Field(ge=3)], ...], BeforeValidator(listed)] = (
        5,
        10,
        20,
        30,
    )
    """Seeds an arm at which `--until-settled` looks at the results."""
    spread: Positive | None = None
    """Standard deviation over seeds to plan with before there are results, in the margin's unit."""
    alternatives: Annotated[
        tuple[Alternative, ...], BeforeValidator(listed), Field(max_length=MOST_ALTERNATIVES)
    ] = ()
    """Other ways to analyse the claims: in how many of them a verdict holds is told beside it."""

    _known = field_validator("metric")(check_metric)

    @field_validator("looks")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError("numbers of seeds that rise are allowed, for example [5, 10, 20]")
        return value

    def record(self) -> AnalysisRecord:
        """As the plan keeps it."""
        own = self.model_dump(exclude={"alternatives"})
        records = tuple(one.record() for one in self.alternatives)
        for record in records:
            if [other.name for other in records].count(record.name) > 1:
                raise UserError(f"analysis: two alternatives are the same: {record.name}")
        return AnalysisRecord(**own, alternatives=records)
