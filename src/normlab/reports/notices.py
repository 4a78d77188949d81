"""What a reader of the numbers must know: arms that are one, rules at rest, mixed machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pandas as pd

from normlab.frames.load import Frames
from normlab.frames.shares import arms_with_shares
from normlab.frames.tables import COUNTED
from normlab.places import DECIDING, Place, differing
from normlab.records import UNFINISHED


def notices(frames: Frames) -> list[str]:
    """A sentence for everything of that kind; none of a study that has nothing of it.

    Of trials run elsewhere, whose file tells neither weights nor checks, little can be said.
    """
    counted = frames.trials[frames.trials["state"].isin(COUNTED)]
    return [
        *unequal_seeds(frames, counted),
        *same_weights(counted),
        *at_rest(frames, counted),
        *mixed(counted),
        *shared_seconds(frames),
    ]


def unequal_seeds(frames: Frames, counted: pd.DataFrame) -> Iterator[str]:
    """Seeds were added to some arms only: what is said of all arms depends on where it stopped."""
    if not frames.plan.sequential or frames.trials["state"].isin(UNFINISHED).any():
        return
    seeds = counted.groupby("arm").size()
    if seeds.nunique() > 1:
        fewest = [str(arm) for arm in frames.arms if seeds.get(arm) == seeds.min()]
        yield (
            f"seeds were added only to arms of open claims: {_listed(fewest)} stopped at "
            f"{seeds.min()} seeds, others have up to {seeds.max()}. A verdict is that of the look "
            "which settled it; means, intervals, rankings and effects of the arms depend on the "
            "stopping and are only described"
        )


def same_weights(counted: pd.DataFrame) -> Iterator[str]:
    """Arms whose trials ended with the very same weights, seed by seed."""
    if "weights_sha256" not in counted:
        return
    alike: dict[tuple[str, ...], list[int]] = {}
    known = counted.dropna(subset=["weights_sha256"])
    keys = ["seed", "weights_sha256"]
    for (seed, _), group in known[known.duplicated(keys, keep=False)].groupby(keys, sort=False):
        arms = tuple(group["arm"])
        if len(arms) > 1:
            alike.setdefault(arms, []).append(int(str(seed)))
    for arms, seeds in alike.items():
        together = known[known["arm"].isin(arms)].groupby("seed")["arm"].nunique()
        every = len(seeds) == int((together == len(arms)).sum())
        whole = "every seed" if every else f"seeds {_listed(map(str, seeds))}"
        yield (
            f"{_listed(arms)} ended with the very same weights with {whole}: what these arms "
            "declare differently changed nothing in training"
        )


def at_rest(frames: Frames, counted: pd.DataFrame) -> Iterator[str]:
    """Rules that acted in no trial of an arm: a limit never reached, a schedule without a step."""
    if "checks" not in counted:
        return
    rows = [
        (arm, check["name"], check["found"], check["acted"])
        for arm, checks in counted[["arm", "checks"]].itertuples(index=False)
        for check in (checks if isinstance(checks, list) else [])
        if check.get("acted") is not None
    ]
    told = pd.DataFrame(rows, columns=["arm", "name", "found", "acted"])
    of_arm = dict(list(told.groupby("arm", sort=False)))
    for arm in (arm for arm in frames.arms if arm in of_arm):
        for name, group in of_arm[arm].groupby("name", sort=False):
            if not group["acted"].any():
                trials = f"its {len(group)} trials" if len(group) > 1 else "its one trial"
                yield f"{arm}: {name} never acted in {trials}: {group['found'].iloc[0]}"


def mixed(counted: pd.DataFrame) -> Iterator[str]:
    """What differed between the places where trials were trained, and can change their bits."""
    if "provenance" not in counted:
        return
    places = [
        (str(arm), int(seed), place)
        for arm, seed, runs in counted[["arm", "seed", "provenance"]].itertuples(index=False)
        for place in (runs if isinstance(runs, list) else [])
        if isinstance(place, dict)
    ]
    fields = _deciding([place for _, _, place in places])
    for field in fields:
        told = [(arm, seed, str(p[field])) for arm, seed, p in places if field in p]
        values = Counter(value for _, _, value in told)
        of_arm: dict[str, set[str]] = {}
        for arm, _, value in told:
            of_arm.setdefault(arm, set()).add(value)
        number = _listed(f"{value} ({count})" for value, count in values.most_common())
        mixing = [arm for arm, found in of_arm.items() if len(found) > 1]
        text = f"trials were trained with different {DECIDING[field]}: {number}"
        if mixing:
            text += f"; mixed within {_listed(mixing)}"
        if len({frozenset(found) for found in of_arm.values()}) > 1:
            text += "; arms are not alike in it, so a difference between them may come from it"
        yield text


def shared_seconds(frames: Frames) -> Iterator[str]:
    """Claims about seconds of trials that trained together, before anybody claimed such a thing."""
    shared = arms_with_shares(frames)
    for claim in frames.plan.judged:
        is_timed = claim.metric == "seconds" or (claim.time and claim.time.clock == "seconds")
        if is_timed and (arms := [arm for arm in claim.arms if arm in shared]):
            yield (
                f"{claim.name}: some trials of {_listed(arms)} trained together with others, and "
                "their seconds are shares of a group's time: the claim compares what was not timed "
                "alike"
            )


def _deciding(places: list[Place]) -> list[str]:
    """The fields that differ; the sample's bits only where no other field tells why."""
    # Trials of one machine may have one place in memory.
    objects = {id(place): place for place in places}.values()
    first = list({str(sorted(p.items(), key=str)): p for p in objects}.values())
    fields = {
        f for i, one in enumerate(first) for p in first[:i] for f in differing(one, p, known=True)
    }
    ordered = [field for field in DECIDING if field in fields]
    return [field for field in ordered if field != "bits"] or ordered


def _listed(values: Iterable[object], most: int = 6) -> str:
    texts = [str(value) for value in values]
    if len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most} more"
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
