"""Which arms of a study are timed in the seconds there are, and who speaks for the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from normlab.environment import environment
from normlab.norms import MomentNorm, kernels
from normlab.recipe import Recipe
from normlab.study.plan import Arm
from normlab.train import keep_freed_memory
from normlab.train.precision import maps_dtype
from normlab.train.speed import Load, Speed, time_training

_STEPS = 4.0
"""What a probe beside others takes at most, in steps: one warms up, two or three are timed."""
_MOST = {"cpu": 2e11, "cuda": 1e13}
"""Floating point operations of two images: a step that no probe can afford."""
_FIRST = 0.5
"""Of the time there is, for the first arm."""

Told = Callable[[str, int, int], None]
"""Called before an arm is timed: its label, how many were timed, how many kinds there are."""


class Subject(NamedTuple):
    """An arm that can be timed, with what an image costs; `traits` are what its speed hangs on."""

    arm: Arm
    load: Load
    traits: tuple[str, ...]

    def work(self) -> float:
        """What its speed is scaled by."""
        return max(self.load.step_flops, 1.0)


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes:
        speeds: By the index of a subject; several subjects may have the traits of one.
        failed: Why an arm could not be timed, by its label.
        seconds: That all of it took.
        plain_norms: Whether normlab's loops were not compiled yet and torch computed the norms.
    """

    speeds: Mapping[int, Speed]
    failed: Mapping[str, str]
    seconds: float = 0.0
    plain_norms: bool = False


