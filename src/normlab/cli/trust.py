"""The command that says that a study file's code may run."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab.cli.options import Json, StudyName


def trust(
    study: StudyName,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Take it back: the file's code may not run.")
    ] = False,
    json: Json = False,
) -> None:
    """Trust a study file as it is now: the data, models and norms it names may be imported."""
    from normlab import api
    from normlab.own import locate
    from normlab.terminal import console

    was = api.distrust_study(study) if revoke else None
    modules = () if revoke else api.trust_study(study)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.studies import StudyTrusted

        found = [{"module": name, "file": locate(name) or None} for name in modules]
        print_output(StudyTrusted, study=study, trusted=bool(modules), before=was, modules=found)
        return
    if revoke:
        console.print(f"{study} is not trusted" + ("" if was else ", and was not before"))
        return
    if not modules:
        console.print(f"{study} names no code of yours: there is nothing to trust")
        return
    console.print(f"{study} is trusted as it is now. It may have imported:", soft_wrap=True)
    for module in modules:
        console.print(f"  {module} ({locate(module) or 'not found'})", soft_wrap=True)
