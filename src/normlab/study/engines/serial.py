"""The serial engine: one unit of trials after another, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch

from normlab.study.engines.again import run_again
from normlab.study.engines.engine import Message, Unit
from normlab.study.engines.in_hand import InHand
from normlab.study.engines.work import perform


class SerialEngine:
    """Trains in the calling process, with `threads` CPU threads."""

    workers = 1

    def __init__(self, *, device: str = "cpu", threads: int = 1) -> None:
        self.device = device
        self.threads = threads

    def run(self, units: Iterable[Unit]) -> Generator[Message, None, None]:
        """Train the units in their order; what memory was too short for again at the end."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield from run_again(self._run, units)
        finally:
            torch.set_num_threads(before)

    def _run(
        self, units: Iterable[Unit], again: list[Unit] | None
    ) -> Generator[Message, None, None]:
        hand = InHand()
        for unit in units:
            hand.take(unit)
            for message in perform(unit, self.device):
                if not hand.note(message, again):
                    yield message
