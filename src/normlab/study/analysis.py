"""How a study's results are judged and what it claims."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator

from normlab.recipe.component import Spec, chosen_from, listed
from normlab.records.plan import AnalysisRecord
from normlab.stats.claims import CLAIMS
from normlab.stats.claims.keys import At, ClaimKeys, Positive, Written, check_metric

ClaimSpec = Annotated[
    SerializeAsAny[ClaimKeys],
    BeforeValidator(chosen_from({kind: claim.Keys for kind, claim in CLAIMS.items()})),
]
"""A claim as a study file has it, by its kind."""


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

    _known = field_validator("metric")(check_metric)

    @field_validator("looks")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError("numbers of seeds that rise are allowed, for example [5, 10, 20]")
        return value

    def record(self) -> AnalysisRecord:
        """As the plan keeps it."""
        return AnalysisRecord(**self.model_dump())
