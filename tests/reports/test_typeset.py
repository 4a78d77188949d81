import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from normlab.reports import write_exports
from normlab.reports.typeset import INTERVALS, Table, arms_typeset, escape_latex, escape_markdown
from normlab.store import Store
from normlab.study.stored import frames_of
from tests.made_stores import numbers, rows
from tests.plans import plan_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size=16 & 50 %", r"batch\_size=16 \& 50 \%"),
        (r"a\b {c} $d$ #e", r"a\textbackslash{}b \{c\} \$d\$ \#e"),
        ("x^2 ~ y", r"x\textasciicircum{}2 \textasciitilde{} y"),
        ('<b> | "q"', r"\textless{}b\textgreater{} \textbar{} ''q''"),
        ("-0.3 to -1, all-in 2-3", "$-$0.3 to $-$1, all-in 2-3"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_escaped_for_latex(text: str, expected: str) -> None:
    assert escape_latex(text) == expected


def test_a_row_is_no_option_of_the_row_before_it() -> None:
    latex = Table([("Arm", "l"), ("p", "r")], [["[0.1, 0.2]", "1"], ["* best", "2"]]).latex()
    assert latex.split("retain-explicit-plus = true}\n")[1] == (
        "\\begin{tabular}{lr}\n\\toprule\nArm & p \\\\\n\\midrule\n"
        "{[}0.1, 0.2{]} & \\num{1} \\\\\n{*} best & \\num{2} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_text_is_escaped_for_markdown() -> None:
    assert escape_markdown("$y$ & z") == r"\$y\$ \& z"
    assert escape_markdown("a|b_c*d [x](y) <b>\n`e`") == r"a\|b\_c\*d \[x\](y) \<b\> \`e\`"
    table = Table([("Arm", "l"), ("p", "r")], [["a|b", "1"]])
    assert table.markdown() == "| Arm | p |\n| --- | ---: |\n| a\\|b | 1 |\n"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("97.12", "r", r"\num{97.12}"),
        ("1,234,567", "r", r"\num{1234567}"),
        ("-0.31", "r", r"\num{-0.31}"),
        ("+0.31", "r", r"\num{+0.31}"),
        ("97.12 ± 0.21", "r", r"\num{97.12 +- 0.21}"),
        ("99.80 (98.90 to 100.00)", "r", r"\num{99.80} (\numrange{98.90}{100.00})"),
        ("-0.1 to 1,000", "r", r"\numrange{-0.1}{1000}"),
        ("> 200", "r", r"\textgreater{} \num{200}"),
        ("1.5 *", "r", r"\num{1.5} {*}"),
        ("2 seeds: no interval", "r", r"\num{2} seeds: no interval"),
        ("–", "r", "--"),
        ("1.2.3 v4 1e5 12,34", "r", "1.2.3 v4 1e5 12,34"),  # no numbers of normlab's
        (
            "-10 points (97.5 %: -12.9 to -7.15), a_2 over b 3",
            "n",
            r"\num{-10} points (\num{97.5} \%: \numrange{-12.9}{-7.15}), a\_2 over b 3",
        ),
        ("+3 %, a over b", "n", r"\num{+3} \%, a over b"),
        (
            "+30 s saved (95 %: 10 to 50), layer over batch",
            "n",
            r"\num{+30} s saved (\num{95} \%: \numrange{10}{50}), layer over batch",
        ),
        (
            "+1,234 images saved (95 %: 1,000 to 1,400), a 1 over b 2, c",
            "n",
            r"\num{+1234} images saved (\num{95} \%: \numrange{1000}{1400}), a 1 over b 2, c",
        ),
        ("words 3 alone", "n", "words 3 alone"),
        ("-0.3 97", "l", "$-$0.3 97"),
    ],
)
def test_numbers_are_siunitx_s(text: str, kind: Literal["l", "r", "n"], expected: str) -> None:
    row = Table([("a", kind)], [[text]]).latex().splitlines()[-3]
    assert row == rf"{expected} \\"


