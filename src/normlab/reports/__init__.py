"""Reports: a pure function of a study's store. No torch."""

from normlab.reports.export import write_exports
from normlab.reports.html import write_report
from normlab.reports.notices import notices

__all__ = ["notices", "write_exports", "write_report"]
