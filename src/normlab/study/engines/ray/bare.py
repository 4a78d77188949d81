"""What a node runs before it is known which normlab it has, and what looks at it after a death.

Both are pickled by value, for the node may have another normlab or none: they import nothing of it
until they are told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def actor_class() -> type:
    """The class of a worker; made here, so that it travels by value."""

    class Worker:
        """One slot of a node: it trains one unit after the other."""

        def look(self) -> dict[str, str]:
            """What the driver compares with its own before it sends a trial."""
            import platform
            from importlib.metadata import PackageNotFoundError, version

            found = {"python": platform.python_version(), "host": platform.node()}
            for package in ("ray", "torch", "normlab"):
                try:
                    found[package] = version(package)
                except PackageNotFoundError:
                    found[package] = ""
            try:
                from normlab.source import source_hash

                found["code"] = source_hash()
            except ImportError:
                found["code"] = ""
            return found

        def begin(self, given: bytes, settings: dict[str, str]) -> tuple[str, bool]:
            """Get ready to train.

            Returns:
                The file that says where it was if it crashed; whether it works in the study's
                folder.
            """
            import os
            import pickle

            os.environ |= settings  # torch and MKL, imported next, read them once
            from normlab.study.engines.ray.worker import Work

            self.work = Work(pickle.loads(given))  # noqa: S301 (from the driver that made this)
            return self.work.last_words, self.work.shares

        def train(self, unit: bytes, data: list[Any]) -> Iterator[Any]:
            """Train a unit; see `normlab.study.engines.ray.worker`."""
            import pickle

            yield from self.work.train(pickle.loads(unit), data)  # noqa: S301

        def leave(self) -> None:
            """Take away what it kept on the node's disk."""
            self.work.leave()

    return Worker


def reader() -> Callable[[str], str]:
    """A function that reads what a worker's process said when it crashed; travels by value."""

    def read(path: str) -> str:
        from pathlib import Path

        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    return read
