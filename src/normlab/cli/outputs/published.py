"""The output of published."""

from __future__ import annotations

from typing import Literal

from normlab.cli.outputs.output import Count, Output, Part


class NumberBeside(Part):
    """A published number beside ours, in the source's measure.

    Accuracies and F1 scores are in percent, times in seconds. Null: there is none.

    Attributes:
        arm: The arm's label.
        run: What tells it from other numbers of the same arm.
        metric: By name, or a column of the source's.
        measure: The metric in words, with its unit.
        at: The epoch that the source took, in words.
        published: A number, or words.
        printed: What the source printed, where that is in another unit.
        ours: Mean over seeds.
        low: Lower end of its 95 % interval, from three seeds on.
        high: Upper end of it.
        seeds: That ours is a mean over.
        difference: Ours minus published; of a rehearsal none is taken.
        judged_at: The study's own epoch, where that is another.
        judged: The mean there.
        judged_low: Lower end of its interval.
        judged_high: Upper end of it.
        source: Where the number is printed.
        note: What must be known of it.
    """

    arm: str
    run: str | None
    metric: str
    measure: str
    at: str | None
    published: float | str | None
    printed: float | None
    ours: float | None
    low: float | None
    high: float | None
    seeds: Count | None
    difference: float | None
    judged_at: str | None
    judged: float | None
    judged_low: float | None
    judged_high: float | None
    source: str | None
    note: str | None


class PublishedBeside(Output):
    """What a study's source printed beside what trials gave.

    Attributes:
        name: The study's name.
        origin: Where ours are from: this machine's runs, the released findings, or none.
        rehearsal: Whether they are those of the quick variant, which answers nothing.
        heading: Which trials stand beside the published numbers, in words.
        notes: What a reader of the numbers must know: a sentence each, without its full stop.
        rows: Every published number.
    """

    name: str
    origin: Literal["runs", "released", "none"]
    rehearsal: bool
    heading: str
    notes: list[str]
    rows: list[NumberBeside]
