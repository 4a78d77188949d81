"""The Ray engine, on a cluster of three nodes that the tests start on this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normlab.source
from normlab import data
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.store import Store
from normlab.study.engines import Ended, EpochTrained, Started, Task
from normlab.study.engines.engine import Message
from normlab.study.engines.ray import cluster as cluster_module
from normlab.study.engines.ray import engine as engine_module
from normlab.study.engines.ray.cluster import Needs
from normlab.study.engines.ray.engine import RayEngine, _inside, _verdict
from normlab.study.engines.ray.shipping import Given, Module, modules_of
from normlab.study.engines.ray.worker import Work, install
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.xdist_group("ray"),  # one cluster, not one for each of pytest's workers
]

DATA = {"kind": "digits", "limit": 4, "test_limit": 2}
SRC = str(Path(__file__).parents[2] / "src")


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Any]]:
    """Three nodes of one core each, and this process connected to them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'normlab[ray]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # What workers import normlab from, wherever this process has it from.
        path = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))
        patch.setenv("PYTHONPATH", path)
        patch.setattr(engine_module, "_ANSWER", 4.0)
        patch.setattr(engine_module, "_HIRING", 0.2)
        size = {"num_cpus": 1, "object_store_memory": 80 << 20}
        made = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        try:
            every = [made.head_node, made.add_node(**size), made.add_node(**size)]
            made.wait_for_nodes()
            with cluster_module.connected(made.address):
                yield [*every, made]
        finally:
            made.shutdown()


@pytest.fixture
def options(nodes: list[Any]) -> RunOptions:
    return RunOptions(engine="ray", workers="auto")


def study(**values: Any) -> Plan:
    base = {"data": DATA, "model": "digits-small", "norm": "batch", "epochs": 2, "batch_size": 20}
    base |= values.pop("base", {})
    return make_plan(Study.parse({"name": "s", "question": "?", "base": base, **values}))


def results(folder: Path) -> dict[str, list[Any]]:
    """What must be equal: by trial its result and every epoch, but for times and memory."""
    with Store.read(folder / "s") as store:
        ids = list(store.plan().trials)
        found = {row["id"]: [row["state"], row["result"]] for row in store.rows("trials", ids)}
        for row in store.rows("epochs", ids):
            found[row["trial_id"]].append(dict(row))
    for said in found.values():
        result = json.loads(said[1])
        assert result["weights_sha256"]
        said[1] = {key: value for key, value in result.items() if key != "peak_memory"}
        said[2:] = sorted(map(_timeless, said[2:]), key=str)
        assert len(said) > 2
    return found


def _timeless(row: Any) -> Any:
    if isinstance(row, str) and row.startswith("{"):
        row = json.loads(row)
    if isinstance(row, dict):
        return {key: _timeless(value) for key, value in row.items() if "second" not in key}
    return row


def files(folder: Path) -> dict[str, bytes]:
    """The artifacts, which hold no time."""
    root = folder / "s" / "artifacts"
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class Watch:
    """Notes every message with the node it came from, before it is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, Message]] = []
        self.at: Any = lambda worker, message: None
        inner = engine_module._Shift._take

        def take(shift: Any, worker: Any, told: Any) -> Iterator[Message]:
            self.seen.append((worker.node.id, told.message))
            yield from inner(shift, worker, told)
            self.at(worker, told.message)

        monkeypatch.setattr(engine_module._Shift, "_take", take)


def test_trials_are_those_of_the_serial_engine_without_a_shared_folder(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the processor has lanes, arms of two seeds train together."""
    monkeypatch.setattr(RayEngine, "marker", lambda *_: None)
    made = study(seeds=2, factors={"norm": ["batch", "none"]})
    assert run_plan(made, tmp_path / "ray", options).counts == {"complete": 4}
    assert run_plan(made, tmp_path / "serial", RunOptions()).counts == {"complete": 4}
    assert results(tmp_path / "ray") == results(tmp_path / "serial")
    assert files(tmp_path / "ray") == files(tmp_path / "serial")
    assert files(tmp_path / "ray")
    with Store.read(tmp_path / "ray" / "s") as store:
        places = [place for each in store.places(list(made.trials)).values() for place in each]
    assert {place["node"] for place in places} == {socket.gethostname()}
    again = run_plan(made, tmp_path / "ray", RunOptions(same_machine=True))
    assert again.trained == 0, "a node's name tells nothing of its bits"


