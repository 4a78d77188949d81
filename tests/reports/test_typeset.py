import pytest

from normlab.reports.typeset import Table, escape_latex, escape_markdown


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
    assert latex == (
        "\\begin{tabular}{lr}\n\\toprule\nArm & p \\\\\n\\midrule\n"
        "{[}0.1, 0.2{]} & 1 \\\\\n{*} best & 2 \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_text_is_escaped_for_markdown() -> None:
    assert escape_markdown("$y$ & z") == r"\$y\$ \& z"
    assert escape_markdown("a|b_c*d [x](y) <b>\n`e`") == r"a\|b\_c\*d \[x\](y) \<b\> \`e\`"
    table = Table([("Arm", "l"), ("p", "r")], [["a|b", "1"]])
    assert table.markdown() == "| Arm | p |\n| --- | ---: |\n| a\\|b | 1 |\n"
