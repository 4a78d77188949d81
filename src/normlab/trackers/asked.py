"""What a user says of another tool's runs: which of its names are ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from normlab.errors import UserError, unknown
from normlab.frames.epoch_rows import FACTS, OF_ARMS
from normlab.frames.external_table import PERCENT
from normlab.metrics import METRICS

SelectedOn = Literal["test", "validation", "nothing"]
"""The images that chose epochs or hyperparameters."""
Ends = Literal["common", "own"]
"""Where curves of different lengths are compared: at the last step that all have, or each at its
own."""

OWN_WORDS = (
    "arm",
    "seed",
    "epoch",
    "state",
    *METRICS,
    *(name + PERCENT for name, metric in METRICS.items() if metric.points),
    *FACTS,
    *OF_ARMS,
)
"""What `map` may name beside a study's factors."""
_FIELD = re.compile(r"\{([^{}]*)\}|\*")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How runs become a study's trials.

    Attributes:
        map: Our names (factors, `OWN_WORDS`) to theirs.
        names: What run names look like, with ``{factor}``, ``{seed}``, ``{arm}`` and ``*``.
        group: The experiment or project; None takes all.
        selected_on: What chose epochs and hyperparameters there; None is not known.
        ends: What to do with curves of different lengths; None refuses to compare them.
    """

    map: Mapping[str, str] = field(default_factory=dict)
    names: str | None = None
    group: str | None = None
    selected_on: SelectedOn | None = None
    ends: Ends | None = None

    def check(self, factors: Iterable[str]) -> None:
        """Refuse what is no word of ours, or no pattern.

        Args:
            factors: The study's.

        Raises:
            UserError: A name that does not exist, or a pattern that says nothing.
        """
        known = [*dict.fromkeys(factors), *OWN_WORDS]
        for name in self.map:
            if name not in known:
                raise UserError(f"--map: {unknown('name', name, known)}")
        if self.selected_on is not None and self.selected_on not in get_args(SelectedOn):
            said = unknown("choice", self.selected_on, get_args(SelectedOn))
            raise UserError(f"--selected-on: {said}")
        if self.ends is not None and self.ends not in get_args(Ends):
            raise UserError(f"--ends: {unknown('choice', self.ends, get_args(Ends))}")
        if self.names is None:
            return
        fields = [found[1] for found in _FIELD.finditer(self.names) if found[1] is not None]
        for name in fields:
            if name not in known:
                raise UserError(f"--names: {unknown('name', name, known)}")
            if fields.count(name) > 1:
                raise UserError(f"--names: {{{name}}} is there twice")
        if not fields:
            raise UserError(
                f"--names: '{self.names}' has no field: write what a run's name is made of, as in "
                '"{norm}-s{seed}"'
            )


def option(ours: str, theirs: str) -> str:
    """`--map` as a shell takes it."""
    return f"--map {shlex.quote(f'{ours}={theirs}')}"


def from_options(lines: Iterable[str]) -> dict[str, str]:
    """The mapping that ``OURS=THEIRS`` lines write.

    Raises:
        UserError: A line without `=`, or one name twice.
    """
    found: dict[str, str] = {}
    for line in lines:
        name, mark, theirs = line.partition("=")
        if not (name.strip() and mark and theirs.strip()):
            raise UserError(
                f"--map: '{line}' is not OURS=THEIRS, as in test_accuracy=eval/accuracy"
            )
        if name.strip() in found:
            raise UserError(f"--map: '{name.strip()}' is there twice")
        found[name.strip()] = theirs.strip()
    return found


def name_pattern(
    names: str, texts: Mapping[str, Iterable[str]]
) -> tuple[re.Pattern[str], list[str]]:
    """A pattern of run names as a regular expression, and what its groups are.

    Args:
        names: As in `Asked`.
        texts: By factor the texts that its levels may have: a name is split at those first.
    """
    parts, fields, end = [], [], 0
    for found in _FIELD.finditer(names):
        parts.append(re.escape(names[end : found.start()]))
        end = found.end()
        name = found[1]
        if name is None:
            parts.append(".*?")
            continue
        fields.append(name)
        levels = sorted(texts.get(name, ()), key=len, reverse=True)
        anything = r"\d+" if name in {"seed", "epoch"} else ".+?"
        parts.append(f"({'|'.join([*map(re.escape, levels), anything])})")
    parts.append(re.escape(names[end:]))
    return re.compile("".join(parts)), fields
