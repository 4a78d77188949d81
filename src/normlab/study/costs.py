"""What a study costs before it is trained: operations, memory and hours of every arm.

Operations and memory come from the models, followed without values (`normlab.train.footprint`).
Speeds come from stored trials of this machine, else from a probe of a few seconds, which speaks for
the arms that it could not time: theirs are scaled by their operations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from normlab.norms import MomentNorm
from normlab.places import Place
from normlab.recipe import Recipe
from normlab.study.engines import resolve_device, worker_count
from normlab.study.engines.provenance import chip_name
from normlab.study.groups import ArmUnits, arm_units, form_of, gain
from normlab.study.model_look import model_parts
from normlab.study.plan import Arm, Plan
from normlab.study.probing import Probed, Subject, Told, nearest, probe, scaled, traits
from normlab.study.stored import claim_plans, frames_of_plan
from normlab.train.cost import free_memory, resident_memory
from normlab.train.evaluation import BATCH
from normlab.train.footprint import Scoring, Step, copies, follow_scoring, follow_step, remembered
from normlab.train.speed import Load, Speed
from normlab.wording import hours_text

if TYPE_CHECKING:
    import pandas as pd

    from normlab.frames import Frames
    from normlab.frames.hours import StoredSpeed

PROBE_SECONDS = 10.0
"""What a probe may take, about; see `normlab.study.probing`."""

Source = Literal["stored", "probe", "scaled", "elsewhere"]
"""Where a speed is from: stored trials of this machine, a probe of the arm, another arm's speed,
stored trials of another machine."""

_LOOPS = 160 << 20
"""Bytes that Numba and the compiled loops of normlab's norms take in a process (measured)."""
_SHARE = 0.5
"""Of the memory that is free, for a probe."""


@dataclass(frozen=True, kw_only=True)
class ArmCost:
    """What a trial of an arm costs; None where that is not known.

    Attributes:
        arm: Its label.
        flops_per_image: Floating point operations of one image's forward pass: what a finished
            trial stores as `flops`.
        step_flops_per_image: Of its forward and backward pass.
        flops: Of the whole trial: every image of every epoch, evaluations included.
        peak_memory: Bytes: of the process on a CPU, of what is allocated on a GPU, with the trials
            that train together. An estimate.
        images_per_second: That are trained on, copies counted, evaluation left out. Where trials
            train together, this and `hours` are the share of each.
        hours: Of the trial on one worker, evaluation included.
        together: Trials that train together in a worker, at most.
        alone: Why its trials train one by one, on torch's path; empty where they need not.
        speed: Where its speed is from; None where it is not known.
        speed_of: The arm whose speed was scaled, by its label; else empty.
        speed_is: How that arm's speed is known, where it was scaled.
        place: The machine, where it is another: its chip, threads and device.
    """

    arm: str
    flops_per_image: int | None
    step_flops_per_image: int | None
    flops: int | None
    peak_memory: int | None
    images_per_second: float | None = None
    hours: float | None = None
    speed: Source | None = None
    speed_of: str = ""
    speed_is: Source | None = None
    place: Place | None = None
    together: int = 1
    alone: str = ""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Costs:
    """What a study costs on this machine.

    Attributes:
        name: The study's.
        device: "cpu" or "cuda", as `normlab.run` chooses it.
        chip: Its name.
        threads: CPU threads of a worker.
        arm_costs: What a trial of each arm costs, in the plan's order.
        trials: Planned trials by arm.
        trials_left: Those of them that are not finished, by arm.
        claims: A row per claim that is judged: `claim`, `seeds_needed`, and `hours` on one worker
            until its arms have them.
        probe_seconds: That a probe took; 0 where there was none.
        plain_norms: Whether the probe computed norms with plain torch, which is slower, because
            normlab's loops are not compiled yet.
        not_timed: Why an arm could not be timed, by its label.
    """

    name: str
    device: str
    chip: str
    threads: int
    arm_costs: tuple[ArmCost, ...]
    trials: Mapping[str, int]
    trials_left: Mapping[str, int]
    claims: pd.DataFrame
    probe_seconds: float = 0.0
    plain_norms: bool = False
    not_timed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def arms(self) -> pd.DataFrame:
        """The arms' costs: a row per arm, a column per attribute of `ArmCost`."""
        import pandas as pd

        return pd.DataFrame([asdict(arm) for arm in self.arm_costs])

    @property
    def hours(self) -> float | None:
        """Of all planned trials on one worker; None where an arm's are not known."""
        return self._sum(self.trials)

    @property
    def hours_left(self) -> float | None:
        """Of those that are not finished."""
        return self._sum(self.trials_left)

    @property
    def flops(self) -> int | None:
        """Floating point operations of all planned trials; None where an arm's are not known."""
        found = [(self.trials[arm.arm], arm.flops) for arm in self.arm_costs]
        if any(each is None for _, each in found):
            return None
        return sum(count * (each or 0) for count, each in found)

    def _sum(self, trials: Mapping[str, int]) -> float | None:
        wanted = [(trials[arm.arm], arm.hours) for arm in self.arm_costs if trials[arm.arm]]
        if any(hours is None for _, hours in wanted):
            return None
        return sum(count * (hours or 0.0) for count, hours in wanted)

    def __repr__(self) -> str:
        hours = "hours not known" if self.hours is None else hours_text(self.hours)
        return f"<Costs of {self.name}: {hours} on one worker of {self.chip}>"

    def _repr_html_(self) -> str:
        return str(self.arms.to_html())