_QUANTITY = r"[+-]?\d+(\.\d+)?"
_MACRO = re.compile(
    rf"\\num\{{{_QUANTITY}( \+- \d+(\.\d+)?)?\}}|\\numrange\{{{_QUANTITY}\}}\{{{_QUANTITY}\}}"
)
_PLAIN = re.compile(
    r"(?:[^\\{}$&#%_^~<>|\"\[\]*]|\\[{}$&#%_]|\{[\[\]*]\}|\$-\$"
    r"|\\text(backslash|asciicircum|asciitilde|less|greater|bar)\{\})*"
)


@pytest.mark.parametrize("study", ["finished", "illustrated"])
def test_tables_are_of_latex_that_booktabs_and_siunitx_have(
    study: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    write_exports(request.getfixturevalue(study), latex=tmp_path)
    tables = sorted(tmp_path.glob("*.tex"))
    assert len(tables) == (3 if study == "illustrated" else 1)
    for path in tables:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[1:3] == [
            r"% \usepackage{booktabs, siunitx}",
            r"% \sisetup{separate-uncertainty = true, retain-explicit-plus = true}",
        ]
        body = [line for line in lines if not line.startswith("%")]
        begin = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", body[0])
        assert begin
        assert [body[1], body[3], *body[-2:]] == [
            r"\toprule",
            r"\midrule",
            r"\bottomrule",
            r"\end{tabular}",
        ]
        for row in [body[2], *body[4:-2]]:
            assert row.endswith(r" \\")
            cells = re.split(r"(?<!\\) & ", row.removesuffix(r" \\"))
            assert len(cells) == len(begin[1])
            for cell in cells:
                assert _PLAIN.fullmatch(_MACRO.sub("", cell)), cell


def test_without_an_interval_no_note_tells_of_one(tmp_path: Path) -> None:
    plan = plan_of([{"label": "one", "trials": [{"seed": 0, "id": "one0"}]}])
    with Store.write(tmp_path / "s") as store:
        store.record_plan(plan, rows(plan))
    assert not arms_typeset(frames_of(tmp_path / "s")).note
    with Store.write(tmp_path / "s") as store:
        records, result = numbers("batch", 0)
        store.start("one0", {}, 0)
        store.add_epoch("one0", records[-1])
        store.finish("one0", replace(result, epochs=1), [])
    assert not arms_typeset(frames_of(tmp_path / "s")).note


def test_an_uncertainty_is_half_of_the_interval_where_its_halves_are_alike(tmp_path: Path) -> None:
    # Means of three seeds; of the second arm the interval would go beyond 100 %.
    scores = {"middle": (0.50, 0.52, 0.54), "high": (0.97, 0.99, 1.0)}
    plan = plan_of(
        {"label": arm, "trials": [{"seed": s, "id": f"{arm}{s}"} for s in range(3)]}
        for arm in scores
    )
    with Store.write(tmp_path / "s") as store:
        store.record_plan(plan, rows(plan))
        for arm, found in scores.items():
            for seed, score in enumerate(found):
                records, result = numbers("batch", 0)
                store.start(f"{arm}{seed}", {}, 0)
                store.add_epoch(f"{arm}{seed}", replace(records[-1], test_accuracy=score))
                store.finish(f"{arm}{seed}", replace(result, epochs=1), [])
    middle, high = arms_typeset(frames_of(tmp_path / "s")).rows
    # t of two degrees of freedom at 97.5 %: 4.3027; half: 4.3027 * 2 / sqrt(3).
    assert middle[2] == "52.00 ± 4.97"
    assert high[2] == "98.67 (94.87 to 100.00)"
    write_exports(tmp_path / "s", latex=tmp_path)
    latex = (tmp_path / "arms.tex").read_text(encoding="utf-8")
    assert f"% {INTERVALS.replace('±', '+-')}." in latex
    assert r"high & \num{3} & \num{98.67} (\numrange{94.87}{100.00}) & " in latex
    assert (tmp_path / "arms.md").read_text(encoding="utf-8").endswith(f"\n\n{INTERVALS}.\n")
