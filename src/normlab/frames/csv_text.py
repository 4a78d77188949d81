"""Data frames as CSV that a spreadsheet shows and does not compute."""

from __future__ import annotations

from typing import Any

from normlab.lazy import pandas as pd
from normlab.text import cell


def csv_text(frame: pd.DataFrame, **options: Any) -> str:
    """A frame as CSV, without its index; text that begins like a formula gets a quotation mark.

    Args:
        frame: The table.
        options: Of `pandas.DataFrame.to_csv`.
    """
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = frame.assign(**{str(name): frame[name].map(cell) for name in texts})
    safe = safe.rename(columns=cell)
    made: str = safe.to_csv(index=False, **options)
    return made
