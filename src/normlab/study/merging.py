"""Joining the stores of machines that share no disk, and files of trials that carry them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TypedDict

from normlab.errors import UserError, listing, unknown
from normlab.records import FINISHED
from normlab.records.plan import PlanRecord
from normlab.store import DATABASE, NoRunsError, Store
from normlab.store.joining import FolderOrigin, Joined, export, folder_origin, head_of, join, origin
from normlab.store.paths import ARTIFACTS
from normlab.store.plans import as_written
from normlab.store.portable import Head, TrialsFile, portable
from normlab.study.spec import as_name
from normlab.study.uniting import is_variant_of, united, variant_words
from normlab.wording import counted


class ConflictingTrial(TypedDict):
    """A trial that another store has with other numbers.

    Its `arm` is empty where the plan has none for it. `differs` says in words in what; `here` and
    `there` are the places where the two versions were trained, and `kept` is the file that holds
    the other one.
    """

    arm: str
    seed: int
    id: str
    source: str
    differs: list[str]
    here: list[Mapping[str, object]]
    there: list[Mapping[str, object]]
    kept: str


class RefusedTrial(TypedDict):
    """A trial that was not taken, for the `reason` that what is stored of it is damaged."""

    arm: str
    seed: object
    id: str
    source: str
    reason: str


@dataclass(frozen=True, repr=False)
class Merged:
    """What came of joining stores.

    Attributes:
        folder: The study's folder that has the trials now.
        name: The study's name.
        taken: How many trials it had not before, by the folder or file that they came from.
        known: How many of the others' trials were there already, with the same numbers.
        filled: How many of these were there without weights or predictions, and have them now.
        unfinished: How many planned trials of the others are finished neither there nor here.
        conflicts: One mapping per trial that has other numbers elsewhere: `arm`, `seed`, `id`,
            `source`, `differs`, `here`, `there`, `kept`. What the folder had stays, and the other
            version is in the file `kept`.
        refused: One mapping per trial that is not as a run leaves it: `arm`, `seed`, `id`,
            `source`, `reason`.
        notes: What a reader must know besides: a sentence each, without its full stop.
    """

    folder: Path
    name: str
    taken: dict[str, int] = field(default_factory=dict)
    known: int = 0
    filled: int = 0
    unfinished: int = 0
    conflicts: list[ConflictingTrial] = field(default_factory=list)
    refused: list[RefusedTrial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def joined(self) -> bool:
        """Whether every finished trial of the others is there now, with the same numbers."""
        return not self.conflicts and not self.refused

    def __repr__(self) -> str:
        return f"<Merged: {self}>"

    def __str__(self) -> str:
        parts = [
            f"{counted(sum(self.taken.values()), 'trial')} joined",
            f"{self.known} there already",
            *([f"{counted(self.filled, 'trial')} with files now"] if self.filled else []),
            *([counted(len(self.conflicts), "conflict")] if self.conflicts else []),
            *([f"{len(self.refused)} refused"] if self.refused else []),
        ]
        return f"{self.folder}: {', '.join(parts)}"


def merge(others: Sequence[Path], into: Path) -> Merged:
    """Join the finished trials of other stores into a study's folder; see `normlab.merge`.

    Raises:
        UserError: One of the others cannot be joined; nothing was changed then.
    """
    if not others:
        raise UserError("name at least one run folder or file of trials to join")
    with ExitStack() as stack:
        origins = [stack.enter_context(origin(path)) for path in others]
        return _merge(origins, into)


def import_trials(file: Path, into: Path | None, runs: Path) -> Merged:
    """Join the trials of a file; see `normlab.import_trials`.

    Raises:
        UserError: It is no such file; nothing was changed then.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder: `normlab merge` joins folders")
    with origin(file) as source:
        if into is None:
            into = runs / _folder_name(source.head.plan.name, file)
        return _merge([source], into)


def _folder_name(name: str, file: Path) -> str:
    """A study's name as that of its folder; whoever wrote the file wrote the name."""
    try:
        as_name(name)
    except ValueError:
        raise UserError(
            f"{file}: its study's name, '{name}', is no folder's: choose one with --into"
        ) from None
    return name


def _merge(origins: Sequence[FolderOrigin | TrialsFile], into: Path) -> Merged:
    for source in origins:
        _check_apart(source.path, into)
    heads = [portable(source.head) for source in origins]
    if not Store.is_made(into):
        _check_free(into)
        reduce(united, heads)  # a mistake makes no folder
    with Store.write(into) as store, as_written(into), store.at_once():
        before = _head(store)
        after = reduce(united, heads if before is None else [before, *heads])
        found = [(source, join(store, source)) for source in origins]
        plan = _held(store, after.plan)
        if before is None or plan != before.plan:
            store.put_plan(plan, after.since)
        if before is None or list(after.looks) != list(before.looks):
            store.put_looks(after.looks)
        states = store.states({i for _, joined in found for i in joined.unfinished})
        left = sum(state not in FINISHED for state in states.values())
        return _told(into, plan, found, left)


def _head(store: Store) -> Head | None:
    """What the folder says of the study; None of a folder in which nothing was run yet."""
    try:
        return head_of(store)
    except NoRunsError:
        return None


