"""Plans made by hand, for frames and stores made by hand."""

from collections.abc import Iterable, Mapping

from normlab.records.plan import PlanRecord
from normlab.study.analysis import Analysis


def plan_of(arms: Iterable[str | Mapping[str, object]] = (), **values: object) -> PlanRecord:
    """A plan with these arms (labels, or what a record has) and nothing else but what is given."""
    analysis = {**Analysis().model_dump(), **values.pop("analysis", {})}  # type: ignore[dict-item]
    return PlanRecord.from_data(
        {
            "version": 2,
            "name": "s",
            "question": "?",
            "seeds": [0],
            "arms": [{"label": arm} if isinstance(arm, str) else arm for arm in arms],
            "analysis": analysis,
            **values,
        }
    )
