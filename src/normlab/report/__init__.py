"""Reports: a pure function of a study's store. No torch."""

from normlab.report.claims import claim_table
from normlab.report.export import write_exports
from normlab.report.external import frames_from_csv
from normlab.report.frames import Frames, load_frames
from normlab.report.html import render, write_report
from normlab.report.notices import notices
from normlab.report.planning import claim_plans, expected_hours
from normlab.report.tables import arm_table, check_table, curve_table, seed_table, time_table

__all__ = [
    "Frames",
    "arm_table",
    "check_table",
    "claim_plans",
    "claim_table",
    "curve_table",
    "expected_hours",
    "frames_from_csv",
    "load_frames",
    "notices",
    "render",
    "seed_table",
    "time_table",
    "write_exports",
    "write_report",
]