def _held(store: Store, plan: PlanRecord) -> PlanRecord:
    """The plan without trials that the store does not know: no file tells what they are."""
    known = store.states(plan.trials)
    if len(known) == len(plan.trials):
        return plan
    arms = (
        arm.model_copy(update={"trials": tuple(t for t in arm.trials if t.id in known)})
        for arm in plan.arms
    )
    return plan.model_copy(update={"arms": tuple(arms)})


def _check_apart(other: Path, into: Path) -> None:
    try:
        same = other.is_dir() and into.is_dir() and other.samefile(into)
    except OSError:
        same = False
    if same:
        raise UserError(f"{other} and {into} are one folder: there is nothing to join")


def _check_free(into: Path) -> None:
    """Refuse a folder without a store that holds something else: `runs` itself, say."""
    if (into / DATABASE).exists() or not into.is_dir():
        return
    try:
        held = sorted(path.name for path in into.iterdir())
    except OSError as error:
        raise UserError(f"{into} cannot be read: {error.strerror}") from None
    if held:
        raise UserError(
            f"{into} is no study's run folder: it has no {DATABASE}, and it has {held[0]}. Name "
            "the folder of one study, such as runs/digits-norms, or a new one"
        )


def _told(
    into: Path,
    plan: PlanRecord,
    found: Sequence[tuple[FolderOrigin | TrialsFile, Joined]],
    unfinished: int,
) -> Merged:
    """What was joined, with arms by label."""
    taken: Counter[str] = Counter()
    conflicts: list[ConflictingTrial] = []
    refused: list[RefusedTrial] = []
    notes: list[str] = []
    for source, joined in found:
        name = str(source.path)
        if joined.taken:
            taken[name] += len(joined.taken)
        conflicts.extend(
            {
                "arm": _arm(one.id, plan, source.head.plan),
                "seed": one.seed,
                "id": one.id,
                "source": name,
                "differs": list(one.differs),
                "here": list(one.here),
                "there": list(one.there),
                "kept": str(joined.kept),
            }
            for one in joined.differing
        )
        refused.extend(
            {
                "arm": _arm(one.id, plan, source.head.plan),
                "seed": one.seed,
                "id": one.id,
                "source": name,
                "reason": one.reason,
            }
            for one in joined.refused
        )
        if joined.bare:
            notes.append(
                f"{counted(joined.bare, 'trial')} of {name} came without weights or predictions: "
                "these files are not there"
            )
        if not is_variant_of(plan, source.head.plan):
            notes.append(
                f"{name} is of another variant of the study ({variant_words(source.head.plan)}): "
                f"its trials are kept, and `normlab run {plan.name}` shows those that are in its "
                "plan"
            )
        elif outside := sum(i not in plan.trials for i in joined.taken):
            notes.append(
                f"{counted(outside, 'trial')} of {name} are in no plan here: `normlab run "
                f"{plan.name}` shows those that are in its plan"
            )
    return Merged(
        into,
        plan.name,
        taken=dict(taken),
        known=sum(joined.known for _, joined in found),
        filled=sum(joined.filled for _, joined in found),
        unfinished=unfinished,
        conflicts=conflicts,
        refused=refused,
        notes=notes,
    )


def _arm(trial_id: str, *plans: PlanRecord) -> str:
    """The label of a trial's arm, by the first of the plans that has it."""
    for plan in plans:
        if trial_id in plan.trials:
            return plan.trials[trial_id][0].label
    return ""


def only_study(runs: Path) -> str:
    """The name of the only study that has runs in a folder.

    Raises:
        UserError: None or several have.
    """
    names = sorted(path.parent.name for path in runs.glob(f"*/{DATABASE}"))
    if len(names) != 1:
        which = f"{listing(names)} have runs" if names else "no study has runs"
        raise UserError(f"{which} in {runs}: name the one to export, `export-trials FILE STUDY`")
    return names[0]


def export_trials(
    folder: Path,
    file: Path,
    *,
    arms: Iterable[str] = (),
    seeds: Iterable[int] = (),
    weights: bool = False,
    predictions: bool = False,
) -> int:
    """Write finished trials of a study's folder to one file; how many. See `normlab.export_trials`.

    Raises:
        UserError: It was never run there, it has no such arm or seed, or the file cannot be
            written.
    """
    wanted = {"weights": weights, "predictions": weights or predictions}
    kinds = [kind for kind in ARTIFACTS if wanted[kind]]
    with as_written(folder), folder_origin(folder) as source:
        only = _chosen(source.head.plan, list(arms), list(seeds))
        return export(source, file, only=only, kinds=kinds)


def _chosen(plan: PlanRecord, arms: Sequence[str], seeds: Sequence[int]) -> set[str] | None:
    """Ids of the planned trials of these arms and seeds; None where none are named."""
    if not arms and not seeds:
        return None
    for arm in arms:
        if arm not in plan.labels:
            raise UserError(f"{plan.name}: {unknown('arm', arm, plan.labels)}")
    there = {trial.seed for _, trial in plan.trials.values()}
    for seed in seeds:
        if seed not in there:
            raise UserError(f"{plan.name} has no seed {seed}")
    return {
        trial_id
        for trial_id, (arm, trial) in plan.trials.items()
        if (not arms or arm.label in arms) and (not seeds or trial.seed in seeds)
    }
