"""A study's plan as it crosses packages: made once per run, stored with it, read by all after it.

The study resolves itself into a `PlanRecord`; the store keeps that as JSON; claims, figures, tables
and reports read its attributes. Nothing has a default here that a study file could state: defaults
stand in the study file's models (`normlab.study.spec`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import zip_longest
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from normlab.metrics import METRICS
from normlab.recipe import digest

PLAN_VERSION = 2
"""Of the stored form; plans of normlab 0.1 have no version and are read as 1."""

Levels: TypeAlias = dict[str, object]
"""Recipe keys (dotted where they go into a component) and their values, as plain data."""

Claim: TypeAlias = "ClaimRecord | UnresolvedClaim"


class Record(BaseModel):
    """Frozen plain data; keys that this version does not know are left out when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TrialRecord(Record):
    """One training of an arm.

    Attributes:
        seed: Of all its random streams.
        id: See `normlab.recipe.trial_id`.
        phase: `final` trials are judged; `tuning` ones choose among an arm's variants.
        variant: Which of several recipes of the arm it trains; empty for the arm's own.
    """

    seed: int
    id: str
    phase: Literal["tuning", "final"] = "final"
    variant: str = ""


class ArmRecord(Record):
    """A recipe as one cell of a study.

    Attributes:
        label: Short name, different from every other arm's.
        levels: The factors' values that make this arm.
        recipe: The whole recipe, canonical; empty for trials run elsewhere.
        trials: Every planned training; arms may have different seeds.
        epochs: Of a whole training. This and what follows is None where no model was built.
        parameters: Trainable values of its model.
        layers: Layers with weights on the longest way through it.
        classes: Of its data.
        class_names: Of data of the user's own, whose code only a run may run; empty for others.
        test_images: Of its data, where no trial tells them.
        notes: Where the model gets something other than the recipe wants.
        code: Hashes of the own code that is part of the trials' ids, by module or file.
    """

    label: str
    levels: Levels = {}
    recipe: Levels = {}
    trials: tuple[TrialRecord, ...] = ()
    epochs: int | None = None
    parameters: int | None = None
    layers: int | None = None
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    test_images: int | None = None
    notes: tuple[str, ...] = ()
    code: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _trials_by_seed(cls, data: object) -> object:
        """Version 1 maps seeds to ids."""
        trials = data.get("trials") if isinstance(data, Mapping) else None
        if isinstance(data, Mapping) and isinstance(trials, Mapping):
            return {**data, "trials": [{"seed": s, "id": i} for s, i in trials.items()]}
        return data


USUAL_MARGIN = 0.003
"""Of accuracies and F1 scores where a claim's own is of a loss or a time: 0.3 points."""


class AlternativeRecord(Record):
    """Another way to analyse a study's claims; what is None is as the claim has it.

    Attributes:
        name: What it changes, in words.
        metric: What is judged.
        margin: Of that metric, in the scores' own unit.
        relative: Whether the margin is a fraction of the other side's mean.
        at: The epoch that counts.
        test: `t` or `permutation`.
        paired: Whether arms are compared seed by seed.
        collapsed: Whether trials that collapsed or diverged count.
    """

    name: str
    metric: str | None = None
    margin: float | None = None
    relative: bool = False
    at: int | str | None = None
    test: Literal["t", "permutation"] | None = None
    paired: bool | None = None
    collapsed: bool = True


class AnalysisRecord(Record):
    """How the study's results are judged; see `normlab.study.spec.Study.analysis`.

    Attributes:
        metric: What is judged.
        at: The epoch that counts.
        margin: The smallest difference that matters, as the study file has it.
        paired: Whether arms are compared seed by seed.
        alpha: Error rate over all claims together.
        looks: Seeds per arm at which claims are judged, where seeds are added.
        spread: Standard deviation over seeds that is planned with before there are results.
        alternatives: Other ways to analyse the claims.
    """

    metric: str
    at: int | str
    margin: float | str | None
    paired: bool
    alpha: float
    looks: tuple[int, ...]
    spread: float | None
    alternatives: tuple[AlternativeRecord, ...] = ()


