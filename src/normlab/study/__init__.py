"""Studies: their files, their plans, and running them."""

from normlab.study.files import bundled
from normlab.study.plan import Arm, Plan, make_plan
from normlab.study.runner import Summary, run_plan
from normlab.study.spec import Study

__all__ = ["Arm", "Plan", "Study", "Summary", "bundled", "make_plan", "run_plan"]
