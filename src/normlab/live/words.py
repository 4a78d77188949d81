"""What is wrong, in words for a page: without the paths of the machine that serves it."""

from __future__ import annotations

import re
from pathlib import Path

from normlab.errors import NormlabError

_FILE = re.compile(r'File "[^"\n]*[/\\]([^"/\\\n]+)"')
_PATH = re.compile(r"(?<![\w.:/<])/(?:[^\s/'\"<>|:,;()]+/)*([^\s/'\"<>|:,;()]+)")
_DRIVE = re.compile(r"(?<!\w)[A-Za-z]:[/\\](?:[^\s/\\'\"<>|:,;()]+[/\\])*([^\s/\\'\"<>|:,;()]+)")


def words_of(error: BaseException, folder: Path | None = None) -> str:
    """What is wrong with a study; of an unforeseen error its name alone.

    Args:
        error: What was raised.
        folder: The study's, of which the words keep the name.
    """
    if isinstance(error, NormlabError):
        return without_paths(str(error), folder)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it cannot be read ({type(error).__name__})"


def without_paths(text: str, folder: Path | None = None) -> str:
    """A text in which files and folders of the machine have their names alone.

    Args:
        text: A message or a traceback.
        folder: One whose path may have blanks in it.
    """
    if folder is not None:
        for path in sorted({str(folder), str(folder.absolute()), str(folder.resolve())}, key=len):
            if len(path) > len(folder.name):
                text = text.replace(path, folder.name)
    text = _FILE.sub(r'File "\1"', text)
    return _DRIVE.sub(r"\1", _PATH.sub(r"\1", text))
