"""A Ray cluster that is there already: how it is found, what its nodes have, what is wrong with it.

None is started: what a cluster is made of is for its owner to say. Ray waits long for one that does
not answer, so its address is tried first.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from normlab.errors import UserError
from normlab.study.engines import choose_device

_PATIENCE = 5.0  # seconds for an answer at an address
_UNSEEN = 60.0  # seconds that a node which does not answer gets no worker
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2, which Ray's servers speak, begins; the answer begins with settings."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one worker takes of a node.

    Attributes:
        cpus: Cores: its threads.
        gpus: GPUs; a fraction lets several workers share one.
        memory: Bytes; None declares none.
    """

    cpus: int
    gpus: float = 0.0
    memory: int | None = None

    def options(self) -> dict[str, Any]:
        """As Ray's options."""
        found: dict[str, Any] = {"num_cpus": self.cpus}
        if self.gpus:
            found["num_gpus"] = self.gpus
        if self.memory:
            found["memory"] = self.memory
        return found

    def room(self, resources: Mapping[str, float]) -> int:
        """How many workers a node with these resources has room for."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}
        return min(
            math.floor(resources.get(name, 0.0) / need + 1e-9)
            for name, need in asked.items()
            if need
        )

    def text(self) -> str:
        """In words."""
        parts = [_counted(self.cpus, "core")]
        if self.gpus:
            parts.append(_counted(self.gpus, "GPU"))
        if self.memory:
            parts.append(f"{self.memory / 2**30:g} GiB of memory")
        return ", ".join(parts)


@dataclass(frozen=True)
class Node:
    """A node that answers: its id, its name, what it has."""

    id: str
    host: str
    resources: Mapping[str, float]


class Cluster:
    """A connection to a cluster.

    Attributes:
        address: Where it is.
        refused: Why a node gets no worker, by its id.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.refused: dict[str, str] = {}
        self._silent: dict[str, float] = {}

    def nodes(self) -> list[Node]:
        """The nodes that may get a worker."""
        now = time.monotonic()
        return [
            node
            for node in self._alive()
            if node.id not in self.refused and self._silent.get(node.id, 0.0) <= now
        ]

    def is_alive(self, node_id: str) -> bool:
        """Whether the cluster still counts on a node: it learns of a death after some seconds."""
        return any(node.id == node_id for node in self._alive())

    def leave_alone(self, node_id: str) -> None:
        """Give a node that did not answer no worker for a while."""
        self._silent[node_id] = time.monotonic() + _UNSEEN

    def device(self, wanted: str) -> str:
        """Turn "auto" into "cuda" where a node has a GPU, into "cpu" where none has.

        Raises:
            UserError: Another word, or "cuda" where no node has a GPU.
        """
        return choose_device(
            wanted,
            has_gpu=any(node.resources.get("GPU", 0) > 0 for node in self._alive()),
            without=f"no node of the Ray cluster at {self.address} has a GPU",
        )

    def worker_count(self, workers: int | Literal["auto"], needs: Needs, units: int) -> int:
        """How many units of work are trained side by side.

        Args:
            workers: So many; "auto" is as many as the nodes have room for.
            needs: Of each.
            units: No more workers than these.

        Raises:
            UserError: No node has room for one.
        """
        room = sum(needs.room(node.resources) for node in self.nodes())
        if room < 1:
            has = "; ".join(_has(node) for node in self._alive()) or "it has none"
            raise UserError(
                f"no node of the Ray cluster at {self.address} has {needs.text()} for a worker: "
                f"{has}"
            )
        wanted = room if workers == "auto" else workers
        return min(wanted, room, max(units, 1))

    @staticmethod
    def _alive() -> list[Node]:
        import ray

        return [
            Node(str(one["NodeID"]), str(one["NodeManagerHostname"]), one.get("Resources", {}))
            for one in ray.nodes()
            if one["Alive"]
        ]


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """The cluster at an address, as HOST:PORT or "auto", for as long as it is needed.

    A process that is connected already stays so, with the cluster that it has.

    Raises:
        UserError: Ray is not installed, there is no cluster, or it runs another Python or Ray.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise UserError(
            f"engine 'ray' needs Ray, which cannot be imported ({error}): "
            "pip install 'normlab[ray]'"
        ) from None
    if ray.is_initialized():
        yield Cluster(ray.get_runtime_context().gcs_address)
        return
    _connect(address or "auto")
    try:
        yield Cluster(ray.get_runtime_context().gcs_address)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    if address.startswith("ray://"):
        raise UserError(
            f"address is '{address}': Ray's client protocol does not stream results. Run normlab "
            "on a node of the cluster (`ray start --address HOST:PORT` makes this machine one) and "
            "give HOST:PORT"
        )
    found = _resolved(address)
    _try(found, address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        with _in_no_folder(), _signals_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address="auto" if address == "auto" else found,  # Ray then finds its token, too
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
    except (RuntimeError, OSError, ValueError, AssertionError) as error:
        words = " ".join(str(error).split())
        hint = ""
        if isinstance(error, ConnectionError) and "RAY_AUTH_MODE" not in os.environ:
            hint = ". If it asks for a token, set RAY_AUTH_MODE=token"
        raise UserError(f"the Ray cluster at {found} cannot be used: {words}{hint}") from None
    _silence()


def _resolved(address: str) -> str:
    """HOST:PORT of "auto" as Ray finds it: its variable, or what `ray start` wrote down.

    Raises:
        UserError: No cluster is known here, or the address is none.
    """
    if address == "auto":
        from ray._private import services

        found: object = address
        with contextlib.suppress(AttributeError, TypeError):  # no public function says it
            try:
                found = services.get_ray_address_from_environment("auto", None)
                if found in {None, "local"}:
                    running = services.find_gcs_addresses()
                    found = next(iter(running)) if len(running) == 1 else None
            except ConnectionError:
                found = None
        if found is None:
            raise UserError(
                "no Ray cluster runs here: start one with `ray start --head`, or give "
                "--address HOST:PORT"
            )
        address = str(found)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"address is '{address}': auto or HOST:PORT is allowed")
    return address


def _try(address: str, asked: str) -> None:
    """Raise UserError unless something that may be a Ray cluster answers at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE) as line:
            line.settimeout(_PATIENCE)
            line.sendall(_GREETING)
            answer = line.recv(9)
        is_one = len(answer) > 3 and answer[3] == 4
        why = "" if is_one else "something other than a Ray cluster answers there"
    except (OSError, OverflowError) as error:
        why = str(error)
    if why:
        raise UserError(
            f"no Ray cluster at {address}{'' if asked == address else ' (found by auto)'}: {why}. "
            "`ray start --head` starts one; `ray status --address HOST:PORT` shows whether it runs"
        )


