"""Which cores each worker keeps to, so that none pushes another off its caches.

Only where workers fill the machine to the last core. With fewer, two runs side by side would settle
on the same cores and leave others idle; with more, some would share a core for good. And where this
process may not use all cores (taskset, a container's cpuset, a batch system) whoever said so is not
overruled. In each of these cases the system's scheduler knows better.
"""

from __future__ import annotations

import os


def shares(workers: int, threads: int) -> list[frozenset[int]]:
    """The cores of each worker, `threads` each; empty where none is to keep to any.

    Args:
        workers: Processes that train side by side.
        threads: CPU threads of each.
    """
    if not (hasattr(os, "sched_getaffinity") and hasattr(os, "sched_setaffinity")):
        return []
    own = sorted(os.sched_getaffinity(0))
    if len(own) != os.cpu_count() or workers * threads != len(own):
        return []
    return [
        frozenset(own[first : first + threads]) for first in range(0, workers * threads, threads)
    ]


def keep_to(cores: frozenset[int]) -> None:
    """Keep this process, and what it starts from now on, to these cores; any if there are none."""
    if cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError:  # taken from this process since, or not allowed here: a matter of speed
            return