class TimeRecord(Record):
    """Training time until an accuracy is reached: what a claim or a figure measures.

    Attributes:
        target: Accuracy, a fraction of 1.
        split: Whose accuracy.
        clock: Seconds of training, or images seen.
        hold: Evaluations in a row that must reach it.
    """

    target: float
    split: Literal["validation", "train"]
    clock: Literal["seconds", "examples"]
    hold: int


class CellRecord(Record):
    """A claim's sides within one cell of other factors.

    Attributes:
        cell: Which one, in words.
        sides: Labels of the arms of each side there.
    """

    cell: str
    sides: tuple[tuple[str, ...], ...]


class ClaimRecord(Record):
    """A claim with its arms by label and its margin in the scores' own unit.

    Attributes:
        name: Different from every other claim's.
        kind: Of `normlab.stats.claims.CLAIMS`.
        says: The source's sentence.
        source: Where it is said.
        published: Published values by arm.
        confound: What else differs between the arms in the source.
        metric: What is judged; None where that is a time.
        at: The epoch that counts.
        time: What is judged where it is a time.
        margin: Fractions of 1 for what is shown in points; of a time a fraction of it.
        relative: Whether the margin is a fraction of the other side's mean.
        paired: Whether arms are compared seed by seed; None as the analysis says.
        test: `t` or `permutation`.
        sides: Labels of the arms of each side, in the order of the kind.
        levels: Of the factor that the claim is about, one for each side; empty if none are numbers.
        options: The kind's own keys.
        cells: Its sides in each cell of other factors, where in how many the means agree is told.
        declared: The release in which it was declared after results had been seen; None where
            it was declared before.
        hash: Of everything that decides the verdict; words are left out.
    """

    name: str
    kind: str
    says: str | None
    source: str | None
    published: dict[str, float | str]
    confound: str | None
    metric: str | None
    at: int | str
    time: TimeRecord | None = None
    margin: float
    relative: bool = False
    paired: bool | None = None
    test: Literal["t", "permutation"]
    sides: tuple[tuple[str, ...], ...]
    levels: tuple[int | float, ...] = ()
    options: Levels = {}
    cells: tuple[CellRecord, ...] = ()
    declared: str | None = None
    hash: str = ""

    @model_validator(mode="before")
    @classmethod
    def _flat_keys(cls, data: object) -> object:
        """Version 1 has the keys of a time, and those of the kind, beside the others."""
        if not isinstance(data, Mapping):
            return data
        found = dict(data)
        if "clock" in found and found.get("time") is None:
            found["time"] = {key: found.get(key) for key in TimeRecord.model_fields}
        if "contrast" in found:
            levels = found.get("levels") or (0,)
            direction = "falls" if levels[0] > levels[-1] else "rises"
            own = {"contrast": found["contrast"], "direction": direction}
            found["options"] = {**own, **found.get("options", {})}
        return found

    @model_validator(mode="after")
    def _score_or_time(self) -> Self:
        if (self.metric is None) == (self.time is None):
            raise ValueError("either a metric or a time is judged")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """Labels of all arms that the claim speaks of, each once."""
        return tuple(dict.fromkeys(label for side in self.sides for label in side))

    def under(self, other: AlternativeRecord) -> Self | None:
        """This claim under another analysis; None where it cannot have that.

        A claim about time has no metric, epoch or pairs, and the value of `at_least` is one of its
        own metric.
        """
        keys = ("metric", "at", *(("test", "paired") if len(self.arms) > 1 else ()))
        wanted = {key: getattr(other, key) for key in keys if getattr(other, key) is not None}
        if self.metric is None:
            return None if wanted else self
        if other.metric not in (None, self.metric):
            if self.kind == "at_least":
                return None
            if other.margin is not None:
                wanted |= {"margin": other.margin, "relative": other.relative}
            elif not METRICS[self.metric].points:
                wanted |= {"margin": USUAL_MARGIN, "relative": False}
        return self.model_copy(update=wanted)

    def decisive(self) -> str:
        """The hash of what decides the verdict; in the form of version 1, to stay comparable."""
        time = self.time.model_dump() if self.time else {}
        contrast = self.options.get("contrast")
        parts = {
            "kind": self.kind,
            "metric": self.metric,
            "at": self.at,
            "margin": self.margin,
            "test": self.test,
            "sides": [list(side) for side in self.sides],
            "levels": list(self.levels),
            "contrast": contrast,
            **{key: time.get(key) for key in TimeRecord.model_fields},
            # A trend's direction is in the signs of its levels, or in the order of its sides.
            **{k: v for k, v in self.options.items() if k not in ("contrast", "direction")},
            **({"relative": True} if self.relative else {}),
            **({} if self.paired is None else {"paired": self.paired}),
        }
        return digest(parts)[:12]


