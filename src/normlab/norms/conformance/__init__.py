"""The conformance kit: is this layer what it says it is?

`check` holds a kind of normlab's, or any `torch.nn.Module` class with the common signature
``Kind(num_channels, *, eps, affine, activation, <own options>)``, to a definition in float64, and
to all that a norm in use has to stand. `assert_conforms` is the same for a test of your own:

    from normlab.norms.conformance import assert_conforms

    def test_my_batch_norm():
        assert_conforms(MyBatchNorm, against="batch")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from normlab.errors import UserError, unknown
from normlab.norms import NORMS
from normlab.norms.conformance import convolutions
from normlab.norms.conformance.checks import CHECKS, run
from normlab.norms.conformance.definitions import DEFINITIONS, Definition
from normlab.norms.conformance.subject import Subject


@dataclass(frozen=True)
class Finding:
    """One check of one setting: `wrong` says what failed; None means that it passed."""

    setting: str
    check: str
    wrong: str | None


def check(
    norm: str | Callable[..., nn.Module],
    *,
    against: str | None = None,
    options: dict[str, object] | None = None,
) -> Iterator[Finding]:
    """Check a norm in every setting of its definition.

    Args:
        norm: A kind's name, or a class with the common signature.
        against: The kind whose definition a class is checked against; without it only the checks
            that need no definition run. A kind is checked against its own.
        options: Create the layer with these instead of the definition's settings.

    Raises:
        UserError: Unknown kind.
    """
    if isinstance(norm, str):
        known = NORMS | convolutions.CONVOLUTIONS
        if norm not in known:
            raise UserError(unknown("norm", norm, known))
        against, norm = against or norm, known[norm]
    if against in convolutions.CONVOLUTIONS:
        if options:
            raise UserError(f"{against} has no options to check it with")
        for name, wrong in convolutions.run(norm):
            yield Finding("", name, wrong)
        return
    if against is not None and against not in DEFINITIONS:
        known_kinds = [*DEFINITIONS, *convolutions.CONVOLUTIONS]
        raise UserError(f"against: {unknown('norm', against, known_kinds)}")
    definition = DEFINITIONS[against] if against else None
    settings = definition.settings if definition and options is None else (options or {},)
    for setting in settings:
        text = ", ".join(f"{key}={value}" for key, value in setting.items())
        for name, wrong in run(Subject(norm, setting, definition)):
            yield Finding(text, name, wrong)


def assert_conforms(
    norm: str | Callable[..., nn.Module],
    *,
    against: str | None = None,
    options: dict[str, object] | None = None,
) -> None:
    """Raise AssertionError with everything that is wrong; arguments as `check`."""
    wrong = [finding for finding in check(norm, against=against, options=options) if finding.wrong]
    if wrong:
        name = norm if isinstance(norm, str) else norm.__name__
        lines = [f"  {f.check}{f' ({f.setting})' if f.setting else ''}: {f.wrong}" for f in wrong]
        raise AssertionError("\n".join([f"{name} does not conform:", *lines]))


KINDS: tuple[str, ...] = (*NORMS, *convolutions.CONVOLUTIONS)
"""Every kind that can be checked by name."""

__all__ = ["CHECKS", "DEFINITIONS", "KINDS", "Definition", "Finding", "assert_conforms", "check"]
