"""The driver's side: workers are placed on nodes, given units, and heard until all is told.

A worker is an actor that holds one slot of a node and trains one unit after the other: what it
imports and compiles, it does once. Ray restarts nothing. What is lost with a node goes on from its
last checkpoint on another; what its own process could not bear is treated as by every engine.
"""

from __future__ import annotations

import contextlib
import pickle
import secrets
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sized
from pathlib import Path, PurePosixPath
from typing import Any

from normlab import data, interrupts
from normlab.errors import MachineError, UserError, fault_of_machine, is_lack_of_memory
from normlab.files import make_folder, temporary_name, write_files, write_whole
from normlab.recipe.data import Data
from normlab.study.engines.again import run_again
from normlab.study.engines.engine import Failed, Faulted, Message, Unit
from normlab.study.engines.in_hand import InHand
from normlab.study.engines.ray.bare import actor_class, reader
from normlab.study.engines.ray.cluster import Cluster, Needs, Node
from normlab.study.engines.ray.shipping import Given, Images, Parcel, Told, files_of, modules_of

_TICK = 0.2  # seconds after which Ctrl-C is noticed at the latest
_ANSWER = 10.0  # seconds that a node gets to say what happened on it
_PATIENCE = 90.0  # seconds without any node that could train
_WAITING = 64  # messages of a worker that were not taken yet
_HIRING = 1.0  # seconds between looks for nodes that have room
_DEATHS = 3  # nodes that a unit may lose before it is tried alone
_LINES = 30  # of what a worker's process said when it crashed
_COMPARED = {
    "python": "Python",
    "ray": "Ray",
    "torch": "torch",
    "normlab": "normlab",
    "code": "normlab code",
}
"""What a worker must have as the driver has it."""


class RayEngine:
    """Trains on the nodes of a cluster, with a worker in each of `workers` slots."""

    def __init__(
        self, cluster: Cluster, workers: int, *, device: str, threads: int, needs: Needs
    ) -> None:
        self.cluster = cluster
        self.workers = workers
        self.device = device
        self.threads = threads
        self.needs = needs
        self._images: dict[Data, Any] = {}
        self._here = actor_class()().look()

    def run(self, units: Iterable[Unit]) -> Generator[Message, None, None]:
        """Hand out the units in their order, one to each idle worker.

        Trials whose worker died while its node lived, as for memory, run once more when all others
        are through, alone; several that were together then run in ever smaller units.

        Raises:
            UserError: No node has the driver's Python, Ray, torch and normlab.
            MachineError: No node is left.
        """
        yield from run_again(self._run, units)

    def _run(
        self, units: Iterable[Unit], again: list[Unit] | None
    ) -> Generator[Message, None, None]:
        most = min(self.workers, len(units)) if isinstance(units, Sized) else self.workers
        shift = _Shift(self, iter(units), most, again)
        try:
            yield from shift.run()
        finally:
            shift.stop()

    def marker(self, folder: Path) -> tuple[str, bytes] | None:
        """A file in the study's folder by which a worker knows that it sees the same folder."""
        make_folder(folder)
        path, content = temporary_name(folder), secrets.token_bytes(16)
        write_whole(path, content)
        return path.name, content

    def images(self, spec: Data) -> Any:
        """A reference to the images of a spec, put into the cluster's store once."""
        import ray

        if spec not in self._images:
            images = Images(spec=spec, facts=data.describe(spec), dataset=data.load(spec))
            try:
                self._images[spec] = ray.put(images)
            except ray.exceptions.RayError as error:
                raise MachineError(
                    f"the images of data '{spec.kind}' do not fit into Ray's object store: "
                    f"{_words(error)}"
                ) from None
        return self._images[spec]

    def difference(self, found: Mapping[str, str]) -> str:
        """What a worker has otherwise than the driver; empty where nothing that counts."""
        if not found["normlab"] and not found["code"]:
            return "normlab is not installed"
        return "; ".join(
            f"{name} {found[key] or 'missing'} against {self._here[key]} here"
            for key, name in _COMPARED.items()
            if _counts(key, found[key]) != _counts(key, self._here[key])
        )


