"""What every command prints with `--json`: a model for each, in one catalog.

A new command takes three lines: its model in a module of this package, a line in `OUTPUTS`, and
`print_output(ItsModel, ...)` where it answers. Then `python docs/schemas.py` writes its schema.
The models are imported when a command prints: help and `--version` never wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.cli.outputs.output import Output

OUTPUTS: dict[str, str] = {
    "check norm": "norms:NormsChecked",
    "claims": "claims:ClaimsJudged",
    "data build": "data:DataBuilt",
    "export": "exports:StudyExported",
    "export-trials": "trials:TrialsExported",
    "import-trials": "trials:TrialsJoined",
    "list": "catalogs:Catalogs",
    "merge": "trials:TrialsJoined",
    "new-study": "claims:StudyWritten",
    "plan": "plan:StudyPlanned",
    "profile": "profile:ArmProfiled",
    "published": "published:PublishedBeside",
    "report": "studies:ReportWritten",
    "run": "run:StudyRun",
    "schema": "catalogs:Schemas",
    "scoreboard": "scoreboard:SentencesAnswered",
    "show model": "catalogs:ModelShown",
    "show study": "catalogs:StudyShown",
    "status": "studies:StudyProgress",
    "trust": "studies:StudyTrusted",
    "verify": "studies:FilesVerified",
}
"""Command -> module of this package and model in it."""

WITHOUT: dict[str, str] = {"serve": "it answers a browser until it is ended"}
"""Command that has no --json -> why."""


def output_of(command: str) -> type[Output]:
    """The model of what a command prints with `--json`."""
    module, _, name = OUTPUTS[command].partition(":")
    found: type[Output] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
