"""Outputs about trials that are carried from store to store."""

from __future__ import annotations

from normlab.cli.outputs.output import Output, Part, Plain


class TrialsExported(Output):
    """A file of trials.

    Attributes:
        name: The study's name.
        file: The file's path.
        trials: How many it has.
        bytes: Its size in bytes.
    """

    name: str
    file: str
    trials: int
    bytes: int


class ConflictingTrial(Part):
    """A trial that another store has with other numbers.

    Attributes:
        arm: The label of its arm; empty where the plan has none for it.
        seed: Its seed.
        id: Its id.
        source: The folder or file with the other numbers.
        differs: In what, in words.
        here: Where the version that stays was trained: device, chip, threads and more.
        there: Where the other one was.
        kept: The file that holds the other one.
    """

    arm: str
    seed: int
    id: str
    source: str
    differs: list[str]
    here: list[Plain]
    there: list[Plain]
    kept: str


class RefusedTrial(Part):
    """A trial that was not taken.

    Attributes:
        arm: The label of its arm; empty where the plan has none for it.
        seed: Its seed, if that is known.
        id: Its id.
        source: The folder or file that has it.
        reason: What is damaged.
    """

    arm: str
    seed: int | str | None
    id: str
    source: str
    reason: str


class TrialsJoined(Output):
    """What came of joining stores: the exit code is 1 where a trial is in conflict or refused.

    Attributes:
        folder: The study's folder that has the trials now.
        name: The study's name.
        taken: How many trials it had not before, by the folder or file that they came from.
        known: How many were there already, with the same numbers.
        filled: How many of these were there without weights or predictions, and have them now.
        unfinished: How many planned trials of the others are finished neither there nor here.
        conflicts: Trials that have other numbers elsewhere.
        refused: Trials that are not as a run leaves them.
        notes: What a reader must know besides: a sentence each, without its full stop.
    """

    folder: str
    name: str
    taken: dict[str, int]
    known: int
    filled: int
    unfinished: int
    conflicts: list[ConflictingTrial]
    refused: list[RefusedTrial]
    notes: list[str]
