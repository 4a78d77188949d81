"""One training: a recipe and a seed in, a record per epoch out, then the result.

The loop knows nothing of studies or stores. Images lie in memory on the device; a batch is an
index.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normlab.data import Split, Splits
from normlab.models import build, parameter_count
from normlab.norms import BatchRenorm, MomentNorm, kernels
from normlab.recipe import Recipe
from normlab.records import EpochRecord, TrialResult
from normlab.train.checkpoint import Checkpoint, weights_sha256
from normlab.train.losses import LOSSES
from normlab.train.metrics import Scores, confusion, scores
from normlab.train.optimizer import Updater
from normlab.train.streams import initialize, order, reseed_dropout

_EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class EpochDone:
    """A whole epoch is done; `checkpoint` continues from here.

    The checkpoint shares memory with the model that trains on: use it before the next epoch.
    """

    record: EpochRecord
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Finished:
    """The training ended, with its weights and buffers by name."""

    result: TrialResult
    weights: dict[str, Tensor]


def train(
    recipe: Recipe,
    seed: int,
    splits: Splits,
    *,
    device: str = "cpu",
    resume: Checkpoint | None = None,
) -> Iterator[EpochDone | Finished]:
    """Train one trial.

    Args:
        recipe: What to train and how.
        seed: Of every random stream.
        splits: The images, scaled; see `normlab.data.splits`.
        device: "cpu" or "cuda".
        resume: Where an earlier run of this trial stopped. The result is bit-identical to an
            uninterrupted run on the same device, thread count and torch.

    Yields:
        `EpochDone` after each epoch, at last `Finished`. A loss that is NaN or infinite ends the
        trial as diverged, with that epoch recorded.
    """
    trainer = _Trainer(recipe, seed, splits, torch.device(device))
    history: tuple[EpochRecord, ...] = ()
    if resume is not None:
        trainer.restore(resume)
        history = resume.history
    while len(history) < recipe.epochs and not (history and _diverged(history[-1])):
        # float32 means float32: cudnn's default is TF32, with 10 bits of mantissa.
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            record = trainer.epoch(len(history) + 1)
        history = (*history, record)
        yield EpochDone(record, trainer.checkpoint(history))
    yield trainer.finish(history)


class _Trainer:
    """Model, data and optimizer of one trial on its device."""

    def __init__(self, recipe: Recipe, seed: int, splits: Splits, device: torch.device) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        self.num_classes = splits.num_classes
        self.dtype = torch.float64 if recipe.precision == "float64" else torch.float32
        self.train = self._on_device(splits.train)
        self.validation = self._on_device(splits.validation)
        self.test = self._on_device(splits.test)
        model = build(recipe, splits.shape, splits.num_classes).model
        initialize(model, seed)
        self.model: nn.Module = model.to(device=device, dtype=self.dtype)
        if any(isinstance(module, MomentNorm) for module in self.model.modules()):
            # Compiling is no training: it must not count in the first epoch's seconds.
            kernels.prepare(torch.empty(1, 1, 1, 1, dtype=self.dtype, device=device))
        self.renorms = [m for m in self.model.modules() if isinstance(m, BatchRenorm)]
        self.loss = LOSSES[recipe.loss]
        self.steps_per_epoch = math.ceil(len(splits.train) / recipe.batch_size)
        self.updater = Updater(recipe, self.model, self.steps_per_epoch)

    def epoch(self, epoch: int) -> EpochRecord:
        """Train one epoch (1 for the first), then evaluate."""
        inputs, labels = self.train
        count = len(labels)
        batches = torch.split(
            order(count, self.seed, epoch).to(self.device), self.recipe.batch_size
        )
        predictions = torch.empty_like(labels)
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        reseed_dropout(self.model, self.seed, epoch, self.device)
        self.model.train()
        start = self._clock()
        for step, batch in enumerate(batches, start=(epoch - 1) * self.steps_per_epoch):
            for layer in self.renorms:
                layer.progress = step / (self.steps_per_epoch * self.recipe.epochs)
            with self._precision():
                logits = self.model(inputs[batch])
            logits = logits.to(self.dtype)
            loss = self.loss(logits, labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            self.updater.step(step)
            loss_sum += loss.detach() * len(batch)
            predictions[batch] = logits.detach().argmax(dim=1)
        seconds = self._clock() - start
        trained = scores(confusion(labels, predictions, self.num_classes))
        validation_loss, validation = self._evaluate(*self.validation)
        test_loss, test = self._evaluate(*self.test)
        assert test is not None
        return EpochRecord(
            epoch=epoch,
            lr=self.updater.lr,
            train_loss=_finite(float(loss_sum) / count),
            train_accuracy=trained.accuracy,
            train_macro_f1=trained.macro_f1,
            train_micro_f1=trained.micro_f1,
            validation_loss=validation_loss,
            validation_accuracy=validation.accuracy if validation else None,
            validation_macro_f1=validation.macro_f1 if validation else None,
            validation_micro_f1=validation.micro_f1 if validation else None,
            test_loss=test_loss,
            test_accuracy=test.accuracy,
            test_macro_f1=test.macro_f1,
            test_micro_f1=test.micro_f1,
            seconds=seconds,
            examples_per_second=count / seconds,
        )

    @torch.no_grad()
    def _evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[float | None, Scores | None]:
        """Mean loss and scores in eval mode; (None, None) of an empty split."""
        if not len(labels):
            return None, None
        self.model.eval()
        loss_sum, predictions = 0.0, torch.empty_like(labels)
        for first in range(0, len(labels), _EVALUATION_BATCH):
            part = slice(first, first + _EVALUATION_BATCH)
            with self._precision():
                logits = self.model(inputs[part])
            logits = logits.to(self.dtype)
            loss_sum += float(self.loss(logits, labels[part])) * len(logits)
            predictions[part] = logits.argmax(dim=1)
        found = scores(confusion(labels, predictions, self.num_classes))
        return _finite(loss_sum / len(labels)), found

    def checkpoint(self, history: tuple[EpochRecord, ...]) -> Checkpoint:
        """The state after the last epoch of `history`; shares memory with the model."""
        return Checkpoint(self.model.state_dict(), self.updater.state_dict(), history)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state of a checkpoint."""
        self.model.load_state_dict(checkpoint.model)
        self.updater.load_state_dict(checkpoint.optimizer)

    def finish(self, history: tuple[EpochRecord, ...]) -> Finished:
        """The result of the whole trial."""
        weights = self.model.state_dict()
        result = TrialResult(
            state="diverged" if _diverged(history[-1]) else "complete",
            epochs=len(history),
            parameters=parameter_count(self.model),
            weights_sha256=weights_sha256(weights),
            train_images=len(self.train[1]),
            validation_images=len(self.validation[1]),
            test_images=len(self.test[1]),
        )
        return Finished(result, weights)

    def _on_device(self, split: Split) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(split.inputs).to(device=self.device, dtype=self.dtype)
        return inputs, torch.from_numpy(split.labels).to(self.device)

    def _precision(self) -> AbstractContextManager[object]:
        if self.recipe.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _diverged(record: EpochRecord) -> bool:
    losses = [record.train_loss]  # not the test loss: the test images decide nothing
    if record.validation_accuracy is not None:
        losses.append(record.validation_loss)
    return any(loss is None for loss in losses)
