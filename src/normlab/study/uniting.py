"""One plan, and one list of looks, of several stores of one study whose trials were shared out.

Machines that share a study by its seeds each have a plan with seeds of their own. The plan of all
of them has every seed. A look at one machine's results is a look while all that the machines
together had declared by then was declared: where every part of the plan was there before anybody
saw a result, no seed was added for what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from normlab.errors import UserError
from normlab.recipe import value_text
from normlab.records.plan import ArmRecord, Claim, ClaimRecord, PlanRecord, TrialRecord
from normlab.store import Look
from normlab.store.portable import Head
from normlab.wording import counted


def united(one: Head, other: Head) -> Head:
    """The head of two stores of one study.

    Plans of two variants of it (other `--set` values, `--quick`) are not made one: the first stays.

    Args:
        one: The first; figures, notes and published numbers are its own.
        other: Of another store.

    Raises:
        UserError: They are of different studies, or have declared different things; the message
            says which.
    """
    check_study(one.plan, other.plan)
    same = is_variant_of(one.plan, other.plan)
    plan = _united_plan(one.plan, other.plan) if same else one.plan
    heads = [one, other] if same else [one]
    whole = [head.since for head in heads if {*head.plan.seeds} == {*plan.seeds}]
    # Seeds that neither had alone were declared when the later one declared its own.
    since = min(whole) if whole else max(one.since, other.since)
    declared = [*one.declared, *([] if plan == one.plan else [(since, frozenset(plan.seeds))])]
    looks = _united_looks(one, other) if same else _all_looks(one.looks, other.looks)
    return Head(plan, since, declared, looks)


def check_study(one: PlanRecord, other: PlanRecord) -> None:
    """Refuse plans of two studies.

    Raises:
        UserError: Name, question or analysis differ.
    """
    if one.name != other.name:
        raise UserError(
            f"these are the trials of two studies, {one.name} and {other.name}: a study takes over "
            "what it can use of another one's trials when it runs, if both folders lie in one "
            "--runs folder"
        )
    for name in ("question", "analysis", "first_seed"):
        if getattr(one, name) != getattr(other, name):
            raise _differ(one, name, *_difference(one, other, name))


def is_variant_of(one: PlanRecord, other: PlanRecord) -> bool:
    """Whether two plans of one study are of the same variant of it."""
    return (one.rehearsal, one.overrides) == (other.rehearsal, other.overrides)


def variant_words(plan: PlanRecord) -> str:
    """Which variant of its study a plan is, in words."""
    parts = ["--quick"] if plan.rehearsal else []
    parts += [f"{key}={value_text(value)}" for key, value in plan.overrides.items()]
    return ", ".join(parts) or "the study as its file has it"


def _difference(one: PlanRecord, other: PlanRecord, name: str) -> tuple[object, object]:
    if name != "analysis":
        return getattr(one, name), getattr(other, name)
    mine, theirs = one.analysis.model_dump(), other.analysis.model_dump()
    key = next(key for key in mine if mine[key] != theirs[key])
    return {key: mine[key]}, {key: theirs[key]}


def _refusal(plan: PlanRecord, why: str) -> UserError:
    return UserError(f"{plan.name}: {why}. Only trials of one and the same study can be joined")


def _differ(plan: PlanRecord, what: str, mine: object, theirs: object) -> UserError:
    texts = f"{value_text(mine)} against {value_text(theirs)}"
    return _refusal(plan, f"the plans differ in {what}: {texts}")


def _united_plan(one: PlanRecord, other: PlanRecord) -> PlanRecord:
    if one.sequential != other.sequential:
        raise _differ(one, "looks", list(one.sequential), list(other.sequential))
    arms = {arm.label: arm for arm in one.arms}
    for arm in other.arms:
        known = arms.get(arm.label)
        arms[arm.label] = arm if known is None else _united_arm(one, known, arm)
    return one.model_copy(
        update={
            "seeds": _in_order(one.seeds, other.seeds),
            "arms": tuple(arms.values()),
            "claims": _united_claims(one, other),
            "factors": tuple(sorted({*one.factors, *other.factors})),
            "varied": one.varied or other.varied,
        }
    )


def _in_order(mine: Sequence[int], theirs: Sequence[int]) -> tuple[int, ...]:
    """Seeds of both; where one has all, as it has them, so that a plan stays as it is."""
    if set(theirs) <= set(mine):
        return tuple(mine)
    return tuple(sorted({*mine, *theirs}))


def _united_arm(plan: PlanRecord, one: ArmRecord, other: ArmRecord) -> ArmRecord:
    if one.recipe != other.recipe:
        keys = {*one.recipe, *other.recipe}
        key = min(key for key in keys if one.recipe.get(key) != other.recipe.get(key))
        mine, theirs = one.recipe.get(key, "its default"), other.recipe.get(key, "its default")
        raise _differ(plan, "recipes", {one.label: {key: mine}}, {one.label: {key: theirs}})
    trials = {(trial.seed, trial.phase, trial.variant): trial for trial in one.trials}
    for trial in other.trials:
        known = trials.setdefault((trial.seed, trial.phase, trial.variant), trial)
        if known.id != trial.id:
            raise _refusal(
                plan,
                f"'{one.label}', seed {trial.seed} is trial {known.id} here and {trial.id} there: "
                "the images or the code of your own differ, or normlab's meaning of a recipe does",
            )
    if len(trials) == len(one.trials):
        return one
    return one.model_copy(update={"trials": tuple(sorted(trials.values(), key=_by_seed))})


def _by_seed(trial: TrialRecord) -> tuple[str, str, int]:
    return trial.phase, trial.variant, trial.seed


def _united_claims(one: PlanRecord, other: PlanRecord) -> tuple[Claim, ...]:
    """Claims of both, which have to be the same ones; one of them may lack the arms of some."""
    theirs = {claim.name: claim for claim in other.claims}
    mine = {claim.name for claim in one.claims}
    if lacking := sorted({*theirs} ^ mine):
        where = "here" if lacking[0] in theirs else "there"
        more = f" (and {counted(len(lacking) - 1, 'claim')} more)" if lacking[1:] else ""
        raise _refusal(
            one, f"the plans differ in claims: '{lacking[0]}' is not declared {where}{more}"
        )
    found: list[Claim] = []
    for claim in one.claims:
        same = theirs[claim.name]
        if (
            isinstance(claim, ClaimRecord)
            and isinstance(same, ClaimRecord)
            and (claim.hash, claim.declared) != (same.hash, same.declared)
        ):
            raise _refusal(
                one, f"the plans differ in claims: '{claim.name}' is another claim there"
            )
        found.append(claim if isinstance(claim, ClaimRecord) else same)
    return tuple(found)


def _united_looks(one: Head, other: Head) -> list[Look]:
    """The looks of both, each with the seeds that both together had declared by then."""
    mine = [_widened(look, other.declared) for look in one.looks]
    return _all_looks(mine, [_widened(look, one.declared) for look in other.looks])


def _all_looks(mine: Iterable[Look], theirs: Iterable[Look]) -> list[Look]:
    """Every look once, by time; of a look that is in both, the one with more seeds."""
    found: dict[object, Look] = {}
    for look in [*mine, *theirs]:
        rest = look.declared.model_copy(update={"seeds": ()})
        key = look.at, rest.model_dump_json(), look.trials
        known = found.setdefault(key, look)
        seeds = _in_order(known.declared.seeds, look.declared.seeds)
        found[key] = _with_seeds(known, seeds)
    return sorted(found.values(), key=lambda look: look.at)


def _widened(look: Look, declared: Sequence[tuple[str, frozenset[int]]]) -> Look:
    """A look with the seeds, too, that another store's plan had declared by then.

    One at which nothing of this study was declared stays so.
    """
    if not look.declared.seeds or not _is_time(look.at):
        return look
    by_then = [seeds for at, seeds in declared if _is_time(at) and at <= look.at]
    if not by_then or by_then[-1] <= set(look.declared.seeds):
        return look
    return _with_seeds(look, _in_order(look.declared.seeds, tuple(by_then[-1])))


def _with_seeds(look: Look, seeds: tuple[int, ...]) -> Look:
    return replace(look, declared=look.declared.model_copy(update={"seeds": seeds}))


def _is_time(text: str) -> bool:
    """Whether it is a time as the store writes it: in UTC, so that texts compare as times do."""
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        return False
    return offset is not None and not offset