class UnresolvedClaim(Record):
    """A claim about arms that this variant of the study does not have.

    Attributes:
        name: Different from every other claim's.
        kind: Of `normlab.stats.claims.CLAIMS`.
        says: The source's sentence.
        unresolved: Why the variant lacks it.
    """

    name: str
    kind: str
    says: str | None = None
    unresolved: str


class FigureRecord(Record):
    """A figure with its arms by label.

    Attributes:
        name: Its place in the page and its file's name, different from every other figure's.
        kind: Of `normlab.figures.FIGURES`.
        heading: Above it; None for that of its kind.
        source: What it is in the source: "Figure 8 of source A".
        caption: What the study's author says below it.
        options: The kind's own keys, with arms by label and with every default filled in.
        unresolved: Why this variant of the study lacks it, or None.
    """

    name: str
    kind: str
    heading: str | None = None
    source: str | None = None
    caption: str | None = None
    options: Levels = {}
    unresolved: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _flat_options(cls, data: object) -> object:
        """Version 1 has the kind's keys beside the others."""
        if not isinstance(data, Mapping) or "options" in data:
            return data
        own = {key: value for key, value in data.items() if key not in cls.model_fields}
        return {**data, "options": own}


class PublishedRecord(Record):
    """Numbers that the source printed for some arms; accuracies in percent.

    Attributes:
        arms: Their labels.
        run: What tells this row from others of the same arms.
        values: Metric or column of the source -> its value in our unit, or words.
        printed: What was printed of the values that are shown in another unit.
        divided_by: By what the source divided those.
        at: The epoch that the source took; None for the study's own.
        split: Whose accuracy a time is until; None where the source does not tell.
        source: Where it is printed.
        note: What a reader of it must know.
    """

    arms: tuple[str, ...]
    run: str | None = None
    values: dict[str, float | str]
    printed: dict[str, float] = {}
    divided_by: dict[str, float] = {}
    at: int | str | None = None
    split: Literal["validation", "train"] | None = None
    source: str | None = None
    note: str | None = None

    def is_beside(self, at: int | str) -> bool:
        """Whether its numbers may stand beside those at an epoch: a numbered one has its own."""
        numbered = isinstance(at, int) or isinstance(self.at, int)
        return self.at is None or self.at == at or not numbered


class Declaration(Record):
    """What a plan declares of its claims: what a look at results is remembered with.

    All are None, or empty, for results of another study, where nothing of this one was declared.
    """

    claims: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    sequential: tuple[int, ...] = ()
    alpha: float | None = None
    paired: bool | None = None