def costs_of(
    plan: Plan,
    runs: Path,
    *,
    claims: pd.DataFrame | None = None,
    frames: Frames | None = None,
    probing: bool = True,
    seconds: float = PROBE_SECONDS,
    told: Told | None = None,
) -> Costs:
    """What a plan costs; nothing is stored.

    Args:
        plan: The study's.
        runs: The folder that holds a folder for each study.
        claims: From `normlab.frames.claim_plans`, if the caller has it.
        frames: From `normlab.study.stored.frames_of_plan`, if the caller has it.
        probing: Whether arms without stored trials of this machine may be timed.
        seconds: For the probe.
        told: Called before each arm that is timed.
    """
    from normlab.frames.hours import claim_hours, finished_ids, finished_trials, stored_speeds

    device, threads = resolve_device("auto"), 1
    here: Place = {"device": device, "chip": chip_name(device), "threads": threads}
    used = resident_memory() if device == "cpu" else 0
    free = free_memory(torch.device(device))
    weighed = [_Weighed(arm, _footprint_of(arm)) for arm in plan.arms]
    subjects = [one.subject(free) for one in weighed]
    frames = frames_of_plan(plan, runs) if frames is None else frames
    stored = stored_speeds(frames) if frames is not None else {}
    finished = finished_trials(frames) if frames is not None else {}
    done = finished_ids(frames) if frames is not None else frozenset[str]()
    most = worker_count(workers="auto", device=device, threads=threads, units=len(plan.trials))
    units = arm_units(plan, device, most, done)
    known, elsewhere = _stored(weighed, stored, here)
    wanted = [i for i in range(len(subjects)) if i not in known]
    probed = Probed({}, {})
    if probing and wanted:
        probed = probe(
            subjects, wanted, known, device=device, threads=threads, seconds=seconds, told=told
        )
    speeds = _Speeds(subjects, known, probed.speeds, elsewhere)
    arms = tuple(
        one.cost(
            speeds.of(i), _memory(one, used, device, units[one.arm.label]), units[one.arm.label]
        )
        for i, one in enumerate(weighed)
    )
    planned = claim_plans(plan, runs, frames=frames) if claims is None else claims
    planned = planned[["claim", "seeds_needed"]]
    trial_hours = {arm.arm: arm.hours for arm in arms}
    trials = {arm.label: len(arm.trials) for arm in plan.arms}
    return Costs(
        name=plan.study.name,
        device=device,
        chip=str(here["chip"]),
        threads=threads,
        arm_costs=arms,
        trials=trials,
        trials_left={arm: max(count - finished.get(arm, 0), 0) for arm, count in trials.items()},
        claims=planned.assign(hours=claim_hours(planned, plan.record, trial_hours, finished)),
        probe_seconds=probed.seconds,
        plain_norms=probed.plain_norms,
        not_timed=probed.failed,
    )


class _Found(NamedTuple):
    """An arm's speed, where it is from, and the arm it was scaled from."""

    speed: Speed
    source: Source
    of: str = ""
    of_source: Source | None = None
    place: Place | None = None


