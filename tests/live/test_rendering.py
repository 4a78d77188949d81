"""The process that draws: its answers, its errors, its end."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from normlab.errors import NormlabError, UserError
from normlab.live.rendering import NICE, Renderer
from tests.made_stores import fill, plan

_CODE = "the process that draws has ended"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("runs") / "s", plan(range(2)), [("batch", 0), ("none", 1)])


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    made = Renderer()
    yield made
    made.close()


def test_it_draws_a_report_and_figures_and_says_what_they_took(
    renderer: Renderer, study: Path
) -> None:
    body = renderer.body(study)
    assert 'id="part-answer"' in body["content"]
    assert body["seconds"] > 0
    [figure] = renderer.compare(study, ["none"], ["test_loss"])["content"]
    assert figure["name"] == "test-loss"
    assert '"arm":"none"' in figure["spec"]
    assert "vegaEmbed" in renderer.static()["content"]["vega.js"]


def test_what_a_user_can_mend_comes_back_as_such_and_the_process_stays(
    renderer: Renderer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        renderer.body(tmp_path)
    process = renderer._process
    with pytest.raises(UserError, match="holds no runs"):
        renderer.compare(tmp_path, [], ["lr"])
    assert renderer._process is process


def test_it_comes_after_trainings(renderer: Renderer, study: Path) -> None:
    renderer.compare(study, [], ["lr"])
    assert renderer._process is not None
    if not hasattr(os, "getpriority"):
        pytest.skip("no priorities of processes here")
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, renderer._process.pid) == min(own + NICE, 19)


def test_one_that_was_killed_is_said_and_another_is_started(
    renderer: Renderer, study: Path
) -> None:
    renderer.compare(study, [], ["lr"])
    assert renderer._process is not None
    before = renderer._process.pid
    os.kill(before, signal.SIGKILL)
    renderer._process.wait()
    renderer._process.returncode = None  # as if it had died while it drew
    renderer._process.poll = lambda: None  # type: ignore[method-assign]
    with pytest.raises(NormlabError, match=_CODE):
        renderer.compare(study, [], ["lr"])
    assert renderer.compare(study, [], ["lr"])["content"]
    assert renderer._process.pid != before


def test_it_ends_when_its_server_is_gone(study: Path) -> None:
    made = Renderer()
    made.compare(study, [], ["lr"])
    process = made._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()


def test_no_module_of_the_current_folder_takes_another_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Path
) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    made = Renderer()
    try:
        assert made.compare(study, [], ["lr"])["content"]
    finally:
        made.close()


def test_it_can_be_ended_while_another_thread_waits_for_a_drawing(study: Path) -> None:
    made = Renderer()
    made.compare(study, [], ["lr"])
    process = made._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # so that the drawing takes for ever
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(made.compare, study, [], ["lr"])
        time.sleep(0.2)
        made.close()
        with pytest.raises(NormlabError, match=_CODE):
            waiting.result(30)
    assert made._process is None
    assert process.returncode is not None


def test_one_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch, study: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(NormlabError, match=r"cannot be started: Resource temporarily unavailable"):
        Renderer().compare(study, [], ["lr"])


def test_what_a_drawing_takes_is_without_the_imports_of_libraries(study: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from normlab.live import drawing; "
        "before = set(sys.modules); drawing.body(Path(sys.argv[1])); "
        "print(*(name for name in set(sys.modules) - before if name.startswith('scipy')))"
    )
    command = [sys.executable, "-c", code, str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
