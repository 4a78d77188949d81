"""The output of check norm."""

from __future__ import annotations

from normlab.cli.outputs.output import Output, Part


class NormCheck(Part):
    """A check of a norm against its definition.

    Attributes:
        norm: A kind, or the import path of a class.
        setting: The options that the layer was made with, in words.
        check: What was checked.
        passed: Whether the layer does what its definition says.
        wrong: What it does instead; null where the check passed.
    """

    norm: str
    setting: str
    check: str
    passed: bool
    wrong: str | None


class NormsChecked(Output):
    """Whether norms do what their definitions say: the exit code is 1 where a check failed.

    Attributes:
        passed: Checks that passed.
        failed: Checks that did not.
        checks: Each of them.
    """

    passed: int
    failed: int
    checks: list[NormCheck]