@contextlib.contextmanager
def _in_no_folder() -> Iterator[None]:
    """Ray has its workers look for modules in the driver's current folder, before all others.

    It may hold a stranger's `pickle.py`. What a worker needs of the user's it is sent.
    """
    before = Path.cwd()
    os.chdir(before.anchor)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself: whoever had it before has it again."""
    kept = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            kept[getattr(signal, name)] = signal.getsignal(getattr(signal, name))
    try:
        yield
    finally:
        for number, handler in kept.items():
            with contextlib.suppress(ValueError, TypeError):  # another thread; a handler of C's
                signal.signal(number, handler)


def _silence() -> None:
    """Keep what Ray says of nodes and workers off standard output: normlab says it itself."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):  # there is no public switch for it
        worker.print_to_stdstream = lambda *_, **__: None


def _counted(count: float, word: str) -> str:
    return f"1 {word}" if count == 1 else f"{count:g} {word}s"


def _has(node: Node) -> str:
    parts = [_counted(node.resources.get("CPU", 0), "core")]
    if node.resources.get("GPU"):
        parts.append(_counted(node.resources["GPU"], "GPU"))
    if node.resources.get("memory"):
        parts.append(f"{node.resources['memory'] / 2**30:.1f} GiB")
    return f"{node.host} has {', '.join(parts)}"
