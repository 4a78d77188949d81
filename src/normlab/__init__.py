"""normlab: controlled studies of normalization and regularization in image classification."""

from __future__ import annotations

# ruff: noqa: E402, PTH109 (what stands below comes before any import)
import os
import sys


def _leave_current_folder_out() -> None:
    """Have `python -m normlab` look for modules where the command `normlab` does.

    Python would look in the current folder first, which may hold a stranger's `re.py`.
    """
    words = f"{' '.join(sys.orig_argv[1:])} "
    looked_up = sys.argv[:1] == ["-m"]  # the package is; no script has begun
    if not looked_up or not ("-m normlab " in words or "-mnormlab " in words):
        return
    here = os.getcwd()
    if (
        not sys.flags.safe_path
        and sys.path[:1] == [here]
        and not __file__.startswith(here + os.sep)
    ):
        del sys.path[0]


_leave_current_folder_out()

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("normlab")

if TYPE_CHECKING:
    from normlab import models as models
    from normlab import norms as norms
    from normlab.answers import Comparison, Results, Status, Verified
    from normlab.api import (
        build_data,
        check_norm,
        claims,
        claims_from,
        costs,
        distrust_study,
        draw_model,
        export,
        export_trials,
        import_trials,
        lint,
        load_study,
        merge,
        new_study,
        plan,
        profile,
        published,
        report,
        results,
        run,
        scoreboard,
        status,
        trust_study,
        verify,
    )
    from normlab.errors import UserError
    from normlab.models import swap_convolutions, swap_norm
    from normlab.recipe import Recipe
    from normlab.sentences import Scoreboard
    from normlab.study import events as events
    from normlab.study.costs import Costs
    from normlab.study.merging import Merged
    from normlab.study.profiling import Profile
    from normlab.study.spec import Study
    from normlab.trackers.write import Exported

# Imported on first use: `import normlab` alone loads neither torch nor pandas.
_HOMES = {
    "Comparison": "normlab.answers",
    "Costs": "normlab.study.costs",
    "Exported": "normlab.trackers.write",
    "Merged": "normlab.study.merging",
    "Profile": "normlab.study.profiling",
    "Recipe": "normlab.recipe",
    "Results": "normlab.answers",
    "Scoreboard": "normlab.sentences",
    "Status": "normlab.answers",
    "Study": "normlab.study.spec",
    "UserError": "normlab.errors",
    "Verified": "normlab.answers",
    "swap_convolutions": "normlab.models",
    "swap_norm": "normlab.models",
}
_MODULES = {
    "events": "normlab.study.events",
    "models": "normlab.models",
    "norms": "normlab.norms",
}
"""Packages that need no import of their own: `normlab.norms.make`."""

__all__ = [
    "Comparison",
    "Costs",
    "Exported",
    "Merged",
    "Profile",
    "Recipe",
    "Results",
    "Scoreboard",
    "Status",
    "Study",
    "UserError",
    "Verified",
    "__version__",
    "build_data",
    "check_norm",
    "claims",
    "claims_from",
    "costs",
    "distrust_study",
    "draw_model",
    "export",
    "export_trials",
    "import_trials",
    "lint",
    "load_study",
    "merge",
    "new_study",
    "plan",
    "profile",
    "published",
    "report",
    "results",
    "run",
    "scoreboard",
    "status",
    "swap_convolutions",
    "swap_norm",
    "trust_study",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "normlab.api")), name)
    raise AttributeError(f"module 'normlab' has no attribute '{name}'")
