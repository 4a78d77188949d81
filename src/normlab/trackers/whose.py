"""Whose trial a run of another tool is: its arm and its seed, by parameters or by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from normlab.errors import UserError, listing
from normlab.frames.external_rows import same
from normlab.frames.external_table import LARGEST, MISSING, whole
from normlab.recipe import value_text
from normlab.text import one_form
from normlab.trackers.asked import Asked, name_pattern, option
from normlab.trackers.names import alike, flat, may_be_seed, the_seed
from normlab.trackers.runs import Run, first_names


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A run's arm and seed.

    Attributes:
        arm: A label of the study.
        seed: None where no run says one.
        unset: Factors that the run does not set, and whose level is null.
    """

    arm: str
    seed: int | None
    unset: tuple[str, ...] = ()


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
        self._runs = runs
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
                    f"{option(ours, theirs)}: no run has a parameter '{theirs}'; "
                    f"{self.parameters()}"
                )
        texts = {
            key: {text for levels in arms.values() if key in levels for text in _texts(levels[key])}
            for key in self._factors
        } | {"arm": set(arms)}
        self._pattern = name_pattern(asked.names, texts) if asked.names else None
        self._of_factor = {key: self._named(key) for key in self._factors}
        self._of_arm = self._named("arm")
        self._said = list(map(self._said_by, runs))
        self._arm_of = [
            self._arm(run, said) if said is not None else "the name does not fit --names"
            for run, said in zip(runs, self._said, strict=True)
        ]
        self._of_seed = self._seeds()

    @property
    def says_seeds(self) -> bool:
        """Whether a parameter or the name's pattern tells seeds."""
        return bool(self._of_seed) or bool(self._pattern and "seed" in self._pattern[1])

    def parameters(self) -> str:
        """The parameters that there are, for a message."""
        if not self._params:
            return "they have no parameters"
        return f"their parameters: {first_names(self._params)}"

    def each(self) -> Iterator[tuple[Run, Owner | str]]:
        """Each run with its arm and seed, or why it has none, in words that many runs share."""
        for run, said, arm in zip(self._runs, self._said, self._arm_of, strict=True):
            if said is None or arm not in self._arms:
                yield run, arm
                continue
            seed = self._seed(run, said)
            unset = self._unset(run, said, arm)
            yield run, seed if isinstance(seed, str) else Owner(arm=arm, seed=seed, unset=unset)

    def _said_by(self, run: Run) -> dict[str, str] | None:
        """What a run's name says; None where it does not fit the pattern."""
        if self._pattern is None:
            return {}
        found = self._pattern[0].fullmatch(run.name)
        return None if found is None else dict(zip(self._pattern[1], found.groups(), strict=True))

    # -- arms ------------------------------------------------------------------------------

    def _arm(self, run: Run, said: Mapping[str, str]) -> str:
        """The label, or why there is none."""
        label, named = self._label(run, said)
        if label is not None and named is None and ("arm" in said or "arm" in self._asked.map):
            return "its arm is none of the study's"
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

    def _label(self, run: Run, said: Mapping[str, str]) -> tuple[str | None, str | None]:
        """The arm as the run says it, and the label of the study that this is."""
        label = said.get("arm") or _first(run, self._of_arm)
        return label, self._labels.get(one_form(label).casefold()) if label is not None else None

    def _unset(self, run: Run, said: Mapping[str, str], arm: str) -> tuple[str, ...]:
        """The factors that a run has a level of because it does not set them."""
        if self._label(run, said)[1] is not None:
            return ()
        null = [key for key, level in self._arms[arm].items() if level is None]
        return tuple(key for key in null if self._cell(run, key, said) is None)

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
                return f"its {key} is no level of the study's"
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

    def _seeds(self) -> list[str]:
        """The parameters that tell seeds: what other runs of the source have decides nothing."""
        if "seed" in self._asked.map:
            return [self._asked.map["seed"]]
        if self._pattern is not None and "seed" in self._pattern[1]:
            return []
        own = [run for run, arm in zip(self._runs, self._arm_of, strict=True) if arm in self._arms]
        params = dict.fromkeys(name for run in own for name in run.params)
        names = the_seed(name for name in params if may_be_seed(name))
        for run in own:
            found = {name: run.params[name] for name in names if name in run.params}
            if len(set(found.values())) > 1:
                lines = " or ".join(option("seed", name) for name in found)
                raise UserError(
                    f"run '{run.name}': the parameters {listing(found)} may all be the seed, and "
                    f"they differ: say {lines}"
                )
        return names

    def _seed(self, run: Run, said: Mapping[str, str]) -> int | str | None:
        text = said.get("seed") or _first(run, self._of_seed)
        if text is None:
            return "no seed" if self.says_seeds else None
        value = whole(text, comma=False)
        if value is None or value < 0:
            return "its seed is no whole number from 0 on"
        return value if value <= LARGEST else f"its seed is above {LARGEST}"


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
