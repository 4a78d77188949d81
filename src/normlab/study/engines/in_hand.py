"""The unit that a worker has, and what of it is still to come."""

from __future__ import annotations

from normlab.study.engines.engine import Ended, Failed, Faulted, Message, Task, Unit


class InHand:
    """Keeps account of a unit by the messages of its trials.

    Attributes:
        unit: What the worker was given last.
        open: Those of its trials that have not come to an end, by id.
        short: The ids of those that may come through when they are alone.
    """

    def __init__(self) -> None:
        self.unit: Unit = ()
        self.open: dict[str, Task] = {}
        self.short: set[str] = set()

    def take(self, unit: Unit) -> None:
        """It was given another unit."""
        self.unit, self.short = unit, set()
        self.open = {task.trial_id: task for task in unit}

    def note(self, message: Message, again: list[Unit] | None) -> bool:
        """Keep account of a message; whether its trial is to be taken up again instead of told."""
        if not isinstance(message, Ended | Failed | Faulted):
            return False
        del self.open[message.trial_id]
        if again is None:
            return False
        is_short = isinstance(message, Faulted) and message.may_help_alone
        if is_short:
            self.short.add(message.trial_id)
        if not self.open:
            self.part(again)
        return is_short

    def ends(self, reason: str, *, is_own: bool) -> list[Failed | Faulted]:
        """What is to be told of the open trials when their worker died.

        Of several nobody knows which one was it: each of them may come through.

        Args:
            reason: How it died.
            is_own: Whether it did so itself, and was not ended by the machine or by someone.
        """
        if is_own and len(self.unit) == 1:
            return [Failed(trial, reason) for trial in self.open]
        return [Faulted(trial, reason, may_help_alone=True) for trial in self.open]

    def part(self, again: list[Unit] | None) -> Unit:
        """Nothing more comes of it: what is short goes to `again`, what is open is returned."""
        short = tuple(task for task in self.unit if task.trial_id in self.short)
        if short and again is not None:
            again.append(short)
        left = tuple(self.open.values())
        self.take(())
        return left
