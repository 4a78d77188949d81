"""How the findings of the linter look: in a terminal, and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.study.lint import Finding


def print_findings(findings: Sequence[Finding], *, where: str = "--json") -> None:
    """Every finding, and behind those of a rule why it matters and where that was shown.

    Args:
        findings: Of a plan.
        where: What shows all of them, where they are many.
    """
    from normlab.terminal import console, print_lines

    if findings:
        console.print()
    for rule in dict.fromkeys(finding.rule for finding in findings):
        its = [finding for finding in findings if finding.rule == rule]
        print_lines([f"warning: {finding.says}" for finding in its], "such warning", where)
        console.print(f"  {rule}: {its[0].why} ({its[0].reference})", soft_wrap=True)


def print_warnings(warnings: Iterable[str]) -> None:
    """What makes a run slow on this machine, a line each."""
    from normlab.terminal import console

    for warning in warnings:
        console.print(f"warning: {warning}", soft_wrap=True)


def findings_record(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The findings as plain data: `rule`, `says`, `why`, `reference`."""
    return [
        {**finding._asdict(), "why": finding.why, "reference": finding.reference}
        for finding in findings
    ]