@dataclass(frozen=True)
class _Weighed:
    """An arm with what its model takes."""

    arm: Arm
    footprint: _Footprint | None

    @property
    def scored(self) -> int:
        """Images that are scored in each epoch."""
        facts, recipe = self.arm.facts, self.arm.recipe
        held = facts.train_images - self.arm.images
        return facts.test_images + held + ("train" in recipe.diagnostics) * self.arm.images

    def subject(self, free: int | None) -> Subject:
        """The arm as a probe sees it."""
        arm, prints = self.arm, self.footprint
        made, most = copies(arm.recipe), 2**31
        if prints is not None and free is not None:
            batch = _step_images(arm)
            room = (
                _SHARE * free
                - prints.scoring.kept
                - (1 + remembered(arm.recipe)) * prints.scoring.trained
            )
            most = max(int(room * batch / max(prints.step.peak * made, 1)), 0)
        load = Load(
            step_flops=(prints.step.flops if prints is not None else 0) * made,
            flops=prints.scoring.flops if prints is not None else 0,
            most=most,
        )
        return Subject(arm, load, traits(arm.recipe, arm.facts.shape))

    def trial_seconds(self, speed: Speed) -> float:
        """Of a whole trial."""
        recipe, images = self.arm.recipe, self.arm.images
        steps = math.ceil(images / recipe.batch_size)
        epoch = steps * speed.fixed + images * speed.image + self.scored * speed.evaluation
        return speed.start + recipe.epochs * epoch + images * speed.evaluation

    def cost(self, found: _Found | None, memory: int | None, units: ArmUnits) -> ArmCost:
        """What a trial costs at a speed, which is that of torch's path."""
        recipe, images = self.arm.recipe, self.arm.images
        prints, whole = self.footprint, None
        if prints is not None:
            trained = images * copies(recipe) * recipe.epochs
            # At the end the training images are scored once.
            whole = trained * prints.step.flops
            whole += (self.scored * recipe.epochs + images) * prints.scoring.flops
        per_second = hours = None
        if found is not None:
            batch = min(recipe.batch_size, images)
            speed = _faster(found.speed, units.gain)
            per_second = copies(recipe) * batch / speed.step(batch)
            hours = self.trial_seconds(speed) / 3600
        return ArmCost(
            arm=self.arm.label,
            flops_per_image=prints.scoring.flops if prints is not None else None,
            step_flops_per_image=prints.step.flops if prints is not None else None,
            flops=whole,
            peak_memory=memory,
            images_per_second=per_second,
            hours=hours,
            speed=found.source if found else None,
            speed_of=found.of if found else "",
            speed_is=found.of_source if found else None,
            place=found.place if found else None,
            together=max(units.sizes, default=1),
            alone=units.path.why,
        )

    def stored(self, found: StoredSpeed, device: str) -> Speed:
        """The speed of stored trials, as it would be on torch's path.

        They do not tell that of evaluation: by its operations.
        """
        image = found.seconds / self.arm.images
        if found.together is not None:
            form = form_of(self.arm.recipe, device)
            image *= 1.0 if isinstance(form, str) else gain(form, found.together)
        prints = self.footprint
        part = 1 / 3  # of a step, where its operations are not known
        if prints is not None and prints.step.flops:
            part = prints.scoring.flops / prints.step.flops
        return Speed(
            fixed=0.0,
            image=image,
            evaluation=image * part / copies(self.arm.recipe),
            batch=self.arm.recipe.batch_size,
        )


@dataclass(frozen=True)
class _Speeds:
    """Speeds by the index of an arm, from the most to the least trusted source."""

    subjects: Sequence[Subject]
    known: Mapping[int, Speed]
    timed: Mapping[int, Speed]
    elsewhere: Mapping[int, tuple[Speed, Place]]

    def of(self, i: int) -> _Found | None:
        """The best that is known of an arm's speed."""
        if i in self.known:
            return _Found(self.known[i], "stored")
        if i in self.timed:
            return _Found(self.timed[i], "probe")
        if here := {**self.known, **self.timed}:
            donor = nearest(self.subjects, i, here)
            source: Source = "stored" if donor in self.known else "probe"
            return self._scaled(i, donor, here[donor], source)
        if i in self.elsewhere:
            speed, place = self.elsewhere[i]
            return _Found(speed, "elsewhere", place=place)
        if self.elsewhere:
            away = {j: speed for j, (speed, _) in self.elsewhere.items()}
            donor = nearest(self.subjects, i, away)
            return self._scaled(i, donor, away[donor], "elsewhere", self.elsewhere[donor][1])
        return None

    def _scaled(
        self, i: int, donor: int, speed: Speed, source: Source, place: Place | None = None
    ) -> _Found:
        made = scaled(speed, self.subjects[donor], self.subjects[i])
        return _Found(made, "scaled", self.subjects[donor].arm.label, source, place)


