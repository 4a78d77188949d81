"""Progress of a run: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from normlab.cli.output import console, counted
from normlab.study.engines import Ended, EpochTrained, Failed, Faulted, Message, Started, Task
from normlab.study.plan import Plan
from normlab.text import shown


def reporter(plan: Plan) -> Lines | Bars:
    """Bars if the output is a terminal, lines otherwise; a context manager around the run."""
    return Bars(plan) if console.is_terminal else Lines(plan)


class Lines:
    """A line when the run begins and one for every trial that ends."""

    def __init__(self, plan: Plan) -> None:
        self.names = plan.record.names
        self.total = self.done = 0
        self.last: dict[str, EpochTrained] = {}

    def begin(self, tasks: Sequence[Task], workers: int) -> None:
        """Say how much there is to do."""
        self.total = len(tasks)
        console.print(f"training {counted(len(tasks), 'trial')} on {counted(workers, 'worker')}")

    def observe(self, message: Message) -> None:
        """Say what ended."""
        if isinstance(message, EpochTrained):
            self.last[message.trial_id] = message
        if isinstance(message, Faulted):
            console.print(
                f"{self.names[message.trial_id]}: not trained, pending again: {message.reason}",
                soft_wrap=True,
            )
        if not isinstance(message, Ended | Failed):
            return
        self.done += 1
        head = f"[{self.done}/{self.total}] {self.names[message.trial_id]}:"
        last = self.last.pop(message.trial_id, None)
        if isinstance(message, Failed) or last is None:
            reason = message.reason.strip().splitlines()[-1] if isinstance(message, Failed) else ""
            console.print(f"{head} failed: {reason}", soft_wrap=True)
            return
        console.print(
            f"{head} {message.result.state} after {counted(message.result.epochs, 'epoch')}, "
            f"test accuracy {100 * last.record.test_accuracy:.2f} %",
            soft_wrap=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take down."""


class Bars:
    """A bar over all epochs of the run and one for each trial that runs."""

    def __init__(self, plan: Plan) -> None:
        self.names = plan.record.names
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.bars: dict[str, TaskID] = {}
        self.epochs: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.total = self.done = 0
        self.overall = TaskID(0)

    def begin(self, tasks: Sequence[Task], workers: int) -> None:
        """Start drawing."""
        self.total = len(tasks)
        self.epochs = {task.trial_id: task.recipe.epochs for task in tasks}
        self.left = dict(self.epochs)
        self.overall = self.progress.add_task(
            self._headline(), total=sum(self.epochs.values()), unit="epochs"
        )
        self.progress.start()

    def observe(self, message: Message) -> None:
        """Move the bars."""
        trial = message.trial_id
        match message:
            case Started():
                if trial not in self.bars:  # or its worker was killed and it starts again
                    name = f"  {shown(self.names[trial])}"
                    self.bars[trial] = self.progress.add_task(
                        name, total=self.epochs[trial], unit="epochs"
                    )
            case EpochTrained():
                self.progress.update(self.bars[trial], completed=message.record.epoch)
                left = self.epochs[trial] - message.record.epoch
                if left < self.left[trial]:  # else sent again
                    self.progress.advance(self.overall, self.left[trial] - left)
                    self.left[trial] = left
            case Faulted():
                if trial in self.bars:
                    self.progress.remove_task(self.bars.pop(trial))
            case Ended() | Failed():
                # A worker may die before its trial has a bar.
                if trial in self.bars:
                    self.progress.remove_task(self.bars.pop(trial))
                self.done += 1
                self.progress.update(
                    self.overall, advance=self.left.pop(trial), description=self._headline()
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def _headline(self) -> str:
        return f"{self.done} of {counted(self.total, 'trial')}"
