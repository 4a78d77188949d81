"""The files of sentences, one for each source, and of the sources' set-ups."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import get_args

from normlab.errors import UserError
from normlab.sentences.sentence import Sentence, Source, SourceFile
from normlab.sentences.setups import Setup
from normlab.study.files import read

FOLDER = Path(str(files("normlab") / "sentences" / "sources"))
SETUPS = FOLDER / "setups.yaml"
SOURCES: tuple[Source, ...] = get_args(Source)
"""Every source, in the order of the numbers of its sentences."""


def source_file(source: Source, folder: Path = FOLDER) -> SourceFile:
    """What a source has.

    Raises:
        UserError: A mistake in its file.
    """
    path = folder / f"{source.lower()}.yaml"
    return SourceFile.parse(read(path), where=path.name)


def sentences(folder: Path = FOLDER) -> list[tuple[Source, Sentence]]:
    """Every sentence of every source, each with its source, in the order of their numbers.

    Raises:
        UserError: A mistake in a file, or a number that is missing or there twice.
    """
    found = [
        (source, sentence)
        for source in SOURCES
        for sentence in source_file(source, folder).sentences
    ]
    for place, (source, sentence) in enumerate(found, start=1):
        if sentence.number != place:
            raise UserError(
                f"{source.lower()}.yaml: sentence {sentence.number} stands where {place} belongs: "
                "numbers go on from source to source"
            )
    return found


def setups(path: Path = SETUPS) -> dict[str, Setup]:
    """What the source of a study ran, by study.

    Raises:
        UserError: A mistake in the file.
    """
    return {
        name: Setup.parse(value, where=f"{path.name}, {name}") for name, value in read(path).items()
    }
