"""Signals are remembered until the run has ended, even where the exception was lost."""

import signal
from pathlib import Path

import pytest

from normlab import interrupts
from normlab.errors import SignalledError
from normlab.study.events import EpochEnded, Event
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study

HANDLERS = [n for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]


@pytest.fixture(autouse=True)
def _as_before() -> object:
    before = {name: signal.getsignal(getattr(signal, name)) for name in HANDLERS}
    yield
    interrupts.forget()
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def test_what_came_is_raised_until_it_is_dealt_with() -> None:
    interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        interrupts.stop(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    interrupts.forget()
    interrupts.check()
    with pytest.raises(SignalledError) as caught:
        interrupts.stop(signal.SIGTERM, None)
    assert caught.value.number == signal.SIGTERM


def test_a_run_ends_by_a_signal_whose_exception_was_lost(
    tmp_path: Path, digits: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lost.append)

    class Destroyed:
        def __del__(self) -> None:
            interrupts.stop(signal.SIGTERM, None)  # Python reports what it raises, and goes on

    def lose(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.record.epoch == 1:
            Destroyed()

    study = Study.parse({"name": "s", "question": "?", "base": digits, "seeds": 2})
    summary = run_plan(make_plan(study), tmp_path, listener=lose)
    assert len(lost) == 1
    assert summary.interrupted == "terminated (SIGTERM)"
    assert summary.trained == 0
    again = run_plan(make_plan(study), tmp_path)
    assert (again.trained, again.interrupted) == (2, "")
