"""What a store holds as data frames, and every table and verdict computed from them. No torch."""

from normlab.frames.external import frames_from_csv, frames_from_table
from normlab.frames.load import Frames, load_frames
from normlab.frames.planning import claim_plans
from normlab.frames.published import published_table
from normlab.frames.tables import arm_table, check_table, curve_table, seed_table, time_table
from normlab.frames.verdicts import claim_table

__all__ = [
    "Frames",
    "arm_table",
    "check_table",
    "claim_plans",
    "claim_table",
    "curve_table",
    "frames_from_csv",
    "frames_from_table",
    "load_frames",
    "published_table",
    "seed_table",
    "time_table",
]
