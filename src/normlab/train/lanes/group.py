"""Trains trials of one form side by side, in the lanes of one core's vectors.

Each trial has its ordinary `Trainer`: its model, random streams, augmentation, evaluation, records
and checkpoints are those of the torch path. Only the steps of an epoch are done for all at once.
Between epochs everything is in the trainers, so that each epoch may have other companions, and a
trial goes on from its checkpoint in any group.

A trial's first step, its second and one amid its first epoch are also done by torch, from the same
weights and on the same batch: what watches a trial (`normlab.train.liveness`) sees that step, and
its gradients and its update are compared with the lane's. A trial whose lane misses is trained on
the torch path, and says so.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from normlab.data import Splits
from normlab.errors import fault_of_machine
from normlab.recipe import Recipe
from normlab.records import EpochRecord
from normlab.train.checkpoint import Checkpoint
from normlab.train.lanes.masks import LaneMasks
from normlab.train.lanes.program import Program
from normlab.train.lanes.rule import lanes_for
from normlab.train.lanes.update import LaneUpdater
from normlab.train.liveness import Probe
from normlab.train.loop import EpochDone, Finished, Given, Trainer
from normlab.train.precision import exact_products
from normlab.train.streams import reseed_dropout

_GRADIENT = 0.1
"""Largest distance of a parameter's gradient from torch's, over its length: roundings turn single
values at the kink of a ReLU, which moves a gradient by up to 0.01; a wrong primitive by about 1."""

_UPDATE = 0.2
"""The same of a whole update."""

_COUNT = "num_batches_tracked"

_SMALL = 1e-2
"""A gradient below this share of the whole one is held against the whole one."""


@dataclass(frozen=True)
class GroupTrial:
    """One trial of a group; see `normlab.train.train`."""

    recipe: Recipe
    seed: int
    splits: Splits
    resume: Checkpoint | None = None


class LanesMissError(RuntimeError):
    """A lane's step is not the one that torch makes.

    Attributes:
        before: The trial as it was before the epoch, unless it still is.
    """

    def __init__(self, message: str, before: Checkpoint | None) -> None:
        super().__init__(message)
        self.before = before


def train_group(
    trials: Sequence[GroupTrial], *, device: str = "cpu", probes: bool = True
) -> Iterator[tuple[int, EpochDone | Finished | Exception]]:
    """Train trials of one `form` side by side.

    Args:
        trials: At most `rule.size()`. They may be at different epochs.
        device: "cpu".
        probes: As in `normlab.train.train`.

    Yields:
        Number of a trial and what it has come to: an event of `normlab.train.train`, or an
        exception that ends this trial alone. The checkpoint of an event shares memory with the
        model: use it before the next event.
    """
    place, group = torch.device(device), Group()
    on: dict[int, Trainer] = {}
    histories: dict[int, tuple[EpochRecord, ...]] = {}
    for number, trial in enumerate(trials):
        try:
            beside = next((t for i, t in on.items() if trials[i].splits is trial.splits), None)
            trainer = Trainer(
                trial.recipe, trial.seed, trial.splits, place, probes=probes, beside=beside
            )
            histories[number] = ()
            if trial.resume is not None:
                trainer.restore(trial.resume)
                histories[number] = trial.resume.history
            on[number] = trainer
        except Exception as error:
            yield number, error
    while on:
        for number in [i for i, trainer in on.items() if trainer.is_over(histories[i])]:
            yield number, _finished(group, on.pop(number), histories[number])
        if not on:
            return
        numbers = list(on)
        outcomes = group.epoch([on[i] for i in numbers], [len(histories[i]) + 1 for i in numbers])
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, Exception):
                del on[number]
                yield number, outcome
                continue
            histories[number] = (*histories[number], outcome)
            trainer = on[number]
            yield number, trainer.done(histories[number], group.computes(trainer))


def _finished(
    group: Group, trainer: Trainer, history: tuple[EpochRecord, ...]
) -> Finished | Exception:
    try:
        found = trainer.finish(history)
    except Exception as error:
        return error
    shared = group.most.get(id(trainer), 1)
    memory = found.result.peak_memory
    result = replace(found.result, peak_memory=None if memory is None else memory // shared)
    return replace(found, result=result, computes=group.computes(trainer))


class Group:
    """Trains epochs of trainers that stand side by side, who may be others in each.

    Attributes:
        together: With how many a trainer stood in its last epoch, by its id.
        most: With how many it stood in any: the largest size of the process is theirs.
        missed: Why a trainer is trained by torch after all, by its id.
    """

    def __init__(self) -> None:
        self.programs: dict[object, Program] = {}
        self.together: dict[int, int] = {}
        self.most: dict[int, int] = {}
        self.missed: dict[int, str] = {}
        self.proved: set[int] = set()

    def epoch(
        self, trainers: Sequence[Trainer], epochs: Sequence[int]
    ) -> list[EpochRecord | Exception]:
        """The next epoch of each trainer: its record, or what ended it.

        Args:
            trainers: Of one form.
            epochs: Number of the epoch of each, 1 for the first.
        """
        found: dict[int, EpochRecord | Exception] = {}
        beside = [i for i, trainer in enumerate(trainers) if id(trainer) not in self.missed]
        if beside:
            self.together |= {id(trainers[i]): len(beside) for i in beside}
            for i in beside:
                self.most[id(trainers[i])] = max(len(beside), self.most.get(id(trainers[i]), 1))
            done = self._in_lanes([trainers[i] for i in beside], [epochs[i] for i in beside])
            found |= dict(zip(beside, done, strict=True))
        for i, trainer in enumerate(trainers):
            if i not in found or isinstance(found[i], LanesMissError):
                if isinstance(miss := found.get(i), LanesMissError):
                    self.missed[id(trainer)] = str(miss)
                    if miss.before is not None:
                        trainer.restore(miss.before)
                self.together[id(trainer)] = 1
                try:
                    found[i] = trainer.epoch(epochs[i])
                except Exception as error:
                    found[i] = error
        return [found[i] for i in range(len(trainers))]

    def _in_lanes(
        self, trainers: Sequence[Trainer], epochs: Sequence[int]
    ) -> Sequence[EpochRecord | Exception]:
        before: dict[int, Checkpoint] = {}
        try:
            return _Epoch(self, trainers, epochs, before).run()
        except Exception as error:  # of what all share: each trial shows whether torch has it too
            if fault_of_machine(error) is not None:
                raise  # says nothing about lanes: a trial keeps its path when it is taken up again
            told = f"{type(error).__name__}: {error}"
            return [LanesMissError(told, before.get(i)) for i in range(len(trainers))]

    def computes(self, trainer: Trainer) -> dict[str, str]:
        """How a trial computes: as the torch path says, and the lanes of its last epoch."""
        if (miss := self.missed.get(id(trainer))) is not None:
            return {**trainer.computes(), "path": f"torch: {miss}"}
        together = str(self.together.get(id(trainer), 1))
        return {**trainer.computes(), "path": "lanes", "together": together}

    def program(self, trainers: Sequence[Trainer]) -> Program:
        """The program for so many trials, made once."""
        lanes = lanes_for(len(trainers))
        dropping = frozenset(name for t in trainers for name, layer in t.random if layer.p > 0)
        key = (lanes, dropping)
        if key not in self.programs:
            self.programs.clear()  # its memory is that of all maps
            first = trainers[0]
            first.model.train()  # which way its code takes may hang on the mode
            batch = first.recipe.batch_size * first.augment.copies
            self.programs[key] = Program.of(first.model, first.shape, lanes, batch, dropping)
        return self.programs[key]


class _Epoch:
    """One epoch of all lanes.

    Args:
        group: Whose.
        trainers: One for each lane in use.
        epochs: Number of the epoch of each.
        before: Gets the state of each trial as the epoch begins.
    """

    def __init__(
        self,
        group: Group,
        trainers: Sequence[Trainer],
        epochs: Sequence[int],
        before: dict[int, Checkpoint],
    ) -> None:
        self.group, self.trainers, self.epochs = group, list(trainers), list(epochs)
        self.program = group.program(trainers)
        lanes = self.program.lanes
        self.order = [*range(len(trainers)), *[0] * (lanes - len(trainers))]
        self.updater = LaneUpdater(trainers, self.program.parameters, self.program.gradients)
        self.masks = LaneMasks(trainers, self.program.bits, self.program.scales)
        self.missed: dict[int, str] = {}
        self.ended: dict[int, Exception] = {}
        self.before = before

    def run(self) -> list[EpochRecord | Exception]:
        """Train it, then evaluate each trial."""
        probes: list[Probe | None] = []
        try:
            for trainer, epoch in zip(self.trainers, self.epochs, strict=True):
                probes.append(trainer.probe(epoch))
            with torch.random.fork_rng(devices=[]), exact_products():
                trained = self._train(probes)
            return [self._evaluated(i, probes[i], trained[i]) for i in range(len(self.trainers))]
        finally:
            for probe in probes:
                if probe is not None:
                    probe.close()

    def _evaluated(
        self, i: int, probe: Probe | None, trained: dict[str, object]
    ) -> EpochRecord | Exception:
        if i in self.ended:
            return self.ended[i]
        if i in self.missed:
            return LanesMissError(self.missed[i], self.before.get(i))
        try:
            with exact_products():
                return self.trainers[i].evaluated(self.epochs[i], trained, probe)
        except Exception as error:
            return error

    def _train(self, probes: Sequence[Probe | None]) -> list[dict[str, object]]:
        trainers = self.trainers
        for trainer in trainers:
            trainer.updater.begin_epoch()
            trainer.model.train()
        for i, trainer in enumerate(trainers):  # an error of what all share may come after `unload`
            self.before[i] = copy.deepcopy(trainer.checkpoint(()))
        self.load()
        start, aside = time.perf_counter(), 0.0
        streams = [t.batches(epoch) for t, epoch in zip(trainers, self.epochs, strict=True)]
        shown: list[list[Tensor]] = [[] for _ in trainers]
        predicted, losses, sizes = [], [], []
        for number in range(trainers[0].steps_per_epoch):
            given = self._given(streams)
            if given is None:
                break
            watching = [i for i in range(len(trainers)) if self._is_watched(i, number, probes[i])]
            begun = time.perf_counter()
            if watching:
                self.unload()
            aside += time.perf_counter() - begun
            images = [given[i].images.contiguous() for i in self.order]
            self.masks.draw([each.step for each in given], len(images[0]))
            loss, said = self.program.step(images, self._targets(given))
            self.counted += 1
            begun = time.perf_counter()
            kept = self._compare(watching, given, probes, loss)
            aside += time.perf_counter() - begun
            self.updater.step([each.step for each in given])
            begun = time.perf_counter()
            self._compare_updates(kept)
            aside += time.perf_counter() - begun
            losses.append(loss)
            predicted.append(said)
            sizes.append(len(given[0].raw))
            for shown_to, each in zip(shown, given, strict=True):
                shown_to.append(each.labels)
        if not losses:  # all have ended
            return [{} for _ in trainers]
        self.unload()
        seconds = (time.perf_counter() - start - aside) / len(trainers)
        said = np.concatenate(predicted)
        return [
            {}
            if i in self.ended
            else trainer.trained(
                torch.cat(shown[i]),
                torch.from_numpy(np.ascontiguousarray(said[:, i])),
                [torch.tensor(loss[i]) for loss in losses],
                sizes,
                seconds,
            )
            for i, trainer in enumerate(trainers)
        ]

    def _given(self, streams: Sequence[Iterator[Given]]) -> list[Given] | None:
        """What each lane's step is given, an ended one's that of another; None: all have ended."""
        made: dict[int, Given] = {}
        for i, stream in enumerate(streams):
            if i in self.ended:
                continue
            try:
                made[i] = next(stream)
                self._check(i, made[i])
            except Exception as error:
                made.pop(i, None)
                self.ended[i] = error
        if not made:
            return None
        beside = next(iter(made.values()))
        return [made.get(i, beside) for i in range(len(streams))]

    def _check(self, i: int, given: Given) -> None:
        classes = self.trainers[i].num_classes
        if given.targets is None and not bool(
            ((given.labels >= 0) & (given.labels < classes)).all()
        ):
            raise IndexError(f"a label is none of the {classes} classes")

    def _targets(self, given: Sequence[Given]) -> npt.NDArray[np.float32]:
        """The weight of every class, (N, classes, lanes)."""
        count, classes = len(given[0].images), self.trainers[0].num_classes
        made = np.zeros((count, classes, len(self.order)), np.float32)
        rows = np.arange(count)
        for lane, i in enumerate(self.order):
            targets = given[i].targets
            if targets is None:
                made[rows, given[i].labels.numpy(), lane] = 1
            else:
                made[:, :, lane] = targets.numpy()
        return made

    def load(self) -> None:
        """Take over what the trainers have."""
        self.updater.load()
        for name, norm in self.program.norms.items():
            self.program.buffers[name] = {
                short: np.stack([self._buffer(i, name, short).numpy() for i in self.order], axis=-1)
                for short in norm.buffers
            }
        self.counted = 0  # batches since
        self.counts = {
            (name, i): int(self._buffer(i, name, _COUNT))
            for name, norm in self.program.norms.items()
            for i in range(len(self.trainers))
            if norm.buffers
        }

    def unload(self) -> None:
        """Give all back to the trainers."""
        self.updater.unload()
        for name, norm in self.program.norms.items():
            for i in range(len(self.trainers)):
                for short in norm.buffers:
                    moved = self.program.buffers[name][short][..., i]
                    self._buffer(i, name, short).copy_(torch.from_numpy(np.array(moved)))
                if norm.buffers and _COUNT not in norm.buffers:
                    batches = self.counts[name, i] + self.counted
                    self._buffer(i, name, _COUNT).fill_(batches)

    def _buffer(self, i: int, layer: str, short: str) -> Tensor:
        return self.trainers[i].model.get_submodule(layer).get_buffer(short)

    def _is_watched(self, i: int, number: int, probe: Probe | None) -> bool:
        if i in self.ended:
            return False
        if number == 0 and (probe is not None or id(self.trainers[i]) not in self.group.proved):
            return True
        return probe is not None and number in {1, self.trainers[i].watched}

    @torch.enable_grad()
    def _compare(
        self,
        watching: Sequence[int],
        given: Sequence[Given],
        probes: Sequence[Probe | None],
        losses: npt.NDArray[np.float64],
    ) -> dict[int, list[Tensor]]:
        """Do a step by torch too, and hold the lane's gradients against torch's.

        Returns:
            The parameters before the step, by trainer.
        """
        before = {}
        for i in watching:
            trainer = self.trainers[i]
            before[i] = [p.detach().clone() for p in trainer.updater.parameters]
            reseed_dropout(trainer.random, trainer.seed, given[i].step, trainer.device)

            def look(i: int = i) -> None:
                self._hold(i)

            try:
                loss, _ = trainer.step(given[i], probes[i], look)
            except Exception as error:
                self.ended[i] = error
                del before[i]
                continue
            self.group.proved.add(id(trainer))
            torch_loss = float(loss.detach())
            if _is_far(abs(torch_loss - losses[i]), 1e-2 * (1 + abs(torch_loss))):
                self._miss(i, f"the loss is {losses[i]:.6g}, torch's {torch_loss:.6g}")
        return before

    def _hold(self, i: int) -> None:
        updater = self.trainers[i].updater
        theirs = {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in updater.named.items()
        }
        whole = float(torch.stack([g.double().norm() for g in theirs.values()]).norm())
        for name, gradient in theirs.items():
            rows = self.updater.rows[name]
            lane = torch.from_numpy(np.array(self.program.gradients[rows, i])).view(gradient.shape)
            far = float((lane.double() - gradient.double()).norm())
            size = max(float(gradient.double().norm()), _SMALL * whole)
            if _is_far(far, _GRADIENT * size):
                self._miss(i, f"the gradient of '{name}' is off by {far / size:.2g} of torch's")

    def _compare_updates(self, before: dict[int, list[Tensor]]) -> None:
        for i, old in before.items():
            updater = self.trainers[i].updater
            moved = far = 0.0
            for (name, now), was in zip(updater.named.items(), old, strict=True):
                rows = self.updater.rows[name]
                lane = torch.from_numpy(np.array(self.program.parameters[rows, i]))
                theirs = now.detach().double()
                moved += float((theirs - was.double()).square().sum())
                far += float((theirs - lane.view(now.shape).double()).square().sum())
            if _is_far(far, _UPDATE**2 * moved):
                self._miss(i, f"the update is off by {(far / moved) ** 0.5:.2g} of torch's")

    def _miss(self, i: int, what: str) -> None:
        self.missed.setdefault(i, what)


def _is_far(distance: float, allowed: float) -> bool:
    """Whether a lane is off, NaN included; where torch has no number either it is not."""
    return math.isfinite(allowed) and not distance <= allowed