class PlanRecord(Record):
    """The plan of a run.

    Attributes:
        version: Of the stored form.
        name: The study's; also its folder's.
        question: What it asks.
        seeds: Of every arm; an arm's trials may have others.
        first_seed: Seeds below it had been seen when claims that are `declared` were stated.
        bundled: Whether the study came with normlab, whose release declared its claims.
        sequential: Looks at which seeds are added, as seeds per arm; empty for a fixed number.
        analysis: How results are judged.
        arms: In the plan's order.
        claims: As the study file has them.
        figures: See `claims`.
        published: See `claims`.
        published_notes: What a reader of all published numbers must know.
        factors: Recipe keys that vary.
        overrides: Recipe values that hold in every arm of this variant.
        rehearsal: Whether it is the quick variant, which answers nothing.
        varied: Whether it is any variant of the study file.
        file: The study file, by the way from the run folder to it; see `normlab.study.owner`.
    """

    version: int = PLAN_VERSION
    name: str
    question: str
    seeds: tuple[int, ...]
    first_seed: int = 0
    bundled: bool = False
    sequential: tuple[int, ...] = ()
    analysis: AnalysisRecord
    arms: tuple[ArmRecord, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[FigureRecord, ...] = ()
    published: tuple[PublishedRecord, ...] = ()
    published_notes: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    overrides: Levels = {}
    rehearsal: bool = False
    varied: bool = False
    file: str | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.labels)) < len(self.arms):
            raise ValueError("two arms have one label")
        ids = [trial.id for arm in self.arms for trial in arm.trials]
        if len(set(ids)) < len(ids):
            raise ValueError("two trials have one id")
        for arm in self.arms:
            if len({(t.seed, t.phase, t.variant) for t in arm.trials}) < len(arm.trials):
                raise ValueError(f"two trials of the arm '{arm.label}' have one seed")
        return self

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """A plan with other values; what was computed from the old ones is not taken along."""
        made = super().model_copy(update=update, deep=deep)
        for name, value in vars(PlanRecord).items():
            if isinstance(value, cached_property):
                made.__dict__.pop(name, None)
        return made

    @property
    def labels(self) -> tuple[str, ...]:
        """Of all arms."""
        return tuple(arm.label for arm in self.arms)

    @cached_property
    def arm(self) -> dict[str, ArmRecord]:
        """Every arm by its label."""
        return {arm.label: arm for arm in self.arms}

    @cached_property
    def levels(self) -> dict[str, tuple[object, ...]]:
        """The different levels of every factor, in the order of the arms."""
        found: dict[str, list[object]] = {}
        for arm in self.arms:
            for key, level in arm.levels.items():
                if level not in (known := found.setdefault(key, [])):
                    known.append(level)
        return {key: tuple(known) for key, known in found.items()}

    @cached_property
    def judged(self) -> tuple[ClaimRecord, ...]:
        """The claims that this variant has arms for: one family."""
        return tuple(claim for claim in self.claims if isinstance(claim, ClaimRecord))

    def in_pairs(self, claim: ClaimRecord) -> bool:
        """Whether a claim's arms are compared seed by seed."""
        if claim.time is not None:
            return False
        return self.analysis.paired if claim.paired is None else claim.paired

    @cached_property
    def trials(self) -> dict[str, tuple[ArmRecord, TrialRecord]]:
        """Every trial with its arm, by id, arm by arm."""
        return {trial.id: (arm, trial) for arm in self.arms for trial in arm.trials}

    @cached_property
    def names(self) -> dict[str, str]:
        """Arm and seed of every trial in words, by id."""
        return {i: f"{arm.label}, seed {trial.seed}" for i, (arm, trial) in self.trials.items()}

    def by_seed(self) -> Iterator[tuple[ArmRecord, TrialRecord]]:
        """Every trial with its arm: the first seed of all arms, then the second."""
        for trials in zip_longest(*(arm.trials for arm in self.arms)):
            for arm, trial in zip(self.arms, trials, strict=True):
                if trial is not None:
                    yield arm, trial

    @property
    def declaration(self) -> Declaration:
        """What is declared of the claims."""
        return Declaration(
            claims=tuple(sorted(claim.hash for claim in self.judged)),
            seeds=self.seeds,
            sequential=self.sequential,
            alpha=self.analysis.alpha,
            paired=self.analysis.paired,
        )

    @property
    def declared(self) -> str:
        """A hash of the declaration: equal for plans that promise the same."""
        return digest(self.declaration.model_dump(mode="json"))[:12]

    def to_json(self) -> str:
        """As the store keeps it."""
        # ASCII: a path of the user's may hold bytes that are no text.
        return json.dumps(self.model_dump())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A stored plan, of this version or an older one.

        Raises:
            ValueError: It is none; a `pydantic.ValidationError` says where.
        """
        return cls.from_data(json.loads(text))

    @classmethod
    def from_data(cls, data: object) -> Self:
        """A plan from parsed JSON; see `from_json`."""
        if isinstance(data, Mapping) and "version" not in data:
            data = {**_BEFORE_CLAIMS, **data}
        return cls.model_validate(data)


_BEFORE_CLAIMS = {
    "analysis": {
        "metric": "test_accuracy",
        "at": "last",
        "margin": None,
        "paired": False,
        "alpha": 0.05,
        "looks": (5, 10, 20, 30),
        "spread": None,
    }
}
"""What the first plans, which had no claims, were shown with."""
