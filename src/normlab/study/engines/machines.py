"""On what a run trains: this machine, or the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import torch

from normlab.errors import UserError
from normlab.study.engines import (
    Engine,
    ProcessEngine,
    SerialEngine,
    check_main_guard,
    resolve_device,
    worker_count,
)
from normlab.study.engines.provenance import provenance

if TYPE_CHECKING:
    from normlab.study.engines.ray.cluster import Cluster, Needs

EngineName = Literal["auto", "serial", "processes", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


class Machines(Protocol):
    """What there is to train on."""

    @property
    def notes(self) -> list[str]:
        """What is to be said of it when the run is over."""
        ...

    def device(self, wanted: str) -> str:
        """Turn "auto" into "cpu" or "cuda", whichever there is; the others stay."""
        ...

    def here(self, device: str, threads: int) -> dict[str, object] | None:
        """Where and with what trials would train; None where this process cannot tell."""
        ...

    def worker_count(
        self, *, workers: int | Literal["auto"], device: str, threads: int, units: int
    ) -> int:
        """How many units of work are trained side by side."""
        ...

    def choose(self, workers: int, *, device: str, threads: int) -> Engine:
        """The engine for a run with so many workers, at most what `worker_count` says."""
        ...


@contextmanager
def machines(
    engine: EngineName,
    *,
    address: str | None = None,
    gpus_per_worker: float | None = None,
    memory_per_worker: float | None = None,
) -> Iterator[Machines]:
    """What an engine trains on, for as long as it is needed.

    Args:
        engine: "auto" is `serial` for one worker and `processes` for more.
        address: Of the Ray cluster, HOST:PORT or "auto".
        gpus_per_worker: Of a Ray worker on a GPU; None is 1.
        memory_per_worker: GiB that Ray keeps for a worker; None keeps none.

    Raises:
        UserError: The cluster cannot be used, or an option is not the engine's.
    """
    if engine != "ray":
        for name, value in (
            ("address", address),
            ("gpus_per_worker", gpus_per_worker),
            ("memory_per_worker", memory_per_worker),
        ):
            if value is not None:
                raise UserError(f"{name} is {value}: only engine 'ray' has one")
        yield ThisMachine(engine)
        return
    from normlab.study.engines.ray.cluster import connected

    with connected(address) as cluster:
        yield RayNodes(cluster, gpus_per_worker, memory_per_worker)


@dataclass
class ThisMachine:
    """The machine that this process runs on."""

    engine: EngineName = "auto"

    @property
    def notes(self) -> list[str]:
        """Nothing."""
        return []

    def device(self, wanted: str) -> str:
        """Turn "auto" into "cpu" or "cuda", whichever torch sees; the others stay."""
        return resolve_device(wanted)

    def here(self, device: str, threads: int) -> dict[str, object]:
        """Where and with what this process would train."""
        return provenance(device, threads)

    def worker_count(
        self, *, workers: int | Literal["auto"], device: str, threads: int, units: int
    ) -> int:
        """How many units of work are trained side by side.

        Raises:
            UserError: The serial engine is asked for more than one.
        """
        if self.engine == "serial":
            if workers not in {"auto", 1}:
                raise UserError(f"workers is {workers}: engine 'serial' trains one unit at a time")
            return 1
        return worker_count(workers=workers, device=device, threads=threads, units=units)

    def choose(self, workers: int, *, device: str, threads: int) -> Engine:
        """The serial engine for one worker, unless processes are asked for; else theirs.

        Raises:
            UserError: Workers would run the user's script again; see `main_guard`.
        """
        if workers == 1 and self.engine != "processes":
            return SerialEngine(device=device, threads=threads)
        check_main_guard()
        return ProcessEngine(workers, device=device, threads=threads)


class RayNodes:
    """The nodes of a Ray cluster."""

    def __init__(self, cluster: Cluster, gpus: float | None, memory: float | None) -> None:
        self.cluster, self.gpus, self.memory = cluster, gpus, memory

    @property
    def notes(self) -> list[str]:
        """Which nodes got no worker, and why."""
        return [f"node left out, {why}" for why in self.cluster.refused.values()]

    def device(self, wanted: str) -> str:
        """Turn "auto" into "cuda" where a node has a GPU, into "cpu" where none has."""
        return self.cluster.device(wanted)

    def here(self, device: str, threads: int) -> dict[str, object] | None:
        """As this process would train: nodes of its kind give the same bits."""
        if device == "cuda" and not torch.cuda.is_available():
            return None
        return provenance(device, threads)

    def worker_count(
        self, *, workers: int | Literal["auto"], device: str, threads: int, units: int
    ) -> int:
        """How many units of work are trained side by side: "auto" is what the nodes have room for.

        Raises:
            UserError: No node has room for one.
        """
        return self.cluster.worker_count(workers, self._needs(device, threads), units)

    def choose(self, workers: int, *, device: str, threads: int) -> Engine:
        """The Ray engine."""
        from normlab.study.engines.ray.engine import RayEngine

        needs = self._needs(device, threads)
        return RayEngine(self.cluster, workers, device=device, threads=threads, needs=needs)

    def _needs(self, device: str, threads: int) -> Needs:
        from normlab.study.engines.ray.cluster import Needs

        gpus = 0.0 if device == "cpu" else (1.0 if self.gpus is None else self.gpus)
        memory = None if self.memory is None else int(self.memory * 2**30)
        return Needs(cpus=threads, gpus=gpus, memory=memory)
