"""The output of plan."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from normlab.cli.outputs.data import PlannedData
from normlab.cli.outputs.output import Count, Output, Part, Plain
from normlab.records import TrialState
from normlab.records.plan import PlanRecord

Source = Literal["stored", "probe", "scaled", "elsewhere"]


class ClaimPlanned(Part):
    """What the planned seeds can say about a claim.

    Effects and spreads are in the metric's own unit: accuracies fractions of 1; where the unit is
    `%`, fractions of a time.

    Attributes:
        claim: Its name.
        kind: Such as `better`; see docs/claims.md.
        metric: What is judged; null where that is a time.
        unit: That differences are shown in: `points`, `%`, `seconds` and others.
        margin: The smallest difference that matters, in words.
        spread: Standard deviation over seeds that is planned with; null where none is known.
        source: Of the spread: `pilot` (this study's trials), `released`, `stated`, or empty.
        smallest_effect: That is found with 80 % power.
        seeds_needed: For the margin, with 80 % power; null where none are enough or known.
        reachable: The smallest margin that 200 seeds show, where the claim's own needs more.
        power: At the planned seeds, a fraction of 1.
        settles: Whether any outcome could settle it.
        obstacle: Why none could; empty otherwise.
        correlation: Between its arms over the seeds that they share; null where unknown.
        seeds_paired: For the margin if compared seed by seed.
        seeds_unpaired: For the margin if not.
        hours: Training hours on one worker until its arms have the seeds; null where unknown.
    """

    claim: str
    kind: str
    metric: str | None
    unit: str
    margin: str
    spread: float | None
    source: str
    smallest_effect: float | None
    seeds_needed: Count | None
    reachable: float | None
    power: float | None
    settles: bool
    obstacle: str | None
    correlation: float | None
    seeds_paired: Count | None
    seeds_unpaired: Count | None
    hours: float | None


class Warned(Part):
    """Something that looks like a confound or a slip; see docs/lint.md.

    Attributes:
        rule: The rule's name.
        says: The place in a sentence.
        why: What it does to a result.
        reference: Where that was shown.
    """

    rule: str
    says: str
    why: str
    reference: str


class ArmCosts(Part):
    """What a trial of an arm costs; null where that is not known.

    Attributes:
        arm: The arm's label.
        flops_per_image: Floating point operations of one image's forward pass.
        step_flops_per_image: Of its forward and backward pass.
        flops: Of the whole trial, evaluations included.
        peak_memory: Bytes, with the trials that train together; an estimate.
        images_per_second: That are trained on, evaluation left out.
        hours: Of the trial on one worker, evaluation included.
        together: Trials that train together in a worker, at most; speed and hours are shares.
        alone: Why its trials train one by one; empty where they need not.
        speed: Where its speed is from: stored trials of this machine, a probe, another arm's speed
            or stored trials of another machine.
        speed_of: The arm whose speed was scaled; else empty.
        speed_is: How that arm's speed is known.
        place: The other machine, if the speed is from one: device, chip, threads.
        trials: Planned trials of the arm.
        trials_left: Those that are not finished.
    """

    arm: str
    flops_per_image: int | None
    step_flops_per_image: int | None
    flops: int | None
    peak_memory: int | None
    images_per_second: float | None
    hours: float | None
    together: int
    alone: str
    speed: Source | None
    speed_of: str
    speed_is: Source | None
    place: Plain | None
    trials: int
    trials_left: int


class ClaimCosts(Part):
    """What a claim costs.

    Attributes:
        claim: Its name.
        seeds_needed: For its margin; null where unknown.
        hours: Training hours on one worker until its arms have them; null where unknown.
    """

    claim: str
    seeds_needed: Count | None
    hours: float | None


class StudyCosts(Part):
    """What a study costs on this machine.

    Attributes:
        device: `cpu` or `cuda`.
        chip: Its name.
        threads: CPU threads of a worker.
        flops: Floating point operations of all planned trials.
        hours: Of all planned trials on one worker.
        hours_left: Of those that are not finished.
        probe_seconds: Seconds that a probe took; 0 where there was none.
        plain_norms: Whether the probe computed norms with plain torch, which is slower.
        not_timed: Why an arm could not be timed, by its label.
        arms: What a trial of each arm costs.
        claims: What each claim costs.
    """

    device: str
    chip: str
    threads: int
    flops: int | None
    hours: float | None
    hours_left: float | None
    probe_seconds: float
    plain_norms: bool
    not_timed: dict[str, str]
    arms: list[ArmCosts]
    claims: list[ClaimCosts]


class StudyPlanned(PlanRecord, Output):
    """A study's plan: arms, trials, claims, costs, and what is done of it.

    Attributes:
        states: State of every planned trial, by its id.
        claim_plans: What the planned seeds can say about each claim.
        findings: What looks like a confound or a slip.
        warnings: What makes a run slow on this machine.
        code_changes: What of the study's own code changed since the last run.
        data: Its data sets.
        costs: What it costs on this machine.
    """

    model_config = ConfigDict(strict=False)  # as a stored plan is read

    states: dict[str, TrialState]
    claim_plans: list[ClaimPlanned]
    findings: list[Warned]
    warnings: list[str]
    code_changes: list[str]
    data: list[PlannedData]
    costs: StudyCosts
