"""Study files that may have code imported, because the user said so."""

from __future__ import annotations

from pathlib import Path

from normlab.study.files import find
from normlab.study.spec import Study
from normlab.study.trust import forget, remember


def trust_study(reference: str | Path) -> tuple[str, ...]:
    """Trust a study file as it is now: the code it names may be imported. Imports nothing.

    Args:
        reference: A bundled study's name, or the path of a study file.

    Returns:
        The modules that the file names. For a study that uses only normlab's own components there
        are none, and nothing is recorded.

    Raises:
        UserError: No such study, a mistake in it, or the config folder cannot be written.
    """
    study = Study.load(reference)
    modules = tuple(sorted(study.modules()))
    if modules and study.file and study.digest:
        remember(study.file, study.digest, modules)
    return modules


def distrust_study(reference: str | Path) -> bool:
    """Take the trust in a study file back; returns whether there was any.

    Args:
        reference: A bundled study's name, or the path of a study file.

    Raises:
        UserError: No such file, or the record cannot be removed.
    """
    return forget(str(find(reference).resolve()))
