"""Claims judged on trials that were run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from normlab.study.spec import Study

if TYPE_CHECKING:
    import pandas as pd


def verdicts_from(csv: Path, study: Study, *, test_images: int | None) -> pd.DataFrame:
    """The verdicts on a study's claims from a file; see `normlab.claims_from`.

    Raises:
        UserError: A mistake in the study or the file.
    """
    from normlab.frames import claim_table, frames_from_csv
    from normlab.study.known_data import known_data
    from normlab.study.resolve import outline

    record, known = outline(study), known_data(study)
    arms = tuple(arm.model_copy(update=known.get(arm.label, {})) for arm in record.arms)
    record = record.model_copy(update={"arms": arms})
    return claim_table(frames_from_csv(csv, record, test_images=test_images))
