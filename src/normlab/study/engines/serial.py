"""The serial engine: one trial after another, in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from normlab.study.engines.engine import Faulted, Message, Task
from normlab.study.engines.work import perform


class SerialEngine:
    """Trains in the calling process, with `threads` CPU threads."""

    workers = 1

    def __init__(self, *, device: str = "cpu", threads: int = 1) -> None:
        self.device = device
        self.threads = threads

    def run(self, tasks: Sequence[Task]) -> Generator[Message, None, None]:
        """Train the tasks in their order; one that memory was too short for again at the end."""
        again: list[Task] = []
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            for task in tasks:
                for message in perform(task, self.device):
                    if isinstance(message, Faulted) and message.may_help_alone:
                        again.append(task)
                    else:
                        yield message
            for task in again:
                yield from perform(task, self.device)
        finally:
            torch.set_num_threads(before)
