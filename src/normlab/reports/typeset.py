"""Tables for a paper: the arms and the verdicts as LaTeX (booktabs) and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.frames.claim_words import published_text
from normlab.frames.load import Frames
from normlab.frames.tables import arm_table
from normlab.frames.verdicts import claim_table
from normlab.wording import SHARE, interval, number, percent, seeds_text, share_mark

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl needs another font encoding than the usual one
    "µ": r"$\mu$",
    # At the start of a row these would be read as an option of the row before.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "→": r"$\to$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


@dataclass(frozen=True)
class Table:
    """Text in rows; a column is `l`eft or `r`ight."""

    columns: Sequence[tuple[str, Literal["l", "r"]]]
    rows: Sequence[Sequence[str]]

    def latex(self) -> str:
        r"""A `tabular` with the rules of booktabs; needs ``\usepackage{booktabs}``."""
        sides = "".join(side for _, side in self.columns)
        lines = [
            _latex_row([name for name, _ in self.columns]),
            r"\midrule",
            *(_latex_row(row) for row in self.rows),
        ]
        body = "\n".join(lines)
        return f"\\begin{{tabular}}{{{sides}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        rules = ["---" if side == "l" else "---:" for _, side in self.columns]
        lines = [
            _markdown_row([escape_markdown(name) for name, _ in self.columns]),
            _markdown_row(rules),
            *(_markdown_row([escape_markdown(cell) for cell in row]) for row in self.rows),
        ]
        return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text as LaTeX shows it, on one line."""
    joined = "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", joined)  # a minus, no hyphen


def escape_markdown(text: str) -> str:
    """Text as Markdown shows it in a table's cell, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|~#$&])", r"\\\1", " ".join(text.split()))


def arms_typeset(frames: Frames) -> Table:
    """The arms with means over seeds: accuracies in percent, the 95 % interval of the test's."""
    table = arm_table(frames)
    rows = [
        [
            arm["arm"],
            str(arm["finished"]),
            percent(arm["test_mean"]),
            interval((arm["test_low"], arm["test_high"])),
            percent(arm["validation_mean"]),
            percent(arm["train_mean"]),
            percent(arm["gap"]),
            percent(arm["macro_f1"]),
            percent(arm["ece"]),
            number(arm["seconds"], 1) + share_mark(arm["together"]),
            number(arm["parameters"], 0),
        ]
        for arm in table.to_dict("records")
    ]
    seconds = "Training seconds"
    if (table["together"] > 1).any():
        seconds += f" (* {SHARE})"
    names = (
        "Seeds", "Test accuracy, %", "95 % interval", "Validation, %", "Train (running), %",
        "Gap, points", "Macro F1, %", "ECE, %", seconds, "Parameters",
    )  # fmt: skip
    return Table([("Arm", "l"), *((name, "r") for name in names)], rows)


def verdicts_typeset(frames: Frames) -> Table:
    """The claims with what was published and measured, the verdict, and the seeds to settle it."""
    claims = {claim.name: claim for claim in frames.plan.claims}
    rows = []
    for row in claim_table(frames).to_dict("records"):
        size = f", {row['size']}" if isinstance(row["size"], str) else ""
        note = " (exploratory)" if isinstance(row["exploratory"], str) else ""
        rows.append(
            [
                str(row["claim"]),
                published_text(frames.plan, claims[row["claim"]]),
                row["measured"] if isinstance(row["measured"], str) else "–",
                f"{row['verdict']}{size}{note}",
                number(row["seeds"], 0),
                seeds_text(row["seeds_to_settle"]),
            ]
        )
    return Table(
        [
            ("Claim", "l"),
            ("Published", "l"),
            ("Measured", "l"),
            ("Verdict", "l"),
            ("Seeds", "r"),
            ("Seeds to settle", "r"),
        ],
        rows,
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