class _Worker:
    """An actor on a node, and the unit it has.

    Attributes:
        stage: "look" until it said what it has, "begin" until it is ready, then "train".
        awaited: What comes from it next: a reference, or its unit's stream of them.
    """

    def __init__(self, node: Node, needs: Needs) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.node, self.stage, self.hand = node, "look", InHand()
        self.last_words, self.shares = "", False
        here = NodeAffinitySchedulingStrategy(node.id, soft=False)
        actor = ray.remote(max_restarts=0, max_task_retries=0, **needs.options())(actor_class())
        self.actor: Any = actor.options(scheduling_strategy=here).remote()
        self.awaited: Any = self.actor.look.remote()

    def begin(self, given: Given) -> None:
        self.stage = "begin"
        self.awaited = self.actor.begin.remote(pickle.dumps(given), dict(given.settings))

    def train(self, parcel: Parcel, images: list[Any]) -> None:
        self.stage = "train"
        # No more messages wait at once: with checkpoints in them they could fill the store.
        stream = self.actor.train.options(
            num_returns="streaming", _generator_backpressure_num_objects=_WAITING
        )
        self.awaited = stream.remote(pickle.dumps(parcel), images)

    def dismiss(self) -> None:
        """Let it go when it has nothing left to do."""
        if self.stage == "train":
            self.actor.leave.remote()
        self.actor.__ray_terminate__.remote()

    def stop(self) -> None:
        """End it, whatever it does."""
        import ray

        with contextlib.suppress(Exception):  # it is gone, or the cluster is
            ray.kill(self.actor, no_restart=True)


