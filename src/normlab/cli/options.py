"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import streams
from normlab.errors import UserError


def _answer_json(context: typer.Context, given: bool) -> bool:
    """With --json, everything but the one document goes to standard error."""
    if given:
        streams.aside()
        context.call_on_close(streams.back)
    return given


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A bundled study's name or a path to a study file.")
]
Seeds = Annotated[
    int | None, typer.Option(metavar="N", help="Use seeds 0 to N-1 instead of the study's.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a recipe key in every arm; dotted keys go into a component; repeatable.",
    ),
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="PACKAGE",
        help="Import this package of yours if the study file names it; repeatable.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Use the study's quick variant.")]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the studies' runs.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_answer_json, help="Print one JSON document; see `normlab schema`."
    ),
]

DEFAULT_RUNS = Path("runs")


def parse_sets(sets: list[str] | None) -> dict[str, object]:
    """Recipe values from ``KEY=VALUE`` words, values read as YAML.

    Raises:
        UserError: No "=" in a word, a value that is not YAML, or a key given twice.
    """
    import yaml

    from normlab.study.files import parse_yaml

    values: dict[str, object] = {}
    for word in sets or []:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UserError(f"--set {word}: write KEY=VALUE, for example --set epochs=5")
        if key in values:
            raise UserError(f"--set {key} is given twice")
        try:
            values[key] = parse_yaml(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {word}: the value is not valid YAML: {error}") from None
    return values
