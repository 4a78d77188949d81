"""Tables for a paper: the arms and the verdicts as LaTeX (booktabs, siunitx) and Markdown."""

from __future__ import annotations

import math
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
    "±": r"$\pm$",
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


_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_NUMBERS = re.compile(
    rf"(?<![\w.,=-])(?P<one>{_NUMBER})(?: (?P<between>±|to) (?P<two>{_NUMBER}))?(?![\w.,=])"
)
_PREAMBLE = (
    r"\usepackage{booktabs, siunitx}",
    r"\sisetup{separate-uncertainty = true, retain-explicit-plus = true}",
)
INTERVALS = (
    "± is half the width of the 95 % t-interval of the mean over seeds, which is no standard "
    "deviation; limits in brackets are those of an interval that ends at 0 or 100 %"
)


@dataclass(frozen=True)
class Table:
    """Text in rows.

    Attributes:
        columns: Names, and what a column holds: `l`, text; `r`, numbers, to the right; `n`, numbers
            with words behind them.
        rows: A text for each column. Two numbers with "±" or "to" between them are one quantity.
        note: What a reader must know, without its full stop.
    """

    columns: Sequence[tuple[str, Literal["l", "r", "n"]]]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def latex(self) -> str:
        """A `tabular` with the rules of booktabs and numbers of siunitx.

        The comment above it has the lines that the preamble needs.
        """
        sides = "".join("r" if kind == "r" else "l" for _, kind in self.columns)
        head = ["Made by normlab. The preamble needs:", *_PREAMBLE]
        head += [f"{self.note.replace('±', '+-')}."] if self.note else []
        kinds = [kind for _, kind in self.columns]
        rows = [[_cell(*one) for one in zip(row, kinds, strict=True)] for row in self.rows]
        lines = [
            *(f"% {line}" for line in head),
            f"\\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            _latex_row([escape_latex(name) for name, _ in self.columns]),
            r"\midrule",
            *map(_latex_row, rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        rules = ["---:" if kind == "r" else "---" for _, kind in self.columns]
        lines = [
            _markdown_row([escape_markdown(name) for name, _ in self.columns]),
            _markdown_row(rules),
            *(_markdown_row([escape_markdown(cell) for cell in row]) for row in self.rows),
            *(["", f"{self.note}."] if self.note else []),
        ]
        return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text as LaTeX shows it, on one line."""
    return _escaped(" ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Text as Markdown shows it in a table's cell, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|~#$&])", r"\\\1", " ".join(text.split()))


def arms_typeset(frames: Frames) -> Table:
    """The arms with means over seeds: accuracies in percent, ± half of the 95 % interval's width.

    Where an interval is cut at 0 or 100 % its limits stand in place of half its width.
    """
    table = arm_table(frames)
    rows = [
        [
            arm["arm"],
            str(arm["finished"]),
            _with_half(arm["test_mean"], arm["test_low"], arm["test_high"]),
            _with_half(arm["validation_mean"], arm["validation_low"], arm["validation_high"]),
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
        "Seeds", "Test accuracy, %", "Validation, %", "Train (running), %", "Gap, points",
        "Macro F1, %", "ECE, %", seconds, "Parameters",
    )  # fmt: skip
    note = INTERVALS if table[["test_low", "validation_low"]].notna().any(axis=None) else ""
    return Table([("Arm", "l"), *((name, "r") for name in names)], rows, note=note)


def _with_half(mean: float, low: float, high: float) -> str:
    """A mean in percent with half the width of its interval, or with limits that are not alike."""
    if not math.isfinite(mean + low + high):  # no trial, or too few for an interval
        return percent(mean)
    below, above = mean - low, high - mean
    if math.isclose(below, above, abs_tol=1e-9):
        return f"{percent(mean)} ± {percent(above)}"
    return f"{percent(mean)} ({interval((low, high))})"


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
            ("Measured", "n"),
            ("Verdict", "l"),
            ("Seeds", "r"),
            ("Seeds to settle", "r"),
        ],
        rows,
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, kind: str) -> str:
    """A cell as LaTeX shows it, its numbers by siunitx."""
    text = " ".join(text.split())
    if kind == "n":  # behind the first comma with a blank stand labels of arms
        said, comma, labels = text.partition(", ")
        made = _numbers(said) if re.match(r"[+-]?\d", said) else _escaped(said)
        return made + _escaped(comma + labels)
    return _numbers(text) if kind == "r" else _escaped(text)


def _numbers(text: str) -> str:
    made, at = [], 0
    for found in _NUMBERS.finditer(text):
        made += [_escaped(text[at : found.start()]), _number(found)]
        at = found.end()
    return "".join([*made, _escaped(text[at:])])


def _escaped(text: str) -> str:
    """Text as LaTeX shows it, with the blanks it has."""
    joined = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", joined)  # a minus, no hyphen


def _number(found: re.Match[str]) -> str:
    one, two = (found[name] and found[name].replace(",", "") for name in ("one", "two"))
    if found["between"] == "to":
        return rf"\numrange{{{one}}}{{{two}}}"
    return rf"\num{{{one} +- {two}}}" if two else rf"\num{{{one}}}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