class _Shift:
    """One pass over units: who works on what, and what is left to hand out."""

    def __init__(
        self, engine: RayEngine, waiting: Iterator[Unit], most: int, again: list[Unit] | None
    ) -> None:
        self.engine, self.waiting, self.most, self.again = engine, waiting, most, again
        self.cluster = engine.cluster
        self.crew: list[_Worker] = []
        self.lost: deque[Unit] = deque()
        self.is_exhausted = False
        self.given: Given | None = None
        self.deaths: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.heard = time.monotonic()
        self.hired = 0.0

    def run(self) -> Generator[Message, None, None]:
        """Until every unit is through."""
        import ray

        while True:
            try:
                self._hire()
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise MachineError(
                    f"the Ray cluster at {self.cluster.address} does not answer: {_words(error)}"
                ) from None
            if not self.crew:
                if self.is_exhausted and not self.lost:
                    return
                self._wait_for_nodes()
                continue
            ready, _ = ray.wait([worker.awaited for worker in self.crew], timeout=_TICK)
            interrupts.check()
            for each in ready:
                worker = next(one for one in self.crew if one.awaited is each)
                # The others first, next time: one that speaks much keeps none waiting.
                self.crew.remove(worker)
                self.crew.append(worker)
                self.heard = time.monotonic()
                yield from self._hear(worker)

    def stop(self) -> None:
        """End whoever still works."""
        for worker in self.crew:
            worker.stop()
        if self.given is not None and self.given.marker is not None:
            (self.given.folder / self.given.marker[0]).unlink(missing_ok=True)

    def _hire(self) -> None:
        """Place workers where there is room, evenly, as many as there is work for."""
        wanted = self.most - len(self.crew)
        if self.is_exhausted:
            wanted = min(wanted, len(self.lost))
        if wanted <= 0 or time.monotonic() - self.hired < _HIRING:
            return
        self.hired = time.monotonic()
        nodes = self.cluster.nodes()
        used = Counter(worker.node.id for worker in self.crew)
        for _ in range(wanted):
            free = [n for n in nodes if used[n.id] < self.engine.needs.room(n.resources)]
            if not free:
                return
            node = min(free, key=lambda one: used[one.id])
            used[node.id] += 1
            self.crew.append(_Worker(node, self.engine.needs))

    def _wait_for_nodes(self) -> None:
        refused = self.cluster.refused
        if refused and not self.cluster.nodes():
            alive = {why for node, why in refused.items() if self.cluster.is_alive(node)}
            if alive and not self.deaths:
                raise UserError(
                    f"no node of the Ray cluster at {self.cluster.address} can train for this "
                    f"normlab: {'; '.join(sorted(alive))}. Install the same versions there"
                )
        if time.monotonic() - self.heard > _PATIENCE:
            raise MachineError(
                f"no node of the Ray cluster at {self.cluster.address} is left to train on"
            )
        time.sleep(_TICK)
        interrupts.check()

    def _hear(self, worker: _Worker) -> Iterator[Message]:
        """Take what came from a worker; the messages that its engine yields."""
        import ray

        told: Told | None = None
        try:
            if worker.stage == "look":
                self._inspect(worker, ray.get(worker.awaited))
            elif worker.stage == "begin":
                worker.last_words, worker.shares = ray.get(worker.awaited)
                self._send(worker)
            else:
                told = ray.get(next(worker.awaited))
        except StopIteration:
            error = RuntimeError("the worker's stream ended before its trials")
            yield from self._end(worker, _blamed(worker.hand, error))
        except ray.exceptions.RayTaskError as error:
            yield from self._fail(worker, error)
        except ray.exceptions.RayError as error:
            yield from self._bury(worker, error)
        if told is not None:
            yield from self._take(worker, told)

    def _inspect(self, worker: _Worker, found: Mapping[str, str]) -> None:
        """Compare what a worker has with what the driver has, before its first trial."""
        if why := self.engine.difference(found):
            self._refuse(worker, f"{found['host']}: {why}")
        else:
            self._give(worker)

    def _refuse(self, worker: _Worker, why: str) -> None:
        """No worker of this node's is used that does not train already."""
        self.cluster.refused[worker.node.id] = why
        for one in [one for one in self.crew if one.node.id == worker.node.id]:
            if one.stage != "train":
                self._put_back(one)

    def _give(self, worker: _Worker) -> None:
        """Give a worker that is free its next unit, or let it go."""
        unit = self.lost.popleft() if self.lost else next(self.waiting, None)
        if unit is None:
            self.is_exhausted = True
            self.crew.remove(worker)
            worker.dismiss()
            for one in [one for one in self.crew if one.stage == "look"]:
                self._put_back(one)  # it may wait for room for long
            return
        worker.hand.take(unit)
        if worker.stage != "look":
            self._send(worker)
            return
        if self.given is None:
            folder = unit[0].folder.resolve()
            self.given = Given(
                device=self.engine.device,
                threads=self.engine.threads,
                folder=folder,
                marker=self.engine.marker(folder),
            )
        worker.begin(self.given)

    def _send(self, worker: _Worker) -> None:
        """Send a worker the unit that it was given."""
        unit = worker.hand.unit
        saved = {}
        if not worker.shares:
            for task in unit:
                with contextlib.suppress(FileNotFoundError):
                    saved[task.trial_id] = task.checkpoint.read_bytes()
        parcel = Parcel(
            unit=unit, modules=modules_of(unit), files=files_of(unit), checkpoints=saved
        )
        specs = dict.fromkeys(task.recipe.data for task in unit)
        worker.train(parcel, [self.engine.images(spec) for spec in specs])

    def _take(self, worker: _Worker, told: Told) -> Iterator[Message]:
        folder = worker.hand.unit[0].folder
        is_again = worker.hand.note(told.message, self.again)
        if not worker.hand.open:
            self._give(worker)  # first: it trains while its files are written
        if told.files:
            write_files({folder / _inside(name): told.files[name] for name in told.files})
        if not is_again:
            yield told.message

    def _fail(self, worker: _Worker, error: Any) -> Iterator[Message]:
        """What a worker does outside of its trials went wrong."""
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if worker.stage == "train":
            yield from self._end(worker, _blamed(worker.hand, cause, str(error)))
        else:
            self._refuse(worker, f"{worker.node.host}: {_words(cause)}")

    def _bury(self, worker: _Worker, error: Exception) -> Iterator[Message]:
        """A worker is gone: with its node, or its process alone."""
        worker.stop()
        words = None if "node has died" in str(error) else self._ask(worker)
        if words is None:
            self.cluster.leave_alone(worker.node.id)
            self.deaths.update(worker.hand.open.keys())
            if max((self.deaths[trial] for trial in worker.hand.open), default=0) < _DEATHS:
                self._put_back(worker)
                return
            died = f"{_DEATHS} nodes were lost that trained it, the last one {worker.node.host}"
            yield from self._end(worker, worker.hand.ends(died, is_own=False))
            return
        if worker.stage != "train":
            self.starts[worker.node.id] += 1
            if self.starts[worker.node.id] >= _DEATHS:
                self._refuse(worker, f"{worker.node.host}: no worker starts ({_words(error)})")
            else:
                self._put_back(worker)
            return
        died, is_own = _verdict(words, worker.node.host)
        yield from self._end(worker, worker.hand.ends(died, is_own=is_own))

    def _end(self, worker: _Worker, ends: Iterable[Message]) -> Iterator[Message]:
        """Tell how the open trials of a worker ended that is not used any more."""
        told = [message for message in ends if not worker.hand.note(message, self.again)]
        self.crew.remove(worker)
        worker.stop()
        yield from told

    def _put_back(self, worker: _Worker) -> None:
        """End a worker: what it had goes on elsewhere, and counts against no trial of it."""
        self.crew.remove(worker)
        worker.stop()
        if unit := worker.hand.part(self.again):
            self.lost.append(unit)

    def _ask(self, worker: _Worker) -> str | None:
        """What a worker's process said when it crashed; None where its node does not answer."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(worker.node.id, soft=False)
        ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(reader())
        try:
            return str(ray.get(ask.remote(worker.last_words), timeout=_ANSWER))
        except ray.exceptions.RayError:
            return None


_FROM_OUTSIDE = ("Bus error",)
"""Crashes that are the machine's: of a disk or a memory that is full."""


