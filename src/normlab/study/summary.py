"""What a run tells of itself when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from normlab.store import Loss


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        planned: Trials in the plan.
        trained: Trials this run brought to an end, failed ones included.
        adopted: Finished trials taken over from other studies' folders, by folder name.
        unreadable: Other studies' folders of which some or all was left, with the reason.
        counts: Trials of the plan by state, at the end.
        failures: Last line of the traceback by trial id.
        invalid: By trial id, what did not do what it declares.
        anew: By trial id, why epochs trained before could not be gone on from.
        elsewhere: What other machines' trials that stay differ in, each with their number.
        replaced: Finished trials of other machines that were trained here, by id: whether the
            weights are equal to those they had.
        put_back: By trial id, why the machine could not train a trial; it is pending again.
        taken_over: Ids of trials that another run took over while this one stood still.
        others: Other runs of the study that were still at work in the folder when this one ended:
            the last of them writes the report.
        losses: Files of finished trials that are gone or damaged, and were not made again.
        mended: Finished trials that were trained again for their files, by id: whether the weights
            are equal to those they had.
        not_mended: By trial id, why training again for lost files failed; the trial is as it was.
        notes: What is to be said of the machines that trained.
        shard: The part of the seeds that the run was to train; None for all.
        left: Trials of other shards that are not finished here.
        interrupted: How the run was stopped before its end; empty where it was not.
        signal: The number of the signal that stopped it; of Ctrl-C, that of SIGINT.
    """

    planned: int
    trained: int = 0
    adopted: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int]
    failures: dict[str, str]
    invalid: dict[str, str] = field(default_factory=dict)
    anew: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)
    replaced: dict[str, bool] = field(default_factory=dict)
    put_back: dict[str, str] = field(default_factory=dict)
    taken_over: set[str] = field(default_factory=set)
    others: int = 0
    losses: tuple[Loss, ...] = ()
    mended: dict[str, bool] = field(default_factory=dict)
    not_mended: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shard: str | None = None
    left: int = 0
    interrupted: str = ""
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that was stopped so."""
        return 128 + self.signal

    @property
    def failed(self) -> bool:
        """Whether a trial of the plan was not trained as it should: the exit code is 1 then."""
        bad = self.counts.get("failed", 0) + self.counts.get("invalid", 0)
        return bool(self.put_back or self.not_mended or bad)
