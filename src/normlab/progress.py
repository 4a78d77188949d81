"""Progress of a run: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from normlab.study.events import (
    EpochEnded,
    Event,
    LookTaken,
    RunBegan,
    RunEnded,
    TrialEnded,
    TrialEvent,
    TrialPutBack,
    TrialStarted,
)
from normlab.terminal import console
from normlab.text import shown
from normlab.wording import counted, hours_text


def reporter() -> Lines | Bars:
    """Bars if the output is a terminal, lines otherwise; a context manager around a run."""
    return Bars() if console.is_terminal else Lines()


def look_text(look: LookTaken) -> str:
    """What a look found, and what the next one takes."""
    lines = []
    for name, word in look.settled_claims.items():
        lines.append(f"{word}: {name}")
    lines.append(
        f"still open: {'; '.join(look.open_claims)}" if look.open_claims else "no claim is open"
    )
    if (ahead := look.next_look) is not None:
        lines.append(
            f"next look, {ahead.seeds} seeds of {counted(ahead.arms, 'arm')}: "
            f"{counted(ahead.trials, 'trial')}, about {hours_text(ahead.hours)} on one worker"
        )
    return "\n  ".join([f"{look.seeds} seeds:", *lines])


class Lines:
    """A line when a run begins and one for every trial that ends."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def __call__(self, event: Event) -> None:
        """Say what began or ended."""
        match event:
            case RunBegan(trials=trials, workers=workers):
                self.total, self.done = trials, 0
                if trials:
                    console.print(
                        f"training {counted(trials, 'trial')} on {counted(workers, 'worker')}"
                    )
            case TrialPutBack():
                console.print(
                    f"{event.name}: not trained, still pending: {event.reason}", soft_wrap=True
                )
            case TrialEnded():
                self.done += 1
                text = f"[{self.done}/{self.total}] {event.name}: {_ended_text(event)}"
                console.print(text, soft_wrap=True)
            case LookTaken():
                console.print(look_text(event), soft_wrap=True)
            case _:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take down."""


class Bars:
    """A bar over all epochs of a run and one for each trial that is trained."""

    def __init__(self) -> None:
        self.progress = _progress()
        self.bars: dict[str, TaskID] = {}
        self.left: dict[str, int] = {}
        self.total = self.done = 0
        self.overall = TaskID(0)
        self.drawing = False

    def __call__(self, event: Event) -> None:
        """Draw, move or remove bars."""
        match event:
            case RunBegan(trials=trials):
                if trials:
                    self._begin(event)
            case TrialStarted():
                if event.id not in self.bars:  # or its worker was killed and it starts again
                    self.bars[event.id] = self.progress.add_task(
                        f"  {shown(event.name)}", total=event.planned_epochs, unit="epochs"
                    )
            case EpochEnded(record=record):
                self.progress.update(self.bars[event.id], completed=record.epoch)
                left = event.planned_epochs - record.epoch
                before = self.left.get(event.id, event.planned_epochs)
                if left < before:  # else sent again
                    self.progress.advance(self.overall, before - left)
                    self.left[event.id] = left
            case TrialPutBack():
                self._remove(event)
            case TrialEnded():
                self._remove(event)
                self.done += 1
                self.progress.update(
                    self.overall,
                    advance=self.left.pop(event.id, event.planned_epochs),
                    description=self._headline(),
                )
            case RunEnded():
                self._stop()
            case LookTaken():
                console.print(look_text(event), soft_wrap=True)
            case _:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _begin(self, event: RunBegan) -> None:
        self.progress, self.bars, self.left = _progress(), {}, {}
        self.total, self.done = event.trials, 0
        self.overall = self.progress.add_task(self._headline(), total=event.epochs, unit="epochs")
        self.progress.start()
        self.drawing = True

    def _stop(self) -> None:
        if self.drawing:
            self.drawing = False
            self.progress.stop()

    def _remove(self, event: TrialEvent) -> None:
        if event.id in self.bars:  # a worker may die before its trial has a bar
            self.progress.remove_task(self.bars.pop(event.id))

    def _headline(self) -> str:
        return f"{self.done} of {counted(self.total, 'trial')}"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _ended_text(event: TrialEnded) -> str:
    if event.state == "failed" or event.test_accuracy is None:
        return f"failed: {event.reason}"
    return (
        f"{event.state} after {counted(event.epochs, 'epoch')}, "
        f"test accuracy {100 * event.test_accuracy:.2f} %"
    )