def test_what_a_lost_node_had_goes_on_elsewhere(
    nodes: list[Any],
    options: RunOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torch_path: None,
) -> None:
    monkeypatch.setattr(engine_module, "_WAITING", 1)  # none is far ahead of what was heard
    made = study(seeds=12, base={"epochs": 8})
    watch, victims = Watch(monkeypatch), []
    spare = nodes[2]

    def at(worker: Any, message: Message) -> None:
        there = worker.node.id == spare.node_id
        if not victims and there and isinstance(message, EpochTrained):
            victims.append(message.trial_id)
            nodes[3].remove_node(spare, allow_graceful=False)
            # Its workers would find out after a while; a machine that is gone takes them along.
            pid = int(Path(worker.last_words).parent.name.split("-")[3])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    watch.at = at
    try:
        summary = run_plan(made, tmp_path / "ray", options)
    finally:
        nodes[2] = nodes[3].add_node(num_cpus=1, object_store_memory=80 << 20)
    assert victims, "the node had nothing to lose"
    assert summary.counts == {"complete": 12}
    assert not summary.put_back
    ended = [m.trial_id for _, m in watch.seen if isinstance(m, Ended)]
    assert sorted(ended) == sorted(made.trials)
    starts = [m.epochs for _, m in watch.seen if isinstance(m, Started) and m.trial_id in victims]
    assert len(starts) == 2
    assert starts[1] >= 1, "it went on from its checkpoint"
    run_plan(made, tmp_path / "serial", RunOptions())
    assert results(tmp_path / "ray") == results(tmp_path / "serial")
    assert not list((tmp_path / "ray" / "s").glob(".normlab-*"))


OWN = """
import os, signal
import numpy as np
from torch import nn
from own_help import CLASSES

def load():
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (32, 1, 8, 8)).astype(np.uint8)
    labels = np.arange(32) % CLASSES
    return (images[:24], labels[:24]), (images[24:], labels[24:])

class Net(nn.Module):
    def __init__(self, in_channels, num_classes, how="train"):
        super().__init__()
        self.how = how
        self.conv, self.bn = nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        if "CALLS" not in os.environ:  # on a node, not where the study is planned
            if self.how == "raise":
                raise ArithmeticError("planted")
            if self.how in ("SIGSEGV", "SIGKILL"):
                os.kill(os.getpid(), getattr(signal, self.how))
        return self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))
"""


