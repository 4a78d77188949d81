"""A plain torch net trained by Lightning's `Trainer` over a DataLoader; no benchmark."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import lightning
from plain_loops import LAYOUTS, Training
from torch import Tensor, nn, optim


class Clock(lightning.Callback):
    """Seconds of the last epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds = now, 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self.begun = self.now()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds = self.now() - self.begun


class Module(lightning.LightningModule):
    """A net with its loss and optimizer."""

    def __init__(self, net: nn.Module, training: Training) -> None:
        super().__init__()
        self.net, self.training_options = net, training

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        if self.training_options.layout != "contiguous":
            images = images.to(memory_format=LAYOUTS[self.training_options.layout])
        logits = self.net(images)
        loss = self.training_options.loss(self.net, logits.float(), labels)
        right = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict({"loss": loss, "accuracy": right}, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> optim.Optimizer:
        return self.training_options.made(self.net)


def fitted(
    net: nn.Module, batches: Any, training: Training, steps: int, now: Callable[[], float]
) -> Callable[[], float]:
    """A window: seconds of a step of an epoch of `fit`; what stands around the epoch is not timed."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, clock = Module(net, training), Clock(now)
    bfloat16 = training.precision == "bfloat16"

    def window() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few workers, and of loggers that are off
            trainer = lightning.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                precision="bf16-mixed" if bfloat16 else "32-true",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[clock],
            )
            trainer.fit(module, batches)
        return clock.seconds / steps

    return window
