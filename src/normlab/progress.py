"""Progress of a run: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from normlab.study.events import (
    EpochEnded,
    Event,
    LookTaken,
    RunBegan,
    RunEnded,
    RunWaits,
    TrialEnded,
    TrialEvent,
    TrialPutBack,
    TrialStarted,
    TrialTakenOver,
)
from normlab.terminal import console
from normlab.text import shown
from normlab.wording import counted, hours_text

_MOST_BARS = 8
"""Trials that have a bar at a time: of many that train together the others wait for a place."""


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


def others_text(event: RunWaits | TrialTakenOver) -> str:
    """What other runs in the same folder do."""
    if isinstance(event, RunWaits):
        return f"waiting for {counted(event.trials, 'trial')} in training by other runs"
    return f"{event.name}: taken over by another run, as this one stood still"


class Lines:
    """A line when a run begins and one for every trial that ends."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def __call__(self, event: Event) -> None:
        """Say what began or ended."""
        match event:
            case RunBegan(trials=trials, workers=workers, together=together):
                self.total, self.done = trials, 0
                if trials:
                    up_to = f", up to {together} together" if together > 1 else ""
                    on = counted(workers, "worker")
                    console.print(f"training {counted(trials, 'trial')} on {on}{up_to}")
            case TrialPutBack():
                console.print(
                    f"{event.name}: not trained, still pending: {event.reason}", soft_wrap=True
                )
            case RunWaits() | TrialTakenOver():
                console.print(others_text(event), soft_wrap=True)
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
        self.kept: dict[str, int] = {}
        self.paces: dict[str, Pace] = {}
        self.total = self.done = 0
        self.overall, self.overall_pace = TaskID(0), Pace()
        self.drawing = False

    def __call__(self, event: Event) -> None:
        """Draw, move or remove bars."""
        match event:
            case RunBegan(trials=trials):
                if trials:
                    self._begin(event)
            case TrialStarted():
                self._take_up(event)
            case EpochEnded():
                self._advance(event)
            case TrialPutBack():
                self._remove(event)
            case TrialTakenOver():
                self._remove(event)
                console.print(others_text(event), soft_wrap=True)
            case RunWaits():
                console.print(others_text(event), soft_wrap=True)
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
        self._stop()  # where trials of another run are taken up
        self.progress, self.bars, self.left = _progress(), {}, {}
        self.kept, self.paces, self.overall_pace = {}, {}, Pace()
        self.total, self.done = event.trials, 0
        self.overall = self.progress.add_task(
            self._headline(), total=event.epochs, unit="epochs", pace=self.overall_pace
        )
        self.progress.start()
        self.drawing = True

    def _take_up(self, event: TrialStarted) -> None:
        now = self.progress.get_time()
        self.overall_pace.begin(now)
        self.kept[event.id] = event.epochs
        if event.id not in self.bars:  # or its worker was killed and it starts again
            pace = self.paces[event.id] = Pace()
            pace.begin(now)
            self.bars[event.id] = self.progress.add_task(
                f"  {shown(event.name)}",
                total=event.planned_epochs,
                unit="epochs",
                pace=pace,
                visible=len(self.bars) < _MOST_BARS,
            )

    def _advance(self, event: EpochEnded) -> None:
        epoch = event.record.epoch
        self.progress.update(self.bars[event.id], completed=epoch)
        left = event.planned_epochs - epoch
        before = self.left.get(event.id, event.planned_epochs)
        if epoch > self.kept[event.id]:  # trained in this run
            for pace in (self.overall_pace, self.paces[event.id]):
                pace.count(self.progress.get_time())
        if left < before:  # else sent again
            self.progress.advance(self.overall, before - left)
            self.left[event.id] = left

    def _stop(self) -> None:
        if self.drawing:
            self.drawing = False
            self.progress.stop()

    def _remove(self, event: TrialEvent) -> None:
        if event.id in self.bars:  # a worker may die before its trial has a bar
            self.progress.remove_task(self.bars.pop(event.id))
            for task in list(self.bars.values())[:_MOST_BARS]:
                self.progress.update(task, visible=True)

    def _headline(self) -> str:
        return f"{self.done} of {counted(self.total, 'trial')}"


class Pace:
    """How fast epochs come, from the first trial's start to the last epoch.

    Trials that train together end their epochs all at once. So the pace of the last seconds, which
    bars usually go by, would be that of a burst, or none.
    """

    def __init__(self) -> None:
        self.begun: float | None = None
        self.last = 0.0
        self.epochs = 0

    def begin(self, now: float) -> None:
        """Training begins, if it has not."""
        self.begun = now if self.begun is None else self.begun

    def count(self, now: float) -> None:
        """An epoch was trained."""
        self.last, self.epochs = now, self.epochs + 1

    def seconds_left(self, epochs: float, now: float) -> float | None:
        """Until so many more are trained; None before the first."""
        if self.begun is None or not self.epochs:
            return None
        each = (self.last - self.begun) / self.epochs
        return max(epochs * each - (now - self.last), 0.0)


class _TimeLeft(ProgressColumn):
    """The time left by a bar's own `Pace`."""

    max_refresh = 0.5  # seconds

    def render(self, task: Task) -> Text:
        """As hours, minutes and seconds."""
        seconds = task.fields["pace"].seconds_left(task.remaining or 0, task.get_time())
        if seconds is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, rest = divmod(math.ceil(seconds), 60)
        text = f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
        return Text(text, style="progress.remaining")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        _TimeLeft(),
        console=console,
    )


def _ended_text(event: TrialEnded) -> str:
    if event.state == "failed" or event.test_accuracy is None:
        return f"failed: {event.reason}"
    return (
        f"{event.state} after {counted(event.epochs, 'epoch')}, "
        f"test accuracy {100 * event.test_accuracy:.2f} %"
    )