def test_own_code_and_images_are_sent_and_each_trial_ends_as_it_deserves(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_ray.py").write_text(OWN)
    (tmp_path / "own_help.py").write_text("CLASSES = 3\n")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.syspath_prepend(str(tmp_path))
    # As on a machine that shares no disk.
    monkeypatch.setattr(engine_module, "Given", partial(Given, path=()))
    monkeypatch.setattr(RayEngine, "marker", lambda *_: None)
    how = ["train", "raise", "SIGSEGV", "SIGKILL"]
    made = study(
        base={"data": "own_ray:load", "model": "own_ray:Net", "epochs": 1},
        arms=[{"label": one, "set": {"model.how": one}} for one in how],
        seeds=1,
    )
    ids = {trial.arm.label: trial.id for trial in made.trials.values()}
    summary = run_plan(made, tmp_path / "ray", options)
    assert summary.counts == {"complete": 1, "failed": 2, "pending": 1}
    assert summary.put_back.keys() == {ids["SIGKILL"]}
    assert "ended (out of memory?)" in summary.put_back[ids["SIGKILL"]]
    assert summary.failures[ids["raise"]].endswith("ArithmeticError: planted")
    assert "Segmentation fault" in summary.failures[ids["SIGSEGV"]]
    with Store.read(tmp_path / "ray" / "s") as store:
        reasons = {row["id"]: row["reason"] for row in store.rows("trials", list(made.trials))}
    assert "own_ray.py" in reasons[ids["raise"]]
    assert "in forward" in reasons[ids["SIGSEGV"]]
    assert set((tmp_path / "calls").read_text().split()) == {str(os.getpid())}


def test_one_node_with_other_code_is_left_out_and_said(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["normlab code 1 against 2 here"])
    monkeypatch.setattr(RayEngine, "difference", lambda *_: next(answers, ""))
    summary = run_plan(study(seeds=3), tmp_path, options)
    assert summary.counts == {"complete": 3}
    assert summary.notes == (
        f"node left out, {socket.gethostname()}: normlab code 1 against 2 here",
    )


def test_other_code_on_every_node_is_one_message(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, made = normlab.source.source_hash(), study(seeds=2)
    monkeypatch.setattr(normlab.source, "source_hash", lambda *_: "0" * 12)
    with pytest.raises(UserError) as error:
        run_plan(made, tmp_path, options)
    assert f"{socket.gethostname()}: normlab code {ours} against {'0' * 12} here" in str(
        error.value
    )
    with Store.read(tmp_path / "s") as store:
        assert {row["state"] for row in store.rows("trials", list(made.trials))} == {"pending"}


def test_workers_that_cannot_begin_on_any_node_are_one_message(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were given their units already, and these wait again."""
    monkeypatch.setattr(engine_module, "Given", partial(Given, path=None))
    monkeypatch.setattr(engine_module, "_PATIENCE", 20.0)
    made = study(seeds=2)
    with pytest.raises(UserError, match=r"can train for this normlab: .*'NoneType' object"):
        run_plan(made, tmp_path, options)
    with Store.read(tmp_path / "s") as store:
        assert {row["state"] for row in store.rows("trials", list(made.trials))} == {"pending"}


def test_an_interrupted_run_frees_the_nodes_and_goes_on(
    nodes: list[Any], options: RunOptions, tmp_path: Path, torch_path: None
) -> None:
    import ray

    def stop(event: Any) -> None:
        if type(event).__name__ == "EpochEnded":
            raise KeyboardInterrupt

    made = study(seeds=3, base={"epochs": 4})
    assert run_plan(made, tmp_path / "ray", options, stop).interrupted == "interrupted"
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU", 0) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 3
    assert ray.is_initialized(), "it was there before the run"
    with Store.read(tmp_path / "ray" / "s") as store:
        assert {row["state"] for row in store.rows("trials", list(made.trials))} == {"pending"}
    assert run_plan(made, tmp_path / "ray", RunOptions()).counts == {"complete": 3}
    run_plan(made, tmp_path / "serial", RunOptions())
    assert results(tmp_path / "ray") == results(tmp_path / "serial")


def test_a_checkpoint_travels_to_a_node_and_not_back_as_it_is(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_path: None
) -> None:
    def stop(event: Any) -> None:
        if type(event).__name__ == "EpochEnded":
            raise KeyboardInterrupt

    sent: list[tuple[int, list[str]]] = []
    inner = engine_module._Shift._take

    def take(shift: Any, worker: Any, told: Any) -> Iterator[Message]:
        if isinstance(told.message, EpochTrained):
            sent.append((told.message.record.epoch, list(told.files)))
        yield from inner(shift, worker, told)

    monkeypatch.setattr(RayEngine, "marker", lambda *_: None)
    monkeypatch.setattr(engine_module._Shift, "_take", take)
    made = study(seeds=1, base={"epochs": 3})
    (trial,) = made.trials
    assert run_plan(made, tmp_path, RunOptions(), stop).interrupted == "interrupted"
    assert run_plan(made, tmp_path, options).counts == {"complete": 1}
    assert sent[:2] == [(1, []), (2, [f"checkpoints/{trial}.pt"])]


def test_what_no_node_has_is_said(nodes: list[Any], tmp_path: Path) -> None:
    made = study(seeds=1)
    with pytest.raises(UserError, match=r"has 2 cores for a worker: .* has 1 core\b"):
        run_plan(made, tmp_path, RunOptions(engine="ray", threads=2))
    with pytest.raises(UserError, match=r"no node of the Ray cluster at .* has a GPU"):
        run_plan(made, tmp_path, RunOptions(engine="ray", device="cuda"))


def test_no_cluster_at_the_address_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'normlab[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "normlab", "run", "digits-norms", "--quick"]
    done = subprocess.run(
        [*command, "--engine", "ray", "--address", address, "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": SRC},
        check=False,
    )
    assert done.returncode == 2
    assert f"no Ray cluster at {address}" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "digits-norms" / "store.sqlite").exists()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_another_server_at_the_address_is_no_cluster(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                if answer is None:
                    time.sleep(1)  # says nothing
                else:
                    line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"no Ray cluster at 127.0.0.1:{port}"):
            cluster_module._try(f"127.0.0.1:{port}", f"127.0.0.1:{port}")
        thread.join()


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":6379x"])
def test_an_address_is_a_host_with_a_port(address: str) -> None:
    with pytest.raises(UserError, match="auto or HOST:PORT is allowed"):
        cluster_module._resolved(address)


def test_where_no_cluster_runs_auto_is_a_mistake_of_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = pytest.importorskip("ray._private.services")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: None)
    with pytest.raises(UserError, match="no Ray cluster runs here"):
        cluster_module._resolved("auto")


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "auto"},
        {"engine": "processes", "gpus_per_worker": 0.5},
        {"engine": "serial", "workers": 2},
    ],
)
def test_options_of_another_engine_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        run_plan(study(seeds=2), tmp_path, RunOptions(**wrong))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "rays"},
        {"gpus_per_worker": 0},
        {"memory_per_worker": -1},
        {"memory_per_worker": float("inf")},
        {"memory_per_worker": 1e300},
        {"gpus_per_worker": float("nan")},
        {"gpus_per_worker": 1.5},
        {"gpus_per_worker": 0.00001},
    ],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        RunOptions(**wrong)


@pytest.mark.parametrize("gpus", [0.25, 0.3333, 1, 1.0, 2])
def test_gpus_are_whole_or_a_share_of_one(gpus: float) -> None:
    assert RunOptions(engine="ray", gpus_per_worker=gpus).gpus_per_worker == gpus


def test_a_worker_without_the_gpu_that_it_was_given_does_not_begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a node has torch's build for CPUs: every trial that it got would fail."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="torch sees no GPU"):
        Work(Given(device="cuda", threads=1, folder=tmp_path, marker=None))


def test_a_node_has_room_for_what_its_scarcest_resource_allows() -> None:
    node = {"CPU": 8.0, "GPU": 1.0, "memory": 16 * 2**30}
    assert Needs(cpus=2).room(node) == 4
    assert Needs(cpus=1, gpus=0.25).room(node) == 4
    assert Needs(cpus=1, gpus=0.1).room({**node, "CPU": 99.0}) == 10  # 1 / 0.1 is 10 here
    assert Needs(cpus=1, memory=5 * 2**30).room(node) == 3
    assert Needs(cpus=1, gpus=1.0).room({"CPU": 4.0}) == 0


def test_a_crash_is_the_trial_s_and_a_full_memory_is_not() -> None:
    said = 'Fatal Python error: Segmentation fault\n\n  File "net.py", line 3 in forward\n'
    reason, is_own = _verdict(said, "a")
    assert is_own
    assert reason.splitlines()[-1].endswith("crashed: Fatal Python error: Segmentation fault")
    assert "net.py" in reason
    assert _verdict("", "a")[1] is False
    assert _verdict("Fatal Python error: Bus error\n", "a")[1] is False


@pytest.mark.parametrize("name", ["../x", "/etc/x", "store.sqlite", "artifacts/../store.sqlite"])
def test_a_worker_writes_nothing_but_a_trial_s_files(name: str) -> None:
    with pytest.raises(UserError):
        _inside(name)
    assert str(_inside("artifacts/0/weights.pt")) == "artifacts/0/weights.pt"


@pytest.mark.parametrize(
    "name",
    [
        "ATEN_CPU_CAPABILITY",
        "MKL_CBWR",
        "NORMLAB_BACKEND",
        "NORMLAB_LANES",
        "NUMBA_CPU_NAME",
        "ONEDNN_MAX_CPU_ISA",
    ],
)
def test_what_the_user_set_of_how_is_computed_holds_on_every_node(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, "set here")
    given = Given(device="cpu", threads=1, folder=tmp_path, marker=None)
    assert given.settings[name] == "set here"


def test_modules_are_written_as_whole_packages_and_only_where_they_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "pack_ray").mkdir(parents=True)
    (here / "pack_ray" / "__init__.py").write_bytes(b"")
    (here / "pack_ray" / "a.py").write_bytes(b"A = 1\n")
    monkeypatch.syspath_prepend(str(here))
    sent = [
        Module(name="pack_ray", path="pack_ray/__init__.py", source=b""),
        Module(name="pack_ray.a", path="pack_ray/a.py", source=b"A = 1\n"),
    ]
    assert not install(sent, tmp_path / "to")
    other = [*sent[:1], Module(name="pack_ray.a", path="pack_ray/a.py", source=b"A = 2\n")]
    assert install(other, tmp_path / "to")
    assert sorted(p.name for p in (tmp_path / "to" / "pack_ray").iterdir()) == [
        "__init__.py",
        "a.py",
    ]


def test_modules_in_an_archive_are_sent_as_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "zipped_ray/__init__.py": b"",
        "zipped_ray/net.py": b"from zipped_ray.part import A\nNet = A\n",
        "zipped_ray/part.py": b"A = 1\n",
    }
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for name, source in sources.items():
            archive.writestr(name, source)
    monkeypatch.syspath_prepend(str(tmp_path / "own.zip"))
    recipe = Recipe.parse({"data": DATA, "model": "zipped_ray.net:Net"})
    unit = [
        Task(trial_id=str(seed), recipe=recipe, seed=seed, folder=tmp_path, code="of both")
        for seed in range(2)
    ]
    assert {module.path: module.source for module in modules_of(unit)} == sources


def test_given_images_take_the_place_of_those_that_are_not_here(tmp_path: Path) -> None:
    spec = Recipe.parse({"data": {"kind": "image-folder", "path": str(tmp_path / "none"), "size": 8},
                         "model": "digits-small"}).data  # fmt: skip
    digits = Recipe.parse({"data": DATA, "model": "digits-small"}).data
    facts, dataset = data.describe(digits), data.load(digits)
    try:
        data.give(spec, facts, dataset)
        assert data.is_given(spec)
        assert data.describe(spec).digest == facts.digest
        assert np.array_equal(data.load(spec).train_images, dataset.train_images)
    finally:
        data.forget()
    assert not data.is_given(spec)
    with pytest.raises(UserError):
        data.describe(spec)


def test_ray_is_imported_by_nobody_but_the_engine() -> None:
    code = "import sys, normlab, normlab.study.engines.machines, normlab.study.runner; print('ray' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": SRC}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.strip() == "False"
