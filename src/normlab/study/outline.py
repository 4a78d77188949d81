"""What of a study's plan needs no model and no data: its arms by label, its claims, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.study.cells import cells
from normlab.study.resolve import resolve_claims, resolve_published
from normlab.study.resolve_figures import resolve_figures
from normlab.study.spec import Study


def outline(study: Study) -> dict[str, Any]:
    """The part of a plan's record that claims are judged by and figures drawn from.

    Raises:
        UserError: A claim or a figure is about arms that are not there.
    """
    arms = {label: levels for label, levels, _ in cells(study)}
    strict = not study.varied
    claims = resolve_claims(study.claims, study.analysis, arms, data=_data(study), strict=strict)
    return {
        "name": study.name,
        "question": study.question,
        "seeds": list(study.seeds),
        "sequential": list(study.sequential),
        "analysis": study.analysis.model_dump(mode="json"),
        "claims": claims,
        "published": resolve_published(study.published, arms, strict=strict),
        "figures": resolve_figures(
            study.figures,
            study.analysis,
            arms,
            claims=[claim["name"] for claim in claims],
            seeds=study.seeds,
            strict=strict,
        ),
        "arms": [{"label": label, "levels": dict(levels)} for label, levels in arms.items()],
    }


def declared(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan's record declares of its claims: what a look at results is remembered with."""
    analysis = record.get("analysis", {})
    return {
        "claims": sorted(claim["hash"] for claim in record.get("claims", []) if "hash" in claim),
        "seeds": list(record.get("seeds", [])),
        "sequential": list(record.get("sequential", [])),
        "alpha": analysis.get("alpha"),
        "paired": analysis.get("paired"),
    }


def _data(study: Study) -> set[str]:
    """Kinds of the data sets that the study's arms use."""
    values = [study.base.get("data"), study.overrides.get("data"), *study.factors.get("data", [])]
    values += [arm.set.get("data") for arm in study.arms]
    kinds = (value.get("kind") if isinstance(value, dict) else value for value in values)
    return {str(kind) for kind in kinds if kind}
