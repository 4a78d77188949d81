"""One training: a recipe and a seed in, a record per epoch out, then the result.

The loop knows nothing of studies or stores. Images lie in memory on the device; a batch is an
index.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from normlab.augment import Pipeline
from normlab.convolutions import prepare, shapes
from normlab.convolutions.shape import Shape
from normlab.data import Split, Splits
from normlab.models import MODELS, build, parameter_count
from normlab.norms import MomentNorm, kernels, traits
from normlab.recipe import Recipe
from normlab.records import Check, EpochRecord, TrialResult
from normlab.train import diagnostics
from normlab.train.checkpoint import Checkpoint, weights_sha256
from normlab.train.cost import flops, peak_memory
from normlab.train.evaluation import Evaluated, evaluate, finite, mean_loss
from normlab.train.layout import layout, take
from normlab.train.liveness import Probe, over_the_trial, why_invalid
from normlab.train.losses import LOSSES
from normlab.train.marks import Marks
from normlab.train.metrics import confusion, scores
from normlab.train.optimizer import Updater
from normlab.train.precision import computing, exact_products, maps_dtype, weights_dtype
from normlab.train.provenance import computes
from normlab.train.stopping import is_stale
from normlab.train.streams import generator, initialize, order, random_layers, reseed_dropout


@dataclass(frozen=True)
class EpochDone:
    """A whole epoch is done; `checkpoint` continues from here.

    The checkpoint shares memory with the model that trains on: use it before the next epoch.
    `computes` says how: the layout of the maps, the precision and the kernels. `is_last` says that
    `Finished` follows at once.
    """

    record: EpochRecord
    checkpoint: Checkpoint
    computes: dict[str, str] = field(default_factory=dict)
    is_last: bool = False


class Given(NamedTuple):
    """What one step is given.

    Attributes:
        step: Its number, from 0 over all epochs.
        raw: The images as they are stored, (N, C, H, W).
        images: As the model gets them, lying as its maps.
        labels: Their classes, (N,).
        targets: The weight of each class, (N, classes), where an augmentation makes such.
    """

    step: int
    raw: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor | None


@dataclass(frozen=True)
class Finished:
    """The training ended.

    Attributes:
        result: How.
        weights: Parameters and buffers by name.
        predictions: Class predicted for each test image, and `confidences`: its probability;
            shape (N,) each, on the CPU.
        computes: As in `EpochDone`.
    """

    result: TrialResult
    weights: dict[str, Tensor]
    predictions: Tensor
    confidences: Tensor
    computes: dict[str, str] = field(default_factory=dict)


def train(
    recipe: Recipe,
    seed: int,
    splits: Splits,
    *,
    device: str = "cpu",
    resume: Checkpoint | None = None,
    probes: bool = True,
) -> Iterator[EpochDone | Finished]:
    """Train one trial.

    Args:
        recipe: What to train and how.
        seed: Of every random stream.
        splits: The images, scaled; see `normlab.data.splits`.
        device: "cpu" or "cuda".
        resume: Where an earlier run of this trial stopped. The result is bit-identical to an
            uninterrupted run on the same device, thread count and torch.
        probes: Check in the first epoch that every declared intervention is on; see
            `normlab.train.liveness`. The weights are the same without.

    Yields:
        `EpochDone` after each epoch, at last `Finished`. A loss that is NaN or infinite ends the
        trial as diverged, an intervention that is not on as invalid, with that epoch recorded.
    """
    trainer = Trainer(recipe, seed, splits, torch.device(device), probes=probes)
    history: tuple[EpochRecord, ...] = ()
    if resume is not None:
        trainer.restore(resume)
        history = resume.history
    while not trainer.is_over(history):
        record = trainer.epoch(len(history) + 1)
        history = (*history, record)
        yield trainer.done(history, trainer.computes())
    yield trainer.finish(history)


class Trainer:
    """Model, data and optimizer of one trial on its device.

    Attributes:
        marks: Told as each part of a step is done.

    Args:
        recipe: What to train.
        seed: Of every random stream.
        splits: The images.
        device: Where to train.
        probes: Whether the first epoch is watched.
        beside: A trainer of the same images and shapes: images lie in memory once, and what it runs
            is compiled.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        splits: Splits,
        device: torch.device,
        *,
        probes: bool,
        beside: Trainer | None = None,
    ) -> None:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.shape, self.num_classes = splits.shape, splits.num_classes
        self.dtype = weights_dtype(recipe.precision)
        built = build(recipe, splits.shape, splits.num_classes)
        maps = maps_dtype(recipe.precision)
        self.layout = layout(built.model, device, maps)
        self.train: tuple[Tensor, Tensor]
        self.validation: tuple[Tensor, Tensor]
        self.test: tuple[Tensor, Tensor]
        if beside is not None and (beside.layout, beside.dtype) == (self.layout, self.dtype):
            self.train, self.validation, self.test = beside.train, beside.validation, beside.test
        else:
            self.train = self._on_device(splits.train)
            self.validation = self._on_device(splits.validation)
            self.test = self._on_device(splits.test)
        initialize(built.model, seed, recipe.init)
        self.model: nn.Module = built.model.to(device=device, dtype=self.dtype)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        if any(isinstance(module, MomentNorm) for module in self.model.modules()):
            # Compiling is no training: it must not count in the first epoch's seconds.
            kernels.prepare(torch.empty(1, 1, 1, 1, dtype=maps, device=device))
        if self.layout is torch.channels_last and device.type == "cpu" and beside is None:
            _prepare_convolutions(recipe, splits.shape, splits.num_classes, maps)
        self.random = random_layers(self.model)
        self.following = [m for m in self.model.modules() if traits(m).follows_progress]
        low, high = (
            torch.from_numpy(ends).to(device=device, dtype=self.dtype)
            for ends in (splits.low, splits.high)
        )
        self.augment = Pipeline(recipe.augment, num_classes=self.num_classes, low=low, high=high)
        self.loss = LOSSES[recipe.loss]
        self.steps_per_epoch = math.ceil(len(splits.train) / recipe.batch_size)
        self.updater = Updater(recipe, self.model, self.steps_per_epoch)
        self.declared_norms, self.probes = built.norms, probes
        self.marks = Marks()
        self.checks: tuple[Check, ...] = ()
        self.tested: Evaluated | None = None

    def is_over(self, history: tuple[EpochRecord, ...]) -> bool:
        """Whether the training ends after these epochs."""
        if not history:
            return False
        ends = _diverged(history[-1]) or why_invalid(self.checks) is not None
        stale = is_stale(history, self.recipe.early_stopping)
        return ends or stale or len(history) >= self.recipe.epochs

    def done(self, history: tuple[EpochRecord, ...], computes: dict[str, str]) -> EpochDone:
        """What is told of the last epoch of `history`."""
        return EpochDone(
            history[-1], self.checkpoint(history), computes, is_last=self.is_over(history)
        )

    def epoch(self, epoch: int) -> EpochRecord:
        """Train one epoch (1 for the first), then evaluate."""
        with exact_products():
            return self._epoch(epoch)

    def _epoch(self, epoch: int) -> EpochRecord:
        probe = self.probe(epoch)
        try:
            # Masks take their tickets from torch's global state: what runs beside keeps its own.
            with torch.random.fork_rng(devices=[]):
                trained = self._train(epoch, probe)
            return self.evaluated(epoch, trained, probe)
        finally:
            if probe is not None:
                probe.close()

    def evaluated(self, epoch: int, trained: dict[str, Any], probe: Probe | None) -> EpochRecord:
        """The record of an epoch whose steps are done, by an evaluation of the model."""
        if probe is not None:
            probe.evaluating()
        self.marks.begin()
        validation, test = self._evaluate(self.validation), self._evaluate(self.test)
        self.marks.done("evaluation")
        self.tested = test
        if probe is not None:
            losses = (trained["train_loss"], validation.scores.loss if validation else 0.0)
            self.checks = probe.conclude(finite=None not in losses)
            self.marks.done("liveness")
        assert test is not None
        scored: dict[str, Any] = {}
        for name, found in (("validation", validation), ("test", test)):
            for metric in ("loss", "accuracy", "macro_f1", "micro_f1", "ece"):
                scored[f"{name}_{metric}"] = getattr(found.scores, metric) if found else None
        self.marks.begin()
        details = self._details()
        self.marks.done("diagnostics")
        return EpochRecord(epoch=epoch, **trained, **scored, details=details)

    def _train(self, epoch: int, probe: Probe | None) -> dict[str, Any]:
        """The steps of an epoch; fields of its record."""
        # Of each batch what the scores need, on the device: small, and read once at the end.
        shown, predicted, losses, sizes = [], [], [], []
        self.updater.begin_epoch()
        self.model.train()
        start = self._clock()
        for given in self.batches(epoch):
            loss, logits = self.step(given, probe)
            losses.append(loss.detach())
            sizes.append(len(given.raw))
            shown.append(given.labels)
            predicted.append(logits.detach().argmax(dim=1))
            self.marks.done("metrics")
        seconds = self._clock() - start
        return self.trained(torch.cat(shown), torch.cat(predicted), losses, sizes, seconds)

    def batches(self, epoch: int) -> Iterator[Given]:
        """What each step of an epoch is given, made when it is asked for."""
        inputs, labels = self.train
        shuffled = order(len(labels), self.seed, epoch).to(self.device)
        batches = torch.split(shuffled, self.recipe.batch_size)
        labels_of = torch.split(labels.index_select(0, shuffled), self.recipe.batch_size)
        augmentation = generator(self.seed, "augmentation", epoch, self.device)
        for number, batch in enumerate(batches):
            step = (epoch - 1) * self.steps_per_epoch + number
            self.marks.begin()
            progress = step / (self.steps_per_epoch * self.recipe.epochs)
            for layer in self.following:
                layer.progress = progress  # type: ignore[assignment]
            reseed_dropout(self.random, self.seed, step, self.device)
            # A batch is made when it is wanted. A thread that makes the next one meanwhile needs a
            # core, and workers use all of theirs: it gained nothing (0.91 to 0.99 of the speed,
            # two busy cores, one worker, rotation, affine, colors). On a GPU nothing waits.
            images = take(inputs, batch)
            made = self.augment(images, labels_of[number], augmentation)
            laid = made.images.contiguous(memory_format=self.layout)
            self.marks.done("input")
            yield Given(step, images, laid, made.labels, made.targets)

    def step(
        self, given: Given, probe: Probe | None, look: Callable[[], None] = lambda: None
    ) -> tuple[Tensor, Tensor]:
        """Train one step; its loss and its logits. `look` is called as the gradients are there."""
        logits = self._logits(given.images)
        self.marks.done("forward")
        loss = self.loss(logits, given.labels if given.targets is None else given.targets)
        self.marks.done("loss")
        loss.backward()  # type: ignore[no-untyped-call]
        self.marks.done("backward")
        look()
        if probe is None:
            self.updater.step(given.step, self.marks.stage)
        else:
            probe.loss(loss.detach())
            probe.gradients()
            probe.batch(given.raw, given.images)
            self.marks.done("liveness")
            is_watched = given.step % self.steps_per_epoch == self.watched
            self.updater.step(given.step, probe.updated if is_watched else probe.ignore)
        self.marks.done("optimizer")
        return loss, logits

    @property
    def watched(self) -> int:
        """The step whose update is watched: amid the epoch, as a schedule may end it at rate 0."""
        return self.steps_per_epoch // 2

    def trained(
        self,
        shown: Tensor,
        predicted: Tensor,
        losses: list[Tensor],
        sizes: list[int],
        seconds: float,
    ) -> dict[str, Any]:
        """What an epoch's steps say of themselves, as fields of its record.

        Args:
            shown: The labels of all images in the order they came, (N,).
            predicted: What the model said of them.
            losses: Of each step.
            sizes: Images in each.
            seconds: What the steps took.
        """
        running = scores(confusion(shown, predicted, self.num_classes))
        means_something = not self.augment.mixes  # a mixed image has no one right class
        return {
            "lr": self.updater.lr,
            "train_loss": finite(mean_loss(losses, sizes)),
            "train_accuracy": running.accuracy if means_something else None,
            "train_macro_f1": running.macro_f1 if means_something else None,
            "train_micro_f1": running.micro_f1 if means_something else None,
            "seconds": seconds,
            # A clock too coarse, or set back, has measured nothing.
            "examples_per_second": len(shown) / seconds if seconds > 0 else 0.0,
        }

    def _logits(self, inputs: Tensor) -> Tensor:
        """What the model says of images, in the mode it is in."""
        with computing(self.recipe.precision, self.device.type):
            logits: Tensor = self.model(inputs)
        return logits.to(self.dtype)

    def _evaluate(self, split: tuple[Tensor, Tensor]) -> Evaluated | None:
        """A split scored in eval mode; None of an empty one."""
        self.model.eval()
        return evaluate(self._logits, self.loss, *split, self.num_classes)

    def _details(self) -> dict[str, object]:
        """The epoch's diagnostics; see `normlab.train.diagnostics`."""
        sums = {
            "agc_clipped": self.updater.clipped,
            "norm_clipped": self.updater.scaled,
            "gradient_norm": self.updater.gradient_norms,
        }
        means = {k: float(v) / self.steps_per_epoch for k, v in sums.items() if v is not None}
        if self.updater.largest_norm is not None:
            means["largest_norm"] = float(self.updater.largest_norm)
        images, _ = self.validation if len(self.validation[1]) else self.train
        with computing(self.recipe.precision, self.device.type):
            found = diagnostics.collect(self.recipe, self.model, images, means)
        if "train" in self.recipe.diagnostics:
            scored = self._evaluate(self.train)
            assert scored is not None
            found["train"] = asdict(scored.scores)
        return found

    def probe(self, epoch: int) -> Probe | None:
        """What watches an epoch: the first one, where anything does."""
        if not self.probes or epoch != 1:
            return None
        return Probe(
            self.recipe,
            self.model,
            self.augment,
            norms=self.declared_norms,
            trained=[p for group in self.updater.optimizer.param_groups for p in group["params"]],
            lr=lambda: self.updater.lr,
            state=self.updater.state_dict,
        )

    def computes(self) -> dict[str, str]:
        """How the model computes; see `normlab.train.provenance`."""
        return computes(self.model, self.train[0], self.recipe.precision)

    def checkpoint(self, history: tuple[EpochRecord, ...]) -> Checkpoint:
        """The state after the last epoch of `history`; shares memory with the model."""
        state, optimizer = self.model.state_dict(), self.updater.state_dict()
        return Checkpoint(state, optimizer, history, self.checks)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state of a checkpoint."""
        self.model.load_state_dict(checkpoint.model)
        self.updater.load_state_dict(checkpoint.optimizer)
        self.checks = checkpoint.checks

    def finish(self, history: tuple[EpochRecord, ...]) -> Finished:
        """The result of the whole trial."""
        weights = self.model.state_dict()
        diverged = _diverged(history[-1])
        found = over_the_trial(self.recipe, history, self.steps_per_epoch, diverged=diverged)
        self.checks = (*self.checks, *found)
        reason = why_invalid(self.checks)
        # A trial that was only to be finished has not been tested in this process yet.
        with exact_products():
            train, test = self._evaluate(self.train), self.tested or self._evaluate(self.test)
        assert train is not None
        assert test is not None
        ended: Literal["diverged", "complete"] = "diverged" if diverged else "complete"
        result = TrialResult(
            state="invalid" if reason else ended,
            reason=reason,
            checks=self.checks,
            epochs=len(history),
            stopped_early=not reason and ended == "complete" and len(history) < self.recipe.epochs,
            parameters=parameter_count(self.model),
            weights_sha256=weights_sha256(weights),
            train_images=len(self.train[1]),
            validation_images=len(self.validation[1]),
            test_images=len(self.test[1]),
            final_train=train.scores,
            flops=flops(self.recipe, self.shape, self.num_classes),
            peak_memory=peak_memory(self.device),
        )
        said = test.predictions.cpu(), test.confidences.cpu()
        return Finished(result, weights, *said, self.computes())

    def _on_device(self, split: Split) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(split.inputs).to(device=self.device, dtype=self.dtype)
        inputs = inputs.contiguous(memory_format=self.layout)
        return inputs, torch.from_numpy(split.labels).to(self.device)

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _prepare_convolutions(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, dtype: torch.dtype
) -> None:
    """Compile or load what normlab's models run; a model of the user's does so as it trains."""
    if recipe.model.kind in MODELS:
        prepare(_convolutions(recipe, shape, num_classes), recipe.batch_size, dtype)


@lru_cache(maxsize=256)
def _convolutions(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int
) -> tuple[Shape, ...]:
    """The shapes of a model's own convolutions: to find them takes as long as a few small steps."""
    model = build(recipe, shape, num_classes, device="meta").model
    return tuple(shapes(model, (recipe.batch_size, *shape)))


def _diverged(record: EpochRecord) -> bool:
    losses = [record.train_loss]  # not the test loss: the test images decide nothing
    if record.validation_accuracy is not None:
        losses.append(record.validation_loss)
    return any(loss is None for loss in losses)
