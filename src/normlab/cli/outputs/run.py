"""The output of run."""

from __future__ import annotations

from normlab.cli.outputs.claims import ClaimJudged, ClaimsChecked
from normlab.cli.outputs.output import Count, Output, Part
from normlab.cli.outputs.plan import Warned
from normlab.cli.outputs.studies import LostFile


class TrialSaid(Part):
    """A trial, and what is to be said of it.

    Attributes:
        arm: The label of its arm.
        seed: Its seed.
        id: Its id.
        reason: In a sentence, or the last line of a traceback.
    """

    arm: str
    seed: int
    id: str
    reason: str


class TrialTrainedAgain(Part):
    """A finished trial that was trained again.

    Attributes:
        arm: The label of its arm.
        seed: Its seed.
        id: Its id.
        equal: Whether its weights are equal to those that it had.
    """

    arm: str
    seed: int
    id: str
    equal: bool


class NextLook(Part):
    """What it takes to look again.

    Attributes:
        seeds: Seeds per arm by then.
        arms: Arms that open claims are about.
        trials: Trials that they lack.
        hours: Training hours of these on one worker.
    """

    seeds: int
    arms: int
    trials: int
    hours: float


class LookTaken(Part):
    """The claims were judged at one of the study's looks.

    Attributes:
        seeds: Seeds per arm at this look, of the arms that open claims were about.
        open_claims: Claims that are still inconclusive.
        settled_claims: Claims that have a verdict, with it.
        next_look: What the next look takes; null where nothing is open, or this was the last.
    """

    seeds: int
    open_claims: list[str]
    settled_claims: dict[str, str]
    next_look: NextLook | None


class ArmResult(Part):
    """The results of an arm: means over seeds. Accuracies are fractions of 1. Null: unknown.

    Attributes:
        arm: Its label.
        planned: Trials that were planned.
        finished: Trials that count, those that diverged included.
        diverged: Trials that diverged.
        failed: Trials that failed.
        invalid: Trials that did not do what their recipe declares: they do not count.
        train_mean: Final training accuracy.
        validation_mean: Final validation accuracy.
        validation_low: Lower end of its 95 % interval, from three seeds on.
        validation_high: Upper end of it.
        test_mean: Final test accuracy.
        test_low: Lower end of its 95 % interval, from three seeds on.
        test_high: Upper end of it.
        macro_f1: On the test images.
        ece: Calibration error on the test images.
        gap: Training minus test accuracy, both of the final weights.
        flops: Floating point operations of one image's forward pass.
        peak_memory: Bytes, the most of any of its trials.
        seconds: Of training.
        examples_per_second: Images that were trained on.
        together: The most trials that trained side by side: beyond 1, seconds are shares.
        parameters: Trainable values of its model.
    """

    arm: str
    planned: Count | None
    finished: Count
    diverged: Count
    failed: Count
    invalid: Count
    train_mean: float | None
    validation_mean: float | None
    validation_low: float | None
    validation_high: float | None
    test_mean: float | None
    test_low: float | None
    test_high: float | None
    macro_f1: float | None
    ece: float | None
    gap: float | None
    flops: Count | None
    peak_memory: Count | None
    seconds: float | None
    examples_per_second: float | None
    together: Count
    parameters: Count | None


class StudyRun(Output):
    """What a run did, and what the study's trials say now.

    Attributes:
        name: The study's name.
        rehearsal: Whether it is the quick variant, which answers nothing.
        variant: How the run differs from the study file, in words; null where it does not.
        planned: Trials in the plan.
        trained: Trials that this run brought to an end, failed ones included. With
            `--until-settled` this and what follows is that of the last look's run.
        counts: Trials of the plan by state, at the end.
        failures: Trials that failed: the exit code is 1 if there are any.
        invalid: Trials that did not do what their recipe declares; the same.
        restarted: Trials whose epochs from before could not be gone on from.
        put_back: Trials that the machine could not train, pending again; exit code 1.
        taken_over: Ids of trials that another run took over, because this one stood still.
        replaced: Trials of other machines that were trained here.
        mended: Trials that were trained again for their lost files.
        not_mended: Trials of which that failed, as they were; exit code 1.
        lost: Files of finished trials that are gone or damaged.
        adopted: Finished trials taken over from other studies' folders, by folder name.
        unreadable: Other studies' folders of which some or all was left, with the reason.
        elsewhere: What trials of other machines differ in, each with their number.
        notes: What is to be said of the machines that trained.
        shard: The part of the seeds that was to be trained, as K/N; null for all.
        left: Trials of other shards that are not finished here.
        others: Other runs of the study that are still at work in the folder.
        interrupted: How the run was stopped before its end; empty where it was not.
        warnings: What makes a run slow on this machine.
        code_changes: What of the study's own code changed since the run before.
        findings: What looks like a confound or a slip in the plan.
        looks: With `--until-settled`: every look that was taken.
        arms: The results of every arm.
        claims: The verdicts on the study's claims.
        check: What `normlab claims --check` makes of them.
        notices: What a reader of the numbers must know.
        report: The page's path; null where another run is at work that will write it.
    """

    name: str
    rehearsal: bool
    variant: str | None
    planned: int
    trained: int
    counts: dict[str, int]
    failures: list[TrialSaid]
    invalid: list[TrialSaid]
    restarted: list[TrialSaid]
    put_back: list[TrialSaid]
    taken_over: list[str]
    replaced: list[TrialTrainedAgain]
    mended: list[TrialTrainedAgain]
    not_mended: list[TrialSaid]
    lost: list[LostFile]
    adopted: dict[str, int]
    unreadable: dict[str, str]
    elsewhere: dict[str, int]
    notes: list[str]
    shard: str | None
    left: int
    others: int
    interrupted: str
    warnings: list[str]
    code_changes: list[str]
    findings: list[Warned]
    looks: list[LookTaken]
    arms: list[ArmResult]
    claims: list[ClaimJudged]
    check: ClaimsChecked
    notices: list[str]
    report: str | None
