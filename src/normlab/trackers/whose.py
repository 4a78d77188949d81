"""Whose trial a run of another tool is: its arm and its seed, by parameters or by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from normlab.errors import UserError, listing
from normlab.frames.external_rows import same
from normlab.frames.external_table import MISSING, number
from normlab.recipe import value_text
from normlab.text import one_form
from normlab.trackers.asked import Asked, name_pattern
from normlab.trackers.names import alike, flat, may_be_seed, the_seed
from normlab.trackers.runs import Run

_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A run's arm and seed.

    Attributes:
        arm: A label of the study.
        seed: None where no run says one.
    """

    arm: str
    seed: int | None


class Owners:
    """Finds arms and seeds of runs.

    Args:
        runs: All that may be of the study: their parameters are searched for its factors.
        arms: The study's arms by label, with their levels.
        asked: What the user said.

    Raises:
        UserError: A factor or the seed may be either of two parameters.
    """

    def __init__(
        self, runs: Sequence[Run], arms: Mapping[str, Mapping[str, object]], asked: Asked
    ) -> None:
        self._arms = arms
        self._labels = {one_form(label).casefold(): label for label in arms}
        self._factors = list(dict.fromkeys(key for levels in arms.values() for key in levels))
        self._params = list(dict.fromkeys(name for run in runs for name in run.params))
        self._flat: dict[str, list[str]] = {}
        for name in self._params:
            self._flat.setdefault(flat(name), []).append(name)
        self._asked = asked
        for ours, theirs in asked.map.items():
            if ours in {"arm", "seed", *self._factors} and theirs not in self._params:
                raise UserError(
                    f"--map {ours}={theirs}: no run has a parameter '{theirs}'; {self.parameters()}"
                )
        texts = {
            key: {text for levels in arms.values() if key in levels for text in _texts(levels[key])}
            for key in self._factors
        } | {"arm": set(arms)}
        self._pattern = name_pattern(asked.names, texts) if asked.names else None
        self._of_factor = {key: self._named(key) for key in self._factors}
        self._of_arm = self._named("arm")
        self._of_seed = self._seeds(runs)

    @property
    def says_seeds(self) -> bool:
        """Whether a parameter or the name's pattern tells seeds."""
        return bool(self._of_seed) or bool(self._pattern and "seed" in self._pattern[1])

    def parameters(self) -> str:
        """The parameters that there are, for a message."""
        if not self._params:
            return "no run has any parameters: --names says what their names are made of"
        shown = self._params[:_MOST_SHOWN]
        more = len(self._params) - len(shown)
        return f"there are: {listing(shown)}{f' and {more} more' if more else ''}"

    def owner(self, run: Run) -> Owner | str:
        """A run's arm and seed, or why it has none, in words that many runs share."""
        said: dict[str, str] = {}
        if self._pattern is not None:
            found = self._pattern[0].fullmatch(run.name)
            if found is None:
                return "the name does not fit --names"
            said = dict(zip(self._pattern[1], found.groups(), strict=True))
        arm = self._arm(run, said)
        if arm not in self._arms:
            return arm
        seed = self._seed(run, said)
        return seed if isinstance(seed, str) else Owner(arm=arm, seed=seed)

    # -- arms ------------------------------------------------------------------------------

    def _arm(self, run: Run, said: Mapping[str, str]) -> str:
        """The label, or why there is none."""
        label = said.get("arm") or _first(run, self._of_arm)
        named = self._labels.get(one_form(label).casefold()) if label is not None else None
        if label is not None and named is None and ("arm" in said or "arm" in self._asked.map):
            return f"the arm '{label}' is none of the study's"
        cells = {key: self._cell(run, key, said) for key in self._factors}
        if named is not None:
            wrong = [key for key, level in self._arms[named].items() if cells[key] is not None
                     and not _is(level, cells[key])]  # fmt: skip
            if wrong:
                return f"the name of its arm and its parameter '{wrong[0]}' contradict each other"
            return named
        fitting = [
            label
            for label, levels in self._arms.items()
            if all(self._fits(key, level, cells[key]) for key, level in levels.items())
        ]
        most = max((len(self._arms[label]) for label in fitting), default=0)
        fitting = [label for label in fitting if len(self._arms[label]) == most]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            return f"it fits several arms: {listing(fitting)}"
        return self._unfit(cells)

    def _fits(self, key: str, level: object, cell: object) -> bool:
        if cell is None:  # what is not set at all, where other runs set it
            return level is None and bool(self._of_factor[key])
        return _is(level, cell)

    def _unfit(self, cells: Mapping[str, object]) -> str:
        for key in self._factors:
            every = [levels[key] for levels in self._arms.values() if key in levels]
            cell = cells[key]
            if cell is None and None not in every and len(every) == len(self._arms):
                return f"no parameter '{key}'"
            if cell is not None and not any(_is(level, cell) for level in every):
                text = cell if isinstance(cell, str) else value_text(cell)
                return f"{key} is '{text}', no level of the study's"
        return "its levels fit no arm"

    def _cell(self, run: Run, key: str, said: Mapping[str, str]) -> object:
        """A factor's value in a run: its text, or a component's flattened keys; None if unsaid."""
        if key in said:
            return said[key]
        name = self._of_factor[key]
        if (text := _first(run, name)) is not None:
            return text
        kind = _first(run, self._flat.get(flat(f"{key}.kind"), []))
        if kind is None:
            return None
        ends = {"kind": kind}
        for level in (levels.get(key) for levels in self._arms.values()):
            for inner in level if isinstance(level, Mapping) else ():
                value = _first(run, self._flat.get(flat(f"{key}.{inner}"), []))
                if value is not None:
                    ends[str(inner)] = value
        return ends

    def _named(self, key: str) -> list[str]:
        """The parameters that a factor may be called, the surest first."""
        if key in self._asked.map:
            return [self._asked.map[key]]
        return alike(key, self._flat.get(flat(key), []))

    # -- seeds -----------------------------------------------------------------------------

    def _seeds(self, runs: Sequence[Run]) -> list[str]:
        if "seed" in self._asked.map:
            return [self._asked.map["seed"]]
        if self._pattern is not None and "seed" in self._pattern[1]:
            return []
        names = the_seed(name for name in self._params if may_be_seed(name))
        for run in runs:
            found = {name: run.params[name] for name in names if name in run.params}
            if len(set(found.values())) > 1 and self._is_of_study(run):
                lines = " or ".join(f"--map seed={name}" for name in found)
                raise UserError(
                    f"run '{run.name}': the parameters {listing(found)} may all be the seed, and "
                    f"they differ: say {lines}"
                )
        return names

    def _is_of_study(self, run: Run) -> bool:
        said: dict[str, str] = {}
        if self._pattern is not None:
            found = self._pattern[0].fullmatch(run.name)
            if found is None:
                return False
            said = dict(zip(self._pattern[1], found.groups(), strict=True))
        return self._arm(run, said) in self._arms

    def _seed(self, run: Run, said: Mapping[str, str]) -> int | str | None:
        text = said.get("seed") or _first(run, self._of_seed)
        if text is None:
            return "no seed" if self.says_seeds else None
        value = number(text, comma=False)
        if value is None or not value.is_integer() or value < 0:
            return "its seed is no whole number from 0 on"
        return int(value)


def _first(run: Run, names: Iterable[str]) -> str | None:
    return next((run.params[name] for name in names if name in run.params), None)


def _texts(level: object) -> set[str]:
    texts = {value_text(level), str(level)}
    if isinstance(level, dict):
        texts.add(str(level.get("kind")))
    return texts


def _is(level: object, cell: object) -> bool:
    """Whether a run's value is a level: its text, its number, or a component's keys."""
    if isinstance(cell, Mapping):
        wanted = level if isinstance(level, Mapping) else {"kind": level}
        return all(key in cell and _is(value, cell[key]) for key, value in wanted.items())
    text = str(cell)
    if same(level, text, comma=False):
        return True
    if level is None:
        return text.lower() in MISSING
    return isinstance(level, str) and one_form(text).casefold() == one_form(level).casefold()
