"""The findings that come with normlab: trials of the bundled studies that its authors ran.

`studies/findings` has a CSV file per study, `<study>-quick.csv` of a quick variant: a row per epoch
of a trial, as `normlab report --csv` writes it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.study.resolve import outline
from normlab.study.spec import Study

if TYPE_CHECKING:
    from normlab.frames import Frames

FOLDER = Path(str(files("normlab") / "studies" / "findings"))
QUICK = "-quick"
"""What the name of a quick variant's file ends with."""


def released() -> dict[str, Path]:
    """Every file of findings by its name: a bundled study, `-quick` after it for its variant."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.csv"), key=lambda path: path.stem)}


def released_frames(study: Study) -> Frames | None:
    """The released trials of a bundled study, or of its quick variant; None if there are none.

    The frames' plan has the seeds of the file, whatever seeds the study plans today. Once the file
    has seeds from the study's first one on, the older ones, a pilot, are left out: claims that were
    declared after these had been seen are confirmed on fresh seeds alone.
    """
    from normlab.frames import frames_from_csv

    path = released().get(study.name + (QUICK if study.rehearsal else ""))
    if path is None:
        return None
    frames = frames_from_csv(path, outline(study))
    fresh = tuple(seed for seed in frames.plan.seeds if seed >= study.first_seed)
    return frames.of_seeds(fresh) if fresh and not study.rehearsal else frames