def traits(recipe: Recipe, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """What the speed of a recipe hangs on, in the order of `_WEIGHTS`; strengths are left out."""
    model = recipe.model.model_dump_json()
    dropout = recipe.dropout
    p = dropout.p if isinstance(dropout.p, tuple) else (dropout.p,)
    augment = [spec.model_dump_json() for spec in recipe.augment if not spec.off]
    penalties = (recipe.l1.strength > 0, recipe.l2.strength > 0, recipe.weight_decay.strength > 0)
    clips = (recipe.agc.clip is not None, recipe.clip_grad_norm is not None)
    return (
        f"{recipe.model.kind} {shape} {recipe.precision} {recipe.activation}",
        model,
        recipe.norm.kind,
        recipe.norm.model_dump_json(),
        f"{recipe.batch_size}",
        f"{augment}",
        f"{dropout.kind} {[each > 0 for each in p]} {dropout.slots}",
        f"{recipe.stochastic_depth.p > 0} {recipe.optimizer.kind} {penalties} {clips}",
    )


_WEIGHTS = (16, 4, 4, 1, 3, 4, 2, 1)
"""How far a difference in each trait sets two recipes apart."""


def distance(one: Subject, other: Subject) -> float:
    """How little one arm's speed says of another's."""
    pairs = zip(one.traits, other.traits, _WEIGHTS, strict=True)
    return sum(weight for a, b, weight in pairs if a != b)


def scaled(speed: Speed, of: Subject, to: Subject) -> Speed:
    """A speed as it is expected of another arm: by the floating point operations of an image."""
    ratio = to.work() / of.work()
    scoring = max(to.load.flops, 1.0) / max(of.load.flops, 1.0)
    return replace(speed, image=speed.image * ratio, evaluation=speed.evaluation * scoring)


def nearest(subjects: Sequence[Subject], to: int, among: Mapping[int, Speed]) -> int:
    """Of the arms whose speed is known the one that says most about another."""

    def away(other: int) -> tuple[float, float]:
        mine, its = subjects[to], subjects[other]
        return distance(mine, its), abs(mine.work() - its.work())

    return min(among, key=away)


def probe(
    subjects: Sequence[Subject],
    wanted: Sequence[int],
    known: Mapping[int, Speed],
    *,
    device: str,
    threads: int,
    seconds: float,
    told: Told | None = None,
) -> Probed:
    """Time as many different arms as the time allows, the most different ones first.

    Args:
        subjects: All arms.
        wanted: Indices of those to time.
        known: Speeds of others, which tell how long a probe will take.
        device: "cpu" or "cuda".
        threads: CPU threads of a trial.
        seconds: For all probes together; a step of the first arm is timed whatever it takes.
        told: Called before each probe.
    """
    begun = time.perf_counter()
    found: dict[int, Speed] = {}
    failed: dict[str, str] = {}
    # One arm of those that differ in nothing that matters.
    open_ = list({subjects[i].traits: i for i in reversed(wanted)}.values())[::-1]
    kinds = len(open_)
    with as_trials(threads, device), _norms_at_hand([subjects[i] for i in open_], device) as plain:
        away = {i: far for i in open_ if (far := _least(subjects, i, known))}
        while away:
            left = seconds - (time.perf_counter() - begun)
            has: dict[int, Speed] = {**known, **found}
            if has and left <= 0:
                break
            i = max(away, key=away.__getitem__)
            del away[i]
            one = subjects[i]
            if (why := _too_large(one, device)) is not None:
                failed[one.arm.label] = why
                continue
            donor = nearest(subjects, i, has) if has else None
            expected = scaled(has[donor], subjects[donor], one) if donor is not None else None
            batch = min(one.arm.recipe.batch_size, one.arm.images)
            first = None if expected is None else min(batch, max(expected.batch, 2))
            if expected is not None and left < expected.start + _STEPS * expected.step(first or 1):
                continue
            if told is not None:
                told(one.arm.label, len(found), kinds)
            try:
                speed = time_training(
                    one.arm.recipe,
                    one.arm.facts.shape,
                    one.arm.facts.num_classes,
                    one.load,
                    images=batch,
                    device=device,
                    seconds=max(left * (_FIRST if expected is None else 1.0), 0.0),
                    first=first,
                )
            except Exception as error:
                failed[one.arm.label] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            found[i] = _on_the_line(speed, expected, batch)
            away = {j: min(it, distance(subjects[j], one)) for j, it in away.items()}
    for i in wanted:
        same = (j for j in tuple(found) if subjects[j].traits == subjects[i].traits)
        if i not in found and (j := next(same, None)) is not None:
            found[i] = found[j]
    return Probed(found, failed, time.perf_counter() - begun, plain)


def _on_the_line(speed: Speed, expected: Speed | None, batch: int) -> Speed:
    """A step of one size that was timed, at the size that is wanted: as the nearest arm's grows."""
    if expected is None or speed.fixed or speed.batch >= batch or not expected.fixed:
        return speed
    ratio = speed.step(speed.batch) / expected.step(speed.batch)
    return replace(speed, fixed=expected.fixed * ratio, image=expected.image * ratio)


def _least(subjects: Sequence[Subject], i: int, among: Mapping[int, Speed]) -> float:
    """How far an arm is from all whose speed is known."""
    return min((distance(subjects[i], subjects[j]) for j in among), default=math.inf)


def _too_large(one: Subject, device: str) -> str | None:
    if one.load.most < min(2, one.arm.images):
        return "it may not fit into the memory that is free"
    if one.load.step_flops * 2 > _MOST.get(device, _MOST["cpu"]):
        return "a single step takes too long for a probe"
    return None


@contextmanager
def as_trials(threads: int, device: str) -> Iterator[None]:
    """Threads and memory as a worker has them."""
    before = torch.get_num_threads()
    keep_freed_memory()
    torch.set_num_threads(threads)
    # What torch imports for its first optimizer is not a trial's, either.
    torch.optim.Adam([torch.zeros(1, device=device, requires_grad=True)])
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _norms_at_hand(subjects: Sequence[Subject], device: str) -> Iterator[bool]:
    """Nothing is compiled for a probe, which can take a minute: torch computes the norms instead.

    Yields:
        Whether it does.
    """
    dtypes = {
        maps_dtype(one.arm.recipe.precision)
        for one in subjects
        if isinstance(one.arm.model.norm, MomentNorm)
    }
    maps = [torch.empty(1, 1, 1, 1, dtype=dtype, device=device) for dtype in dtypes]
    if all(kernels.is_prepared(x) for x in maps):
        for x in maps:
            kernels.prepare(x)  # loading takes its time, too, and no trial's
        yield False
        return
    with environment({"NORMLAB_BACKEND": "reference"}):
        yield True
