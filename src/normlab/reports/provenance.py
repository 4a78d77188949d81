"""Where the trials of a study ran, as far as anybody knows.

A trial says itself where it ran; of one that was taken over from another folder that is hearsay.
What is missing is shown as unknown, and code that is not this installation's is named, so that a
forged record stands out.
"""

from __future__ import annotations

import json
import math
from collections import Counter

from normlab.frames.load import Frames
from normlab.places import TOGETHER, Place, trained_together
from normlab.records import FINISHED
from normlab.source import source_hash

UNKNOWN = "unknown"
_NOWHERE: Place = {}
_HOW = ("layout", "precision", "kernels")
_KEYS = (
    "device",
    "chip",
    "threads",
    "backend",
    *_HOW,
    "torch",
    "normlab",
    "code",
    "python",
    "platform",
)


def where_it_ran(frames: Frames) -> list[dict[str, object]]:
    """The different places that finished trials ran at, the commonest first.

    Returns:
        For each: `trials`, how many; what the trials said of it, else "unknown"; `peak_memory`, the
        most bytes of a trial that ended there, or None; `together`, the most trials that trained
        side by side there, of which such bytes are a share; `taken_from`, the folders it came
        through; `doubts`, sentences.
    """
    counts: Counter[str] = Counter()
    memory: dict[str, int] = {}
    most: dict[str, int] = {}
    texts: dict[int, str] = {}
    columns = frames.trials.reindex(columns=["state", "provenance", "peak_memory"])
    for state, there, peak in columns.itertuples(index=False):
        known = there if isinstance(there, list) and there else []
        if known or state in FINISHED:
            places = []
            for place in known or [_NOWHERE]:
                # With how many a trial trained makes no other place.
                # Trials of one machine may have one place in memory.
                if id(place) not in texts:
                    one = {key: value for key, value in place.items() if key != TOGETHER}
                    texts[id(place)] = json.dumps(one, sort_keys=True)
                places.append(texts[id(place)])
                most[places[-1]] = max(trained_together([place]), most.get(places[-1], 1))
            counts.update(set(places))
            if isinstance(peak, int | float) and math.isfinite(peak):
                memory[places[-1]] = max(int(peak), memory.get(places[-1], 0))
    return [
        {**_shown(json.loads(at), trials, memory.get(at)), TOGETHER: most[at]}
        for at, trials in counts.most_common()
    ]


def _shown(place: Place, trials: int, peak: int | None) -> dict[str, object]:
    said = {key: str(place.get(key, UNKNOWN)) for key in _KEYS}
    taken = place.get("taken_from")
    through = list(map(str, taken)) if isinstance(taken, list) else []
    doubts = []
    if through:
        doubts.append(f"taken over from {' through '.join(reversed(through))}, as stored there")
    missing = [key for key in _KEYS if key not in place]
    if len(missing) == len(_KEYS):
        doubts.append("where they ran is unknown")
    elif said["code"] not in {UNKNOWN, source_hash()}:
        doubts.append("trained by other code than this normlab's")
    own = {"trials": trials, "peak_memory": peak, "taken_from": through, "doubts": doubts}
    return {**place, **said, **own}
