"""What the whole design says: effects of its factors, and intervals for new images too."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from normlab.frames.chosen import chosen_arms
from normlab.frames.in_progress import in_progress
from normlab.frames.load import Frames
from normlab.frames.predictions import counted_by_arm, predictions
from normlab.frames.scores import images, score_array
from normlab.lazy import pandas as pd
from normlab.recipe import value_text
from normlab.records.plan import Levels
from normlab.stats.factorial import Design, logit_error
from normlab.stats.images import TwoWayDraws
from normlab.stats.robust import FEWEST_SEEDS, stratified_bootstrap

MOST_IMAGES = 2000
"""Test sets up to this size get the interval over seeds and images: larger ones hardly move it."""


def effect_table(frames: Frames) -> pd.DataFrame:
    """Main effects and interactions of pairs of factors on final test accuracy; a description.

    Columns: `scale` (`accuracy`, or `logit(error)`, on which 99.0 and 99.5 % differ), `term`, `df`,
    `f`, `p`, `omega_squared` (partial). Empty for fewer than two factors, arms that
    are written out, or one seed. A factor that is there only within levels of another is nested.
    Empty too of a study that is watched before its end: a p-value at any time is no description.
    """
    columns = ["scale", "term", "df", "f", "p", "omega_squared"]
    levels = [arm.levels for arm in frames.plan.arms]
    names = list(dict.fromkeys(key for arm in levels for key in arm))
    scores = score_array(frames, "test_accuracy", "last")
    early = in_progress(frames) is not None
    if early or len(names) < 2 or scores.shape[1] < 2 or not _is_grid(levels, names):
        return pd.DataFrame(columns=columns)
    factors: dict[str, list[Hashable]] = {
        name: [value_text(arm[name]) if name in arm else None for arm in levels] for name in names
    }
    whole = [name for name in names if None not in factors[name]]
    nested = {name: whole[0] for name in names if name not in whole and whole}
    count = images(frames, "test_accuracy")
    scales = {"accuracy": scores}  # of the same trials
    if count:
        scales["logit(error)"] = logit_error(scores, count)
    design = Design(~np.isnan(scores), factors, nested=nested)
    rows = [
        {"scale": scale, **{name: getattr(effect, name) for name in columns[1:]}}
        for scale, values in scales.items()
        for effect in design.effects(values)
    ]
    return pd.DataFrame(rows, columns=columns)


def _is_grid(levels: list[Levels], names: list[str]) -> bool:
    """Whether some factor has several levels in arms that agree in another: effects can be told."""
    different = [len({value_text(arm.get(name)) for arm in levels}) for name in names]
    return sum(count > 1 for count in different) >= 2 and len(levels) >= sum(different) - 1


def robust_table(frames: Frames, folder: Path | None = None) -> pd.DataFrame:
    """A row per arm: two further looks at its final test accuracy.

    Columns: `arm`; `iqm`, `iqm_low`, `iqm_high`, the interquartile mean with its bootstrap interval
    (from 10 seeds on); `images_low`, `images_high`, a 95 % interval as if seeds and test images had
    both been drawn anew (test sets of up to 2,000 images, from the stored predictions; in a study
    of very many arms of `chosen_arms` alone, as it reads the files of every trial).

    Args:
        frames: The study.
        folder: Where its artifacts lie; None leaves the images out.
    """
    scores = score_array(frames, "test_accuracy", "last")
    rng, draws = np.random.default_rng(0), TwoWayDraws(0)
    chosen = frozenset(chosen_arms(frames).arms)
    rows = []
    for label, arm in zip(frames.arms, scores, strict=True):
        row: dict[str, Any] = {"arm": label}
        if (~np.isnan(arm)).sum() >= FEWEST_SEEDS:
            found = stratified_bootstrap(arm, rng)
            row |= {"iqm": found.mean, "iqm_low": found.low, "iqm_high": found.high}
        interval = None
        if folder and label in chosen:
            interval = _image_interval(frames, label, folder, draws)
        if interval is not None:
            low, high = np.clip(interval, 0.0, 1.0)
            row |= {"images_low": low, "images_high": high}
        rows.append(row)
    columns = ["arm", "iqm", "iqm_low", "iqm_high", "images_low", "images_high"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))


def _image_interval(
    frames: Frames, label: str, folder: Path, draws: TwoWayDraws
) -> tuple[float, float] | None:
    trials = counted_by_arm(frames).get(label)
    if trials is None or len(trials) < 2 or not trials["test_images"].le(MOST_IMAGES).all():
        return None
    answers = predictions(frames, label, folder)
    # A file is gone, or not of these images.
    if len(answers) < len(trials) or len({len(answer.labels) for answer in answers}) > 1:
        return None
    return draws.interval(np.stack([~answer.wrong for answer in answers]))[1:]
