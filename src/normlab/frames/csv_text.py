"""Data frames as CSV that a spreadsheet shows and does not compute."""

from __future__ import annotations

from normlab.lazy import pandas as pd
from normlab.text import cell


def csv_text(frame: pd.DataFrame, *, float_format: str | None = None) -> str:
    """A frame as CSV, without its index; text that begins like a formula gets a quotation mark.

    Args:
        frame: The table.
        float_format: Of numbers that are not whole; the shortest that is exact if not given.
    """
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = frame.assign(**{str(name): frame[name].map(cell) for name in texts})
    safe = safe.rename(columns=cell)
    made: str = safe.to_csv(index=False, float_format=float_format, lineterminator="\n")
    return made
