"""From a study to its plan's record: arms, claims and figures by label; no model, no data.

This is the one place where claims and figures meet the arms. Everything after it reads the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from normlab.arms import Arms
from normlab.errors import UserError
from normlab.figures.figure import Context, Figure
from normlab.records.plan import (
    AnalysisRecord,
    ArmRecord,
    Claim,
    ClaimRecord,
    FigureRecord,
    PlanRecord,
    UnresolvedClaim,
)
from normlab.stats.claims import MeanClaim, Rules, claim_from
from normlab.stats.claims.evidence import check_test
from normlab.study.cells import Cell, cells, levels_of
from normlab.study.spec import Study


def outline(study: Study, grid: Sequence[Cell] | None = None) -> PlanRecord:
    """The plan's record without what models and data tell: arms have no recipe and no trials.

    Args:
        study: To resolve.
        grid: Its cells, where they are known.

    Raises:
        UserError: A claim or a figure is about arms that are not there.
    """
    levels = {cell.label: cell.levels for cell in (cells(study) if grid is None else grid)}
    arms = Arms(levels, strict=not study.varied, fixed=_fixed(study, levels))
    analysis = study.analysis.record()
    claims = _claims(study, analysis, arms)
    names = [claim.name for claim in claims]
    published = tuple(study.published.records(arms))
    return PlanRecord(
        name=study.name,
        question=study.question,
        seeds=study.seeds,
        first_seed=study.first_seed,
        bundled=study.bundled,
        sequential=study.sequential,
        analysis=analysis,
        arms=tuple(ArmRecord(label=label, levels=dict(of)) for label, of in levels.items()),
        claims=claims,
        figures=_figures(study, Context(arms, analysis, names, study.seeds)),
        published=published,
        published_notes=study.published.notes(len(published)),
        factors=tuple(sorted({key for of in levels.values() for key in of})),
        overrides=study.overrides,
        rehearsal=study.rehearsal,
        varied=study.varied,
    )


def _fixed(study: Study, levels: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """What `--set` fixed of the factors, of the grid or of arms written out."""
    varied = {*study.factors, *(key for arm in study.arms for key in arm.set)}
    there = {key for of in levels.values() for key in of}
    return {key: v for key, v in study.overrides.items() if key in varied and key not in there}


def _claims(study: Study, analysis: AnalysisRecord, arms: Arms) -> tuple[Claim, ...]:
    """Every claim; those about arms that a variant lacks say why they are unresolved."""
    given = [claim.name for claim in study.claims if claim.name]
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"claims: two of them have the name '{name}'")
    data = _data(study)
    records: list[Claim] = []
    for number, keys in enumerate(study.claims, start=1):
        found: Claim
        try:
            found = keys.record(analysis, arms, data)
            _check(found, analysis, arms)
            _check_declared(found, study)
        except UserError as error:
            if arms.strict:
                raise UserError(f"claim {keys.name or number}: {error}") from None
            found = UnresolvedClaim(
                name=keys.heading(),
                kind=keys.kind,
                says=keys.says,
                unresolved=str(error),
            )
        if not keys.name:
            name = _apart(found.name, [*given, *(record.name for record in records)])
            found = found.model_copy(update={"name": name})
        records.append(found)
    return tuple(records)


def _check(claim: ClaimRecord, analysis: AnalysisRecord, arms: Arms) -> None:
    """Refuse what its kind or its test cannot judge: a hump of two levels, say."""
    made = claim_from(claim, tuple(arms))
    if isinstance(made, MeanClaim):
        weights = made.contrasts(len(arms.levels))
        paired = analysis.paired if claim.paired is None else claim.paired  # the plan is not made
        check_test(made.kind, made.test, weights, Rules(paired=paired, relative=claim.relative))


def _check_declared(claim: ClaimRecord, study: Study) -> None:
    """Refuse a claim stated after results had been seen in a study that has no fresh seeds."""
    if claim.declared and not study.first_seed:
        raise UserError(
            f"declared is '{claim.declared}', after results had been seen: give the study a "
            "first_seed that nobody had seen, or leave 'declared' out"
        )


def _apart(name: str, others: Sequence[str]) -> str:
    """A made name, with a number where another claim has it: of another metric, say."""
    number, found = 1, name
    while found in others:
        number += 1
        found = f"{name} ({number})"
    return found


def _figures(study: Study, context: Context) -> tuple[FigureRecord, ...]:
    """Every figure; those of arms that a variant lacks say why they are unresolved."""
    records = []
    for name, figure in zip(_names(study.figures), study.figures, strict=True):
        try:
            record = figure.resolved(context).record(name)
        except UserError as error:
            if context.arms.strict:
                raise UserError(f"figure {name}: {error}") from None
            record = figure.record(name).model_copy(update={"unresolved": str(error)})
        records.append(record)
    return tuple(records)


def _names(figures: Sequence[Figure]) -> list[str]:
    """The names given, and for the others their kind, with a number from the second on."""
    given = [figure.name for figure in figures if figure.name]
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"figures: two of them have the name '{name}'")
    found: list[str] = []
    for figure in figures:
        kind, number = figure.kind.replace("_", "-"), 1
        name = figure.name or kind
        while not figure.name and (name in given or name in found):
            number += 1
            name = f"{kind}-{number}"
        found.append(name)
    return found


def _data(study: Study) -> set[str]:
    """Kinds of the data sets that the study's arms use."""
    values = [
        study.base.get("data"),
        study.overrides.get("data"),
        *levels_of(study).get("data", []),
    ]
    values += [arm.set.get("data") for arm in study.arms]
    kinds = (value.get("kind") if isinstance(value, Mapping) else value for value in values)
    return {str(kind) for kind in kinds if kind}
