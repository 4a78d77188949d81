"""What is wrong, in words for a page: without the paths of the machine that serves it."""

from __future__ import annotations

import re
from pathlib import Path

from normlab.errors import NormlabError
from normlab.text import shown

_FILE = re.compile(r'File "[^"\n]*[/\\]([^"/\\\n]+)"')
_ROOT = r"(?:file:/*|~(?:[A-Za-z_][\w.-]*)?)?/"
_DRIVE = r"(?:[A-Za-z]:[/\\]|\\\\)[/\\]*"
_PLAIN = r"[^\s/'\"<>|:,;()]+"
_QUOTED = re.compile(
    rf"(?P<quote>['\"])(?:{_ROOT}|{_DRIVE})(?:[^'\"\n]*[/\\])?([^'\"/\\\n]+)(?P=quote)"
)
_PATH = re.compile(rf"(?<![\w.:/<~]){_ROOT}(?:{_PLAIN}/+)*({_PLAIN})")
_WINDOWS = re.compile(rf"(?<![\w\\]){_DRIVE}(?:[^\s/\\'\"<>|:,;()]+[/\\]+)*([^\s/\\'\"<>|:,;()]+)")


def words_of(error: BaseException, folder: Path | None = None) -> str:
    """What is wrong with a study, fit to be shown; of an unforeseen error its name alone.

    Args:
        error: What was raised.
        folder: The study's, of which the words keep the name.
    """
    if isinstance(error, NormlabError):
        return shown(without_paths(str(error), folder), lines=True)
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
                text = text.replace(path, folder.name).replace(shown(path), shown(folder.name))
    text = _FILE.sub(r'File "\1"', text)
    text = _QUOTED.sub(r"\1\2\1", text)
    return _WINDOWS.sub(r"\1", _PATH.sub(r"\1", text))
