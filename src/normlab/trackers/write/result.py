"""What came of an export, and what writers share: names, refusals, texts cut to what fits."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Any

from normlab.errors import UserError, for_user, os_words
from normlab.files import sweep, write_whole
from normlab.study.stored import LostFile
from normlab.trackers.write.exported import ArmRun, Judged, StudyRuns
from normlab.wording import counted, interval, percent, state_counts

REHEARSAL = "This is the quick variant, a rehearsal: its numbers answer nothing."


@dataclass(frozen=True, repr=False)
class Exported:
    """What came of exporting a study.

    Attributes:
        to: The tool.
        dest: Where it was written to.
        name: The study's name.
        arms: How many arms are there now.
        added: How many trials were added.
        known: How many were there already, with the same numbers.
        left: How many planned trials are not finished and so left out, by state.
        lost: One mapping per file of weights that is gone or damaged and so left out; see `Status`.
        shortened: What the tool has no room for, a sentence each, without its full stop.
        opens: The command that shows or sends what was written; empty where there is none.
    """

    to: str
    dest: str
    name: str
    arms: int
    added: int
    known: int
    left: Mapping[str, int] = field(default_factory=dict)
    lost: Sequence[LostFile] = ()
    shortened: Sequence[str] = ()
    opens: str = ""

    def __repr__(self) -> str:
        return f"<Exported: {self}>"

    def __str__(self) -> str:
        parts = [f"{counted(self.added, 'trial')} added", f"{self.known} there already"]
        if self.lost:
            parts.append(f"{len(self.lost)} left out")
        if self.left:
            parts.append(f"not finished: {state_counts(self.left)}")
        return f"{self.dest}: {self.name}, {counted(self.arms, 'arm')}; {', '.join(parts)}"


def outcome(
    study: StudyRuns,
    to: str,
    dest: str,
    *,
    added: int,
    known: int,
    lost: Sequence[LostFile] = (),
    shortened: Sequence[str] = (),
    opens: str = "",
) -> Exported:
    """What came of an export of a study; the arguments are as the attributes of `Exported`."""
    return Exported(
        to=to,
        dest=dest,
        name=study.name,
        arms=len(study.arms),
        added=added,
        known=known,
        left=study.left,
        lost=lost,
        shortened=shortened,
        opens=opens,
    )


class Shortener:
    """Cuts texts to what a tool has room for, and remembers which."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._cut: dict[tuple[str, int], set[str]] = {}

    def __call__(self, text: str, most: int, what: str) -> str:
        """The text, or its beginning with an ellipsis, of so many characters at most."""
        if len(text) <= most:
            return text
        self._cut.setdefault((what, most), set()).add(text)
        return f"{text[: most - 1]}…"

    def changed(self, text: str, what: str) -> None:
        """Remember a name in which characters were replaced."""
        self._cut.setdefault((what, 0), set()).add(text)

    @property
    def said(self) -> list[str]:
        """A sentence for each sort of text."""
        return [
            f"{counted(len(texts), what)} cut to {most:,} characters, which is {self._tool}'s most"
            if most
            else f"{counted(len(texts), what)} with characters that {self._tool} refuses, replaced "
            "by _"
            for (what, most), texts in self._cut.items()
        ]


