"""The commands that join stores, and carry trials in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab.cli.options import DEFAULT_RUNS, Json, Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from normlab.study.merging import Merged

_MOST = 20
"""Trials of one kind that are shown each in a line of its own."""


def merge(
    others: Annotated[
        list[Path],
        typer.Argument(
            metavar="OTHER...", help="Run folders of the study, or files of export-trials."
        ),
    ],
    into: Annotated[
        Path,
        typer.Option("--into", metavar="FOLDER", help="The study's run folder, or a new one."),
    ],
    json: Json = False,
) -> None:
    """Join finished trials of other machines' run folders; exits with 1 where numbers differ."""
    from normlab import api

    _say(api.merge(others, into=into), json=json)


def import_trials(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that export-trials wrote.")],
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="FOLDER", help="The study's run folder; left out: as --runs says."
        ),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Join the trials of a file with those of a run folder, as `normlab merge` does."""
    from normlab import api

    _say(api.import_trials(file, into=into, runs=runs), json=json)


def export_trials(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A bundled study's name or a path; left out: the only one that has runs.",
        ),
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="ARM", help="Only trials of this arm; repeatable."),
    ] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option("--seed", metavar="N", help="Only trials of this seed; repeatable."),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="With weights and predictions.")
    ] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="With predictions: some figures need them.")
    ] = False,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Write a study's finished trials to one file, which merge and import-trials join again."""
    from normlab.study.merging import export_trials as export
    from normlab.study.merging import only_study
    from normlab.study.stored import folder_of, stored_name
    from normlab.terminal import console
    from normlab.wording import bytes_text, counted

    name = only_study(runs) if study is None else stored_name(study, runs)
    count = export(
        folder_of(name, runs),
        file,
        arms=arms or (),
        seeds=seeds or (),
        weights=weights,
        predictions=predictions,
    )
    size = file.stat().st_size
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.trials import TrialsExported

        print_output(TrialsExported, name=name, file=file, trials=count, bytes=size)
        return
    text = f"{file}: {counted(count, 'trial')} of {name}, {bytes_text(size)}"
    console.print(text, soft_wrap=True)


def _say(found: Merged, *, json: bool) -> None:
    """What was joined, in lines or as JSON, then the exit code."""
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.trials import TrialsJoined

        print_output(TrialsJoined, **vars(found))
    else:
        _print(found)
    if not found.joined:
        raise typer.Exit(1)


def _print(found: Merged) -> None:
    from normlab.terminal import console, print_lines
    from normlab.wording import counted

    console.print(str(found), soft_wrap=True)
    for source, count in found.taken.items():
        console.print(f"from {source}: {counted(count, 'trial')}", soft_wrap=True)
    if found.unfinished:
        text = counted(found.unfinished, "planned trial")
        console.print(f"finished neither there nor here: {text}", soft_wrap=True)
    conflicts = (
        f"conflict: {_name(one)}, in {one['source']}: {'; '.join(one['differs'])}. "
        f"Here: {_places(one['here'])}. There: {_places(one['there'])}"
        for one in found.conflicts
    )
    print_lines(list(conflicts), "conflict", most=_MOST)
    for kept in dict.fromkeys(one["kept"] for one in found.conflicts):
        console.print(
            f"What is here stays; the other version is in {kept}, which import-trials reads",
            soft_wrap=True,
        )
    refused = (
        f"refused: {_name(one)}, in {one['source']}: {one['reason']}" for one in found.refused
    )
    print_lines(list(refused), "refused trial", most=_MOST)
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True)
    # "--into ." has no name of its own.
    folder = found.folder if found.folder.name else found.folder.resolve()
    console.print(
        f"`normlab report {folder.name} --runs {folder.parent}` writes the report", soft_wrap=True
    )


def _name(one: Mapping[str, object]) -> str:
    arm = f"{one['arm']}, " if one["arm"] else ""
    return f"{arm}seed {one['seed']} ({one['id']})"


def _places(places: Iterable[Mapping[str, object]]) -> str:
    """Where a trial was trained, by what decides about its bits."""
    texts = [
        ", ".join(f"{word}{place[key]}" for key, word in _OF_A_PLACE.items() if key in place)
        for place in places
    ]
    return "; then ".join(filter(None, texts)) or "unknown"


_OF_A_PLACE = {
    "device": "",
    "chip": "",
    "threads": "threads ",
    "torch": "torch ",
    "normlab": "normlab ",
}
