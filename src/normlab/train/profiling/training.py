"""A recipe trained for a few steps, in turn undisturbed and on clocks of growing detail.

Four kinds of step follow each other, so that a busy moment of the machine meets all of them:

    undisturbed   only the epoch is timed, as in any trial
    by part       the clock is read between the parts of a step
    by layer      it is also read around every layer, forward and backward
    watched       as in a trial's first epoch, whose liveness is watched

The parts are those of the second kind. Forward and backward are split by the shares that the layers
have of them in the third, whose clocks take time themselves. What a step takes beyond its parts
is `other`. All are means over the middle half of the epochs, so that the parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

from normlab.data import Splits
from normlab.recipe import Recipe
from normlab.records.profiling import Part
from normlab.train.checkpoint import Checkpoint
from normlab.train.footprint import copies, remembered
from normlab.train.loop import Finished
from normlab.train.profiling.epochs import FEW, STEPS_PER_EPOCH, ShortEpochs, middle
from normlab.train.profiling.floor import Work, size_of, update_work
from normlab.train.profiling.layers import KINDS, Key
from normlab.train.profiling.machine import Rates
from normlab.train.stand_in import own_randomness

PARTS = ("input", "forward", "loss", "backward", "optimizer", "metrics")
"""Of a step, in their order; `other` is what none of them explains."""
BETWEEN = "between layers"
"""What of `forward` and `backward` no layer explains: sums of gradients, autograd, Python."""
_STAGES = {
    "penalties": ("l1", "l2"),
    "clipping": ("clip",),
    "weight decay": ("decay",),
    "update": ("step",),
}
"""What is shown of an update, each with its stages; see `Updater.step`."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Seconds of a training's parts.

    Attributes:
        steps: That were timed of each kind.
        batch: Images that a step takes from the data.
        undisturbed: A step on no clock.
        by_part: A step whose parts are timed.
        by_layer: A step whose layers are timed, too.
        parts: Of a step, `other` among them.
        watching: What watching the liveness adds to each step of the first epoch.
        watching_once: And what it takes beside that, most of it in the first two steps.
        first_build: Making model and optimizer for the first time in a process, with the loops
            that are compiled or loaded for it.
        build: And each time from then on.
        first_steps: What the first steps take beyond later ones: memory that is taken for the
            first time, what torch's libraries prepare.
        evaluation: Scoring an image.
        diagnostics: Of an epoch.
        processor: Seconds of a core that the process had for each second of an undisturbed step:
            with one thread below 1 where other programs took the core away.
    """

    steps: int
    batch: int
    undisturbed: float
    by_part: float
    by_layer: float
    parts: tuple[Part, ...]
    watching: float
    watching_once: float
    first_build: float
    build: float
    first_steps: float
    evaluation: float
    diagnostics: float
    processor: float


class Profiled(NamedTuple):
    """What was found, and what the training left to be stored."""

    training: Training
    checkpoint: Checkpoint
    finished: Finished


def profile_training(
    recipe: Recipe, data: Splits, rates: Rates, *, device: str, steps: int
) -> Profiled:
    """Time a recipe on this thread setting; global random states are left as they were.

    Args:
        recipe: What is timed. Its learning rate, epochs and seed do not matter.
        data: Images for `STEPS_PER_EPOCH` batches, some to score, and some that the diagnostics
            look into.
        rates: Of this machine, in the recipe's precision.
        device: "cpu" or "cuda".
        steps: To time of each kind, rounded up to whole epochs.

    Raises:
        Exception: Whatever a model of the user's raises in training.
    """
    with own_randomness(device):
        epochs = ShortEpochs(recipe, data, device)
        for _ in range(max(-(-steps // STEPS_PER_EPOCH), 1)):
            epochs.round()
        return Profiled(_training(epochs, rates), *epochs.ended())


def _training(epochs: ShortEpochs, rates: Rates) -> Training:
    """What was found."""
    by_part = fmean(e.seconds for e in middle(epochs.by_part))
    # Most of what is watched is seen in the first two steps, and these are all of an epoch.
    watching = min(e.part("liveness") for e in epochs.watched)
    added = min(
        STEPS_PER_EPOCH * (e.seconds - by_part - watching) + e.rest.get("liveness", 0.0)
        for e in epochs.watched
    )
    scoring = [epoch.rest for epoch in epochs.by_part[:FEW]]
    return Training(
        steps=STEPS_PER_EPOCH * len(epochs.by_part),
        batch=len(epochs.trainer.train[1]) // STEPS_PER_EPOCH,
        undisturbed=fmean(e.seconds for e in middle(epochs.undisturbed)),
        by_part=by_part,
        by_layer=fmean(e.seconds for e in middle(epochs.by_layer)),
        parts=tuple(_parts(epochs, rates)),
        watching=watching,
        watching_once=max(added, 0.0),
        first_build=epochs.builds[0],
        build=epochs.builds[1],
        first_steps=STEPS_PER_EPOCH * max(epochs.first.seconds - by_part, 0.0),
        evaluation=min(rest["evaluation"] for rest in scoring) / epochs.images_scored(),
        diagnostics=min(rest["diagnostics"] for rest in scoring),
        processor=median(epochs.processor),
    )


def _parts(timed: ShortEpochs, rates: Rates) -> Iterator[Part]:
    epochs = middle(timed.by_part)
    took = {name: fmean(e.part(name) for e in epochs) for name in PARTS}
    raw = size_of([timed.trainer.train[0]]) // STEPS_PER_EPOCH
    given = raw * copies(timed.recipe)
    gathered = Work(0, raw + given, raw + given)
    yield _part("input", took["input"], rates=rates, works=[gathered])
    yield from _with_layers(timed, "forward", took["forward"], rates)
    yield _part("loss", took["loss"])
    yield from _with_layers(timed, "backward", took["backward"], rates)
    yield from _update(timed, took["optimizer"], rates)
    yield _part("metrics", took["metrics"])
    whole = fmean(e.seconds for e in epochs)
    yield _part("other", max(whole - sum(took.values()), 0.0))


def _with_layers(timed: ShortEpochs, name: str, seconds: float, rates: Rates) -> Iterator[Part]:
    keys = [key for kind in KINDS if (key := Key(name, kind)) in timed.work]
    epochs, inner = middle(timed.by_layer), []
    for key in keys:
        taken = seconds * fmean(e.layer(key) for e in epochs)
        calls, works = len(timed.work[key]), timed.work[key]
        inner.append(_part(key.kind, taken, within=name, calls=calls, rates=rates, works=works))
    every = [work for key in keys for work in timed.work[key]]
    yield _part(name, seconds, rates=rates, works=every)
    yield from inner
    rest = max(seconds - sum(part.seconds for part in inner), 0.0)
    yield _part(BETWEEN, rest, within=name)


def _update(timed: ShortEpochs, seconds: float, rates: Rates) -> Iterator[Part]:
    groups = timed.trainer.updater.optimizer.param_groups
    trained = [p for group in groups for p in group["params"] if p.requires_grad]
    works = [update_work(trained, remembered(timed.recipe))]
    yield _part("optimizer", seconds, rates=rates, works=works)
    epochs = middle(timed.by_part)
    for title, stages in _STAGES.items():
        taken = fmean(e.stage(stages) for e in epochs)
        known = works if title == "update" else None
        yield _part(title, taken, within="optimizer", rates=rates, works=known)


def _part(
    name: str,
    seconds: float,
    *,
    within: str = "",
    calls: int = 1,
    rates: Rates | None = None,
    works: Sequence[Work] | None = None,
) -> Part:
    if rates is None or works is None:
        return Part(name=name, within=within, seconds=seconds, calls=calls)
    return Part(
        name=name,
        within=within,
        seconds=seconds,
        calls=calls,
        floor=sum(work.seconds(rates) for work in works),
        flops=sum(work.flops for work in works),
        moved=sum(work.moved for work in works),
    )