def needed(module: str) -> Any:
    """A module of a tool's own package.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        also = f" (it lacks {missing})" if missing and missing.partition(".")[0] != name else ""
        raise UserError(
            f"this export needs the package {name}{also}: pip install 'normlab[trackers]'"
        ) from None


@contextmanager
def writing_to(dest: str) -> Iterator[None]:
    """Within it an error of the operating system is one of writing there, told to the user.

    Raises:
        UserError: There was one; a MachineError where the machine is at fault.
    """
    try:
        yield
    except OSError as error:
        raise for_user(error, f"{dest} cannot be written: {os_words(error)}") from None


def in_shell(dest: str) -> str:
    """A path as a command has it: what shells make of `~` is made of it before it is quoted."""
    return quote(str(Path(dest).expanduser()))


_KEPT = re.compile(r"[^\w.,=+ -]", re.ASCII)
_LONGEST = 80
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def file_names(labels: Iterable[str]) -> dict[str, str]:
    """A name for a file or a folder by label, each another one on every disk.

    A label that cannot be a name as it is, or that differs from another one in case alone, gets
    eight digits of its hash.
    """
    labels = list(labels)
    alike = Counter(label.lower() for label in labels)
    return {label: _file_name(label, alone=alike[label.lower()] == 1) for label in labels}


def _file_name(label: str, *, alone: bool) -> str:
    name = _KEPT.sub("_", label)[:_LONGEST].strip(" .")
    if name == label and alone and not _DEVICES.fullmatch(name):
        return name
    return f"{name or 'arm'}-{_digest(label)[:8]}"


_MARKER = "normlab-export.json"


def folder_for(dest: str, to: str, study: str) -> Path:
    """The folder of an export, with a small file in it that says what it is of.

    Raises:
        UserError: It is a file, has something else in it, is of another study or tool, or cannot
            be written. Nothing of it was changed then.
    """
    if "://" in dest:
        raise UserError(f"{dest} is an address: {to} is written to a folder")
    folder = Path(dest).expanduser()
    mark = {"normlab": "export", "to": to, "study": study}
    with writing_to(dest):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{dest} is no folder: name a new one, or that of an earlier export")
        held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        found = _marked(folder / _MARKER) if _MARKER in held else None
        foreign = sorted(name for name in held if not name.startswith(".normlab-"))
        if foreign and found != mark:
            of = f"holds an export of {found['study']} to {found['to']}" if found else ""
            raise UserError(
                f"{dest} {of or f'has {foreign[0]} in it, and is no export of normlab'}: name a "
                "new folder, or that of an earlier export of this study"
            )
        sweep(folder)
        if found is None:
            write_whole(folder / _MARKER, f"{json.dumps(mark)}\n".encode())
    return folder


def _marked(path: Path) -> dict[str, str] | None:
    """What an export's folder says of itself; None if it is not as normlab writes it."""
    try:
        found = json.loads(path.read_bytes()[:10_000])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != {"normlab", "to", "study"}:
        return None
    return {str(key): str(value) for key, value in found.items()}


def arm_id(arm: ArmRun, values: Mapping[str, object]) -> tuple[str, str]:
    """The id of an arm's run where ids are ours to choose.

    Args:
        arm: The arm.
        values: What its run has, as JSON has it: other values, another id.

    Returns:
        What the ids of this arm's runs begin with and no other's do, and the id.
    """
    own = f"arm-{_digest(arm.label)[:12]}-"
    return own, f"{own}{_digest(json.dumps(values, sort_keys=True))[:8]}"


def by_own(ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Ids of runs by what those of one trial or arm begin with: all up to the last `-`.

    What follows it is of the run's numbers, and empty where these have no hash.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for one in ids:
        own, last, _ = one.rpartition("-")
        found[own + last].append(one)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def verdict_texts(judged: Iterable[Judged]) -> dict[str, str]:
    """For each claim its verdict, and the sentence about it."""
    found: dict[str, str] = {}
    for one in judged:
        found[f"normlab.verdict.{one.claim}"] = one.verdict
        found[f"normlab.claim.{one.claim}"] = one.words
    return found


def study_notes(study: StudyRuns) -> str:
    """The study in a few lines of Markdown: its question and its verdicts."""
    lines = [f"Study **{study.name}**: {study.question}", ""]
    if study.rehearsal:
        lines += [REHEARSAL, ""]
    lines += _judged_lines(study.judged)
    if study.left:
        lines += ["", f"Planned trials that are not finished: {state_counts(study.left)}."]
    return "\n".join([*lines, "", f"Exported by normlab {study.normlab}."])


def arm_notes(arm: ArmRun) -> str:
    """An arm in a few lines of Markdown."""
    lines = [f"Arm **{arm.label}**: {counted(len(arm.trials), 'trial')}.", ""]
    said = _accuracy(arm)
    lines += [said, ""] if said else []
    return "\n".join([*lines, *_judged_lines(arm.judged)])


def _accuracy(arm: ArmRun) -> str:
    """Mean test accuracy with its interval, as a sentence; empty where no trial counts."""
    mean = arm.summary.get("test_accuracy_mean")
    if mean is None:
        return ""
    limits = arm.summary.get("test_accuracy_low"), arm.summary.get("test_accuracy_high")
    found = "" if limits[0] is None else f", 95 % interval {interval(limits)} %"
    return f"Mean test accuracy over seeds {percent(mean)} %{found}."


def _judged_lines(judged: Sequence[Judged]) -> list[str]:
    return [f"- {one.claim}: {one.words}" for one in judged] or ["No claim is made of it."]