def _stored(
    weighed: Sequence[_Weighed], stored: Mapping[str, Sequence[StoredSpeed]], here: Place
) -> tuple[dict[int, Speed], dict[int, tuple[Speed, Place]]]:
    """Speeds of stored trials: of this machine, and of others where there are none."""
    known: dict[int, Speed] = {}
    elsewhere: dict[int, tuple[Speed, Place]] = {}
    for i, one in enumerate(weighed):
        for found in stored.get(one.arm.label, ()):
            speed = one.stored(found, str(here["device"]))
            if dict(found.place) == dict(here):
                known.setdefault(i, speed)
            else:
                elsewhere.setdefault(i, (speed, found.place))
    return known, elsewhere


def _faster(speed: Speed, gain: float) -> Speed:
    """The speed of trials that train together: their steps are faster, evaluation is not."""
    return replace(speed, fixed=speed.fixed / gain, image=speed.image / gain)


def _step_images(arm: Arm) -> int:
    """That the model sees in a step."""
    return min(arm.recipe.batch_size, arm.images) * copies(arm.recipe)


def _memory(one: _Weighed, used: int | None, device: str, units: ArmUnits) -> int | None:
    """Peak of a unit: the process as it is, the images, and each model in its largest moment."""
    prints, arm = one.footprint, one.arm
    if prints is None or used is None:
        return None
    wide = 8 if arm.recipe.precision == "float64" else 4
    values = math.prod(arm.facts.shape)
    images = (arm.facts.train_images + arm.facts.test_images) * values
    if device == "cpu":
        # As they are read, and scaled to float32; float64 is a copy of that.
        data = images * (1 + 4 + (wide == 8) * 8)
        data += _LOOPS if isinstance(arm.model.norm, MomentNorm) else 0
    else:
        data = images * wide
    batch = 2 * _step_images(arm) * values * wide
    model = prints.scoring.kept + remembered(arm.recipe) * prints.scoring.trained
    together = max(units.sizes, default=1)
    step = together * (prints.step.peak + batch)
    return used + data + together * model + max(step, prints.scoring.peak)


class _Footprint(NamedTuple):
    """Of one model and batch size: see `normlab.train.footprint`."""

    step: Step
    scoring: Scoring


def _footprint_of(arm: Arm) -> _Footprint | None:
    recipe = arm.recipe
    parts = json.loads(model_parts(recipe)) | {"precision": recipe.precision}
    plain = {key: parts[key] for key in parts if key not in {"dropout", "stochastic_depth"}}
    drops = json.loads(model_parts(recipe))["dropout"]
    if np.any(np.asarray(drops["p"]) > 0):
        # As if every slot dropped: a bit too much memory, and few models to look at.
        parts["dropout"] = {**drops, "p": 0.5, "slots": None}
    scored = min(BATCH, max(arm.images, arm.facts.test_images, 1))
    step = _step(_model_of(arm, {**parts, "loss": recipe.loss}), _step_images(arm))
    scoring = _scoring(_model_of(arm, plain), scored)
    return None if step is None or scoring is None else _Footprint(step, scoring)


class _Model(NamedTuple):
    """What makes a model, as a key: arms that share it are looked at once."""

    parts: str
    shape: tuple[int, int, int]
    num_classes: int
    code: tuple[tuple[str, str], ...]

    def recipe(self) -> Recipe:
        """A recipe with this model."""
        return Recipe.parse(json.loads(self.parts))


def _model_of(arm: Arm, parts: Mapping[str, object]) -> _Model:
    text = json.dumps(parts, sort_keys=True)
    return _Model(text, arm.facts.shape, arm.facts.num_classes, tuple(sorted(arm.code.items())))


@cache
def _step(model: _Model, images: int) -> Step | None:
    return follow_step(model.recipe(), model.shape, model.num_classes, images)


@cache
def _scoring(model: _Model, images: int) -> Scoring | None:
    return follow_scoring(model.recipe(), model.shape, model.num_classes, images)