def _verdict(words: str, host: str) -> tuple[str, bool]:
    """How a process on a node died, by what it said; whether it did so itself."""
    if not words.strip():
        return f"the worker process on {host} was ended (out of memory?)", False
    lines = [line for line in words.strip().splitlines() if line.strip()]
    what = next((line for line in lines if line.startswith("Fatal")), lines[0])
    stack = "\n".join(lines[:_LINES])
    is_own = not any(each in what for each in _FROM_OUTSIDE)
    return f"{stack}\nthe worker process on {host} crashed: {what}", is_own


def _blamed(hand: InHand, error: BaseException, trace: str = "") -> list[Failed | Faulted]:
    """What an exception outside of training comes to for the open trials."""
    fault = fault_of_machine(error)
    if fault is None:
        return [Failed(trial, trace or _words(error)) for trial in hand.open]
    alone = is_lack_of_memory(error)
    return [Faulted(trial, fault, may_help_alone=alone) for trial in hand.open]


def _inside(name: str) -> PurePosixPath:
    """A path that a worker gave, which must lie in the study's folder."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or path.parts[0] not in {"artifacts", "checkpoints"}
    ):
        raise UserError(f"a worker sent a file named '{name}': no file of a trial has such a name")
    return path


def _counts(key: str, version: str) -> str:
    """The part of a version that has to be equal."""
    if key == "python":
        return ".".join(version.split(".")[:2])
    return version.partition("+")[0]  # the build for a GPU beside that for a CPU


def _words(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
