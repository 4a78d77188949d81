"""How the findings of the linter look: in a terminal, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.study.lint import Finding


def print_findings(findings: Sequence[Finding]) -> None:
    """Every finding, and behind those of a rule why it matters and where that was shown."""
    from normlab.cli.output import console
    from normlab.study.lint import RULES

    if findings:
        console.print()
    for rule in dict.fromkeys(finding.rule for finding in findings):
        for finding in findings:
            if finding.rule == rule:
                console.print(f"mind: {finding.says}", soft_wrap=True)
        why, reference = RULES[rule].why, RULES[rule].reference
        console.print(f"  {rule}: {why} ({reference})", soft_wrap=True)


def findings_record(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The findings as plain data: `rule`, `says`, `why`, `reference`."""
    from normlab.study.lint import RULES

    return [
        {
            **finding._asdict(),
            "why": RULES[finding.rule].why,
            "reference": RULES[finding.rule].reference,
        }
        for finding in findings
    ]
