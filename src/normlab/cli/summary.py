"""How the end of a run looks in a terminal: what it did, and its arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.cli.lost import print_lost

if TYPE_CHECKING:
    from normlab.answers import Results
    from normlab.study.plan import Plan
    from normlab.study.summary import Summary


def print_summary(made: Plan, summary: Summary) -> None:
    """What a run did, line by line; nothing of what did not happen."""
    from normlab.study.stored import lost_files
    from normlab.terminal import console
    from normlab.wording import counted

    for other, number in summary.adopted.items():
        console.print(f"{counted(number, 'trial')} taken over from {other}")
    lines = [f"not taken over from {other}: {why}" for other, why in summary.unreadable.items()]
    for line in [*lines, *summary.notes]:
        console.print(line, soft_wrap=True)
    console.print(_done(summary), soft_wrap=True)
    if summary.left:
        console.print(
            f"{counted(summary.left, 'trial')} of other shards not finished here: `normlab merge` "
            "joins what other machines trained",
            soft_wrap=True,
        )
    names = made.record.names
    for trial, reason in summary.anew.items():
        console.print(f"restarted: {names[trial]}: {reason}", soft_wrap=True)
    for difference, count in summary.elsewhere.items():
        console.print(
            f"{counted(count, 'finished trial')} may have other bits than this run would give: "
            f"{difference}. --same-machine trains them again.",
            soft_wrap=True,
        )
    for trial, reason in summary.invalid.items():
        text = f"invalid, left out of every result: {names[trial]}: {reason}"
        console.print(text, soft_wrap=True)
    _print_untrained(names, summary)
    for why, again in (
        ("trained again for its lost files", summary.mended),
        ("trained again on this machine", summary.replaced),
    ):
        for trial, equal in again.items():
            said = "the same weights" if equal else "different weights, which replace the old ones"
            console.print(f"{why}: {names[trial]}: {said}", soft_wrap=True)
    for trial, reason in summary.not_mended.items():
        text = f"training again failed, the result stays: {names[trial]}: {reason}"
        console.print(text, soft_wrap=True)
    name = made.study.name
    lost = lost_files(made.record, summary.losses)
    print_lost(name, lost, where=f"`normlab status {name} --json`")
    for trial, reason in summary.failures.items():
        console.print(
            f"failed: {names[trial]}: {reason}. The traceback is in the report; "
            "--retry-failed trains it again.",
            soft_wrap=True,
        )


def summary_record(made: Plan, summary: Summary) -> dict[str, object]:
    """The same for programs, with trials by arm and seed; see `normlab.cli.outputs.run`."""
    from normlab.study.stored import lost_files

    names = {
        trial.id: {"arm": arm.label, "seed": trial.seed, "id": trial.id}
        for arm, trial in made.record.by_seed()
    }

    def told(by_id: Mapping[str, object], key: str) -> list[dict[str, object]]:
        return [{**name, key: by_id[trial]} for trial, name in names.items() if trial in by_id]

    return {
        "planned": summary.planned,
        "trained": summary.trained,
        "counts": summary.counts,
        "failures": told(summary.failures, "reason"),
        "invalid": told(summary.invalid, "reason"),
        "restarted": told(summary.anew, "reason"),
        "put_back": told(summary.put_back, "reason"),
        "taken_over": sorted(summary.taken_over),
        "replaced": told(summary.replaced, "equal"),
        "mended": told(summary.mended, "equal"),
        "not_mended": told(summary.not_mended, "reason"),
        "lost": lost_files(made.record, summary.losses),
        "adopted": summary.adopted,
        "unreadable": summary.unreadable,
        "elsewhere": summary.elsewhere,
        "notes": summary.notes,
        "shard": summary.shard,
        "left": summary.left,
        "others": summary.others,
        "interrupted": summary.interrupted,
    }


def _done(summary: Summary) -> str:
    """What was trained, in a sentence."""
    from normlab.wording import counted, state_counts

    untrained = summary.failures or summary.put_back or summary.taken_over
    if summary.trained or summary.interrupted or untrained:
        trained = counted(summary.trained, "trial")
        return f"trained {trained}; of {summary.planned}: {state_counts(summary.counts)}"
    lost = f"; {counted(len(summary.losses), 'file')} of them lost" if summary.losses else ""
    if summary.left:
        return f"nothing to train: all trials of shard {summary.shard} are finished{lost}"
    are = "is" if summary.planned == 1 else "are"
    return f"nothing to train: all {counted(summary.planned, 'trial')} {are} finished{lost}"


def _print_untrained(names: Mapping[str, str], summary: Summary) -> None:
    """Trials that the run took up and did not bring to an end, with the names that they have."""
    from normlab.terminal import console

    for trial in sorted(summary.taken_over):
        console.print(
            f"taken over by another run, as this one stood still: {names[trial]}: what was trained "
            "of it here meanwhile is dropped",
            soft_wrap=True,
        )
    for trial, reason in summary.put_back.items():
        console.print(
            f"not trained, still pending: {names[trial]}: {reason}. Nothing is wrong with the "
            "trial: run the same command again; fewer --workers need less memory.",
            soft_wrap=True,
        )


def print_arms(found: Results) -> None:
    """The results by arm as a table, then what a reader of the numbers must know."""
    from normlab.terminal import console, fewer, table
    from normlab.wording import SHARE, interval, percent, share_mark

    some, more = fewer(found.arms.to_dict("records"), "arm", "the report")
    rows = [
        (
            arm["arm"],
            arm["finished"] or "–",
            percent(arm["test_mean"]),
            interval((arm["test_low"], arm["test_high"])),
            f"{arm['seconds']:.1f}{share_mark(arm['together'])}" if arm["finished"] else "–",
            f"{arm['parameters']:,}",
        )
        for arm in some
    ]
    columns = ["arm", "seeds", "test accuracy, %", "95 % interval", "seconds", "parameters"]
    console.print()
    console.print(table(columns, rows))
    if more:
        console.print(more)
    if (found.arms["together"] > 1).any():
        console.print(f"* {SHARE}")
    console.print()
    for notice in found.notices:
        console.print(f"warning: {notice}", soft_wrap=True)
